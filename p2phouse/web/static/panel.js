// Chat, hands and what there is to know of the room: beside it, or in a sheet where it is narrow.
import {html} from "/vendor/htm-preact.js";
import {About} from "/about.js";
import {Chat} from "/chat.js";
import {Hands} from "/hands.js";
import {t} from "/i18n.js";
import {Sheet} from "/parts.js";
import {handsOf} from "/who.js";

const KEYS = {ArrowRight: 1, ArrowLeft: -1};

export function Panel({app}) {
  const {room} = app;
  const tabs = [
    ...(app.chat ? [["chat", Chat, 0]] : []),
    ["hands", Hands, handsOf(room).length + (room.lobby_count ?? 0)],
    ["room", About, 0],
  ];
  const [name, Shown] = tabs.find(([each]) => each === app.tab) ?? tabs.at(-1);
  const turn = (event) => {
    const step = KEYS[event.key];
    if (!step) return;
    const at = tabs.findIndex(([each]) => each === name);
    app.tab = tabs[(at + step + tabs.length) % tabs.length][0];
    app.changed();
    requestAnimationFrame(() => requestAnimationFrame(() => document.getElementById(`tab-${app.tab}`)?.focus()));
  };
  return html`<div class="tablist" role="tablist" aria-label=${t("panel")} onKeyDown=${turn}>${tabs.map(([each, , count]) => html`
      <button key=${each} role="tab" id=${`tab-${each}`} aria-selected=${String(each === name)} aria-controls="tab-shown" tabindex=${each === name ? 0 : -1}
        onClick=${() => { app.tab = each; app.changed(); }}>${t(each === "room" ? "roomTab" : each === "hands" ? "handsTab" : each)}
        ${count > 0 && html`<span class="count">${count}</span>`}</button>`)}</div>
    <div class="tab" role="tabpanel" id="tab-shown" aria-labelledby=${`tab-${name}`} tabindex="-1"><${Shown} key=${name} app=${app}/></div>`;
}

export function PanelSheet({app}) {
  const close = () => app.sheet(null);
  return html`<${Sheet} title=${t("panel")} titleHidden kind="side" close=${close}><${Panel} app=${app}/></${Sheet}>`;
}
