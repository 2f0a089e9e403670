// The two ends of sound inside the browser's audio thread: one cuts what the microphone gives into
// frames, the other plays frames from a cushion. Frames are 20 ms: 960 samples s16, mono, 48 kHz.
// Nothing here knows of the socket; sound.js carries frames between it and these ports.

const FRAME_SAMPLES = 960;
const QUANTUM = 128;

class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.frame = new Int16Array(FRAME_SAMPLES);
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
      this.frame[this.filled++] = Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));
      if (this.filled === FRAME_SAMPLES) {
        this.port.postMessage(this.frame.buffer, [this.frame.buffer]);
        this.frame = new Int16Array(FRAME_SAMPLES);
        this.filled = 0;
      }
    }
    return true;
  }
}

// What is held swings by a frame between two arrivals: from 20-40 ms before one to 40-60 after it.
const START_SAMPLES = 2400; // 50 ms: three frames are there
const LEAST_SAMPLES = 960;
const MOST_SAMPLES = 1920;
const FULL_SAMPLES = 5760; // 120 ms: after a stall; what is older is only delay
const WATCHED_QUANTA = 188; // half a second
const BEND_SAMPLES = 1; // a quantum out of 127 or 129 samples: 0.8 %, an eighth of a semitone

class Loudspeaker extends AudioWorkletProcessor {
  constructor() {
    super();
    this.ring = new Float32Array(2 * FULL_SAMPLES);
    this.start = 0;
    this.held = 0;
    this.plays = false; // else it waits until the cushion is full
    this.least = Infinity;
    this.watched = 0;
    this.bend = 0;
    this.port.onmessage = ({ data }) => this.take(new Int16Array(data));
  }

  take(frame) {
    for (let at = 0; at < frame.length; at++) {
      this.ring[(this.start + this.held + at) % this.ring.length] = frame[at] / 32768;
    }
    this.held += frame.length;
    if (this.held > FULL_SAMPLES) this.drop(this.held - START_SAMPLES);
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
      this.least = Infinity;
      this.watched = this.bend = 0;
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

  // Two clocks drift: how little was held at the worst moment of half a second says which way.
  watch() {
    this.least = Math.min(this.least, this.held);
    if (++this.watched < WATCHED_QUANTA) return;
    if (this.least > MOST_SAMPLES) this.bend = BEND_SAMPLES;
    else if (this.least < LEAST_SAMPLES) this.bend = -BEND_SAMPLES;
    else this.bend = 0;
    this.least = Infinity;
    this.watched = 0;
  }
}

registerProcessor("p2phouse-microphone", Microphone);
registerProcessor("p2phouse-loudspeaker", Loudspeaker);
