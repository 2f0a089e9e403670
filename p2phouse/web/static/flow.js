// What people wrote, as it comes: a list that stays at its end unless somebody reads further up.
import {html, useEffect, useLayoutEffect, useRef, useState} from "/vendor/htm-preact.js";
import {Icon} from "/icons.js";
import {t} from "/i18n.js";

const NEAR_END_PX = 40;

// count: of the messages, by which the list knows that there are new ones.
export function Flow({label, count, children}) {
  const list = useRef(null);
  const [fresh, setFresh] = useState(0);
  const known = useRef(count);
  const isNear = () => list.current.scrollHeight - list.current.scrollTop - list.current.clientHeight < NEAR_END_PX;
  const end = () => {
    list.current.scrollTop = list.current.scrollHeight;
    setFresh(0);
  };
  const wasNear = useRef(true);
  useLayoutEffect(() => {
    if (wasNear.current) end();
    else setFresh((before) => before + Math.max(0, count - known.current));
    known.current = count;
  }, [count]);
  useEffect(() => {
    const sized = new ResizeObserver(() => wasNear.current && end());  // what else there is takes more room
    sized.observe(list.current);
    return () => sized.disconnect();
  }, []);
  const scrolled = () => {
    wasNear.current = isNear();
    if (wasNear.current && fresh) setFresh(0);
  };
  return html`<div class="messages-frame"><ol class="messages" ref=${list} onScroll=${scrolled} tabindex="0" aria-label=${label}>${children}</ol>
    ${fresh > 0 && html`<button class="button go little fresh" onClick=${end}><${Icon} name="arrow-down" size=${16}/>${t("newWords", {n: fresh})}</button>`}</div>`;
}

// Security: what others pinned is a link only if it is plain http or https, and opens without a way
// back to this page. Nothing of it is fetched.
export function linkIn(text) {
  const found = /https?:\/\/[^\s<>"]+/i.exec(text);
  if (!found) return null;
  try {
    const url = new URL(found[0]);
    return ["http:", "https:"].includes(url.protocol) && !url.username ? url : null;
  } catch {
    return null;
  }
}

// What stands above the chat: a link with its words, or words alone.
export function Pinned({text}) {
  const url = linkIn(text);
  const words = url ? text.replace(url.href, "").replace(/https?:\/\/\S+/, "").trim() : text;
  return html`<${Icon} name="pin" size=${18}/>
    ${url ? html`<a href=${url.href} target="_blank" rel="noopener noreferrer"><b dir="auto">${words || url.hostname}</b><span class="small soft">${url.host}</span></a>`
      : html`<b dir="auto">${text}</b>`}`;
}
