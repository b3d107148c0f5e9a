"""Nobody gets another's answer, and no upstream another's token. A.19.

Many users, all at once, over few workers and a pool of kept connections: the places where a
proxy confuses people are its cookie jar, its threads and a connection that was left unclean.
"""

from __future__ import annotations

import collections
import concurrent.futures
import json
import random
import threading
import time
import urllib.request
from typing import Any

import pytest

from tests.conftest import MakeSite
from tests.support.caller import Caller, proxy_site, signed_in
from tests.support.provider import NodeProvider
from tests.support.upstream import (
    RecordingUpstream,
    Reply,
    Request,
    answer,
    chunked,
    cut_off,
    cut_off_chunked,
    hang_up,
    raw,
)

USERS = 50
CALLS = 20  # of each: a thousand


class Subjects:
    """Whose token is it? The provider's word, asked once for each token."""

    def __init__(self, provider: NodeProvider) -> None:
        where = f"{provider.issuer}/.well-known/openid-configuration"
        with urllib.request.urlopen(where, timeout=5) as said:
            self._userinfo: str = json.load(said)["userinfo_endpoint"]
        self._known: dict[str, str] = {}
        self._lock = threading.Lock()

    def of(self, token: str | None) -> str:
        assert token
        with self._lock:
            if token not in self._known:
                ask = urllib.request.Request(
                    self._userinfo, headers={"Authorization": f"Bearer {token}"}
                )
                with urllib.request.urlopen(ask, timeout=5) as said:
                    self._known[token] = json.load(said)["sub"]
            return self._known[token]

    def __len__(self) -> int:
        return len(self._known)


def people(
    make_site: MakeSite, upstream: RecordingUpstream, door: str, count: int
) -> dict[str, Caller]:
    site = proxy_site(make_site, upstream, door)
    return {f"user{n:02}": signed_in(site, upstream, f"user{n:02}") for n in range(count)}


def test_a19_every_answer_and_every_token_is_the_callers_own(
    make_site: MakeSite, provider: NodeProvider, upstream: RecordingUpstream, door: str
):
    """While tokens are refused and refreshed; the upstream answers whom the token names."""
    crowd = people(make_site, upstream, door, USERS)
    subjects = Subjects(provider)
    uses: collections.Counter[str] = collections.Counter()
    wrong: list[str] = []

    def echo(call: Request) -> Reply:
        sub = subjects.of(call.token)
        uses[call.token or ""] += 1
        if uses[call.token or ""] > CALLS * 2 // 3:
            refusal = [("WWW-Authenticate", 'Bearer error="invalid_token"')]
            return answer(sub, status=401, headers=refusal)
        time.sleep(random.uniform(0, 0.01))  # answers overtake each other
        body = json.dumps({"sub": sub, "target": call.target, "body": (call.body or b"").decode()})
        kind = [("Set-Cookie", f"who={sub}"), ("ETag", f'"{sub}"')]
        return answer(body, headers=kind) if len(body) % 2 else chunked(body.encode(), headers=kind)

    upstream.on("/photos/*", echo)
    work = [(sub, number) for sub in crowd for number in range(CALLS)]
    random.shuffle(work)

    def call(item: tuple[str, int]) -> None:
        sub, number = item
        path, body = f"of/{sub}/{number}?q={sub}", f"{sub}-{number}"
        got = crowd[sub].browser.fetch(f"api/photos/{path}", "PUT", body=body)
        said = got.json()
        expected = {"sub": sub, "target": f"/photos/{path}", "body": body}
        if got.status != 200 or said != expected or got.get("ETag") != f'"{sub}"':
            wrong.append(f"{sub}/{number}: {got.status} {said}")

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(call, work))
    assert wrong == []
    assert len(upstream.requests) >= USERS * (CALLS + 1)
    for one in upstream.requests:
        assert f"/of/{subjects.of(one.token)}/" in one.target
        assert one.get("Cookie") is None
    assert len(subjects) == 2 * USERS  # each was refreshed once in between
    assert provider.reuses == 0
    assert len({one.connection for one in upstream.requests}) < USERS * CALLS / 4  # kept ones


STOLEN = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen"
MALFORMED: dict[str, dict[str, Reply]] = {
    "too-long": {
        "longer than announced": Reply(pieces=lambda: (b"own", STOLEN), length=3),
        "two answers": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nown" + STOLEN),
        "after the last chunk": Reply(
            headers=(("Transfer-Encoding", "chunked"),),
            pieces=lambda: (b"3\r\nown\r\n0\r\n\r\n" + STOLEN,),
            length=3,
        ),
    },
    "without-a-body": {
        "204 with a body": Reply(status=204, pieces=lambda: (STOLEN,)),
        "204 with a length": Reply(
            status=204, headers=(("Content-Length", str(len(STOLEN))),), pieces=lambda: (STOLEN,)
        ),
        "204 chunked": Reply(
            status=204,
            headers=(("Transfer-Encoding", "chunked"),),
            pieces=lambda: (b"6\r\nstolen\r\n0\r\n\r\n",),
        ),
        "304, a length and later a body": Reply(
            status=304,
            headers=(("Content-Length", str(len(STOLEN))),),
            pieces=lambda: (b"", STOLEN),
            pause=0.05,
        ),
    },
    "interim-103": {"and later 200": Reply(status=103, pieces=lambda: (b"", STOLEN), pause=0.05)},
    "interim-102": {"and at once 200": Reply(status=102, pieces=lambda: (STOLEN,))},
    "interim-101": {"and later 200": Reply(status=101, pieces=lambda: (b"", STOLEN), pause=0.05)},
    "framed-twice": {
        "chunked and a length": Reply(
            headers=(("Content-Length", "3"),), pieces=lambda: (b"own", STOLEN), chunked=True
        ),
        "two lengths": Reply(
            headers=(("Content-Length", "3"),),
            pieces=lambda: (b"own", STOLEN),
            length=3 + len(STOLEN),
        ),
        "unknown coding": Reply(
            headers=(("Transfer-Encoding", "gzip, chunked"),), pieces=lambda: (STOLEN,), length=3
        ),
        "no colon": raw(b"HTTP/1.1 200 OK\r\nContent-Length 3\r\n\r\nown" + STOLEN),
        "space before the colon": raw(b"HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\nown" + STOLEN),
    },
    "broken": {
        "cut off": cut_off(b"x" * 5000, after=2000),
        "cut off in chunks": cut_off_chunked(b"x" * 5000),
        "hangs up": hang_up(),
        "garbage": raw(b"\x00\x01\x02\xff" * 50),
    },
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a19_rs6_rs7_a_malformed_answer_to_one_does_not_bleed_into_anothers(
    make_site: MakeSite, provider: NodeProvider, upstream: RecordingUpstream, door: str, kind: str
):
    """What an answer does not announce and sends later is beyond any proxy's knowledge."""
    crowd = people(make_site, upstream, door, 2)
    subjects = Subjects(provider)
    upstream.on("/photos/own", lambda call: answer(subjects.of(call.token)))
    first, second = crowd.values()
    assert second.ask("GET", "photos/own").body == b"user01"  # leaves a connection to be used
    # To a HEAD the recording upstream would send the interim answer and never the final one.
    methods = ["GET", "GET"] if kind.startswith("interim") else ["GET", "GET", "HEAD"]
    for name, reply in MALFORMED[kind].items():
        upstream.on("/photos/bad", reply)
        for method in methods:
            bad = first.ask(method, "photos/bad")
            for after, sub in ((second, b"user01"), (first, b"user00")):
                said = after.ask("GET", "photos/own")
                assert (said.status, said.body, said.whole) == (200, sub, True), name
            assert bad.status == 0 or bad.status >= 200, f"{name}: an interim answer is not one"


def test_a19_a_browser_that_leaves_does_not_leave_its_answer_to_the_next(
    make_site: MakeSite, provider: NodeProvider, upstream: RecordingUpstream, door: str
):
    crowd = people(make_site, upstream, door, 4)
    subjects = Subjects(provider)

    def slow(call: Request) -> Reply:
        sub = subjects.of(call.token)
        return chunked(*[sub.encode() * 5000] * 6, pause=0.03)

    upstream.on("/photos/slow", slow)
    upstream.on("/photos/own", lambda call: answer(subjects.of(call.token)))

    def leave(caller: Caller) -> None:
        with caller.browser.stream("api/photos/slow") as stream:
            next(stream.chunks)

    def look(item: tuple[str, Caller]) -> Any:
        sub, caller = item
        leave(caller)
        return [caller.browser.fetch("api/photos/own").text == sub for _ in range(5)]

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for seen in pool.map(look, list(crowd.items()) * 3):
            assert seen == [True] * 5


def test_a19_pf8_no_cookie_of_an_upstream_is_sent_on_anybodys_next_call(
    make_site: MakeSite, upstream: RecordingUpstream, door: str
):
    crowd = people(make_site, upstream, door, 2)
    upstream.on("/photos/1", answer(b"", headers=[("Set-Cookie", "who=canary; Path=/")]))
    for _ in range(3):
        for caller in crowd.values():
            assert caller.ask("GET", "photos/1").get("Set-Cookie") is None
    assert not [one for one in upstream.requests if b"canary" in one.head]
    assert len({one.connection for one in upstream.requests}) < 6  # it was the same connection
