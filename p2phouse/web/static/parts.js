// What several screens are made of: windows with faces, banners, sheets, the meter.
import {html, useEffect, useRef} from "/vendor/htm-preact.js";
import {Drawing} from "/faces.js";
import {Icon} from "/icons.js";
import {t} from "/i18n.js";

const still = matchMedia("(prefers-reduced-motion: reduce)");

// size: of the window in px, or null where the style sheet decides. level: null unless speaking.
// look: of the badge, "lost", "asks", "warn" or nothing.
export function Face({uid, size = null, level = null, badge = null, look = ""}) {
  // Reduced motion: a mouth has two positions.
  const open = level === null ? 0 : still.matches ? 0.5 : level;
  const style = {"--v": open, ...(size && {"--s": `${size}px`})};
  return html`<span class=${"window" + (level === null ? "" : " live-ring")} style=${style}>
    <${Drawing} uid=${uid} level=${open}/>
    ${badge && html`<span class=${`badge ${look}`}><${Icon} name=${badge}/></span>`}
  </span>`;
}

const ICONS = {bad: "triangle-alert", warn: "triangle-alert", info: "info", good: "check"};

export function Banner({kind = "info", icon = null, title, text, action, label, second = null}) {
  return html`<div class=${"banner " + kind} role=${kind === "bad" ? "alert" : "status"}>
    <${Icon} name=${icon ?? ICONS[kind]} size=${24}/>
    <div><b>${title}</b>${text && html`<p>${text}</p>`}</div>
    ${(action || second) && html`<span class="answers">${action && html`<button class="button little" onClick=${action}>${label}</button>`}
      ${second && html`<button class="button little second" onClick=${second.action}>${second.label}</button>`}</span>`}
  </div>`;
}

export function Problem({text}) {
  return text ? html`<p class="problem" role="alert"><${Icon} name="triangle-alert" size=${18}/>${text}</p>` : null;
}

// A dialog of the browser's own: it keeps the focus in, Esc closes it, the focus goes back to where
// it was, or to the page if that is gone. kind: "side" for one that is a panel where there is room.
export function Sheet({title, titleHidden = false, kind = "", close, children}) {
  const dialog = useRef(null);
  useEffect(() => {
    const before = document.activeElement;
    dialog.current.showModal();
    return () => requestAnimationFrame(() => {
      if (document.querySelector("dialog[open]")) return;  // the next sheet has it
      if (before?.isConnected && before !== document.body) before.focus();
      else document.getElementById("content")?.focus();
    });
  }, []);
  return html`<dialog ref=${dialog} class=${kind} aria-labelledby="sheet-title" onClose=${close}
    onClick=${(event) => event.target === dialog.current && close()}>
    <div class="body"><h2 id="sheet-title" class=${titleHidden ? "hidden" : ""}>${title}</h2>${children}</div></dialog>`;
}

const BARS = 48;

// level: 0 to 1.
export function Meter({level, words}) {
  const on = Math.round(level * BARS);
  return html`<div class="meter" role="meter" aria-label=${t("yourMicrophone")} aria-valuemin="0"
    aria-valuemax="100" aria-valuenow=${Math.round(level * 100)} aria-valuetext=${words}>
    ${Array.from({length: BARS}, (_, at) => html`<i class=${at >= on ? "" : at >= BARS - 4 ? "over" : "on"}/>`)}
  </div>`;
}

const QUIET_MODULES = 4;  // the white around it that readers need

// A QR code: black on white in any light. rows: of 1 for dark and 0.
export function Code({rows, said}) {
  const size = rows.length + 2 * QUIET_MODULES;
  const dark = rows.flatMap((row, y) => [...row].map((module, x) => (module === "1" ? `M${x + QUIET_MODULES} ${y + QUIET_MODULES}h1v1h-1z` : "")));
  return html`<svg class="qr" role="img" aria-label=${said} viewBox=${`0 0 ${size} ${size}`} shape-rendering="crispEdges">
    <path d=${`M0 0h${size}v${size}H0z`} fill="#fff"/><path d=${dark.join("")} fill="#000"/></svg>`;
}
