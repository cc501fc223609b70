"use strict";
// A study that begins with another's trials: the table and the target stay, the networks are others.

const given = JSON.parse(document.getElementById("first").textContent);
const byId = (id) => document.getElementById(id);
const form = byId("configure");
const text = (name) => form.elements[name].value;
const limits = {};
let parent = null; // Its study and key, as its page left them.
let choices = null;

try {
  parent = JSON.parse(sessionStorage.getItem("again"));
} catch {
  // Nothing may be kept: below it says what to do.
}

async function ask() {
  const wanted = { space: choices ? text("space") : null };
  if (text("epochs")) wanted.epochs = Number(text("epochs"));
  try {
    const found = await call("POST", `/v1/studies/${encodeURIComponent(parent.key)}/choices`, wanted);
    if (!choices) {
      form.elements.space.value = found.space;
      Object.assign(limits, found.limits);
    }
    choices = found;
  } catch (error) {
    problems(byId(choices ? "start-error" : "reading-error"), error.message);
    return;
  }
  form.hidden = false;
  byId("table").textContent = harmless(choices.table);
  byId("summary").replaceChildren("Predicting ", make("bdi", {}, harmless(choices.target)), choices.rest === null ? "." : `: ${preview.split(choices)}`);
  parameters.show(choices.parameters);
  showEstimate();
}

function showEstimate() {
  const trials = Number(text("trials"));
  byId("estimate").replaceChildren(...(choices && trials >= 1 ? estimate(choices, trials, 60 * Number(text("timeout"))) : []));
}

// The other study's limits hold where nothing is said: to have all that is offered, one says so.
function allLimits() {
  const chosen = parameters.given();
  for (const one of choices.parameters) {
    if (!(one.name in choices.limits) || one.name in chosen || one.without) continue;
    chosen[one.name] = one.kind === "range" ? `${one.low}:${one.high}` : one.kind === "choice" ? one.values.join(",") : String(one.value);
  }
  return chosen;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  clearErrors();
  const unfit = [...form.elements].find((element) => element.willValidate && !element.checkValidity());
  if (unfit) {
    refuse(`${unfit.id}: ${unfit.validationMessage}`, byId("start-error"));
    return;
  }
  if (parameters.empty()) {
    parameters.refuse(parameters.empty().parameter.name, "Choose at least one.");
    return;
  }
  const body = { parent_key: parent.key, space: text("space"), trials: Number(text("trials")), limits: allLimits() };
  for (const name of ["sampler", "pruner"]) body[name] = text(name);
  if (text("timeout")) body.timeout = 60 * Number(text("timeout"));
  if (text("epochs")) body.epochs = Number(text("epochs"));
  if (text("name").trim()) body.name = text("name").trim();
  const tags = text("tags").split(",").map((one) => one.trim()).filter(Boolean);
  if (tags.length) body.tags = tags;
  byId("start").disabled = true;
  byId("starting").textContent = "Making the study …";
  try {
    const made = await call("POST", "/v1/studies", body);
    if (!given.operator) kin.add(parent, { study: made.study, key: made.key });
    window.location.assign(made.page);
  } catch (error) {
    refuse(error.message, byId("start-error"));
    byId("start").disabled = false;
    byId("starting").textContent = "";
  }
});

// Enter in a field is not meant to start hours of work; on the button it is.
form.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !event.target.matches("input:not([type=checkbox])")) return;
  event.preventDefault();
  event.target.dispatchEvent(new Event("change", { bubbles: true }));
});
form.addEventListener("change", (event) => {
  if (["space", "epochs"].includes(event.target.name)) ask();
});
form.addEventListener("input", showEstimate);
window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  byId("start").disabled = false;
  byId("starting").textContent = "";
});

parameters.start(limits, given.first_parameters, () => {});
if (parent) {
  byId("back").href = given.pages + encodeURIComponent(parent.key);
  ask();
} else problems(byId("reading-error"), "Expected a study to begin with. Open its page, and choose “Search again” there.");
