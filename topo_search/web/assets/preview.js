"use strict";
// A table as it was read: in one sentence, its first rows, what is doubtful about it.

const preview = (() => {
  const SIGNS = { ",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces", ":": "colons" };
  const count = (number, noun) => `${number.toLocaleString()} ${noun}${number === 1 ? "" : "s"}`;

  const split = ({ rest, test }) => `${count(rest, "row")} to learn from, ${test.toLocaleString()} kept for the final test.`;

  function sentence(table) {
    const words = [count(table.rows, "row"), count(table.columns.length, "column")];
    if (table.columns.length > 1) words.push(`separated by ${SIGNS[table.separator] || harmless(table.separator)}`);
    if (table.decimal === ",") words.push("decimal comma");
    words.push(table.encoding, table.header ? "names in the first row" : "no row of names");
    if (table.skip) words.push(`${count(table.skip, "line")} skipped`);
    return `${words.join(", ")}.`;
  }

  function warnings(texts) {
    if (!texts.length) return [];
    const items = texts.map((text) => make("li", {}, make("bdi", {}, harmless(inPageWords(text)))));
    return [make("div", { class: "verdict loses" }, make("ul", { class: "plain" }, ...items))];
  }

  function show(table) {
    const shown = table.preview.length ? table.preview[0].length : 0;
    const names = table.columns.slice(0, shown).map((column) =>
      make("th", { scope: "col", class: column.kind === "numeric" ? "number" : null }, make("bdi", { class: "clip", title: harmless(column.name) }, harmless(column.name))));
    const rows = table.preview.map((row) =>
      make("tr", {}, ...row.map((text, place) => {
        const number = table.columns[place].kind === "numeric";
        return make("td", { class: number ? "number" : null }, text === "" ? make("span", { class: "nothing" }, "missing") : make("bdi", { class: "clip", title: text.length > 24 ? harmless(text) : null }, harmless(text)));
      })));
    const head = make("thead", {}, make("tr", {}, ...names));
    document.getElementById("preview").replaceChildren(make("table", {}, head, make("tbody", {}, ...rows)));
    const parts = [];
    if (table.rows > rows.length) parts.push(`the first ${rows.length} of ${count(table.rows, "row")}`);
    if (table.columns.length > shown) parts.push(`the first ${shown} of ${count(table.columns.length, "column")}`);
    document.getElementById("preview-note").textContent = parts.length ? `Shown: ${parts.join(", ")}.` : "";
    document.getElementById("summary").textContent = sentence(table);
    document.getElementById("table-warnings").replaceChildren(...warnings(table.warnings));
  }

  // Say at each field of a reading what was found, where nobody said otherwise; null: nothing was.
  function found(table) {
    for (const name of ["separator", "decimal", "quote", "header"]) {
      const [blank, ...others] = document.getElementById(name).options;
      if (table && document.getElementById(name).value) continue;
      const value = table && (name === "quote" ? table.quote || "none" : String(table[name]));
      const option = others.find((one) => one.value === value);
      blank.textContent = option ? `${option.textContent.split(",")[0]} (found)` : table ? "found out" : "–";
    }
    for (const name of ["encoding", "skip"]) {
      const field = document.getElementById(name);
      if (!table) field.placeholder = "";
      else if (!field.value.trim()) field.placeholder = `${table[name]} (found)`;
    }
  }

  return { show, warnings, count, split, found };
})();
