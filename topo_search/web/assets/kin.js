"use strict";
// Studies that began with another's trials: whose keys this tab has seen can be linked to each other.
// Keys pass from page to page in the tab's own storage, never in an address.

const kin = (() => {
  function all() {
    try {
      return JSON.parse(sessionStorage.getItem("kin")) || [];
    } catch {
      return []; // Nothing is kept, or nothing may be.
    }
  }

  // Remember that a study began with another's trials; each is { study, key }.
  function add(parent, child) {
    try {
      sessionStorage.setItem("kin", JSON.stringify([...all(), { parent, child }]));
    } catch {
      // Then they are not linked.
    }
  }

  // Return links to the studies that are kin to this one.
  function links(study) {
    const link = (one, text) => make("p", { class: "note" }, make("a", { href: `/s/${encodeURIComponent(one.key)}` }, text));
    return all().flatMap(({ parent, child }) => {
      if (child.study === study) return [link(parent, "It began with the trials of this study.")];
      return parent.study === study ? [link(child, "Its trials are known to this study.")] : [];
    });
  }

  return { add, links };
})();
