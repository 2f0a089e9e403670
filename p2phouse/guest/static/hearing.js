// What one hears: each voice by its own line, or one mix of them all where no line can be had.
import {Mix, mayMix} from "/mix.js";
import {Listener} from "/whep.js";

const STARTS_MS = 400;  // an AudioContext that may run does so within
const AGAIN_MS = 2_000;

export class Hearing {
  isMix = false;
  #voices; #mix; #ears; #told; #wanted = false; #wasIn = false;

  // ears: an <audio> for each line (not every browser mixes the tracks of one), the last for the
  // mix. told(state): what a Listener tells, and `held` while the browser waits for a hand.
  constructor({room, token, ears, told, moved}) {
    this.#ears = ears;
    this.#told = told;
    this.#voices = globalThis.RTCPeerConnection && new Listener({room, token, moved, told: (state, tracks) => this.#hear(state, tracks)});
    this.#mix = mayMix() && new Mix({room, token, ear: ears().at(-1), told: (state) => this.#hearMix(state)});
  }

  get canHear() { return Boolean(this.#voices || this.#mix); }

  start() {
    this.#wanted = true;
    this.#wasIn = false;
    this.#begin();
  }

  stop() {
    this.#wanted = false;
    this.#voices?.stop();
    if (this.isMix) this.#mix.stop();
    for (const ear of this.#ears()) ear.srcObject = null;
  }

  // By a hand, which the browser waited for.
  goOn() {
    if (this.isMix) this.#mix.goOn();
    else this.#play();
  }

  turn(volume) {
    for (const ear of this.#ears()) ear.volume = volume;
  }

  // By slot, in dBov. A mix has none.
  levels() { return this.isMix ? {} : this.#voices.levels(); }

  #begin() {
    this.isMix = false;
    if (this.#voices) this.#voices.start();
    else this.#startMix();
  }

  #startMix() {
    this.isMix = true;
    this.#mix.start();
  }

  // Who was in does not give up: the network may be another one soon.
  #hearMix(state) {
    if (!this.#wanted) return;
    this.#wasIn ||= state === "listening";
    if (state === "blocked" && this.#wasIn) {
      this.#told("lost");
      setTimeout(() => this.#wanted && this.#begin(), AGAIN_MS);
    } else this.#told(state);
  }

  #hear(state, tracks) {
    if (!this.#wanted) return;
    this.#wasIn ||= state === "listening";
    if (state === "blocked" && this.#mix) {
      this.#voices.stop();
      this.#startMix();
      return;
    }
    if (state !== "listening") { this.#told(state); return; }
    tracks.forEach((track, line) => {
      const ear = this.#ears()[line];
      if (ear.srcObject?.getTracks()[0] !== track) ear.srcObject = new MediaStream([track]);
    });
    this.#play();
  }

  async #play() {
    try {
      await Promise.all(this.#ears().slice(0, -1).map((ear) => ear.play()));
      this.#told("listening");
    } catch (error) {
      if (this.#wanted) this.#told(error.name === "NotAllowedError" ? "held" : "listening");
    }
  }
}

// Whether this browser plays sound before it is touched: then there is nothing to ask.
export async function mayPlay() {
  const known = navigator.getAutoplayPolicy?.("mediaelement");
  if (known) return known === "allowed";
  if (!globalThis.AudioContext) return false;
  const context = new AudioContext();
  await new Promise((done) => { context.onstatechange = done; setTimeout(done, STARTS_MS); });
  const runs = context.state === "running";
  await context.close();
  return runs;
}
