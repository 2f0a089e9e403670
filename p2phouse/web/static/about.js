// The Room tab: what is true of this room, in sentences, and what those who run it can change.
import {html} from "/vendor/htm-preact.js";
import {useAsk} from "/asking.js";
import {carriedWords} from "/carrying.js";
import {Icon} from "/icons.js";
import {language, t} from "/i18n.js";
import {Face, Problem} from "/parts.js";
import {keeping, may, tagged} from "/who.js";

const SLOW_S = 10;

export function About({app}) {
  const {room} = app;
  const {access, words, icon} = keeping(room, app.rooms);
  const carrier = carriedWords(room);
  const said = [
    ["keeping", icon, t(words), t(`${words}Said`)],
    ["access", "door-open", t("whoCanCome"), t({open: "accessOpen", social: "accessSocial", closed: "accessClosed", lan: "networkOnly"}[access])],
    ...(room.stage ? [["stage", "mic", t("whoMaySpeak"), t(room.stage === "invited" ? "invitedSpeak" : "everyoneSpeaks")
      + (room.speakers_max ? ` ${t("onStageCount", {n: room.on_stage ?? 0, max: room.speakers_max})}` : "")]] : []),
    ...(room.members.length > 1 ? [["direct", carrier.icon, carrier.title, carrier.text]] : []),
    ["recorded", "circle-dot", t("recorded"), t("recordedSaid")],
    ...(room.locked ? [["locked", "lock", t("locked"), t("lockedSaid")]] : []),
    ...(room.confirmed === false ? [["confirmed", "clock", t("unconfirmed"), t("unconfirmedSaid")]] : []),
  ];
  return html`<ul class="said">${said.map(([name, its, title, text]) => html`<li key=${name} id=${`said-${name}`} tabindex="-1">
      <${Icon} name=${its}/><div><b>${title}</b><p class="small soft">${text}</p></div></li>`)}</ul>
    <${Running} app=${app}/><${Reports} app=${app}/>`;
}

// Who told those who run the room of whom, and why.
function Reports({app}) {
  if (!app.reports.length) return null;
  const time = (at_s) => new Intl.DateTimeFormat(language(), {timeStyle: "short"}).format(at_s * 1_000);
  return html`<section class="running" aria-labelledby="reports-title"><h2 class="h3" id="reports-title">${t("reports")}</h2>
    <ul class="hands">${app.reports.map((each) => html`<li key=${each.id}><${Face} uid=${each.about_uid} size=${44}/>
      <div><p class="small soft">${t("reportLine", {by: each.by_name || each.by, about: tagged(app.room, each.about), time: time(each.at_s)})}</p>
        <p dir="auto">${each.text}</p></div></li>`)}</ul></section>`;
}

function Running({app}) {
  const {room, chat} = app;
  const [its, ask] = useAsk(app);
  const verbs = ["title", "lock", "unlock", "mute_all", "unmute_all", "chat_mode", "access", "end"];
  if (!verbs.some((verb) => may(room, verb))) return null;
  const act = (verb, icon, words, does, kind = "") => may(room, verb) && html`<li><button class=${"act" + kind} onClick=${does}>
    <${Icon} name=${icon}/>${t(words)}</button></li>`;
  return html`<section aria-labelledby="running-title" class="running"><h2 class="h3" id="running-title">${t("running")}</h2>
    <ul class="acts">
      ${act("title", "pencil", "editTitle", () => app.sheet("title"))}
      ${may(room, room.locked ? "unlock" : "lock") && html`<li><label class="switch"><${Icon} name="lock"/><span>${t("lockRoom")}</span>
        <input type="checkbox" role="switch" checked=${room.locked} onChange=${(event) => ask(event.target.checked ? "lock" : "unlock")}/></label></li>`}
      ${act("mute_all", "volume-x", "muteAll", () => app.sheet("muteAll"))}
      ${act("unmute_all", "volume-2", "unmuteAll", () => ask("unmute_all"))}</ul>
    ${may(room, "access") && room.access && html`<fieldset class="segments wide"><legend class="seen">${t("whoCanCome")}</legend><div>
      ${[["open", "doorOpen"], ["social", "doorSocial"], ["closed", "doorClosed"]].map(([value, words]) => html`<label>
        <input type="radio" name="access" checked=${room.access === value} onChange=${() => ask("access", {value})}/>${t(words)}</label>`)}</div></fieldset>`}
    ${may(room, "chat_mode") && chat && html`<fieldset class="segments wide"><legend class="seen">${t("chat")}</legend><div>
      ${[["on", "chatOn"], [String(SLOW_S), "chatSlow"], ["off", "chatNot"]].map(([mode, words]) => html`<label>
        <input type="radio" name="chat-mode" checked=${mode === modeOf(chat)} onChange=${() => ask("chat_mode", {mode: mode === String(SLOW_S) ? SLOW_S : mode})}/>${t(words)}</label>`)}</div></fieldset>`}
    <${Problem} text=${its.problem}/>
    <ul class="acts">${act("end", "log-out", "endRoom", () => app.sheet("end"), " brick")}</ul></section>`;
}

const modeOf = ({mode}) => (mode === "off" || mode === "on" ? mode : String(SLOW_S));
