// Who wants to speak, in order; who waits at the door; and raising one's own hand.
import {html, useState} from "/vendor/htm-preact.js";
import {useAsk} from "/asking.js";
import {Icon} from "/icons.js";
import {ago, t} from "/i18n.js";
import {Face, Problem, Sheet} from "/parts.js";
import {handsOf, may, named} from "/who.js";

const TOPIC_CHARACTERS_MAX = 64;

export function Hands({app}) {
  const {room} = app;
  const hands = handsOf(room);
  const [its, ask] = useAsk(app);
  return html`<${Door} app=${app}/>
    ${hands.length === 0 && html`<p class="soft">${t(room.stage === "everyone" ? "noHandsNeeded" : "noHands")}</p>`}
    <ol class="hands">${hands.map((member) => html`<li key=${member.peer_id} data-peer=${member.peer_id}>
      <span class="soft place">${member.hand.place ?? "…"}</span><${Face} uid=${member.uid} size=${44}/>
      <div><p><b dir="auto">${member.you ? t("you") : named(member)}</b> <span class="small soft">${member.key_tag}</span></p>
        <p class="small" dir="auto">${member.hand.topic ? t("quoted", {text: member.hand.topic}) : html`<span class="soft">${t("noTopic")}</span>`}</p></div>
      ${(may(member, "invite") || may(member, "lower_hand")) && html`<p class="pair">
        ${may(member, "invite") && html`<button class="button go little" aria-label=${t("inviteWhom", {name: named(member)})}
          onClick=${() => ask("invite", {who: member.peer_id})}>${t("inviteToStage")}</button>`}
        ${may(member, "lower_hand") && html`<button class="button line little" aria-label=${t("lowerWhose", {name: named(member)})}
          onClick=${() => ask("lower_hand", {who: member.peer_id})}>${t("notNow")}</button>`}</p>`}</li>`)}</ol>
    <${Problem} text=${its.problem}/>
    ${hands.length > 0 && hands.some((each) => may(each, "lower_hand")) && html`<p class="foot"><span class="small soft">${t("handsToAll")}</span>
      <button class="button plain little" onClick=${() => ask("lower_hand", {who: "*"})}>${t("lowerAll")}</button></p>`}`;
}

function Door({app}) {
  const {lobby} = app;
  const [its, ask] = useAsk(app);
  if (!lobby.length) return null;
  return html`<section aria-labelledby="door-title"><h2 class="shelf h3" id="door-title"><${Icon} name="door-open"/>${t("atTheDoor")} <span>${lobby.length}</span></h2>
    <ul class="hands">${lobby.map((each) => html`<li key=${each.peer_id ?? each.uid}>
      <${Face} uid=${each.uid} size=${44}/>
      <div><p><b dir="auto">${named(each)}</b> <span class="small soft">${each.key_tag}</span></p>
        ${each.waits_s !== undefined && html`<p class="small soft">${t("waitsFor", {time: ago(each.waits_s)})}</p>`}</div>
      <p class="pair"><button class="button go little" aria-label=${t("admitWhom", {name: named(each)})}
          onClick=${() => ask("admit", {who: each.peer_id ?? each.key_tag})}>${t("admit")}</button>
        <button class="button line little" aria-label=${t("refuseWhom", {name: named(each)})}
          onClick=${() => ask("refuse", {who: each.peer_id ?? each.key_tag})}>${t("refuse")}</button></p></li>`)}</ul>
    <${Problem} text=${its.problem}/></section>`;
}

export function HandSheet({app}) {
  const [topic, setTopic] = useState("");
  const [its, ask] = useAsk(app);
  const raise = (event) => {
    event.preventDefault();
    ask("hand", {topic: topic.trim()}, () => app.sheet(null));
  };
  return html`<${Sheet} title=${t("raiseHand")} close=${() => app.sheet(null)}><form onSubmit=${raise}>
    <label class="field"><span>${t("whatToSay")}</span><input value=${topic} maxlength=${TOPIC_CHARACTERS_MAX} autofocus autocomplete="off" dir="auto"
      onInput=${(event) => setTopic(event.target.value)}/></label>
    <p class="small soft">${t("handSaid")}</p><${Problem} text=${its.problem}/>
    <button class=${"button ask big" + (its.busy ? " busy" : "")}><${Icon} name="hand"/>${t("raiseHand")}</button>
    <button type="button" class="button plain" onClick=${() => app.sheet(null)}>${t("cancel")}</button></form></${Sheet}>`;
}
