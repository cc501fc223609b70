"use strict";
// The overview keeps itself up to date, and whoever is at it keeps the place.
const EVERY = 5000;

// What tells an element in the new content: its id, or the key it was given for this.
const nameOf = (element) => element.id ? `#${CSS.escape(element.id)}` : element.dataset.key ? `[data-key="${CSS.escape(element.dataset.key)}"]` : element.getAttribute("aria-label") ? `[aria-label="${CSS.escape(element.getAttribute("aria-label"))}"]` : null;

async function refresh(part) {
  const response = await fetch(part.dataset.part, { redirect: "manual" });
  if (response.type === "opaqueredirect") {
    window.location.reload(); // The session has ended: to the login, and back.
    return;
  }
  if (!response.ok) throw new Error(`The service answered ${response.status}.`);
  const html = await response.text();
  // A selection in there is being read or copied.
  const selected = window.getSelection();
  const reading = !selected.isCollapsed && part.contains(selected.anchorNode);
  if (html === part.shown || reading) return;
  part.shown = html;
  const focused = part.contains(document.activeElement) ? nameOf(document.activeElement) : null;
  const scrolled = [...part.querySelectorAll(".scroll")].map((region) => [nameOf(region), region.scrollLeft, region.scrollTop]);
  const parsed = new DOMParser().parseFromString(html, "text/html");
  part.replaceChildren(...parsed.body.childNodes);
  localTimes(part);
  for (const [name, left, top] of scrolled) {
    const region = part.querySelector(name);
    if (region) region.scrollTo({ left, top, behavior: "instant" });
  }
  if (focused) part.querySelector(focused)?.focus({ preventScroll: true });
}

async function refreshAll() {
  if (!document.hidden) {
    let reached = true;
    for (const part of document.querySelectorAll("[data-part]")) {
      try {
        await refresh(part);
      } catch {
        reached = false;
        break;
      }
    }
    document.getElementById("offline").hidden = reached;
  }
  setTimeout(refreshAll, EVERY);
}
if (document.querySelector("[data-part]")) setTimeout(refreshAll, EVERY);

const copy = document.getElementById("copy-token");
copy?.addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(document.getElementById("token").textContent);
    tell("The token is in the clipboard.");
  } catch {
    tell("The browser does not let it be copied: select it, and copy it by hand.", "error");
  }
});
