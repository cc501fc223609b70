"use strict";
// The columns of a table: what each holds, as what it is read, whether it is left out.

const columnsTable = (() => {
  // Columns made at a time: a table may have thousands, and on a phone each is a card.
  const STEP = window.matchMedia("(max-width: 720px)").matches ? 20 : 100;
  const NO_USE = ["identifier", "constant", "empty"]; // Left out without being asked for.
  const SVG = "http://www.w3.org/2000/svg";
  const body = document.querySelector("#columns tbody");
  const more = document.getElementById("more-columns");
  let kinds = [];
  let changed = {}; // What to call: kind(name, kind), drop(name, out).
  let columns = [];
  let chosen = { drop: new Set(), target: null };
  let found = [];
  let shown = 0;

  const drawn = (tag, attributes, ...children) => {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };

  function histogram(column) {
    const { counts, labels } = column.histogram;
    if (!counts.length) return make("span", { class: "soft" }, "–");
    const most = Math.max(...counts);
    const ranges = labels.length > counts.length;
    const top = counts.indexOf(most);
    const words = ranges
      ? `from ${labels[0]} to ${labels[labels.length - 1]}, most often ${labels[top]} to ${labels[top + 1]}`
      : counts.slice(0, 5).map((n, place) => `${harmless(labels[place])}: ${n.toLocaleString()}`).join(", ") + (column.distinct > 5 ? ", …" : "");
    const width = 96 / Math.max(counts.length, 6);
    const bars = counts.map((n, place) => {
      const height = n ? Math.max(1.5, (26 * n) / most) : 0;
      return drawn("rect", { x: (place * width).toFixed(1), y: (28 - height).toFixed(1), width: (width - (ranges ? 1 : 3)).toFixed(1), height: height.toFixed(1) });
    });
    return drawn("svg", { viewBox: "0 0 96 28", width: 96, height: 28, class: "histogram", role: "img" }, drawn("title", {}, document.createTextNode(words)), ...bars);
  }

  function kindSelect(column) {
    const same = kinds.includes(column.kind) ? [] : [make("option", { value: "" }, column.kind)];
    const options = kinds.map((kind) => make("option", { value: kind }, kind));
    const select = make("select", { class: "form-select form-select-sm", "aria-label": `Read ${harmless(column.name)} as` }, ...same, ...options);
    select.value = kinds.includes(column.kind) ? column.kind : "";
    select.addEventListener("change", () => changed.kind(column.name, select.value));
    return select;
  }

  function row(column) {
    const isTarget = column.name === chosen.target;
    const without = NO_USE.includes(column.kind);
    const box = make("input", { class: "form-check-input", type: "checkbox", "aria-label": `Leave out ${harmless(column.name)}`, disabled: isTarget || without });
    box.checked = !isTarget && (without || chosen.drop.has(column.name));
    box.addEventListener("change", () => {
      line.classList.toggle("out", box.checked);
      changed.drop(column.name, box.checked);
    });
    const shownName = harmless(column.name);
    const name = [make("bdi", { class: "clip", title: shownName }, shownName)];
    if (isTarget) name.push(" ", make("span", { class: "badge target" }, "to predict"));
    for (const text of column.warnings) name.push(make("p", { class: "warning" }, make("bdi", {}, harmless(inPageWords(text)))));
    const missing = column.missing ? percent(column.missing, column.missing < 0.1 || column.missing > 0.9 ? 1 : 0) : "0";
    const examples = make("bdi", { class: "clip" }, column.examples.slice(0, 3).map(harmless).join(" · "));
    const cell = (label, attributes, ...children) => make("td", { "data-label": label, ...attributes }, ...children);
    const line = make("tr", { class: box.checked ? "out" : null },
      make("th", { scope: "row" }, ...name),
      cell("Read as", {}, kindSelect(column)),
      cell("Leave out", {}, box),
      cell("Missing", { class: "number" }, missing),
      cell("Distinct", { class: "number" }, column.distinct.toLocaleString()),
      cell("Values", {}, histogram(column)),
      cell("Examples", { class: "examples-of" }, examples));
    return line;
  }

  function add() {
    body.append(...found.slice(shown, shown + STEP).map(row));
    shown = Math.min(found.length, shown + STEP);
    const left = found.length - shown;
    more.hidden = left === 0;
    more.firstElementChild.textContent = `Show ${Math.min(STEP, left)} more of ${left.toLocaleString()}`;
    const words = found.length < columns.length ? `${found.length.toLocaleString()} of ${columns.length.toLocaleString()} columns` : "";
    document.getElementById("columns-found").textContent = words;
  }

  function draw(least = 0) {
    const wanted = document.getElementById("find-column").value.trim().toLowerCase();
    found = wanted ? columns.filter((column) => column.name.toLowerCase().includes(wanted)) : columns;
    shown = 0;
    body.replaceChildren();
    do add();
    while (shown < Math.min(least, found.length));
  }

  // Draw again and give the focus back to what had it.
  function redraw() {
    const active = body.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
    draw(shown);
    if (active) {
      const same = [...body.querySelectorAll("[aria-label]")].find((element) => element.getAttribute("aria-label") === active);
      if (same) same.focus();
    }
  }

  function show(table, choice) {
    columns = table.columns;
    chosen = choice;
    const many = columns.length > 20; // So many are looked for, and scroll by themselves.
    document.getElementById("columns-filter").hidden = !many;
    body.closest(".columns").classList.toggle("many", many);
    redraw();
  }

  // Another target: two rows change, or three.
  function mark(choice) {
    const names = new Set([chosen.target, choice.target]);
    chosen = choice;
    found.slice(0, shown).forEach((column, place) => {
      if (names.has(column.name)) body.children[place].replaceWith(row(column));
    });
  }

  function start(known, calls) {
    kinds = known;
    changed = calls;
    more.firstElementChild.addEventListener("click", () => {
      const next = shown;
      add();
      body.children[next].querySelector("select").focus();
    });
    document.getElementById("find-column").addEventListener("input", () => draw());
    document.getElementById("find-column").addEventListener("keydown", (event) => event.key === "Enter" && event.preventDefault());
  }

  return { start, show, mark };
})();
