// Says everything in the language of the person. What to say is the dictionary's: each page has its own.
import {WORDS} from "/dictionary.js";

const LANGUAGES = ["en", "fr"];
const VOWEL = /^[aeiouh\u00e0-\u00e6\u00e8-\u00ef\u00f2-\u00f6\u00f9-\u00fc]/i;  // d’Ana, d’Hugo, de Ben
let at = 0;

export const names = {en: "English", fr: "Français"};

export function language() { return LANGUAGES[at]; }

export function speak(code) {
  at = Math.max(0, LANGUAGES.indexOf(code));
  document.documentElement.lang = language();
}

// The person's own choice, else the browser's first language that we have.
export function start() {
  const wanted = [localStorage.getItem("language"), ...navigator.languages].filter(Boolean);
  speak(wanted.map((each) => each.slice(0, 2)).find((each) => LANGUAGES.includes(each)) ?? "en");
}

export function t(key, values = {}) {
  let text = WORDS[key][at];
  if (text.includes(" | ")) {
    const [one, other] = text.split(" | ");
    text = new Intl.PluralRules(language()).select(values.n) === "one" ? one : other;
  }
  if (at === 1) text = text.replace(/\bde \{(\w+)\}/g, (all, name) => (VOWEL.test(values[name]) ? `d’{${name}}` : all));
  text = text.replace(/\{(\w+)\}/g, (_, name) => (
    typeof values[name] === "number" ? new Intl.NumberFormat(language()).format(values[name]) : values[name]));
  return at === 1 ? text.replace(/ ([:;!?»])/g, "\u00a0$1").replace(/« /g, "«\u00a0") : text;
}

// A sentence with values that are elements, as a list to render.
export function parts(key, values) {
  return t(key, Object.fromEntries(Object.keys(values).map((name) => [name, `\u0000${name}\u0000`])))
    .split("\u0000").map((piece, index) => (index % 2 ? values[piece] : piece));
}

export const has = (key) => key in WORDS;

export function number(value) {
  return new Intl.NumberFormat(language(), {maximumFractionDigits: 1}).format(value);
}

// A place in a row: 1st, 2nd; in French of a hand, which is feminine.
export function rankWord(place) {
  if (place == null) return "";  // far behind: the node counts no further
  const rule = new Intl.PluralRules(language(), {type: "ordinal"}).select(place);
  const end = at === 1 ? {one: "re"}[rule] ?? "e" : {one: "st", two: "nd", few: "rd"}[rule] ?? "th";
  return `· ${place}${end}`;
}

export function ago(seconds) {
  const [value, unit] = seconds < 60 ? [seconds, "second"] : seconds < 3_600
    ? [Math.floor(seconds / 60), "minute"] : [Math.floor(seconds / 3_600), "hour"];
  return new Intl.NumberFormat(language(), {style: "unit", unit, unitDisplay: "short"}).format(value);
}
