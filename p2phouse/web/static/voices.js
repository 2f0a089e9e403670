// Who speaks, and how far each mouth is open, from the levels that the node pushes.
const WINDOW = 3;
const ENOUGH = 2;  // of three updates
const END_MS = 300;

// dbov: 0 loudest to -127 silent.
export const openness = (dbov) => Math.min(1, Math.max(0, (60 + dbov) / 40));

export class Voices {
  #now = {};
  #heard = new Map();  // peer -> {last: the latest three, speaking, since}

  hear(levels) { this.#now = levels; }

  // Once in 100 ms; true if anything looks different now.
  tick(now = performance.now()) {
    let changed = false;
    for (const peer of this.#heard.keys()) if (!(peer in this.#now)) this.#heard.delete(peer);
    for (const [peer, dbov] of Object.entries(this.#now)) {
      const its = this.#heard.get(peer) ?? {last: [], speaking: false, loudAt: -Infinity, level: 0};
      const before = its.speaking ? its.level : null;
      const level = openness(dbov);
      its.last = [...its.last, level].slice(-WINDOW);
      if (level > 0) its.loudAt = now;
      if (its.last.filter((each) => each > 0).length >= ENOUGH) its.speaking = true;
      else if (now - its.loudAt >= END_MS) its.speaking = false;
      its.level = level;
      this.#heard.set(peer, its);
      changed ||= before !== (its.speaking ? its.level : null);
    }
    return changed;
  }

  level(peer) {
    const its = this.#heard.get(peer);
    return its?.speaking ? its.level : null;
  }
}
