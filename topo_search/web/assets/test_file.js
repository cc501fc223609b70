"use strict";
// Test rows from a file of their own: it is sent at once, and what names it goes with all that is asked.

const testFile = (() => {
  const at = (id) => document.getElementById(id);
  const help = at("test_file-help");
  const usual = help.textContent;
  let kept = null; // Its `test` has the upload and the file's name.
  let changed = null;
  let sent = 0; // How many were chosen: an answer for an earlier one comes too late.

  function show(said = usual) {
    const { test } = kept;
    at("test_file").hidden = Boolean(test);
    at("test-table").hidden = !test;
    const name = test ? harmless(test.name) : "";
    at("test-table").firstElementChild.textContent = name;
    at("test-table").firstElementChild.title = name;
    at("test_share").disabled = Boolean(test);
    help.textContent = said;
  }

  function refused(text) {
    at("test_file").value = "";
    at("test_file").setAttribute("aria-invalid", "true");
    at("test_file-error").textContent = text;
    at("test_file-error").hidden = false;
    show();
  }

  async function send_(file) {
    const mine = ++sent;
    at("test_file").removeAttribute("aria-invalid");
    at("test_file-error").hidden = true;
    show("Sending it …");
    let upload;
    try {
      const path = `/v1/uploads?name=${encodeURIComponent(file.name)}`;
      upload = (await (await send("POST", path, file, "application/octet-stream")).json()).upload;
    } catch (error) {
      upload = error.upload; // By itself it cannot be read; perhaps it can as the other table is.
      if (mine === sent && !upload) refused(error.message);
    }
    if (mine !== sent || !upload) return;
    kept.test = { upload, name: file.name };
    show();
    changed();
  }

  at("test_file").addEventListener("change", (event) => event.target.files.length && send_(event.target.files[0]));
  at("test-table").lastElementChild.addEventListener("click", () => {
    kept.test = null;
    at("test_file").value = "";
    show();
    at("test_file").focus();
    changed();
  });

  return {
    start: (choices, whenChanged) => {
      [kept, changed] = [choices, whenChanged];
      show();
    },
  };
})();
