// Who is on the stage, who wants to be, and what rises over their faces.
import {html} from "/vendor/htm-preact.js";
import {Icon} from "/icons.js";
import {language, t} from "/i18n.js";
import {Face} from "/parts.js";

const MANY = 12;  // from there on the faces of the stage are smaller
const SEATS = {host: "crown", moderator: "shield"};
const NAMES_MAX = 3;

export const keyOf = (speaker) => speaker.tag || speaker.name;

export const listed = (names) => new Intl.ListFormat(language(), {type: "unit"}).format(names);

// level(speaker): how far its mouth is open, null for closed. rising: by key, what rises over it.
export function Stage({speakers, relay, ofGuests, level, rising}) {
  if (!speakers.length) return null;
  return html`<ul class=${"stage bare-stage" + (speakers.length >= MANY ? " many" : "")} aria-label=${t("stage")}>
    ${speakers.map((each) => html`<${Seat} key=${keyOf(each)} its=${each} level=${level(each)} relay=${ofGuests ? "" : relay} rising=${rising(keyOf(each))}/>`)}</ul>`;
}

function Seat({its, level, relay, rising}) {
  const [state, words] = its.muted === "moderator" ? ["muted-by", t("mutedByModerator")] : its.muted ? ["muted", t("muted")]
    : level !== null ? ["speaking", t("speaking")] : its.via && relay ? ["quiet", t("via", {relay})] : ["quiet", its.tag];
  const seat = SEATS[its.role];
  return html`<li class="seat" data-state=${state}>
    <${Face} uid=${its.face} level=${level} badge=${its.muted ? "mic-off" : null} look=${its.muted === "moderator" ? "lost" : ""}/>
    <b><span dir="auto">${its.name || its.tag}</span>${seat && html`<${Icon} name=${seat} size=${16}/><span class="hidden">${t(its.role)}</span>`}</b>
    ${words && html`<span class=${"state" + (state === "speaking" ? " speaks" : "")}>${words}</span>`}
    <span class="rising" aria-hidden="true">${rising.map(({key, text}) => html`<i key=${key}>${text}</i>`)}</span></li>`;
}

// The rest: how many listen, of them who comes by a relay, and whose hand is up.
export function Audience({now, rising}) {
  const listen = now.people - now.speakers.length;
  const guests = now.guests - now.speakers.filter((each) => each.via).length;
  const hands = now.hands ?? [];
  const names = hands.slice(0, NAMES_MAX).map((each) => each.name || each.tag);
  return html`<div class="audience-line"><p class="row"><${Icon} name="users"/><span>${t("listen", {n: listen})}
      ${guests > 0 && html`<span class="soft"> · ${t("guestsVia", {n: guests, relay: now.relay})}</span>`}</span>
      <span class="rising" aria-hidden="true">${rising.map(({key, text}) => html`<i key=${key}>${text}</i>`)}</span></p>
    ${hands.length > 0 && html`<p class="row"><${Icon} name="hand"/><span>${hands.length > NAMES_MAX
      ? t("handsMore", {names: listed(names), n: hands.length - NAMES_MAX}) : t("handsUp", {n: hands.length, names: listed(names)})}</span></p>`}</div>`;
}
