// What is asked before something happens to everybody: mute all, another title, the end.
import {html, useState} from "/vendor/htm-preact.js";
import {useAsk} from "/asking.js";
import {Icon} from "/icons.js";
import {t} from "/i18n.js";
import {Problem, Sheet} from "/parts.js";

const TITLE_CHARACTERS_MAX = 80;

export function MuteAllSheet({app}) {
  const [its, ask] = useAsk(app);
  const close = () => app.sheet(null);
  const choice = (lock, icon, words, said, kind) => html`<div class="stack"><button class=${`button big ${kind}`} onClick=${() => ask("mute_all", {lock}, close)}>
    <${Icon} name=${icon}/>${t(words)}</button><p class="small soft">${t(said)}</p></div>`;
  return html`<${Sheet} title=${t("muteAll")} close=${close}>
    ${choice(false, "mic-off", "askToMute", "askToMuteSaid", "go")}${choice(true, "lock", "holdMuted", "holdMutedSaid", "danger")}
    <${Problem} text=${its.problem}/><button class="button plain" onClick=${close}>${t("cancel")}</button></${Sheet}>`;
}

export function TitleSheet({app}) {
  const [title, setTitle] = useState(app.room.title);
  const [its, ask] = useAsk(app);
  const close = () => app.sheet(null);
  const save = (event) => {
    event.preventDefault();
    ask("title", {title: title.trim()}, close);
  };
  return html`<${Sheet} title=${t("editTitle")} close=${close}><form onSubmit=${save}>
    <label class="field"><span>${t("about")}</span><input value=${title} required maxlength=${TITLE_CHARACTERS_MAX} autofocus autocomplete="off"
      dir="auto" onInput=${(event) => setTitle(event.target.value)}/></label><${Problem} text=${its.problem}/>
    <button class=${"button go big" + (its.busy ? " busy" : "")}>${t("save")}</button>
    <button type="button" class="button plain" onClick=${close}>${t("cancel")}</button></form></${Sheet}>`;
}

export function EndSheet({app}) {
  const [its, ask] = useAsk(app);
  const close = () => app.sheet(null);
  return html`<${Sheet} title=${t("endRoom")} close=${close}><p>${t("endSaid")}</p><${Problem} text=${its.problem}/>
    <button class=${"button danger big" + (its.busy ? " busy" : "")} onClick=${() => ask("end", {}, close)}>${t("endForAll")}</button>
    <button class="button plain" autofocus onClick=${close}>${t("cancel")}</button></${Sheet}>`;
}
