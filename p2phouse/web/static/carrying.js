// Who carries the room and why, what we carry for others, and the switch beside it.
import {html} from "/vendor/htm-preact.js";
import {useAsk} from "/asking.js";
import {Icon} from "/icons.js";
import {has, number, t} from "/i18n.js";
import {Problem} from "/parts.js";

const TOAST_MS = 6_000;
const STEPS_KBPS = [1_000, 2_000, 5_000, 10_000, 20_000];

export const isCarried = (room) => room.shape === "hub" && Boolean(room.hub);

export const count = (room) => Math.max(room.people ?? 0, room.members.length);

export const rate = (kbps) => (kbps < 1_000 ? t("kilobits", {n: Math.round(kbps)}) : t("megabits", {n: number(kbps / 1_000)}));

// {icon, long, brief, title, text}: who carries the room, in a chip and in sentences.
export function carriedWords(room) {
  const n = count(room);
  if (!isCarried(room)) {
    return {icon: "waypoints", long: t("direct", {n}), brief: t("directShort"), title: t("direct", {n}), text: t("directSaid")};
  }
  const {hub} = room;
  const isTunnelled = (room.relays ?? []).some((each) => each.peer_id === hub.peer_id && each.tunnelled);
  const title = hub.me ? t("carriedByYou") : t("carriedBy", {name: hub.name});
  return {icon: "waypoints", long: title, brief: hub.me ? t("carriedByYouShort") : t("carriedByShort", {name: hub.name}), title,
    text: [t(hub.me ? "carriedSaidYou" : "carriedSaid", {name: hub.name}), whyCarried(room), isTunnelled && t("carriedTunnelled"),
      takeover(room), t("seeAddress")].filter(Boolean).join(" ")};
}

// Why it is carried, and by that member; in the node's own words where ours do not say it.
export function whyCarried(room) {
  const {hub} = room;
  const shape = `shapeWhy_${room.shape_why}`;
  const own = `carriedWhy_${room.carried_why}`;
  const its = hub.me && has(own + "You") ? own + "You" : own;
  const said = [has(shape) && t(shape), has(its) && t(its, {name: hub.name})].filter(Boolean);
  return said.length ? said.join(" ") : room.carried_text ?? "";
}

function takeover({hub, standby}) {
  if (!standby) return "";
  if (standby.me) return t("youTakeOver", {name: hub.name});
  return t(hub.me ? "takesOverFromYou" : "takesOver", {name: hub.name, other: standby.name});
}

// What to say when somebody else carries the room than before; null if nobody does.
export function changeOfCarrier(before, after) {
  const [was, is] = [isCarried(before) ? before.hub : null, isCarried(after) ? after.hub : null];
  if (!was && !is || was?.peer_id === is?.peer_id) return null;
  if (!is) return t("directAgain");
  const left = was && !was.me && ![...after.members, ...after.relays ?? []].some((each) => each.peer_id === was.peer_id);
  if (left) return t(is.me ? "youCarryAfter" : "carriesAfter", {name: was.name, other: is.name});
  return is.me ? t("youCarryNow") : t("nowCarries", {name: is.name});
}

// A good word that leaves by itself, unless a hand or the focus is on it.
export function toast(app, title) {
  app.toast = {kind: "good", icon: "waypoints", title};
  clearTimeout(app.toastTimer);
  const end = () => {
    if (document.querySelector(".banner.good:is(:hover, :focus-within)")) return void (app.toastTimer = setTimeout(end, 1_000));
    app.toast = null;
    app.changed();
  };
  app.toastTimer = setTimeout(end, TOAST_MS);
}

// In the room while we carry it: how many, how much, and the way out.
export function CarryStrip({app}) {
  const {room, carry} = app;
  const [its, ask] = useAsk(app);
  if (!room.carrying) return null;
  const words = t("youCarry", {n: room.carrying.people, rate: rate(room.carrying.kbps)});
  return html`<div class="card strip"><label class="switch"><${Icon} name="share-2"/><span>${words}</span>
    ${carry && html`<input type="checkbox" role="switch" checked=${carry.carry === "auto"} onChange=${(event) => ask("carry", {choice: choiceOf(event)})}/>`}</label>
    <${Problem} text=${its.problem}/></div>`;
}

const choiceOf = (event) => (event.target.checked ? "auto" : "never");

function stateOf(app) {
  const {carry, room} = app;
  if (carry.carry === "never") return t("carryNever");
  if (!carry.on_mains) return t("carryBattery");
  if (carry.metered) return t("carryMetered");
  const limit = rate(carry.cap_kbps);
  return room?.carrying ? t("carryNow", {rate: rate(room.carrying.kbps), limit}) : t("carryReady", {limit, n: carry.links});
}

// The whole choice: whether, with how much, and whether it costs.
export function CarryCard({app}) {
  const {carry} = app;
  const [its, ask] = useAsk(app);
  if (!carry) return null;
  const isOn = carry.carry === "auto";
  const at = STEPS_KBPS.findLastIndex((each) => each <= carry.cap_kbps);
  return html`<section class="card stack" aria-labelledby="carry-title">
    <label class="switch"><${Icon} name="share-2"/><span><b class="h3" id="carry-title">${t("carryOthers")}</b></span>
      <input type="checkbox" role="switch" checked=${isOn} aria-describedby="carry-said" onChange=${(event) => ask("carry", {choice: choiceOf(event)})}/></label>
    <p class="small soft" id="carry-said">${t("carryOthersSaid")}</p>
    <p class="small" role="status">${stateOf(app)}</p>
    ${isOn && html`<label class="volume"><span>${t("carryLimit")}</span>
      <input type="range" min="0" max=${STEPS_KBPS.length - 1} step="1" value=${Math.max(0, at)} aria-valuetext=${rate(carry.cap_kbps)}
        onChange=${(event) => ask("carry", {cap_kbps: STEPS_KBPS[event.target.value]})}/>
      <output class="small soft">${rate(carry.cap_kbps)}</output></label>
    <label class="switch"><span>${t("meteredHere")}</span><input type="checkbox" role="switch" checked=${carry.metered}
      onChange=${(event) => ask("carry", {metered: event.target.checked ? "yes" : "no"})}/></label>`}
    <${Problem} text=${its.problem}/></section>`;
}

// The room has outgrown its links and nobody carries it: what one could do from here.
export function needsRelay(app) {
  const {room, carry} = app;
  if (!room?.needs_relay) return null;
  const [more, change] = carry?.carry === "never" ? ["relayNever", {choice: "auto"}] : carry && !carry.on_mains ? ["relayBattery", null]
    : carry?.metered ? ["relayNever", {metered: "no"}] : ["relayOthers", null];
  return {kind: "warn", icon: "server", title: t("needsRelay"), text: `${t(room.shape_why === "pair" ? "needsRelayPair" : "needsRelaySaid", {n: count(room)})} ${t(more)}`,
    ...(change ? {label: t("carryHere"), action: () => app.tryTo("carry", change)} : {label: t("doctor"), action: () => app.go("doctor")})};
}
