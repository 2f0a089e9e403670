// What screen readers are told: what concerns oneself at once, the comings and hands of others
// together every five seconds. That others leave is told to nobody.
import {changeOfCarrier, toast} from "/carrying.js";
import {language, t} from "/i18n.js";
import {named, onStage, tagged, you} from "/who.js";

const ANNOUNCE_MS = 5_000;
const WAITING_MAX = 40;

const add = (list, value) => list.length < WAITING_MAX && list.push(value);

export class News {
  said = "";

  constructor(app) {
    this.app = app;
    this.arrivals = [];
    this.hands = [];
    this.others = [];
    setInterval(() => this.announce(), ANNOUNCE_MS);
  }

  now(text) { this.said = text; }

  hear({event, text}, member) {
    if (event === "member_joined") add(this.arrivals, text || t("somebody"));
    else if (event === "hand_raised" && !member?.you) add(this.hands, member ? named(member) : t("somebody"));
    else if (event === "report_heard") add(this.others, t("srReport"));
    else if (event === "forged_speech" && member) add(this.others, t("forgedSaid", {name: named(member)}));
  }

  // Who waits at the door now, and did not before.
  compareLobby(before, after) {
    for (const each of after) {
      if (!before.some(({peer_id: peer}) => peer === each.peer_id)) add(this.others, t("srAtDoor", {name: named(each)}));
    }
  }

  announce() {
    const list = (names) => new Intl.ListFormat(language()).format(names);
    const all = this.others.splice(0);
    if (this.arrivals.length) all.push(t("came", {name: list(this.arrivals.splice(0))}));
    if (this.hands.length) all.push(t("srHands", {name: list(this.hands.splice(0))}));
    if (all.length) this.app.say(all.join(". "));
  }

  // Two states of the same room: what became of oneself.
  compare(before, after) {
    const [was, is] = [you(before), you(after)];
    if (before.waiting && !after.waiting) return this.app.say(`${t("admitted")} ${t("nobodyHears")}`);
    if (!was || !is) return;
    const carrier = changeOfCarrier(before, after);
    if (carrier) {
      toast(this.app, carrier);
      add(this.others, carrier);
    }
    if (is.invited && !was.invited) this.app.say(`${t("invited")} ${t("arriveMuted")}`);
    if (is.role === "muted" && was.role !== "muted") this.mutedBy(is);
    else if (onStage(is) && !onStage(was)) this.app.say(t("srOnStage"));
    else if (!onStage(is) && onStage(was)) this.app.say(t("srAudience"));
  }

  async mutedBy({uid, key_tag: tag}) {
    const {app} = this;
    const why = await app.node.ask("why", {who: tag}).catch(() => null);
    const by = why?.entries.at(-1)?.by ?? null;
    app.deciders.set(`${uid}muted`, by);
    app.say(by && app.room ? t("mutedYou", {name: tagged(app.room, by)}) : t("mutedYouSomebody"));
  }
}
