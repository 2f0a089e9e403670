// The page's end of /api: one WebSocket to the node, opened again when it breaks.
const RETRY_MS = 1_000;
const OVER_AFTER_MS = 8_000;  // a node that starts its page anew answers within this

export class Refused extends Error {
  constructor(text, yours) { super(text); this.yours = yours; }
}

// tell(kind, value) hears "state" (open, lost, over, refused), "event", "levels" and "sound".
export class Node {
  constructor(token, tell) {
    this.token = token;
    this.tell = tell;
    this.waiting = new Map();
    this.count = 0;
    this.lostAt = null;
    this.connect();
  }

  connect() {
    const socket = new WebSocket(`ws://${location.host}/api`);
    this.socket = socket;
    socket.onopen = () => {
      socket.send(JSON.stringify({token: this.token}));
      // The first push says that the token was taken.
    };
    socket.onmessage = ({data}) => this.hear(JSON.parse(data));
    socket.onclose = ({code}) => this.lost(code);
  }

  hear(message) {
    if (this.lostAt !== null || !this.isOpen) {
      this.isOpen = true;
      this.lostAt = null;
      this.tell("state", "open");
    }
    if ("id" in message) {
      const call = this.waiting.get(message.id);
      this.waiting.delete(message.id);
      if ("error" in message) call?.reject(new Refused(message.error, message.yours));
      else call?.resolve(message.result);
    } else if ("event" in message) this.tell("event", message);
    else for (const [kind, value] of Object.entries(message)) this.tell(kind, value);
  }

  lost(code) {
    this.isOpen = false;
    for (const call of this.waiting.values()) call.reject(new Refused("", false));
    this.waiting.clear();
    if (code === 4401) return this.tell("state", "refused");
    this.lostAt ??= Date.now();
    const over = Date.now() - this.lostAt > OVER_AFTER_MS;
    this.tell("state", over ? "over" : "lost");
    if (!over) setTimeout(() => this.connect(), RETRY_MS);
  }

  again() {
    this.lostAt = Date.now();
    this.tell("state", "lost");
    this.connect();
  }

  ask(verb, values = {}) {
    const id = ++this.count;
    return new Promise((resolve, reject) => {
      if (this.socket.readyState !== WebSocket.OPEN) return reject(new Refused("", false));
      this.waiting.set(id, {resolve, reject});
      this.socket.send(JSON.stringify({...values, id, verb}));
    });
  }
}
