// Somebody of a large audience, looked for by name: of who has said nothing the node knows nothing
// until it asks those who carry the room.
import {html, useEffect, useState} from "/vendor/htm-preact.js";
import {useAsk} from "/asking.js";
import {know} from "/faces.js";
import {number, t} from "/i18n.js";
import {Icon} from "/icons.js";
import {Face, Problem, Sheet} from "/parts.js";
import {may, onStage, runsRoom} from "/who.js";

const NAME_CHARACTERS_MAX = 60;

export function ListenersSheet({app}) {
  const [who, setWho] = useState("");
  const [found, setFound] = useState(null);
  const [its, ask] = useAsk(app);
  const close = () => app.sheet(null);
  const look = (event) => {
    event?.preventDefault();
    ask("listeners", {who: who.trim()}, async ({listeners, people}) => {
      await Promise.all(listeners.map((each) => know(each.uid)));
      setFound({listeners, people});
    });
  };
  useEffect(() => look(), []);
  return html`<${Sheet} title=${t("inAudience")} close=${close}><form onSubmit=${look}>
      <label class="field"><span>${t("byName")}</span><input value=${who} maxlength=${NAME_CHARACTERS_MAX} autocomplete="off" dir="auto" autofocus
        onInput=${(event) => setWho(event.target.value)}/></label>
      <button class=${"button keyed" + (its.busy === "listeners" ? " busy" : "")}><${Icon} name="users"/>${t("look")}</button></form>
    <${Problem} text=${its.problem}/>
    ${found && html`<p class="small soft" role="status">${found.listeners.length ? t("foundOf", {n: found.listeners.length, people: number(found.people)}) : t("foundNobody")}</p>
      <ul class="hands found">${found.listeners.map((each) => html`<${Listener} key=${each.peer_id} app=${app} its=${each} ask=${ask}/>`)}</ul>`}
    <button class="button plain" onClick=${close}>${t("close")}</button></${Sheet}>`;
}

function Listener({app, its, ask}) {
  const [asked, setAsked] = useState(false);
  const member = app.room.members.find((each) => each.peer_id === its.peer_id);
  const mayInvite = member ? may(member, "invite") && !onStage(member) && !member.invited : runsRoom(app.room) && !asked;
  const name = its.name || its.key_tag;
  return html`<li data-peer=${its.peer_id}><${Face} uid=${its.uid} size=${44}/>
    <div><p><b dir="auto">${name}</b> <span class="small soft">${its.key_tag}</span></p>
      ${(asked || member?.invited) && html`<p class="small soft">${t("invitedState")}</p>`}</div>
    ${mayInvite && html`<p class="pair"><button class="button go little" aria-label=${t("inviteWhom", {name})}
      onClick=${() => ask("invite", {who: its.peer_id}, () => setAsked(true))}>${t("inviteToStage")}</button></p>`}</li>`;
}
