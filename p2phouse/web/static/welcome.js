// The first screen: a name, a microphone that may be tried, and the way in.
import {html, useState} from "/vendor/htm-preact.js";
import {Drawing} from "/faces.js";
import {Mark} from "/icons.js";
import {parts, t} from "/i18n.js";
import {MicTest} from "/mic-test.js";
import {Face, Problem} from "/parts.js";
import {Languages} from "/settings.js";

const NAME_CHARACTERS_MAX = 40;

export function Welcome({app}) {
  const {me} = app;
  const [name, setName] = useState(me.name);
  const [problem, setProblem] = useState("");

  async function enter(event) {
    event?.preventDefault();
    try {
      if (name.trim() && name !== me.name) await app.rename(name);
      app.go("hallway");
    } catch (error) {
      setProblem(error.message);
    }
  }

  return html`<div class="welcome">
    <div class="night" aria-hidden="true"><${Street}/></div>
    <main id="content" tabindex="-1">
      <div class="foot"><div class="brand"><${Mark}/>p2phouse</div><${Languages} app=${app}/></div>
      <div class="stack"><h1>${t("comeIn")}</h1><p class="lead">${t("lead")}</p></div>
      <form class="stack" onSubmit=${enter}>
        <div class="who"><${Face} uid=${me.uid} size=${84}/>
          <label class="field"><span>${t("name")}</span>
            <input value=${name} maxlength=${NAME_CHARACTERS_MAX} autocomplete="given-name" autofocus
              aria-describedby="from-key" onInput=${(event) => setName(event.target.value)}/></label></div>
        <${Problem} text=${problem}/>
        <p class="small soft" id="from-key">${parts("fromKey", {tag: html`<b>${me.key_tag}</b>`})}</p>
        ${app.hasPageMouth && html`<${MicTestInside} app=${app}/>`}
        <button class="button go big">${t("enter")}</button>
        <button type="button" class="button plain" onClick=${enter}>${t("listenOnly")}</button>
      </form>
    </main></div>`;
}

// Its buttons are no submit buttons of the form around it.
function MicTestInside({app}) {
  return html`<div onClick=${(event) => event.target.closest("button") && event.preventDefault()}><${MicTest} app=${app}/></div>`;
}

const WINDOWS = [[118, 470, 0], [212, 470, 1], [118, 576, 2], [212, 684, 3], [446, 390, 4], [534, 390, 5],
  [534, 496, 6], [446, 600, 7], [534, 706, 8], [337, 552, 9], [337, 656, 10]];

export const STREET_UIDS = WINDOWS.map(([, , at]) => (at * 37 + 5).toString(16).padStart(2, "0").repeat(32));

function Street() {
  return html`<svg viewBox="0 0 680 860" preserveAspectRatio="xMidYMax slice">
    ${[[304, 42], [134, 114], [528, 142], [616, 186], [226, 223], [36, 340], [600, 75], [89, 300], [638, 124], [439, 26]].map(
      ([x, y], at) => html`<circle cx=${x} cy=${y} r=${1 + (at % 3) / 2} fill="#F6EEE1" opacity=".6"/>`)}
    <path d="M0 514 36 490 60 510V860H0ZM612 470 680 520V860H612Z" fill="#24312E"/>
    <path d="M299 414 350 380 392 414V860H299Z" fill="#8F4B33"/>
    <path d="M51 392 Q51 386 57 382L168 303Q175 298 182 303L293 382Q299 386 299 392V860H51Z" fill="#2F6F61"/>
    <path d="M391 304Q391 298 397 294L498 224Q505 219 512 224L613 294Q619 298 619 304V860H391Z" fill="#375A6B"/>
    <path d="M175 300C250 160 430 160 505 220" fill="none" stroke="#FFC766" stroke-width="4" stroke-linecap="round" stroke-dasharray="1 11"/>
    ${WINDOWS.map(([x, y], at) => html`<svg x=${x - 37} y=${y - 40} width="74" height="80" viewBox="0 0 96 104">
      <path d="M0 44Q0 0 48 0T96 44V74Q96 96 70 96H26Q0 96 0 74Z" fill="rgb(0 0 0 / .22)"/>
      <g clip-path="inset(0 round 46% 46% 32% 32%)"><svg width="96" height="96"><${Drawing} uid=${STREET_UIDS[at]} level=${at % 4 === 0 ? 0.7 : 0}/></svg></g></svg>`)}
    <path d="M0 822Q340 796 680 822V860H0Z" fill="#0F1513"/></svg>`;
}
