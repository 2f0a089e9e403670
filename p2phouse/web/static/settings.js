// Sound and language: what a person sets for this browser.
import {html, useState} from "/vendor/htm-preact.js";
import {DeviceChoice} from "/device-choice.js";
import {canChooseSpeaker} from "/devices.js";
import {EchoCheck} from "/echo.js";
import {Icon} from "/icons.js";
import {language, names, t} from "/i18n.js";
import {MicTest} from "/mic-test.js";
import {Problem} from "/parts.js";
import {Relays} from "/relays.js";
import {audio} from "/sound.js";

export function Languages({app}) {
  return html`<fieldset class="segments"><legend>${t("language")}</legend>
    ${Object.entries(names).map(([code, name]) => html`<label lang=${code}>
      <input type="radio" name="language" aria-label=${name} checked=${language() === code} onChange=${() => app.speak(code)}/>
      <span class="long">${name}</span><span class="brief" aria-hidden="true">${code.toUpperCase()}</span></label>`)}</fieldset>`;
}

export function Settings({app}) {
  return html`<div class="head"><div><h1>${t("sound")}</h1><p class="soft">${t("changes")}</p></div></div>
    <div class="settings">
      ${app.hasPageMouth ? html`<${MicTest} app=${app}/><${Speakers} app=${app}/><${Voice} app=${app}/>
        <section class="card stack" aria-labelledby="echo-title"><h2 class="h3" id="echo-title">${t("echoTitle")}</h2><${EchoCheck} app=${app}/></section>`
        : html`<p class="card">${t("otherMouth")}</p>`}
      <button class="card leads" onClick=${() => app.go("doctor")}><${Icon} name="stethoscope"/><span><b>${t("doctor")}</b>
        <span class="small soft">${t("doctorLead")}</span></span><${Icon} name="chevron-right"/></button>
      <${Relays} app=${app}/>
      <section class="card stack"><h2 class="h3">${t("language")}</h2><div><${Languages} app=${app}/></div></section>
    </div>`;
}

function Speakers({app}) {
  const [problem, setProblem] = useState("");
  async function choose(id) {
    setProblem(await app.mouth.chooseSpeaker(id) ? "" : t("speakerRefused"));
  }
  function play() {
    const {context} = audio();
    context.resume();
    const [tone, volume] = [new OscillatorNode(context, {frequency: 523}), new GainNode(context, {gain: 0})];
    const now = context.currentTime;
    for (const [at_s, gain] of [[0, 0], [0.05, 0.1], [0.4, 0.1], [0.6, 0]]) volume.gain.linearRampToValueAtTime(gain, now + at_s);
    tone.frequency.setValueAtTime(659, now + 0.25);
    tone.connect(volume).connect(context.destination);
    tone.start(now);
    tone.stop(now + 0.6);
  }
  return html`<section class="card stack" aria-labelledby="ears-title"><h2 class="h3" id="ears-title">${t("ears")}</h2>
    ${canChooseSpeaker && html`<${DeviceChoice} app=${app} kind="audiooutput" label="speakers" choose=${choose}/>`}
    <${Problem} text=${problem}/>
    <div><button class="button line" onClick=${play}><${Icon} name="volume-2"/>${t("testSound")}</button></div></section>`;
}

function Voice({app}) {
  const {processing} = app.mouth;
  const one = (name, words) => html`<label class="switch"><span>${t(words)}</span><input type="checkbox" role="switch"
    checked=${processing[name] !== false} onChange=${(event) => app.mouth.process({[name]: event.target.checked})}/></label>`;
  return html`<section class="card stack" aria-labelledby="voice-title"><h2 class="h3" id="voice-title">${t("yourVoice")}</h2>
    ${one("echo", "removeEcho")}${one("noise", "reduceNoise")}${one("gain", "evenVolume")}</section>`;
}
