// The dock: leave, the one control of one's own voice, and what else a hand reaches for.
import {html, useEffect, useRef} from "/vendor/htm-preact.js";
import {Icon} from "/icons.js";
import {parts, rankWord, t} from "/i18n.js";
import {raiseOrLower} from "/keys.js";
import {notice} from "/notices.js";
import {Banner, Face} from "/parts.js";
import {EMOJI} from "/reactions.js";
import {handsOf, may, mayComeUp, named, onStage, tagged} from "/who.js";

const ACTS_MAX = [[matchMedia("(max-width: 599px)"), 2], [matchMedia("(max-width: 999px)"), 3]];

export function Dock({app}) {
  const its = notice(app);
  const acts = actsOf(app);
  // Where it is narrow the microphone keeps its place: what does not fit is one more tap away.
  const most = ACTS_MAX.find(([width]) => width.matches)?.[1] ?? acts.length;
  const fits = acts.length > most ? acts.slice(1 - most) : acts;
  const rest = acts.filter((each) => !fits.includes(each));
  const more = {name: "more", icon: "ellipsis", words: "more", expanded: app.picking === "more", act: () => app.pick("more")};
  return html`<div class="dock" role="region" aria-label=${t("yourMicrophone")}>
    ${its && html`<${Banner} key=${its.key} ...${its}/>`}
    ${app.picking ? html`<${Picker} key=${app.picking} app=${app} rest=${rest}/>` : app.canSpeak && html`<p class="hint">${parts("keys",
      {m: html`<kbd>M</kbd>`, space: html`<kbd>${t("space")}</kbd>`})}</p>`}
    <div class="zones">
      <div class="named"><button class="button round" aria-label=${t("leave")} onClick=${app.leave}><${Icon} name="log-out"/></button>
        <span aria-hidden="true">${t("leave")}</span></div>
      <${Middle} app=${app}/>
      <div class="right">${[...(rest.length ? [more] : []), ...fits].map((each) => html`<${Small} key=${each.name} ...${each}/>`)}</div>
    </div></div>`;
}

// The most needed last: it keeps its place where few fit.
function actsOf(app) {
  const {room, you} = app;
  const hands = handsOf(room).length + (room.lobby_count ?? 0);
  const runs = may(room, "mute_all") || may(room, "lobby") || may(room, "admit");
  return [
    may(room, "mute_all") && {name: "muteAll", icon: "volume-x", words: "muteAll", act: () => app.sheet("muteAll")},
    onStage(you) && may(room, "step_down") && {name: "stepDown", icon: "arrow-down", words: "stepDown", act: () => app.tryTo("step_down")},
    may(room, "react") && {name: "react", icon: "smile", words: "react", expanded: app.picking === "react", act: () => app.pick("react")},
    !app.wide && app.chat && {name: "chat", icon: "message-circle", words: "chat", count: unread(app), act: () => app.turn("chat", "tab-chat")},
    !app.wide && runs && {name: "hands", icon: "hand", words: "hands", count: hands, act: () => app.turn("hands", "tab-hands")},
  ].filter(Boolean);
}

export const unread = (app) => Math.max(0, (app.chat?.messages.length ?? 0) - app.readChat);

function Small({name, icon, words, act, count = 0, expanded = null}) {
  return html`<span class="small-act"><button class="button round" id=${`act-${name}`} aria-label=${count ? t("withCount", {what: t(words), n: count}) : t(words)}
    aria-expanded=${expanded === null ? null : String(expanded)} onClick=${act}><${Icon} name=${icon}/>
    ${count > 0 && html`<span class="count" aria-hidden="true">${count}</span>`}</button>
    <span class="under" aria-hidden="true">${t(words)}</span></span>`;
}

function Middle({app}) {
  const {room, you} = app;
  if (you.role === "muted") {
    const by = app.deciders.get(`${you.uid}muted`);
    return html`<button class="mic forced" id="mic" onClick=${() => { app.toldMuted = null; app.changed(); }}>
      <${Icon} name="mic-off" size=${28}/><span>${by ? t("micMutedBy", {name: tagged(room, by)}) : t("micMutedByModerator")}</span></button>`;
  }
  if (!onStage(you)) return html`<${HandButton} app=${app}/>`;
  if (app.hasPageMouth && app.devices.lacksMicrophone) {
    return html`<button class="mic" id="mic" onClick=${() => app.go("sound")}><${Icon} name="mic-off" size=${28}/>${t("chooseMicrophone")}</button>`;
  }
  const live = !room.muted;
  const label = app.micBusy ? "micOpening" : live ? (app.held ? "micTalking" : "micLive") : "micMuted";
  return html`<button class="mic" id="mic" aria-pressed=${String(live)} aria-keyshortcuts="M"
    aria-label=${t("micName", {state: t(live ? "stateLive" : "stateMuted")})} onClick=${app.toggle}>
    <${Icon} name=${live ? "mic" : "mic-off"} size=${28}/>${t(label)}</button>`;
}

function HandButton({app}) {
  const {you, room} = app;
  if (!you.hand && !mayComeUp(you) && room.may && !may(room, "hand")) return html`<p class="soft">${t("listening")}</p>`;
  const [icon, words] = you.hand ? ["hand", t("lowerHand", {rank: rankWord(you.hand.place)})]
    : mayComeUp(you) ? ["arrow-up", t("comeUp")] : ["hand", t("raiseHand")];
  return html`<button class=${"mic asks" + (you.hand ? " raised" : "")} id="hand" aria-keyshortcuts="H"
    onClick=${() => raiseOrLower(app)}><${Icon} name=${icon} size=${28}/>${words}</button>`;
}

// A row over the dock: six reactions, or what did not fit beside the microphone.
function Picker({app, rest}) {
  const row = useRef(null);
  const its = app.picking;
  const close = () => {
    app.pick(its);
    (document.getElementById(`act-${its}`) ?? document.getElementById("act-more"))?.focus();
  };
  useEffect(() => row.current.querySelector("button")?.focus(), []);
  return html`<div class="picker" role="group" aria-label=${t(its)} ref=${row} onKeyDown=${(event) => event.key === "Escape" && close()}>
    ${its === "more" ? rest.map((each) => html`<${Small} key=${each.name} ...${each} act=${() => { close(); each.act(); }}/>`)
      : EMOJI.map((text) => html`<button key=${text} class="button round" onClick=${() => { app.react(text); close(); }}>${text}</button>`)}</div>`;
}

export function RoomBar({app}) {
  const {room} = app;
  const speaker = room.members.find((member) => app.voice(member.peer_id) !== null) ?? null;
  const mic = t(room.waiting ? "waitingShort" : room.muted ? "youMuted" : "youLive");
  const shown = speaker ?? room.members[0] ?? app.me;
  return html`<aside class="roombar" aria-label=${room.title || t("atDoor")}>
    <${Face} uid=${shown.uid} size=${44} level=${speaker && app.voice(speaker.peer_id)}/>
    <div class="what"><b dir="auto">${room.title || t("atDoor")}</b><p class="small soft">${speaker && !speaker.you
      ? t("speakingBar", {name: named(speaker), mic}) : mic}</p></div>
    <button class="button keyed little" aria-label=${t("leave")} onClick=${app.leave}><${Icon} name="log-out" size=${16}/><span class="long">${t("leave")}</span></button>
    <button class="button go little" onClick=${() => app.go("room")}>${t("back")}</button></aside>`;
}
