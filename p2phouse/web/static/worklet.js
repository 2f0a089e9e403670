// The two ends of sound inside the browser's audio thread: one cuts what the microphone gives into
// pieces, the other plays frames from a cushion. Pieces are 10 ms, as browsers hear in bursts of that,
// frames 20 ms: 480 and 960 samples s16, mono, 48 kHz.
// Nothing here knows of the socket; sound.js carries both between it and these ports.

const PIECE_SAMPLES = 480;
const QUANTUM = 128;

class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.piece = new Int16Array(PIECE_SAMPLES);
    this.filled = 0;
    this.over = false;
    this.port.onmessage = () => {
      this.over = true;
    };
  }

  process([input]) {
    if (this.over) return false;
    const samples = input[0];
    if (!samples) return true; // the device gives nothing yet
    for (let at = 0; at < samples.length; at++) {
      const sample = Math.max(-1, Math.min(1, samples[at]));
      this.piece[this.filled++] = Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));
      if (this.filled === PIECE_SAMPLES) {
        this.port.postMessage(this.piece.buffer, [this.piece.buffer]);
        this.piece = new Int16Array(PIECE_SAMPLES);
        this.filled = 0;
      }
    }
    return true;
  }
}

// It begins with much and comes down, until little is left at the worst moments of the last seconds:
// how much that needs depends on the bursts of the device, and on how busy the machine is.
const START_SAMPLES = 2400; // 50 ms: three frames are there
const LEAST_SAMPLES = 368; // a quantum and 5 ms
const MOST_SAMPLES = 608; // a quantum and 10 ms
const DRY_SAMPLES = 240; // 5 ms more each time that it ran dry, forgotten again within 20 s
const DRY_SAMPLES_MAX = 960;
const FULL_SAMPLES = 5760; // 120 ms: after a stall; what is older is only delay
const WATCHED_QUANTA = 188; // half a second
const WATCHED_TIMES = 8;
const BEND_SAMPLES = 1; // a quantum out of 127 or 129 samples, every second or fourth: 0.4 or 0.2 %
const MUCH_SAMPLES = 480; // 10 ms

class Loudspeaker extends AudioWorkletProcessor {
  constructor() {
    super();
    this.ring = new Float32Array(2 * FULL_SAMPLES);
    this.start = 0;
    this.held = 0;
    this.plays = false; // else it waits until the cushion is full
    this.dry = 0; // how much more is kept since it ran dry
    this.forget();
    this.port.onmessage = ({ data }) => this.take(new Int16Array(data));
  }

  take(frame) {
    for (let at = 0; at < frame.length; at++) {
      this.ring[(this.start + this.held + at) % this.ring.length] = frame[at] / 32768;
    }
    this.held += frame.length;
    if (this.held > FULL_SAMPLES) {
      this.used += this.held - START_SAMPLES;
      this.drop(this.held - START_SAMPLES);
    }
  }

  drop(count) {
    this.start = (this.start + count) % this.ring.length;
    this.held -= count;
  }

  process(_, [output]) {
    if (!this.plays) {
      if (this.held < START_SAMPLES) return true; // the buffers are zeros already
      this.plays = true;
      this.fade(output, this.quantum(0), true);
      return true;
    }
    this.watch();
    if (this.held < QUANTUM + this.bend) {
      // Ran dry: fade out what is left, and wait for a new cushion.
      this.plays = false;
      this.dry = Math.min(this.dry + DRY_SAMPLES, DRY_SAMPLES_MAX);
      this.forget();
      this.fade(output, this.quantum(0), false);
      return true;
    }
    const sound = this.quantum(this.bend);
    for (const channel of output) channel.set(sound);
    return true;
  }

  // The next 128 samples, made out of `bend` more than that; zeros where there are none.
  quantum(bend) {
    const sound = new Float32Array(QUANTUM);
    const count = Math.min(this.held, QUANTUM + bend);
    const made = bend ? QUANTUM : count;
    const step = bend ? (count - 1) / (QUANTUM - 1) : 1;
    for (let at = 0; at < made; at++) {
      const place = Math.min(at * step, count - 1);
      const whole = Math.floor(place);
      const here = this.sample(whole);
      // Straight lines between them: `whole + 1` may be one too far, but then its weight is 0.
      sound[at] = here + (place - whole) * (this.sample(whole + 1) - here);
    }
    this.drop(count);
    return sound;
  }

  sample(at) {
    return this.ring[(this.start + at) % this.ring.length];
  }

  fade(output, sound, isIn) {
    for (const channel of output) {
      for (let at = 0; at < QUANTUM; at++) {
        channel[at] = sound[at] * (isIn ? at + 1 : QUANTUM - at - 1) / QUANTUM;
      }
    }
  }

  forget() {
    this.used = 0; // more than was played, since then
    this.leasts = []; // of each half second, and what was used until then
    this.least = Infinity; // of this one
    this.watched = 0;
    this.bend = this.wish = 0; // of this quantum, and as long as nothing else is seen
    this.each = 2; // in how many quanta one is bent
  }

  // How little was held at the worst moments of the last seconds, had we held then as we hold now,
  // says what is too much; and, as two clocks drift, what is too little.
  watch() {
    this.bend = this.watched % this.each ? 0 : this.wish;
    this.used += this.bend;
    this.least = Math.min(this.least, this.held + this.used);
    if (++this.watched < WATCHED_QUANTA) return;
    this.leasts = [...this.leasts, this.least].slice(-WATCHED_TIMES);
    this.least = Infinity;
    this.watched = 0;
    this.dry = Math.max(0, this.dry - DRY_SAMPLES / 40);
    // The second worst: one stall is no reason to hold more for everything after it.
    const [worst, second = worst] = [...this.leasts].sort((one, other) => one - other);
    const least = second - this.used - this.dry;
    this.wish = least > MOST_SAMPLES ? BEND_SAMPLES : least < LEAST_SAMPLES ? -BEND_SAMPLES : 0;
    // What is too little is soon heard, what is a little too much is no hurry.
    this.each = this.wish < 0 || least > MOST_SAMPLES + MUCH_SAMPLES ? 2 : 4;
  }
}

registerProcessor("p2phouse-microphone", Microphone);
registerProcessor("p2phouse-loudspeaker", Loudspeaker);
