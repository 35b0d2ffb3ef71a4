"use strict";
/* A Deck plays all versions of a file at once, sample by sample together, and hears one of them: switching has no gap. */
class Deck {
  constructor(context, buffers) {
    this.context = context;
    this.names = Object.keys(buffers);
    this.gains = {};
    this.sources = [];
    this.buffers = buffers;
    for (const name of this.names) {
      this.gains[name] = context.createGain();
      this.gains[name].gain.value = 0;
      this.gains[name].connect(context.destination);
    }
  }
  play(when = this.context.currentTime + 0.02) {
    this.stop();
    for (const name of this.names) {
      const source = this.context.createBufferSource();
      source.buffer = this.buffers[name];
      source.loop = true;
      source.connect(this.gains[name]);
      source.start(when);
      this.sources.push(source);
    }
  }
  /* Equal-gain crossfade of 10 ms: the versions are alike, so their sum keeps the level. */
  select(chosen, when = this.context.currentTime, fade = 0.01) {
    for (const name of this.names) {
      const gain = this.gains[name].gain;
      gain.cancelScheduledValues(when);
      gain.setValueAtTime(name === this.heard ? 1 : 0, when);
      gain.linearRampToValueAtTime(name === chosen ? 1 : 0, when + fade);
    }
    this.heard = chosen;
  }
  stop() {
    for (const source of this.sources) source.stop();
    this.sources = [];
  }
  get playing() { return this.sources.length > 0; }
}

/* P(at least k of n by guessing), exactly: the one-sided binomial test against 1/2. */
function binomialTail(k, n) {
  let term = 1, total = 0;
  for (let i = 0; i <= n; i++) {
    if (i >= k) total += term;
    term *= (n - i) / (i + 1);
  }
  return Math.min(1, total / 2 ** n);
}

/* RFC 4180; a text that a spreadsheet would take for a formula gets an apostrophe. */
function csv(rows) {
  const cell = value => {
    let text = String(value ?? "");
    if (typeof value !== "number" && /^[=+\-@\t\r]/.test(text)) text = "'" + text;
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return rows.map(row => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

function meanInterval(values) {
  const n = values.length, mean = values.reduce((a, b) => a + b, 0) / n;
  const spread = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / Math.max(1, n - 1));
  return {n, mean, half: n > 1 ? 1.96 * spread / Math.sqrt(n) : NaN};
}

/* Random numbers: the system's, or repeatable with #seed=N in the address. */
function generator() {
  const found = /[#&]seed=(\d+)/.exec(location.hash);
  if (!found) return () => crypto.getRandomValues(new Uint32Array(1))[0] / 2 ** 32;
  let state = Number(found[1]) >>> 0;
  return () => {  // Weyl sequence through an integer hash
    state = (state + 0x9e3779b9) >>> 0;
    let x = state;
    x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
    x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
    return ((x ^ (x >>> 15)) >>> 0) / 2 ** 32;
  };
}

function shuffled(list, random) {
  const out = [...list];
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [out[i], out[j]] = [out[j], out[i]];
  }
  return out;
}

(() => {
  const items = JSON.parse(document.getElementById("data").textContent);
  if (!items.length) return;
  const stage = document.getElementById("stage"), byId = name => document.getElementById(name);
  let context = null, deck = null, keys = {};
  const make = (tag, text, attributes = {}) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const button = (text, key, action) => {
    const element = make("button", undefined, {type: "button"});
    element.append(text, " ", make("kbd", key));
    element.addEventListener("click", action);
    keys[key] = element;
    return element;
  };
  const labels = [...new Map(items.flatMap(item => item.versions.map(v => [v.name, v.label]))).entries()];
  for (const [index, name] of ["first", "second"].entries()) {
    for (const [value, label] of labels) byId(name).append(make("option", label, {value}));
    byId(name).selectedIndex = Math.min(index, labels.length - 1);
  }

  async function load(item) {
    context ??= new AudioContext();
    await context.resume();
    const buffers = {};
    for (const version of item.versions) {
      const text = atob(version.audio), bytes = new Uint8Array(text.length);
      for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
      buffers[version.name] = await context.decodeAudioData(bytes.buffer);
    }
    deck?.stop();
    deck = new Deck(context, buffers);
    window.listeningTest.deck = deck;
  }

  /* Buttons that choose what is heard. `choices`: [text, key, version]; which version it is stays in this closure. */
  function chooser(choices) {
    const row = make("div", undefined, {class: "row", role: "group", "aria-label": "What you hear"});
    const all = choices.map(([text, key, version]) => {
      const element = button(text, key, () => {
        all.forEach(other => other.setAttribute("aria-pressed", String(other === element)));
        deck.select(version);
        if (!deck.playing) deck.play();
      });
      element.setAttribute("aria-pressed", "false");
      return element;
    });
    row.append(...all, button("Stop", "space", () => deck.playing ? deck.stop() : deck.play()));
    return row;
  }

  function show(...elements) {
    stage.replaceChildren(...elements);
    stage.querySelector("h2")?.setAttribute("tabindex", "-1");
    stage.querySelector("h2")?.focus();
  }

  function finish(title, lines, table, rows, file) {
    deck?.stop();
    keys = {};
    const text = csv(rows), area = make("textarea", undefined, {readonly: "", "aria-label": "Answers as CSV"});
    area.value = text;
    const save = make("button", "Download the answers (CSV)", {type: "button", id: "download"});
    save.addEventListener("click", () => {
      const link = make("a", "", {download: file});
      link.href = URL.createObjectURL(new Blob([text], {type: "text/csv"}));
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
    show(make("h2", title), ...lines.map(line => make("p", line, {class: "result"})), table, save, area);
  }

  function tableOf(rows) {
    const table = make("table"), [head, ...body] = rows;
    const first = table.createTHead().insertRow();
    head.forEach(text => first.append(make("th", text, {scope: "col"})));
    const inner = table.createTBody();
    body.forEach(row => { const line = inner.insertRow(); row.forEach(text => line.append(make("td", String(text)))); });
    return table;
  }

  async function abx() {
    const random = generator(), first = byId("first").value, second = byId("second").value;
    const able = items.filter(item => [first, second].every(name => item.versions.some(v => v.name === name)));
    if (first === second || !able.length) return show(make("p", "Choose two different versions that at least one file has."));
    const repeats = Math.min(20, Math.max(1, Number(byId("repeats").value) || 1));
    const trials = shuffled(Array.from({length: repeats}, () => able).flat(), random), answers = [];
    for (const [number, item] of trials.entries()) {
      keys = {};
      show(make("p", "Loading …"));
      await load(item);
      const x = random() < 0.5 ? first : second, start = performance.now();
      const answer = await new Promise(resolve => show(
        make("h2", `Trial ${number + 1} of ${trials.length}`), make("p", item.file),
        chooser([["A", "a", first], ["B", "b", second], ["X", "x", x]]),
        make("p", "Is X the same as A, or the same as B?"),
        button("X is A", "1", () => resolve(first)), button("X is B", "2", () => resolve(second)),
      ));
      answers.push({item, x, answer, seconds: (performance.now() - start) / 1000});
    }
    const right = answers.filter(a => a.answer === a.x).length, p = binomialTail(right, answers.length);
    const rows = answers.map((a, i) => [i + 1, a.item.file, first, second, a.x, a.answer, Number(a.answer === a.x), Number(a.seconds.toFixed(1))]);
    finish("ABX result", [
      `${right} of ${answers.length} right; p = ${p.toPrecision(3)} (by guessing, at least so many).`,
      p < 0.05 ? "You hear a difference." : "That does not show that you hear a difference.",
    ], tableOf([["file", "right", "of"], ...able.map(item => {
      const own = answers.filter(a => a.item === item);
      return [item.file, own.filter(a => a.answer === a.x).length, own.length];
    })]), [["trial", "file", "a", "b", "x", "answer", "right", "seconds"], ...rows], "abx.csv");
  }

  async function mushra() {
    const random = generator(), answers = [];
    const order = shuffled(items, random);
    for (const [number, item] of order.entries()) {
      keys = {};
      show(make("p", "Loading …"));
      await load(item);
      const hidden = shuffled(item.versions, random), reference = item.versions.find(v => v.name === "clean");
      const scores = await new Promise(resolve => {
        const sliders = hidden.map((_, i) => {
          const row = make("label", undefined, {class: "slider"}), out = make("output", "50");
          const input = make("input", undefined, {type: "range", min: 0, max: 100, value: 50, "aria-label": `Quality of ${i + 1}, 0 to 100`});
          input.addEventListener("input", () => { out.textContent = input.value; });
          row.append(make("span", `Sound ${i + 1}`), input, out);
          return row;
        });
        const words = make("div", undefined, {class: "words", "aria-hidden": "true"});
        words.append(...["bad", "poor", "fair", "good", "excellent"].map(word => make("span", word)));
        show(
          make("h2", `File ${number + 1} of ${order.length}`), make("p", item.file),
          chooser([...(reference ? [["Reference", "r", "clean"]] : []), ...hidden.map((v, i) => [`Sound ${i + 1}`, String(i + 1), v.name])]),
          words, ...sliders,
          button("Next", "n", () => resolve(sliders.map(row => Number(row.querySelector("input").value)))),
        );
      });
      hidden.forEach((version, i) => answers.push({item, version, score: scores[i]}));
    }
    const table = [["version", "mean", "95 % interval", "files"]];
    for (const [name, label] of labels) {
      const found = answers.filter(a => a.version.name === name).map(a => a.score);
      if (!found.length) continue;
      const {n, mean, half} = meanInterval(found);
      table.push([label, mean.toFixed(1), isNaN(half) ? "–" : `± ${half.toFixed(1)}`, n]);
    }
    const clean = answers.filter(a => a.version.name === "clean"), low = clean.filter(a => a.score < 90).length;
    const note = clean.length ? `The hidden reference was rated below 90 in ${low} of ${clean.length} files`
      + (low > 0.15 * clean.length ? ": above 15 %, ITU-R BS.1534 leaves such a listener out." : ".") : "There is no clean reference.";
    finish("MUSHRA result", [note], tableOf(table), [["file", "version", "score"],
      ...answers.map(a => [a.item.file, a.version.name, a.score])], "mushra.csv");
  }

  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    if (event.target.tagName === "INPUT" && event.target.type === "number") return;
    const key = event.key === " " ? "space" : event.key.toLowerCase();
    if (key === "space" && event.target.tagName === "BUTTON") return;  // presses that button
    if (keys[key]) { event.preventDefault(); keys[key].click(); }
  });
  byId("start-abx").addEventListener("click", abx);
  byId("start-mushra").addEventListener("click", mushra);
})();
window.listeningTest = {Deck, binomialTail, csv, meanInterval, deck: null};
