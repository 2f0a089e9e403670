// Relays that the person knows: whom a new room is given to, and the list of them with their policies.
import {html, useEffect, useState} from "/vendor/htm-preact.js";
import {useAsk} from "/asking.js";
import {Icon} from "/icons.js";
import {t} from "/i18n.js";
import {Problem} from "/parts.js";

const ADDRESS_CHARACTERS_MAX = 200;
const SAYS = ["who", "where", "logs", "rules", "price", "contact"];

function useRelays(app) {
  const [known, setKnown] = useState([]);
  const refresh = () => app.node.ask("relays").then(({relays}) => setKnown(relays ?? []), () => {});
  useEffect(() => { refresh(); }, []);
  return [known, refresh];
}

// Which of them carries a room that is opened; nothing where none is known. value: its address, or "".
export function RelayChoice({app, value, choose}) {
  const [known] = useRelays(app);
  if (!known.length) return null;
  return html`<label class="field"><span>${t("whoCarries")}</span><select value=${value} onChange=${(event) => choose(event.target.value)}>
    <option value="">${t("carriedByMembers")}</option>
    ${known.map((each) => html`<option key=${each.at} value=${each.at}>${each.name} (${each.at})</option>`)}</select></label>`;
}

// What came of it, if the relay does not carry the room; the room itself says who does.
export function refusalOf({carried, by, text, another} = {carried: true}, relay) {
  if (carried) return null;
  const said = t("relayRefuses", {relay: by || relay, text: text.replace(/\.$/, "")});
  return another && !by ? `${said} ${t("relayNames", {another})}` : said;
}

export function Relays({app}) {
  const [known, refresh] = useRelays(app);
  const [text, setText] = useState("");
  const [looked, setLooked] = useState(null);  // what it says of itself, until the person has agreed
  const [its, ask] = useAsk(app);
  const look = (event) => {
    event.preventDefault();
    ask("relay_look", {relay: text.trim()}, setLooked);
  };
  const keep = () => ask("relay_add", {relay: text.trim()}, () => { setLooked(null); setText(""); refresh(); });
  return html`<section class="card stack" aria-labelledby="relays-title"><h2 class="h3" id="relays-title">${t("relays")}</h2>
    <p class="small soft">${t("relaysSaid")}</p>
    ${known.length > 0 && html`<ul class="checks">${known.map((each) => html`<li key=${each.at}><${Icon} name="server" size=${24}/>
      <div><b>${each.name}</b><p class="small soft">${each.at} · ${t(each.admits === "everybody" ? "carriesAll" : "carriesListed")}</p></div>
      <button class="button plain little" aria-label=${t("removeRelay", {name: each.name})}
        onClick=${() => ask("relay_remove", {relay: each.at}, refresh)}>${t("remove")}</button></li>`)}</ul>`}
    ${looked ? html`<${Policy} its=${looked}/>
      <div class="row wrap"><button class=${"button go" + (its.busy ? " busy" : "")} onClick=${keep}>${t("keepRelay")}</button>
        <button class="button plain" onClick=${() => setLooked(null)}>${t("cancel")}</button></div>`
      : html`<form class="stack" onSubmit=${look}><label class="field"><span>${t("relayAddress")}</span>
        <input value=${text} required maxlength=${ADDRESS_CHARACTERS_MAX} autocomplete="off" spellcheck=${false} placeholder=${t("relayExample")}
          onInput=${(event) => setText(event.target.value)}/></label>
        <div><button class=${"button line" + (its.busy ? " busy" : "")}>${t("lookAtRelay")}</button></div></form>`}
    <${Problem} text=${its.problem}/></section>`;
}

function Policy({its}) {
  return html`<div class="stack" role="status"><h3 class="h3">${its.name}</h3>
    <dl class="policy">${SAYS.filter((what) => its[what]).map((what) => html`<div key=${what}><dt class="small soft">${t(`relay_${what}`)}</dt><dd dir="auto">${its[what]}</dd></div>`)}
      <div><dt class="small soft">${t("relay_carries")}</dt><dd>${t(its.admits === "everybody" ? "carriesAll" : "carriesListed")},
        ${" "}${t("relayUpTo", {rooms: its.rooms_each, n: its.listeners})}</dd></div></dl>
    <p class="small">${t("relaySees")}</p></div>`;
}
