// The page's microphone and loudspeaker in the node, and what a hand wants of them.
//
// The microphone opens at the first unmute and stays open until the room is left: while muted the
// node throws away what it sends, and a held Space is heard from its first word.
import {connectSound} from "/sound.js";

const TROUBLES = {
  "permission refused": "micRefused",
  "no microphone": "micMissing",
  "device lost": "micLost",
};

export class Mouth {
  #port = null;
  #sound = null;
  #state = {causes: [], socket: "connecting", microphone: "closed", output: "running"};
  #muted = true;
  #wanted = true;  // muted
  #asking = false;

  // changed: told whenever something here looks different. silenced: told when the microphone of a
  // person who is heard is gone.
  constructor(token, changed, silenced) {
    Object.assign(this, {token, changed, silenced});
    this.isPage = false;  // whether this node speaks through a page
  }

  told({port}) {
    if (port === this.#port) return;
    this.#port = port;
    this.here();
  }

  // Takes the sound to this page, at first and again.
  here() {
    this.#sound?.close();
    this.#sound = null;
    if (!this.isPage || this.#port === null) return;
    const sound = this.#sound = connectSound({port: this.#port, token: this.token, onState: (state) => {
      if (this.#sound !== null && sound !== this.#sound) return;
      this.#state = state;
      if (state.microphone === "closed" && !this.#muted && !this.#asking) this.silenced();
      this.changed();
    }});
  }

  // What the node says is so.
  settled(muted, mouth) {
    if (!this.#asking) this.#muted = this.#wanted = muted;
    if (this.isPage !== (mouth === "page")) {
      this.isPage = mouth === "page";
      this.here();
    }
  }

  close() { this.#sound?.closeMicrophone(); }

  get busy() { return this.#state.microphone === "opening"; }
  get trouble() { return TROUBLES[this.#state.causes.find((cause) => cause in TROUBLES)] ?? null; }
  get elsewhere() { return this.isPage && this.#state.socket === "replaced"; }
  get broken() { return this.isPage && ["lost", "refused"].includes(this.#state.socket); }
  get heldBack() { return this.isPage && this.#state.output === "blocked"; }

  // One wish at a time reaches the node, the last one counts: a Space let go while the browser still
  // asks for the microphone leaves us muted. done: told each answer.
  async want(live, ask, done) {
    this.#wanted = !live;
    if (this.#asking) return;
    this.#asking = true;
    try {
      while (this.#muted !== this.#wanted) {
        if (!this.#wanted && !(await this.#hasMicrophone())) this.#wanted = true;
        if (this.#muted === this.#wanted) break;
        const {muted} = await ask(this.#wanted ? "mute" : "unmute");
        this.#muted = muted;
        done(muted);
      }
    } finally {
      this.#asking = false;
      this.#wanted = this.#muted;
      this.changed();
    }
  }

  async #hasMicrophone() {
    if (!this.isPage || this.#state.microphone === "open") return true;
    return this.#sound !== null && await this.#sound.openMicrophone();
  }
}
