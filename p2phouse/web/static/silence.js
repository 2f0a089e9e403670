// Why somebody is not heard, in the person's language: one cause, one remedy.
import {has, t} from "/i18n.js";

// The node names causes in English; one that is new here is told in its own words.
const key = (cause) => `silence_${cause.replaceAll(/[^a-z]+/g, "_")}`;

export function silenceWords({silence, you}) {
  const words = key(silence.cause) + (you ? "_you" : "");
  if (!has(words)) return {short: t("silent"), title: silence.text, text: silence.remedy};
  return {short: t("silent"), title: t(words), text: has(`${words}_do`) ? t(`${words}_do`) : ""};
}
