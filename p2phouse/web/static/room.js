// The room: its head, the stage and the audience; and the door, for who waits there.
import {html} from "/vendor/htm-preact.js";
import {CarryStrip, carriedWords, isCarried, whyCarried} from "/carrying.js";
import {Icon} from "/icons.js";
import {t} from "/i18n.js";
import {Audience, Stage} from "/stage.js";
import {keeping} from "/who.js";

export function Room({app}) {
  const {room} = app;
  return html`<div class="inner">
    <div><div class="foot"><button class="crumb" onClick=${() => app.go("hallway")}><${Icon} name="chevron-left"/>${t("hallway")}</button>
      <span class="row">
        <button class="button keyed little" onClick=${() => app.sheet("share")}><${Icon} name="link" size=${16}/>${t("share")}</button>
        <button class="button bare" aria-label=${t("aboutRoom")} onClick=${() => app.turn("room", "tab-room")}><${Icon} name="ellipsis"/></button></span></div>
      <h1 dir="auto">${room.title}</h1></div>
    <${Badges} app=${app}/>
    <${CarryStrip} app=${app}/>
    <${Stage} app=${app}/>
    ${room.members.length === 1 && html`<p class="soft">${t("alone")}</p>`}
    <${Audience} app=${app}/>
  </div>`;
}

// True sentences about this room; each chip leads to the one that explains it.
function Badges({app}) {
  const {room} = app;
  const {access, icon, words} = keeping(room, app.rooms);
  const carrier = carriedWords(room);
  const its = (icon, key, said, kind = "") => ({icon, long: t(key), brief: t(`${key}Short`), said, kind});
  const all = [
    its(icon, words, "keeping", access === "open" ? "" : " pine"),
    ...(room.members.length > 1 ? [{...carrier, said: "direct", kind: "", why: isCarried(room) ? whyCarried(room) : ""}] : []),
    its("circle-dot", "recorded", "recorded"),
    ...(room.locked ? [its("lock", "locked", "locked")] : []),
    ...(room.confirmed === false ? [its("clock", "unconfirmed", "confirmed")] : []),
  ];
  return html`<div class="badges">${all.map(({icon, long, brief, said, kind, why}) => html`
    <button key=${said} class=${"chip" + kind} title=${why || null} onClick=${() => app.turn("room", `said-${said}`)}><${Icon} name=${icon} size=${15}/>
      <span class="long">${long}</span><span class="brief">${brief}</span></button>`)}</div>`;
}

export function Waiting({app}) {
  const refused = app.room.waiting === "refused";
  return html`<div class="inner"><div><button class="crumb" onClick=${() => app.go("hallway")}><${Icon} name="chevron-left"/>${t("hallway")}</button></div>
    <div class="card stack door" role="status">
    <${Icon} name="door-open" size=${44}/>
    <h1 dir="auto">${app.room.title || t("atDoor")}</h1>
    <p class="lead">${t(refused ? "refusedAtDoor" : "waiting")}</p>
    <p class="small soft">${t("seeAddress")} ${t("nobodyHears")}</p>
    <div><button class="button line" onClick=${app.leave}><${Icon} name="log-out"/>${t("leave")}</button></div></div></div>`;
}
