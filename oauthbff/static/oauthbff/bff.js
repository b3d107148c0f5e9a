/**
 * What a single-page app needs to talk to its Backend for Frontend; bff.d.ts explains it.
 * There is no token here, and nowhere to keep one.
 */

const HALF_A_MINUTE = 30_000; // ms

export class BffError extends Error {
  constructor({ status, headers }, body) {
    const code = headers.get("X-BFF-Error");
    super(body?.detail ?? body?.title ?? code ?? `HTTP ${status}`);
    this.name = new.target.name;
    this.status = status;
    this.code = code;
    this.reason = body?.reason ?? null;
    this.retryAfter = parseInt(headers.get("Retry-After")) || null;
  }
}

export class SignedOut extends BffError {}

async function refusal(response) {
  const ours = response.headers.has("X-BFF-Error");
  const Kind = ours && response.status === 401 ? SignedOut : BffError;
  return new Kind(response, await response.json().catch(() => null));
}

export class Bff {
  #mount;
  #header;
  #send;
  #warnBefore;
  #loginUrl;
  #channel;
  #timer;
  #asked = 0;
  #handle; // undefined: not known yet; null: signed out
  #ended = new Set();
  #expiring = new Set();
  #signedIn = new Set();
  #closing = new AbortController();

  constructor({ mount = "/bff/", header = "X-BFF", warnBefore = 120, send } = {}) {
    this.#mount = mount;
    this.#header = header;
    this.#warnBefore = warnBefore;
    this.#send = send ?? ((...call) => fetch(...call));
    this.#loginUrl = `${mount}login/`;
    this.#channel = new BroadcastChannel(`oauthbff ${mount}`);
    this.#channel.onmessage = ({ data }) => data.handle !== this.#handle && this.#look(data.reason);
    const seen = () => this.#handle && !document.hidden && this.#look();
    document.addEventListener("visibilitychange", seen, { signal: this.#closing.signal });
  }

  session({ slide = true } = {}) {
    return this.#ask(slide ? "session/" : "session/?slide=false");
  }

  login({ returnTo = location.pathname + location.search + location.hash, ...more } = {}) {
    location.assign(`${this.#loginUrl}?${new URLSearchParams({ return_to: returnTo, ...more })}`);
  }

  async logout({ leave = true } = {}) {
    const { logout_url } = await this.json("logout/", { method: "POST" });
    this.#end("logout");
    if (leave && logout_url) location.assign(logout_url);
    else if (leave) location.reload();
    return logout_url;
  }

  url(path) {
    const base = new URL(this.#mount, location.href);
    const url = new URL(path, base);
    if (url.origin !== base.origin) throw new TypeError(`${url.origin} is not behind this BFF`);
    return url.pathname + url.search;
  }

  async fetch(path, init) {
    const headers = new Headers(init?.headers);
    headers.set(this.#header, "1");
    const response = await this.#send(this.url(path), { cache: "no-store", ...init, headers });
    if (!response.headers.has("X-BFF-Error")) return response;
    const error = await refusal(response);
    if (error instanceof SignedOut) this.#end(error.reason);
    throw error;
  }

  async json(path, init) {
    const response = await this.fetch(path, init);
    if (!response.ok) throw await refusal(response);
    return response.status === 204 ? null : response.json();
  }

  events(path, options) {
    return new BffEventSource(this, path, options);
  }

  onEnded = listener(this.#ended);
  onExpiring = listener(this.#expiring);
  onSignedIn = listener(this.#signedIn);

  close() {
    this.#handle = null;
    this.#asked = NaN; // learns no more
    clearTimeout(this.#timer);
    this.#channel.close();
    this.#closing.abort();
  }

  async #ask(path, hint) {
    const asked = ++this.#asked;
    const session = await this.json(path);
    if (asked === this.#asked) this.#learn(session, hint); // else it is stale
    return session;
  }

  /** A timer, another tab or a return to this one says: ask what is true. */
  #look(hint) {
    this.#ask("session/?slide=false", hint).catch(() => this.#handle && this.#later(HALF_A_MINUTE));
  }

  #later(wait) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), Math.min(Math.max(wait, 5000), 2e9));
  }

  #learn(session, hint = null) {
    this.#loginUrl = session.login_url;
    if (!session.authenticated) {
      if (this.#handle) this.#end(session.ended ?? hint);
      this.#handle = null;
      return;
    }
    const { grant } = session;
    if (grant.handle !== this.#handle) {
      this.#handle = grant.handle;
      this.#channel.postMessage({ handle: grant.handle });
      tell(this.#signedIn, session);
    }
    const left = Math.min(grant.idle_expires_in, grant.expires_in);
    const calm = left - this.#warnBefore;
    if (calm <= 0) tell(this.#expiring, left);
    this.#later(1000 * (calm > 0 ? calm : left + 1));
  }

  #end(reason) {
    this.#asked++;
    clearTimeout(this.#timer);
    if (this.#handle === null) return;
    this.#handle = null;
    this.#channel.postMessage({ handle: null, reason });
    tell(this.#ended, reason);
  }
}

const listener = (set) => (call) => {
  set.add(call);
  return () => set.delete(call);
};
const tell = (set, value) => set.forEach((call) => queueMicrotask(() => call(value)));

export class BffEventSource extends EventTarget {
  readyState = 0;
  #stop = new AbortController();
  #timer;
  #lastId;
  #retry;

  constructor(bff, path, { signal, lastEventId = "", retry = 3000 } = {}) {
    super();
    this.url = bff.url(path);
    this.#lastId = lastEventId;
    this.#retry = retry;
    for (const type of ["open", "message", "error"])
      this.addEventListener(type, (event) => this[`on${type}`]?.(event));
    signal?.addEventListener("abort", () => this.close());
    if (signal?.aborted) this.close();
    this.#run(bff);
  }

  close() {
    this.readyState = 2;
    clearTimeout(this.#timer);
    this.#stop.abort();
  }

  async #run(bff) {
    let wait = this.#retry;
    while (this.readyState < 2) {
      const error = await this.#read(bff, () => (wait = this.#retry)).catch((error) => error);
      if (this.readyState === 2) return;
      this.readyState = 0;
      // A refusal will not get better; a broken line, a 5xx or a 429 may.
      if (error?.status < 500 && error.status !== 429) this.close();
      this.dispatchEvent(Object.assign(new Event("error"), { error }));
      if (this.readyState === 2) return;
      const pause = Math.max(wait * (1 - Math.random() / 2), error?.retryAfter * 1000 || 100);
      await new Promise((go) => (this.#timer = setTimeout(go, pause)));
      wait = Math.min(2 * wait, HALF_A_MINUTE);
    }
  }

  async #read(bff, alive) {
    const headers = new Headers({ Accept: "text/event-stream" });
    const id = new TextEncoder().encode(this.#lastId); // a header takes bytes
    if (id.length) headers.set("Last-Event-ID", String.fromCharCode(...id));
    const response = await bff.fetch(this.url, { headers, signal: this.#stop.signal });
    const type = response.headers.get("Content-Type");
    if (!response.ok || !/^text\/event-stream/.test(type)) throw await refusal(response);
    this.readyState = 1;
    this.dispatchEvent(new Event("open"));
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const parse = eventParser((event) => this.#take(event));
    for (let part; !(part = await reader.read()).done; alive()) parse(part.value);
  }

  #take({ event, data, id, retry }) {
    if (id?.includes("\0") === false) this.#lastId = id;
    if (/^\d+$/.test(retry)) this.#retry = +retry;
    if (data === undefined || this.readyState === 2) return;
    this.dispatchEvent(new MessageEvent(event || "message", { data, lastEventId: this.#lastId }));
  }
}

/** text/event-stream, cut anywhere, becomes one `emit` per event. */
export function eventParser(emit) {
  let rest = "";
  let event = {};
  return (piece) => {
    // A last CR may be half of a CRLF.
    const lines = (rest + piece).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
      if (!line) {
        emit(event);
        event = {};
      } else event[field] = field === "data" && field in event ? `${event.data}\n${value}` : value;
    }
  };
}
