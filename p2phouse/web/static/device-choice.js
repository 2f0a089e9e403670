// One of the devices of a kind; the system's own choice first. Without a name until a microphone was allowed.
import {html} from "/vendor/htm-preact.js";
import {t} from "/i18n.js";

export function DeviceChoice({app, kind, label, choose}) {
  const all = app.devices.of(kind).filter((each) => each.id !== "default");
  const chosen = app.devices.chosen(kind);
  if (!all.length) return html`<p class="small soft">${t("devicesLater")}</p>`;
  return html`<label class="field"><span>${t(label)}</span><select value=${chosen} onChange=${(event) => choose(event.target.value)}>
    <option value="">${t("systemDevice")}</option>
    ${all.map(({id, label: name}, at) => html`<option key=${id} value=${id} selected=${id === chosen}>${name || t("deviceNumber", {n: at + 1})}</option>`)}</select></label>`;
}
