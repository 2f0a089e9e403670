// The doctor: what works between this machine and others, in words, and whether we carry others.
import {html, useEffect, useState} from "/vendor/htm-preact.js";
import {CarryCard} from "/carrying.js";
import {Icon} from "/icons.js";
import {has, language, t} from "/i18n.js";
import {Banner} from "/parts.js";

const LOOKS = new Map([[true, ["check-check", "good", "stateGood"]], [false, ["triangle-alert", "bad", "stateBad"]]]);
const NODE_LANGUAGE = "en";
const UNKNOWN = ["circle-question-mark", "", "stateUnknown"];

// What the node found: in its own words to who reads those, else in the person's where we have them.
function wordsOf({what, ok, text, next}) {
  const its = `doctor_${what}_${ok === null ? "unknown" : ok ? "good" : "bad"}`;
  const title = has(`doctor_${what}`) ? t(`doctor_${what}`) : what.replaceAll("_", " ");
  if (language() === NODE_LANGUAGE || !has(its)) return {title, text, next, lang: NODE_LANGUAGE};
  return {title, text: t(its), next: next && has(`${its}_do`) ? t(`${its}_do`) : "", lang: language()};
}

export function Doctor({app}) {
  const [found, setFound] = useState(null);
  const [tries, again] = useState(0);
  useEffect(() => {
    let over = false;
    setFound(null);
    app.node.ask("doctor").then(({findings}) => over || setFound(findings ?? []), () => over || setFound([]));
    return () => { over = true; };
  }, [tries]);
  const worst = found?.find((each) => each.ok === false);
  return html`<div class="head"><div><h1>${t("doctor")}</h1><p class="soft">${t("doctorLead")}</p></div>
      <button class=${"button line" + (found ? "" : " busy")} onClick=${() => again(tries + 1)}><${Icon} name="refresh-cw"/>${t("checkAgain")}</button></div>
    <div class="settings doctor">
      ${worst && html`<${Worst} its=${wordsOf(worst)}/>`}
      ${found === null ? html`<p class="card soft" role="status">${t("checking")}</p>`
        : found.length === 0 ? html`<p class="card soft" role="status">${t("noDoctor")}</p>`
          : html`<ul class="card checks">${found.map((each) => html`<${Check} key=${each.what} finding=${each}/>`)}</ul>`}
      ${found?.length > 0 && !worst && html`<p class="hidden" role="status">${t("allWell")}</p>`}
      <${CarryCard} app=${app}/></div>`;
}

function Worst({its}) {
  return html`<div lang=${its.lang !== language() ? its.lang : null}><${Banner} kind="warn" title=${its.text} text=${its.next}/></div>`;
}

function Check({finding}) {
  const {title, text, next, lang} = wordsOf(finding);
  const [icon, look, state] = LOOKS.get(finding.ok) ?? UNKNOWN;
  return html`<li data-ok=${String(finding.ok)}><${Icon} name=${icon} size=${24}/>
    <div class=${look}><b>${title}<span class="hidden">, ${t(state)}</span></b>
      <p class="small soft" lang=${lang !== language() ? lang : null}>${text}${finding.ok !== true && next && html` <span class="next">${next}</span>`}</p></div></li>`;
}
