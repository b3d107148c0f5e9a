/**
 * All that a single-page app needs to talk to its Backend for Frontend.
 *
 * There is no token here, and nowhere to keep one. The browser adds the session
 * cookie by itself; this file adds `X-BFF: 1`, which another site cannot send
 * without a preflight that is never granted.
 */

/**
 * @typedef {object} SignedOut
 * @property {false} authenticated
 * @property {string} login_url
 * @property {string | null} ended  why the last sign-in ended, if it did
 *
 * @typedef {object} SignedIn
 * @property {true} authenticated
 * @property {{sub: string, name?: string, email?: string}} user
 * @property {{handle: string, scopes: string[], idle_expires_in: number, expires_in: number}} grant
 * @property {string[]} upstreams
 * @property {string} login_url
 *
 * @typedef {object} Witness  is told of every call; see journal.js
 * @property {(call: {id: string, method: string, path: string}) => void} left
 * @property {(id: string, answer: {status: number, code: string | null}) => void} answered
 */

const SIGNED_OUT = new Set(["login_required", "grant_ended"]);

/** A call that did not succeed. `code` is the BFF's own; null when the API itself refused. */
export class CallError extends Error {
  /** @param {number} status  @param {{code?: string | null, reason?: string, detail?: string}} problem */
  constructor(status, { code = null, reason, detail } = {}) {
    super(detail ?? code ?? `HTTP ${status}`);
    this.status = status;
    this.code = code;
    this.reason = reason ?? null;
  }

  /** True when only signing in again helps. An API's own 401 does not count. */
  get signedOut() {
    return this.status === 401 && SIGNED_OUT.has(this.code);
  }
}

export class Bff {
  #mount;
  #witness;
  #loginUrl;

  /** @param {{mount?: string, witness?: Witness}} options */
  constructor({ mount = "/bff/", witness } = {}) {
    this.#mount = mount;
    this.#witness = witness;
    this.#loginUrl = `${mount}login/`;
  }

  /**
   * Ask who is signed in. With `slide: false` the question does not count as activity.
   * @returns {Promise<SignedOut | SignedIn>}
   */
  async session({ slide = true } = {}) {
    const session = await this.json(slide ? "session/" : "session/?slide=false");
    this.#loginUrl = session.login_url;
    return session;
  }

  /** Leave for the sign-in page. A navigation: `fetch` cannot follow it. */
  login(returnTo = location.pathname + location.search + location.hash) {
    location.assign(`${this.#loginUrl}?return_to=${encodeURIComponent(returnTo)}`);
  }

  /** Sign out here, then at the provider, which sends the browser back. */
  async logout() {
    const { logout_url } = await this.json("logout/", { method: "POST" });
    if (logout_url) location.assign(logout_url);
    else location.reload();
  }

  /** The address of something under the mount, for `<img src>`. */
  url(path) {
    return this.#mount + path;
  }

  /**
   * `fetch`, with what the BFF asks for.
   *
   * Resolves with any answer of the API's, 404 and 500 included. Throws CallError
   * when the BFF itself refused, TypeError when nobody answered.
   * @param {string} path  below the mount, such as "api/photos/photos"
   * @param {RequestInit} init
   */
  async call(path, init = {}) {
    const id = crypto.randomUUID();
    const method = init.method ?? "GET";
    const headers = new Headers(init.headers);
    headers.set("X-BFF", "1");
    headers.set("X-Call-Id", id);

    this.#witness?.left({ id, method, path: this.url(path) });
    let response;
    try {
      response = await fetch(this.url(path), { cache: "no-store", ...init, method, headers });
    } catch (error) {
      this.#witness?.answered(id, { status: 0, code: "no_answer" });
      throw error;
    }
    const code = response.headers.get("X-BFF-Error");
    this.#witness?.answered(id, { status: response.status, code });
    if (code) throw new CallError(response.status, { ...(await problem(response)), code });
    return response;
  }

  /** `call` for those who want the JSON of a success and an error for the rest. */
  async json(path, init) {
    const response = await this.call(path, init);
    if (!response.ok) {
      throw new CallError(response.status, { detail: (await problem(response)).detail });
    }
    return response.status === 204 ? null : response.json();
  }

  /**
   * Read server-sent events until the stream ends or `signal` aborts.
   * `EventSource` would do, but it cannot send a header.
   * @param {string} path
   * @param {{onEvent: (event: {type: string, data: string}) => void, signal?: AbortSignal}} options
   */
  async events(path, { onEvent, signal }) {
    const response = await this.call(path, { signal, headers: { Accept: "text/event-stream" } });
    if (!response.ok) throw new CallError(response.status);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const feed = eventParser(onEvent);
    for (let part = await reader.read(); !part.done; part = await reader.read()) feed(part.value);
  }
}

/** The problem document (RFC 9457) of a refusal, or nothing. */
async function problem(response) {
  const type = response.headers.get("Content-Type") ?? "";
  return type.startsWith("application/problem+json") ? response.json().catch(() => ({})) : {};
}

/** Turn chunks of text/event-stream, cut anywhere, into events. Line ends: LF or CRLF. */
export function eventParser(onEvent) {
  let rest = "";
  let type = "message";
  let data = [];
  return (chunk) => {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop();
    for (const raw of lines) {
      const line = raw.replace(/\r$/, "");
      if (line === "") {
        if (data.length) onEvent({ type, data: data.join("\n") });
        type = "message";
        data = [];
      } else {
        const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line);
        if (field === "event") type = value;
        if (field === "data") data.push(value);
      }
    }
  };
}
