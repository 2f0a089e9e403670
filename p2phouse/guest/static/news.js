// What the relay says of the room: told as it changes, or asked for now and then where that fails.
const SILENT_MS = 60_000;  // three signs of life that did not come
const ASK_MS = 10_000;
const WAITS_MS = [1_000, 2_000, 4_000, 8_000];
const CHAT_MAX = 50;

export class News {
  #room; #token; #told; #place = ""; #running = null; #tries = 0; #facts = null; #tag = "";

  // told(facts): all there is to say of the room; {over: true} of one that is not here, null while
  // the relay does not answer. Nothing is asked while nobody looks at the page.
  constructor({room, token = "", told}) {
    this.#room = room;
    this.#token = token;
    this.#told = told;
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.#stop();
      else this.start();
    });
  }

  start() {
    this.#stop();
    this.#running = new AbortController();
    this.#run(this.#running.signal);
  }

  // Where we are a guest: which voice is in which line may differ from what other guests hear.
  set place(place) {
    if (place === this.#place) return;
    this.#place = place;
    if (this.#running) this.start();
  }

  #stop() {
    this.#running?.abort();
    this.#running = null;
  }

  async #run(signal) {
    while (!signal.aborted) {
      const status = await this.#follow(signal).catch(() => 0);
      if (signal.aborted) return;
      if (status === 200) this.#tries = 0;
      else await this.#askInstead(status, signal);
    }
  }

  // Until the stream of news ends; its status. Throws if there is no way there.
  async #follow(signal) {
    const lost = new AbortController();
    const stop = () => lost.abort();
    signal.addEventListener("abort", stop);
    let timer = setTimeout(stop, SILENT_MS);
    try {
      const answer = await this.#fetch("news", {signal: lost.signal});
      if (answer.status !== 200 || !answer.body) return answer.status === 200 ? 501 : answer.status;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = "", part = await reader.read(); !part.done; part = await reader.read()) {
        clearTimeout(timer);
        timer = setTimeout(stop, SILENT_MS);
        const lines = (rest + part.value).split("\n");
        rest = lines.pop();
        lines.filter(Boolean).forEach((line) => this.#hear(JSON.parse(line)));
      }
      return 200;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
    }
  }

  async #askInstead(status, signal) {
    const answer = await this.#fetch("now", {signal, headers: this.#tag ? {"if-none-match": this.#tag} : {}}).catch(() => null);
    if (signal.aborted) return;
    if (!answer) this.#told(null);
    else if (answer.status === 404) this.#told({over: true});
    else if (answer.status !== 304 && answer.headers.get("content-type")?.includes("json")) {
      this.#tag = answer.headers.get("etag") ?? "";
      this.#hear(await answer.json());
    }
    const wait = answer ? ASK_MS : WAITS_MS[Math.min(this.#tries++, WAITS_MS.length - 1)];
    await new Promise((done) => setTimeout(done, wait * (1 + Math.random() / 4)));
  }

  #hear(said) {
    const {said: words = [], ...facts} = said;
    this.#facts = "room" in facts ? facts : {...this.#facts, ...facts, reactions: facts.reactions ?? []};
    if (words.length) this.#facts.chat = [...this.#facts.chat ?? [], ...words].slice(-CHAT_MAX);
    this.#told(this.#facts);
  }

  #fetch(what, {headers = {}, ...options}) {
    const ours = {...headers, ...(this.#token && {authorization: `Bearer ${this.#token}`}), ...(this.#place && {guest: this.#place})};
    return fetch(`/r/${this.#room}/${what}`, {headers: ours, cache: "no-store", ...options});
  }
}
