// A face drawn from a person's key: to recognise, never to prove. Its mouth opens with the voice.
import {html} from "/vendor/htm-preact.js";

const PALETTES = `F3C98B B9573B 3B2A26 1F5C4F 24120C·BFD8C9 F0C9A4 8A3B22 2F5D8A 2A1D16·
F2B5A0 7A4A35 1E1714 F2D06B FFF1DC·A9C9E0 E8A87C 2B3A55 D65A3A 2A1D16·E8D3A8 6FA08C 1F3530 B8472F 12211D·
D8C4CC E4B79A 5C2F3A 3C6E71 2A1D16·F6D57A 3F6794 16263F FFF3DC FFF3DC·CFE0A8 D98B5F 40302A 35524A 2A1710·
F0A868 FCE3C4 6B3E26 274C5E 2A1D16·9CC5B8 8C5A3C 241A15 F4B860 FFF1DC·F4D9C6 D9A441 4A2E1B 7A2E2E 2B1C0A·
B8C9D9 C7684C 2A2A33 E9D8A6 24120C·E9B7B0 3F6B5C 162B25 F3E3C3 F7EEDA·DDE3C7 F2BFA2 B23A2A 44576B 2A1D16·
8FB7C9 F5D6A0 3A2E2A B6532F 2A1D16·EAC27A 6E4B5A 2B1B22 88B7A5 FBEBDD`
  .split("·").map((each) => each.trim().split(" ").map((colour) => "#" + colour));

const HEADS = [
  "M48 21C62 21 71 31 71 46S62 72 48 72 25 61 25 46 34 21 48 21Z",
  "M48 20C61 20 69 30 69 45 69 60 60 74 48 74S27 60 27 45C27 30 35 20 48 20Z",
  "M44 22H52C64 22 70 29 70 40V54C70 66 62 72 52 72H44C34 72 26 66 26 54V40C26 29 32 22 44 22Z",
  "M48 20C62 20 71 30 71 43V58C71 67 64 72 56 72H40C32 72 25 67 25 58V43C25 30 34 20 48 20Z",
  "M48 20C60 20 67 29 69 40C70 47 73 51 73 57C73 67 62 72 48 72S23 67 23 57C23 51 26 47 27 40C29 29 36 20 48 20Z",
  "M48 21C63 21 72 29 71 43C70 58 60 74 48 74S26 58 25 43C24 29 33 21 48 21Z",
];
const CAP = "M23 47C20 27 32 16 48 16S76 27 73 47C68 39 62 34 48 34S28 39 23 47Z";
const MOUTHS = ["M42 60q6 5 12 0", "M40 58.5q8 8 16 0", "M43 60.5q5 3 10 0", "M42.5 59.5q8 5.5 12-1"];
const EYES_AT = [38, 58];

// What the bytes of h = SHA-256("p2phouse face 1" ‖ uid) say.
export function traits(h) {
  return {
    palette: h[0] % 16, head: h[1] % 6, top: h[2] % 12, eyes: h[3] % 6, nose: h[4] % 4,
    mouth: h[5] % 4, cloth: h[6] % 5, extra: h[7] % 4, turn: (h[8] % 9) - 4, mirrored: h[9] % 2 === 1,
  };
}

const drawn = new Map();  // uid as digits -> traits, once they are known
const FACES_MAX = 512;

export async function know(uid) {
  if (drawn.has(uid)) return drawn.get(uid);
  const head = new TextEncoder().encode("p2phouse face 1");
  const hash = await crypto.subtle.digest("SHA-256", Uint8Array.from([...head, ...bytes(uid)]));
  return keep(uid, new Uint8Array(hash));
}

// For who has no key: h is worked out elsewhere, and given as digits.
export function knowFrom(name, h) {
  if (!drawn.has(name)) keep(name, bytes(h));
}

function keep(uid, h) {
  if (drawn.size >= FACES_MAX) drawn.delete(drawn.keys().next().value);
  drawn.set(uid, traits(h));
  return drawn.get(uid);
}

const bytes = (digits) => Uint8Array.from(digits.match(/../g) ?? [], (each) => parseInt(each, 16));

// level: 0 (silent) to 1, opens the mouth. A face that is not known yet is an empty window.
export function Drawing({uid, level = 0}) {
  const its = drawn.get(uid);
  if (!its) return html`<svg viewBox="0 0 96 96" aria-hidden="true"></svg>`;
  const [wall, skin, hair, cloth, ink] = PALETTES[its.palette];
  const [behind, front] = top(its.top, hair, cloth);
  const place = `${its.mirrored ? "translate(96 0) scale(-1 1) " : ""}rotate(${its.turn} 48 90)`;
  return html`<svg viewBox="0 0 96 96" aria-hidden="true">
    <rect width="96" height="96" fill=${wall}/>
    <g transform=${place}>
      ${behind}
      <path d="M8 96C8 80 26 74 38 72H58C70 74 88 80 88 96Z" fill=${cloth}/>${pattern(its.cloth)}
      <path d="M40 62H56V74Q48 81 40 74Z" fill=${skin}/>
      <path d="M40 68q8 7 16 1v5q-8 7-16 0Z" fill=${ink} opacity=".16"/>
      <g transform="translate(0 4)">
        <path d=${HEADS[its.head]} fill=${skin}/>
        ${its.extra === 1 && EYES_AT.map((_, side) => html`<circle cx=${side ? 63 : 33} cy="56" r="4.5"
          fill="#E0573E" opacity=".35"/>`)}
        ${nose(its.nose, ink)}
        ${level > 0 ? talking(level) : html`<path d=${MOUTHS[its.mouth]} fill="none" stroke=${ink}
          stroke-width="3" stroke-linecap="round"/>`}
        ${EYES_AT.map((x) => eye(its.eyes, x, ink))}
        ${front}
        ${its.extra === 2 && html`<g fill="none" stroke=${ink} stroke-width="2.4">
          <circle cx="38" cy="47" r="8"/><circle cx="58" cy="47" r="8"/><path d="M46 46q2-2 4 0"/></g>`}
        ${its.extra === 3 && html`<g fill=${wall}><circle cx="25.5" cy="61" r="3"/>
          <circle cx="70.5" cy="61" r="3"/></g>`}
      </g>
    </g></svg>`;
}

function talking(level) {
  const height = 2.2 + 6 * level;
  return html`<g><ellipse cx="48" cy="61" rx=${6.2 + level} ry=${height} fill="#3A1512"/>
    <ellipse cx="48" cy=${61 + 0.5 * height} rx="4.4" ry=${0.42 * height} fill="#E0705A"/></g>`;
}

function eye(kind, x, ink) {
  const line = (d, width = 3) => html`<path d=${d} fill="none" stroke=${ink} stroke-width=${width}
    stroke-linecap="round"/>`;
  return [
    () => html`<circle cx=${x} cy="47" r="3" fill=${ink}/>`,
    () => html`<ellipse cx=${x} cy="47" rx="2.6" ry="4" fill=${ink}/>`,
    () => line(`M${x - 4.5} 48.5q4.5-5.5 9 0`),
    () => html`<g><circle cx=${x} cy="47.5" r="3" fill=${ink}/>${line(`M${x - 5} 41.5q5-3.5 10 0`, 2.6)}</g>`,
    () => html`<g><circle cx=${x} cy="47" r="5.4" fill="#fff"/>
      <circle cx=${x + 1.2} cy="47" r="2.8" fill="#241E18"/></g>`,
    () => line(`M${x - 4} 46.5q4 4 8 0`),
  ][kind]();
}

function nose(kind, ink) {
  const line = (d) => html`<path d=${d} fill="none" stroke=${ink} stroke-width="2.4"
    stroke-linecap="round" opacity=".55"/>`;
  return [
    () => null,
    () => line("M48 49q-3.5 5 .5 5.5"),
    () => html`<ellipse cx="48" cy="53" rx="3" ry="2.4" fill=${ink} opacity=".3"/>`,
    () => line("M45.5 53q2.5 3 5 0"),
  ][kind]();
}

function pattern(kind) {
  const light = "#FFFDF8";
  return [
    () => null,
    () => html`<path d="M39 72q9 9 18 0v6q-9 8-18 0Z" fill=${light} opacity=".85"/>`,
    () => html`<path d="M10 86h76M14 94h68" fill="none" stroke=${light} stroke-width="3.5" opacity=".55"/>`,
    () => html`<path d="M38 72l10 13 10-13" fill="none" stroke=${light} stroke-width="3.5" opacity=".75"/>`,
    () => html`<g fill=${light} opacity=".7">${[24, 36, 48, 60, 72].map((x, at) =>
      html`<circle cx=${x} cy=${at % 2 ? 92 : 86} r="2.6"/>`)}</g>`,
  ][kind]();
}

function top(kind, hair, cloth) {
  const shape = (d) => html`<path d=${d} fill=${hair}/>`;
  const circle = (x, y, r) => html`<circle cx=${x} cy=${y} r=${r} fill=${hair}/>`;
  return [
    () => [null, shape("M36 23C38 14 46 11 54 13 50 15 50 18 52 22Z")],
    () => [null, shape(CAP)],
    () => [null, html`<path d="M23 44C20 25 32 15 48 15S76 25 73 44L67 35 58 40 50 34 41 40 32 35Z"
      fill=${hair} stroke=${hair} stroke-width="3" stroke-linejoin="round"/>`],
    () => [circle(48, 11, 9), shape(CAP)],
    () => [null, [[27, 38, 9], [34, 26, 10], [48, 20, 11], [62, 26, 10], [69, 38, 9]].map(
      (each) => circle(...each))],
    () => [shape("M19 46C19 22 33 13 48 13S77 22 77 46V74C77 82 19 82 19 74Z"), shape(CAP)],
    () => [null, shape("M23 47C20 26 34 14 51 15 67 16 76 28 73 48 71 39 65 33 56 30 46 37 31 36 23 47Z")],
    () => [null, html`<g><path d="M23 36C23 20 34 12 48 12S73 20 73 36Z" fill=${cloth}/>
      ${circle(48, 11, 5)}<rect x="20" y="32" width="56" height="9" rx="4.5" fill=${hair}/></g>`],
    () => [null, html`<g><ellipse cx="44" cy="23" rx="30" ry="12" fill=${hair} transform="rotate(-9 44 23)"/>
      <path d="M44 12l2-6" stroke=${hair} stroke-width="4" stroke-linecap="round"/></g>`],
    () => [shape("M48 11C66 11 79 24 79 48 79 66 74 76 70 88H26C22 76 17 66 17 48 17 24 30 11 48 11Z"),
      html`<path fill-rule="evenodd" fill=${hair} d="M48 12C66 12 77 25 77 48S66 80 48 80 19 70 19 48 30 12 48 12ZM48 26C36 26 30 35 30 48S37 72 48 72 66 61 66 48 60 26 48 26Z"/>`],
    () => [circle(48, 34, 30), shape("M25 42C25 30 34 24 48 24S71 30 71 42C65 34 58 32 48 32S31 34 25 42Z")],
    () => [html`<path d="M48 22C47 15 49 11 52 8" fill="none" stroke=${hair} stroke-width="3.5"
      stroke-linecap="round"/>`,
      shape("M52 9C56 3 64 3 68 6 65 13 57 14 52 9ZM50 14C44 10 37 11 35 15 39 20 46 20 50 14Z")],
  ][kind]();
}
