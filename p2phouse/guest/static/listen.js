// The page of somebody who only listens: one room, one button.
import {html, render, useEffect, useMemo, useRef, useState} from "/vendor/htm-preact.js";
import {knowFrom} from "/faces.js";
import {Hearing, mayPlay} from "/hearing.js";
import {language, names, speak, start as startWords, t} from "/i18n.js";
import {Icon, Mark} from "/icons.js";
import {News} from "/news.js";
import {Banner} from "/parts.js";
import {Audience, keyOf, listed, Stage} from "/people.js";
import {Reactions} from "/reactions.js";
import {Sealed, Talk} from "/talk.js";
import {Voices} from "/voices.js";

const LEVELS_MS = 100;
const NAMES_MAX = 3;
const NAME_MAX = 52;
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
  const [isAway, setAway] = useState(false);  // it says nothing
  const [state, setState] = useState("idle");
  const [volume, setVolume] = useState(100);
  const [, redraw] = useState(0);
  const ears = useRef(null);
  const its = useRef(null);  // what lives as long as the page: hearing, news, voices, reactions

  const listen = () => {
    its.current.isWanted = true;
    its.current.hearing.start();
  };
  const hangUp = () => {
    its.current.hearing.stop();
    setState("idle");
  };
  const stop = () => {
    its.current.isWanted = false;
    hangUp();
  };
  const heard = (next) => {
    if (next !== "over") { setState(next); return; }
    setNow((before) => ({...before, over: true}));
    hangUp();
  };

  useEffect(() => {
    const changed = () => redraw((count) => count + 1);
    const news = new News({room, token, told: (facts) => {
      setAway(!facts);
      if (!facts) return;
      told(facts, its.current.reactions);
      setNow((before) => {
        if (before?.over && !facts.over && its.current.isWanted) listen();  // it is back, and so are we
        return facts.over ? {...before, over: true} : facts;
      });
      if (facts.over || facts.access === "sealed") hangUp();
      else if (facts.allowed) installable();
    }});
    its.current = {news, voices: new Voices(), reactions: new Reactions(changed),
      hearing: new Hearing({room, token, ears: () => [...ears.current.children], told: heard, moved: (place) => { news.place = place; }})};
    if (!its.current.hearing.canHear) setState("tooOld");
    news.start();
    const leave = () => its.current.hearing.stop();
    addEventListener("pagehide", leave);
    mayPlay().then((may) => may && its.current.hearing.canHear && listen());
    return () => removeEventListener("pagehide", leave);
  }, []);

  useEffect(() => {
    controls(state, now, {listen, stop});
    if (state !== "listening") return () => {};
    const timer = setInterval(async () => {
      if (document.hidden) return;
      its.current.voices.hear(await its.current.hearing.levels());
      if (its.current.voices.tick()) redraw((count) => count + 1);
    }, LEVELS_MS);
    return () => { clearInterval(timer); its.current.voices = new Voices(); };
  }, [state]);
  useEffect(() => {
    document.title = `${titleOf(now)} · p2phouse`;
    controls(state, now, {listen, stop});
  }, [titleOf(now)]);

  const turn = (event) => {
    setVolume(event.target.valueAsNumber);
    its.current.hearing.turn(event.target.valueAsNumber / 100);
  };
  const talk = useMemo(() => now?.chat !== undefined && html`<${Talk} chat=${now.chat} pins=${now.pins} invite=${now.invite}/>`,
    [now?.chat, now?.pins, now?.invite, language()]);
  const hasTalk = talk && !now.over;
  const rising = (key) => its.current?.reactions.of(key) ?? [];
  return html`<div class=${"guest" + (hasTalk ? " with-talk" : "")}>
    <a class="skip" href="#content">${t("skip")}</a>
    <header class="brand"><${Mark}/><span>p2phouse</span></header>
    <main id="content" tabindex="-1">
      ${now?.access === "sealed" ? html`<${Sealed} ...${now}/>` : html`<section class="card landing" aria-labelledby="title">
        <${Head} now=${now}/>
        ${now?.over && (now.title ? html`<${Banner} icon="door-open" title=${t("over")} text=${t("overSaid")}/>` : html`<p class="lead">${t("overSaid")}</p>`)}
        ${now?.speakers && !now.over && html`<${Stage} speakers=${now.speakers} relay=${now.relay} ofGuests=${now.access === "guests"}
          level=${(each) => levelOf(each, now, its.current.voices)} rising=${rising}/>
          ${now.access !== "guests" && html`<${Audience} now=${now} rising=${rising("")}/>`}`}
        <${Trouble} state=${now && !now.allowed && !now.over ? "asks" : isAway && state === "idle" ? "unreachable" : state} listen=${listen}/>
        ${!now?.over && (now?.allowed ?? true) && html`<${Controls} state=${state} isMix=${its.current?.hearing.isMix} volume=${volume} turn=${turn}
          listen=${listen} stop=${stop} goOn=${() => its.current.hearing.goOn()}/>`}
      </section>`}
      ${hasTalk && talk}
      ${now?.access !== "sealed" && !now?.over && html`<${Promises} now=${now}/>`}
      <div ref=${ears} hidden>${[...SLOTS, "mix"].map((line) => html`<audio key=${line}/>`)}</div>
    </main>
    <footer>${Object.entries(names).filter(([code]) => code !== language()).map(([code, name]) => html`
      <button class="button plain little" lang=${code} onClick=${() => { localStorage.setItem("language", code); speak(code); redraw((count) => count + 1); }}>${name}</button>`)}</footer>
  </div>`;
}

// A room of nodes is called by its id in links: that is nobody's idea of a title.
const titleOf = (now) => now?.title ?? (now?.access === "sealed" ? t("sealed") : now?.over ? t("over") : room.length < NAME_MAX ? room : "…");

function Head({now}) {
  const live = now?.speakers && !now.over;
  const hosts = (now?.speakers ?? []).filter((each) => each.role === "host");
  const named = (hosts.length ? hosts : now?.access === "guests" ? now.speakers : []).slice(0, NAMES_MAX);
  return html`${live && html`<p class=${now.speakers.length ? "chip on-air" : "chip"}>
      ${now.speakers.length ? t("liveNow", {n: now.people}) : t("nobodyYet")}</p>`}
    <h1 id="title" dir="auto">${titleOf(now)}</h1>
    ${live && named.length > 0 && html`<p class="lead">${t(hosts.length ? "hostedBy" : "withNames", {names: listed(named.map((each) => each.name || each.tag))})}</p>`}`;
}

function Trouble({state, listen}) {
  const its = TROUBLES[state];
  return its && html`<${Banner} kind=${its.kind} icon=${its.icon} title=${t(state)} text=${t(`${state}Said`)}
    action=${its.button && listen} label=${t("again")}/>`;
}

function Controls({state, isMix, volume, turn, listen, stop, goOn}) {
  const shown = state === "listening" ? t("percent", {n: volume}) : "";
  return html`<div class="controls">
    ${state === "idle" && html`<button class="button go big" id="listen" onClick=${listen}><${Icon} name="headphones" size=${24}/>${t("listenNow")}</button>`}
    ${state === "held" && html`<button class="button go big" id="hear" aria-describedby="held-said" onClick=${goOn}><${Icon} name="volume-2" size=${24}/>${t("letMeHear")}</button>
      <p class="small soft" id="held-said">${t("held")}</p>`}
    ${state === "joining" && html`<button class="button keyed big busy" aria-disabled="true">${t("joining")}</button>`}
    ${state === "listening" && html`<div class="playing">${isMix && html`<p class="small soft">${t("mixSaid")}</p>`}
      <label class="volume"><${Icon} name=${volume ? "volume-2" : "volume-x"}/><span class="hidden">${t("volume")}</span>
        <input type="range" min="0" max="100" step="5" value=${volume} aria-valuetext=${shown} onInput=${turn}/><output class="small soft">${shown}</output></label></div>`}
    ${(state === "listening" || state === "held" || BUSY.includes(state)) && html`<button class="button line" id="stop" onClick=${stop}>${t("stop")}</button>`}
    <p class="hidden" role="status">${state === "listening" ? t("youListen") : ""}</p></div>`;
}

// What is true of listening here: the page believes its relay, and says so.
function Promises({now}) {
  const live = now?.allowed;
  const carried = token ? "carriedInvited" : now?.access === "lan" ? "carriedLan" : "carried";
  return html`<ul class="promises">
    <li><${Icon} name="mic-off"/>${t("micOff")}</li>
    <li><${Icon} name="user-round"/>${live && now.access !== "guests" ? t("guestVia", {relay: now.relay}) : t("noAccount")}</li>
    ${live && html`<li><${Icon} name="server"/>${t(carried, {relay: now.relay})}</li>`}</ul>`;
}

function told(facts, reactions) {
  for (const each of [...facts.speakers ?? [], ...facts.hands ?? []]) knowFrom(each.face, each.face);
  const onStage = new Set((facts.speakers ?? []).map(keyOf));
  const all = facts.reactions ?? [];
  for (const each of all) {
    if (each.n > told.last) reactions.show(onStage.has(each.tag) ? each.tag : "", each.text);
  }
  if (all.length || told.last === Infinity) told.last = Math.max(0, ...all.map((each) => each.n));
}
told.last = Infinity;  // what was before we came is not shown

// Where the relay does not say whose voice is in which slot, one speaker alone is known all the same.
function levelOf(speaker, now, voices) {
  const slot = now.slots.indexOf(now.speakers.indexOf(speaker));
  if (slot >= 0) return voices.level(String(slot));
  const heard = SLOTS.map((each) => voices.level(each)).filter((each) => each !== null);
  return now.speakers.length === 1 && heard.length ? Math.max(...heard) : null;
}

// What a telephone shows and answers to while it is locked.
function controls(state, now, {listen, stop}) {
  const session = navigator.mediaSession;
  if (!session) return;
  session.playbackState = state === "listening" ? "playing" : "none";
  if (state !== "listening") return;
  session.metadata = new MediaMetadata({title: titleOf(now), artist: now?.relay ?? "p2phouse", album: "p2phouse",
    artwork: [{src: "/icon-512.png", sizes: "512x512", type: "image/png"}]});
  for (const [action, does] of [["play", listen], ["pause", stop], ["stop", stop]]) {
    try { session.setActionHandler(action, does); } catch { /* not every browser knows each */ }
  }
}

function installable() {
  if (document.querySelector("link[rel=manifest]")) return;
  document.head.append(Object.assign(document.createElement("link"), {rel: "manifest", href: `/r/${room}/app.webmanifest`}));
}

startWords();
render(html`<${Listening}/>`, document.body);
