// What is written in the room, to read; and how to take part in it, which needs a node of one's own.
import {html, useEffect, useState} from "/vendor/htm-preact.js";
import {knowFrom} from "/faces.js";
import {Flow, Pinned} from "/flow.js";
import {language, t} from "/i18n.js";
import {Icon} from "/icons.js";
import {Code, Face} from "/parts.js";

export function Talk({chat, pins, invite}) {
  return html`<section class=${"card talk" + (chat?.length ? "" : " empty-talk")} aria-labelledby="talk-title"><h2 class="h3" id="talk-title">${t("chat")}</h2>
    ${pins.length > 0 && html`<ul class="pins" aria-label=${t("pinned")}>${pins.map((each) => html`<li key=${each.id}><${Pinned} text=${each.text}/></li>`)}</ul>`}
    ${chat === null ? html`<p class="soft small">${t("chatOff")}</p>` : html`<${Flow} label=${t("chat")} count=${chat.length}>
      ${chat.length === 0 && html`<li class="soft small">${t("noWords")}</li>`}
      ${chat.map((each) => html`<${Words} key=${each.id} its=${each}/>`)}</${Flow}>`}
    <${TakePart} invite=${invite}/></section>`;
}

function Words({its}) {
  knowFrom(its.face, its.face);
  const time = new Intl.DateTimeFormat(language(), {timeStyle: "short"}).format(its.at_s * 1_000);
  return html`<li class="message"><${Face} uid=${its.face} size=${32}/>
    <div><p class="small"><b dir="auto">${its.name || its.tag}</b> <span class="soft">${its.tag} · ${time}</span></p>
      <p class="words" dir="auto">${its.text}</p></div></li>`;
}

export function TakePart({invite, open = false}) {
  return html`<details class="take" open=${open}><summary><${Icon} name="hand" size=${18}/>${t("takePart")}</summary>
    <div class="stack"><p class="small">${t("takePartSaid")}</p>
      <p class="small">${t("getIt")} <code>pip install p2phouse</code></p>
      ${invite && html`<p class="small">${t("haveIt")}</p><${Invite} invite=${invite}/>`}</div></details>`;
}

// A page of plain HTTP may not write to the clipboard: there the text is marked by a tap.
export function Invite({invite}) {
  const [copied, setCopied] = useState(false);
  useEffect(() => setCopied(false), [invite]);
  return html`<p class="link-text" id="invite">${invite}</p>
    ${navigator.clipboard && html`<button class="button keyed little" onClick=${() => navigator.clipboard.writeText(invite).then(() => setCopied(true), () => {})}>
      <${Icon} name=${copied ? "check" : "link"} size=${16}/><span role="status">${t(copied ? "copied" : "copy")}</span></button>`}`;
}

export function Sealed({relay, invite, code}) {
  return html`<section class="card landing" aria-labelledby="title"><span class="round-icon"><${Icon} name="lock" size=${28}/></span>
    <h1 id="title">${t("sealed")}</h1>
    <p class="lead">${t("sealedSaid", {relay})}</p>
    ${invite && html`<div class="stack invite">${code.length > 0 && html`<${Code} rows=${code} said=${t("qrSaid")}/>`}
      <p class="small">${t("haveIt")}</p><${Invite} invite=${invite}/></div>`}
    <p class="small">${t("getIt")} <code>pip install p2phouse</code></p></section>`;
}
