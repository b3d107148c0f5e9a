"""Streams, silences and farewells: what takes time costs nobody else anything. ST rows."""

from __future__ import annotations

import concurrent.futures
import contextlib
import socket
import threading
import time
from typing import Any

import pytest

from tests.conftest import MakeSite
from tests.support.caller import (
    ASYNC,
    Caller,
    eventually,
    parse,
    proxy_site,
    signed_in,
    spare_port,
)
from tests.support.ports import LOOPBACK
from tests.support.site import THREADS
from tests.support.upstream import RecordingUpstream, Reply, answer, chunked, events, silence

AT_ONCE = 0.6  # seconds; an ordinary call takes some milliseconds, a buffered stream all its time


def timed(jane: Caller, target: str) -> tuple[int, float]:
    begin = time.monotonic()
    status = jane.ask("GET", target).status
    return status, time.monotonic() - begin


def test_st1_the_first_event_arrives_while_the_upstream_keeps_open(jane: Caller):
    jane.upstream.on("/photos/feed", events("one", "two", "three", pause=0.7))
    begin = time.monotonic()
    times, got = [], b""
    with jane.browser.stream("api/photos/feed", headers={"Last-Event-ID": "41"}) as stream:
        headers = {name.lower(): value for name, value in stream.headers}
        for piece in stream.chunks:
            got += piece
            times.append(time.monotonic() - begin)
    assert got == b"data: one\n\ndata: two\n\ndata: three\n\n"
    assert len(times) == 3
    assert times[0] < AT_ONCE
    assert times[2] > 1.3
    assert headers["content-type"] == "text/event-stream"
    assert headers["x-accel-buffering"] == "no"
    assert "no-store" in headers["cache-control"]
    assert "content-length" not in headers
    assert jane.upstream.requests[0].get("Last-Event-ID") == "41"


def test_st1_a_long_download_is_not_collected_first(jane: Caller):
    reply = Reply(pieces=lambda: (b"a" * 10_000, b"b" * 10_000), length=20_000, pause=0.8)
    jane.upstream.on("/photos/slow", reply)
    begin = time.monotonic()
    with jane.browser.stream("api/photos/slow") as stream:
        first = next(stream.chunks)
        assert time.monotonic() - begin < AT_ONCE
        assert len(first) + sum(map(len, stream.chunks)) == 20_000


def leave_early(jane: Caller, target: str) -> None:
    with jane.browser.stream(target) as stream:
        next(stream.chunks)


@pytest.mark.parametrize("alias", ["photos", "weather"])
def test_st1_the_upstream_is_let_go_within_two_seconds_of_the_browser(jane: Caller, alias: str):
    """With a grant and without; the next event would be due in half a minute."""
    up, before = jane.upstream, len(jane.site.log())
    up.on(f"/{alias}/quiet", events("hello", "never", pause=30))
    leave_early(jane, f"api/{alias}/quiet")
    assert eventually(lambda: up.requests[0].client_gone, seconds=3) < 2.5
    jane.still_works()
    assert "Traceback" not in jane.site.log()[before:]


def test_st1_a_stream_whose_browser_stays_is_left_alone(jane: Caller):
    """The positive twin: silent for longer than two looks at the browser's socket."""
    jane.upstream.on("/photos/quiet", events("hello", "again", pause=2.5))
    with jane.browser.stream("api/photos/quiet") as stream:
        assert b"".join(stream.chunks) == b"data: hello\n\ndata: again\n\n"


@pytest.mark.parametrize("door", ASYNC)
def test_st1_a_browser_that_leaves_before_the_answer_lets_the_upstream_go(jane: Caller):
    """Its call has a first-byte timeout; nobody waits for an answer that nobody reads."""
    up = jane.upstream
    up.on("/hasty/mute", silence())
    line = socket.create_connection((LOOPBACK, jane.site.port), timeout=5)
    with line:
        line.sendall(jane.head("GET", "/bff/api/hasty/mute"))
        up.wait_for(1)
    assert eventually(lambda: up.requests[0].client_gone, seconds=2) < 2


def test_st1_the_next_event_finds_out_as_well(make_site: MakeSite, upstream: RecordingUpstream):
    """A server that hands over no socket learns of it when it writes: send heartbeats."""
    jane = signed_in(proxy_site(make_site, upstream, "runserver"), upstream)
    upstream.on("/photos/beats", events(*map(str, range(200)), pause=0.1))
    leave_early(jane, "api/photos/beats")
    assert eventually(lambda: upstream.requests[0].client_gone, seconds=2) < 2


@pytest.mark.parametrize("door", ASYNC)
def test_st1_many_idle_streams_under_asgi_keep_nobody_waiting(jane: Caller):
    count = 60
    up = jane.upstream
    up.on("/photos/idle", events("hello", "never", pause=30))
    with contextlib.ExitStack() as streams:
        for _ in range(count):
            stream = streams.enter_context(jane.browser.stream("api/photos/idle"))
            assert next(stream.chunks) == b"data: hello\n\n"
        status, seconds = timed(jane, "photos/1")
        assert (status, seconds < AT_ONCE) == (200, True)
    eventually(lambda: all(one.client_gone for one in up.requests if "idle" in one.target))
    jane.still_works()


def test_st1_streams_are_the_callers_own(jane: Caller):
    """Two people's streams at once, interleaved."""
    bob = signed_in(jane.site, jane.upstream, "bob")
    jane.upstream.on("/photos/a", events(*["jane"] * 10, pause=0.05))
    jane.upstream.on("/photos/b", events(*["bob"] * 10, pause=0.05))
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        mine = [pool.submit(jane.ask, "GET", "photos/a") for _ in range(3)]
        his = [pool.submit(bob.ask, "GET", "photos/b") for _ in range(3)]
        assert {one.result().body for one in mine} == {b"data: jane\n\n" * 10}
        assert {one.result().body for one in his} == {b"data: bob\n\n" * 10}


# ----------------------------------------------------------------------------------- timeouts


@contextlib.contextmanager
def nobody_accepts() -> Any:
    """A listener whose queue is full: a connection attempt gets no answer at all."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, spare_port()))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex((LOOPBACK, spare_port()))
        time.sleep(0.1)
        yield


def test_st4_nobody_there_is_502_at_once(jane: Caller):
    status, seconds = timed(jane, "gone/1")
    assert (status, seconds < AT_ONCE) == (502, True)
    assert jane.ask("GET", "gone/1").code == "upstream_unreachable"


def test_st4_connecting_takes_too_long_is_504(jane: Caller):
    with nobody_accepts():
        begin = time.monotonic()
        said = jane.ask("GET", "gone/1")
    assert (said.status, said.code) == (504, "upstream_timeout")
    assert 0.4 < time.monotonic() - begin < 2
    jane.still_works()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_st4_no_first_byte_is_504_and_lets_the_upstream_go(jane: Caller, method: str):
    jane.upstream.on("/hasty/mute", silence())
    begin = time.monotonic()
    said = jane.ask(method, "hasty/mute", "Content-Length: 0")
    assert (said.status, said.code) == (504, "upstream_timeout")
    assert 0.5 < time.monotonic() - begin < 2
    assert jane.reached() == [f"{method} /hasty/mute"]  # once
    eventually(lambda: jane.upstream.requests[0].client_gone, seconds=2)
    jane.upstream.on("/hasty/late", answer(b"late", delay=0.3))
    assert jane.ask("GET", "hasty/late").body == b"late"


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_st4_an_answer_that_falls_silent_is_cut_off(jane: Caller, framing: str):
    pieces = (b"first", b"never")
    reply = (
        Reply(pieces=lambda: pieces, length=10, pause=30)
        if framing == "length"
        else chunked(*pieces, pause=30)
    )
    jane.upstream.on("/hasty/stalls", reply)
    begin = time.monotonic()
    said = jane.ask("GET", "hasty/stalls")
    assert time.monotonic() - begin < 3
    assert (said.status, said.body, said.whole) == (200, b"first", False)
    eventually(lambda: jane.upstream.requests[0].client_gone, seconds=2)
    jane.upstream.on("/hasty/pauses", chunked(b"first", b" second", pause=0.3))
    assert jane.ask("GET", "hasty/pauses").body == b"first second"


def test_st4_st5_a_silent_upstream_occupies_no_worker_for_longer_than_its_time(jane: Caller):
    jane.upstream.on("/hasty/mute", silence())
    with concurrent.futures.ThreadPoolExecutor(2 * THREADS) as pool:
        begin = time.monotonic()
        calls = [pool.submit(jane.ask, "GET", "hasty/mute") for _ in range(2 * THREADS)]
        assert {call.result().status for call in calls} == {504}
        assert time.monotonic() - begin < 5
    status, seconds = timed(jane, "photos/1")
    assert (status, seconds < AT_ONCE) == (200, True)
    eventually(lambda: all(one.client_gone for one in jane.upstream.requests[: 2 * THREADS]))


@pytest.mark.parametrize("door", ASYNC)
def test_st5_slow_calls_to_one_upstream_do_not_slow_another_under_asgi(jane: Caller):
    """Nor the same person's other calls: nothing is locked while an upstream thinks (ST-6)."""
    jane.upstream.on("/photos/slow", answer(b"slow", delay=1.5))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        slow = [pool.submit(jane.ask, "GET", "photos/slow") for _ in range(8)]
        jane.upstream.wait_for(1)
        status, seconds = timed(jane, "photos2/1")
        assert (status, seconds < AT_ONCE) == (200, True)
        assert {one.result().body for one in slow} == {b"slow"}


def test_st6_no_database_lock_is_held_while_an_upstream_thinks(jane: Caller):
    """SQLite has one writer: somebody else signs in and out meanwhile."""
    jane.upstream.on("/photos/slow", answer(b"slow", delay=1.5))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        slow = [pool.submit(jane.ask, "PUT", "photos/slow", "Content-Length: 0") for _ in range(4)]
        jane.upstream.wait_for(4)
        begin = time.monotonic()
        signed_in(jane.site, jane.upstream, "bob").browser.fetch("logout/", "POST")
        assert time.monotonic() - begin < 1.2
        assert {one.result().body for one in slow} == {b"slow"}


# ------------------------------------------------------------------------- ends and upgrades


def test_st2_a_stream_outlives_a_logout_only_until_it_ends_and_no_new_one_begins(jane: Caller):
    jane.upstream.on("/photos/feed", events(*map(str, range(5)), pause=0.1))
    with jane.browser.stream("api/photos/feed") as stream:
        next(stream.chunks)
        jane.browser.fetch("logout/", "POST")
        for _ in stream.chunks:
            pass
    assert jane.browser.fetch("api/photos/feed").status == 401
    assert len(jane.upstream.requests) == 1


@pytest.mark.parametrize("token", ["websocket", "h2c", "x"])
def test_st3_no_upgrade_is_granted_or_passed_on(jane: Caller, token: str):
    lines = [
        "Connection: Upgrade",
        f"Upgrade: {token}",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    ]
    line = socket.create_connection((LOOPBACK, jane.site.port), timeout=5)
    with line:
        line.sendall(jane.head("GET", "/bff/api/photos/1", *lines))
        got = line.recv(65536)
    said = parse(got)
    assert said.status not in (0, 101)
    for call in jane.upstream.requests:
        assert call.get("Upgrade") is None
        assert call.get("HTTP2-Settings") is None
        assert not [name for name, _ in call.headers if name.lower().startswith("sec-websocket")]


def test_a_crowd_that_leaves_in_the_middle_of_downloads_leaves_nothing_behind(jane: Caller):
    """No thread, no upstream connection, no wrong bytes for those who come next."""
    jane.upstream.on("/photos/big", chunked(*[b"x" * 50_000] * 400, pause=0.02))
    gone = threading.Barrier(6)

    def peek(_: int) -> None:
        with jane.browser.stream("api/photos/big") as stream:
            next(stream.chunks)
            gone.wait(5)

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        list(pool.map(peek, range(6)))
    eventually(lambda: all(one.client_gone for one in jane.upstream.requests), seconds=3)
    for _ in range(6):
        jane.still_works()
