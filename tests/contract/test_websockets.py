"""WebSockets, through each door that carries them: who may open one, what passes, how it ends.

What a proxy in front does otherwise is in `tests/support/deviations.py`, and at the end here.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.client import HTTPResponse, RemoteDisconnected
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from tests.conftest import MakeSite
from tests.support.caller import (
    DOORS,
    EDGES,
    HANDED_ON,
    NEVER,
    Caller,
    eventually,
    send,
    signed_in,
    spare_port,
)
from tests.support.chat import PIECE, ChatUpstream
from tests.support.ports import LOOPBACK
from tests.support.upstream import RecordingUpstream, raw

CUT = 1.0  # seconds within which the end of a grant closes
SLACK = 1.0  # of a busy machine
IDLE = 0.6  # seconds of silence that a hasty route allows
REMEMBERED = 1.1  # seconds, by a proxy in front
#: The handshake of RFC 6455 §1.3, line by line.
UPGRADE = "Upgrade: websocket"
CONNECTION = "Connection: Upgrade"
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
VERSION = "Sec-WebSocket-Version: 13"
HANDSHAKE = (UPGRADE, CONNECTION, KEY, VERSION)

edges = pytest.mark.parametrize("door", EDGES)


@pytest.fixture(scope="module")
def one_chat() -> Iterator[ChatUpstream]:
    with ChatUpstream() as chat:
        yield chat


@pytest.fixture
def chat(one_chat: ChatUpstream) -> ChatUpstream:
    one_chat.clear()
    return one_chat


@pytest.fixture(params=["lane", *EDGES, *HANDED_ON])
def door(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def jane(door: str, make_site: MakeSite, upstream: RecordingUpstream, chat: ChatUpstream) -> Caller:
    """On SQLite: a WebSocket asks Django, whatever the database is."""
    open_route = {"url": f"{chat.url}/api/", "websocket": True, "max_body": 1_000_000}
    site = make_site(
        **{**(DOORS | HANDED_ON)[door], "database": "sqlite"},
        upstreams={
            "chat": open_route,
            "api": {"url": f"{upstream.url}/api/", "websocket": True},
            "public": {**open_route, "token": "user-or-none"},
            "closed": {"url": f"{chat.url}/api/"},
            "guarded": {**open_route, "permissions": ["tests.support.guards.AsAsked"]},
            "few": {**open_route, "max_streams": 1},
            "narrow": {**open_route, "paths": ["^echo$"]},
            "posted": {**open_route, "methods": ["POST"]},
            "hasty": {**open_route, "timeouts": {"idle": IDLE, "first_byte": IDLE}},
            "gone": {
                "url": f"http://{LOOPBACK}:{spare_port()}/",
                "websocket": True,
                "breaker": NEVER,
            },
        },
    )
    return signed_in(site, upstream)


def open_socket(
    jane: Caller,
    target: str = "chat/echo",
    *,
    origin: str | None = "",
    cookie: str | None = None,
    headers: dict[str, str] | None = None,
    subprotocols: tuple[str, ...] = (),
    **how: Any,
) -> ClientConnection:
    """As our own page would, unless told otherwise. `target` is below /bff/api/."""
    sent = dict(headers or {})
    cookie = jane.cookie.decode() if cookie is None else cookie
    if cookie:
        sent["Cookie"] = cookie
    return connect(
        f"ws://localhost:{jane.site.port}/bff/api/{target}",
        sock=socket.create_connection((LOOPBACK, jane.site.port), timeout=10),
        origin=Origin(jane.site.base_url if origin == "" else origin)
        if origin is not None
        else None,
        additional_headers=sent,
        subprotocols=[Subprotocol(name) for name in subprotocols] or None,
        compression=None,
        proxy=None,
        **how,
    )


def refusal(jane: Caller, **how: Any) -> tuple[int, str | None]:
    with pytest.raises(InvalidStatus) as refused, open_socket(jane, **how):
        pass
    answer = refused.value.response
    return answer.status_code, answer.headers.get("X-BFF-Error")


def test_what_is_sent_arrives_in_both_directions_and_the_token_goes_along(
    jane: Caller, chat: ChatUpstream
):
    with open_socket(jane, "chat/echo/a%20b?q=%2Fx", headers={"Accept-Language": "de"}) as line:
        for message in ("hello", "", "\U0001f600" * 1000, b"\x00\xff", b"", b"x" * 900_000):
            line.send(message)
            assert line.recv(10) == message
    [seen] = chat.handshakes
    assert seen.path == "/api/echo/a%20b?q=%2Fx"
    assert seen.headers["Authorization"].startswith("Bearer ")
    assert seen.headers["Accept-Language"] == "de"
    assert seen.headers.get_all("Host") == [f"{LOOPBACK}:{chat.port}"]
    for name in ("Cookie", "Origin", "X-BFF", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"):
        assert name not in seen.headers
    assert seen.headers["Via"] == f"1.1 localhost:{jane.site.port}"


def test_subprotocols_are_the_upstreams_choice(jane: Caller, chat: ChatUpstream):
    with open_socket(jane, subprotocols=("chat.v1", "chat.v2")) as line:
        assert line.subprotocol == "chat.v2"
        line.send("x")
        assert line.recv(10) == "x"
    assert chat.handshakes[0].headers["Sec-WebSocket-Protocol"] == "chat.v1, chat.v2"


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "no-origin": ({"origin": None}, 403, "csrf_failed"),
    "foreign-origin": ({"origin": "https://evil.test"}, 403, "csrf_failed"),
    "null-origin": ({"origin": "null"}, 403, "csrf_failed"),
    "origin-like-ours": ({"origin": "http://localhost"}, 403, "csrf_failed"),
    "cross-site": ({"headers": {"Sec-Fetch-Site": "cross-site"}}, 403, "csrf_failed"),
    "same-site": ({"headers": {"Sec-Fetch-Site": "same-site"}}, 403, "csrf_failed"),
    "no-websocket": ({"headers": {"Sec-Fetch-Mode": "cors"}}, 403, "csrf_failed"),
    "nobody": ({"cookie": "a=b"}, 401, "login_required"),
    "unknown": ({"cookie": "__Host-Http-bff-auth=" + "a" * 32}, 401, "login_required"),
    "route-without": ({"target": "closed/echo"}, 403, "not_allowed"),
    "route-with-permissions": ({"target": "guarded/echo"}, 403, "not_allowed"),
    "route-without-get": ({"target": "posted/echo"}, 405, "method_not_allowed"),
    "path": ({"target": "chat/a/%2e%2e/b"}, 400, "bad_path"),
    "not-the-routes-path": ({"target": "narrow/flood"}, 400, "bad_path"),
}


@pytest.mark.parametrize("row", REFUSED)
def test_who_may_not_open_one_reaches_no_upstream(jane: Caller, chat: ChatUpstream, row: str):
    how, status, code = REFUSED[row]
    assert refusal(jane, **how) == (status, code)
    assert chat.handshakes == []
    with open_socket(jane) as line:  # the positive twin
        line.send("x")
        assert line.recv(10) == "x"


def test_where_no_upstream_is_none_is_opened(jane: Caller):
    """A proxy in front knows the upstreams: of others Django is asked, as for any other page."""
    refused = (403, "csrf_failed") if jane.site.front else (404, "no_such_upstream")
    assert refusal(jane, target="photos/echo") == refused


def test_two_session_cookies_are_none(jane: Caller, chat: ChatUpstream):
    cookie = jane.cookie.decode()
    assert refusal(jane, cookie=f"{cookie}; {cookie}") == (401, "login_required")
    assert chat.handshakes == []


def test_the_origin_is_asked_for_before_the_session(jane: Caller):
    assert refusal(jane, origin="https://evil.test", cookie="a=b") == (403, "csrf_failed")


def test_where_nobody_need_sign_in_nobody_has_a_token(jane: Caller, chat: ChatUpstream):
    with open_socket(jane, "public/echo", cookie="a=b") as line:
        line.send("x")
        assert line.recv(10) == "x"
    assert "Authorization" not in chat.handshakes[0].headers
    with open_socket(jane, "public/echo"):
        pass
    assert chat.handshakes[1].headers["Authorization"].startswith("Bearer ")


def test_an_ended_grant_opens_none(jane: Caller, chat: ChatUpstream):
    with open_socket(jane):
        cookie = jane.cookie.decode()
        assert jane.browser.fetch("logout/", "POST").status == 200
    if jane.site.front:
        time.sleep(REMEMBERED)
    assert refusal(jane, cookie=cookie) == (401, "grant_ended")
    assert len(chat.handshakes) == 1


def test_what_is_open_is_closed_when_its_grant_ends(jane: Caller, chat: ChatUpstream):
    with open_socket(jane) as line, open_socket(jane, "public/echo", cookie="a=b") as nobodys:
        line.send("x")
        assert line.recv(10) == "x"
        assert jane.browser.fetch("logout/", "POST").status == 200
        with pytest.raises(ConnectionClosed) as closed:
            line.recv(CUT + SLACK)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401
        eventually(lambda: chat.closed == [1001])
        nobodys.send("still here")  # the positive twin
        assert nobodys.recv(10) == "still here"


def test_each_side_learns_how_the_other_closed(jane: Caller, chat: ChatUpstream):
    with open_socket(jane, "chat/bye") as line, pytest.raises(ConnectionClosed) as closed:
        line.recv(10)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4000, "bye")
    chat.closed.clear()
    with open_socket(jane) as line:
        line.close(4321)
    eventually(lambda: 4321 in chat.closed)


def test_each_side_is_told_when_the_other_hangs_up(jane: Caller, chat: ChatUpstream):
    with open_socket(jane, "chat/vanish") as line, pytest.raises(ConnectionClosed) as closed:
        line.send("x")
        line.recv(10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1011
    with open_socket(jane) as line:
        line.socket.shutdown(socket.SHUT_RDWR)  # a browser that is gone
    eventually(lambda: {1000, 1001} & set(chat.closed))


def test_a_message_that_is_too_large_closes(jane: Caller, chat: ChatUpstream):
    with open_socket(jane, "chat/echo") as line, pytest.raises(ConnectionClosed) as closed:
        line.send(b"x" * 1_000_001)
        line.recv(10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


def test_an_upstream_that_is_not_there_is_a_bad_gateway(jane: Caller):
    assert refusal(jane, target="gone/echo") == (502, "upstream_unreachable")
    with open_socket(jane):
        pass


def test_an_upstream_that_says_no_is_a_bad_gateway(jane: Caller):
    assert refusal(jane, target="chat/refuse") == (502, "upstream_unreachable")
    with open_socket(jane):
        pass


def test_a_route_has_so_many_places(jane: Caller):
    with open_socket(jane, "few/echo"):
        assert refusal(jane, target="few/echo") == (502, "upstream_unreachable")

    def fits() -> bool:
        try:
            with open_socket(jane, "few/echo"):
                return True
        except InvalidStatus:
            return False

    eventually(fits)


def settled(count: Any) -> int:
    """The number that `count` comes to rest at."""
    before = -1
    while (now := count()) != before:
        before = now
        time.sleep(0.4)
    return now


def test_an_upstream_that_floods_waits_for_the_browser(jane: Caller, chat: ChatUpstream):
    with open_socket(jane, "chat/flood", max_queue=1, close_timeout=0.5) as line:
        held = settled(lambda: chat.sent)
        assert 0 < held < 40_000_000  # what sockets and queues of five hops hold
        taken = 0
        while taken < held + 10 * len(PIECE):
            taken += len(line.recv(10))
    assert chat.sent > held


def test_a_browser_that_floods_waits_for_the_upstream(jane: Caller, chat: ChatUpstream):
    piece, count, sent = b"y" * 200_000, 600, 0
    with open_socket(jane, "chat/quiet", ping_interval=None) as line:
        sending = threading.Thread(target=lambda: [send() for _ in range(count)])

        def send() -> None:
            nonlocal sent
            line.send(piece)
            sent += 1

        sending.start()
        held = settled(lambda: sent)
        assert 0 < held < count / 2  # it had to wait
        chat.go_on.set()
        eventually(lambda: len(chat.read) == count, seconds=20)
        sending.join()
    assert set(map(len, chat.read)) == {len(piece)}


# -------------------------------------------------- an ordinary call that claims to be a handshake


def claim(
    jane: Caller, *lines: str, method: str = "GET", version: str = "1.1", body: bytes = b""
) -> tuple[int, str | None]:
    """Status (0: hung up) and code for who has the cookie and sends no header of ours."""
    head = jane.head(method, "/bff/api/api/1", *lines, ours=False)
    with socket.create_connection((LOOPBACK, jane.site.port), timeout=10) as line:
        line.sendall(head.replace(b"HTTP/1.1", f"HTTP/{version}".encode()) + body)
        said = HTTPResponse(line, method=method)
        try:
            said.begin()
        except (RemoteDisconnected, ConnectionResetError):
            return 0, None
        assert b"Bearer" not in said.read() or said.status == 200  # the API's own echo
        return said.status, said.headers.get("X-BFF-Error")


def ours(jane: Caller) -> str:
    return f"Origin: {jane.site.base_url}"


CLAIMS: dict[str, tuple[list[str], dict[str, str]]] = {
    "post": ([*HANDSHAKE, "Content-Length: 0"], {"method": "POST"}),
    "no-upgrade": ([CONNECTION, KEY, VERSION], {}),
    "no-connection": ([UPGRADE, KEY, VERSION], {}),
    "other-connection": ([UPGRADE, "Connection: close", KEY, VERSION], {}),
    "no-key": ([UPGRADE, CONNECTION, VERSION], {}),
    "short-key": ([UPGRADE, CONNECTION, "Sec-WebSocket-Key: YQ==", VERSION], {}),
    "no-version": ([UPGRADE, CONNECTION, KEY], {}),
    "other-version": ([UPGRADE, CONNECTION, KEY, "Sec-WebSocket-Version: 8"], {}),
    "h2c": (["Upgrade: h2c", CONNECTION, KEY, VERSION], {}),
    "two-upgrades": (["Upgrade: websocket, h2c", CONNECTION, KEY, VERSION], {}),
    "version-of-http": ([*HANDSHAKE], {"version": "1.0"}),
    "nothing-of-it": ([], {}),
}


@pytest.mark.parametrize("row", CLAIMS)
def test_an_ordinary_call_is_none_that_opens_a_socket(jane: Caller, row: str):
    """Without our header nothing passes but a handshake, and that as a handshake."""
    lines, how = CLAIMS[row]
    for _ in range(2):
        claim(jane, *HANDSHAKE, ours(jane))  # its positive twin, which is remembered
        assert [call.get("Upgrade") for call in jane.upstream.requests] == ["websocket"]
        jane.upstream.clear()
        for origin in ([ours(jane)], [], ["Origin: https://evil.test"]):
            status, _ = claim(jane, *lines, *origin, **how)
            assert status == 0 or status >= 400
        passed = [call.get("Upgrade") for call in jane.upstream.requests]
        assert passed == ([] if jane.site.front else ["websocket"] * len(passed))
        jane.upstream.clear()


@pytest.mark.parametrize(
    "origin",
    [
        *([], ["Origin: https://evil.test"], ["Origin: null"], ["Origin:"]),
        ["Origin: https://evil.test", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"],
    ],
)
def test_a_foreign_page_that_claims_a_handshake_reaches_nothing(jane: Caller, origin: list[str]):
    for _ in range(2):
        claim(jane, *HANDSHAKE, ours(jane))
        jane.upstream.clear()
        assert claim(jane, *HANDSHAKE, *origin) == (403, "csrf_failed")
        assert jane.upstream.requests == []


@edges
@pytest.mark.parametrize(
    ("framing", "body"),
    [
        ("Content-Length: 5", b"hello"),
        ("Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n"),
    ],
    ids=["length", "chunked"],
)
def test_what_has_a_body_is_no_handshake(jane: Caller, framing: str, body: bytes):
    assert claim(jane, *HANDSHAKE, framing, ours(jane), body=body) == (403, "csrf_failed")
    assert jane.upstream.requests == []


# ----------------------------------------------------- what a proxy in front does where it differs


@edges
def test_an_api_that_opens_none_is_asked_for_one_and_what_follows_is_judged_anew(jane: Caller):
    """A 200 to a handshake opens no tunnel, whether it passes or is a bad gateway."""
    head = jane.head("GET", "/bff/api/api/1", *HANDSHAKE, ours(jane), ours=False)
    wire = send(jane.site, head + jane.head("GET", "/bff/api/api/2", ours=False))
    [call] = jane.upstream.requests
    assert (call.get("Upgrade"), str(call.get("Connection")).lower()) == ("websocket", "upgrade")
    first, second = wire.split(b"HTTP/1.1 ")[1:]
    assert first.startswith(b"200 " if jane.site.front == "nginx" else b"502 ")
    assert second.startswith(b"403 ")
    assert b"csrf_failed" in second


@edges
def test_no_answer_that_opens_one_sets_a_cookie(jane: Caller):
    wire = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
    for line in (b"X-None: y", b"Set-Cookie: canary=1", b"Clear-Site-Data: canary"):
        jane.upstream.on("/api/1", raw(wire + line + b"\r\n\r\n"))
        head = jane.head("GET", "/bff/api/api/1", *HANDSHAKE, ours(jane), ours=False)
        said = send(jane.site, head)
        if line.startswith(b"X-None"):
            assert said.startswith(b"HTTP/1.1 101 ")
        assert b"canary" not in said


@edges
def test_the_whole_handshake_and_no_more_reaches_the_api(jane: Caller):
    offers = ["Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Extensions: permessage-deflate"]
    claim(jane, *HANDSHAKE, *offers, ours(jane), "Sec-WebSocket-Accept: x", "Sec-Fetch-Dest: empty")
    [call] = jane.upstream.requests
    names = [name.lower() for name, _ in call.headers]
    assert sorted(name for name in names if name.startswith("sec-")) == [
        *("sec-websocket-extensions", "sec-websocket-key"),
        *("sec-websocket-protocol", "sec-websocket-version"),
    ]
    assert not {"origin", "cookie"} & set(names)


@edges
def test_an_open_one_outlives_its_grant_for_as_long_as_both_sides_talk(
    jane: Caller, chat: ChatUpstream
):
    with open_socket(jane) as line:
        assert jane.browser.fetch("logout/", "POST").status == 200
        time.sleep(REMEMBERED)
        line.send("still here")
        assert line.recv(10) == "still here"


@edges
def test_one_where_the_api_is_silent_for_the_idle_time_is_cut(jane: Caller, chat: ChatUpstream):
    with open_socket(jane, "hasty/quiet", ping_interval=None) as line:
        begin = time.monotonic()
        with pytest.raises(ConnectionClosed):
            line.recv(10)
        assert IDLE - 0.1 < time.monotonic() - begin < IDLE + SLACK
    chat.go_on.set()
    eventually(lambda: chat.closed == [1006])
