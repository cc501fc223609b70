"use strict";
// What is varied of a network and how far: each parameter as a range, as boxes to tick, or as one value.
// Only what the user changed is a limit, written as on the command line: 1:6, relu,gelu, 0.001, true.

const parameters = (() => {
  const WORDS = { true: "with", false: "without" };
  let changed = () => {};
  let first = [];
  let limits = {}; // By parameter, as the user wrote them.
  let shown = []; // Of the parameters on the page: name, and what gives its limit.

  function read(one) {
    const { parameter, inputs } = one;
    if (parameter.kind === "choice") {
      const ticked = inputs.filter((input) => input.checked).map((input) => input.value);
      return ticked.length === inputs.length ? "" : ticked.join(",") || null;
    }
    if (parameter.kind === "fixed") {
      const text = inputs[0].value.trim();
      return text === String(parameter.value) ? "" : text;
    }
    const [low, high] = inputs.map((input, place) => input.value.trim() || String(place ? parameter.high : parameter.low));
    if (low === String(parameter.low) && high === String(parameter.high)) return "";
    return low === high ? low : `${low}:${high}`;
  }

  function take(one) {
    const limit = read(one);
    one.error.hidden = limit !== null;
    one.error.textContent = limit === null ? "Choose at least one." : "";
    for (const input of one.inputs) input.removeAttribute("aria-invalid");
    if (limit) limits[one.parameter.name] = limit;
    else delete limits[one.parameter.name];
    one.empty = limit === null;
    one.again.hidden = !limit && !one.empty;
    changed();
  }

  // Set the inputs to a limit, or to what is offered.
  function set(one, limit) {
    const { parameter, inputs } = one;
    if (parameter.kind === "choice") {
      const ticked = limit ? limit.split(",") : null;
      for (const input of inputs) input.checked = ticked === null || ticked.includes(input.value);
    } else if (parameter.kind === "fixed") {
      inputs[0].value = limit || String(parameter.value);
    } else {
      const [low, high = low] = limit ? limit.split(":") : [parameter.low, parameter.high];
      [inputs[0].value, inputs[1].value] = [low, high];
    }
  }

  function inputsOf(parameter) {
    const id = `limit-${parameter.name}`;
    const disabled = Boolean(parameter.without);
    const described = `${id}-text ${id}-error`;
    if (parameter.kind === "choice") {
      return parameter.values.map((value) => make("input", { class: "form-check-input", type: "checkbox", value: String(value), disabled, "aria-describedby": described }));
    }
    const same = { class: "form-control form-control-sm", disabled, "aria-describedby": described, autocomplete: "off" };
    if (parameter.kind === "fixed") return [make("input", { ...same, "aria-label": parameter.label })];
    const words = ["from", "to"];
    return words.map((word) => make("input", { ...same, inputmode: parameter.whole ? "numeric" : "decimal", "aria-label": `${parameter.label}, ${word}` }));
  }

  function group(parameter) {
    const id = `limit-${parameter.name}`;
    const inputs = inputsOf(parameter);
    const error = make("p", { class: "field-error", id: `${id}-error`, role: "alert", hidden: true });
    const again = make("button", { type: "button", class: "again", hidden: true, "aria-label": `${parameter.label}: as offered` }, "as offered");
    const one = { parameter, inputs, error, again, empty: false };
    const controls = parameter.kind === "choice"
      ? make("div", { class: "ticks" }, ...inputs.map((input) => make("label", {}, input, ` ${WORDS[input.value] || input.value}`)))
      : parameter.kind === "range" ? make("div", { class: "from-to" }, inputs[0], make("span", { class: "soft" }, "to"), inputs[1]) : make("div", { class: "from-to" }, inputs[0]);
    for (const input of inputs) input.addEventListener("change", () => take(one));
    again.addEventListener("click", () => {
      set(one, null);
      take(one);
      inputs[0].focus();
    });
    set(one, parameter.without ? null : limits[parameter.name]);
    again.hidden = !limits[parameter.name] || disabledNow(parameter);
    one.element = make("fieldset", { class: "parameter", "data-field": parameter.name },
      make("legend", {}, parameter.label, " ", again),
      controls,
      make("p", { class: "form-text", id: `${id}-text` }, parameter.without || parameter.text),
      error);
    return one;
  }

  const disabledNow = (parameter) => Boolean(parameter.without);

  function show(offered) {
    shown = offered.map(group);
    const of = (inFirst) => shown.filter((one) => first.includes(one.parameter.name) === inFirst).map((one) => one.element);
    document.getElementById("parameters-first").replaceChildren(...of(true));
    document.getElementById("parameters").replaceChildren(...of(false));
  }

  // The limits that count for what is offered now.
  function given() {
    const usable = new Set(shown.filter((one) => !disabledNow(one.parameter)).map((one) => one.parameter.name));
    return Object.fromEntries(Object.entries(limits).filter(([name]) => usable.has(name)));
  }

  const empty = () => shown.find((one) => one.empty && !disabledNow(one.parameter));

  // Say what is wrong with one; tell whether it is on the page.
  function refuse(name, text) {
    const one = shown.find((other) => other.parameter.name === name);
    if (!one) return false;
    one.error.textContent = text;
    one.error.hidden = false;
    for (const input of one.inputs) input.setAttribute("aria-invalid", "true");
    const folded = one.element.closest("details");
    if (folded) folded.open = true;
    one.inputs[0].focus();
    return true;
  }

  function start(known, names, call) {
    limits = known;
    first = names;
    changed = call;
  }

  return { start, show, given, empty, refuse };
})();
