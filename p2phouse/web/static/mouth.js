// The page's microphone and loudspeaker in the node, and what a hand wants of them.
//
// The microphone opens at an unmute. Muted again it stays open for a while, so that a held Space is
// heard from its first word; the node throws away what it sends meanwhile. Then it is let go, and
// the browser's sign that somebody records goes out.
import {connectSound} from "/sound.js";

const RELEASE_MS = 30_000;
const TROUBLES = {"permission refused": "micRefused", "no microphone": "micMissing"};
const LOST = "device lost";

export class Mouth {
  #port = null;
  #sound = null;
  #state = {causes: [], socket: "connecting", microphone: "closed", output: "running"};
  #muted = true;
  #wanted = true;  // muted
  #asking = false;
  #release = null;
  #forgiven = false;  // a lost device that the person has dealt with

  // changed: told whenever something here looks different. silenced: told when the microphone of a
  // person who is heard is gone. blocked: told whether the browser holds the sound back.
  constructor(token, devices, changed, silenced, blocked) {
    Object.assign(this, {token, devices, changed, silenced, blocked});
    this.isPage = false;  // whether this node speaks through a page
    this.processing = JSON.parse(localStorage.getItem("processing") ?? "{}");  // echo, noise, gain: false if off
    devices.gone = (kind, id) => this.#gone(kind, id);
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
      const was = this.#state;
      this.#state = state;
      if (state.output !== was.output) this.blocked(state.output === "blocked");
      if (state.microphone === "closed" && !this.#muted && !this.#asking) this.silenced();
      if (state.causes.includes(LOST) && !was.causes.includes(LOST)) {
        this.#forgiven = false;
        this.devices.look();
      }
      this.changed();
    }});
    const speaker = this.devices.chosen("audiooutput");
    if (speaker) sound.setOutput(speaker);
  }

  // What the node says is so.
  settled(muted, mouth) {
    if (!this.#asking) {
      this.#muted = this.#wanted = muted;
      this.#releaseLater();
    }
    if (this.isPage !== (mouth === "page")) {
      this.isPage = mouth === "page";
      this.here();
    }
  }

  close() { this.#sound?.closeMicrophone(); }

  get busy() { return this.#state.microphone === "opening"; }
  get isOpen() { return this.#state.microphone === "open"; }
  get trouble() { return TROUBLES[this.#state.causes.find((cause) => cause in TROUBLES)] ?? null; }
  get elsewhere() { return this.isPage && this.#state.socket === "replaced"; }
  get broken() { return this.isPage && ["lost", "refused"].includes(this.#state.socket); }
  get heldBack() { return this.isPage && this.#state.output === "blocked"; }

  // The id of the microphone that went away, until another is chosen.
  get lostDevice() {
    return this.#state.causes.includes(LOST) && !this.#forgiven ? this.#sound?.device() || "unknown" : null;
  }

  // A hand chose: who is live goes on with the other one, who is muted stays so.
  async chooseMicrophone(id) {
    this.devices.choose("audioinput", id);
    await this.#changeMicrophone();
  }

  // echo, noise, gain: on or off.
  async process(its) {
    this.processing = {...this.processing, ...its};
    localStorage.setItem("processing", JSON.stringify(this.processing));
    await this.#changeMicrophone();
  }

  async chooseSpeaker(id) {
    this.devices.choose("audiooutput", id);
    return await this.#sound?.setOutput(id) ?? true;
  }

  async #changeMicrophone() {
    this.#forgiven = true;
    if (this.isOpen && !this.#muted) {
      this.#asking = true;  // closed for a moment is no loss
      await this.#open();
      this.#asking = false;
      if (!this.isOpen) this.silenced();
    } else this.close();
    this.changed();
  }

  #gone(kind, id) {
    if (kind === "audioinput") this.#sound?.deviceGone(id);
    if (kind === "audiooutput" && id === this.devices.chosen(kind)) this.chooseSpeaker("");
  }

  #releaseLater() {
    if (!this.#muted || !this.isOpen) {
      clearTimeout(this.#release);
      this.#release = null;
      return;
    }
    this.#release ??= setTimeout(() => {
      this.#release = null;
      if (this.#muted && !this.#asking) this.close();
    }, RELEASE_MS);
  }

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
      this.#releaseLater();
      this.changed();
    }
  }

  async #hasMicrophone() {
    if (!this.isPage || this.isOpen) return true;
    return await this.#open();
  }

  async #open() {
    if (this.#sound === null) return false;
    const opened = await this.#sound.openMicrophone({...this.processing, deviceId: this.devices.chosen("audioinput")});
    this.devices.look();  // names are told to a page that may use one
    return opened;
  }
}
