"use strict";
// What all pages share: calls, making elements, times in the reader's zone, short messages.

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

// Call the service; a refusal becomes an Error with the words of its problem details.
async function call(method, path, body) {
  const options = { method, headers: { Accept: "application/json" } };
  const token = document.querySelector("meta[name=csrf-token]");
  if (token && method !== "GET") options.headers["X-CSRFToken"] = token.content;
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The service cannot be reached. Check the connection and try again.");
  }
  const json = (response.headers.get("Content-Type") || "").includes("json");
  const answer = json ? await response.json() : await response.text();
  if (!response.ok) {
    const error = new Error((json && (answer.detail || answer.title)) || `The service answered ${response.status}.`);
    error.status = response.status;
    throw error;
  }
  return answer;
}

// Say something shortly; read out by screen readers.
function tell(text, kind = "info") {
  const place = document.getElementById("told");
  const line = make("p", { class: `told ${kind}` }, text);
  place.replaceChildren(line);
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
