"""An upstream that is slow or gone takes nobody else's workers. ST-5."""

from __future__ import annotations

import concurrent.futures
import socket
import time

from tests.support.caller import Caller, Raw, eventually
from tests.support.ports import LOOPBACK
from tests.support.site import THREADS
from tests.support.upstream import answer, events, hang_up, silence

AT_ONCE = 1.0  # seconds; the upstream that is asked answers nothing for ten


def together(jane: Caller, count: int, target: str) -> list[concurrent.futures.Future[Raw]]:
    pool = concurrent.futures.ThreadPoolExecutor(count)
    calls = [pool.submit(jane.ask, "GET", target) for _ in range(count)]
    pool.shutdown(wait=False)
    return calls


def refused(said: Raw) -> bool:
    return (said.status, said.code, said.get("Retry-After")) == (502, "upstream_unreachable", "1")


def test_st5_a_silent_upstream_fills_its_own_places_and_no_other(jane: Caller):
    before = len(jane.site.log())
    jane.upstream.on("/small/mute", answer(b"late", delay=2))
    calls = together(jane, 2 * THREADS, "small/mute")
    eventually(lambda: sum(call.done() for call in calls) == 2 * THREADS - 3, seconds=1.5)
    begin = time.monotonic()
    jane.still_works()
    assert time.monotonic() - begin < AT_ONCE
    assert sum(call.done() for call in calls) == 2 * THREADS - 3
    answers = [call.result() for call in calls]
    assert len([said for said in answers if said.body == b"late"]) == 3
    assert len([said for said in answers if refused(said)]) == 2 * THREADS - 3
    assert len([line for line in jane.reached() if "mute" in line]) == 3
    assert "upstream_full upstream=small kind=calls" in jane.site.log()[before:]


def test_st5_a_place_is_free_again_whatever_happened(jane: Caller):
    jane.upstream.on("/small/hangs-up", hang_up())
    jane.upstream.on("/small/5xx", answer(b"no", status=503))
    jane.upstream.on("/small/redirect", answer(status=302, headers=[("Location", "//x.test/")]))
    for _ in range(4):
        for path in ("hangs-up", "5xx", "redirect", "..", "fine"):
            jane.ask("GET", f"small/{path}")
        with socket.create_connection((LOOPBACK, jane.site.port)) as line:  # leaves too early
            line.sendall(jane.head("POST", "/bff/api/small/1", "Content-Length: 99") + b"x")
    eventually(lambda: jane.ask("GET", "small/fine").status == 200)


def test_st5_event_streams_have_places_of_their_own(jane: Caller):
    jane.upstream.on("/small/feed", events("one", "two", pause=6))
    with jane.browser.stream("api/small/feed") as stream:
        next(stream.chunks)
        said = jane.ask("GET", "small/feed")
        assert refused(said)
        for _ in range(5):
            assert jane.ask("GET", "small/fine").status == 200
    eventually(lambda: jane.upstream.requests[0].client_gone)
    jane.upstream.on("/small/feed", events("one"))
    assert jane.ask("GET", "small/feed").status == 200


def test_st5_the_breaker_opens_tries_once_and_closes(jane: Caller):
    before = len(jane.site.log())
    jane.upstream.on("/fragile/*", silence())
    for _ in range(2):
        assert jane.ask("GET", "fragile/1").code == "upstream_timeout"
    assert len(jane.upstream.requests) == 2
    begin = time.monotonic()
    said = jane.ask("GET", "fragile/1")
    assert (said.status, said.code, said.get("Retry-After")) == (502, "upstream_unreachable", "2")
    assert time.monotonic() - begin < AT_ONCE
    assert len(jane.upstream.requests) == 2
    jane.still_works()
    time.sleep(1.6)
    jane.upstream.clear()
    jane.upstream.on("/fragile/*", answer(b"back", delay=0.3))
    answers = [call.result() for call in together(jane, 4, "fragile/1")]
    assert [said.body for said in answers if said.status == 200] == [b"back"]
    assert len(jane.upstream.requests) == 1
    assert jane.ask("GET", "fragile/1").status == 200
    log = jane.site.log()[before:]
    states = [line for line in log.splitlines() if "circuit_" in line]
    for word, line in zip(("opened", "tried", "closed"), states, strict=True):
        assert f"circuit_{word} upstream=fragile" in line


def test_st5_what_an_upstream_answers_opens_nothing(jane: Caller):
    jane.upstream.on("/fragile/*", answer(b"theirs", status=503))
    assert {jane.ask("GET", "fragile/1").status for _ in range(6)} == {503}
    jane.upstream.on("/fragile/*", hang_up())
    assert {jane.ask("GET", "fragile/1").code for _ in range(6)} == {"upstream_unreachable"}
    jane.upstream.on("/fragile/*", answer(b"fine"))
    assert jane.ask("GET", "fragile/1").status == 200
