// Sound and language: what a person sets for this browser.
import {html} from "/vendor/htm-preact.js";
import {language, names, t} from "/i18n.js";
import {MicTest} from "/mic-test.js";

export function Languages({app}) {
  return html`<fieldset class="segments"><legend>${t("language")}</legend>
    ${Object.entries(names).map(([code, name]) => html`<label lang=${code}>
      <input type="radio" name="language" aria-label=${name} checked=${language() === code} onChange=${() => app.speak(code)}/>
      <span class="long">${name}</span><span class="brief" aria-hidden="true">${code.toUpperCase()}</span></label>`)}</fieldset>`;
}

export function Settings({app}) {
  return html`<div class="head"><div><h1>${t("sound")}</h1><p class="soft">${t("changes")}</p></div></div>
    <div class="stack" style=${{maxWidth: "29rem"}}>
      ${app.hasPageMouth ? html`<${MicTest}/>` : html`<p class="card">${t("otherMouth")}</p>`}
      <section class="card stack"><h2 class="h3">${t("language")}</h2><div><${Languages} app=${app}/></div></section>
    </div>`;
}
