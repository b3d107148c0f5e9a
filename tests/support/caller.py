"""Caller: a person who is signed in, on a raw socket, at the site that all proxy tests share.

jane = signed_in(proxy_site(make_site, upstream, "gunicorn"), upstream)
said = jane.ask("GET", "photos/1", "Range: bytes=0-9")
assert (said.status, said.code) == (200, None)
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import json
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.support.browser import Browser, Streaming
from tests.support.ports import LOOPBACK, free_port
from tests.support.site import EDGE_SECRET, Site
from tests.support.upstream import RecordingUpstream, events

#: The ways in which a proxy in front carries the call; what they do not keep is in `deviations`.
EDGES: dict[str, dict[str, Any]] = {
    name: {"server": "gunicorn", "front": name} for name in ("nginx", "caddy")
}
#: The ways a call can be carried: what `Site` is started with. Each proxy test runs through each.
DOORS: dict[str, dict[str, Any]] = {
    "gunicorn": {"server": "gunicorn"},
    "uvicorn": {"server": "uvicorn"},
    "lane": {"server": "uvicorn", "database": "postgresql", "env": {"LANE": "1"}},
    **EDGES,
}
#: A proxy in front that hands the routes with WebSockets on to a lane.
HANDED_ON: dict[str, dict[str, Any]] = {
    f"{name}-lane": {**options, "lane_routes": []} for name, options in EDGES.items()
}
#: Those without a proxy in front.
OURS = ("gunicorn", "uvicorn", "lane")
#: Those through which the upstream gets the first bytes of an upload before the browser has sent
#: the last. Django's own ASGI handler takes the whole body before any view runs.
STREAMING = ("gunicorn", "lane", *EDGES)
#: Those where a waiting call occupies no worker.
ASYNC = ("uvicorn", "lane", *EDGES)
ALL_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
HASTY = {"connect": 0.5, "first_byte": 0.6, "idle": 0.6}  # seconds
NEVER = {"failures": 0}  # the breaker is off
SMALL_BODY = 100_000


@functools.cache
def spare_port() -> int:
    """A port where nobody listens, unless a test does."""
    return free_port()


def routes(url: str) -> dict[str, dict[str, Any]]:
    """The upstreams of all proxy tests; each has its own prefix on the recording upstream."""
    return {
        "photos": {"url": f"{url}/photos/"},
        "photos2": {"url": f"{url}/second/"},
        "v1": {"url": f"{url}/deep/api/v1/", "max_body": SMALL_BODY},
        "weather": {"url": f"{url}/weather/", "token": "none", "methods": ["GET"]},
        "news": {"url": f"{url}/news/", "token": "user-or-none"},
        "public": {"url": f"{url}/public/", "paths": ["^open/[a-z]+$", "^list$"]},
        "pictures": {"url": f"{url}/pictures/", "embed": ["image"]},
        "cached": {"url": f"{url}/cached/", "cache": True},
        "extra": {
            "url": f"{url}/extra/",
            "headers": ["X-Tenant", "*"],
            "response_headers": ["X-Extra"],
        },
        "hasty": {"url": f"{url}/hasty/", "timeouts": HASTY, "breaker": NEVER},
        "gone": {
            "url": f"http://{LOOPBACK}:{spare_port()}/",
            "timeouts": HASTY,
            "breaker": NEVER,
        },
        "guarded": {
            "url": f"{url}/guarded/",
            "token": "user-or-none",
            "permissions": ["tests.support.guards.AsAsked"],
            "throttles": ["tests.support.guards.ThriceAMinute"],
        },
        "brief": {
            "url": f"{url}/brief/",
            "timeouts": {"idle": 0.6, "total": 1.2},
            "max_answer": SMALL_BODY,
            "breaker": NEVER,
        },
        "live": {"url": f"{url}/live/", "websocket": True},
        "small": {"url": f"{url}/small/", "max_calls": 3, "max_streams": 1},
        "fragile": {
            "url": f"{url}/fragile/",
            "timeouts": HASTY,
            "breaker": {"failures": 2, "cooldown": 1.5},
        },
    }


@dataclass
class Raw:
    """An answer to the byte."""

    wire: bytes
    status: int
    headers: list[tuple[str, str]]
    body: bytes  # with its chunks taken off
    whole: bool  # False: the answer ends before its end

    def get(self, name: str) -> str | None:
        values = self.all(name)
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        return [value for each, value in self.headers if each.lower() == name.lower()]

    @property
    def code(self) -> str | None:
        return self.get("X-BFF-Error")


class _Replayed:
    """Bytes that http.client takes for a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: object) -> io.BytesIO:
        return io.BytesIO(self._data)


def parse(wire: bytes, method: str = "GET") -> Raw:
    """Read one answer; status 0 when the server hung up without one."""
    if not wire:
        return Raw(wire, 0, [], b"", False)
    response = http.client.HTTPResponse(_Replayed(wire), method=method)  # type: ignore[arg-type]
    response.begin()
    try:
        body, whole = response.read(), True
    except http.client.IncompleteRead as cut:
        body, whole = cut.partial, False
    headers = response.getheaders()
    response.close()
    return Raw(wire, response.status, headers, body, whole)


def send(site: Site, data: bytes | Iterable[bytes], *, timeout: float = 15) -> bytes:
    """Send exactly these bytes, return all that comes back until the server hangs up."""
    got = b""
    with socket.create_connection((LOOPBACK, site.port), timeout=timeout) as line:
        try:
            for piece in [data] if isinstance(data, bytes) else data:
                line.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has answered before it has read everything
        try:
            while more := line.recv(65536):
                got += more
        except ConnectionResetError:
            pass
    return got


@dataclass
class Caller:
    """A browser that is signed in, and the same person on a raw socket."""

    site: Site
    browser: Browser
    upstream: RecordingUpstream

    @property
    def sees_the_raw_target(self) -> bool:
        """Whether the server tells an absolute form, and an empty query from none."""
        return self.site.server == "gunicorn"

    @property
    def believes_forwarded_for(self) -> bool:
        """Whether the server takes loopback for a reverse proxy that it trusts."""
        return self.site.server == "uvicorn"

    @property
    def cookie(self) -> bytes:
        return self.browser.cookie_header("/bff/api/photos/1").encode()

    @property
    def key(self) -> bytes:
        """The session cookie's value."""
        return self.browser.cookies["__Host-Http-bff-auth"].value.encode()

    def head(
        self,
        method: str,
        target: str | bytes,
        *lines: str | bytes,
        cookie: bytes | None = None,
        ours: bool = True,
    ) -> bytes:
        """A request's head. `ours`: what our own page's fetch adds. Ask for no keep-alive."""
        target = target.encode() if isinstance(target, str) else target
        own: list[str | bytes] = [f"Host: localhost:{self.site.port}"]
        if ours:
            own += ["X-BFF: 1", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors"]
        if not any(_bytes(line).lower().startswith(b"connection:") for line in lines):
            own.append("Connection: close")
        cookie = self.cookie if cookie is None else cookie
        if cookie:
            own.append(b"Cookie: " + cookie)
        written = [method.encode() + b" " + target + b" HTTP/1.1", *map(_bytes, (*own, *lines))]
        return b"\r\n".join(written) + b"\r\n\r\n"

    def ask(
        self, method: str, target: str | bytes, *lines: str | bytes, body: bytes = b"", **how: Any
    ) -> Raw:
        """Ask on a raw socket. `target` is below /bff/api/ unless it says otherwise."""
        target = target.encode() if isinstance(target, str) else target
        if not how.pop("whole_target", False):
            target = b"/bff/api/" + target
        head = self.head(method, target, *lines, **how)
        return parse(send(self.site, head + body), method)

    def reached(self) -> list[str]:
        """The request lines that the upstream has seen."""
        return [f"{one.method} {one.target}" for one in self.upstream.requests]

    def still_works(self) -> None:
        """The positive twin of every refusal: the same person, an ordinary call."""
        said = self.ask("GET", "photos/ordinary")
        assert said.status == 200
        assert json.loads(said.body)["target"] == "/photos/ordinary"  # the upstream's own echo


def _bytes(line: str | bytes) -> bytes:
    return line.encode("latin-1") if isinstance(line, str) else line


def proxy_site(make_site: Callable[..., Site], upstream: RecordingUpstream, door: str) -> Site:
    """The site of all proxy tests, behind one of `DOORS`."""
    return site_behind(
        door, make_site, routes(upstream.url), env={"OAUTHBFF_EDGE_SECRET": EDGE_SECRET}
    )


def site_behind(
    door: str,
    make_site: Callable[..., Site],
    upstreams: dict[str, Any],
    env: dict[str, str],
    **options: Any,
) -> Site:
    """A site behind one of `DOORS`, or a server by its name."""
    of_door = DOORS.get(door) or {"server": door}
    return make_site(
        upstreams=upstreams, **{**options, **of_door, "env": of_door.get("env", {}) | env}
    )


def signed_in(site: Site, upstream: RecordingUpstream, sub: str = "jane") -> Caller:
    browser = site.browser()
    browser.login(sub)
    return Caller(site, browser, upstream)


@contextlib.contextmanager
def two_feeds(one: Caller, other: Caller) -> Iterator[tuple[Streaming, Streaming]]:
    """An event stream for each of them; the next event comes after eight seconds."""
    one.upstream.on("/photos/feed", events("hello", "never", pause=8))
    with (
        one.browser.stream("api/photos/feed") as ones,
        other.browser.stream("api/photos/feed") as others,
    ):
        assert next(ones.chunks) == next(others.chunks) == b"data: hello\n\n"
        time.sleep(0.3)
        yield ones, others


def eventually(what: Any, *, seconds: float = 5) -> float:
    """Wait until `what()` is true; return how long it took."""
    begin = time.monotonic()
    while not what():
        assert time.monotonic() - begin < seconds, f"not within {seconds:g} s"
        time.sleep(0.01)
    return time.monotonic() - begin
