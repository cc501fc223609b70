"use strict";
// What is wrong, said where it is: at the field that the service's words name, if they name one.

function problems(place, message, ...more) {
  place.replaceChildren(make("div", { class: "verdict loses" }, make("p", {}, inPageWords(message)), ...more));
}

function clearErrors() {
  for (const place of form.querySelectorAll(".field-error")) place.hidden = true;
  for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  byId("start-error").replaceChildren();
}

// Say it at the field that the message names, if it names one; else at `place`.
function refuse(message, place, focus = true) {
  const [, path, rest] = /^([\w.-]+): (.*)$/s.exec(message) || [null, "", message];
  const option = /--([a-z][a-z-]+)/.exec(message);
  const parameter = /^Expected ([a-z_]+) (?:as|from)\b/.exec(message);
  const names = [path.split(".").pop(), parameter && parameter[1].replace(/_/g, "-"), option && option[1].replace(/-/g, "_")].filter(Boolean);
  for (const name of names) {
    if (focus && parameters.refuse(name.replace(/_/g, "-"), rest)) return true;
    const error = byId(`${name}-error`);
    if (!error || !error.classList.contains("field-error")) continue;
    error.textContent = inPageWords(rest);
    error.hidden = false;
    const field = byId(name);
    const folded = field.closest("details");
    if (folded) folded.open = true;
    field.setAttribute("aria-invalid", "true");
    if (focus) field.focus();
    return true;
  }
  if (place.classList.contains("field-error")) {
    place.textContent = inPageWords(rest);
    place.hidden = false;
    byId(place.id.replace(/-error$/, "")).setAttribute("aria-invalid", "true");
  } else problems(place, rest);
  return false;
}
