/** A page's surroundings, and a server that answers as told. Nothing in between is pretended. */

import { createServer } from "node:http";
import { Bff } from "../../oauthbff/static/oauthbff/bff.js";

/** What a page has and node has not. `went` is where the page was sent. */
export const went = [];
globalThis.location = Object.assign(new URL("http://localhost/photos?page=2#top"), {
  assign: (url) => went.push(url),
  reload: () => went.push("reload"),
});
globalThis.document = Object.assign(new EventTarget(), { hidden: false });

/** `answer(request, response)` does what it likes. Closed, with its clients, when the test ends. */
export async function serve(t, answer) {
  const requests = [];
  const server = createServer((request, response) => {
    requests.push(request);
    answer(request, response);
  });
  await new Promise((go) => server.listen(0, "127.0.0.1", go));
  const clients = [];
  t.after(() => {
    clients.forEach((bff) => bff.close());
    server.closeAllConnections();
    server.close();
  });
  const origin = `http://127.0.0.1:${server.address().port}`;
  // A mount of its own, so that tests which run together are no tabs of one another.
  const mount = `/bff-${server.address().port}/`;
  return {
    requests,
    mount,
    client(options) {
      const send = (path, init) => fetch(origin + path, init);
      clients.push(new Bff({ mount, send, ...options }));
      return clients.at(-1);
    },
  };
}

export function json(response, body, { status = 200, headers = {} } = {}) {
  response.writeHead(status, { "Content-Type": "application/json", ...headers });
  response.end(JSON.stringify(body));
}

/** One of our own refusals. */
export function refuse(response, status, code, { reason, ...headers } = {}) {
  const type = "application/problem+json";
  const body = { type: "about:blank", title: `It is ${code}.`, status, code, ...(reason && { reason }) };
  response.writeHead(status, { "Content-Type": type, "X-BFF-Error": code, ...headers });
  response.end(JSON.stringify(body));
}

export const signedIn = (handle = "h1", { idle = 1800, whole = 28800 } = {}) => ({
  authenticated: true,
  user: { sub: "jane" },
  grant: { handle, scopes: ["openid"], created_at: "", idle_expires_in: idle, expires_in: whole },
  upstreams: ["photos"],
  login_url: "/bff/login/",
  logout_url: "/bff/logout/",
});

export const signedOut = (ended = null) => ({ authenticated: false, login_url: "/bff/login/", ended });

/** Everything that a client told its listeners, as `[what, value]`. */
export function heard(bff) {
  const all = [];
  bff.onSignedIn((session) => all.push(["signed in", session.grant.handle]));
  bff.onEnded((reason) => all.push(["ended", reason]));
  bff.onExpiring((seconds) => all.push(["expiring", seconds]));
  return all;
}

/** Resolve when `there()` is true; fail after `seconds`. */
export async function until(there, seconds = 20) {
  const end = Date.now() + seconds * 1000;
  while (!there()) {
    if (Date.now() > end) throw new Error(`not within ${seconds} s: ${there}`);
    await new Promise((go) => setTimeout(go, 5));
  }
}

export const pause = (ms) => new Promise((go) => setTimeout(go, ms));
