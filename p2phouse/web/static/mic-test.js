// Three seconds of the microphone, played back. Local alone: nothing of it reaches the node.
import {html, useEffect, useRef, useState} from "/vendor/htm-preact.js";
import {Icon} from "/icons.js";
import {t} from "/i18n.js";
import {DeviceChoice} from "/device-choice.js";
import {Meter, Problem} from "/parts.js";

const TEST_MS = 3_000;
const METER_MS = 100;
// dB under full scale, of the loudest tenth of a second; speech at a laptop lies at 20 to 35.
const NOTHING_DB = 55;
const QUIET_DB = 40;
const CLIPPED = 0.99;

function loudness(samples) {
  let sum = 0;
  let peak = 0;
  for (const sample of samples) {
    sum += sample * sample;
    peak = Math.max(peak, Math.abs(sample));
  }
  return {under: -10 * Math.log10(sum / samples.length + 1e-12), peak};
}

function verdict({under, peak}) {
  return under > NOTHING_DB ? "noSound" : peak > CLIPPED ? "loud" : under > QUIET_DB ? "quiet" : "well";
}

export function MicTest({app}) {
  const [its, set] = useState({phase: "idle", level: 0, words: "noSound", problem: ""});
  const running = useRef(null);
  useEffect(() => () => running.current?.end(), []);

  async function test() {
    running.current?.end();
    const chosen = app.devices.chosen("audioinput");
    let media;
    try {
      // Security: the microphone opens at this click, and closes by itself after three seconds.
      media = await navigator.mediaDevices.getUserMedia({audio: chosen ? {deviceId: {exact: chosen}} : true});
      app.devices.look();
    } catch (error) {
      return set({...its, phase: "idle", problem: error.name === "NotFoundError" ? "micMissing" : "micRefused"});
    }
    const context = new AudioContext();
    const analyser = new AnalyserNode(context, {fftSize: 4_096});
    context.createMediaStreamSource(media).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    const recorder = new MediaRecorder(media);
    const pieces = [];
    let best = {under: 120, peak: 0};
    recorder.ondataavailable = ({data}) => pieces.push(data);
    const meter = setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      const now = loudness(samples);
      best = {under: Math.min(best.under, now.under), peak: Math.max(best.peak, now.peak)};
      const level = Math.min(1, Math.max(0, (60 - now.under) / 50));
      set({phase: "testing", level, words: verdict(best), problem: ""});
    }, METER_MS);
    const stop = () => { clearInterval(meter); media.getTracks().forEach((track) => track.stop()); };
    const timer = setTimeout(() => recorder.stop(), TEST_MS);
    running.current = {end() { clearTimeout(timer); recorder.onstop = null; stop(); context.close(); }};
    recorder.onstop = async () => {
      stop();
      const sound = await context.decodeAudioData(await new Blob(pieces).arrayBuffer()).catch(() => null);
      running.current.play = () => {
        const source = new AudioBufferSourceNode(context, {buffer: sound});
        source.connect(context.destination);
        source.start();
      };
      const level = Math.min(1, Math.max(0, (60 - best.under) / 50));
      set({phase: sound ? "done" : "idle", level, words: verdict(best), problem: ""});
    };
    recorder.start();
    set({phase: "testing", level: 0, words: "noSound", problem: ""});
  }

  return html`<section class="card stack" aria-labelledby="mic-title">
    <div class="foot"><h2 class="h3" id="mic-title">${t("yourMicrophone")}</h2>
      <span role="status">${its.phase === "testing" && html`<span class="chip">${t("testing")}</span>`}
      ${its.phase === "done" && html`<span class="chip verdict">
        ${its.words === "well" && html`<${Icon} name="check" size=${15}/>`}${t(its.words)}</span>`}</span></div>
    <${Meter} level=${its.level} words=${t(its.words)}/>
    <div class="row wrap">
      ${its.phase === "done" && html`<button class="button lamp" onClick=${() => running.current.play()}>
        <${Icon} name="play"/>${t("hearYourself")}</button>`}
      <button class=${"button line" + (its.phase === "testing" ? " busy" : "")}
        onClick=${() => its.phase !== "testing" && test()}>
        <${Icon} name=${its.phase === "done" ? "refresh-cw" : "mic"}/>${t(its.phase === "done" ? "again" : "testMic")}</button>
    </div>
    <${DeviceChoice} app=${app} kind="audioinput" label="microphone" choose=${(id) => app.mouth.chooseMicrophone(id)}/>
    <${Problem} text=${its.problem && t(its.problem)}/>
    <p class="caption soft">${t("threeSeconds")}</p>
  </section>`;
}
