"use strict";
// What all pages share: calls, making elements, times in the reader's zone, short messages.

const byId = (id) => document.getElementById(id);

// Make an element; text is always text, never markup.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// Someone else's text as one harmless line, as format_name of topo_search/formats.py has it: control
// characters and direction overrides, by which a name reads as another, become a sign of their own.
function harmless(text) {
  return String(text).replace(/[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+/gu, "\ufffd");
}

// Send something to the service; a refusal becomes an Error with the words of its problem details.
async function send(method, path, body, type) {
  const options = { method, headers: {}, body };
  if (type) options.headers["Content-Type"] = type;
  const token = document.querySelector("meta[name=csrf-token]");
  if (token && method !== "GET") options.headers["X-CSRFToken"] = token.content;
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The service cannot be reached. Check the connection and try again.");
  }
  if (response.ok) return response;
  const told = isJson(response) ? await response.json() : {};
  const error = new Error(told.detail || told.title || `The service answered ${response.status}.`);
  error.status = response.status;
  error.upload = told.upload; // Of a table that was kept though it could not be read.
  throw error;
}

// Call the service with JSON; return the JSON, or else the text, that it answers with.
async function call(method, path, body) {
  const json = body === undefined ? [] : [JSON.stringify(body), "application/json"];
  const response = await send(method, path, ...json);
  return isJson(response) ? response.json() : response.text();
}

// A share as percent, with more digits where it would falsely read 0 or 100.
function percent(share, digits = 1) {
  const text = [digits, 1, 2, 3].map((n) => (100 * share).toFixed(n)).find((one) => share === 1 || ![0, 100].includes(Number(one)));
  return `${text || (share > 0.5 ? "over 99.999" : "below 0.001")}\u00a0%`;
}

function isJson(response) {
  return (response.headers.get("Content-Type") || "").includes("json");
}

// ---- newer content where somebody may be reading

// What tells an element in newer content: its id, the key that it was given for this, or its label.
function nameOf(element) {
  if (element.id) return `#${CSS.escape(element.id)}`;
  if (element.dataset.key) return `[data-key="${CSS.escape(element.dataset.key)}"]`;
  const label = element.getAttribute("aria-label");
  if (label) return `[aria-label="${CSS.escape(label)}"]`;
  if (element.localName !== "summary") return null;
  const folded = nameOf(element.parentElement);
  return folded && `${folded} > summary`;
}

// Replace what a place holds; the focus, what is unfolded and what is scrolled stay as they were.
function replaceIn(place, ...children) {
  const focused = place.contains(document.activeElement) ? nameOf(document.activeElement) : null;
  const unfolded = [...place.querySelectorAll("details[open]")].map(nameOf).filter(Boolean);
  const scrolled = [...place.querySelectorAll(".scroll")].map((region) => [nameOf(region), region.scrollLeft, region.scrollTop]).filter(([name]) => name);
  place.replaceChildren(...children);
  for (const name of unfolded) place.querySelector(name)?.setAttribute("open", "");
  for (const [name, left, top] of scrolled) place.querySelector(name)?.scrollTo({ left, top, behavior: "instant" });
  // What is not there any more leaves the focus near where it was.
  if (focused) (place.querySelector(focused) || place.closest("[tabindex]"))?.focus({ preventScroll: true });
}

// A place in which text is selected is being read or copied from.
function isSelected(place) {
  const selected = window.getSelection();
  return !selected.isCollapsed && place.contains(selected.anchorNode);
}

// The elements that HTML describes.
function parsed(html) {
  return [...new DOMParser().parseFromString(html, "text/html").body.childNodes];
}

// Say something shortly; read out by screen readers. What went wrong stays until it is closed.
function tell(text, kind = "info") {
  const before = document.activeElement;
  const close = make("button", { type: "button", class: "btn btn-sm btn-quiet" }, "Close");
  const line = make("p", { class: `told ${kind}` }, text, close);
  close.addEventListener("click", () => {
    line.remove();
    if (before.isConnected) before.focus({ preventScroll: true });
  });
  byId("told").replaceChildren(line);
  if (kind !== "error") setTimeout(() => line.remove(), 8000);
}

const moments = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
function when(iso) {
  return iso ? moments.format(new Date(iso)) : "";
}

// Show every time on the page in the reader's zone.
function localTimes(root = document) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    time.textContent = when(time.getAttribute("datetime"));
    time.title = time.getAttribute("datetime");
  }
}
localTimes();
