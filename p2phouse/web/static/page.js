// The frame around every place: where one can go, what lies over it.
import {html} from "/vendor/htm-preact.js";
import {Dock, RoomBar} from "/dock.js";
import {Doctor} from "/doctor.js";
import {Hallway, JoinSheet, OpenSheet} from "/hallway.js";
import {EchoSheet} from "/echo.js";
import {HandSheet} from "/hands.js";
import {t} from "/i18n.js";
import {Icon, Mark} from "/icons.js";
import {ListenersSheet} from "/listeners.js";
import {EndSheet, MuteAllSheet, TitleSheet} from "/running.js";
import {notice} from "/notices.js";
import {Panel, PanelSheet} from "/panel.js";
import {Banner, Face} from "/parts.js";
import {PersonSheet} from "/person.js";
import {Room, Waiting} from "/room.js";
import {Settings} from "/settings.js";
import {ShareSheet} from "/share.js";
import {Welcome} from "/welcome.js";

const SHEETS = {open: OpenSheet, join: JoinSheet, echo: EchoSheet};
const ROOM_SHEETS = {share: ShareSheet, person: PersonSheet, panel: PanelSheet, hand: HandSheet, title: TitleSheet,
  end: EndSheet, muteAll: MuteAllSheet, listeners: ListenersSheet};

export function Page({app}) {
  const skip = html`<a class="skip" href="#content" onClick=${(event) => {
    event.preventDefault();  // the address holds no fragment: nothing there may look like a token
    document.getElementById("content").focus();
  }}>${t("skip")}</a><div class="hidden" role="status" aria-live="polite">${app.news.said}</div>`;
  if (app.link === "refused" || app.link === "over") return html`${skip}<${Stopped} app=${app}/>`;
  if (!app.me) return html`${skip}<main id="content" tabindex="-1"><h1 class="hidden">p2phouse</h1></main>`;
  if (!app.me.name && !app.welcomed && !app.room) return html`${skip}<${Welcome} app=${app}/>`;
  const inRoom = app.view === "room" && app.room;
  const isIn = inRoom && !app.room.waiting;
  const {name, about} = app.shownSheet ?? {};
  const Shown = SHEETS[name] ?? (app.room && ROOM_SHEETS[name]);
  return html`${skip}<div class=${"frame" + (inRoom ? " in-room room-page" : "")}>
    <${Rail} app=${app}/>
    <main id="content" tabindex="-1">${isIn ? html`<${Room} app=${app}/>` : inRoom ? html`<${Waiting} app=${app}/>`
      : app.view === "sound" ? html`<${Settings} app=${app}/>` : app.view === "doctor" ? html`<${Doctor} app=${app}/>` : html`<${Hallway} app=${app}/>`}</main>
    ${isIn && html`<${Dock} app=${app}/>`}
    ${isIn && app.wide && html`<aside class="panel" aria-label=${t("panel")}><${Panel} app=${app}/></aside>`}
    ${!inRoom && app.room && html`<${RoomBar} app=${app}/>`}
    ${!isIn && app.link === "lost" && html`<div class="over"><${Banner} ...${notice(app)}/></div>`}
    ${!inRoom && html`<nav class="tabs" aria-label=${t("navigation")}><${Places} app=${app}/></nav>`}
    ${Shown && html`<${Shown} key=${name + (about ?? "")} app=${app} about=${about}/>`}
  </div>`;
}

function Places({app}) {
  const place = (view, icon, kind = "") => html`<button class=${"place" + kind} aria-current=${(app.view === view || (view === "hallway" && app.view === "room")) ? "page" : null}
    onClick=${() => app.go(view)}><${Icon} name=${icon}/>${t(view)}</button>`;
  return html`${place("hallway", "house")}${place("sound", "headphones")}${place("doctor", "stethoscope", " wide-only")}`;
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
