// The page: what it knows of the node, which place it shows, and what a person's hand does.
import {html, render} from "/vendor/htm-preact.js";
import {know} from "/faces.js";
import {Hallway, JoinSheet, OpenSheet} from "/hallway.js";
import {language, speak, start, t} from "/i18n.js";
import {Icon, Mark} from "/icons.js";
import {Mouth} from "/mouth.js";
import {Node} from "/node.js";
import {Banner, Face} from "/parts.js";
import {Dock, Room, RoomBar, ShareSheet} from "/room.js";
import {Settings} from "/settings.js";
import {Voices} from "/voices.js";
import {STREET_UIDS, Welcome} from "/welcome.js";

const REFRESH_MS = 10_000;  // ages and counts that no event tells of
const ANNOUNCE_MS = 5_000;
const TICK_MS = 100;

class App {
  link = "connecting";
  me = null;
  rooms = null;
  room = null;
  view = "hallway";
  shownSheet = null;
  problem = "";
  trouble = null;  // one sentence about our sound
  welcomed = false;
  said = "";  // to screen readers
  held = false;
  arrivals = [];
  seenAddress = new Set();  // rooms whose one consent line was read
  voices = new Voices();

  constructor(token) {
    this.token = token;
    if (!token) {
      this.link = "refused";
      return;
    }
    this.mouth = new Mouth(token, () => this.changed(), () => this.want(false));
    this.node = new Node(token, (kind, value) => this.hear(kind, value));
    setInterval(() => this.link === "open" && this.refresh(), REFRESH_MS);
    setInterval(() => this.announce(), ANNOUNCE_MS);
    setInterval(() => this.room && this.voices.tick() && this.changed(), TICK_MS);
  }

  // ── from the node ────────────────────────────────────────────────────────────────────────

  hear(kind, value) {
    if (kind === "state") {
      this.link = value;
      if (value === "open") this.refresh();
      else this.mouth.close();
    } else if (kind === "levels") this.voices.hear(value);
    else if (kind === "sound") this.mouth.told(value);
    else this.happened(value);
    this.changed();
  }

  happened({event, text}) {
    if (event === "member_joined") this.arrivals.push(text || t("somebody"));
    if (event === "sound_trouble") this.trouble = text;
    if (event === "joined") this.trouble = null;
    if (event === "left" && text) this.problem = text;
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.refresh(), 50);  // events come in bursts
  }

  async refresh() {
    try {
      const [me, {rooms}, facts] = await Promise.all(["status", "rooms", "members"].map((verb) => this.node.ask(verb)));
      const was = this.room?.room ?? null;
      Object.assign(this, {me, rooms, room: facts.room ? facts : null});
      await Promise.all([...facts.members.map((each) => each.uid), ...rooms.map((each) => each.host_uid), me.uid].map(know));
      if (this.room) this.problem = "";
      if (this.room && this.room.room !== was) this.arrived();
      if (!this.room && was) this.gone();
      this.mouth.settled(this.room ? this.room.muted : true, me.mouth);
      this.changed();
    } catch {
      // The link broke meanwhile: `lost` has said so, and the next one asks again.
    }
  }

  arrived() {
    this.view = "room";
    this.shownSheet = null;
    this.say(`${t("arrived")} ${t("nobodyHears")}`);
  }

  gone() {
    if (this.view === "room") this.view = "hallway";
    this.shownSheet = null;
    this.mouth.close();
  }

  // ── what a person does ───────────────────────────────────────────────────────────────────

  get hasPageMouth() { return this.me?.mouth === "page"; }

  go = (view) => {
    this.welcomed = true;
    this.view = view;
    this.problem = "";
    this.changed();
    document.getElementById("content")?.focus();
    scrollTo(0, 0);
  };

  sheet = (name) => { this.shownSheet = name; this.changed(); };

  speak = (code) => {
    speak(code);
    localStorage.setItem("language", code);
    this.changed();
  };

  async rename(name) {
    this.me = {...this.me, ...await this.node.ask("rename", {name})};
  }

  async enter(verb, values) {
    await this.node.ask(verb, values);
    await this.refresh();
  }

  join = async (room) => {
    try {
      await this.enter("join", {room});
    } catch (error) {
      this.problem = error.message;
      this.changed();
    }
  };

  leave = async () => {
    try {
      await this.node.ask("leave");
    } finally {
      this.refresh();
    }
  };

  toggle = () => this.room && this.want(this.room.muted);

  // Security: this is the only way to the microphone, and only a hand leads here.
  async want(live) {
    if (!this.room) return;
    this.trouble = null;
    try {
      await this.mouth.want(live, (verb) => this.node.ask(verb), (muted) => {
        this.room = this.room && {...this.room, muted,
          members: this.room.members.map((each) => (each.you ? {...each, muted} : each))};
        this.say(t(muted ? "srOff" : "srOpen"));
      });
    } catch (error) {
      this.trouble = error.message || null;
      this.changed();
    }
  }

  get micBusy() { return this.mouth.busy; }

  voice = (peer) => {
    const member = this.room?.members.find((each) => each.peer_id === peer);
    return member && !member.muted ? this.voices.level(peer) : null;
  };

  // ── what is shown ────────────────────────────────────────────────────────────────────────

  say(text) {
    this.said = text;
    this.changed();
  }

  announce() {
    if (!this.arrivals.length) return;
    const names = new Intl.ListFormat(language()).format(this.arrivals.splice(0));
    this.say(t("came", {name: names}));
  }

  // One banner at a time, the worst first.
  get notice() {
    const {mouth} = this;
    if (this.link === "lost") return {kind: "bad", title: t("lost"), text: t("lostSaid")};
    if (mouth.trouble) return {kind: "bad", title: t("noWay"), text: t(mouth.trouble), label: t("tryAgain"), action: () => this.want(true)};
    if (this.trouble) return {kind: "bad", title: t("noWay"), text: this.trouble, label: t("tryAgain"), action: () => this.want(true)};
    if (mouth.elsewhere) return {kind: "warn", title: t("elsewhere"), label: t("soundHere"), action: () => mouth.here()};
    if (mouth.broken) return {kind: "warn", title: t("soundLost")};
    if (mouth.heldBack) return {kind: "warn", title: t("heldBack"), label: t("letMeHear"), action() {}};  // any click does it
    if (this.room && !this.seenAddress.has(this.room.room)) {
      return {kind: "info", title: t("arrived"), text: `${t("nobodyHears")} ${t("seeAddress")}`, label: t("gotIt"), action: () => {
        this.seenAddress.add(this.room.room);
        this.changed();
      }};
    }
    return null;
  }

  changed() {
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      render(html`<${Page} app=${this}/>`, document.body);
    });
  }
}

function Page({app}) {
  const skip = html`<a class="skip" href="#content" onClick=${(event) => {
    event.preventDefault();  // the address holds no fragment: nothing there may look like a token
    document.getElementById("content").focus();
  }}>${t("skip")}</a><div class="hidden" role="status" aria-live="polite">${app.said}</div>`;
  if (app.link === "refused" || app.link === "over") return html`${skip}<${Stopped} app=${app}/>`;
  if (!app.me) return html`${skip}<main id="content" tabindex="-1"><h1 class="hidden">p2phouse</h1></main>`;
  if (!app.me.name && !app.welcomed && !app.room) return html`${skip}<${Welcome} app=${app}/>`;
  const inRoom = app.view === "room" && app.room;
  return html`${skip}<div class=${"frame" + (inRoom ? " in-room room-page" : "")}>
    <${Rail} app=${app}/>
    <main id="content" tabindex="-1">${inRoom ? html`<${Room} app=${app}/>`
      : app.view === "sound" ? html`<${Settings} app=${app}/>` : html`<${Hallway} app=${app}/>`}</main>
    ${inRoom && html`<${Dock} app=${app}/>`}
    ${!inRoom && app.room && html`<${RoomBar} app=${app}/>`}
    ${!inRoom && app.link === "lost" && html`<div class="over"><${Banner} ...${app.notice}/></div>`}
    ${!inRoom && html`<nav class="tabs" aria-label=${t("navigation")}><${Places} app=${app}/></nav>`}
    ${app.shownSheet === "open" && html`<${OpenSheet} app=${app}/>`}
    ${app.shownSheet === "join" && html`<${JoinSheet} app=${app}/>`}
    ${app.shownSheet === "share" && app.room && html`<${ShareSheet} app=${app}/>`}
  </div>`;
}

function Places({app}) {
  const place = (view, icon) => html`<button class="place" aria-current=${(app.view === view || (view === "hallway" && app.view === "room")) ? "page" : null}
    onClick=${() => app.go(view)}><${Icon} name=${icon}/>${t(view)}</button>`;
  return html`${place("hallway", "house")}${place("sound", "headphones")}`;
}

function Rail({app}) {
  const inRoom = app.view === "room" && app.room;
  return html`${!inRoom && html`<header class="topline"><span class="brand"><${Mark} size=${28}/>p2phouse</span>
      <${Face} uid=${app.me.uid} size=${32}/></header>`}
    <nav class="rail" aria-label=${t("navigation")}>
      <div class="brand"><${Mark}/><span class="word">p2phouse</span></div>
      <${Places} app=${app}/>
      <div class="self"><${Face} uid=${app.me.uid} size=${40}/>
        <div><b dir="auto">${app.me.name || t("you")}</b><div class="caption soft">${app.me.key_tag}</div></div></div></nav>`;
}

function Stopped({app}) {
  const over = app.link === "over";
  return html`<main id="content" tabindex="-1" style=${{margin: "12vh auto 0"}}><div class="card stack" style=${{maxWidth: "32rem", margin: "0 auto"}}>
    <${Mark} size=${44}/><h1>${t(over ? "over" : "noKey")}</h1><p class="soft">${t(over ? "overSaid" : "noKeySaid")}</p>
    ${over && html`<div><button class="button go" onClick=${() => app.node.again()}>${t("tryAgain")}</button></div>`}</div></main>`;
}

// ── keys ───────────────────────────────────────────────────────────────────────────────────────

const TEXT_FIELDS = "input:not([type=radio]), textarea, select, [contenteditable]";

// Space belongs to a control that a person reached by keyboard; the microphone's is to talk.
function isTaken(target) {
  return target.closest?.(TEXT_FIELDS) !== null
    || (target.closest?.("button, a, input") && target.matches(":focus-visible") && target.id !== "mic");
}

function listenForKeys(app) {
  let heldByKey = false;
  const release = () => {
    if (!heldByKey) return;
    heldByKey = app.held = false;
    app.want(false);
  };
  addEventListener("keydown", (event) => {
    if (!app.room || app.shownSheet || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.code === "Space" && !isTaken(event.target)) {
      event.preventDefault();
      if (event.repeat || heldByKey || !app.room.muted) return;
      heldByKey = app.held = true;
      app.want(true);
    } else if (event.key?.toLowerCase() === "m" && !event.repeat && !event.target.closest?.(TEXT_FIELDS)) {
      app.toggle();
    }
  });
  addEventListener("keyup", (event) => {
    if (event.code !== "Space") return;
    if (app.room && !app.shownSheet && !isTaken(event.target)) event.preventDefault();
    release();
  });
  addEventListener("blur", release);
  document.addEventListener("visibilitychange", () => document.hidden && release());
}

// ── the beginning ──────────────────────────────────────────────────────────────────────────────

// Security: the token stays out of the address, so neither history nor a shared screen shows it.
function takeToken() {
  const given = location.hash.slice(1);
  if (given) {
    sessionStorage.setItem("token", given);
    history.replaceState(null, "", "/");
  }
  return sessionStorage.getItem("token");
}

start();
await Promise.all(STREET_UIDS.map(know));
const app = new App(takeToken());
listenForKeys(app);
app.changed();
