// The room's chat: what people wrote, as text alone; pinned links; the moderators' own channel.
import {html, useEffect, useRef, useState} from "/vendor/htm-preact.js";
import {useAsk} from "/asking.js";
import {Flow, linkIn, Pinned} from "/flow.js";
import {Icon} from "/icons.js";
import {language, t} from "/i18n.js";
import {Face, Problem} from "/parts.js";
import {may, named} from "/who.js";

const TEXT_CHARACTERS_MAX = 500;
const TYPING_EACH_MS = 3_000;

export function Chat({app}) {
  const {chat, room} = app;
  const [channel, setChannel] = useState("everyone");
  const hasMods = Array.isArray(chat.mods) && may(room, "mods");
  const isMods = channel === "mods" && hasMods;
  const messages = isMods ? chat.mods : chat.messages;
  useEffect(() => {
    app.readChat = chat.messages.length;
    app.changed();
  }, [chat.messages.length]);
  const choose = (value, words) => html`<label><input type="radio" name="channel" checked=${channel === value}
    onChange=${() => setChannel(value)}/>${t(words)}</label>`;
  return html`${hasMods && html`<fieldset class="segments"><legend>${t("channel")}</legend>
      ${choose("everyone", "everyone")}${choose("mods", "moderators")}</fieldset>`}
    ${!isMods && html`<${Pins} app=${app}/>`}
    <${Messages} key=${channel} app=${app} messages=${messages} isMods=${isMods}/>
    <${Typing} room=${room}/>
    <${Writing} key=${"to-" + channel} app=${app} isMods=${isMods}/>`;
}

function Pins({app}) {
  const [its, ask] = useAsk(app);
  const pins = app.chat.pins ?? [];
  if (!pins.length) return null;
  return html`<ul class="pins" aria-label=${t("pinned")}>${pins.map(({id, text}) => html`<li key=${id}><${Pinned} text=${text}/>
      ${may(app.room, "pin") && html`<button class="button bare" aria-label=${t("unpin")} onClick=${() => ask("unpin", {message: id})}><${Icon} name="pin-off" size=${16}/></button>`}</li>`)}</ul><${Problem} text=${its.problem}/>`;
}

function Messages({app, messages, isMods}) {
  return html`<${Flow} label=${t(isMods ? "moderators" : "chat")} count=${messages.length}>
      ${messages.length === 0 && html`<li class="soft small">${t(isMods ? "noWordsMods" : "noWords")}</li>`}
      ${messages.map((each) => html`<${Message} key=${each.id} app=${app} its=${each} isMods=${isMods}/>`)}</${Flow}>`;
}

function Message({app, its, isMods}) {
  const [open, setOpen] = useState(false);
  const [asked, ask] = useAsk(app);
  const may_delete = !its.deleted && !isMods && (its.mine || may(app.room, "unsay"));
  const may_pin = !its.deleted && !isMods && may(app.room, "pin") && linkIn(its.text);
  const name = its.name || its.by;
  const time = new Intl.DateTimeFormat(language(), {timeStyle: "short"}).format(its.at_s * 1_000);
  return html`<li class="message" data-id=${its.id}><${Face} uid=${its.by_uid} size=${32}/>
    <div><p class="small"><b dir="auto">${its.mine ? t("you") : name}</b> <span class="soft">${its.key_tag ?? its.by ?? ""} · ${time}</span></p>
      ${its.deleted ? html`<p class="soft">${t("deletedWords")}</p>` : html`<p class="words" dir="auto">${its.text}</p>`}
      ${open && html`<p class="row wrap">
        ${may_delete && html`<button class="button danger little" onClick=${() => ask("unsay", {message: its.id})}><${Icon} name="trash-2" size=${16}/>${t("delete")}</button>`}
        ${may_pin && html`<button class="button keyed little" onClick=${() => ask("pin", {text: its.text}, () => setOpen(false))}><${Icon} name="pin" size=${16}/>${t("pin")}</button>`}</p>`}
      <${Problem} text=${asked.problem}/></div>
    ${(may_delete || may_pin) && html`<button class="button bare" aria-expanded=${String(open)} aria-label=${t("messageActs", {name: its.mine ? t("you") : name})}
      onClick=${() => setOpen(!open)}><${Icon} name="ellipsis" size=${16}/></button>`}</li>`;
}

function Typing({room}) {
  const names = room.members.filter((each) => each.typing && !each.you).map(named);
  return html`<p class="caption soft typing">${names.length > 0 && t("typing", {n: names.length,
    name: new Intl.ListFormat(language()).format(names.slice(0, 3))})}</p>`;
}

function Writing({app, isMods}) {
  const {chat, room} = app;
  const [text, setText] = useState("");
  const [its, ask] = useAsk(app);
  const toldAt = useRef(null);
  const tell = (on) => {
    toldAt.current = on ? performance.now() : null;
    if (!isMods) app.node.ask("typing", {on}).catch(() => {});
  };
  const off = !isMods && (chat.closed || (room.may && !may(room, "chat") && t("chatOff")));
  if (off) return html`<p class="soft small closed"><${Icon} name="message-circle" size=${18}/>${off}</p>`;
  const slow = Number.isInteger(chat.mode) && !isMods;
  const send = (event) => {
    event.preventDefault();
    if (!text.trim()) return;
    ask(isMods ? "mods" : "chat", {text: text.trim()}, () => setText(""));
    if (toldAt.current !== null) tell(false);
  };
  const write = (event) => {
    setText(event.target.value);
    const empty = !event.target.value.trim();
    if (empty && toldAt.current !== null) tell(false);
    else if (!empty && (toldAt.current === null || performance.now() - toldAt.current > TYPING_EACH_MS)) tell(true);
  };
  return html`<form class="writing" onSubmit=${send}><${Problem} text=${its.problem}/>
    ${slow && html`<p class="caption soft" id="slow-said">${t("slowMode", {n: chat.mode})}</p>`}
    <div><input value=${text} maxlength=${TEXT_CHARACTERS_MAX} autocomplete="off" dir="auto" aria-label=${t(isMods ? "toModerators" : "toRoom")}
        placeholder=${t(isMods ? "toModerators" : "toRoom")} aria-describedby=${slow ? "slow-said" : null} onInput=${write}/>
      <button class=${"button bare" + (its.busy ? " busy-alone" : "")} aria-label=${t("send")}><${Icon} name="send"/></button></div></form>`;
}
