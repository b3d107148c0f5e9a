"""Browser: an HTTP client that behaves as Chromium does where it matters to a back end.

Cookies with SameSite and prefixes (cookies.py), Fetch Metadata, Origin, redirects of
navigations and forms that submit themselves; it runs no other script. Requests are written byte
by byte, so a path arrives exactly as given: no normalisation, no validation. All names are
reached on 127.0.0.1.

`received` holds every byte that any server ever sent it, with the transfer encoding and the
compression taken off, for the canary search.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import json
import socket
import threading
import urllib.parse
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any, Protocol

from tests.support.cookies import SAFE_METHODS, Jar, Trip, origin_of, site_of
from tests.support.ports import LOOPBACK

USER_AGENT = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/156.0.0.0 Safari/537.36"
)
REDIRECTS = (301, 302, 303, 307, 308)
MOST_REDIRECTS = 20
TIMEOUT_SECONDS = 30

Body = bytes | str | Mapping[str, Any] | Iterable[bytes] | None


class LogsIn(Protocol):
    """What `Browser.login` needs of a provider."""

    def login_as(self, sub: str | None) -> None: ...


@dataclass(repr=False)
class Answer:
    url: str
    status: int
    headers: list[tuple[str, str]]
    body: bytes  # decompressed
    sent: bytes  # the request's head, as it was written
    chain: list[Answer] = field(default_factory=list)  # the redirects that led here, oldest first

    def get(self, name: str) -> str | None:
        """Return the header's first value."""
        values = self.all(name)
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        return [value for each, value in self.headers if each.lower() == name.lower()]

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", errors="replace")

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The `code` of a problem+json answer of the back end."""
        return self.get("x-bff-error")

    @property
    def query(self) -> dict[str, str]:
        """The query of the address we ended at."""
        return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.url).query))

    def forms(self) -> list[Form]:
        return _forms(self.text)

    @property
    def submits_itself(self) -> bool:
        """Tell whether a script of the page posts its form at once, as oidc-provider's do."""
        html = (self.get("content-type") or "").startswith("text/html")
        return html and b"document.forms[0].submit()" in self.body

    def __repr__(self) -> str:
        return f"<{self.status} {self.url} {self.body[:120]!r}>"

    def __str__(self) -> str:
        steps = "".join(f"{each.status} {each.url}\n -> " for each in self.chain)
        headers = "\n".join(f"{name}: {value}" for name, value in self.headers)
        return f"{steps}{self.status} {self.url}\n{headers}\n\n{self.text[:2000]}"


@dataclass
class Streaming:
    """An answer whose body is still coming."""

    status: int
    headers: list[tuple[str, str]]
    chunks: Iterator[bytes]  # as they arrive; not decompressed


@dataclass
class Form:
    action: str
    method: str
    fields: dict[str, str]  # with its first named button, as if that one were pressed


class Browser:
    def __init__(
        self,
        base_url: str,
        provider: LogsIn | None = None,
        *,
        port: int | None = None,
        mount: str = "/bff/",
        header: str = "X-BFF",
        user_agent: str = USER_AGENT,
    ) -> None:
        self.origin = origin_of(base_url)
        self.port = port  # where the origin is really served, if not at its own port
        self.provider = provider
        self.mount = mount
        self.header = header
        self.user_agent = user_agent
        self.cookies = Jar()
        self.page = f"{self.origin}/"  # where the tab is
        self._received: list[bytes] = []
        self._lock = threading.Lock()

    @property
    def received(self) -> bytes:
        with self._lock:
            return b"\n".join(self._received)

    def url(self, path: str) -> str:
        """Return the address of `session/` (a door), `/x` (the site) or `http://…` (anything)."""
        if path.startswith(("http://", "https://")):
            return path
        return self.origin + (path if path.startswith("/") else self.mount + path)

    # --------------------------------------------------------------------- navigations

    def navigate(
        self,
        path: str,
        *,
        from_site: str | None = None,
        method: str = "GET",
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str | None] | None = None,
        follow: bool = True,
    ) -> Answer:
        """Go to a page, through its redirects, as a click or (without `from_site`) as typed.

        `from_site` is the URL of the page with the link. With `form` it is that form, posted.
        A header given as None is left out.
        """
        url = self.url(path)
        body = None if form is None else urllib.parse.urlencode(form).encode()
        method = "POST" if form is not None else method
        through = (from_site,) if from_site else ()
        chain: list[Answer] = []
        while True:
            trip = Trip(url=url, method=method, navigation=True, through=through)
            answer = self._send(
                trip, self._navigation_headers(trip, from_site, body, headers), body
            )
            location = answer.get("location")
            if not follow or answer.status not in REDIRECTS or not location:
                break
            if len(chain) >= MOST_REDIRECTS:
                raise AssertionError(f"more than {MOST_REDIRECTS} redirects, at last {answer}")
            chain.append(answer)
            through = (*through, url)
            url = urllib.parse.urljoin(url, location)
            if answer.status == 303 or (answer.status in (301, 302) and method == "POST"):
                method, body = "GET", None
        answer.chain = chain
        self.page = url
        if follow and answer.submits_itself:
            arrived = self.submit(answer)
            arrived.chain = [*chain, answer, *arrived.chain]
            return arrived
        return answer

    def submit(self, answer: Answer, number: int = 0, **changes: str) -> Answer:
        """Post (or get) a form of a page we are on, with its first button pressed."""
        form = answer.forms()[number]
        fields = {**form.fields, **changes}
        target = urllib.parse.urljoin(answer.url, form.action or answer.url)
        if form.method == "get":
            target = f"{target.partition('?')[0]}?{urllib.parse.urlencode(fields)}"
            return self.navigate(target, from_site=answer.url)
        return self.navigate(target, from_site=answer.url, form=fields)

    def _navigation_headers(
        self,
        trip: Trip,
        from_site: str | None,
        body: bytes | None,
        changes: Mapping[str, str | None] | None,
    ) -> list[tuple[str, str]]:
        headers = {
            "Host": urllib.parse.urlsplit(trip.url).netloc,
            "Connection": "keep-alive",
            "Upgrade-Insecure-Requests": "1",
            "User-Agent": self.user_agent,
            "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            # A typed address stays "none" through all redirects (Fetch Metadata, section 2.3).
            "Sec-Fetch-Site": self._distance(trip) if from_site else "none",
            "Sec-Fetch-Mode": "navigate",
            "Sec-Fetch-User": "?1",
            "Sec-Fetch-Dest": "document",
            "Accept-Encoding": "gzip, deflate",
            "Accept-Language": "en",
        }
        if trip.method not in SAFE_METHODS:
            # Redirected to another origin, the browser no longer vouches for the first.
            steps = [origin_of(url) for url in trip.through] or [self.origin]
            headers["Origin"] = steps[0] if len(set(steps)) == 1 else "null"
        if from_site:
            headers["Referer"] = _referer(from_site, trip.url)
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        return _changed(headers, changes)

    # ------------------------------------------------------------------------- fetches

    def fetch(
        self,
        path: str,
        method: str = "GET",
        headers: Mapping[str, str | None] | None = None,
        body: Body = None,
        *,
        from_site: str | None = None,
        timeout: float = TIMEOUT_SECONDS,
    ) -> Answer:
        """Fetch from a page of the site itself: our header, same-origin metadata, cookies.

        A mapping is sent as JSON, an iterable of bytes in chunks. A header given as None is
        left out. With `from_site` it is that foreign page's `fetch(…, {mode: "no-cors",
        credentials: "include"})`: no header of ours, and what a browser adds says so. Redirects
        are not followed.
        """
        trip, lines = self._prepared(path, method, headers, body, from_site)
        return self._send(trip, lines, body, timeout=timeout)

    @contextlib.contextmanager
    def stream(
        self,
        path: str,
        method: str = "GET",
        headers: Mapping[str, str | None] | None = None,
        body: Body = None,
        *,
        timeout: float = TIMEOUT_SECONDS,
    ) -> Iterator[Streaming]:
        """Fetch, and read the body as it comes. Leaving the block hangs up."""
        trip, lines = self._prepared(path, method, headers, body, None)
        with self._exchange(trip, lines, body, timeout) as (response, _):
            self._note(response, b"")

            def chunks() -> Iterator[bytes]:
                while piece := response.read1(65536):
                    with self._lock:
                        self._received.append(piece)
                    yield piece

            yield Streaming(response.status, response.getheaders(), chunks())

    def together(self, count: int, path: str, **fetch: Any) -> list[Answer]:
        """Send `count` equal fetches at the same moment."""
        barrier = threading.Barrier(count)

        def one(_: int) -> Answer:
            barrier.wait()
            return self.fetch(path, **fetch)

        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            return list(pool.map(one, range(count)))

    def _prepared(
        self,
        path: str,
        method: str,
        changes: Mapping[str, str | None] | None,
        body: Body,
        from_site: str | None,
    ) -> tuple[Trip, list[tuple[str, str]]]:
        page = from_site or f"{self.origin}/"
        trip = Trip(url=self.url(path), method=method, through=(page,))
        headers = {
            "Host": urllib.parse.urlsplit(trip.url).netloc,
            "Connection": "keep-alive",
            "User-Agent": self.user_agent,
            "Accept": "*/*",
            "Sec-Fetch-Site": self._distance(trip),
            "Sec-Fetch-Mode": "no-cors" if from_site else "cors",
            "Sec-Fetch-Dest": "empty",
            "Referer": _referer(page, trip.url),
            "Accept-Encoding": "gzip, deflate",
            "Accept-Language": "en",
        }
        if not from_site:
            headers[self.header] = "1"
        if method not in SAFE_METHODS:
            headers["Origin"] = origin_of(page)
        if isinstance(body, Mapping):
            headers["Content-Type"] = "application/json"
        elif isinstance(body, str):
            headers["Content-Type"] = "text/plain;charset=UTF-8"
        return trip, _changed(headers, changes)

    # ------------------------------------------------------------- signing in and out

    def login(self, sub: str = "jane", *, return_to: str = "/") -> Answer:
        """Sign in as the SPA does it, by navigating to `login/`. Fails the test if it fails.

        Somebody else's session at the provider is ended on the way: the provider then sends its
        back-channel logout, as oidc-provider does.
        """
        if self.provider is not None:
            self.provider.login_as(sub)
        query = urllib.parse.urlencode({"return_to": return_to})
        answer = self.navigate(f"login/?{query}", from_site=f"{self.origin}/")
        if not self.is_logged_in():
            refused = "\n".join(self.cookies.refused)
            raise AssertionError(f"not logged in; refused cookies: {refused or 'none'}\n{answer}")
        return answer

    def is_logged_in(self) -> bool:
        """Ask `session/`, without counting as activity."""
        return bool(self.session()["authenticated"])

    def session(self) -> dict[str, Any]:
        answer = self.fetch("session/?slide=false")
        if answer.status != 200:
            raise AssertionError(f"session/ must always answer 200\n{answer}")
        said: dict[str, Any] = answer.json()
        return said

    def logout(self, *, at_provider: bool = True) -> Answer:
        """Sign out as the SPA does it: a fetch, then a navigation to the provider, and yes."""
        answer = self.fetch("logout/", "POST")
        if answer.status != 200:
            raise AssertionError(f"logout/ refused\n{answer}")
        url = answer.json()["logout_url"]
        if not at_provider or not url:
            return answer
        asked = self.navigate(url, from_site=f"{self.origin}/")
        return self.submit(asked) if asked.forms() else asked

    # ------------------------------------------------------------------------ the wire

    def raw(self, data: bytes, *, timeout: float = TIMEOUT_SECONDS) -> Answer:
        """Send exactly these bytes to the site and return its answer. No cookie is added."""
        with contextlib.closing(self._connect(self.origin, timeout)) as line:
            line.sendall(data)
            response = http.client.HTTPResponse(line)
            with contextlib.closing(response):
                response.begin()
                body = response.read()
                return self._answer(self.origin, response, body, data)

    def cookie_header(self, path: str) -> str:
        """Return the cookies that a fetch of `path` would carry, for `raw`."""
        return self.cookies.header(Trip(url=self.url(path), through=(self.origin,)))

    def _send(
        self,
        trip: Trip,
        headers: list[tuple[str, str]],
        body: Body,
        *,
        timeout: float = TIMEOUT_SECONDS,
    ) -> Answer:
        with self._exchange(trip, headers, body, timeout) as (response, head):
            return self._answer(trip.url, response, response.read(), head)

    @contextlib.contextmanager
    def _exchange(
        self, trip: Trip, headers: list[tuple[str, str]], body: Body, timeout: float
    ) -> Iterator[tuple[http.client.HTTPResponse, bytes]]:
        with self._lock:
            cookies = self.cookies.header(trip)
        pieces, framing = _framed(body, trip.method)
        given = {name.lower() for name, _ in headers}
        lines = [*headers, *((n, v) for n, v in framing if n.lower() not in given)]
        if cookies and "cookie" not in given:
            lines.append(("Cookie", cookies))
        target = trip.url.removeprefix(origin_of(trip.url)).partition("#")[0] or "/"
        head = f"{trip.method} {target} HTTP/1.1\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in lines)
        written = head.encode("utf-8") + b"\r\n"

        with contextlib.closing(self._connect(trip.url, timeout)) as line:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                # A server may answer and hang up before it has read everything (413).
                line.sendall(written)
                for piece in pieces:
                    line.sendall(piece)
            response = http.client.HTTPResponse(line, method=trip.method)
            with contextlib.closing(response):
                response.begin()
                with self._lock:
                    for value in response.msg.get_all("set-cookie", []):
                        self.cookies.take(value, trip)
                yield response, written

    def _connect(self, url: str, timeout: float) -> socket.socket:
        port = urllib.parse.urlsplit(url).port
        if self.port and origin_of(url) == self.origin:
            port = self.port
        assert port, f"{url}: only loopback servers with a port can be reached"
        return socket.create_connection((LOOPBACK, port), timeout=timeout)

    def _answer(
        self, url: str, response: http.client.HTTPResponse, body: bytes, head: bytes
    ) -> Answer:
        if response.getheader("content-encoding") in ("gzip", "deflate"):
            body = zlib.decompress(body, zlib.MAX_WBITS | 32) if body else body
        self._note(response, body)
        return Answer(url, response.status, response.getheaders(), body, head)

    def _note(self, response: http.client.HTTPResponse, body: bytes) -> None:
        lines = [f"{response.status} {response.reason}"]
        lines += [f"{name}: {value}" for name, value in response.getheaders()]
        with self._lock:
            self._received.append("\r\n".join(lines).encode("latin-1", "replace"))
            self._received.append(body)

    def _distance(self, trip: Trip) -> str:
        """Return Sec-Fetch-Site: how far the farthest step of the way was."""
        if trip.cross_site:
            return "cross-site"
        if any(origin_of(url) != origin_of(trip.url) for url in trip.through):
            return "same-site"
        return "same-origin"


def _referer(page: str, target: str) -> str:
    """Apply strict-origin-when-cross-origin, the default policy."""
    return page if origin_of(page) == origin_of(target) else f"{origin_of(page)}/"


def _changed(
    headers: dict[str, str], changes: Mapping[str, str | None] | None
) -> list[tuple[str, str]]:
    changes = dict(changes or {})
    replaced = {name.lower() for name in changes}
    kept = [(name, value) for name, value in headers.items() if name.lower() not in replaced]
    return kept + [(name, value) for name, value in changes.items() if value is not None]


def _framed(body: Body, method: str) -> tuple[Iterable[bytes], list[tuple[str, str]]]:
    if isinstance(body, Mapping):
        body = json.dumps(body)
    if isinstance(body, str):
        body = body.encode()
    if isinstance(body, bytes):
        return [body], [("Content-Length", str(len(body)))]
    if body is None:
        return [], [("Content-Length", "0")] if method in ("POST", "PUT", "PATCH") else []
    pieces = body

    def in_chunks() -> Iterator[bytes]:
        for piece in pieces:
            yield b"%x\r\n%s\r\n" % (len(piece), piece)
        yield b"0\r\n\r\n"

    return in_chunks(), [("Transfer-Encoding", "chunked")]


class _FormReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._inside = False
        self._pressed = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(said.get("action", ""), said.get("method", "get").lower(), {}))
            self._inside, self._pressed = True, False
        elif not self._inside or "name" not in said:
            return
        elif tag == "button" or said.get("type") == "submit":
            if not self._pressed:
                self.forms[-1].fields[said["name"]] = said.get("value", "")
            self._pressed = True
        elif tag == "input" and (said.get("type") != "checkbox" or "checked" in said):
            self.forms[-1].fields[said["name"]] = said.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False


def _forms(html: str) -> list[Form]:
    reader = _FormReader()
    reader.feed(html)
    reader.close()
    return reader.forms


__all__ = ["Answer", "Browser", "Form", "Streaming", "site_of"]
