// Who is on stage and who listens: faces at their windows, each a button to what one may know and do.
import {html} from "/vendor/htm-preact.js";
import {count} from "/carrying.js";
import {Icon} from "/icons.js";
import {number, rankWord, t} from "/i18n.js";
import {Face} from "/parts.js";
import {silenceWords} from "/silence.js";
import {audienceOf, named, seat, stageOf, tagged} from "/who.js";

const SHOWN_MAX = [[matchMedia("(min-width: 1200px)"), 36], [matchMedia("(min-width: 600px)"), 28], [matchMedia("all"), 20]];  // four rows
const MANY = 12;  // from there on the faces of the stage are smaller
const SEATS = {host: "crown", moderator: "shield"};

export function Stage({app}) {
  const all = stageOf(app.room);
  return html`<section aria-labelledby="stage-title"><h2 class="hidden" id="stage-title">${t("stage")}</h2>
    ${all.length ? html`<ul class=${"stage" + (all.length >= MANY ? " many" : "")}>${all.map((member) => html`
      <${Seat} key=${member.peer_id} app=${app} member=${member}/>`)}</ul>`
      : html`<p class="card soft">${t("emptyStage")}</p>`}</section>`;
}

// Beyond a few dozen faces only how many there are: of some of them the node knows no more.
export function Audience({app}) {
  const all = audienceOf(app.room);
  const most = SHOWN_MAX.find(([width]) => width.matches)[1];
  const n = Math.max(all.length, count(app.room) - stageOf(app.room).length);
  const guests = app.room.guests ?? [];
  if (!n && !guests.length) return null;
  const shown = all.length > most ? all.slice(0, most) : all;
  return html`<section aria-labelledby="audience-title"><h2 class="shelf" id="audience-title">${t("audience")} <span>${number(n)}</span></h2>
    <ul class="audience">${shown.map((member) => html`<${Seat} key=${member.peer_id} app=${app} member=${member} small/>`)}</ul>
    ${n > shown.length && html`<button class="button plain rest" onClick=${() => app.sheet("listeners")}><${Icon} name="users"/>${t("andMore", {n: n - shown.length})}</button>`}
    ${guests.map(({peer_id, count: n, name}) => html`<p class="soft rest" key=${peer_id} title=${t("guestsViaSaid", {name})}>
      <${Icon} name="globe"/>${t("guestsVia", {n, name})}</p>`)}</section>`;
}

// What is to be said about a member first: [state, its words, its icon, how it looks].
export function stateOf(app, member, speaking) {
  const lost = !member.you && !["connected", "carried"].includes(member.link);
  if (lost) {
    const state = member.link === "silent" ? "reconnecting" : "connecting";
    return [state, t(state), "cloud-off", "lost"];
  }
  if (member.forged) return ["forged", t("forged"), "shield-alert", "lost"];
  if (member.blocked) return ["blocked", t("blockedShort"), "eye-off", ""];
  if (member.role === "muted") {
    const by = app.deciders.get(`${member.uid}muted`);
    return ["muted-by", by ? t("mutedBy", {name: tagged(app.room, by)}) : t("mutedByModerator"), "mic-off", "lost"];
  }
  if (member.silence && !member.muted) return ["silence", silenceWords(member).short, "volume-x", "warn"];
  if (member.hand) return ["hand", t("handUp", {rank: rankWord(member.hand.place)}), "hand", "asks"];
  if (member.invited) return ["invited", t("invitedState"), "arrow-up", "asks"];
  if (speaking) return ["speaking", t("speaking"), null, ""];
  if (member.muted) return ["muted", t("muted"), "mic-off", ""];
  return ["quiet", "", null, ""];
}

function Seat({app, member, small = false}) {
  const level = app.voice(member.peer_id);
  const [state, words, icon, look] = stateOf(app, member, level !== null);
  const shown = member.you ? t("you") : named(member);
  const its = seat(member);
  const isListening = small && state === "muted";  // who listens has no microphone to speak of
  const said = isListening ? "" : words;
  const path = member.link === "connected" ? t("directShort") : member.link === "carried" && t("through");
  return html`<li class=${"seat" + (small ? " small-seat" : "")} data-peer=${member.peer_id} data-state=${state}>
    <button class="face" onClick=${() => app.sheet("person", member.peer_id)}
      aria-label=${[shown, member.key_tag, its && t(its), said, path].filter(Boolean).join(", ")}>
      <${Face} uid=${member.uid} level=${level} badge=${isListening ? null : icon} look=${look}/>
      <b aria-hidden="true"><span dir="auto">${shown}</span>${its && html`<${Icon} name=${SEATS[its]} size=${16}/>`}</b>
      ${(!small || ["lost", "warn"].includes(look)) && said && html`<span aria-hidden="true" class=${"state" + (state === "speaking" ? " speaks" : "")}>${said}</span>`}
      ${!small && !said && html`<span aria-hidden="true" class="tag">${member.key_tag}</span>`}
    </button>
    <span class="rising" aria-hidden="true">${app.reactions.of(member.peer_id).map(({key, text}) => html`<i key=${key}>${text}</i>`)}</span></li>`;
}
