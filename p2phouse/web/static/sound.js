// The page as sound card: the browser's microphone and loudspeaker, and the socket to the node.
// docs/page-sound.md is the socket's protocol. Nothing here draws or decides who may speak.
//
//   const sound = connectSound({port, token, onState: (state) => {…}});
//   button.onclick = () => sound.openMicrophone({echo: true, noise: true, gain: true});
//
// Security: no microphone opens by itself. getUserMedia stands in openMicrophone alone, which is
// called by a click; when the socket is lost the microphone is closed, and coming back leaves it so.

const FRAME_BYTES = 1920; // the node sends these, the page halves of them
const UNSENT_BYTES_MAX = 10 * FRAME_BYTES; // 200 ms: what is older is only delay
const RETRY_MS = 500;
const RETRY_MS_MAX = 5000;
const SILENCE_DBOV = 127;
const LEVEL_MS_MAX = 200; // a level older than that is of nothing
const BAD_TOKEN = 4401;
const REPLACED = 4409;

// Why there may be silence, the gravest first: what `state.causes` holds.
export const CAUSES = Object.freeze([
  "socket lost",
  "output blocked",
  "permission refused",
  "no microphone",
  "device lost",
]);

const REFUSALS = {
  NotAllowedError: "permission refused",
  SecurityError: "permission refused",
  NotFoundError: "no microphone",
  OverconstrainedError: "no microphone",
  NotReadableError: "device lost", // another program holds it, or it was just unplugged
  AbortError: "device lost",
};

// One for the life of the page: some browsers die of a second one.
let shared = null;

export function audio() {
  if (shared === null) {
    const context = new AudioContext({ sampleRate: 48000, latencyHint: "interactive" });
    const loaded = context.audioWorklet.addModule(new URL("./worklet.js", import.meta.url));
    shared = { context, loaded };
  }
  return shared;
}

/**
 * Connects to the node and plays what it sends. Closing it ends both.
 *
 * port, token: of the node's sound socket. token: base64url, or hex as in the page's address.
 * onState: told each change as {causes, socket, microphone, output}:
 *   causes: a list of CAUSES, empty if all is well;
 *   socket: "connecting", "open", "lost" (it tries again), "refused", "replaced", "closed";
 *   microphone: "closed", "opening", "open"; output: "blocked", "running".
 */
export function connectSound({ port, token, onState = () => {} }) {
  const microphone = new Microphone(told, send);
  const loudspeaker = new Loudspeaker(told);
  const socket = new Socket(port, base64url(token), told, loudspeaker, () => microphone.close());
  let last = "";

  function send(frame) {
    socket.send(frame);
  }

  function told() {
    const found = [
      ["lost", "refused", "replaced"].includes(socket.state) && "socket lost",
      loudspeaker.state === "blocked" && "output blocked",
      microphone.cause,
    ];
    const state = {
      causes: CAUSES.filter((cause) => found.includes(cause)),
      socket: socket.state,
      microphone: microphone.state,
      output: loudspeaker.state,
    };
    const text = JSON.stringify(state);
    if (text !== last) {
      last = text;
      onState(state);
    }
  }

  socket.open();
  return {
    /** Only from a click. Resolves to whether it is open; if not, `causes` says why. */
    openMicrophone: (wishes) => microphone.open(wishes ?? {}),
    closeMicrophone: () => microphone.close(),
    /** The id of the microphone that is open, or was when it was lost; "" of none. */
    device: () => microphone.deviceId,
    /** That device is not there any more, whatever the browser says of its track. */
    deviceGone: (deviceId) => microphone.gone(deviceId),
    /** Of the microphone, in -dBov as in RFC 6464: 0 is loudest, 127 silence. */
    level: () => microphone.level(),
    /** Resolves to whether sound now comes from that device; "" is the system's choice. */
    setOutput: (deviceId) => loudspeaker.setDevice(deviceId),
    close: () => {
      microphone.close();
      socket.close();
      loudspeaker.close();
    },
  };
}

// The page's address carries the token in hex, the socket wants it in base64url.
function base64url(token) {
  if (!/^[0-9a-f]{64}$/.test(token)) return token;
  const bytes = token.match(/../g).map((pair) => String.fromCharCode(parseInt(pair, 16)));
  return btoa(bytes.join("")).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

class Socket {
  constructor(port, token, told, loudspeaker, lost) {
    Object.assign(this, { port, token, told, loudspeaker, lost });
    this.state = "connecting";
    this.retryMs = RETRY_MS;
    this.timer = null;
    this.socket = null;
  }

  open() {
    const socket = new WebSocket(`ws://127.0.0.1:${this.port}/sound`);
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket.send(this.token);
    socket.onmessage = ({ data }) => {
      if (socket !== this.socket) return;
      if (typeof data !== "string") {
        this.loudspeaker.play(data);
      } else if (this.state !== "open") {
        this.retryMs = RETRY_MS;
        this.become("open");
      }
    };
    socket.onclose = ({ code }) => {
      if (socket === this.socket) this.closed(code);
    };
  }

  closed(code) {
    this.socket = null;
    this.lost();
    if (code === BAD_TOKEN) return this.become("refused");
    // Coming back would turn out the page that a person uses now.
    if (code === REPLACED) return this.become("replaced");
    this.become("lost");
    this.timer = setTimeout(() => this.open(), this.retryMs);
    this.retryMs = Math.min(2 * this.retryMs, RETRY_MS_MAX);
  }

  send(frame) {
    if (this.state === "open" && this.socket.bufferedAmount <= UNSENT_BYTES_MAX - FRAME_BYTES) {
      this.socket.send(frame);
    }
  }

  close() {
    clearTimeout(this.timer);
    const socket = this.socket;
    this.socket = null; // its end is no news
    if (socket) socket.close();
    this.become("closed");
  }

  become(state) {
    this.state = state;
    this.told();
  }
}

class Microphone {
  constructor(told, send) {
    Object.assign(this, { told, send });
    this.state = "closed";
    this.cause = null;
    this.wish = 0;
    this.source = this.node = this.track = null;
    this.frame = null;
    this.deviceId = "";
    this.heardMs = 0;
  }

  gone(deviceId) {
    if (this.track && deviceId === this.deviceId) this.fail("device lost");
  }

  async open({ echo = true, noise = true, gain = true, deviceId = "" }) {
    this.close();
    const wish = ++this.wish;
    this.cause = null;
    this.become("opening");
    let media = null;
    try {
      const { context, loaded } = audio();
      context.resume(); // this is a click: sound may come out from now on
      media = await navigator.mediaDevices.getUserMedia({
        audio: {
          echoCancellation: echo,
          noiseSuppression: noise,
          autoGainControl: gain,
          channelCount: 1,
          ...(deviceId && { deviceId: { exact: deviceId } }),
        },
      });
      await loaded;
      // Security: closed meanwhile. What the browser opened must not stay open.
      if (wish !== this.wish) {
        for (const track of media.getTracks()) track.stop();
        return false;
      }
      this.connect(context, media);
    } catch (error) {
      if (media) for (const track of media.getTracks()) track.stop();
      if (wish !== this.wish) return false;
      this.fail(REFUSALS[error.name] ?? "no microphone");
      return false;
    }
    this.become("open");
    return true;
  }

  connect(context, media) {
    [this.track] = media.getAudioTracks();
    const track = this.track;
    this.deviceId = track.getSettings().deviceId ?? "";
    track.onended = () => {
      if (track === this.track) this.fail("device lost");
    };
    this.source = context.createMediaStreamSource(media);
    this.node = new AudioWorkletNode(context, "p2phouse-microphone", {
      numberOfOutputs: 0,
      channelCount: 1,
      channelCountMode: "explicit",
    });
    const node = this.node;
    node.port.onmessage = ({ data }) => {
      if (node !== this.node) return; // closed: not one frame more
      this.frame = new Int16Array(data);
      this.heardMs = performance.now();
      this.send(data);
    };
    this.source.connect(node);
  }

  level() {
    if (!this.frame || performance.now() - this.heardMs > LEVEL_MS_MAX) return SILENCE_DBOV;
    let power = 0;
    for (const sample of this.frame) power += (sample / 32768) ** 2;
    power /= this.frame.length;
    if (!(power > 1e-12)) return SILENCE_DBOV;
    return Math.min(SILENCE_DBOV, Math.max(0, Math.round(-10 * Math.log10(power))));
  }

  fail(cause) {
    this.close();
    this.cause = cause;
    this.told();
  }

  close() {
    this.wish++;
    const { track, node, source } = this;
    this.track = this.node = this.source = this.frame = null;
    if (track) track.stop();
    if (source) source.disconnect();
    if (node) node.port.postMessage("over");
    if (this.state !== "closed") this.become("closed");
  }

  become(state) {
    this.state = state;
    this.told();
  }
}

class Loudspeaker {
  constructor(told) {
    this.told = told;
    this.state = "running";
    this.node = null;
    this.element = null;
    this.over = false;
    this.frames = 0;
    const { context, loaded } = audio();
    // A browser keeps a page quiet until a person has touched it.
    this.touched = () => context.resume();
    this.changed = () => {
      this.state = context.state === "running" ? "running" : "blocked";
      if (!this.over) this.told();
    };
    context.addEventListener("statechange", this.changed);
    for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, this.touched, true);
    // Before it may sound a context is suspended; if it may, it runs within a moment.
    Promise.race([context.resume(), new Promise((done) => setTimeout(done, 300))]).then(
      this.changed,
      this.changed,
    );
    loaded.then(() => {
      if (this.over) return;
      this.node = new AudioWorkletNode(context, "p2phouse-loudspeaker", {
        numberOfInputs: 0,
        outputChannelCount: [2],
      });
      this.node.connect(context.destination);
    });
  }

  play(frame) {
    // A context that does not run would keep every frame for later.
    if (this.node && audio().context.state === "running") {
      this.node.port.postMessage(frame, [frame]);
    }
  }

  // Where the context itself has no choice of device, an element plays what it mixes.
  async setDevice(deviceId) {
    const { context, loaded } = audio();
    await loaded;
    try {
      if (context.setSinkId) {
        await context.setSinkId(deviceId === "default" ? "" : deviceId);
      } else {
        if (!this.element) {
          const destination = context.createMediaStreamDestination();
          this.element = new Audio();
          this.element.srcObject = destination.stream;
          this.node.disconnect();
          this.node.connect(destination);
          await this.element.play();
        }
        await this.element.setSinkId(deviceId);
      }
    } catch {
      return false; // unplugged, not allowed, or a browser that has no choice at all
    }
    return true;
  }

  close() {
    this.over = true;
    const { context } = audio();
    context.removeEventListener("statechange", this.changed);
    for (const kind of ["pointerdown", "keydown"]) removeEventListener(kind, this.touched, true);
    if (this.node) this.node.disconnect();
    if (this.element) this.element.pause();
  }
}
