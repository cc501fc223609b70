"use strict";
// From a table as it was read to a study: what is chosen here is kept until the browser's tab closes.

const given = JSON.parse(document.getElementById("first").textContent);
const KEPT = `choices ${given.upload}`;
const READING = ["separator", "decimal", "encoding", "quote", "header", "skip", "day_first", "missing", "present"];
const DETAILS = ["otherwise", "limits", "advanced"];
// By name of a column, also of one that every object of JavaScript has, as __proto__.
const noKinds = () => Object.create(null);
const kept = { fields: {}, kinds: noKinds(), drop: [], target: null, metric: null, limits: {}, open: [], test: null };
let table = null; // As it was read last.
let choices = null; // What there is to choose for the target.

// ---- what is kept over reloads and the back button

function recall() {
  try {
    Object.assign(kept, JSON.parse(sessionStorage.getItem(KEPT)));
    kept.kinds = Object.assign(noKinds(), kept.kinds);
  } catch {
    // Nothing is kept, or nothing may be.
  }
  for (const [name, value] of Object.entries(kept.fields)) {
    const field = form.elements[name];
    if (field) field.value = value;
  }
  for (const id of DETAILS) byId(id).open = kept.open.includes(id);
}

function keep() {
  const live = ["target", "metric", "space"]; // Made anew, or several of one name.
  for (const field of form.elements) {
    if (field.name && !live.includes(field.name)) kept.fields[field.name] = field.value;
  }
  kept.fields.space = form.elements.space.value;
  kept.open = DETAILS.filter((id) => byId(id).open);
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(kept));
  } catch {
    // It then lasts as long as the page.
  }
}

// What the upload was answered with.
function leftByThePageBefore() {
  try {
    return JSON.parse(sessionStorage.getItem(`table ${given.upload}`));
  } catch {
    return null;
  }
}

// ---- asking, one question at a time: the last one's answer stays

function latest(work) {
  let timer;
  let busy = false;
  let again = false;
  async function go() {
    again = busy;
    if (busy) return;
    busy = true;
    do {
      again = false;
      await work(() => again);
    } while (again);
    busy = false;
  }
  return (wait = 0) => {
    clearTimeout(timer);
    timer = setTimeout(go, wait);
  };
}

// ---- the table

function reading() {
  const read = {};
  for (const name of ["separator", "decimal"]) if (text(name)) read[name] = text(name);
  if (text("encoding").trim()) read.encoding = text("encoding").trim();
  if (text("quote")) read.quote = text("quote") === "none" ? "" : text("quote");
  for (const name of ["header", "day_first"]) if (text(name)) read[name] = text(name) === "true";
  if (text("skip")) read.skip = Number(text("skip"));
  for (const name of ["missing", "present"]) {
    const texts = listed(name);
    if (texts.length) read[name] = texts;
  }
  if (Object.keys(kept.kinds).length) read.kinds = kept.kinds;
  return read;
}

function showTable(answer) {
  table = answer;
  byId("skeleton").hidden = true;
  form.hidden = false;
  form.classList.remove("unread");
  preview.show(table);
  preview.found(table);
  const names = new Set(table.columns.map((column) => column.name));
  if (!names.has(kept.target)) kept.target = null;
  const options = table.columns.filter((column) => !["constant", "empty"].includes(column.kind)).map((column) => {
    const name = harmless(column.name);
    return make("option", { value: column.name, dir: "auto" }, name.length > 60 ? `${name.slice(0, 59)}…` : name);
  });
  if (!table.guess) options.unshift(make("option", { value: "" }, "choose a column"));
  byId("target").replaceChildren(...options);
  byId("target").value = kept.target || table.guess || "";
  columnsTable.show(table, chosen());
}

const chosen = () => ({ drop: new Set(kept.drop), target: byId("target").value });

const inspect = latest(async (outdated) => {
  const read = reading();
  byId("reading-again").textContent = table ? "Reading it so …" : "";
  try {
    const answer = await call("POST", `/v1/uploads/${given.upload}/inspect`, { reading: read });
    if (outdated()) return;
    byId("reading-error").replaceChildren();
    showTable(answer.table);
    byId("reading-again").textContent = "Read.";
    askChoices();
  } catch (error) {
    if (outdated()) return;
    byId("reading-again").textContent = table ? "Not possible: below is the last that was." : "";
    const more = table ? "" : make("p", {}, make("a", { class: "btn btn-quiet", href: "/" }, "Upload another table"));
    problems(byId("reading-error"), error.message, more);
    if (!table) {
      byId("skeleton").hidden = true;
      byId("summary").textContent = "It cannot be read as it is. Say how it is written:";
      form.hidden = false;
      form.classList.add("unread"); // Of which only that is shown.
      preview.found(null);
      byId("otherwise").open = true;
    } else {
      byId("otherwise").open = true;
      byId("otherwise").append(byId("reading-error"));
    }
  }
});

// ---- the target, and what there is to choose for it

function asked() {
  const names = new Set(table.columns.map((column) => column.name));
  const wanted = { target: byId("target").value, space: text("space"), reading: reading() };
  wanted.drop = kept.drop.filter((name) => names.has(name) && name !== wanted.target);
  for (const name of ["task", "validation"]) if (text(name)) wanted[name] = text(name);
  for (const name of ["test_share", "epochs"]) if (text(name)) wanted[name] = number(name);
  if (kept.test) wanted.test_upload = kept.test.upload;
  return wanted;
}

const askChoices = latest(async (outdated) => {
  if (!table) return;
  if (!byId("target").value) {
    byId("target-help").textContent = "No column suggests itself.";
    return;
  }
  const guessed = byId("target").value === table.guess && kept.target === null;
  byId("target-help").textContent = guessed ? "This is a guess: change it if you want to predict another." : "";
  byId("task-said").textContent = choices ? "" : "Looking at it …";
  form.classList.add("asking");
  try {
    const answer = await call("POST", `/v1/uploads/${given.upload}/choices`, asked());
    if (outdated()) return;
    choices = answer;
    clearErrors();
    letStart({ refused: false });
    showChoices();
  } catch (error) {
    if (outdated()) return;
    byId("task-said").textContent = "";
    byId("target-warnings").replaceChildren();
    clearErrors();
    refuse(error.message, byId("target-error"), false);
    letStart({ refused: error.status === 422 });
  } finally {
    form.classList.remove("asking");
  }
});

function showChoices() {
  const { task, classes, metrics } = choices;
  const said = make("p", { id: "task-said", "aria-live": "polite" });
  if (task === "regression") said.append("It will predict a number.");
  else {
    said.append(task === "binary" ? "It will tell two classes apart: " : `It will tell ${classes.length.toLocaleString()} classes apart: `);
    classes.slice(0, 12).forEach((name, place) => said.append(place ? ", " : "", make("bdi", { class: "class" }, harmless(name.length > 40 ? `${name.slice(0, 39)}…` : name))));
    said.append(classes.length > 12 ? ", …" : ".");
  }
  said.append(` ${preview.split(choices)}`);
  byId("task-said").replaceWith(said);
  byId("metric").replaceChildren(...metrics.map(({ name, label }) => make("option", { value: name }, label)));
  const known = metrics.some(({ name }) => name === kept.metric);
  byId("metric").value = known ? kept.metric : choices.metric;
  // What is doubtful about columns stands beside them.
  const told = new Set([...table.warnings, ...table.columns.flatMap((column) => column.warnings)]);
  byId("target-warnings").replaceChildren(...preview.warnings(choices.warnings.filter((warning) => !told.has(warning))));
  parameters.show(choices.parameters);
  showEstimate(choices);
}

// ---- start

function wanted() {
  const body = { ...asked(), ...answers(), upload: given.upload, metric: byId("metric").value || null, limits: parameters.given() };
  if (text("seed")) body.seed = number("seed");
  return body;
}

startBy(wanted);

form.addEventListener("input", (event) => {
  const { name } = event.target;
  if (READING.includes(name)) inspect(500);
  if (["test_share", "epochs"].includes(name)) askChoices(500);
  if (["trials", "timeout"].includes(name)) showEstimate(choices);
  keep();
});

form.addEventListener("change", (event) => {
  const { name } = event.target;
  if (name === "target") {
    kept.target = event.target.value;
    columnsTable.mark(chosen());
  }
  if (name === "metric") kept.metric = event.target.value;
  if (["target", "task", "space", "validation"].includes(name)) askChoices();
  keep();
});
for (const id of DETAILS) byId(id).addEventListener("toggle", keep);

byId("as-found").addEventListener("click", () => {
  for (const name of READING) form.elements[name].value = "";
  kept.kinds = noKinds();
  keep();
  inspect();
});

columnsTable.start(given.kinds, {
  kind: (name, kind) => {
    if (kind) kept.kinds[name] = kind;
    else delete kept.kinds[name];
    keep();
    inspect();
  },
  drop: (name, out) => {
    kept.drop = kept.drop.filter((other) => other !== name);
    if (out) kept.drop.push(name);
    keep();
    askChoices(300);
  },
});

recall();
parameters.start(kept.limits, given.first_parameters, keep);
testFile.start(kept, () => {
  keep();
  askChoices();
});
const before = Object.keys(reading()).length ? null : leftByThePageBefore();
if (before) {
  showTable(before);
  askChoices();
} else inspect();
