// One mix of the whole room over plain HTTP: where no voices come by UDP, and for old browsers.
import {canHear, hear} from "/webm.js";

const WAITS_MS = [1_000, 2_000, 4_000];
const STALLED_MS = 10_000;

// Safari of some years plays it by itself only.
export const mayMix = () => canHear || Boolean(new Audio().canPlayType('audio/webm; codecs="opus"'));

export class Mix {
  #source; #token; #ear; #told; #running = null; #tries = 0; #wasIn = false;

  // told(state): joining, listening, lost or blocked; and held, where the browser waits for a hand.
  constructor({room, token = "", ear, told}) {
    this.#source = `/r/${room}/listen.webm`;
    this.#token = token;
    this.#ear = ear;
    this.#told = told;
  }

  async start() {
    this.stop();
    const {signal} = this.#running = new AbortController();
    this.#tries = 0;
    this.#wasIn = false;
    this.#told("joining");
    while (!signal.aborted) {
      await this.#play(signal).catch(() => {});  // it ended, whatever by
      if (signal.aborted) return;
      if (this.#tries >= (this.#wasIn ? WAITS_MS.length : 1)) { this.#told("blocked"); return; }
      this.#told("lost");
      await new Promise((done) => setTimeout(done, WAITS_MS[this.#tries++]));
    }
  }

  stop() {
    this.#running?.abort();
    this.#ear.removeAttribute("src");
    this.#ear.load();  // or the connection stays
  }

  goOn() { return this.#ear.play(); }

  // Until it ends, or brings nothing for too long.
  async #play(signal) {
    const over = new AbortController();
    const on = (names, hears) => names.forEach((each) => this.#ear.addEventListener(each, hears, {signal: over.signal}));
    const stop = () => over.abort();
    signal.addEventListener("abort", stop);
    let timer = setTimeout(stop, STALLED_MS);
    on(["playing"], () => {
      clearTimeout(timer);
      this.#tries = 0;
      this.#wasIn = true;
      this.#told("listening");
    });
    on(["canplay"], () => {
      if (!this.#ear.paused) return;
      clearTimeout(timer);
      this.#told("held");
    });
    on(["waiting"], () => { timer = setTimeout(stop, STALLED_MS); });
    try {
      await (canHear ? hear(this.#ear, this.#source, {token: this.#token, signal: over.signal}) : this.#byItself(over.signal));
    } finally {
      clearTimeout(timer);
      over.abort();
      signal.removeEventListener("abort", stop);
    }
  }

  #byItself(signal) {
    return new Promise((done) => {
      for (const each of ["error", "ended"]) this.#ear.addEventListener(each, done, {signal});
      signal.addEventListener("abort", done);
      this.#ear.src = this.#source + (this.#token && `?token=${encodeURIComponent(this.#token)}`);
      this.#ear.play().catch(() => {});
    });
  }
}
