"use strict";
// The overview keeps itself up to date, and whoever is at it keeps the place.
const EVERY = 5000;

async function refresh(part) {
  const response = await fetch(part.dataset.part, { redirect: "manual" });
  if (response.type === "opaqueredirect") {
    window.location.reload(); // The session has ended: to the login, and back.
    return;
  }
  if (!response.ok) throw new Error(`The service answered ${response.status}.`);
  const html = await response.text();
  if (html === part.shown || isSelected(part)) return;
  part.shown = html;
  replaceIn(part, ...parsed(html));
  localTimes(part);
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
