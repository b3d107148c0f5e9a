/**
 * The client of oauthbff: all that a single-page app needs to talk to its Backend for Frontend.
 *
 *     import { Bff, SignedOut } from "oauthbff";
 *
 *     const bff = new Bff();
 *     bff.onSignedIn((session) => render(session.user));
 *     bff.onEnded((reason) => showSignIn(reason));
 *     const session = await bff.session();
 *     if (!session.authenticated) showSignIn(session.ended);
 *
 *     const albums = await bff.json("api/photos/albums?page=2");
 */

/** Why a sign-in ended. */
export type EndReason =
  | "logout"
  | "idle"
  | "absolute"
  | "backchannel"
  | "admin"
  | "invalid_grant"
  | "user_disabled"
  | "superseded"
  | "key_lost";

/** The BFF's own refusals. */
export type Code =
  | "login_required"
  | "grant_ended"
  | "csrf_failed"
  | "not_allowed"
  | "throttled"
  | "no_such_upstream"
  | "no_such_session"
  | "method_not_allowed"
  | "bad_path"
  | "bad_body"
  | "length_required"
  | "body_too_large"
  | "upstream_unreachable"
  | "upstream_timeout"
  | "provider_unavailable"
  | "error"
  | (string & {});

export interface SignedOutSession {
  authenticated: false;
  login_url: string;
  /** Why the last sign-in of this browser ended; null if there was none. */
  ended: EndReason | null;
}

export interface SignedInSession {
  authenticated: true;
  /** The claims that the site's `CLAIMS` setting lets through. */
  user: { sub: string; name?: string; email?: string; picture?: string; [claim: string]: unknown };
  grant: {
    handle: string;
    scopes: string[];
    created_at: string;
    /** Seconds until the sign-in ends if nobody uses it. */
    idle_expires_in: number;
    /** Seconds until it ends whatever happens. */
    expires_in: number;
  };
  upstreams: string[];
  login_url: string;
  logout_url: string;
}

export type Session = SignedInSession | SignedOutSession;

/** A call that did not succeed. */
export class BffError extends Error {
  readonly status: number;
  /** Null when not the BFF refused but the API behind it: only `json` and `events` throw that. */
  readonly code: Code | null;
  readonly reason: EndReason | null;
  /** Seconds after which to try again, where the answer says so. */
  readonly retryAfter: number | null;
}

/** Only signing in again helps: `login_required` or `grant_ended`. An API's own 401 is not this. */
export class SignedOut extends BffError {
  readonly status: 401;
  readonly code: "login_required" | "grant_ended";
}

export interface BffOptions {
  /** Where the site has mounted `oauthbff.urls`. Default: `/bff/`. */
  mount?: string;
  /** The site's `HEADER` setting. Default: `X-BFF`. */
  header?: string;
  /** Seconds before the end at which `onExpiring` is called. Default: 120. */
  warnBefore?: number;
  /** What carries the calls. Default: `fetch`. */
  send?: typeof fetch;
}

type Unsubscribe = () => void;

/** One per page. All tabs of the browser that use the same mount are kept in step. */
export class Bff {
  constructor(options?: BffOptions);

  /** Ask who is signed in. With `slide: false` the question does not count as activity. */
  session(options?: { slide?: boolean }): Promise<Session>;

  /**
   * Leave for the sign-in page; a navigation, so nothing after it runs. `returnTo` is a path of
   * this site, by default the present one.
   */
  login(options?: {
    returnTo?: string;
    prompt?: string;
    login_hint?: string;
    ui_locales?: string;
    max_age?: string;
  }): void;

  /**
   * Sign out here and in every other tab, then leave for the provider, which ends its own session
   * and sends the browser back. With `leave: false` stay, and get the address to go to, or null.
   */
  logout(options?: { leave?: boolean }): Promise<string | null>;

  /** The address of something below the mount, for `<img src>`. */
  url(path: string): string;

  /**
   * `fetch`, with what the BFF asks for. `path` is below the mount (`api/photos/42`), or from the
   * root of this site (`/orders/`) for its own views; another site's is a `TypeError`.
   *
   * Resolves with any answer of the API's, 404 and 500 included, as a stream. Throws `BffError`
   * when the BFF itself refused, `SignedOut` when that means signing in again, `TypeError` when
   * nobody answered, `AbortError` when `init.signal` did.
   */
  fetch(path: string, init?: RequestInit): Promise<Response>;

  /** `fetch` for those who want the JSON of a success, null for 204, and a `BffError` otherwise. */
  json<T = any>(path: string, init?: RequestInit): Promise<T>;

  /** Listen to server-sent events. */
  events(path: string, options?: EventsOptions): BffEventSource;

  /** The sign-in is over, here or in another tab. Called once for each; null: nobody knows why. */
  onEnded(listener: (reason: EndReason | null) => void): Unsubscribe;

  /**
   * The sign-in will end in so many seconds, unless someone calls `session()`, which counts as
   * activity. May be called again with fewer.
   */
  onExpiring(listener: (seconds: number) => void): Unsubscribe;

  /** Somebody is signed in: at first, and when that changes, be it in another tab. */
  onSignedIn(listener: (session: SignedInSession) => void): Unsubscribe;

  /** Stop timers and the link to other tabs. For tests, and pages that swap the client. */
  close(): void;
}

export interface EventsOptions {
  signal?: AbortSignal;
  lastEventId?: string;
  /** Milliseconds before a lost stream is asked for again; doubled each time up to 30,000. */
  retry?: number;
}

/**
 * `EventSource`, which cannot send a header, over `fetch`. WHATWG HTML §9.2.
 *
 * Asks again with `Last-Event-ID` when the stream ends or breaks, on 429 and on 5xx, not before
 * `Retry-After`; every other refusal closes it for good, so that an ended sign-in does not knock
 * for ever. Each time there is an "error" event first: see `readyState` for which of the two it is.
 */
export class BffEventSource extends EventTarget {
  readonly url: string;
  /** 0 connecting, 1 open, 2 closed. */
  readonly readyState: 0 | 1 | 2;
  onopen: ((event: Event) => void) | null;
  onmessage: ((event: MessageEvent<string>) => void) | null;
  onerror: ((event: Event & { error?: unknown }) => void) | null;
  addEventListener(
    type: "error",
    listener: (event: Event & { error?: unknown }) => void,
    options?: AddEventListenerOptions | boolean,
  ): void;
  addEventListener(
    type: "open",
    listener: (event: Event) => void,
    options?: AddEventListenerOptions | boolean,
  ): void;
  addEventListener(
    type: string,
    listener: (event: MessageEvent<string>) => void,
    options?: AddEventListenerOptions | boolean,
  ): void;
  close(): void;
}
