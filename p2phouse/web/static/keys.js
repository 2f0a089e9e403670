// Keys of the room: M, held Space, H. None of them does anything in a text field.
import {mayComeUp, onStage} from "/who.js";

const TEXT_FIELDS = "input:not([type=radio]):not([type=checkbox]), textarea, select, [contenteditable]";

// Space belongs to a control that a person reached by keyboard; the microphone's is to talk.
function isTaken(target) {
  return target.closest?.(TEXT_FIELDS) !== null
    || (target.closest?.("button, a, input, [tabindex]") && target.matches(":focus-visible") && target.id !== "mic" && target.id !== "content");
}

export function raiseOrLower(app) {
  const {you} = app;
  if (onStage(you)) return;
  if (you.hand) app.tryTo("lower_hand");
  else if (mayComeUp(you)) app.tryTo("accept");
  else app.sheet("hand");
}

export function listenForKeys(app) {
  let heldByKey = false;
  const release = () => {
    if (!heldByKey) return;
    heldByKey = app.held = false;
    app.want(false);
  };
  addEventListener("keydown", (event) => {
    if (!app.room || app.room.waiting || app.shownSheet || event.ctrlKey || event.metaKey || event.altKey) return;
    const inText = event.target.closest?.(TEXT_FIELDS);
    const key = event.key?.toLowerCase();
    if (event.code === "Space" && !isTaken(event.target)) {
      event.preventDefault();
      if (event.repeat || heldByKey || !app.room.muted || !app.canSpeak) return;
      heldByKey = app.held = true;
      app.want(true);
    } else if (key === "m" && !event.repeat && !inText) {
      app.toggle();
    } else if (key === "h" && !event.repeat && !inText) {
      event.preventDefault();  // the letter would be the first of the topic
      raiseOrLower(app);
    }
  });
  addEventListener("keyup", (event) => {
    if (event.code !== "Space") return;
    if (app.room && !app.shownSheet && !isTaken(event.target)) event.preventDefault();
    release();
  });
  addEventListener("blur", release);
  document.addEventListener("visibilitychange", () => document.hidden && release());
}
