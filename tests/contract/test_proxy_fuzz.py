"""Malformed requests by the thousand: no 5xx of ours, and nobody else gets a byte of it. A.19.

REQUESTS=20000 pytest -s tests/contract/test_proxy_fuzz.py        the run of docs/proxy.md
"""

from __future__ import annotations

import collections
import concurrent.futures
import os
import random
import re
import socket
import threading

import pytest

from tests.conftest import MakeSite
from tests.contract.test_proxy_mixing import Subjects
from tests.support.caller import Caller, proxy_site, signed_in
from tests.support.ports import LOOPBACK
from tests.support.provider import NodeProvider
from tests.support.upstream import RecordingUpstream, Reply, Request, answer, raw

REQUESTS = int(os.environ.get("REQUESTS", 500))
SEED = int(os.environ.get("SEED", 20261128))
NOISE = [b"\r\n", b"\n", b"\r", b"\x00", b":", b" ", b"\t", b"%", b"/", b"..", b"//", b"?", b"#"]
NOISE += [b"\xff", b"\xc3\xa9", b"HTTP/1.1", b"0\r\n\r\n", b"\r\n\r\n", b"a" * 9000, b";", b","]
LINES = [
    *(b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 99999999999999999999"),
    *(b"Content-Length: 5, 6", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked"),
    *(b"Transfer-Encoding : chunked", b"Connection: keep-alive, Cookie, X-BFF", b"Expect: x"),
    *(b"Expect: 100-continue", b"Upgrade: h2c", b"Host: evil.test", b"X-BFF: 0", b": x", b"x"),
    *(b" folded: x", b"Range: bytes=9-0", b"Accept: \xff\xfe", b"Cookie: a", b"Cookie: \x00=1"),
    *(b"Content-Type: multipart/form-data", b"Traceparent: " + b"0" * 9000, b"TE: trailers"),
]
TARGETS = [b"photos/1", b"photos/a%2Fb", b"photos/../x", b"v1/1?q=%zz", b"news/", b"nothing/1"]
BODIES = [
    b"",
    b"hello",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"zz\r\n",
    b"5\r\nhel",
    b"0\r\nCookie: x\r\n\r\n",
]


def malformed(chance: random.Random, mallory: Caller) -> bytes:
    """A request of Mallory's that began well, with a few things wrong."""
    lines = chance.sample(LINES, chance.randrange(3))
    if chance.random() < 0.5:
        lines.append(b"Connection: keep-alive")
    method = chance.choice(
        ["GET", "GET", "GET", "POST", "PUT", "HEAD", "OPTIONS", "TRACE", "F", ""]
    )
    head = mallory.head(method, b"/bff/api/" + chance.choice(TARGETS), *lines)
    data = bytearray(head + chance.choice(BODIES))
    for _ in range(chance.randrange(3)):
        at, kind = chance.randrange(len(data)), chance.randrange(5)
        if kind == 0:
            data[at] = chance.randrange(256)
        elif kind == 1:
            del data[at : at + chance.randrange(1, 20)]
        elif kind == 2:
            data[at:at] = chance.choice(NOISE)
        elif kind == 3:
            data[at:at] = data[at : at + chance.randrange(1, 60)]
        else:
            del data[at:]
        if not data:
            break
    return bytes(data)


def tell(site_port: int, data: bytes) -> bytes:
    """Send it and return what is answered; to a server that waits for more: nothing more comes."""
    got = b""
    with socket.create_connection((LOOPBACK, site_port), timeout=0.2) as line:
        try:
            line.sendall(data)
            try:
                while more := line.recv(65536):
                    got += more
            except TimeoutError:
                line.shutdown(socket.SHUT_WR)
                line.settimeout(20)
                while more := line.recv(65536):
                    got += more
        except OSError:  # it hung up first
            pass
    return got


@pytest.mark.parametrize("door", ["gunicorn", "uvicorn"])
def test_a19_malformed_requests_are_refused_and_bleed_into_nobodys_answer(
    make_site: MakeSite, provider: NodeProvider, upstream: RecordingUpstream, door: str
):
    site = proxy_site(make_site, upstream, door)
    mallory, jane = signed_in(site, upstream, "mallory"), signed_in(site, upstream, "jane")
    subjects = Subjects(provider)  # a token may be refreshed meanwhile
    strange: list[str] = []

    def whose(call: Request) -> Reply:
        name = subjects.of(call.token) if call.token else "nobody"
        if not re.match(r"/(photos|deep/api/v1|news)/", call.target) or (
            call.all("Host") != [f"{LOOPBACK}:{upstream.port}"]
        ):
            strange.append(f"{call.head!r}")
        return answer(f"this is {name}'s")

    upstream.on("*", whose)
    before = len(site.log())
    over = threading.Event()
    statuses: collections.Counter[int] = collections.Counter()

    def attack(number: int) -> None:
        data = malformed(random.Random(SEED + number), mallory)
        got = tell(site.port, data)
        found = [int(one) for one in re.findall(rb"HTTP/1\.1 (\d{3})", got)]
        statuses.update(found[:1] or [0])
        ours = re.search(rb"(?i)x-bff-error: ?(\w+)", got)
        if any(status >= 500 and status not in (501, 505) for status in found):
            strange.append(f"{found} {ours and ours[1]!r} for {data!r}")
        if b"jane" in got:
            strange.append(f"jane's answer for {data!r}")

    def live(_: int) -> int:
        asked = 0
        while not over.is_set():
            said = jane.ask("GET", f"photos/{asked}")
            if (said.status, said.body) != (200, b"this is jane's"):
                strange.append(f"jane got {said.wire!r}")
            asked += 1
        return asked

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        lives = [pool.submit(live, number) for number in range(2)]
        try:
            list(pool.map(attack, range(REQUESTS)))
        finally:
            over.set()
        asked = sum(one.result() for one in lives)
    assert strange == []
    assert asked > REQUESTS / 50
    assert statuses[400] > REQUESTS / 10  # most were malformed,
    assert statuses[200] > REQUESTS / 100  # some were not
    # Django tells of a Host that is not ours with a traceback of its own; there is no other.
    told = re.findall(r"(?m)^Traceback[^\n]*\n(?:[ ][^\n]*\n)*([^\n]*)", site.log()[before:])
    assert [one for one in told if "DisallowedHost" not in one] == []
    print(f"\n{door}: {REQUESTS} malformed, {asked} of jane's between; {dict(statuses)}")


FRAMED_TWICE = [
    b"Transfer-Encoding: gzip, chunked\r\nContent-Length: 3",
    b"Transfer-Encoding: identity\r\nContent-Length: 3",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    b"Content-Length: 3\r\nContent-Length: 4",
]


@pytest.mark.parametrize("door", ["gunicorn", "uvicorn"])
def test_rs7_an_answer_that_two_readers_would_frame_differently_is_none(jane: Caller):
    """RFC 9112 §6.3. Whatever the second reader makes of it, the browser gets nothing of it."""
    for lines in FRAMED_TWICE:
        head = b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n\r\n"
        jane.upstream.on("/photos/twice", raw(head + b"3\r\nown\r\n0\r\n\r\n"))
        said = jane.ask("GET", "photos/twice")
        assert (said.status, said.code) == (502, "upstream_unreachable"), lines
        jane.still_works()
