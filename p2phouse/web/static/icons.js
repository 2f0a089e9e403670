// Icons and the mark. Decorative beside text; one that stands alone is named by its button.
import {html, h} from "/vendor/htm-preact.js";
import {ICONS} from "/vendor/icons.js";

export function Icon({name, size = 20}) {
  return html`<svg class="icon" width=${size} height=${size} viewBox="0 0 24 24" fill="none"
    stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"
    aria-hidden="true">${ICONS[name].map(([tag, attributes]) => h(tag, attributes))}</svg>`;
}

export function Mark({size = 32}) {
  return html`<svg class="mark" width=${size} height=${size} viewBox="0 0 64 64" aria-hidden="true">
    <path d="M32 7 57 27.5V50a7 7 0 0 1-7 7H14a7 7 0 0 1-7-7V27.5Z" fill="var(--roof)"
      stroke="var(--roof)" stroke-width="7" stroke-linejoin="round"/>
    <circle cx="21.5" cy="33" r="5.6" fill="#FFC766"/><circle cx="42.5" cy="33" r="5.6" fill="#FFC766"/>
    <path d="M18.5 43.5c6 8.5 21 8.5 27 0" fill="none" stroke="#FFC766" stroke-width="4.8"
      stroke-linecap="round"/></svg>`;
}
