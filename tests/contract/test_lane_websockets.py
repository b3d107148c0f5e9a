"""WebSockets through the lane: who may open one, what passes, and how it ends."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from tests.conftest import MakeSite
from tests.support.caller import NEVER, Caller, eventually, signed_in, spare_port
from tests.support.chat import PIECE, ChatUpstream
from tests.support.ports import LOOPBACK
from tests.support.upstream import RecordingUpstream

CUT = 1.0  # seconds within which the end of a grant closes
SLACK = 1.0  # of a busy machine


@pytest.fixture(scope="module")
def one_chat() -> Iterator[ChatUpstream]:
    with ChatUpstream() as chat:
        yield chat


@pytest.fixture
def chat(one_chat: ChatUpstream) -> ChatUpstream:
    one_chat.clear()
    return one_chat


@pytest.fixture
def jane(make_site: MakeSite, upstream: RecordingUpstream, chat: ChatUpstream) -> Caller:
    """On SQLite: a WebSocket asks Django, whatever the database is."""
    open_route = {"url": f"{chat.url}/api/", "websocket": True, "max_body": 1_000_000}
    site = make_site(
        server="uvicorn",
        env={"LANE": "1"},
        upstreams={
            "chat": open_route,
            "public": {**open_route, "token": "user-or-none"},
            "closed": {"url": f"{chat.url}/api/"},
            "guarded": {**open_route, "permissions": ["tests.support.guards.AsAsked"]},
            "few": {**open_route, "max_streams": 1},
            "narrow": {**open_route, "paths": ["^echo$"]},
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
    with pytest.raises(InvalidStatus) as refused:
        open_socket(jane, **how)
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
    "no-route": ({"target": "photos/echo"}, 404, "no_such_upstream"),
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


def test_an_ended_grant_opens_none_and_its_end_closes_what_is_open(
    jane: Caller, chat: ChatUpstream
):
    with open_socket(jane) as line, open_socket(jane, "public/echo", cookie="a=b") as nobodys:
        line.send("x")
        assert line.recv(10) == "x"
        cookie = jane.cookie.decode()
        assert jane.browser.fetch("logout/", "POST").status == 200
        begin = time.monotonic()
        with pytest.raises(ConnectionClosed) as closed:
            line.recv(10)
        assert time.monotonic() - begin < CUT + SLACK
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401
        assert refusal(jane, cookie=cookie) == (401, "grant_ended")
        eventually(lambda: chat.closed == [1001])
        nobodys.send("still here")  # the positive twin
        assert nobodys.recv(10) == "still here"


def test_each_side_learns_how_the_other_closed(jane: Caller, chat: ChatUpstream):
    with open_socket(jane, "chat/bye") as line, pytest.raises(ConnectionClosed) as closed:
        line.recv(10)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4000, "bye")
    with open_socket(jane, "chat/vanish") as line, pytest.raises(ConnectionClosed) as closed:
        line.send("x")
        line.recv(10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1011
    chat.closed.clear()
    with open_socket(jane) as line:
        line.close(4321)
    eventually(lambda: 4321 in chat.closed)
    with open_socket(jane) as line:
        line.socket.shutdown(socket.SHUT_RDWR)  # a browser that is gone
    eventually(lambda: {1000, 1001} & set(chat.closed))


def test_a_message_that_is_too_large_closes(jane: Caller, chat: ChatUpstream):
    with open_socket(jane, "chat/echo") as line, pytest.raises(ConnectionClosed) as closed:
        line.send(b"x" * 1_000_001)
        line.recv(10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


def test_an_upstream_that_is_not_there_or_says_no_is_a_bad_gateway(jane: Caller):
    assert refusal(jane, target="gone/echo") == (502, "upstream_unreachable")
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
    with open_socket(jane, "chat/flood", max_queue=1) as line:
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
