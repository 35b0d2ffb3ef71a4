"use strict";
(() => {
  const players = [];
  let context = null, current = null;
  const bytesOf = async uri => uri.startsWith("data:")
    ? Uint8Array.from(atob(uri.slice(uri.indexOf(",") + 1)), c => c.charCodeAt(0)).buffer
    : (await fetch(uri)).arrayBuffer();

  class Player {
    constructor(card) {
      this.card = card;
      this.button = card.querySelector(".play");
      this.radios = [...card.querySelectorAll(".version input")];
      this.seek = card.querySelector(".seek");
      this.time = card.querySelector(".time");
      this.singles = [...card.querySelectorAll("audio")];
      this.seconds = Number(card.dataset.seconds);
      this.position = 0;   // seconds, while paused
      this.sources = null; // all versions run at once; gains choose the one that is heard
      this.button.disabled = false;
      this.button.addEventListener("click", () => this.toggle());
      this.radios.forEach(radio => radio.addEventListener("change", () => this.choose(this.radios.indexOf(radio))));
      this.seek.addEventListener("input", () => this.moveTo(Number(this.seek.value)));
      card.addEventListener("pointerdown", () => this.use());
      card.addEventListener("focusin", () => this.use());
    }
    use() {
      if (current && current !== this) { current.pause(); current.card.classList.remove("active"); }
      current = this;
      this.card.classList.add("active");
    }
    get chosen() { return Math.max(0, this.radios.findIndex(radio => radio.checked)); }
    choose(index) {
      if (index >= this.radios.length) return;
      this.radios[index].checked = true;
      if (!this.sources) return;
      this.gains.forEach((gain, i) => gain.gain.setTargetAtTime(i === index ? 1 : 0, context.currentTime, 0.004));
    }
    async toggle() {
      this.use();
      if (this.sources) return this.pause();
      if (this.loading) return;
      this.loading = true;
      try {
        context = context || new AudioContext();
        await context.resume();
        this.buffers = this.buffers || await Promise.all(this.singles.map(a => bytesOf(a.src).then(bytes => context.decodeAudioData(bytes))));
        if (current === this) this.start();
      } catch (error) {
        this.time.textContent = "cannot play: " + error.message;
      } finally {
        this.loading = false;
      }
    }
    start() {
      const at = context.currentTime + 0.02, repeat = document.getElementById("repeat").checked;
      const length = Math.min(...this.buffers.map(b => b.duration));
      const from = this.position < length - 0.02 ? this.position : 0;
      this.length = length;
      this.gains = [];
      this.sources = this.buffers.map((buffer, i) => {
        const source = new AudioBufferSourceNode(context, {buffer, loop: repeat, loopStart: 0, loopEnd: length});
        const gain = new GainNode(context, {gain: i === this.chosen ? 1 : 0});
        source.connect(gain).connect(context.destination);
        source.start(at, from);
        this.gains.push(gain);
        return source;
      });
      this.started = at - from;
      this.repeat = repeat;
      this.sources[0].onended = () => { if (!repeat) { this.pause(); this.position = 0; this.show(); } };
      this.button.textContent = "Pause";
      requestAnimationFrame(() => this.tick());
    }
    now() {
      if (!this.sources) return this.position;
      const passed = Math.max(0, context.currentTime - this.started);
      return this.repeat ? passed % this.length : Math.min(passed, this.length);
    }
    pause() {
      if (!this.sources) return;
      this.position = this.now();
      this.sources.forEach(source => { source.onended = null; source.stop(); });
      this.sources = null;
      this.button.textContent = "Play";
      this.show();
    }
    moveTo(seconds) {
      const playing = this.sources !== null;
      this.pause();
      this.position = seconds;
      if (playing) this.start();
      this.show();
    }
    tick() { if (this.sources) { this.show(); requestAnimationFrame(() => this.tick()); } }
    show() {
      const now = this.now();
      this.seek.value = now;
      this.time.textContent = now.toFixed(1) + " / " + this.seconds.toFixed(1) + " s";
    }
  }

  document.querySelectorAll(".item").forEach(card => players.push(new Player(card)));
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || !players.length) return;
    const player = current || players[0];
    if (["1", "2", "3"].includes(event.key)) {
      player.use();
      player.choose(Number(event.key) - 1);
      event.preventDefault();
    } else if (event.key === " " && !event.target.closest("button, summary, audio, #repeat")) {
      player.toggle();
      event.preventDefault();
    }
  });
  window.listening = {players, context: () => context};
})();
