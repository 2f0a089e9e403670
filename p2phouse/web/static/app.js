// What the page knows of the node, which place it shows, and what a person's hand does.
import {html, render} from "/vendor/htm-preact.js";
import {Devices} from "/devices.js";
import {know} from "/faces.js";
import {speak, t} from "/i18n.js";
import {Mouth} from "/mouth.js";
import {News} from "/news.js";
import {Node} from "/node.js";
import {Reactions} from "/reactions.js";
import {Voices} from "/voices.js";
import {may, onStage, you} from "/who.js";

const REFRESH_MS = 10_000;  // ages and counts that no event tells of
const SOON_MS = 50;  // events come in bursts
const TICK_MS = 100;
const WIDE = matchMedia("(min-width: 1200px)");
const CHAT_EVENTS = new Set(["chat", "chat_deleted", "pins_changed", "joined", "room_changed"]);

export class App {
  link = "connecting";
  me = null;
  rooms = null;
  room = null;
  chat = null;  // what the node says of the room's chat; null if it says nothing
  lobby = [];
  reports = [];
  view = "hallway";
  shownSheet = null;  // {name, about}
  tab = "chat";  // of the panel
  problem = "";
  trouble = null;  // one sentence about our sound
  refusal = null;  // one sentence about what was just asked
  welcomed = false;
  askedToMute = null;
  carry = null;  // whether we carry others, as the node says
  toast = null;  // a good word that leaves by itself
  held = false;
  picking = null;  // "react" or "more", whose row is open over the dock
  deciders = new Map();  // uid and role → who decided it
  readChat = 0;  // messages that were on screen
  voices = new Voices();
  reactions = new Reactions(() => this.changed());
  devices = new Devices(() => this.changed());

  constructor(token, Page) {
    this.token = token;
    this.Page = Page;
    this.news = new News(this);
    addEventListener("resize", () => this.changed());
    if (!token) {
      this.link = "refused";
      return;
    }
    this.mouth = new Mouth(token, this.devices, () => this.changed(), () => this.want(false),
      (blocked) => this.node.ask("page_sound", {state: blocked ? "blocked" : "running"}).catch(() => {}));
    this.node = new Node(token, (kind, value) => this.hear(kind, value));
    setInterval(() => this.link === "open" && this.refresh(), REFRESH_MS);
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

  happened(event) {
    const member = this.room?.members.find((each) => each.peer_id === event.peer_id);
    this.news.hear(event, member);
    if (event.event === "sound_trouble") this.trouble = event.text;
    if (event.event === "please_mute") this.askedToMute = true;
    if (event.event === "joined") this.trouble = this.askedToMute = null;
    if (event.event === "left" && event.text) this.problem = event.text;
    if (event.event === "reaction") return member && !member.you && this.reactions.show(event.peer_id, event.text);
    if (CHAT_EVENTS.has(event.event)) this.chatIsOld = true;
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.refresh(), SOON_MS);
  }

  async refresh() {
    try {
      const asked = ["status", "rooms", "members"].map((verb) => this.node.ask(verb));
      const carries = this.node.ask("carry").catch(() => null);
      const [me, {rooms}, facts, carry] = await Promise.all([...asked, carries]);
      facts.relays = facts.members.filter((each) => each.relay);  // no people: nobody's face, no place
      facts.members = facts.members.filter((each) => !each.relay);
      const before = this.room;
      Object.assign(this, {carry, me, rooms, room: facts.room ? facts : null});
      await Promise.all([...facts.members.map((each) => each.uid), ...rooms.map((each) => each.host_uid), me.uid].map(know));
      if (this.room) this.problem = "";
      if (this.room && this.room.room !== before?.room) this.arrived();
      else if (this.room) this.news.compare(before, this.room);
      if (!this.room && before) this.gone(before);
      this.mouth.settled(this.room && !this.room.waiting ? this.room.muted : true, me.mouth);
      if (!this.canSpeak) this.mouth.close();
      this.changed();
      if (this.room && !this.room.waiting) await this.lookAround();
    } catch {
      // The link broke meanwhile: `lost` has said so, and the next one asks again.
    }
  }

  // What is asked apart, because not every node and not every room has it.
  async lookAround() {
    const {room} = this;
    const ask = (verb, values) => this.node.ask(verb, values).catch(() => null);
    if (this.chatIsOld || this.chat?.room !== room.room) {
      this.chatIsOld = false;
      const chat = await ask("messages", {since: 0});
      this.chat = chat && {...chat, room: room.room};
      if (chat) await Promise.all([...chat.messages, ...(chat.mods ?? [])].map((each) => know(each.by_uid)));
    }
    const lobby = room.lobby_count && (may(room, "lobby") || may(room, "admit")) ? await ask("lobby") : null;
    this.news.compareLobby(this.lobby, lobby?.people ?? []);
    this.lobby = lobby?.people ?? [];
    await Promise.all(this.lobby.map((each) => know(each.uid)));
    const told = may(room, "reports") ? await ask("reports") : null;
    this.reports = told?.reports ?? [];
    await Promise.all(this.reports.map((each) => know(each.about_uid)));
    for (const {uid, role, key_tag: tag} of room.members) {
      if (role !== "muted" || this.deciders.has(uid + role)) continue;
      const why = await ask("why", {who: tag});
      this.deciders.set(uid + role, why?.entries.at(-1)?.by ?? null);
    }
    this.changed();
  }

  arrived() {
    this.view = "room";
    this.chat = this.toast = null;
    this.readChat = 0;
    this.lobby = this.reports = [];
    this.deciders.clear();
    this.sheet(null);
    this.say(this.room.waiting ? t("waiting") : `${t("arrived")} ${t("nobodyHears")}`);
  }

  gone(before) {
    if (this.view === "room") this.view = "hallway";
    this.sheet(null);
    this.mouth.close();
    this.say(this.problem || t("srLeft", {title: before.title}));
  }

  // ── what a person does ───────────────────────────────────────────────────────────────────

  get hasPageMouth() { return this.me?.mouth === "page"; }
  get wide() { return WIDE.matches; }
  get you() { return this.room ? you(this.room) : undefined; }

  go = (view) => {
    this.welcomed = true;
    this.view = view;
    this.problem = "";
    this.changed();
    document.getElementById("content")?.focus();
    scrollTo(0, 0);
  };

  sheet = (name, about = null) => {
    this.shownSheet = name && {name, about};
    this.picking = null;
    this.changed();
  };

  pick = (row) => {
    this.picking = this.picking === row ? null : row;
    this.changed();
  };

  // A tab of the panel, wherever the panel is.
  turn = (tab, to = null) => {
    this.tab = tab;
    if (!this.wide) this.sheet("panel");
    this.changed();
    if (to) requestAnimationFrame(() => requestAnimationFrame(() => document.getElementById(to)?.focus()));
  };

  speak = (code) => {
    speak(code);
    localStorage.setItem("language", code);
    this.changed();
  };

  async rename(name) {
    this.me = {...this.me, ...await this.node.ask("rename", {name})};
  }

  // Asks the node, then looks what became of it. Raises what the node says against it.
  async act(verb, values = {}) {
    const result = await this.node.ask(verb, values);
    this.refusal = null;
    await this.refresh();
    return result;
  }

  // The same from where nothing can show a refusal: it becomes the banner.
  tryTo = async (verb, values = {}) => {
    try {
      return await this.act(verb, values);
    } catch (error) {
      this.refuse(error.message);
      return null;
    }
  };

  refuse(text) {
    this.refusal = text || null;
    this.changed();
  }

  join = async (room) => {
    try {
      await this.act("join", {room});
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

  react = (text) => {
    this.reactions.show(this.me.peer_id, text);
    this.node.ask("react", {emoji: text}).catch(({message}) => this.refuse(message));
  };

  get canSpeak() { return this.room && !this.room.waiting && onStage(this.you) && this.you.role !== "muted"; }

  toggle = () => this.canSpeak && this.want(this.room.muted);

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
    return member && !member.muted && !member.forged && !member.blocked && onStage(member) ? this.voices.level(peer) : null;
  };

  // ── what is shown ────────────────────────────────────────────────────────────────────────

  say(text) {
    this.news.now(text);
    this.changed();
  }

  changed() {
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      render(html`<${this.Page} app=${this}/>`, document.body);
    });
  }
}
