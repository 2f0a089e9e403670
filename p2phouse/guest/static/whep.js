// A listener's end of WHEP: one offer, one answer; and again when the line is lost.
const SLOTS = 4;  // as many voices as a relay sends at a time
const CONNECT_MS = 8_000;  // from the answer to the first packet; a bad line takes 5 s
const LOST_MS = 6_000;  // by another way, from one Wi-Fi to the next, we are there again within
const WAITS_MS = [500, 1_000, 2_000, 4_000, 8_000];
const SILENT = -127;

// What comes of one attempt that failed. again: whether another may do better, and after how long.
class Refusal {
  constructor(state, {again = false, afterMs = null} = {}) { Object.assign(this, {state, again, afterMs}); }
}

export class Listener {
  #room; #token; #told; #moved; #line = null; #place = null; #running = 0; #tries = 0;

  // told(state, tracks): joining, listening, lost, full, unreachable, blocked, asks or over. The
  // last three are final until the next start(). moved(place): where the relay has us now.
  constructor({room, token = "", told, moved = () => {}}) {
    this.#room = room;
    this.#token = token;
    this.#told = told;
    this.#moved = moved;
  }

  async start() {
    const run = ++this.#running;
    this.#told("joining");
    let wasIn = false;
    while (run === this.#running) {
      const end = await this.#attempt(run, () => { wasIn = true; });
      if (run !== this.#running) return;  // stop() has hung up
      await this.#hangUp();
      if (!end.again) { this.#told(end.state); return; }
      this.#told(end.state === "blocked" && wasIn ? "lost" : end.state);
      const wait = end.afterMs ?? WAITS_MS[Math.min(this.#tries++, WAITS_MS.length - 1)];
      await new Promise((done) => setTimeout(done, wait * (1 + Math.random() / 4)));
    }
  }

  async stop() {
    this.#running++;
    await this.#hangUp();
  }

  // The loudness of each slot in dBov, -127 for silence; nothing while there is no line.
  async levels() {
    if (!this.#line) return {};
    const slots = new Map(this.#line.getReceivers().map((each, slot) => [each.track.id, slot]));
    const found = {};
    for (const its of (await this.#line.getStats()).values()) {
      if (its.type !== "inbound-rtp" || !slots.has(its.trackIdentifier)) continue;
      const level = its.audioLevel ?? 0;
      found[slots.get(its.trackIdentifier)] = level > 0 ? Math.max(SILENT, 20 * Math.log10(level)) : SILENT;
    }
    return found;
  }

  // Until the line is lost or cannot be had; how that was.
  async #attempt(run, joined) {
    const line = new RTCPeerConnection({bundlePolicy: "max-bundle"});
    this.#line = line;
    for (let slot = 0; slot < SLOTS; slot++) line.addTransceiver("audio", {direction: "recvonly"});
    await line.setLocalDescription();
    let answer;
    try {
      answer = await fetch(`/whep/${this.#room}${location.search}`, {
        method: "POST", body: line.localDescription.sdp, redirect: "manual",
        headers: {"content-type": "application/sdp", ...this.#authorization()},
      });
    } catch {
      return new Refusal("unreachable", {again: true});
    }
    if (answer.type === "opaqueredirect") {  // another relay has a place: its page goes on from here
      location.replace(`/r/${this.#room}/elsewhere${location.hash}`);
      return new Refusal("joining", {again: true});
    }
    if (answer.status !== 201) return refusal(answer);
    const place = answer.headers.get("location");
    if (run !== this.#running) {  // stopped meanwhile; what is there now may be of the next start
      await this.#leave(line, place);
      return new Refusal("over");
    }
    this.#place = place;
    this.#moved(place);
    await line.setRemoteDescription({type: "answer", sdp: await answer.text()});
    if (!await until(line, (state) => state === "connected", CONNECT_MS)) {
      return new Refusal("blocked", {again: this.#tries === 1});  // who was in comes back once more
    }
    joined();
    this.#tries = 1;
    await this.#listen(run, line);
    return new Refusal("lost", {again: true, afterMs: 0});
  }

  // Until the line has failed, or has been cut off for so long that it will not come back.
  #listen(run, line) {
    return new Promise((done) => {
      let timer = null;
      const look = () => {
        const state = line.connectionState;
        if (run !== this.#running || ["failed", "closed"].includes(state)) { clearTimeout(timer); done(); return; }
        if (state === "connected") {
          clearTimeout(timer);
          this.#told("listening", line.getReceivers().map((each) => each.track));
        }
        if (state === "disconnected") {
          this.#told("lost");
          clearTimeout(timer);
          timer = setTimeout(done, LOST_MS);
          this.#restart(line).catch(() => {});  // then there is no way to the relay at all
        }
      };
      line.addEventListener("connectionstatechange", look);
      look();
    });
  }

  // Another way to where the relay has us already (RFC 9725 §4.3.3): the keys stay, and our place.
  async #restart(line) {
    const [place, before] = [this.#place, line.remoteDescription.sdp];
    line.restartIce();
    await line.setLocalDescription();
    const answer = await fetch(place, {
      method: "PATCH", body: ICE_NAMES.map((name) => `a=${name}:${iceName(line.localDescription.sdp, name)}\r\n`).join(""),
      headers: {"content-type": "application/trickle-ice-sdpfrag", "if-match": "*", ...this.#authorization()},
    });
    if (!answer.ok || line !== this.#line) return;
    const fragment = await answer.text();
    const sdp = ICE_NAMES.reduce((text, name) => text.replaceAll(new RegExp(`a=${name}:\\S+`, "g"), `a=${name}:${iceName(fragment, name)}`), before);
    await line.setRemoteDescription({type: "answer", sdp});
  }

  #authorization() {
    return this.#token ? {authorization: `Bearer ${this.#token}`} : {};
  }

  #hangUp() {
    const [line, place] = [this.#line, this.#place];
    this.#line = this.#place = null;
    return this.#leave(line, place);
  }

  // keepalive: the page may be going away.
  async #leave(line, place) {
    line?.close();
    if (!place) return;
    try {
      await fetch(place, {method: "DELETE", keepalive: true, headers: this.#authorization()});
    } catch { /* the relay notices by itself within half a minute */ }
  }
}

const ICE_NAMES = ["ice-ufrag", "ice-pwd"];
const iceName = (sdp, name) => new RegExp(`a=${name}:(\\S+)`).exec(sdp)[1];

function refusal(answer) {
  const seconds = Number(answer.headers.get("retry-after")) || 5;
  if (answer.status === 503) return new Refusal("full", {again: true, afterMs: 1_000 * seconds});
  if (answer.status === 401) return new Refusal("asks");
  if ([403, 404].includes(answer.status)) return new Refusal("over");
  return new Refusal("unreachable", {again: true});
}

// Whether the line comes into such a state within so long, before it fails.
function until(line, wanted, withinMs) {
  return new Promise((done) => {
    const timer = setTimeout(() => done(false), withinMs);
    const look = () => {
      const state = line.connectionState;
      if (!wanted(state) && !["failed", "closed"].includes(state)) return;
      clearTimeout(timer);
      done(wanted(state));
    };
    line.addEventListener("connectionstatechange", look);
    look();
  });
}
