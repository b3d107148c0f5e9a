/** fetch, json, session, login, logout, and what listeners are told. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { BffError, SignedOut } from "../../oauthbff/static/oauthbff/bff.js";
import { heard, json, pause, refuse, serve, signedIn, signedOut, until, went } from "./support.mjs";

const together = { concurrency: true, timeout: 60_000 };

describe("fetch", together, () => {
  test("adds the header, keeps the caller's, and stores nothing", async (t) => {
    const { client, requests, mount } = await serve(t, (_, response) => json(response, {}));
    const headers = { "Content-Type": "text/plain", "x-bff": "no" };
    await client().fetch("api/photos/a%2Fb?c=%20", { method: "POST", body: "text", headers });

    const [request] = requests;
    assert.equal(request.method, "POST");
    assert.equal(request.url, `${mount}api/photos/a%2Fb?c=%20`);
    assert.equal(request.headers["x-bff"], "1");
    assert.equal(request.headers["content-type"], "text/plain");
    assert.match(request.headers["cache-control"], /no-cache/);
  });

  test("sends the header that the site has chosen", async (t) => {
    const { client, requests } = await serve(t, (_, response) => json(response, {}));
    await client({ header: "X-Ours" }).fetch("session/");
    assert.equal(requests[0].headers["x-ours"], "1");
    assert.equal(requests[0].headers["x-bff"], undefined);
  });

  test("takes a path from the root for the site's own views", async (t) => {
    const { client, requests } = await serve(t, (_, response) => json(response, {}));
    await client().fetch("/orders/?new=1");
    assert.equal(requests[0].url, "/orders/?new=1");
  });

  for (const path of ["https://evil.example/x", "//evil.example/x", "javascript:1", "\\\\evil.example"]) {
    test(`refuses to leave for ${path}`, async (t) => {
      const { client, requests } = await serve(t, (_, response) => json(response, {}));
      await assert.rejects(client().fetch(path), TypeError);
      assert.equal(requests.length, 0);
    });
  }

  test("resolves with whatever the API says, its own 401 included", async (t) => {
    const { client } = await serve(t, (_, response) => json(response, {}, { status: 401 }));
    const bff = client();
    const told = heard(bff);
    const response = await bff.fetch("api/photos/1");
    assert.equal(response.status, 401);
    await pause(20);
    assert.deepEqual(told, []);
  });

  test("throws SignedOut for our 401, and tells listeners once", async (t) => {
    const { client } = await serve(t, (_, response) => refuse(response, 401, "grant_ended", { reason: "admin" }));
    const bff = client();
    const told = heard(bff);
    for (let i = 0; i < 3; i++) {
      const error = await bff.fetch("api/photos/1").catch((error) => error);
      assert.ok(error instanceof SignedOut && error instanceof BffError);
      assert.deepEqual([error.name, error.status, error.code, error.reason], ["SignedOut", 401, "grant_ended", "admin"]);
    }
    assert.deepEqual(told, [["ended", "admin"]]);
  });

  test("throws BffError for our other refusals, with the seconds to wait", async (t) => {
    const answer = (_, response) => refuse(response, 503, "provider_unavailable", { "Retry-After": "7" });
    const { client } = await serve(t, answer);
    const bff = client();
    const told = heard(bff);
    const error = await bff.fetch("api/photos/1").catch((error) => error);
    assert.ok(error instanceof BffError && !(error instanceof SignedOut));
    assert.deepEqual([error.code, error.retryAfter, error.message], ["provider_unavailable", 7, "It is provider_unavailable."]);
    assert.deepEqual(told, []);
  });

  test("streams, and lets go when its signal says so", async (t) => {
    let gone = false;
    const { client } = await serve(t, (_, response) => {
      response.on("close", () => (gone = true));
      response.writeHead(200);
      response.write("first");
    });
    const stop = new AbortController();
    const response = await client().fetch("api/photos/feed", { signal: stop.signal });
    const reader = response.body.getReader();
    assert.equal(new TextDecoder().decode((await reader.read()).value), "first");
    assert.equal(gone, false);
    stop.abort();
    await assert.rejects(reader.read(), { name: "AbortError" });
    await until(() => gone);
  });

  test("is the page's own TypeError when nobody answers", async (t) => {
    const { client } = await serve(t, (request) => request.socket.destroy());
    const bff = client();
    const told = heard(bff);
    await assert.rejects(bff.fetch("session/"), TypeError);
    assert.deepEqual(told, []);
  });
});

describe("json", together, () => {
  test("is what a success says, and null for 204", async (t) => {
    const { client } = await serve(t, ({ method }, response) => {
      if (method === "DELETE") response.writeHead(204).end();
      else json(response, { title: "Sea" });
    });
    const bff = client();
    assert.deepEqual(await bff.json("api/photos/1"), { title: "Sea" });
    assert.equal(await bff.json("api/photos/1", { method: "DELETE" }), null);
  });

  test("throws for what the API refuses, with no code of ours", async (t) => {
    const { client } = await serve(t, (_, response) => json(response, { detail: "Too blue." }, { status: 422 }));
    const error = await client().json("api/photos/1").catch((error) => error);
    assert.ok(error instanceof BffError);
    assert.deepEqual([error.status, error.code, error.message], [422, null, "Too blue."]);
  });

  test("survives an error page that is no JSON", async (t) => {
    const { client } = await serve(t, (_, response) => response.writeHead(500).end("<h1>Oh"));
    await assert.rejects(client().json("api/photos/1"), { status: 500, message: "HTTP 500" });
  });
});

describe("session", together, () => {
  test("counts as activity unless told otherwise", async (t) => {
    const { client, requests, mount } = await serve(t, (_, response) => json(response, signedIn()));
    const bff = client();
    await bff.session();
    await bff.session({ slide: false });
    assert.deepEqual(requests.map(({ url }) => url), [`${mount}session/`, `${mount}session/?slide=false`]);
  });

  test("tells who is signed in at first and when it changes, not each time", async (t) => {
    const answers = [signedIn("h1"), signedIn("h1"), signedIn("h2"), signedOut("idle"), signedOut("idle")];
    const { client } = await serve(t, (_, response) => json(response, answers.shift()));
    const bff = client();
    const told = heard(bff);
    while (answers.length) await bff.session();
    assert.deepEqual(told, [["signed in", "h1"], ["signed in", "h2"], ["ended", "idle"]]);
  });

  test("of somebody who never signed in is no ending", async (t) => {
    const { client } = await serve(t, (_, response) => json(response, signedOut()));
    const bff = client();
    const told = heard(bff);
    assert.equal((await bff.session()).authenticated, false);
    await pause(20);
    assert.deepEqual(told, []);
  });

  test("that answers after a sign-out does not undo it", async (t) => {
    let late;
    const { client, requests } = await serve(t, ({ url }, response) => {
      if (url.endsWith("logout/")) json(response, { logout_url: null });
      else if (requests.length === 1) json(response, signedIn());
      else late = response;
    });
    const bff = client();
    const told = heard(bff);
    await bff.session();
    const second = bff.session();
    await until(() => late);
    await bff.logout({ leave: false });
    json(late, signedIn());
    await second;
    await pause(20);
    assert.deepEqual(told, [["signed in", "h1"], ["ended", "logout"]]);
  });

  test("near its end tells so", async (t) => {
    const { client } = await serve(t, (_, response) => json(response, signedIn("h1", { idle: 90 })));
    const bff = client();
    const told = heard(bff);
    await bff.session();
    assert.deepEqual(told.at(-1), ["expiring", 90]);
  });

  test("is asked again in time, without counting as activity, and then tells so", async (t) => {
    const answers = [signedIn("h1", { idle: 61 }), signedIn("h1", { whole: 58 }), signedOut("absolute")];
    const { client, requests } = await serve(t, (_, response) => json(response, answers.shift() ?? signedOut()));
    const bff = client({ warnBefore: 60 });
    const told = heard(bff);
    await bff.session();
    assert.deepEqual(told, [["signed in", "h1"]]);
    await until(() => told.length > 1);
    assert.deepEqual(told.at(-1), ["expiring", 58]);
    assert.match(requests[1].url, /slide=false/);
  });
});

describe("tabs", together, () => {
  /** A server with one session, as all tabs of a browser share one. */
  async function browser(t) {
    const state = { session: signedIn("h1") };
    const server = await serve(t, ({ url }, response) => {
      if (url.endsWith("logout/")) {
        state.session = signedOut();
        json(response, { logout_url: null });
      } else json(response, state.session);
    });
    return { ...server, state };
  }

  test("sign out together", async (t) => {
    const { client } = await browser(t);
    const tabs = [client(), client(), client()];
    const told = tabs.map(heard);
    for (const tab of tabs) await tab.session();
    await tabs[0].logout({ leave: false });
    await until(() => told.every((one) => one.at(-1)[0] === "ended"));
    await pause(100);
    for (const one of told) assert.deepEqual(one, [["signed in", "h1"], ["ended", "logout"]]);
  });

  test("are healed by a sign-in in one of them", async (t) => {
    const { client, state } = await browser(t);
    state.session = signedOut("idle");
    const [first, second] = [client(), client()];
    const told = [first, second].map(heard);
    await first.session();
    await second.session();
    state.session = signedIn("h2");
    await first.session();
    await until(() => told[1].length === 1);
    assert.deepEqual(told[1], [["signed in", "h2"]]);
  });

  test("notice that somebody else has signed in", async (t) => {
    const { client, state } = await browser(t);
    const [first, second] = [client(), client()];
    const told = heard(second);
    await first.session();
    await second.session();
    state.session = signedIn("h2");
    await first.session();
    await until(() => told.length === 2);
    assert.deepEqual(told[1], ["signed in", "h2"]);
  });

  test("believe the server, not a message", async (t) => {
    const { client, mount, requests } = await browser(t);
    const bff = client();
    const told = heard(bff);
    await bff.session();
    const liar = new BroadcastChannel(`oauthbff ${mount}`);
    liar.postMessage({ handle: null, reason: "logout" });
    await until(() => requests.length === 2);
    await pause(50);
    liar.close();
    assert.deepEqual(told, [["signed in", "h1"]]);
  });

  test("that are in step already ask nothing", async (t) => {
    const { client, requests } = await browser(t);
    await client().session();
    await pause(50);
    await client().session();
    await pause(100);
    assert.equal(requests.length, 2);
  });
});

describe("login and logout", () => {
  const last = () => went.splice(0).at(-1);

  test("login leaves for the sign-in, to come back where we are", async (t) => {
    const { client, mount } = await serve(t, () => {});
    client().login();
    assert.equal(last(), `${mount}login/?return_to=%2Fphotos%3Fpage%3D2%23top`);
    client().login({ returnTo: "/a&b=c", login_hint: "jane@example.com" });
    assert.equal(last(), `${mount}login/?return_to=%2Fa%26b%3Dc&login_hint=jane%40example.com`);
  });

  test("login goes where the session says", async (t) => {
    const answer = (_, response) => json(response, { ...signedOut(), login_url: "/there/login/" });
    const { client } = await serve(t, answer);
    const bff = client();
    await bff.session();
    bff.login({ returnTo: "/" });
    assert.equal(last(), "/there/login/?return_to=%2F");
  });

  for (const url of ["https://id.example.com/end", null]) {
    test(`logout goes on to ${url ?? "the page itself"}`, async (t) => {
      const { client, requests } = await serve(t, (_, response) => json(response, { logout_url: url }));
      const bff = client();
      const told = heard(bff);
      assert.equal(await bff.logout(), url);
      assert.equal(requests[0].method, "POST");
      assert.equal(last(), url ?? "reload");
      await pause(5);
      assert.deepEqual(told, [["ended", "logout"]]);
    });
  }

  test("a logout that nobody heard is no ending", async (t) => {
    const { client } = await serve(t, (request) => request.socket.destroy());
    const bff = client();
    const told = heard(bff);
    await assert.rejects(bff.logout(), TypeError);
    assert.equal(last(), undefined);
    assert.deepEqual(told, []);
  });
});

// By itself: all clients of the page hear it.
test("the session is asked again when the tab comes back to the front", async (t) => {
  const answers = [signedIn(), signedOut("idle")];
  const { client } = await serve(t, (_, response) => json(response, answers.shift() ?? signedOut()));
  const bff = client();
  const told = heard(bff);
  await bff.session();
  document.dispatchEvent(new Event("visibilitychange"));
  await until(() => told.length > 1);
  assert.deepEqual(told.at(-1), ["ended", "idle"]);
});
