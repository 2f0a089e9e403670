// Asking somebody in: a link, as text and as a picture for a telephone; how long and how often it leads in.
import {html, useEffect, useState} from "/vendor/htm-preact.js";
import {useAsk} from "/asking.js";
import {Icon} from "/icons.js";
import {language, t} from "/i18n.js";
import {Code, Problem, Sheet} from "/parts.js";
import {keeping, may} from "/who.js";

const HOURS = [1, 6, 24];

export function ShareSheet({app}) {
  const {room} = app;
  const [made, setMade] = useState(null);
  const [page, setPage] = useState("");  // where anybody listens with a browser alone
  const [forGuests, setForGuests] = useState(false);
  const [copied, setCopied] = useState(false);
  const [problem, setProblem] = useState("");
  const link = forGuests ? page : made?.link ?? room.link;
  useEffect(() => { app.node.ask("guest_link").then((found) => setPage(found.link), () => {}); }, [room.hub?.peer_id]);
  const close = () => app.sheet(null);
  async function copy() {
    try {
      await navigator.clipboard.writeText(link);
      setCopied(true);
    } catch (error) {
      setProblem(error.message);
    }
  }
  const told = (result) => {
    setMade(result);
    setCopied(false);
  };
  const {access} = keeping(room, app.rooms);
  const choose = (value, words) => html`<label><input type="radio" name="for-whom" checked=${forGuests === value}
    onChange=${() => { setForGuests(value); setCopied(false); }}/>${t(words)}</label>`;
  const said = forGuests ? t("shareGuests") : made ? t(made.once ? "shareOnce" : "shareUntil", {time: when(made.expires)})
    : t(access === "closed" ? "shareClosed" : access === "social" ? "shareSocial" : "shareSaid");
  return html`<${Sheet} title=${t("shareTitle")} close=${close}>
    ${page && html`<fieldset class="segments wide"><legend>${t("forWhom")}</legend><div>${choose(false, "forNodes")}${choose(true, "forBrowsers")}</div></fieldset>`}
    ${link ? html`<p class="soft" role="status">${said}</p>
      <${Picture} app=${app} text=${link}/><p class="link-text" id="invite">${link}</p>
      <${Problem} text=${problem}/>
      <button class="button go big" autofocus onClick=${copy}><${Icon} name=${copied ? "check" : "link"}/>
        <span role="status">${t(copied ? "copied" : "copy")}</span></button>
      ${!forGuests && ["closed", "social"].includes(access) && may(room, "invite_link") && html`<${Making} app=${app} told=${told}/>`}`
      : html`<p class="soft">${t("shareNone")}</p>`}
    <button class="button plain" onClick=${close}>${t("close")}</button></${Sheet}>`;
}

function when(unix_s) {
  return new Intl.DateTimeFormat(language(), {dateStyle: "medium", timeStyle: "short"}).format(unix_s * 1_000);
}

// An invitation that opens a closed door: it ends at a time, and after one person if wanted.
function Making({app, told}) {
  const [hours, setHours] = useState(24);
  const [once, setOnce] = useState(false);
  const [its, ask] = useAsk(app);
  return html`<form class="card sunken stack" onSubmit=${(event) => {
    event.preventDefault();
    ask("invite_link", {hours, once}, (result) => told({...result, once}));
  }}>
    <fieldset class="segments wide"><legend class="seen">${t("leadsIn")}</legend><div>${HOURS.map((each) => html`<label>
      <input type="radio" name="hours" checked=${hours === each} onChange=${() => setHours(each)}/>${t(`hours${each}`)}</label>`)}</div></fieldset>
    <label class="switch"><span>${t("onlyOnce")}</span><input type="checkbox" role="switch" checked=${once} onChange=${(event) => setOnce(event.target.checked)}/></label>
    <${Problem} text=${its.problem}/>
    <button class=${"button keyed" + (its.busy ? " busy" : "")}>${t("makeLink")}</button></form>`;
}

function Picture({app, text}) {
  const [rows, setRows] = useState(null);
  useEffect(() => {
    let over = false;
    setRows(null);
    app.node.ask("qr", {text}).then((found) => over || setRows(found.rows), () => {});
    return () => { over = true; };
  }, [text]);
  return rows && html`<${Code} rows=${rows} said=${t("qrSaid")}/>`;
}
