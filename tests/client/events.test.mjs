/** The parser at every cut, and a stream's whole life: lost, asked for again, ended for good. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { eventParser, SignedOut } from "../../oauthbff/static/oauthbff/bff.js";
import { heard, json, pause, refuse, serve, until } from "./support.mjs";

const together = { concurrency: true, timeout: 60_000 };

describe("the parser", () => {
  const text =
    ": a comment\nevent: progress\nid: 1\ndata: first\ndata:second\ndata\ndata:  two spaces\n\n" +
    "retry: 10\n\ndata: a: b\nnonsense: x\n\nevent: empty\n\ndata\n\n";
  const expected = [
    { "": "a comment", event: "progress", id: "1", data: "first\nsecond\n\n two spaces" },
    { retry: "10" },
    { data: "a: b", nonsense: "x" },
    { event: "empty" },
    { data: "" },
  ];

  function parsed(pieces) {
    const found = [];
    const parse = eventParser((event) => found.push(event));
    pieces.forEach(parse);
    return found;
  }

  for (const [name, end] of [["LF", "\n"], ["CRLF", "\r\n"], ["CR", "\r"]]) {
    test(`takes lines that end in ${name}, cut anywhere`, () => {
      // One more line, since a CR at the very end may be half of a CRLF.
      const whole = text.replaceAll("\n", end) + `:${end}`;
      assert.deepEqual(parsed([whole]), expected);
      assert.deepEqual(parsed([...whole]), expected);
      for (let cut = 0; cut <= whole.length; cut++)
        assert.deepEqual(parsed([whole.slice(0, cut), "", whole.slice(cut)]), expected);
    });
  }

  test("keeps an event to itself that the stream did not finish", () => {
    assert.deepEqual(parsed(["data: whole\n\ndata: half\n"]), [{ data: "whole" }]);
  });
});

const stream = (response, ...pieces) => {
  response.writeHead(200, { "Content-Type": "text/event-stream; charset=utf-8" });
  for (const piece of pieces) response.write(piece);
  return response;
};

/** Follow a stream; keep what it says. */
function follow(bff, options) {
  const source = bff.events("api/photos/feed", { retry: 20, ...options });
  const said = [];
  source.onopen = () => said.push("open");
  source.onmessage = ({ data, lastEventId }) => said.push([data, lastEventId]);
  source.addEventListener("progress", ({ data }) => said.push(["progress", data]));
  source.onerror = ({ error }) => said.push(["error", source.readyState, error?.code ?? null]);
  return { source, said };
}

describe("a stream", together, () => {
  test("delivers events as they come, with our header", async (t) => {
    let response;
    const { client, requests } = await serve(t, (_, answering) => {
      response = stream(answering, "id: 7\ndata: ☂");
    });
    const { source, said } = follow(client());
    await until(() => said.length === 1);
    response.write("\n\nevent: progress\ndata: 50\n\n");
    await until(() => said.length === 3);
    source.close();
    assert.deepEqual(said, ["open", ["☂", "7"], ["progress", "50"]]);
    assert.equal(requests[0].headers["x-bff"], "1");
    assert.equal(requests[0].headers.accept, "text/event-stream");
    assert.equal(requests[0].headers["last-event-id"], undefined);
  });

  test("that ends is asked for again from where it stopped", async (t) => {
    const { client, requests } = await serve(t, (_, response) => {
      if (requests.length === 1) stream(response, "id: ☂7\ndata: one\n\n").end();
      else if (requests.length === 2) stream(response, "id: no\0\ndata: two\n\n").socket.destroySoon();
      else stream(response, "data: three\n\n");
    });
    const { source, said } = follow(client());
    await until(() => said.some(([data]) => data === "three"));
    source.close();
    assert.deepEqual(said.filter(([data]) => data !== "error" && data !== "o"), [["one", "☂7"], ["two", "☂7"], ["three", "☂7"]]);
    const sent = requests.map((r) => r.headers["last-event-id"]).slice(1);
    for (const id of sent) assert.equal(Buffer.from(id, "latin1").toString(), "☂7");
  });

  test("waits longer each time it is lost at once, and as before when it spoke again", async (t) => {
    const times = [];
    const { client } = await serve(t, (request, response) => {
      times.push(performance.now());
      if (times.length === 5) stream(response, "data: x\n\n").end();
      else request.socket.destroy();
    });
    const { source } = follow(client(), { retry: 200 });
    await until(() => times.length === 6);
    source.close();
    const gaps = times.slice(1).map((time, i) => time - times[i]);
    // 200, 400, 800, 1600 at the most and half of it at the least; timers are never early.
    [100, 200, 400, 800, 100].forEach((least, i) => assert.ok(gaps[i] >= least - 2, `${gaps}`));
  });

  test("waits as the server says: retry, Retry-After", async (t) => {
    const times = [];
    const { client } = await serve(t, (_, response) => {
      times.push(performance.now());
      if (times.length === 1) stream(response, "retry: 600\n\n").end();
      else if (times.length === 2) refuse(response, 503, "provider_unavailable", { "Retry-After": "1" });
      else stream(response, "data: x\n\n");
    });
    const { source, said } = follow(client());
    await until(() => times.length === 3);
    source.close();
    assert.ok(times[1] - times[0] >= 298, "retry: 600, less up to a half");
    assert.ok(times[2] - times[1] >= 998, "Retry-After: 1");
    assert.deepEqual(said.slice(0, 3), ["open", ["error", 0, null], ["error", 0, "provider_unavailable"]]);
  });

  test("stops for good when the sign-in has ended, and says so once", async (t) => {
    const { client, requests } = await serve(t, (_, response) => {
      if (requests.length === 1) stream(response, "data: one\n\n").end();
      else refuse(response, 401, "grant_ended", { reason: "backchannel" });
    });
    const bff = client();
    const told = heard(bff);
    const { source, said } = follow(bff);
    let error;
    source.addEventListener("error", (event) => (error = event.error));
    await until(() => source.readyState === 2);
    await pause(200);
    assert.equal(requests.length, 2);
    assert.ok(error instanceof SignedOut);
    assert.deepEqual(said.at(-1), ["error", 2, "grant_ended"]);
    assert.deepEqual(told, [["ended", "backchannel"]]);
  });

  const forGood = {
    "a refusal of ours": (response) => refuse(response, 403, "csrf_failed"),
    "a 404 of the API": (response) => json(response, {}, { status: 404 }),
    "204, which means no more": (response) => response.writeHead(204).end(),
    "something that is no stream": (response) => json(response, {}),
  };
  for (const [what, answer] of Object.entries(forGood)) {
    test(`stops for good at ${what}`, async (t) => {
      const { client, requests } = await serve(t, (_, response) => answer(response));
      const { source, said } = follow(client());
      await until(() => source.readyState === 2);
      await pause(100);
      assert.equal(requests.length, 1);
      assert.deepEqual(said.map(([what, state]) => [what, state]), [["error", 2]]);
    });
  }

  for (const status of [429, 500, 502]) {
    test(`tries again after ${status}`, async (t) => {
      const { client, requests } = await serve(t, (_, response) => {
        if (requests.length === 1) response.writeHead(status).end();
        else stream(response, "data: x\n\n");
      });
      const { source } = follow(client());
      await until(() => source.readyState === 1);
      source.close();
    });
  }

  test("is let go by its signal, and never asked for again", async (t) => {
    let gone = false;
    const { client, requests } = await serve(t, (_, response) => {
      response.on("close", () => (gone = true));
      stream(response, "data: one\n\n");
    });
    const stop = new AbortController();
    const { source, said } = follow(client(), { signal: stop.signal });
    await until(() => said.length === 2);
    stop.abort();
    await until(() => gone);
    await pause(100);
    assert.equal(source.readyState, 2);
    assert.equal(requests.length, 1);
    assert.deepEqual(said, ["open", ["one", ""]]);
  });

  test("with a signal that was given already asks nothing", async (t) => {
    const { client, requests } = await serve(t, () => {});
    const { source } = follow(client(), { signal: AbortSignal.abort() });
    await pause(50);
    assert.equal(source.readyState, 2);
    assert.equal(requests.length, 0);
  });

  test("closed while it waits to ask again stays closed", async (t) => {
    const { client, requests } = await serve(t, (request) => request.socket.destroy());
    const { source, said } = follow(client(), { retry: 100 });
    await until(() => said.length === 1);
    source.close();
    await pause(300);
    assert.equal(requests.length, 1);
  });

  test("closed by a listener delivers nothing more of what has come", async (t) => {
    const { client } = await serve(t, (_, response) => stream(response, "data: one\n\ndata: two\n\n"));
    const { source, said } = follow(client());
    source.addEventListener("message", () => source.close());
    await until(() => source.readyState === 2);
    await pause(50);
    assert.deepEqual(said, ["open", ["one", ""]]);
  });
});
