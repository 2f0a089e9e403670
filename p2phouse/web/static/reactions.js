// Reactions that rise over a face, and the six one can send.
const SHOWN_MS = 2_600;
const SHOWN_MAX = 6;  // over one face
const CODE_POINTS_MAX = 8;

export const EMOJI = ["👏", "❤️", "😂", "👍", "🎉", "😮"];

export class Reactions {
  #shown = new Map();  // peer → [{key, text}]
  #count = 0;

  constructor(changed) { this.changed = changed; }

  // Text of others: drawn as text, and no more of it than a reaction has.
  show(peer, text) {
    const all = this.#shown.get(peer) ?? [];
    const one = {key: ++this.#count, text: [...text].slice(0, CODE_POINTS_MAX).join("")};
    this.#shown.set(peer, [...all, one].slice(-SHOWN_MAX));
    this.changed();
    setTimeout(() => {
      const left = (this.#shown.get(peer) ?? []).filter((each) => each !== one);
      if (left.length) this.#shown.set(peer, left);
      else this.#shown.delete(peer);
      this.changed();
    }, SHOWN_MS);
  }

  of(peer) { return this.#shown.get(peer) ?? []; }
}
