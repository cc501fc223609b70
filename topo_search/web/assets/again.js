"use strict";
// A study that begins with another's trials: the table and the target stay, the networks are others.

const given = JSON.parse(document.getElementById("first").textContent);
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
  try {
    if (text("epochs")) wanted.epochs = number("epochs");
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
  byId("summary").replaceChildren("Predicting ", make("bdi", {}, harmless(choices.target)), `: ${preview.split(choices)}`);
  parameters.show(choices.parameters);
  showEstimate(choices);
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

startBy(
  () => ({ ...answers(), parent_key: parent.key, limits: allLimits() }),
  ({ study, key }) => given.operator || kin.add(parent, { study, key }),
);

form.addEventListener("change", (event) => {
  if (["space", "epochs"].includes(event.target.name)) ask();
});
form.addEventListener("input", () => showEstimate(choices));

parameters.start(limits, given.first_parameters, () => {});
if (parent) {
  byId("back").href = given.pages + encodeURIComponent(parent.key);
  ask();
} else problems(byId("reading-error"), "Expected a study to begin with. Open its page, and choose “Search again” there.");
