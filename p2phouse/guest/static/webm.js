// A room as one voice over plain HTTP, for whoever can have no line: no UDP gets through, no WebRTC.

const KIND = 'audio/webm; codecs="opus"';
const HELD_S = 0.3;  // of sound ahead of what is heard: pieces of 0.1 s come one by one
const LATE_S = 1;  // with more ahead than this we go on nearer to the present
const KEPT_S = 10;  // of what was heard

const Source = globalThis.ManagedMediaSource ?? globalThis.MediaSource;

// Whether this browser can; one that cannot may have a player that reads the address itself.
export const canHear = Boolean(Source?.isTypeSupported(KIND));

// Plays what stands at `url` by an <audio>, 0.4 s behind who speaks, until it ends: the answer, which
// may be a refusal. Rejects when it is given up by `signal`, or the relay cannot be reached.
export async function hear(ear, url, {token = "", signal} = {}) {
  const headers = token ? {authorization: `Bearer ${token}`} : {};
  const answer = await fetch(url, {headers, signal});
  if (!answer.ok) return answer;
  const source = new Source();
  ear.disableRemotePlayback = true;  // Safari asks for that
  ear.src = URL.createObjectURL(source);
  ear.play().catch(() => {});
  await once(source, "sourceopen");
  URL.revokeObjectURL(ear.src);
  const buffer = source.addSourceBuffer(KIND);
  buffer.mode = "sequence";  // what was left out for a slow reader is no hole to wait in
  const reader = answer.body.getReader();
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    buffer.appendBuffer(piece.value);
    await once(buffer, "updateend");
    await keepUp(ear, buffer);
  }
  return answer;
}

async function keepUp(ear, buffer) {
  const held = buffer.buffered;
  if (!held.length) return;
  const end = held.end(held.length - 1);
  if (end - ear.currentTime > LATE_S) ear.currentTime = end - HELD_S;
  if (ear.currentTime - held.start(0) > 2 * KEPT_S) {
    buffer.remove(0, ear.currentTime - KEPT_S);
    await once(buffer, "updateend");
  }
}

function once(whom, event) {
  return new Promise((done) => whom.addEventListener(event, done, {once: true}));
}
