"use strict";
// What the service says names options as the command line does; here they have labels.

function inPageWords(text) {
  return text
    .replace(/--column (?:'(.+?)=(\w+)'|(\S+?)=(\w+))/g, (all, quoted, its, name, kind) => `“Read ${quoted || name} as”: ${its || kind}`)
    .replace(/--drop (?:'(.+?)'|(\S+))/g, (all, quoted, name) => `“Leave out ${quoted || name}”`)
    .replace(/--(month|day)-first/g, (all, first) => `“Order of dates”: ${first} first`)
    .replace(/remove them from the file\.$/, "remove them in the file and upload it again.")
    .replace(/--quote ''/g, "“Quotes”: none")
    .replace(/--([a-z][a-z-]+)(=?)/g, (all, option, equals) => {
      const field = document.getElementById(option.replace(/-/g, "_"));
      const label = field && field.labels && field.labels[0];
      return label ? `“${label.textContent.trim()}”${equals && " "}` : all;
    });
}
