// The room: faces at their windows, who speaks, and the one button that opens the microphone.
import {html, useState} from "/vendor/htm-preact.js";
import {Icon} from "/icons.js";
import {parts, t} from "/i18n.js";
import {Banner, Face, Problem, Sheet} from "/parts.js";

export function Room({app}) {
  const {room} = app;
  return html`<div class="inner">
    <div><div class="foot"><button class="crumb" onClick=${() => app.go("hallway")}><${Icon} name="chevron-left"/>${t("hallway")}</button>
      <button class="button keyed little" onClick=${() => app.sheet("share")}><${Icon} name="link" size=${16}/>${t("share")}</button></div>
      <h1 dir="auto">${room.title}</h1></div>
    <${Badges} app=${app}/>
    <h2 class="hidden">${t("stage")}</h2>
    <ul class="stage">${room.members.map((member) => html`<${Seat} key=${member.peer_id} app=${app} member=${member}/>`)}</ul>
    ${room.members.length === 1 && html`<p class="soft">${t("alone")}</p>`}
  </div>`;
}

function Seat({app, member}) {
  const level = app.voice(member.peer_id);
  const lost = !member.you && member.link !== "connected";
  const state = lost ? (member.link === "silent" ? "reconnecting" : "connecting")
    : member.muted ? "muted" : level !== null ? "speaking" : null;
  const shown = member.you ? t("you") : member.name || member.key_tag;
  return html`<li class="seat" aria-label=${[shown, member.key_tag, state && t(state)].filter(Boolean).join(", ")}
      data-peer=${member.peer_id} data-state=${state ?? "quiet"}>
    <${Face} uid=${member.uid} level=${level} badge=${lost ? "cloud-off" : member.muted ? "mic-off" : null} lost=${lost}/>
    <b aria-hidden="true" dir="auto">${shown}</b>
    ${state && html`<span aria-hidden="true" class=${"state" + (state === "speaking" ? " speaks" : "")}>${t(state)}</span>`}
    <span aria-hidden="true" class="tag">${member.key_tag}</span></li>`;
}

// Three true sentences about this room; each chip opens its own.
function Badges({app}) {
  const [shown, show] = useState(null);
  const lan = app.rooms?.find((each) => each.room === app.room.room)?.access === "lan";
  const n = app.room.members.length;
  const all = [
    lan ? ["house", "lan", "lanShort", "lanSaid"] : ["lock-open", "open", "openShort", "openSaid"],
    ...(n > 1 ? [["waypoints", "direct", "directShort", "directSaid"]] : []),
    ["circle-dot", "recorded", "recordedShort", "recordedSaid"],
  ];
  return html`<div class="stack" style=${{gap: "8px"}}><div class="badges">${all.map(([icon, long, brief, said]) => html`
    <button key=${long} class=${"chip" + (long === "lan" ? " pine" : "")} aria-expanded=${shown === said} aria-controls="badge-said"
      onClick=${() => show(shown === said ? null : said)}><${Icon} name=${icon} size=${15}/>
      <span class="long">${t(long, {n})}</span><span class="brief">${t(brief)}</span></button>`)}</div>
    <p id="badge-said" class="small soft" role="status" hidden=${!shown}>${shown && t(shown)}</p></div>`;
}

export function Dock({app}) {
  const {room} = app;
  const live = !room.muted;
  const label = app.micBusy ? "micOpening" : live ? (app.held ? "micTalking" : "micLive") : "micMuted";
  return html`<div class="dock" role="region" aria-label=${t("yourMicrophone")}>
    ${app.notice && html`<${Banner} ...${app.notice}/>`}
    <p class="hint">${parts("keys", {m: html`<kbd>M</kbd>`, space: html`<kbd>${t("space")}</kbd>`})}</p>
    <div class="zones">
      <div class="named"><button class="button round" aria-label=${t("leave")} onClick=${app.leave}><${Icon} name="log-out"/></button>
        <span aria-hidden="true">${t("leave")}</span></div>
      <button class="mic" id="mic" aria-pressed=${String(live)} aria-keyshortcuts="M"
        aria-label=${t("micName", {state: t(live ? "stateLive" : "stateMuted")})} onClick=${app.toggle}>
        <${Icon} name=${live ? "mic" : "mic-off"} size=${28}/>${t(label)}</button>
      <div class="right"><button class="button round" aria-label=${t("share")} onClick=${() => app.sheet("share")}><${Icon} name="share-2"/></button></div>
    </div></div>`;
}

export function RoomBar({app}) {
  const {room} = app;
  const speaker = room.members.find((member) => app.voice(member.peer_id) !== null) ?? null;
  const mic = t(room.muted ? "youMuted" : "youLive");
  const shown = speaker ?? room.members[0];
  return html`<aside class="roombar" aria-label=${room.title}>
    <${Face} uid=${shown.uid} size=${44} level=${speaker && app.voice(speaker.peer_id)}/>
    <div class="what"><b dir="auto">${room.title}</b><p class="small soft">${speaker && !speaker.you
      ? t("speakingBar", {name: speaker.name || speaker.key_tag, mic}) : mic}</p></div>
    <button class="button keyed little" aria-label=${t("leave")} onClick=${app.leave}><${Icon} name="log-out" size=${16}/><span class="long">${t("leave")}</span></button>
    <button class="button go little" onClick=${() => app.go("room")}>${t("back")}</button></aside>`;
}

export function ShareSheet({app}) {
  const [copied, setCopied] = useState(false);
  const [problem, setProblem] = useState("");
  const {link} = app.room;
  async function copy() {
    try {
      await navigator.clipboard.writeText(link);
      setCopied(true);
    } catch (error) {
      setProblem(error.message);
    }
  }
  return html`<${Sheet} title=${t("shareTitle")} close=${() => app.sheet(null)}>
    ${link ? html`<p class="soft">${t("shareSaid")}</p><p class="link-text" id="invite">${link}</p>
      <${Problem} text=${problem}/>
      <button class="button go big" autofocus onClick=${copy}><${Icon} name=${copied ? "check" : "link"}/>
        <span role="status">${t(copied ? "copied" : "copy")}</span></button>`
      : html`<p class="soft">${t("shareNone")}</p>`}
    <button class="button plain" onClick=${() => app.sheet(null)}>${t("close")}</button></${Sheet}>`;
}
