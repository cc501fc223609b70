"use strict";
// What both forms of which a study is made have: how long, what is kept out, and the start.

const form = byId("configure");
const text = (name) => form.elements[name].value;
const listed = (name) => text(name).split(",").map((one) => one.trim()).filter(Boolean);

// A number as it was written; JSON has no word for what is none, and would send nothing instead.
function number(name) {
  const value = Number(text(name));
  if (Number.isFinite(value)) return value;
  throw new Error(`${name}: Expected a number. Received: ${text(name)}.`);
}

// The answers that both ask for, as the service takes them; what is left empty is left out.
function answers() {
  const body = { space: text("space"), sampler: text("sampler"), pruner: text("pruner"), trials: number("trials") };
  if (text("timeout")) body.timeout = 60 * number("timeout");
  if (text("epochs")) body.epochs = number("epochs");
  if (text("name").trim()) body.name = text("name").trim();
  if (listed("tags").length) body.tags = listed("tags");
  return body;
}

// Say how long it will take; nothing, while nobody can know.
function showEstimate(choices) {
  const { trials, timeout } = form.elements;
  const known = choices && trials.validity.valid && timeout.validity.valid;
  byId("estimate").replaceChildren(...(known ? estimate(choices, Number(trials.value), 60 * Number(timeout.value)) : []));
}

// Mark the first field that holds what it may not; tell whether there is one.
function invalid() {
  const field = [...form.elements].find((element) => element.willValidate && !element.validity.valid);
  if (field) {
    refuse(`${field.id}: ${field.validationMessage}`, byId("start-error"));
    return true;
  }
  const none = parameters.empty();
  return Boolean(none) && parameters.refuse(none.parameter.name, "Choose at least one.");
}

const held = { refused: false, making: false };

// Say beside the button why nothing can be started now, if so.
function letStart(now) {
  Object.assign(held, now);
  byId("start").disabled = held.refused || held.making;
  byId("starting").textContent = held.making ? "Making the study …" : held.refused ? "Not yet: see the field that is marked." : "";
}

// Make the study, and go to its page.
//   body: gives what is asked for; made: told of the study that was made.
function startBy(body, made = () => {}) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    clearErrors();
    if (invalid()) return;
    letStart({ making: true });
    try {
      const study = await call("POST", "/v1/studies", body());
      made(study);
      window.location.assign(study.page);
    } catch (error) {
      refuse(error.message, byId("start-error"));
      if (!byId("start-error").firstChild) problems(byId("start-error"), "It was not started: see the field that is marked.");
      letStart({ making: false });
    }
  });
}

// Enter in a field is not meant to start hours of work; on the button it is.
form.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !event.target.matches("input:not([type=checkbox])")) return;
  event.preventDefault();
  event.target.dispatchEvent(new Event("change", { bubbles: true }));
});

// Whoever comes back by the browser's button finds the page as it was left: that is busy.
window.addEventListener("pageshow", (event) => event.persisted && letStart({ making: false }));
