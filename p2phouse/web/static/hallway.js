// The hallway: rooms that this node sees, and the two ways to another one.
import {html, useState} from "/vendor/htm-preact.js";
import {useAsk} from "/asking.js";
import {count} from "/carrying.js";
import {Icon} from "/icons.js";
import {ago, t} from "/i18n.js";
import {Face, Problem, Sheet} from "/parts.js";
import {RelayChoice, refusalOf} from "/relays.js";

const TITLE_CHARACTERS_MAX = 80;

export function Hallway({app}) {
  const rooms = app.rooms ?? [];
  return html`<div class="head"><h1>${t("hallway")}</h1>
      <div class="row wrap">
        <button class="button line" onClick=${() => app.sheet("join")}><${Icon} name="link"/>${t("joinByLink")}</button>
        <button class="button go" onClick=${() => app.sheet("open")}><${Icon} name="plus"/>${t("openRoom")}</button>
      </div></div>
    <div class="foot shelf-line"><h2 class="shelf"><${Icon} name="wifi"/>${t("onNetwork")}${rooms.length > 0 && html`<span>${rooms.length}</span>`}</h2>
      <${ToDoctor} app=${app}/></div>
    <${Problem} text=${app.problem}/>
    ${app.problem && html`<p class="after-problem"><${ToDoctor} app=${app}/></p>`}
    ${app.rooms && (rooms.length ? html`<ul class="cards">${rooms.map((room) => html`<li key=${room.room}>
      <${Card} app=${app} room=${room}/></li>`)}</ul>` : html`<${Quiet} app=${app}/>`)}`;
}

function ToDoctor({app}) {
  return html`<button type="button" class="button plain little" onClick=${() => { app.sheet(null); app.go("doctor"); }}>
    <${Icon} name="stethoscope" size=${16}/>${t("checkNetwork")}</button>`;
}

function Card({app, room}) {
  const isOurs = app.room?.room === room.room;
  const isLan = room.access === "lan";
  const door = {social: ["users", "socialCard"], closed: ["lock", "closedCard"]}[room.access];
  return html`<button class=${"card room" + (room.ghost ? " ghost" : "")} title=${room.ghost ? t("ghostSaid") : null} aria-labelledby=${"title-" + room.room}
      onClick=${() => (isOurs ? app.go("room") : app.join(room.room))}>
    ${room.ghost ? html`<span class="caption soft row"><${Icon} name="cloud-off" size=${16}/>${t("ghost")}</span>`
      : html`<span class="live caption soft">${t(isLan ? "liveHere" : "liveFor", {time: ago(room.age_s)})}</span>`}
    <h3 id=${"title-" + room.room} dir="auto">${room.title}</h3>
    <span class="small soft">${t("openedBy", {tag: room.host})}</span>
    <span class="foot"><${Face} uid=${room.host_uid} size=${44}/>
      <span class="row">
        ${isOurs && html`<span class="chip pine"><${Icon} name="check" size=${15}/>${t("youAreIn")}</span>`}
        ${isLan && html`<span class="chip pine"><${Icon} name="house" size=${15}/>${t("staysHere")}</span>`}
        ${door && html`<span class="chip pine"><${Icon} name=${door[0]} size=${15}/>${t(door[1])}</span>`}
        <span class="row small soft" style=${{gap: "6px"}}><${Icon} name="users" size=${16}/>${t("people", {n: isOurs ? count(app.room) : room.people})}</span>
      </span></span>
  </button>`;
}

function Quiet({app}) {
  return html`<div class="card empty">
    <svg class="street" viewBox="0 0 230 110" aria-hidden="true">
      <path d="M20 50 52 24 84 50V104H20ZM146 40 180 14 214 40V104H146Z" fill="var(--key)"/>
      <ellipse cx="51" cy="64" rx="7" ry="8" fill="var(--sunk)"/><ellipse cx="180" cy="56" rx="7" ry="8" fill="var(--sunk)"/>
      <path d="M80 44 115 12 150 44V104H80Z" fill="var(--roof)" stroke="var(--roof)" stroke-width="6" stroke-linejoin="round"/>
      <circle cx="103" cy="54" r="6.5" fill="#FFC766"/><circle cx="127" cy="54" r="6.5" fill="#FFC766"/>
      <path d="M100 68c6 9 24 9 30 0" fill="none" stroke="#FFC766" stroke-width="5" stroke-linecap="round"/>
      <path d="M0 106h230" stroke="var(--line)" stroke-width="3"/></svg>
    <div class="stack"><h3>${t("streetQuiet")}</h3><p class="soft">${t("appears")}</p>
      <div><button class="button go" onClick=${() => app.sheet("open")}><${Icon} name="plus"/>${t("openRoom")}</button></div></div>
  </div>`;
}

const WAYS = [
  ["open", "lock-open", "anyone", "anyoneSaid"],
  ["social", "users", "accessSocial", "socialSaid"],
  ["closed", "lock", "accessClosed", "closedSaid"],
  ["lan", "house", "networkOnly", "networkSaid"],
];

export function OpenSheet({app}) {
  const [title, setTitle] = useState("");
  const [access, setAccess] = useState("open");
  const [stage, setStage] = useState("everyone");
  const [relay, setRelay] = useState("");
  const [its, ask] = useAsk(app);
  const open = (event) => {
    event.preventDefault();
    const carried = relay && access !== "lan" ? {relay} : {};
    ask("open", {title: title.trim(), access, stage, ...carried}, (room) => app.refuse(refusalOf(room.relay, relay)));
  };
  const speak = (value, words) => html`<label><input type="radio" name="stage" checked=${stage === value}
    onChange=${() => setStage(value)}/>${t(words)}</label>`;
  return html`<${Sheet} title=${t("openRoom")} close=${() => app.sheet(null)}>
    <form onSubmit=${open}>
      <label class="field"><span>${t("about")}</span><input value=${title} required maxlength=${TITLE_CHARACTERS_MAX}
        autofocus autocomplete="off" dir="auto" onInput=${(event) => setTitle(event.target.value)}/></label>
      <fieldset class="choice"><legend>${t("whoCanCome")}</legend>${WAYS.map(([value, icon, name, said]) => html`<label key=${value}>
        <input type="radio" name="who" checked=${access === value} onChange=${() => setAccess(value)}/><${Icon} name=${icon}/>
        <span><b>${t(name)}</b><span class="small soft">${t(said)}</span></span></label>`)}</fieldset>
      <fieldset class="segments wide"><legend class="seen">${t("whoMaySpeak")}</legend>
        <div>${speak("everyone", "everyone")}${speak("invited", "whomIInvite")}</div></fieldset>
      ${access !== "lan" && html`<${RelayChoice} app=${app} value=${relay} choose=${setRelay}/>`}
      <${Problem} text=${its.problem}/>
      <button class=${"button go big" + (its.busy ? " busy" : "")}>${t("openMuted")}</button>
      <button type="button" class="button plain" onClick=${() => app.sheet(null)}>${t("cancel")}</button>
    </form></${Sheet}>`;
}

export function JoinSheet({app}) {
  const [room, setRoom] = useState("");
  const [its, ask] = useAsk(app);
  const join = (event) => {
    event.preventDefault();
    ask("join", {room: room.trim()});
  };
  return html`<${Sheet} title=${t("joinByLink")} close=${() => app.sheet(null)}>
    <form onSubmit=${join}>
      <label class="field"><span>${t("linkLabel")}</span><input value=${room} required autofocus autocomplete="off"
        spellcheck=${false} onInput=${(event) => setRoom(event.target.value)}/></label>
      <${Problem} text=${its.problem}/>${its.problem && html`<p><${ToDoctor} app=${app}/></p>`}
      <button class=${"button go big" + (its.busy ? " busy" : "")}>${t("joinMuted")}</button>
      <button type="button" class="button plain" onClick=${() => app.sheet(null)}>${t("cancel")}</button>
    </form></${Sheet}>`;
}
