// One banner at a time, the worst first: what happened, then one thing to do about it.
import {needsRelay} from "/carrying.js";
import {ago, t} from "/i18n.js";
import {silenceWords} from "/silence.js";
import {keeping, may, tagged} from "/who.js";

export function notice(app) {
  for (const one of [broken, microphone, refusal, forced, asked, sound, ownSilence, invitation, successor, unattended, needsRelay, keys, carrier, exposure]) {
    const found = one(app);
    if (found) return {key: one.name, ...found};
  }
  return null;
}

function broken({link}) {
  return link === "lost" && {kind: "bad", title: t("lost"), text: t("lostSaid")};
}

function microphone(app) {
  const {mouth} = app;
  if (mouth.lostDevice) {
    const other = app.devices.otherMicrophone(mouth.lostDevice);
    return {kind: "bad", icon: "headphones", title: t("headsetLost"), text: t("headsetLostSaid"), ...(other
      ? {label: t("useDevice", {name: other.label || t("anotherMicrophone")}), action: () => app.mouth.chooseMicrophone(other.id)}
      : {label: t("tryAgain"), action: () => app.want(true)})};
  }
  const text = mouth.trouble ? t(mouth.trouble) : app.trouble;
  return text && {kind: "bad", title: t("noWay"), text, label: t("tryAgain"), action: () => app.want(true)};
}

function refusal(app) {
  return app.refusal && {kind: "warn", title: app.refusal, label: t("gotIt"), action() {
    app.refusal = null;
    app.changed();
  }};
}

function forced(app) {
  const {you} = app;
  if (you?.role !== "muted") {
    app.toldMuted = null;
    return null;
  }
  if (app.toldMuted) return null;
  const by = app.deciders.get(`${you.uid}muted`);
  return {kind: "bad", icon: "mic-off", title: by ? t("mutedYou", {name: tagged(app.room, by)}) : t("mutedYouSomebody"), text: t("mutedYouSaid"),
    ...(app.hasPageMouth && {label: t("checkEcho"), action: () => app.sheet("echo")}), second: {label: t("gotIt"), action() {
      app.toldMuted = true;
      app.changed();
    }}};
}

// A wish of who runs the room, which the node has followed: nothing that holds.
function asked(app) {
  return app.askedToMute && {kind: "info", icon: "mic-off", title: t("askedToMute"), text: t("askedToMuteSaid"), label: t("gotIt"), action() {
    app.askedToMute = false;
    app.changed();
  }};
}

function sound({mouth}) {
  if (mouth.elsewhere) return {kind: "warn", title: t("elsewhere"), label: t("soundHere"), action: () => mouth.here()};
  if (mouth.broken) return {kind: "warn", title: t("soundLost")};
  if (mouth.heldBack) return {kind: "warn", icon: "volume-2", title: t("heldBack"), label: t("letMeHear"), action() {}};  // any click does it
  return null;
}

// What the node hears of the page the page says itself.
const SAID_ABOVE = ["output_blocked", "muted_by", "device_lost"];

function ownSilence(app) {
  const silence = app.you?.silence;
  if (!silence || SAID_ABOVE.includes(silence.cause)) return null;
  const {title, text} = silenceWords({silence, you: true});
  if (silence.cause === "talking_while_muted") return {kind: "warn", icon: "mic-off", title, text, label: t("unmute"), action: app.toggle};
  return {kind: "bad", icon: "mic-off", title, text};
}

function invitation(app) {
  const {you} = app;
  return you?.invited && {kind: "good", icon: "arrow-up", title: t("invited"), text: t("arriveMuted"), label: t("comeUp"),
    action: () => app.tryTo("accept"), second: {label: t("notNow"), action: () => app.tryTo("decline")}};
}

function successor(app) {
  const its = app.room?.successor;
  return its && {kind: "info", icon: "door-open", title: t("successor", {name: tagged(app.room, its.by), title: its.title}),
    label: t("comeAlong"), action: () => app.tryTo("move")};
}

// Nobody runs it, or its twelve hours are nearly over; then only those who run it open the next.
function unattended(app) {
  const {room} = app;
  const isLeft = room?.attended === false;
  if (!isLeft && room?.closes_in_s == null) return null;
  const text = room.closes_in_s == null ? "" : t("closesIn", {time: ago(room.closes_in_s)});
  return {kind: "warn", icon: "clock", title: t(isLeft ? "noHost" : "nearlyOver"), text,
    ...(may(room, "continue_room") && {label: t("openForAll"), action: () => app.tryTo("continue_room")})};
}

function keys({room}) {
  return room?.keys === "waiting" && {kind: "info", icon: "lock", title: t("keyComes"), text: t("keyComesSaid")};
}

const carrier = (app) => app.room && app.toast;

// That one is muted is said at each arrival; who sees one's address and hears one, once for each kind of room.
function exposure(app) {
  const {room} = app;
  if (!room || room.waiting || app.arrivedIn === room.room) return null;
  const hasBrowsers = Boolean(room.relays?.length) && !room.sealed;
  const name = `exposure-${keeping(room, app.rooms).access}${hasBrowsers ? "-browsers" : ""}`;
  const arrived = `${t("arrived")} ${t("nobodyHears")}`;
  const action = () => {
    localStorage.setItem(name, "told");
    app.arrivedIn = room.room;
    app.changed();
  };
  return localStorage.getItem(name) ? {kind: "info", title: t("arrived"), text: t("nobodyHears"), label: t("gotIt"), action}
    : {kind: "info", icon: "globe", title: t("seeAddress"), text: hasBrowsers ? `${t("browsersListen")} ${arrived}` : arrived, label: t("gotIt"), action};
}
