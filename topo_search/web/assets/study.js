"use strict";
// One study, live: state, fragments and charts as the service says that they have changed.

const first = JSON.parse(document.getElementById("first").textContent);
const api = first.api;
let state = first.state;
const isOperators = document.querySelector("meta[name=csrf-token]").content !== ""; // Only they have one.

// ---- what screen readers are told: how the study stands, not every trial

const STANDINGS = {
  created: "The study is open, and waits for a machine.",
  running: "The study is running.",
  paused: "The study is paused.",
  cancelled: "The study is cancelled.",
};
let announced = state.state; // Who opens the page reads it.

function announce(text) {
  byId("announced").textContent = text;
}

function announceState() {
  if (announced === state.state) return;
  announced = state.state;
  const finished = state.best_value ? `The study is finished. The best network's validation score: ${state.best_value}.` : "The study is finished without a network.";
  const why = state.failure ? ` It failed: ${state.reason}.` : "";
  announce((STANDINGS[state.state] || finished) + why);
}

// ---- state and controls

function showState() {
  const trials = state.trials;
  const bar = document.querySelector("[role=progressbar]");
  const share = state.budget ? (100 * trials.finished) / state.budget : 0;
  bar.firstElementChild.style.width = `${share}%`;
  bar.classList.toggle("done", state.state === "finished");
  bar.setAttribute("aria-valuenow", trials.finished);
  bar.setAttribute("aria-valuemax", state.budget);
  byId("counts").textContent = `${trials.finished.toLocaleString()} of ${state.budget.toLocaleString()} trials`;
  const words = [];
  if (trials.pruned) words.push(`${trials.pruned.toLocaleString()} pruned`);
  if (trials.failed) words.push(`${trials.failed.toLocaleString()} failed`);
  const open = state.state === "created" || state.state === "running";
  if (open && state.busy) words.push(`${state.busy} in training`);
  if (open && trials.finished === state.budget) words.push("training the winner once more and scoring it on the test rows");
  else if (open && state.left && (state.workers || state.busy)) words.push(`${state.left} left`);
  if (state.state === "paused") words.push("paused");
  if (state.state === "created" && state.workers) words.push("starting");
  byId("detail").textContent = words.join(" · ");
  byId("refusal").hidden = !state.refusal;
  byId("refusal").lastElementChild.textContent = harmless(state.refusal || "");
  byId("unserved").hidden = !(open && !state.workers && !state.busy);
  const can = { pause: open, resume: state.state === "paused", more: state.state !== "cancelled", cancel: open || state.state === "paused", again: true, rename: true, delete: true };
  const focused = document.activeElement;
  for (const button of byId("controls").children) button.hidden = !can[button.dataset.act || button.dataset.open || button.dataset.go];
  if (focused.hidden && byId("controls").contains(focused)) nextTo(focused).focus();
  // What failed is not to be tried the same way again without thought.
  const other = document.querySelector("[data-go=again]");
  document.querySelector("[data-act=resume]").className = `btn ${state.failure ? "btn-quiet" : "btn-primary"}`;
  if (other) other.className = `btn ${state.failure ? "btn-primary" : "btn-quiet"}`;
  if (byId("expires") && state.expires_at) {
    byId("expires").firstElementChild.setAttribute("datetime", state.expires_at);
    localTimes(byId("expires"));
  }
  byId("more-time").hidden = state.seconds === null;
  byId("more-trials").min = state.seconds === null ? 1 : 0; // Else there would be nothing to add.
  announceState();
  byId("use").hidden = !(state.state !== "cancelled" && state.has_network);
  if (state.has_network) predictor.show(api, first.target);
  byId("more-looks").hidden = !state.has_network;
  byId("controls").hidden = false;
  document.title = `${trials.finished}/${state.budget} ${harmless(state.name || first.subject)} · topo-search`;
}

// The button that stands for one which is hidden now: what undoes it, else the first.
function nextTo(button) {
  const other = { pause: "resume", resume: "pause" }[button.dataset.act];
  return byId("controls").querySelector(`[data-act=${other}]:not([hidden])`) || byId("controls").querySelector("button:not([hidden])");
}

async function act(method, path, body) {
  byId("told").replaceChildren();
  try {
    const answer = await call(method, `${api}${path}`, body);
    if (answer && answer.trials) {
      state = answer;
      showState();
    }
    return true;
  } catch (error) {
    tell(harmless(inPageWords(error.message)), "error");
    return false;
  }
}

byId("controls").addEventListener("click", (event) => {
  const { act: what, open, go } = event.target.dataset;
  if (go) again();
  if (what) act("POST", `/${what}`, what === "resume" ? {} : undefined);
  if (open) {
    if (open === "rename") byId("new-name").value = state.name || "";
    const dialog = byId(open);
    dialog.returnValue = "";
    dialog.showModal();
  }
});
// Other networks for the same table: that page is told of this study in the tab's own storage.
function again() {
  try {
    sessionStorage.setItem("again", JSON.stringify({ study: state.study, key: decodeURIComponent(api.split("/").pop()) }));
    window.location.assign(isOperators ? "/operator/again" : "/again");
  } catch {
    tell("The browser does not let this page hand over the study's key. Upload the table again.", "error");
  }
}

const decided = {
  more: () => act("POST", "/resume", { trials: Number(byId("more-trials").value), timeout: state.seconds === null ? 0 : 60 * Number(byId("more-timeout").value) }),
  rename: () => act("PATCH", "", { name: byId("new-name").value.trim() || null }),
  cancel: () => act("POST", "/cancel"),
  delete: async () => {
    if (await act("DELETE", "")) window.location.assign(isOperators ? "/operator" : "/");
  },
};
for (const [name, decide] of Object.entries(decided)) {
  byId(name).addEventListener("close", () => byId(name).returnValue === "go" && decide());
}
const copy = byId("copy");
if (copy) {
  copy.hidden = false;
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(window.location.href);
      tell("The address is copied.");
    } catch {
      tell("The browser does not allow it: copy it from the address bar.", "error");
    }
  });
}

// ---- charts: fetched when they come into sight, and again when they have changed

const cards = new Map();
const near = new IntersectionObserver((seen) => {
  for (const one of seen) {
    const card = cards.get(one.target.dataset.name);
    card.visible = one.isIntersecting;
    draw(card);
  }
}, { rootMargin: "300px" });
const REDRAWN = 4000; // Milliseconds between two drawings of a chart, at least.

// A trace with what was added to it; in new arrays, by which plotly.js knows that they are new.
function changed(trace, change) {
  if (change.trace) return change.trace;
  const grown = Object.entries(change.added || {}).map(([name, more]) => [name, trace[name].concat(more)]);
  return { ...trace, ...Object.fromEntries(grown) };
}

function plot(card) {
  card.width = card.place.clientWidth;
  return Plotly.react(card.place, card.data, { ...card.layout, width: card.width }, { displayModeBar: false });
}

// From scratch: resized by plotly.js, a chart loses its height and has the legend over its dots.
let resized;
window.addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(() => {
    for (const card of cards.values()) {
      if (!card.drawn || card.busy || card.width === card.place.clientWidth) continue;
      Plotly.purge(card.place);
      plot(card);
    }
  }, 200);
});

async function draw(card) {
  if (!card.visible || card.busy || card.drawn === card.digest) return;
  const wait = card.next - Date.now();
  if (wait > 0) {
    clearTimeout(card.timer);
    card.timer = setTimeout(() => draw(card), wait);
    return;
  }
  card.busy = true;
  const digest = card.digest;
  try {
    const figure = await call("GET", `${api}/figures/${card.name}?had=${card.had}`);
    card.data = figure.patch ? figure.patch.map((change, place) => changed(card.data[place], change)) : figure.data;
    card.had = figure.digest;
    caption(card, figure);
    card.layout = figure.layout;
    await plot(card);
    card.drawn = digest;
  } catch (error) {
    card.text.textContent = error.message;
  }
  card.busy = false;
  card.next = Date.now() + REDRAWN;
  draw(card);
}

// Say what a chart shows: also before it is drawn, and on paper.
function caption(card, { title, text }) {
  if (card.title.textContent !== title) card.title.textContent = title;
  if (card.text.textContent !== text) card.text.textContent = text;
}

function showFigures(captions) {
  byId("charts").hidden = Object.keys(captions).length === 0;
  for (const [name, told] of Object.entries(captions)) {
    let card = cards.get(name);
    if (!card) {
      const title = make("h3", { id: `title-${name}` });
      const text = make("figcaption", { id: `text-${name}` });
      const place = make("div", { class: "chart", role: "img", "aria-labelledby": `title-${name}`, "aria-describedby": `text-${name}` });
      const figure = make("figure", { class: "card", "data-name": name }, title, place, text);
      card = { name, title, text, place, figure, digest: "", drawn: null, had: "", data: [], next: 0, visible: false, busy: false };
      cards.set(name, card);
      near.observe(figure);
    }
    card.digest = told.digest;
    caption(card, told);
    draw(card);
  }
  for (const [name, card] of cards) {
    if (!(name in captions)) {
      near.unobserve(card.figure);
      card.figure.remove();
      cards.delete(name);
    }
  }
  // In the order of reading; what stands right already is left alone.
  Object.keys(captions).forEach((name, place) => {
    const box = byId("chart-cards");
    if (box.children[place] !== cards.get(name).figure) box.insertBefore(cards.get(name).figure, box.children[place] || null);
  });
}

// ---- live

function listen() {
  const source = new EventSource(`${api}/events?seen=${encodeURIComponent(first.mark)}`);
  source.addEventListener("change", (event) => {
    const change = JSON.parse(event.data);
    state = change.state;
    for (const [name, html] of Object.entries(change.fragments)) {
      const place = document.querySelector(`[data-fragment=${name}]`);
      replaceIn(place, ...parsed(html)); // Made and escaped by the service.
      localTimes(place);
    }
    if ("importances_reason" in change) importances(change.importances_reason);
    if (change.figures) showFigures(change.figures);
    showState();
    if (change.trials) trialsTable.refresh();
  });
  source.addEventListener("gone", () => {
    source.close();
    end("This study was deleted.");
  });
  source.addEventListener("open", () => {
    if (!byId("offline").hidden) announce("The connection is there again.");
    byId("offline").hidden = true;
  });
  source.addEventListener("error", () => {
    if (byId("offline").hidden) announce("The connection to the service is lost. What is shown may be old.");
    byId("offline").hidden = false;
    // A browser tries again by itself unless it was refused.
    if (source.readyState === EventSource.CLOSED) setTimeout(listenAgain, 10000);
  });
}

// After a refusal, of which a stream does not say why: there may be no more such study to see.
async function listenAgain() {
  try {
    await call("GET", api);
    listen();
  } catch (error) {
    if (error.status !== 404) setTimeout(listenAgain, 10000);
    else end(isOperators ? "You are not logged in any more, or the study was deleted. Reload the page." : error.message);
  }
}

function end(why) {
  byId("offline").hidden = true;
  tell(why, "error");
  byId("controls").replaceChildren();
}

function importances(reason) {
  byId("importances-reason").textContent = reason ? `Which choices mattered, and the score by each of them: ${reason}.` : "";
}

byId("kin")?.replaceChildren(...kin.links(state.study));
importances(first.importances_reason || "");
showFigures(first.figures);
showState();
trialsTable.start(api, state);
listen();
