"use strict";
// What the service says names commands and options of the command line; here they have labels.

function inPageWords(text) {
  return text
    .replace(/--column (?:'(.+?)=(\w+)'|(\S+?)=(\w+))/g, (all, quoted, its, name, kind) => `“Read ${quoted || name} as”: ${its || kind}`)
    .replace(/--drop (?:'(.+?)'|(\S+))/g, (all, quoted, name) => `“Leave out ${quoted || name}”`)
    .replace(/--(month|day)-first/g, (all, first) => `“Order of dates”: ${first} first`)
    .replace(/remove them from the file\.$/, "remove them in the file and upload it again.")
    .replace(/as a --test-file/g, "under --test-file")
    .replace(/ \(--name\)/g, "")
    .replace(/(--[a-z-]+) \+\w+/g, "$1") // How much more, one says there.
    .replace(/topo-search create --from \w+/g, "“Search again with other networks”")
    .replace(/--quote ''/g, "“Quotes”: none")
    .replace(/--([a-z][a-z-]+)(=?)/g, (all, option, equals) => {
      const label = document.querySelector(`label[for="${option.replace(/-/g, "_")}"], label[for="more-${option}"]`);
      return label ? `“${label.textContent.trim()}”${equals && " "}` : all;
    });
}
