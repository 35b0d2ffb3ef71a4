"use strict";
/* The list of batches, which asks the server every second, and the form that sends files. Texts are set as text, never as markup. */
(() => {
  const byId = id => document.getElementById(id);
  const make = (tag, text, attributes = {}) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const setText = (element, text) => { if (element.textContent !== text) element.textContent = text; };
  const several = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
  const size = bytes => {
    for (const unit of ["B", "kB", "MB"]) {
      if (bytes < 1000) return `${bytes.toFixed(0)} ${unit}`;
      bytes /= 1000;
    }
    return `${bytes.toFixed(1).replace(/\.0$/, "")} GB`;
  };
  const duration = seconds => seconds < 90 ? "about a minute" : seconds < 5400 ? `about ${Math.round(seconds / 60)} minutes`
    : `about ${Math.round(seconds / 3600)} hours`;

  async function ask(method, path, body) {
    const options = {method, headers: {accept: "application/json"}};
    if (body !== undefined) options.body = JSON.stringify(body);
    let answer;
    try {
      answer = await fetch(path, options);
    } catch {
      throw new Error("The server does not answer. Is it still running?");
    }
    if (!answer.ok) throw new Error((await answer.text()).trim());
    return answer.status === 204 ? null : answer.json();
  }

  /* ---- the list of batches ---- */
  const list = byId("batches"), only = list.dataset.only, cards = new Map(), sending = new Map();
  const STATES = {receiving: "Not started", waiting: "Waits for its turn", running: "Running", done: "Done", failed: "Failed", stopped: "Stopped"};

  class Card {
    constructor(id) {
      this.id = id;
      this.root = make("article", undefined, {class: "batch", "aria-labelledby": `b-${id}`});
      this.title = make(only ? "h2" : "h3", "", {id: `b-${id}`, ...(only ? {class: "unseen"} : {})});
      this.state = make("p", "", {class: "state"});
      this.bar = make("progress", undefined, {"aria-labelledby": `b-${id}`});
      this.detail = make("p", "", {class: "detail"});
      this.row = make("div", undefined, {class: "buttons"});
      this.open = make("a", "Listen and compare", {class: "button main", href: `/batches/${id}`});
      this.zip = make("a", "Download the zip", {class: "button", href: `/batches/${id}/restored.zip`, download: ""});
      this.go = this.button("Go on", () => ask("POST", `/batches/${id}/start`));
      this.stop = this.button("Stop", () => ask("POST", `/batches/${id}/stop`));
      this.why = make("a", "What happened", {class: "button", href: `/batches/${id}`});
      this.remove = this.button("Remove", async () => {
        if (!confirm(`Remove “${this.title.textContent}” with its uploads and its restored files?`)) return;
        await ask("DELETE", `/batches/${id}`);
        if (only) location.href = "/";
        else byId("batches-title").focus();
      });
      this.row.append(this.open, this.zip, this.go, this.stop, this.why, this.remove);
      this.root.append(this.title, this.state, this.bar, this.detail, this.row);
    }
    button(text, action) {
      const element = make("button", text, {type: "button"});
      element.addEventListener("click", async () => {
        element.disabled = true;
        try { await action(); } catch (error) { setText(this.detail, error.message); say(error.message); }
        element.disabled = false;
        refresh();
      });
      return element;
    }
    show(batch) {
      const upload = sending.get(this.id), state = upload ? "sending" : batch.state;
      const said = batch.progress || {}, result = batch.result || {};
      setText(this.title, batch.title);
      for (const each of [this.open, this.zip, this.go, this.stop, this.why, this.remove]) each.setAttribute("aria-describedby", `b-${this.id}`);
      this.root.dataset.state = state;
      const empty = state === "done" && !result.files;
      this.root.toggleAttribute("data-empty", empty);
      setText(this.state, upload ? "Sending" : empty ? "Nothing could be restored" : STATES[state] || state);
      let total = 0, done = 0, detail = batch.message || "";
      if (upload) {
        total = upload.total; done = upload.sent;
        detail = `${size(upload.sent)} of ${size(upload.total)}, file ${upload.number} of ${upload.files}`;
      } else if (state === "receiving") {
        detail = `${several(batch.files, "file")}, ${size(batch.bytes)} have come. The upload was not finished.`;
      } else if (state === "waiting" && !detail) {
        detail = "One batch runs at a time.";
      } else if (state === "running") {
        total = said.share > 0 ? 1 : 0; done = Number(said.share) || 0;
        detail = [said.stage, said.total ? `${said.done} of ${several(said.total, "recording")}` : "", typeof said.seconds_left === "number" ? `${duration(said.seconds_left)} left` : ""]
          .filter(Boolean).join(", ") || "It begins.";
      } else if (state === "done") {
        detail = (empty ? "" : `${several(result.files, "recording")} restored, `) + `${result.rejected || "none"} rejected.`;
      }
      setText(this.detail, detail);
      this.bar.hidden = !(upload || state === "running");
      if (total > 0) { this.bar.max = total; this.bar.value = done; } else this.bar.removeAttribute("value");
      const shown = {open: state === "done", zip: state === "done" && result.files > 0, why: state === "failed" && !only, stop: ["running", "waiting"].includes(state),
        go: ["stopped", "failed"].includes(state) || (state === "receiving" && batch.files > 0),
        remove: !["running", "sending"].includes(state)};
      setText(this.open, result.files > 0 ? "Listen and compare" : "See why");
      setText(this.go, state === "receiving" ? "Start with these" : state === "failed" ? "Try again" : "Go on");
      const focused = this.row.contains(document.activeElement) ? document.activeElement : null;
      for (const [name, visible] of Object.entries(shown)) this[name].hidden = !visible;
      if (focused && focused.hidden) [...this.row.children].find(each => !each.hidden)?.focus();
      const news = upload || state === this.last ? "" : `${batch.title}: ${STATES[state] || state}. ${state === "running" ? "" : detail}`;
      if (news && this.last !== undefined) say(news);
      if (!upload) {
        if (only && this.last !== undefined && this.last !== state && ["done", "failed"].includes(state)) location.reload();
        this.last = state;
      }
    }
  }

  function say(text) { setText(byId("news"), text); }

  let asked = 0;
  async function refresh() {
    const mine = ++asked;
    let answer;
    const offline = byId("offline");
    try {
      answer = await ask("GET", "/batches.json");
      offline.hidden = true;
    } catch (error) {
      if (offline.hidden || offline.textContent !== error.message) { offline.textContent = error.message; offline.hidden = false; }
      return;
    }
    if (mine !== asked) return;
    const batches = answer.batches.filter(batch => !only || batch.id === only);
    const there = new Set(batches.map(batch => batch.id));
    for (const [id, card] of cards) if (!there.has(id)) { card.root.remove(); cards.delete(id); }
    let before = null;
    for (const batch of batches) {
      if (!cards.has(batch.id)) cards.set(batch.id, new Card(batch.id));
      const card = cards.get(batch.id);
      card.show(batch);
      const place = before ? before.nextSibling : list.firstChild;
      if (card.root !== place) list.insertBefore(card.root, place);
      before = card.root;
    }
    if (byId("none")) byId("none").hidden = batches.length > 0;
  }
  async function watch() {
    await refresh();
    setTimeout(watch, document.hidden ? 5000 : 1000);
  }
  watch();

  /* ---- the form ---- */
  const form = byId("form");
  if (!form) return;
  const drop = byId("drop"), trouble = byId("trouble"), source = byId("source");
  const SHOWN = 8, most = {file: Number(drop.dataset.fileLimit), batch: Number(drop.dataset.batchLimit)};
  let chosen = [], names = new Map(), hidden = 0, twice = 0;  // chosen: {name, file}; names: the same by name

  function forget() { chosen = []; names = new Map(); hidden = 0; twice = 0; show(); }
  const isSame = (one, other) => one.size === other.size && one.lastModified === other.lastModified;
  function add(entries) {
    for (const {name, file} of entries) {
      if (name.split("/").some(part => part.startsWith("."))) { hidden += 1; continue; }
      let free = name;
      for (let number = 2; names.has(free) && !isSame(names.get(free), file); number += 1) {
        free = name.replace(/(\.[^./]*)?$/, end => ` (${number})${end}`);
      }
      if (names.has(free)) { twice += 1; continue; }
      names.set(free, file);
      chosen.push({name: free, file});
    }
    show();
  }
  function show() {
    byId("chosen").hidden = !chosen.length && !hidden;
    const bytes = chosen.reduce((sum, entry) => sum + entry.file.size, 0);
    setText(byId("count"), `${several(chosen.length, "file")} chosen, ${size(bytes)}.` + (hidden ? ` ${several(hidden, "hidden file")} left out.` : "")
      + (twice ? ` ${several(twice, "file")} chosen twice.` : ""));
    byId("names").replaceChildren(...chosen.slice(0, SHOWN).map(entry => make("li", entry.name)),
      ...(chosen.length > SHOWN ? [make("li", `and ${chosen.length - SHOWN} more`)] : []));
  }
  function complain(head, lines = []) {
    trouble.hidden = !head;
    trouble.replaceChildren(...(head ? [make("p", head)] : []));
    if (!lines.length) return;
    const items = make("ul");
    items.append(...lines.slice(0, 20).map(line => make("li", line)), ...(lines.length > 20 ? [make("li", `and ${lines.length - 20} more`)] : []));
    trouble.append(items);
  }
  const pick = input => {
    add([...input.files].map(file => ({name: file.webkitRelativePath || file.name, file})));
    input.value = "";
  };
  byId("files").addEventListener("change", event => pick(event.target));
  byId("folder").addEventListener("change", event => pick(event.target));
  byId("clear").addEventListener("click", () => { forget(); byId("files").focus(); });

  async function entriesOf(entry, path = "") {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      return [{name: path + entry.name, file}];
    }
    const reader = entry.createReader(), found = [];
    for (;;) {  // a reader gives a hundred at a time
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) return found;
      for (const each of some) found.push(...await entriesOf(each, `${path}${entry.name}/`));
    }
  }
  for (const kind of ["dragover", "drop"]) window.addEventListener(kind, event => event.preventDefault());  // else the browser opens the file
  drop.addEventListener("dragover", () => drop.classList.add("over"));
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", async event => {
    drop.classList.remove("over");
    const dropped = [...event.dataTransfer.items].filter(item => item.kind === "file")
      .map(item => [item.webkitGetAsEntry?.(), item.getAsFile()]);  // both are gone after the first await
    try {
      for (const [entry, file] of dropped) add(entry ? await entriesOf(entry) : file ? [{name: file.name, file}] : []);
    } catch (error) {
      complain(`The browser cannot read what was dropped: ${error.message}`);
    }
  });

  function put(id, entry, progress) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("PUT", `/batches/${id}/files?name=${encodeURIComponent(entry.name.toWellFormed?.() ?? entry.name)}`);
      request.upload.addEventListener("progress", event => progress(event.loaded));
      request.addEventListener("load", () => request.status === 201 ? resolve() : reject(Object.assign(new Error(request.responseText.trim()), {status: request.status})));
      request.addEventListener("error", () => reject(new Error("the connection broke off, or the file cannot be read")));
      request.send(entry.file);
    });
  }

  /* Send the files of one batch, one after the other; those that are not taken are told, and the others go on. */
  async function send(batch, entries) {
    const upload = {total: entries.reduce((sum, entry) => sum + entry.file.size, 0), sent: 0, number: 0, files: entries.length};
    sending.set(batch.id, upload);
    const refused = [];
    let before = 0, taken = 0;
    try {
      for (const entry of entries) {
        upload.number += 1;
        if (entry.file.size > most.file) {  // the server would say so only after its last byte
          refused.push(`${entry.name}: it is larger than ${size(most.file)}, the most for a file`);
          continue;
        }
        try {
          await put(batch.id, entry, loaded => { upload.sent = before + Math.min(loaded, entry.file.size); });
          taken += 1;
        } catch (error) {
          refused.push(`${entry.name}: ${error.message}`);
          if (error.status === 507 || error.status === undefined || error.status === 401) break;
        }
        before += entry.file.size;
        upload.sent = before;
      }
    } finally {
      sending.delete(batch.id);
    }
    if (taken && taken + refused.length === entries.length) await ask("POST", `/batches/${batch.id}/start`);
    else if (!taken) await ask("DELETE", `/batches/${batch.id}`);
    return refused;
  }

  window.addEventListener("beforeunload", event => { if (sending.size) event.preventDefault(); });
  form.addEventListener("submit", async event => {
    event.preventDefault();
    complain("");
    const place = source ? source.value.trim() : "", preset = form.elements.preset.value, title = byId("title").value.trim();
    if (!chosen.length && !place) { complain("Choose recordings first."); byId("files").focus(); return; }
    if (chosen.length && place) { complain("Either send files, or give a path: not both."); source.focus(); return; }
    byId("submit").disabled = true;
    try {
      if (place) {
        await ask("POST", "/batches", {title, preset, source: place});
        source.value = "";
      } else {
        const isZip = entry => /\.zip$/i.test(entry.name), loose = chosen.filter(entry => !isZip(entry));
        const groups = [...(loose.length ? [loose] : []), ...chosen.filter(isZip).map(entry => [entry])];  // a zip is a batch of its own
        const large = groups.map(group => group.reduce((sum, entry) => sum + entry.file.size, 0)).find(bytes => bytes > most.batch);
        if (large) throw new Error(`These are ${size(large)}; a batch may have ${size(most.batch)}.`);
        const refused = [];
        forget();
        for (const group of groups) {
          const named = title || (group[0].name.includes("/") ? group[0].name.split("/")[0] : group.length === 1 ? group[0].name : several(group.length, "recording"));
          const batch = await ask("POST", "/batches", {title: named, preset});
          refresh();
          refused.push(...await send(batch, group));
        }
        if (refused.length) complain(`${several(refused.length, "file")} not taken:`, refused);
      }
      byId("title").value = "";
    } catch (error) {
      complain(error.message);
    }
    byId("submit").disabled = false;
    refresh();
  });
})();
