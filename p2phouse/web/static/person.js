// One person of the room: who it is, how one hears them, and what one may do about them.
import {html, useEffect, useRef, useState} from "/vendor/htm-preact.js";
import {useAsk} from "/asking.js";
import {Icon} from "/icons.js";
import {number, t} from "/i18n.js";
import {Face, Problem, Sheet} from "/parts.js";
import {silenceWords} from "/silence.js";
import {may, named, onStage, seat, tagged} from "/who.js";

const GAIN_SENT_MS = 150;
const REPORT_CHARACTERS_MAX = 500;

export function PersonSheet({app, about}) {
  const member = app.room.members.find((each) => each.peer_id === about);
  const close = () => app.sheet(null);
  useEffect(() => { if (!member) close(); }, [member === undefined]);
  if (!member) return null;
  const its = seat(member);
  return html`<${Sheet} title=${member.you ? t("you") : named(member)} titleHidden kind="tight" close=${close}>
    <button class="button bare closes" aria-label=${t("close")} onClick=${close}><${Icon} name="x"/></button>
    <div class="person"><${Face} uid=${member.uid} size=${84} level=${app.voice(member.peer_id)}/>
      <div><h3 tabindex="-1" autofocus dir="auto">${member.you ? member.name || t("you") : named(member)}</h3><p class="small soft">${member.key_tag}</p>
        ${its && html`<p class="small row pine-text"><${Icon} name=${its === "host" ? "crown" : "shield"} size=${16}/>${t(its)}</p>`}
        ${!member.you && html`<p class="small soft row"><${Icon} name="waypoints" size=${16}/>${path(member)}</p>`}</div></div>
    <${Told} app=${app} member=${member}/>
    ${!member.you && html`<${Hearing} app=${app} member=${member}/>`}
    <${Acts} app=${app} member=${member}/>
    ${!member.you && html`<${Private} app=${app} member=${member}/>`}</${Sheet}>`;
}

function path(member) {
  if (member.link === "carried") return t("through");
  if (member.link !== "connected") return t(member.link === "silent" ? "reconnecting" : "connecting");
  if (member.rtt_ms === undefined) return t("directShort");
  return t("pathSaid", {delay: Math.round(member.rtt_ms), loss: number(member.loss_pct)});
}

// What is wrong, and who decided what this person is here.
function Told({app, member}) {
  const [why, setWhy] = useState(null);
  useEffect(() => {
    let over = false;
    app.node.ask("why", {who: member.key_tag}).then((found) => over || setWhy(found.entries.at(-1) ?? null), () => {});
    return () => { over = true; };
  }, [member.role, member.level]);
  const silence = member.silence && !member.muted && silenceWords(member);
  const name = member.you ? t("you") : named(member);
  const key = why && `why_${why.act}_${why.value ?? ""}`;
  const words = {why_role_muted: "whyMuted", why_role_listener: "whyListener", why_role_speaker: "whySpeaker",
    why_grant_host: "whyHost", why_grant_moderator: "whyModerator"}[key];
  return html`${member.forged && html`<p class="note brick"><${Icon} name="shield-alert"/><span>${t("forgedSaid", {name})}</span></p>`}
    ${silence && html`<p class="note"><${Icon} name="volume-x"/><span><b>${silence.title}</b> ${silence.text}</span></p>`}
    ${words && html`<p class="small soft">${t(words + (member.you ? "You" : ""), {by: tagged(app.room, why.by), name})}</p>`}`;
}

function Hearing({app, member}) {
  const gain = member.gain_pct ?? 100;
  const [shown, setShown] = useState(gain);
  const timer = useRef(null);
  const [its, ask] = useAsk(app);
  const turn = (event) => {
    const percent = Number(event.target.value);
    setShown(percent);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => ask("gain", {who: member.peer_id, percent}), GAIN_SENT_MS);
  };
  return html`${member.gain_pct !== undefined && html`<label class="volume"><${Icon} name=${shown ? "volume-2" : "volume-x"}/><span class="hidden">${t("volume")}</span>
      <input type="range" min="0" max="200" step="10" list="volume-marks" value=${shown} aria-valuetext=${t("percent", {n: shown})} onInput=${turn}/>
      <output class="small soft">${t("percent", {n: shown})}</output><datalist id="volume-marks"><option value="100"/></datalist></label>`}
    <div class="thirds">${member.followed !== undefined && html`<button class="button keyed little" aria-pressed=${String(member.followed)}
        onClick=${() => ask(member.followed ? "unfollow" : "follow", {who: member.peer_id})}>
        <${Icon} name=${member.followed ? "user-check" : "user-plus"} size=${16}/>${t(member.followed ? "following" : "follow")}</button>`}</div>
    <${Problem} text=${its.problem}/>`;
}

// [what `may` calls it, icon, words, verb, values, what is said before the second tap]
const ACTS = [
  ["invite", "arrow-up", "inviteToStage", "invite", {}, null],
  ["audience", "arrow-down", "toAudience", "audience", {}, null],
  ["mute", "mic-off", "muteForAll", "role", {role: "muted"}, "muteSaid"],
  ["unmute", "mic", "liftMute", "role", {role: "speaker"}, null],
  ["grant_moderator", "shield", "makeModerator", "grant", {seat: "moderator"}, "moderatorSaid"],
  ["grant_host", "crown", "makeHost", "grant", {seat: "host"}, "hostSaid"],
  ["revoke", "shield-off", "takeSeat", "revoke", {}, "takeSeatSaid"],
  ["remove", "log-out", "removeFromRoom", "role", {role: "remove"}, "removeSaid"],
  ["ban", "ban", "banFromRoom", "role", {role: "ban"}, "banSaid"],
];
const HARSH = new Set(["mute", "remove", "ban"]);

function Acts({app, member}) {
  const [chosen, choose] = useState(null);
  const [its, ask] = useAsk(app);
  const confirm = useRef(null);
  useEffect(() => confirm.current?.querySelector("button")?.focus(), [chosen]);
  const name = member.you ? t("you") : named(member);
  const all = ACTS.filter(([verb]) => may(member, verb) && !(verb === "invite" && (onStage(member) || member.invited)) && !(verb === "audience" && !onStage(member)));
  if (!all.length) return null;
  const run = (verb, values) => ask(verb, {who: member.peer_id, ...values}, () => choose(null));
  return html`<hr/><ul class="acts">${all.map(([key, icon, words, verb, values, said]) => html`<li key=${key}>
    ${chosen === key ? html`<div class="confirm" ref=${confirm} role="group" aria-label=${t(words)}><p class="small">${t(said, {name})}</p>
        <p class="pair"><button class=${"button " + (HARSH.has(key) ? "danger" : "go")} onClick=${() => run(verb, values)}><${Icon} name=${icon}/>${t(words)}</button>
          <button class="button line" onClick=${() => choose(null)}>${t("cancel")}</button></p></div>`
      : html`<button class=${"act" + (["remove", "ban"].includes(key) ? " brick" : "")} onClick=${() => (said ? choose(key) : run(verb, values))}>
        <${Icon} name=${icon}/>${t(words)}${said && "…"}</button>`}</li>`)}</ul><${Problem} text=${its.problem}/>`;
}

// For oneself alone: nobody learns of a block; a report goes to those who run the room.
function Private({app, member}) {
  const [writing, setWriting] = useState(false);
  const [text, setText] = useState("");
  const [told, setTold] = useState(null);
  const [its, ask] = useAsk(app);
  const report = (event) => {
    event.preventDefault();
    ask("report", {who: member.peer_id, text: text.trim()}, (result) => {
      setTold(result);
      setWriting(false);
    });
  };
  if (member.blocked === undefined) return null;
  return html`<hr/><ul class="acts"><li>${told ? html`<p class="note good" role="status"><${Icon} name="check"/><span>${told.told.length ? t("reported", {name: told.told.join(", ")}) : t("reportKept", {file: told.file})}</span></p>`
      : writing ? html`<form class="confirm" onSubmit=${report}>
          <label class="field"><span>${t("whatHappened")}</span><input value=${text} required maxlength=${REPORT_CHARACTERS_MAX} autofocus autocomplete="off" dir="auto"
            onInput=${(event) => setText(event.target.value)}/></label><p class="small soft">${t("reportSaid")}</p>
          <p class="pair"><button class="button danger">${t("sendReport")}</button>
            <button type="button" class="button line" onClick=${() => setWriting(false)}>${t("cancel")}</button></p></form>`
        : html`<button class="act" onClick=${() => setWriting(true)}><${Icon} name="flag"/>${t("report")}…</button>`}</li>
    <li><button class="act" onClick=${() => ask(member.blocked ? "unblock" : "block", {who: member.uid})}>
      <${Icon} name="eye-off"/>${t(member.blocked ? "unblock" : "block")}</button></li></ul><${Problem} text=${its.problem}/>`;
}
