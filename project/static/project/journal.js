/**
 * The journal: what left this browser, and what the API says reached it.
 *
 * Data only; wire.js draws it. The left side is written by the page itself (`send` carries each
 * call, photos.js reports each image). The right side is the API's own record, matched by
 * `X-Call-Id`; images carry no such header and are matched by path.
 */

/**
 * @typedef {object} Arrival  one call as the API saw it; never the token itself
 * @property {number} n
 * @property {string} method
 * @property {string} path
 * @property {string | null} call_id
 * @property {{sub: string, scope: string, expires_in: number, jti_tail: string} | null} token
 * @property {boolean} cookie
 * @property {string[]} headers
 *
 * @typedef {object} Entry
 * @property {string} id
 * @property {Date} at
 * @property {string} method
 * @property {string} path
 * @property {string[] | null} images  the paths of a batch of images, else null
 * @property {number | null} status  null while under way, 0 when nobody answered
 * @property {string | null} code  the BFF's own refusal
 * @property {Map<string, Arrival>} arrivals  by path for images, else at most one
 * @property {boolean} refreshed  the first call seen with a new token
 * @property {number} asked  how often we looked for its arrival in vain
 * @property {number} after  arrivals up to this number are older than the entry
 */

const KEPT = 40;
const PATIENCE = 3;

export class Journal extends EventTarget {
  /** @type {Entry[]} newest first */
  entries = [];
  /** @type {Set<string>} */
  tokens = new Set();
  carried = 0;
  #newest = 0;

  /** `fetch`, noted down. `aside: true` marks the panel's own look-ups, which are left out. */
  send = async (path, { aside = false, ...init }) => {
    if (aside) return fetch(path, init);
    const { id } = this.#add({ id: crypto.randomUUID(), method: init.method ?? "GET", path, images: null });
    init.headers.set("X-Call-Id", id);
    try {
      const response = await fetch(path, init);
      this.answered(id, { status: response.status, code: response.headers.get("X-BFF-Error") });
      return response;
    } catch (error) {
      this.answered(id, { status: 0, code: "no_answer" });
      throw error;
    }
  };

  answered(id, { status, code }) {
    const entry = this.entries.find((entry) => entry.id === id);
    if (entry) this.#change(entry, { status, code });
  }

  /** An image element asked for `path`; those that ask together share an entry. */
  imageLeft(path) {
    const [newest] = this.entries;
    if (newest?.images && newest.status === null) {
      this.#change(newest, { images: [...newest.images, path] });
      return newest.id;
    }
    return this.#add({ id: crypto.randomUUID(), method: "GET", path, images: [path] }).id;
  }

  /** True while some answered call has not been found in the API's record. */
  get waiting() {
    return this.entries.some(
      (entry) => reachesApi(entry) && entry.status !== null && entry.asked < PATIENCE && !complete(entry),
    );
  }

  /** Take in the API's record. @param {Arrival[]} arrivals */
  reached(arrivals) {
    const byCallId = new Map(arrivals.filter((a) => a.call_id).map((a) => [a.call_id, a]));
    // Oldest first, so that a new token is marked on the first call that carried it.
    for (const entry of this.entries.toReversed()) {
      if (!reachesApi(entry) || complete(entry)) continue;
      const found = new Map(entry.arrivals);
      for (const path of entry.images ?? [entry.path]) {
        const arrival = entry.images
          ? arrivals.findLast((a) => a.n > entry.after && path.endsWith(`/${a.path.replace(/^\//, "")}`))
          : byCallId.get(entry.id);
        if (arrival) found.set(path, arrival);
      }
      const carried = [...found].filter(([path, a]) => a.token && !entry.arrivals.has(path));
      const fresh = carried.map(([, a]) => a.token.jti_tail).filter((tail) => !this.tokens.has(tail));
      const refreshed = entry.refreshed || (fresh.length > 0 && this.tokens.size > 0);
      fresh.forEach((tail) => this.tokens.add(tail));
      this.carried += carried.length;
      const asked = entry.asked + (entry.status === null ? 0 : 1);
      this.#change(entry, { arrivals: found, refreshed, asked });
    }
    this.#newest = Math.max(this.#newest, ...arrivals.map((a) => a.n));
  }

  clear() {
    this.entries = [];
    this.tokens.clear();
    this.carried = 0;
    this.dispatchEvent(new Event("clear"));
  }

  #add(call) {
    const entry = {
      ...call,
      at: new Date(),
      status: null,
      code: null,
      arrivals: new Map(),
      refreshed: false,
      asked: 0,
      after: this.#newest,
    };
    this.entries = [entry, ...this.entries].slice(0, KEPT);
    this.dispatchEvent(new CustomEvent("change", { detail: entry }));
    return entry;
  }

  #change(entry, news) {
    Object.assign(entry, news);
    this.dispatchEvent(new CustomEvent("change", { detail: entry }));
  }
}

/** Is this a call the BFF carries on, rather than answers itself? */
export const reachesApi = (entry) => entry.path.includes("/api/");

/** Has everything the entry sent been found? A refused call has nothing to find. */
export const complete = (entry) =>
  entry.code !== null || entry.arrivals.size === (entry.images?.length ?? 1);

/** Have we stopped looking? */
export const settled = (entry) => complete(entry) || entry.asked >= PATIENCE;
