"use strict";
// The network at work: one row from a form, or a table.

const predictor = (() => {
  let shown = false;

  function field(column, place) {
    const id = `column-${place}`;
    const label = make("label", { class: "form-label", for: id, title: column.name.length > 40 ? harmless(column.name) : null }, make("bdi", {}, harmless(column.name)));
    const attributes = { class: "form-control", id, name: column.name, value: column.example, autocomplete: "off" };
    let input;
    if (column.all_levels) {
      const texts = column.levels.includes("") ? column.levels : [...column.levels, ""];
      const options = texts.map((level) => make("option", { value: level, dir: "auto" }, level === "" ? "missing" : harmless(level)));
      input = make("select", { class: "form-select", id, name: column.name }, ...options);
      input.value = column.example;
      return make("div", {}, label, input);
    }
    if (column.levels.length) {
      const list = make("datalist", { id: `levels-${place}` }, ...column.levels.map((level) => make("option", { value: level })));
      input = make("input", { ...attributes, list: list.id });
      return make("div", {}, label, input, list);
    }
    input = make("input", { ...attributes, inputmode: column.kind === "numeric" ? "decimal" : null });
    return make("div", {}, label, input);
  }

  // A number for reading: whole from 1,000, else to four significant digits.
  function number(value) {
    return value.toLocaleString(undefined, Math.abs(value) < 1000 ? { maximumSignificantDigits: 4 } : { maximumFractionDigits: 0 });
  }

  function answer(found, target) {
    const values = found.rows[0];
    const [name, ...classes] = found.predicted;
    const told = typeof values[name] === "number" && !classes.length ? number(values[name]) : harmless(values[name]);
    const parts = [make("p", { class: "lead" }, make("bdi", {}, harmless(target)), ": ", make("bdi", {}, told))];
    if (classes.length) {
      const rows = classes
        .map((column) => [column.replace(/^probability /, ""), Number(values[column])])
        .sort((a, b) => b[1] - a[1])
        .slice(0, 12)
        .map(([label, share]) => {
          const bar = make("div", { class: "share" });
          bar.style.width = `${100 * share}%`;
          return make("tr", {}, make("th", { scope: "row" }, make("bdi", {}, harmless(label))), make("td", { class: "track" }, bar), make("td", { class: "number" }, percent(share)));
        });
      const heads = make("tr", {}, make("th", { scope: "col" }, make("bdi", {}, harmless(target))), make("th", { scope: "col", class: "number", colspan: 2 }, "Probability"));
      parts.push(make("table", { class: "comparison" }, make("thead", {}, heads), make("tbody", {}, ...rows)));
    }
    if (found.warnings.length) parts.push(make("ul", { class: "plain note" }, ...found.warnings.map((text) => make("li", {}, make("bdi", {}, harmless(text))))));
    return parts;
  }

  function show(api, target) {
    if (shown) return;
    shown = true;
    tables(api);
    rows(api, target);
  }

  async function rows(api, target) {
    const form = document.getElementById("row-form");
    const place = document.getElementById("row-answer");
    let columns;
    try {
      columns = (await call("GET", `${api}/columns`)).columns;
    } catch (error) {
      form.replaceChildren(make("p", { class: "verdict loses" }, error.message));
      return;
    }
    const button = make("button", { class: "btn btn-primary" }, "Predict");
    const many = columns.length > 60;
    const fields = columns.slice(0, 60).map(field);
    form.replaceChildren(make("div", { class: "fields" }, ...fields), many ? make("p", { class: "note" }, `The first 60 of ${columns.length} columns; the others count as missing.`) : "", make("p", { class: "note" }, "Filled in with examples from your table: change what you like."), make("p", { class: "mt-3" }, button));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      button.disabled = true;
      place.replaceChildren(make("p", { class: "soft" }, "Asking the network; the first time it is loaded …"));
      try {
        const row = Object.fromEntries(columns.map((column) => [column.name, ""]));
        for (const input of form.querySelectorAll("input, select")) row[input.name] = input.value;
        place.replaceChildren(...answer(await call("POST", `${api}/predict`, { rows: [row] }), target));
      } catch (error) {
        place.replaceChildren(make("p", { class: "verdict loses" }, error.message));
      }
      button.disabled = false;
    });
  }

  function tables(api) {
    const tableForm = document.getElementById("table-form");
    const said = document.getElementById("table-answer");
    const doubts = document.getElementById("table-doubts");
    tableForm.addEventListener("submit", async (event) => {
      event.preventDefault();
      const file = document.getElementById("table-file").files[0];
      if (!file) return;
      said.textContent = "Predicting …";
      doubts.hidden = true;
      try {
        const response = await send("POST", `${api}/predict`, file, "text/csv");
        const link = make("a", { href: URL.createObjectURL(await response.blob()), download: `${file.name.replace(/\.[^.]*$/, "")}-predictions.csv` });
        document.body.append(link);
        link.click();
        link.remove();
        const count = Number(response.headers.get("X-Warnings"));
        const told = JSON.parse(decodeURIComponent(response.headers.get("X-Warning-Texts") || "[]"));
        if (count > told.length) told.push(`and ${(count - told.length).toLocaleString()} more`);
        said.textContent = count ? "Done. To be known of it:" : "Done.";
        doubts.replaceChildren(...told.map((text) => make("li", {}, make("bdi", {}, harmless(text)))));
        doubts.hidden = count === 0;
      } catch (error) {
        said.textContent = error.message;
      }
    });
  }

  return { show };
})();
