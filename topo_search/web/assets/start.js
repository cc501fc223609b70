"use strict";
// Where a search begins: a table is sent, or an example taken, or a study opened by its key.

const form = byId("upload");
const largest = Number(form.dataset.largest);
let sending = null; // The request that is under way.

const MIB = 2 ** 20;
function size(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < MIB ? `${(bytes / 1024).toFixed(0)} KiB` : `${(bytes / MIB).toFixed(bytes < 100 * MIB ? 1 : 0)} MiB`;
}

function refused(text) {
  byId("upload-error").replaceChildren(make("p", { class: "verdict loses" }, text));
  settle();
}

function settle() {
  sending = null;
  byId("choosing").hidden = false;
  byId("uploading").hidden = true;
  byId("file").value = "";
  form.classList.remove("busy");
  for (const button of document.querySelectorAll(".example")) button.disabled = false;
}

// Say what is being done; a share of null means that nobody knows how long it takes.
function busy(doing, name, share) {
  byId("upload-error").replaceChildren();
  byId("choosing").hidden = true;
  const was = byId("uploading").hidden;
  byId("uploading").hidden = false;
  form.classList.add("busy");
  byId("doing").textContent = doing;
  byId("file-name").textContent = harmless(name);
  if (was) byId("doing").focus();
  const bar = form.querySelector("[role=progressbar]");
  bar.classList.toggle("unknown", share === null);
  if (share === null) bar.removeAttribute("aria-valuenow");
  else bar.setAttribute("aria-valuenow", Math.round(100 * share));
  bar.firstElementChild.style.width = share === null ? "" : `${100 * share}%`;
  for (const button of document.querySelectorAll(".example")) button.disabled = true;
}

// What was answered is shown on the next page, which then need not ask again.
function go(answer) {
  try {
    for (const key of Object.keys(sessionStorage)) if (key.startsWith("table ")) sessionStorage.removeItem(key);
    sessionStorage.setItem(`table ${answer.upload}`, JSON.stringify(answer.table));
  } catch {
    // There is no room for it, or none is allowed: it is read again.
  }
  window.location.assign(`/tables/${answer.upload}`);
}

function upload(file) {
  if (sending) return;
  if (file.size > largest) {
    refused(`Expected a table of at most ${form.dataset.largestShown}. Received ${size(file.size)}. Leave out rows or columns.`);
    return;
  }
  if (file.size === 0) {
    refused("Expected a table. Received an empty file, or a folder. Choose a file with rows and columns.");
    return;
  }
  const request = new XMLHttpRequest();
  sending = request;
  busy("Sending", file.name, 0);
  byId("sent").textContent = "";
  request.upload.addEventListener("progress", (event) => {
    if (sending !== request) return;
    busy("Sending", file.name, event.loaded / event.total);
    byId("sent").textContent = `${size(event.loaded)} of ${size(event.total)}`;
  });
  request.upload.addEventListener("load", () => {
    if (sending !== request) return;
    busy("Reading", file.name, null);
    byId("sent").textContent = "The columns and how they are written are being found out …";
  });
  request.addEventListener("load", () => {
    if (sending !== request) return;
    let answer = {};
    try {
      answer = JSON.parse(request.responseText);
    } catch {
      // A proxy's page, perhaps.
    }
    if (request.status === 201) go(answer);
    else if (answer.upload) window.location.assign(`/tables/${answer.upload}`); // Where one can say how it is written.
    else refused(answer.detail || answer.title || `The service answered ${request.status}. Try again later.`);
  });
  request.addEventListener("error", () => sending === request && refused("The connection broke off, or the file cannot be read any more. Check both and try again."));
  request.open("POST", `/v1/uploads?name=${encodeURIComponent(file.name)}`);
  request.setRequestHeader("Content-Type", "application/octet-stream");
  request.setRequestHeader("Accept", "application/json");
  request.send(file);
}

byId("abort").addEventListener("click", () => {
  const request = sending;
  settle();
  if (request) request.abort();
  byId("file").focus();
});
byId("file").addEventListener("change", (event) => event.target.files.length && upload(event.target.files[0]));
form.addEventListener("submit", (event) => event.preventDefault());

// A file may be dropped anywhere on the page; beside the zone it would else replace the page.
let inside = 0;
document.addEventListener("dragenter", () => form.classList.toggle("over", ++inside > 0));
document.addEventListener("dragleave", () => form.classList.toggle("over", --inside > 0));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  inside = 0;
  form.classList.remove("over");
  const files = event.dataTransfer.files;
  if (files.length > 1) refused(`Expected one table. Received ${files.length} files. Drop one of them.`);
  else if (files.length === 1) upload(files[0]);
});

for (const button of document.querySelectorAll(".example")) {
  button.addEventListener("click", async () => {
    if (sending) return;
    const mine = { abort: () => {} };
    sending = mine;
    busy("Taking the example", button.dataset.example, null);
    byId("sent").textContent = "";
    try {
      const answer = await call("POST", `/v1/examples/${button.dataset.example}`);
      if (sending === mine) go(answer);
    } catch (error) {
      if (sending === mine) refused(error.message);
    }
  });
}

byId("open").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [, key] = /^(?:.*\/s\/)?([^/?#:]+)(?:[/?#].*)?$/.exec(byId("key").value.trim()) || [];
  const place = byId("key-error");
  place.textContent = "";
  try {
    if (!key) throw new Error("Expected a key or a private address. Received none.");
    await call("GET", `/v1/studies/${encodeURIComponent(key)}`);
    window.location.assign(`/s/${encodeURIComponent(key)}`);
  } catch (error) {
    place.textContent = error.message;
    byId("key").setAttribute("aria-invalid", "true");
    byId("key").focus();
  }
});

// Whoever comes back by the browser's button finds the page as it was left: that is busy.
window.addEventListener("pageshow", (event) => event.persisted && settle());
