// Microphones and loudspeakers of this machine, which of them a person chose, and what comes and goes.
const CHOSEN = {audioinput: "microphone", audiooutput: "speaker"};

export class Devices {
  all = [];
  known = false;

  constructor(changed) {
    this.changed = changed;
    this.gone = () => {};  // told the id of a device that was there and is not
    navigator.mediaDevices?.addEventListener("devicechange", () => this.look());
    this.look();
  }

  async look() {
    const before = this.all;
    const found = await navigator.mediaDevices?.enumerateDevices().catch(() => null);
    if (!found) return;
    this.all = found.map(({kind, deviceId, label}) => ({kind, id: deviceId, label}));
    this.known = true;
    for (const {kind, id} of before) {
      if (id && !this.all.some((each) => each.kind === kind && each.id === id)) this.gone(kind, id);
    }
    this.changed();
  }

  // Before a page may use the microphone a browser tells neither names nor numbers, but that there is one.
  of(kind) { return this.all.filter((each) => each.kind === kind && each.id); }
  get lacksMicrophone() { return this.known && !this.all.some((each) => each.kind === "audioinput"); }

  chosen(kind) { return localStorage.getItem(CHOSEN[kind]) ?? ""; }

  choose(kind, id) {
    if (id) localStorage.setItem(CHOSEN[kind], id);
    else localStorage.removeItem(CHOSEN[kind]);
    this.changed();
  }

  otherMicrophone(lost) {
    return this.of("audioinput").find((each) => each.id !== lost && !["default", "communications"].includes(each.id)) ?? null;
  }
}

export const canChooseSpeaker = "setSinkId" in AudioContext.prototype || "setSinkId" in HTMLMediaElement.prototype;
