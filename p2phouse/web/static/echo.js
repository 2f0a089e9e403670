// The echo check: three short chirps through the loudspeaker while the microphone is open, and
// whether they come back. It runs at a click alone, keeps nothing and sends nothing.
import {html, useEffect, useRef, useState} from "/vendor/htm-preact.js";
import {Icon} from "/icons.js";
import {t} from "/i18n.js";
import {Problem, Sheet} from "/parts.js";
import {audio} from "/sound.js";

const RATE_HZ = 48_000;
const STEP = 4;  // compared at 12 kHz: a chirp lies under 4
const CHIRP_S = 0.15;
const LOW_HZ = 600;
const HIGH_HZ = 3_600;
const AT_S = [0.3, 0.9, 1.5];
const WHOLE_S = 2.3;
const LATE_S_MAX = 0.55;  // wireless headphones take a third of a second
const TOGETHER_S = 0.01;  // an echo comes each time after the same while
const ALIKE_MIN = 0.25;  // of 1; noise and speech stay under .15

export function chirp() {
  const count = RATE_HZ * CHIRP_S;
  const bend = Math.log(HIGH_HZ / LOW_HZ);
  return Float32Array.from({length: count}, (_, at) => {
    const part = at / count;
    const phase = 2 * Math.PI * LOW_HZ * CHIRP_S / bend * (Math.exp(part * bend) - 1);
    return 0.25 * Math.sin(phase) * Math.sin(Math.PI * part) ** 0.5;
  });
}

function thinned(sound) {
  const kept = new Float32Array(Math.floor(sound.length / STEP));
  for (let at = 0; at < kept.length; at++) {
    let sum = 0;
    for (let each = 0; each < STEP; each++) sum += sound[at * STEP + each];
    kept[at] = sum / STEP;
  }
  return kept;
}

// How alike `heard` from `from` is to `said`, 0 to 1, at the place within `reach` where it is most so.
function likest(heard, said, from, reach) {
  let energy = 0;
  for (const sample of said) energy += sample * sample;
  let [best, place] = [0, 0];
  for (let late = 0; late < reach && from + late + said.length <= heard.length; late++) {
    let [dot, own] = [0, 1e-9];
    for (let at = 0; at < said.length; at++) {
      const sample = heard[from + late + at];
      dot += sample * said[at];
      own += sample * sample;
    }
    const alike = Math.abs(dot) / Math.sqrt(own * energy);
    if (alike > best) [best, place] = [alike, late];
  }
  return {alike: best, late: place};
}

// heard: what the microphone gave from the moment the first second of AT_S counts from, 48 kHz.
export function hasEcho(heard) {
  const [sound, said] = [thinned(heard), thinned(chirp())];
  const rate = RATE_HZ / STEP;
  const found = AT_S.map((at_s) => likest(sound, said, Math.round(at_s * rate), Math.round(LATE_S_MAX * rate)))
    .filter(({alike}) => alike >= ALIKE_MIN);
  return found.some((one) => found.filter((other) => Math.abs(one.late - other.late) <= TOGETHER_S * rate).length >= 2);
}

// Resolves to whether there was one. Raises what the browser says against the microphone.
async function check(deviceId, ended) {
  const {context, loaded} = audio();
  context.resume();
  // Security: the microphone opens at this click, as in a room, and closes with the check.
  const media = await navigator.mediaDevices.getUserMedia({audio: {echoCancellation: true, noiseSuppression: true,
    autoGainControl: true, channelCount: 1, ...(deviceId && {deviceId: {exact: deviceId}})}});
  const stop = () => media.getTracks().forEach((track) => track.stop());
  ended(stop);
  try {
    await loaded;
    const pieces = [];
    const ear = new AudioWorkletNode(context, "p2phouse-microphone", {numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit"});
    ear.port.onmessage = ({data}) => pieces.push(new Int16Array(data));
    const buffer = new AudioBuffer({length: RATE_HZ * CHIRP_S, sampleRate: RATE_HZ});
    buffer.copyToChannel(chirp(), 0);
    const began = context.currentTime;
    context.createMediaStreamSource(media).connect(ear);
    for (const at_s of AT_S) {
      const source = new AudioBufferSourceNode(context, {buffer});
      source.connect(context.destination);
      source.start(began + at_s);
    }
    await new Promise((done) => setTimeout(done, 1_000 * WHOLE_S));
    ear.port.postMessage("over");
    return hasEcho(Float32Array.from(pieces.flatMap((each) => [...each]), (sample) => sample / 32_768));
  } finally {
    stop();
  }
}

export function EchoCheck({app}) {
  const [its, set] = useState({phase: "idle", problem: ""});
  const stop = useRef(() => {});
  useEffect(() => () => stop.current(), []);
  async function run() {
    set({phase: "running", problem: ""});
    try {
      const echo = await check(app.devices.chosen("audioinput"), (end) => { stop.current = end; });
      set({phase: echo ? "echo" : "none", problem: ""});
    } catch (error) {
      set({phase: "idle", problem: t(error.name === "NotAllowedError" ? "micRefused" : "micMissing")});
    }
    app.devices.look();
  }
  const {phase} = its;
  return html`<p class="small soft">${t("echoSaid")}</p>
    <p role="status">${phase === "running" ? html`<span class="chip">${t("echoRuns")}</span>`
      : phase === "none" ? html`<span class="note good"><${Icon} name="check"/><span>${t("echoNone")}</span></span>`
        : phase === "echo" && html`<span class="note"><${Icon} name="headphones"/><span><b>${t("echoHeard")}</b> ${t("echoHeardSaid")}</span></span>`}</p>
    <div><button class=${"button line" + (phase === "running" ? " busy" : "")} onClick=${() => phase !== "running" && run()}>
      <${Icon} name=${phase === "idle" ? "volume-2" : "refresh-cw"}/>${t(phase === "idle" || phase === "running" ? "checkEcho" : "again")}</button></div>
    <${Problem} text=${its.problem}/>`;
}

export function EchoSheet({app}) {
  const close = () => app.sheet(null);
  return html`<${Sheet} title=${t("echoTitle")} close=${close}><${EchoCheck} app=${app}/>
    <button class="button plain" onClick=${close}>${t("close")}</button></${Sheet}>`;
}
