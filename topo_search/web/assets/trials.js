"use strict";
// The table of trials: sorted, filtered and paged by the service.

const trialsTable = (() => {
  const SIZE = 20;
  const EVERY = 1000; // Milliseconds between two looks, at least; where many watch, news come seldomer.
  const asked = { page: 1, size: SIZE, sort: "rank", order: "asc", state: "", search: "" };
  const table = document.getElementById("trials");
  let api, columns, timer, typing, last = 0, begun = false;

  function heads() {
    const row = table.tHead.rows[0];
    row.replaceChildren(
      ...columns.map(({ name, label, number }) => {
        const chosen = asked.sort === name;
        const mark = chosen ? (asked.order === "asc" ? " ▲" : " ▼") : "";
        const button = make("button", { type: "button", class: "sort", onclick: () => sort(name) }, label, make("span", { "aria-hidden": "true" }, mark));
        const order = chosen ? (asked.order === "asc" ? "ascending" : "descending") : "none";
        return make("th", { scope: "col", class: number ? "number" : "", "aria-sort": order }, button);
      }),
    );
  }

  function sort(name) {
    const best = columns.find((column) => column.name === name).best || "asc"; // The best scores first.
    if (asked.sort !== name) [asked.sort, asked.order] = [name, best];
    else if (asked.order === best) asked.order = best === "asc" ? "desc" : "asc";
    else [asked.sort, asked.order] = ["rank", "asc"];
    asked.page = 1;
    heads();
    const place = columns.findIndex((column) => column.name === name);
    table.tHead.rows[0].cells[place].firstElementChild.focus();
    load();
  }

  // theirs: whether whoever reads it asked for it, and so is told what was found.
  async function load(theirs = true) {
    last = Date.now();
    const wanted = JSON.stringify(asked);
    let found;
    try {
      found = await call("GET", `${api}/trials?${new URLSearchParams(asked)}`);
    } catch (error) {
      document.getElementById("found").textContent = error.message;
      return;
    }
    if (wanted !== JSON.stringify(asked)) return; // Asked for something else meanwhile.
    const rows = found.trials.map((trial, place) => {
      const best = place === 0 && asked.page === 1 && asked.sort === "rank" && trial.state === "complete";
      const parameters = Object.entries(trial.parameters).map(([name, value]) => `${name.replaceAll("_", " ")} ${typeof value === "number" ? Number(value.toPrecision(4)) : value}`);
      const what = make("bdi", {}, trial.topology || parameters.join(", ") || "–");
      const name = make("td", { class: "name" });
      if (trial.topology && parameters.length) name.append(make("details", { class: "row-more", "data-key": `trial-${trial.trial}` }, make("summary", {}, what), make("bdi", { class: "soft" }, parameters.join(", "))));
      else name.append(what);
      if (trial.state === "waiting") name.append(make("div", { class: "soft why" }, "It has begun, and goes on when a machine takes it up."));
      else if (trial.reason) name.append(make("div", { class: "soft why" }, make("bdi", {}, trial.reason)));
      const number = (text, label) => make("td", { class: "number", "data-label": label }, text);
      return make("tr", { class: best ? "first" : "" }, number(String(trial.trial), "Trial"), make("td", {}, make("span", { class: `state ${trial.state}` }, trial.state)), name,
        number(trial.shown.value, columns[3].label), number(trial.shown.weights, "Weights"), number(trial.shown.seconds, "Time"), number(trial.epochs === null ? "–" : String(trial.epochs), "Epochs"));
    });
    if (!rows.length) rows.push(make("tr", {}, make("td", { colspan: columns.length, class: "soft" }, asked.search || asked.state ? "No such trials." : "No trial has begun yet.")));
    if (!theirs && isSelected(table)) {
      refresh(); // What is read or copied is left alone for now.
      return;
    }
    replaceIn(table.tBodies[0], ...rows);
    const pages = Math.max(1, Math.ceil(found.total / SIZE));
    document.getElementById("pager").hidden = pages === 1;
    document.getElementById("page").textContent = `Page ${asked.page} of ${pages.toLocaleString()}`;
    for (const button of document.querySelectorAll("[data-page]")) {
      const to = asked.page + Number(button.dataset.page);
      button.disabled = to < 1 || to > pages;
    }
    const count = `${found.total.toLocaleString()} ${found.total === 1 ? "trial" : "trials"}`;
    document.getElementById("found").textContent = count;
    if (theirs && begun) announce(`${count} found, page ${asked.page} of ${pages.toLocaleString()}.`);
    begun = true;
  }

  function start(address, state) {
    api = address;
    columns = [
      { name: "trial", label: "Trial", number: true }, { name: "state", label: "State" }, { name: "topology", label: "Network" },
      { name: "value", label: state.metric_label[0].toUpperCase() + state.metric_label.slice(1), number: true, best: state.direction === "maximize" ? "desc" : "asc" },
      { name: "weights", label: "Weights", number: true }, { name: "seconds", label: "Time", number: true }, { name: "epochs", label: "Epochs", number: true },
    ];
    const filter = document.getElementById("filter");
    filter.addEventListener("submit", (event) => event.preventDefault());
    filter.addEventListener("input", () => {
      asked.search = document.getElementById("search").value;
      asked.state = document.getElementById("state").value;
      asked.page = 1;
      clearTimeout(typing);
      typing = setTimeout(load, 250);
    });
    document.getElementById("pager").addEventListener("click", (event) => {
      if (!event.target.dataset.page) return;
      asked.page += Number(event.target.dataset.page);
      load();
    });
    filter.hidden = false;
    heads();
    load();
  }

  function refresh() {
    clearTimeout(timer);
    timer = setTimeout(() => load(false), Math.max(0, last + EVERY - Date.now()));
  }

  return { start, refresh };
})();
