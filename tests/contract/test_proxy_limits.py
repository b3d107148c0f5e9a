"""Who takes too long or too much, on either side, is given up. RB-2, RB-5, RS-8, ST-4."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

from tests.support.caller import SMALL_BODY, Caller, Raw, eventually, parse
from tests.support.ports import LOOPBACK
from tests.support.site import THREADS
from tests.support.upstream import Reply, answer, chunked, events, huge, raw

LARGER = b"x" * (SMALL_BODY + 1)


# ------------------------------------------------------------------------------- the browser's side


def stalled(jane: Caller, head: bytes, sent: bytes) -> tuple[Raw, float]:
    """Send these bytes and then nothing, for as long as the server lets us."""
    begin = time.monotonic()
    with socket.create_connection((LOOPBACK, jane.site.port), timeout=10) as line:
        line.sendall(head + sent)
        got = b""
        while more := line.recv(65536):
            got += more
    return parse(got), time.monotonic() - begin


@pytest.mark.parametrize("door", ["gunicorn"])
@pytest.mark.parametrize("framing", ["length", "small", "chunked"])
def test_rb5_a_body_that_stalls_gives_its_worker_back(jane: Caller, framing: str):
    """Under ASGI the server waits, and no thread of ours with it."""
    lines, sent = {
        "length": (["Content-Length: 600000"], b"x" * 300_000),
        "small": (["Content-Length: 600"], b"x" * 300),
        "chunked": (["Transfer-Encoding: chunked"], b"5\r\nhello\r\n"),
    }[framing]
    before = len(jane.site.log())
    said, seconds = stalled(jane, jane.head("POST", "/bff/api/hasty/1", *lines), sent)
    assert (said.status, said.code) == (400, "bad_body")
    assert 0.5 < seconds < 3
    assert not [call for call in jane.upstream.requests if call.complete]
    assert "Traceback" not in jane.site.log()[before:]
    jane.still_works()


def test_rb5_stalled_uploads_leave_room_for_others(jane: Caller):
    """As many as there are threads, and one more."""
    head = jane.head("POST", "/bff/api/hasty/1", "Content-Length: 600000")
    lines = [socket.create_connection((LOOPBACK, jane.site.port)) for _ in range(THREADS + 1)]
    try:
        for line in lines:
            line.sendall(head + b"x" * 1000)
        time.sleep(0.2)
        begin = time.monotonic()
        jane.still_works()
        assert time.monotonic() - begin < 3
    finally:
        for line in lines:
            line.close()


@pytest.mark.parametrize("door", ["gunicorn"])
def test_st4_a_browser_that_does_not_take_its_answer_gives_its_worker_back(jane: Caller):
    jane.upstream.on("/hasty/big", huge(50_000_000))
    with socket.create_connection((LOOPBACK, jane.site.port), timeout=5) as line:
        line.sendall(jane.head("GET", "/bff/api/hasty/big"))
        line.recv(1000)
        assert eventually(lambda: jane.upstream.requests[0].client_gone, seconds=4) < 4
    jane.still_works()


# ------------------------------------------------------------------------------ the upstream's side


def test_rs8_an_answer_over_the_limit_is_refused_or_cut_off(jane: Caller):
    up = jane.upstream
    up.on("/brief/fits", answer(LARGER[1:]))
    said = jane.ask("GET", "brief/fits")
    assert (said.status, said.body, said.whole) == (200, LARGER[1:], True)
    up.on("/brief/announced", answer(LARGER))
    said = jane.ask("GET", "brief/announced")
    assert (said.status, said.code) == (502, "upstream_unreachable")
    assert jane.ask("HEAD", "brief/announced").get("Content-Length") == str(len(LARGER))
    up.on("/brief/grows", chunked(*[b"x" * 30_000] * 4))
    said = jane.ask("GET", "brief/grows")
    if said.code != "upstream_unreachable":  # all of it may have come before a byte was passed on
        assert (said.status, said.whole) == (200, False)
        assert len(said.body) <= SMALL_BODY
    up.on("/brief/endless", Reply(pieces=lambda: iter(lambda: b"x" * 50_000, b""), chunked=True))
    said = jane.ask("GET", "brief/endless")
    assert said.code == "upstream_unreachable" or not said.whole
    eventually(lambda: up.requests[-1].client_gone)
    up.on("/photos/any", answer(LARGER))
    assert jane.ask("GET", "photos/any").body == LARGER
    jane.still_works()


def test_st4_a_call_has_an_end_however_busy_its_upstream_looks(jane: Caller):
    """A byte now and then is no silence: the time as a whole is what ends it."""
    drip: Any = Reply(pieces=lambda: [b"x"] * 40, length=40, pause=0.1)
    jane.upstream.on("/brief/drips", drip)
    begin = time.monotonic()
    said = jane.ask("GET", "brief/drips")
    assert (said.status, said.whole) == (200, False)
    assert 1 < time.monotonic() - begin < 2.5
    eventually(lambda: jane.upstream.requests[0].client_gone)
    jane.upstream.on("/brief/late", answer(b"late", delay=0.8))
    assert jane.ask("GET", "brief/late").body == b"late"
    jane.upstream.on("/brief/later", answer(b"later", delay=5))
    said = jane.ask("GET", "brief/later")
    assert (said.status, said.code) == (504, "upstream_timeout")
    jane.still_works()


def test_st4_an_event_stream_has_no_such_end(jane: Caller):
    jane.upstream.on("/brief/feed", events(*["x"] * 20, pause=0.1))
    assert jane.ask("GET", "brief/feed").body == b"data: x\n\n" * 20


def test_rs7_an_answer_that_ends_before_its_body_begins_is_a_502(jane: Caller):
    """The API hangs up in good order, as one does that is being stopped."""
    jane.upstream.on("/photos/1", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"))
    said = jane.ask("GET", "photos/1")
    assert (said.status, said.code) == (502, "upstream_unreachable")
    jane.still_works()
