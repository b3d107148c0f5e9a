"""Bodies, in both directions: whole and unchanged, or visibly broken. RB, RH-10, RS-6, RS-7."""

from __future__ import annotations

import concurrent.futures
import gzip
import hashlib
import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterable
from typing import Any

import pytest

from tests.conftest import MakeSite
from tests.support.caller import (
    SMALL_BODY,
    STREAMING,
    Caller,
    eventually,
    parse,
    proxy_site,
    send,
    signed_in,
)
from tests.support.ports import LOOPBACK
from tests.support.upstream import (
    RecordingUpstream,
    Reply,
    answer,
    chunked,
    cut_off,
    cut_off_chunked,
    gzipped,
    hang_up,
    huge,
    huge_sha256,
    raw,
    silence,
)

MEGABYTE = 1_000_000
BOUNDARY = "x-boundary"
MULTIPART = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="csrfmiddlewaretoken"\r\n\r\nx\r\n'
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="f"; filename="a.bin"\r\n'
    "Content-Type: application/octet-stream\r\n\r\n"
).encode()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# ------------------------------------------------------------------------------------- upload

BODIES = {
    "RB-6-empty": ("application/json", b""),
    "RB-3-json": ("application/json", b'{"a": "\\u00e9 \xc3\xa9"}'),
    "RB-3-malformed-json": ("application/json", b'{"a": '),
    "RB-3-form": ("application/x-www-form-urlencoded", b"a=b&csrfmiddlewaretoken=x&a=%zz+"),
    "RB-3-multipart": (
        f"multipart/form-data; boundary={BOUNDARY}",
        MULTIPART + os.urandom(90_000) + f"\r\n--{BOUNDARY}--\r\n".encode(),
    ),
    "RB-3-broken-multipart": ("multipart/form-data", b"--\r\n\x00\xff"),
    "RB-3-unknown-type": ("x/y; charset=nonsense", bytes(range(256))),
    "RB-3-3MB-form": ("application/x-www-form-urlencoded", b"a=" + b"b" * 3 * MEGABYTE),
    "RB-3-3MB-binary": ("application/octet-stream", os.urandom(3 * MEGABYTE)),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_arrives_byte_identical(jane: Caller, name: str):
    kind, body = BODIES[name]
    for method in ("POST", "PUT", "PATCH"):
        said = jane.browser.fetch("api/photos/1", method, headers={"Content-Type": kind}, body=body)
        assert (said.status, said.json()["sha256"]) == (200, digest(body))
        call = jane.upstream.requests[-1]
        assert (call.method, call.length, call.sha256) == (method, len(body), digest(body))
        assert call.get("Content-Type") == kind
        assert call.all("Content-Length") == [str(len(body))]
        assert call.get("Transfer-Encoding") is None


def test_rb1_30_megabytes_up_and_down(jane: Caller):
    size = 30 * MEGABYTE
    body = os.urandom(MEGABYTE) * 30
    assert jane.browser.fetch("api/photos/up", "PUT", body=body).status == 200
    call = jane.upstream.requests[-1]
    assert (call.length, call.sha256) == (size, digest(body))
    jane.upstream.on("/photos/down", huge(size))
    got, seen = hashlib.sha256(), 0
    with jane.browser.stream("api/photos/down") as answered:
        assert dict(answered.headers).get("Content-Length", str(size)) == str(size)
        for piece in answered.chunks:
            got.update(piece)
            seen += len(piece)
    assert (seen, got.hexdigest()) == (size, huge_sha256(size))


@pytest.mark.parametrize("sizes", [[], [1], [5, 3 * MEGABYTE, 1]], ids=["0", "1", "3MB"])
def test_rb3_a_chunked_body_arrives_whole(jane: Caller, sizes: list[int]):
    """PF3: Django itself would hand an empty body over, under WSGI."""
    pieces = [os.urandom(size) for size in sizes]
    said = jane.browser.fetch("api/photos/1", "POST", body=iter(pieces))
    assert said.status == 200
    [call] = jane.upstream.requests
    assert (call.complete, call.sha256) == (True, digest(b"".join(pieces)))
    assert len(call.all("Content-Length")) + len(call.all("Transfer-Encoding")) == 1


def test_rb3_runserver_cannot_read_a_chunked_body_and_says_so(
    make_site: MakeSite, upstream: RecordingUpstream
):
    jane = signed_in(proxy_site(make_site, upstream, "runserver"), upstream)
    body = b"5\r\nhello\r\n0\r\n\r\n"
    said = jane.ask("POST", "photos/1", "Transfer-Encoding: chunked", body=body)
    assert (said.status, said.code) == (411, "length_required")
    assert jane.reached() == []
    assert jane.ask("POST", "photos/1", "Content-Length: 5", body=b"hello").status == 200
    assert upstream.requests[0].body == b"hello"


@pytest.mark.parametrize("trailer", ["Authorization", "Cookie", "Host", "Content-Length"])
def test_rb7_a_trailer_is_no_header(jane: Caller, trailer: str):
    """gunicorn refuses some, uvicorn adds them to the headers: there two cookies are none."""
    body = b"5\r\nhello\r\n0\r\n" + trailer.encode() + b": canary\r\n\r\n"
    said = jane.ask("POST", "photos/1", "Transfer-Encoding: chunked", body=body)
    assert said.status in (200, 400, 401)
    for call in jane.upstream.requests:
        assert b"canary" not in call.head
        assert len(call.all("Authorization")) == 1
        assert call.body == b"hello" or not call.complete
    jane.still_works()


def test_rb6_a_get_or_delete_with_a_body_keeps_it_and_one_without_has_none(jane: Caller):
    for method in ("GET", "DELETE"):
        assert jane.ask(method, "photos/1", "Content-Length: 5", body=b"hello").status == 200
        assert (jane.upstream.requests[-1].body, jane.upstream.requests[-1].length) == (b"hello", 5)
        assert jane.ask(method, "photos/1").status == 200
        call = jane.upstream.requests[-1]
        assert (call.framing, call.length) == ("none", 0)
        assert call.get("Transfer-Encoding") is None
    assert jane.ask("POST", "photos/1", "Content-Length: 0").status == 200
    assert jane.upstream.requests[-1].all("Content-Length") == ["0"]


def test_rh13_expect_100_continue_is_answered_here(jane: Caller):
    lines = ("Expect: 100-continue", "Content-Length: 5", "Connection: close")
    with socket.create_connection((LOOPBACK, jane.site.port), timeout=5) as line:
        line.sendall(jane.head("POST", "/bff/api/photos/1", *lines))
        got = b""
        while b"\r\n\r\n" not in got:
            got += line.recv(4096)
        assert got.startswith(b"HTTP/1.1 100 ")
        line.sendall(b"hello")
        got = got.partition(b"\r\n\r\n")[2]
        while more := line.recv(65536):
            got += more
    assert parse(got).status == 200
    [call] = jane.upstream.requests
    assert (call.get("Expect"), call.body) == (None, b"hello")


@pytest.mark.parametrize("door", STREAMING)
@pytest.mark.parametrize("reason", ["csrf", "session", "size"])
def test_rh13_rb2_a_refusal_does_not_wait_for_the_body(jane: Caller, reason: str):
    how: dict[str, Any] = {"csrf": {"ours": False}, "session": {"cookie": b"a=b"}, "size": {}}
    size = 60 * MEGABYTE if reason != "size" else 101 * 1024 * 1024
    lines = ("Expect: 100-continue", f"Content-Length: {size}", "Connection: close")
    with socket.create_connection((LOOPBACK, jane.site.port), timeout=5) as line:
        line.sendall(jane.head("POST", "/bff/api/photos/1", *lines, **how[reason]))
        got = b""
        while b'"code"' not in got:
            more = line.recv(4096)
            assert more, got
            got += more
    status = {"csrf": b" 403 ", "session": b" 401 ", "size": b" 413 "}[reason]
    assert status in re.sub(rb"^HTTP/1.1 100 Continue\r\n\r\n", b"", got)[:20]
    assert jane.reached() == []


def test_rb2_a_body_that_is_too_large_is_refused_early(jane: Caller):
    fits, too_large = b"x" * SMALL_BODY, b"x" * (SMALL_BODY + 1)
    assert jane.browser.fetch("api/v1/1", "POST", body=fits).status == 200
    said = jane.browser.fetch("api/v1/1", "POST", body=too_large)
    assert (said.status, said.code) == (413, "body_too_large")
    assert jane.reached() == ["POST /deep/api/v1/1"]
    assert jane.browser.fetch("api/photos/1", "POST", body=too_large).status == 200


def test_rb2_a_chunked_body_that_grows_too_large_is_given_up(jane: Caller):
    pieces = [b"x" * 30_000] * 4
    said = jane.browser.fetch("api/v1/1", "POST", body=iter(pieces))
    assert (said.status, said.code) == (413, "body_too_large")
    # Under ASGI its length is known before; under WSGI half of it was sent, and must look so.
    assert not [call for call in jane.upstream.requests if call.complete]
    assert jane.browser.fetch("api/v1/1", "POST", body=iter(pieces[:3])).status == 200
    eventually(lambda: jane.upstream.requests[-1].length == 90_000)


@pytest.mark.parametrize("door", STREAMING)
def test_rb1_an_upload_streams(jane: Caller):
    """The upstream reads the first bytes before the browser has sent the last."""
    upstream = jane.upstream
    lines = (f"Content-Length: {2 * MEGABYTE}", "Connection: close")
    with socket.create_connection((LOOPBACK, jane.site.port), timeout=10) as line:
        line.sendall(jane.head("PUT", "/bff/api/photos/1", *lines) + b"a" * MEGABYTE)
        eventually(lambda: upstream.requests and upstream.requests[0].length > MEGABYTE / 2)
        assert not upstream.requests[0].complete
        line.sendall(b"a" * MEGABYTE)
        got = b""
        while more := line.recv(65536):
            got += more
    assert parse(got).status == 200
    assert upstream.requests[0].length == 2 * MEGABYTE


@pytest.mark.parametrize("framing", ["length", "chunked", "broken-chunk"])
def test_rb4_a_browser_that_leaves_in_the_middle_leaves_no_whole_request(
    jane: Caller, framing: str
):
    before = len(jane.site.log())
    half = b"x" * 300_000
    if framing == "length":
        lines, body = ["Content-Length: 600000"], half
    else:
        lines, body = ["Transfer-Encoding: chunked"], b"%x\r\n%s\r\n" % (len(half), half)
    if framing == "broken-chunk":
        body += b"zz\r\nhello\r\n0\r\n\r\n"
    with socket.create_connection((LOOPBACK, jane.site.port), timeout=5) as line:
        line.sendall(jane.head("POST", "/bff/api/photos/half", *lines) + body)
        time.sleep(0.2)
    time.sleep(0.3)
    assert not [call for call in jane.upstream.requests if call.complete]
    assert len(jane.upstream.requests) <= 1  # no second try
    jane.upstream.clear()
    jane.still_works()
    assert "Traceback" not in jane.site.log()[before:]


# ------------------------------------------------------------------------ framing of requests

SMUGGLES = {
    "both": ["Content-Length: 4", "Transfer-Encoding: chunked"],
    "both-other-order": ["Transfer-Encoding: chunked", "Content-Length: 4"],
    "identity": ["Transfer-Encoding: chunked, identity"],
    "space": ["Transfer-Encoding : chunked"],
    "tab": ["Transfer-Encoding\t: chunked"],
    "vertical-tab": ["Transfer-Encoding: \x0bchunked"],
    "unknown": ["Transfer-Encoding: xchunked"],
    "two-codings": ["Transfer-Encoding: gzip", "Transfer-Encoding: chunked"],
    "two-lengths": ["Content-Length: 5", "Content-Length: 46"],
    "list-of-lengths": ["Content-Length: 5, 46"],
    "plus": ["Content-Length: +46"],
    "minus": ["Content-Length: -1"],
    "underscore": ["Content-Length: 4_6"],
    "hex": ["Content-Length: 0x5"],
    "folded": ["Transfer-Encoding:\r\n chunked"],
    "underscored-name": ["Transfer_Encoding: chunked"],
}


@pytest.mark.parametrize("names", [list(SMUGGLES)[:8], list(SMUGGLES)[8:]], ids=["TE", "CL"])
def test_rh10_no_framing_makes_two_requests_of_one(jane: Caller, names: list[str]):
    """What follows the body is never a request of the proxy's own making."""
    smuggled = b"GET /photos/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    body = b"0\r\n\r\n" + smuggled
    for name in names:
        jane.upstream.clear()
        lines = [line.replace("46", str(len(body))) for line in SMUGGLES[name]]
        head = jane.head("POST", "/bff/api/photos/front", *lines, "Connection: keep-alive")
        following = jane.head("GET", "/bff/api/photos/after", cookie=b"a=b")
        answers = send(jane.site, head + body + following)
        assert b"Traceback" not in answers, name
        for _ in range(2):
            jane.still_works()  # also on the connections that are kept
        # A call whose connection the server gave up may arrive late; `after` has no session.
        assert set(jane.reached()) <= {"POST /photos/front", "GET /photos/ordinary"}, name
        for call in jane.upstream.requests:
            framings = call.all("Content-Length") + call.all("Transfer-Encoding")
            assert len(framings) <= 1, name


def test_rh10_a_refused_body_does_not_become_the_next_request(jane: Caller):
    inner = jane.head("GET", "/bff/api/photos/inner")
    body = inner + b"x" * SMALL_BODY
    head = jane.head("POST", "/bff/api/v1/1", f"Content-Length: {len(body)}", "Connection: x")
    answers = send(jane.site, head + body + jane.head("GET", "/bff/api/photos/outer"))
    assert b" 413 " in answers[:20]
    assert set(jane.reached()) <= {"GET /photos/outer"}


# -------------------------------------------------------------------------------- the answers


def test_rs6_head_has_the_upstreams_length_and_no_body(jane: Caller):
    jane.upstream.on("/photos/1", answer(b"x" * 1234, headers=[("ETag", '"a"')]))
    said = jane.ask("HEAD", "photos/1")
    assert (said.status, said.all("Content-Length"), said.get("ETag")) == (200, ["1234"], '"a"')
    assert said.wire.endswith(b"\r\n\r\n")
    assert jane.reached() == ["HEAD /photos/1"]


@pytest.mark.parametrize("status", [204, 304, 205])
def test_rs6_an_answer_that_has_no_body_gets_none(jane: Caller, status: int):
    for illegal in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen"):
        reply = Reply(status=status, headers=(("ETag", '"a"'),), pieces=lambda b=illegal: (b,))
        if status == 205:
            reply = answer(illegal, status=status, headers=[("ETag", '"a"')])
        jane.upstream.on("/photos/none", reply)
        said = jane.ask("GET", "photos/none")
        assert (said.status, said.get("ETag")) == (status, '"a"')
        assert said.wire.endswith(b"\r\n\r\n") or said.wire.endswith(b"\r\n0\r\n\r\n")
        assert b"stolen" not in said.wire
        if status == 204:
            assert said.all("Content-Length") == []
            assert said.all("Transfer-Encoding") == []
        for _ in range(3):
            jane.still_works()


def test_rh12_conditions_and_ranges_are_the_upstreams_business(jane: Caller):
    jane.upstream.on(
        "/photos/part",
        answer(b"0123456789", status=206, headers=[("Content-Range", "bytes 0-9/100")]),
    )
    said = jane.ask("GET", "photos/part", "Range: bytes=0-9", 'If-None-Match: "x"')
    assert (said.status, said.body) == (206, b"0123456789")
    assert said.all("Content-Range") == ["bytes 0-9/100"]
    assert said.get("ETag") is None  # none of Django's
    parts = b"--x\r\nContent-Range: bytes 0-0/9\r\n\r\na\r\n--x--\r\n"
    kind = [("Content-Type", "multipart/byteranges; boundary=x")]
    jane.upstream.on("/photos/parts", answer(parts, status=206, headers=kind))
    said = jane.ask("GET", "photos/parts", "Range: bytes=0-0,2-2")
    assert (said.body, said.get("Content-Type")) == (parts, kind[0][1])
    for status in (412, 416):
        jane.upstream.on("/photos/no", answer(b"no", status=status, headers=[("ETag", '"z"')]))
        assert jane.ask("GET", "photos/no", 'If-Match: "q"').status == status
    jane.upstream.on("/photos/same", answer(b"same", headers=[("ETag", '"x"')]))
    said = jane.ask("GET", "photos/same", 'If-None-Match: "x"')
    assert (said.status, said.body) == (200, b"same")  # no 304 of Django's


def test_rh11_rs8_compressed_bytes_are_not_touched(jane: Caller):
    plain = b"hello " * 10_000
    jane.upstream.on("/photos/gz", gzipped(plain))
    said = jane.ask("GET", "photos/gz", "Accept-Encoding: gzip")
    assert (said.get("Content-Encoding"), gzip.decompress(said.body)) == ("gzip", plain)
    assert said.get("Content-Length") == str(len(said.body))
    for coding in ("br", "zstd", "x-unknown", "gzip, gzip", "deflate"):
        body = os.urandom(500)  # not what it says: nobody looks
        headers = [("Content-Encoding", coding)]
        jane.upstream.on("/photos/coded", answer(body, headers=headers))
        said = jane.ask("GET", "photos/coded")
        assert (said.get("Content-Encoding"), said.body) == (coding, body)
        jane.upstream.on("/photos/coded", chunked(body[:100], body[100:], headers=headers))
        assert jane.ask("GET", "photos/coded").body == body
    bomb = gzip.compress(bytes(20 * MEGABYTE))
    jane.upstream.on("/photos/bomb", answer(bomb, headers=[("Content-Encoding", "gzip")]))
    assert jane.ask("GET", "photos/bomb").body == bomb


def test_rs7_an_answer_in_any_legal_framing_is_whole(jane: Caller):
    for reply in (
        answer(b"whole"),
        chunked(b"wh", b"ole"),
        raw(b"HTTP/1.1 200 OK\r\n\r\nwhole"),
        raw(b"HTTP/1.0 200 OK\r\n\r\nwhole"),
        raw(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"5;ext=1\r\nwhole\r\n0\r\nT: x\r\n\r\n"
        ),
    ):
        jane.upstream.on("/photos/whole", reply)
        said = jane.ask("GET", "photos/whole")
        assert (said.status, said.body, said.whole) == (200, b"whole", True), reply
        jane.still_works()


def test_rs7_the_same_length_twice_is_one_or_an_error(jane: Caller):
    """RFC 9110 §8.6: a recipient may do either."""
    wire = b"HTTP/1.1 200 \r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nwhole"
    jane.upstream.on("/photos/twice", raw(wire))
    said = jane.ask("GET", "photos/twice")
    assert (said.status, said.body) == (200, b"whole") or said.code == "upstream_unreachable"
    jane.still_works()


BROKEN = {
    "length": cut_off(b"x" * 5000, after=2000),
    "length-nothing-came": cut_off(b"x" * 5000, after=0),
    "chunk": cut_off_chunked(b"x" * 5000),
    "inside-a-chunk": raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nxx"),
    "no-last-chunk": raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxx\r\n"),
    "not-a-chunk": raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxx\r\nzz\r\nyy"),
    "closed-early": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nxx"),
    "lengths": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 9\r\n\r\nxxxxxxxxx"),
}


@pytest.mark.parametrize("name", BROKEN, ids=lambda name: f"RS-7-{name}")
def test_an_answer_that_is_cut_off_looks_cut_off(jane: Caller, name: str):
    jane.upstream.on("/photos/broken", BROKEN[name])
    said = jane.ask("GET", "photos/broken")
    if said.status >= 500:  # it was broken before its first byte was passed on
        assert said.body != b"xx"
    else:
        assert not said.whole, said.wire
        assert b'"code"' not in said.body
    for _ in range(3):
        jane.still_works()


@pytest.mark.parametrize("length", [b"3", b"5", b"500"])
def test_rs7_rh10_an_answer_framed_twice_is_passed_on_framed_once(jane: Caller, length: bytes):
    """RFC 9112 §6.3: chunked wins, and the Content-Length must go, or it is an error."""
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Length: " + length + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    jane.upstream.on("/photos/twice", raw(head + b"5\r\nwhole\r\n0\r\n\r\n"))
    said = jane.ask("GET", "photos/twice")
    if said.status != 502:
        assert (said.body, said.whole) == (b"whole", True)
        assert said.all("Content-Length") in ([], ["5"])
        assert said.wire.count(b"whole") == 1


@pytest.mark.parametrize("status", [b"100 Continue", b"102 Processing", b"103 Early Hints"])
def test_rs5_an_interim_answer_is_not_the_answer(jane: Caller, status: bytes):
    """RFC 9110 §15.2: one or more may come before the final one."""
    hint = b"HTTP/1.1 " + status + b"\r\nLink: </x.css>; rel=preload\r\n\r\n"
    jane.upstream.on(
        "/photos/hinted",
        raw(hint + hint + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfinal"),
    )
    said = jane.ask("GET", "photos/hinted")
    assert (said.status, said.body) == (200, b"final")
    assert said.wire.count(b"HTTP/1.1") == 1
    jane.still_works()


def test_rs10_nonsense_of_an_upstream_is_a_bad_gateway(jane: Caller):
    before = len(jane.site.log())
    for wire in (
        b"",
        b"\r\n",
        b"garbage\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/1.1 1000 High\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    ):
        jane.upstream.on("/photos/nonsense", raw(wire))
        said = jane.ask("GET", "photos/nonsense")
        assert (said.status, said.code) == (502, "upstream_unreachable"), wire[:30]
        jane.still_works()
    assert "Traceback" not in jane.site.log()[before:]


def test_rs10_st3_a_switch_of_protocols_that_nobody_asked_for_is_a_bad_gateway(jane: Caller):
    wire = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nxx"
    jane.upstream.on("/photos/switch", raw(wire))
    said = jane.ask("GET", "photos/switch")
    assert (said.status, said.code) == (502, "upstream_unreachable")
    jane.still_works()


# ---------------------------------------------------------------------------- sent only once


def fill_the_pool(jane: Caller, count: int) -> None:
    """Leave `count` idle connections behind."""
    gate = threading.Barrier(count)

    def together(_: object) -> Reply:
        gate.wait(5)
        return answer(b"")

    jane.upstream.on("/photos/gate", together)
    # `ask` waits until the server hangs up: by then the connection is back in the pool.
    with concurrent.futures.ThreadPoolExecutor(count) as threads:
        answers = list(threads.map(lambda _: jane.ask("GET", "photos/gate"), range(count)))
    assert {one.status for one in answers} == {200}
    jane.upstream.clear()


@pytest.mark.parametrize("end", ["hangs-up", "cut-off", "silent"])
def test_37_a_post_is_sent_once_whatever_happens(jane: Caller, end: str):
    """RFC 9110 §9.2.2: a proxy must not repeat what may have been acted upon."""
    fill_the_pool(jane, 3)
    reply = {"hangs-up": hang_up(), "cut-off": raw(b"HTTP/1."), "silent": silence()}[end]
    jane.upstream.on("/hasty/once", reply)
    jane.upstream.on("/photos/once", reply)
    alias = "hasty" if end == "silent" else "photos"
    for method in ("POST", "PATCH"):
        jane.upstream.requests.clear()
        said = jane.ask(method, f"{alias}/once", "Content-Length: 5", body=b"hello")
        assert said.status == (504 if end == "silent" else 502)
        assert jane.reached() == [f"{method} /{alias}/once"]


def test_37_a_get_is_repeated_once_at_most(jane: Caller):
    sent = []
    # A server of several processes has a pool in each, and which one answers is chance: ask again,
    # but less often than opens the breaker.
    for _ in range(4):
        fill_the_pool(jane, 6)
        jane.upstream.on("/photos/never", hang_up())
        assert jane.ask("GET", "photos/never").status == 502
        sent.append(len(jane.upstream.requests))
    assert {1, 2} >= set(sent)


def test_37_a_kept_connection_that_died_unseen_costs_nobody_an_answer(jane: Caller):
    fill_the_pool(jane, 1)
    jane.upstream.on("/photos/again", hang_up(), answer(b"second"))
    said = jane.ask("GET", "photos/again")
    assert (said.status, said.body) == (200, b"second")
    assert len(jane.upstream.requests) == 2


# ------------------------------------------------------------------------- 401 and what follows


def challenge(value: str) -> Reply:
    return answer(b"theirs", status=401, headers=[("WWW-Authenticate", value)])


def once_refused(stale: str | None) -> Any:
    def script(call: Any) -> Reply:
        if call.token == stale:
            return challenge('Bearer realm="x", error="invalid_token"')
        return answer(json.dumps({"length": call.length, "sha256": call.sha256}))

    return script


def first_token(jane: Caller) -> str:
    assert jane.ask("GET", "photos/first").status == 200
    token = jane.upstream.requests[-1].token
    jane.upstream.clear()
    assert token
    return token


@pytest.mark.parametrize(
    ("method", "body"),
    [("GET", b""), ("POST", b"hello"), ("DELETE", b""), ("PUT", b"x" * 60_000)],
    ids=["GET", "POST", "DELETE", "PUT-60kB"],
)
def test_37_a_refused_token_is_refreshed_once_and_the_call_repeated_once(
    jane: Caller, method: str, body: bytes
):
    stale = first_token(jane)
    provider = jane.site.provider
    assert provider
    jane.upstream.on("/photos/1", once_refused(stale))
    said = jane.browser.fetch("api/photos/1", method, body=body or None)
    assert (said.status, said.json()["sha256"]) == (200, digest(body))
    assert len(jane.upstream.requests) == 2
    assert provider.refreshes == 1
    assert jane.browser.fetch("api/photos/1").status == 200  # the new one is remembered
    assert provider.refreshes == 1


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_37_an_upload_is_not_repeated_but_the_next_call_has_a_new_token(jane: Caller, framing: str):
    stale = first_token(jane)
    provider = jane.site.provider
    assert provider
    jane.upstream.on("/photos/1", once_refused(stale))
    data = b"x" * 2 * MEGABYTE
    body: bytes | Iterable[bytes] = data if framing == "length" else iter([data])
    said = jane.browser.fetch("api/photos/1", "POST", body=body)
    assert (said.status, said.code, said.get("WWW-Authenticate")) == (401, None, None)
    assert len(jane.upstream.requests) == 1
    assert provider.refreshes == 1
    assert jane.browser.fetch("api/photos/1", "POST", body=data).status == 200
    assert provider.refreshes == 1


def test_37_a_second_401_is_relayed_and_ends_nothing(jane: Caller):
    provider = jane.site.provider
    assert provider
    jane.upstream.on("/photos/1", challenge('Bearer error="invalid_token"'))
    said = jane.ask("GET", "photos/1")
    assert (said.status, said.body, said.code) == (401, b"theirs", None)
    assert (len(jane.upstream.requests), provider.refreshes) == (2, 1)
    assert jane.browser.is_logged_in()


def test_37_any_other_refusal_refreshes_nothing(jane: Caller):
    for status, value in (
        (401, None),
        (401, 'Basic realm="x"'),
        (401, 'Bearer realm="x"'),
        (401, 'Basic realm="invalid_token"'),
        (403, 'Bearer error="insufficient_scope"'),
        (403, 'Bearer error="invalid_token"'),
    ):
        assert_no_refresh(jane, status, value)


def test_37_the_words_invalid_token_elsewhere_in_a_challenge_refresh_nothing(jane: Caller):
    assert_no_refresh(jane, 401, 'Bearer realm="invalid_token zone", error="insufficient_scope"')


def assert_no_refresh(jane: Caller, status: int, value: str | None) -> None:
    provider = jane.site.provider
    assert provider
    jane.upstream.clear()
    headers = [("WWW-Authenticate", value)] if value else []
    jane.upstream.on("/photos/1", answer(b"theirs", status=status, headers=headers))
    said = jane.ask("GET", "photos/1")
    assert (said.status, said.body, said.code) == (status, b"theirs", None), value
    assert (len(jane.upstream.requests), provider.refreshes) == (1, 0), value


def test_37_a_bearer_challenge_is_found_among_others(jane: Caller):
    """RFC 9110 §11.6.1: several challenges may share one header, in any case."""
    for value in (
        'Basic realm="x", Bearer error="invalid_token"',
        'BEARER Error = "invalid_token"',
    ):
        stale = first_token(jane)
        jane.upstream.on(
            "/photos/1",
            lambda call, stale=stale, value=value: (
                challenge(value) if call.token == stale else answer(b"fine")
            ),
        )
        assert jane.ask("GET", "photos/1").status == 200, value
