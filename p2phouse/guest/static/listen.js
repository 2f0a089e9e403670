// The page of somebody who only listens: one room, one button.
import {html, render, useEffect, useRef, useState} from "/vendor/htm-preact.js";
import {knowFrom} from "/faces.js";
import {language, names, speak, start as startWords, t} from "/i18n.js";
import {Icon, Mark} from "/icons.js";
import {Banner, Face} from "/parts.js";
import {Voices} from "/voices.js";
import {Listener} from "/whep.js";

const ASK_MS = 3_000;
const LEVELS_MS = 100;
const STARTS_MS = 400;  // an AudioContext that may run does so within
const NAMES_MAX = 3;
const SLOTS = ["0", "1", "2", "3"];
const room = location.pathname.split("/")[2];
const token = decodeURIComponent(location.hash.slice(1));

// Which sentence goes with which state, how grave it is, and whether there is a button to it.
const TROUBLES = {
  lost: {kind: "warn", icon: "refresh-cw"},
  full: {kind: "info", icon: "clock"},
  unreachable: {kind: "warn", icon: "cloud-off"},
  blocked: {kind: "bad", button: true},
  asks: {kind: "info", icon: "lock"},
  tooOld: {kind: "bad"},
};
const BUSY = ["joining", "lost", "full", "unreachable"];

function Listening() {
  const [now, setNow] = useState(null);  // what the relay says of the room
  const [state, setState] = useState(globalThis.RTCPeerConnection ? "idle" : "tooOld");
  const [held, setHeld] = useState(false);
  const [volume, setVolume] = useState(100);
  const [, redraw] = useState(0);
  const ears = useRef(null);  // an <audio> for each slot: not every browser mixes the tracks of one
  const voices = useRef(new Voices());
  const listener = useRef(null);

  const all = () => [...ears.current.children];
  const play = () => Promise.all(all().map((ear) => ear.play())).then(
    () => setHeld(false), (error) => setHeld(error.name === "NotAllowedError"));
  const told = (next, tracks) => {
    setState(next);
    if (next !== "listening") return;
    tracks.forEach((track, slot) => {
      if (all()[slot].srcObject?.getTracks()[0] !== track) all()[slot].srcObject = new MediaStream([track]);
    });
    play();
  };
  const listen = () => {
    listener.current ??= new Listener({room, token, told});
    listener.current.start();
  };
  const stop = () => {
    listener.current.stop();
    for (const ear of all()) ear.srcObject = null;
    setState("idle");
  };

  useEffect(() => {
    let known = false;
    const ask = async () => {
      if (document.hidden && known) return;
      const headers = token ? {authorization: `Bearer ${token}`} : {};
      const answer = await fetch(`/r/${room}/now`, {headers}).catch(() => null);
      if (answer?.status === 404) { listener.current?.stop(); setState("over"); }
      if (answer?.ok) {
        const facts = await answer.json();
        (facts.speakers ?? []).forEach((each, at) => {
          knowFrom(each.name, each.face);
          each.slot = facts.slots.includes(at) ? facts.slots.indexOf(at) : null;
        });
        if (!facts.allowed) setState("asks");
        known = true;
        setNow(facts);
      }
    };
    ask();
    const timer = setInterval(ask, ASK_MS);
    const leave = () => listener.current?.stop();
    addEventListener("pagehide", leave);
    mayPlay().then((may) => may && globalThis.RTCPeerConnection && listen());
    return () => { clearInterval(timer); removeEventListener("pagehide", leave); };
  }, []);

  useEffect(() => {
    if (state !== "listening") return () => {};
    if (navigator.mediaSession) navigator.mediaSession.metadata = new MediaMetadata({title: room, artist: "p2phouse"});
    const timer = setInterval(async () => {
      if (document.hidden) return;
      voices.current.hear(await listener.current.levels());
      if (voices.current.tick()) redraw((count) => count + 1);
    }, LEVELS_MS);
    return () => { clearInterval(timer); voices.current = new Voices(); };
  }, [state]);

  const turn = (event) => {
    setVolume(event.target.valueAsNumber);
    for (const ear of all()) ear.volume = event.target.valueAsNumber / 100;
  };
  const speakers = state === "over" ? [] : now?.speakers ?? [];
  const trouble = TROUBLES[state];
  return html`<div class="guest">
    <a class="skip" href="#content">${t("skip")}</a>
    <header class="brand"><${Mark}/><span>p2phouse</span></header>
    <main id="content" tabindex="-1"><section class="card landing">
      ${now?.allowed && state !== "over" && html`<p class=${speakers.length ? "chip on-air" : "chip"}>
        ${speakers.length ? t("liveNow", {n: now.people}) : t("nobodyYet")}</p>`}
      <h1 dir="auto">${room}</h1>
      <${Speakers} speakers=${speakers} level=${(each) => levelOf(each, speakers, voices.current)}/>
      ${state === "over" && html`<${Banner} icon="door-open" title=${t("over")}/>`}
      ${trouble && html`<${Banner} kind=${trouble.kind} icon=${trouble.icon} title=${t(state)} text=${t(`${state}Said`)}
        action=${trouble.button && listen} label=${t("again")}/>`}
      ${held && state === "listening" && html`<${Banner} kind="warn" icon="volume-x" title=${t("held")} action=${play} label=${t("letMeHear")}/>`}
      ${state === "idle" && html`<button class="button go big" id="listen" onClick=${listen}><${Icon} name="headphones" size=${24}/>${t("listenNow")}</button>`}
      ${state === "joining" && html`<button class="button keyed big busy" aria-disabled="true">${t("joining")}</button>`}
      ${state === "listening" && html`<div class="playing">
        <label class="volume"><${Icon} name=${volume ? "volume-2" : "volume-x"}/><span class="hidden">${t("volume")}</span>
          <input type="range" min="0" max="100" step="5" value=${volume} aria-valuetext=${t("percent", {n: volume})} onInput=${turn}/>
          <output class="small soft">${t("percent", {n: volume})}</output></label>
      </div>`}
      ${(state === "listening" || BUSY.includes(state)) && html`<button class="button line" id="stop" onClick=${stop}>${t("stop")}</button>`}
      <p class="hidden" role="status">${state === "listening" ? t("youListen") : state === "idle" && listener.current ? t("youStopped") : ""}</p>
      <ul class="promises">
        <li><${Icon} name="mic-off"/>${t("micOff")}</li>
        <li><${Icon} name="user-round"/>${t("noAccount")}</li>
        ${now?.allowed && state !== "over" && html`<li><${Icon} name="server"/>${token
          ? t("carriedInvited", {relay: now.relay}) : t("carried", {relay: now.relay})}</li>`}
      </ul>
      <div ref=${ears} hidden>${SLOTS.map((slot) => html`<audio key=${slot}/>`)}</div>
    </section></main>
    <footer>${Object.entries(names).filter(([code]) => code !== language()).map(([code, name]) => html`
      <button class="button plain little" lang=${code} onClick=${() => { localStorage.setItem("language", code); speak(code); redraw((count) => count + 1); }}>${name}</button>`)}</footer>
  </div>`;
}

function Speakers({speakers, level}) {
  if (!speakers.length) return null;
  const named = speakers.slice(0, NAMES_MAX).map((each) => each.name);
  return html`<p class="lead">${t("withNames", {names: new Intl.ListFormat(language(), {type: "unit"}).format(named)})}</p>
    <ul class="speakers">${speakers.map((each) => html`<li key=${each.name} data-speaking=${level(each) !== null}>
      <${Face} uid=${each.name} level=${level(each)}/><b dir="auto">${each.name}</b>
      ${level(each) !== null && html`<span class="hidden">${t("speaking")}</span>`}</li>`)}</ul>`;
}

// Where the relay does not say whose voice is in which slot, one speaker alone is known all the same.
function levelOf(speaker, speakers, voices) {
  if (speaker.slot !== null) return voices.level(String(speaker.slot));
  const heard = SLOTS.map((slot) => voices.level(slot)).filter((each) => each !== null);
  return speakers.length === 1 && heard.length ? Math.max(...heard) : null;
}

// Whether this browser plays sound before it is touched: then there is nothing to ask.
async function mayPlay() {
  const known = navigator.getAutoplayPolicy?.("mediaelement");
  if (known) return known === "allowed";
  if (!globalThis.AudioContext) return false;
  const context = new AudioContext();
  await new Promise((done) => { context.onstatechange = done; setTimeout(done, STARTS_MS); });
  const runs = context.state === "running";
  await context.close();
  return runs;
}

startWords();
document.title = `${room} · p2phouse`;
const manifest = Object.assign(document.createElement("link"), {rel: "manifest", href: `/r/${room}/app.webmanifest`});
document.head.append(manifest);
render(html`<${Listening}/>`, document.body);
