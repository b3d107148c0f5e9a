"""Calling upstreams. The only room that talks to them.

A small pool of urllib3 connections per upstream and process. Below urllib3's
`PoolManager` on purpose: that one normalises URLs, and a path must reach the
upstream byte-identical. No redirects, no repeating of what may have been acted
upon, no cookies, no proxies from the environment, no decoding.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import cache
from http.client import HTTPException, IncompleteRead, RemoteDisconnected
from typing import cast

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ReadTimeoutError,
)
from urllib3.util.connection import is_connection_dropped
from urllib3.util.wait import wait_for_read

from .bulkhead import Place, bulkhead
from .conf import Upstream
from .errors import ForwardingError, UpstreamTimeout, UpstreamUnreachable
from .forwarding import BODYLESS, Headers, is_event_stream, request_head

CHUNK_BYTES = 64 * 1024
IDLE_CONNECTIONS = 16
#: A method that may be sent again if a kept connection turns out to be dead. RFC 9110 §9.2.2.
REPEATABLE = frozenset({"GET", "HEAD", "PUT", "DELETE"})

Body = bytes | Iterator[bytes] | None


class Answer:
    """An upstream's answer whose body is still on the wire. Close it, whatever happens."""

    def __init__(self, response: _Head, line: _Line, method: str, place: Place) -> None:
        self.status = response.status
        self.headers = response.fields
        self.bodyless = method == "HEAD" or response.status in BODYLESS
        self._response = response
        self._line = line
        self._place = place
        #: Whether the upstream has nothing left to send: then `read` never waits.
        self.is_here = self.bodyless
        self._ahead: bytes | None = None
        self._until: float | None = None
        self._room: int | None = None
        self._closing = threading.Lock()
        #: Called once, when the answer is closed.
        self.on_close: Callable[[Answer], None] | None = None

    def read(self) -> bytes:
        """Return the next bytes as they came, empty at the end.

        Raises `UpstreamTimeout` or `UpstreamUnreachable` when the answer is cut
        off: the browser's must then look cut off as well. An answer that another thread
        has closed ends here: an event stream has no end of its own to look whole at.
        """
        if self._ahead is not None:
            chunk, self._ahead = self._ahead, None
            return chunk
        if self.is_here:
            return b""
        self._check_time()
        try:
            chunk = self._response.read1(CHUNK_BYTES)
            if self._response.length == 0:
                self._response.close()  # everything is here
            elif not chunk and self._response.length:
                raise IncompleteRead(b"", self._response.length)
        except (ReadTimeoutError, TimeoutError):
            raise UpstreamTimeout("the upstream fell silent") from None
        except (HTTPError, HTTPException, OSError, ValueError, AttributeError) as exc:
            if self._closing.locked():
                return b""
            raise UpstreamUnreachable(f"the answer was cut off: {type(exc).__name__}") from None
        self.is_here = self._response.isclosed()
        if self._room is not None:
            self._room -= len(chunk)
            if self._room < 0:
                raise UpstreamUnreachable("the answer is too large")
        return chunk

    def limit(self, upstream: Upstream, until: float) -> None:
        """Cut the answer off when it takes too long or grows too large; `until` is monotonic.

        Raises `UpstreamUnreachable` when it says itself that it will be too large.
        """
        self._until, self._room = until, upstream.max_answer
        length = self._response.length or 0
        if self._room is not None and length > self._room and not self.bodyless:
            raise UpstreamUnreachable(f"the answer has {length} bytes, at most {self._room}")

    def _check_time(self) -> None:
        if self._until is None:
            return
        left = self._until - time.monotonic()
        if left <= 0:
            raise UpstreamTimeout("the call takes too long")
        self._line.wait_no_longer(left)

    def look_ahead(self) -> None:
        """Read the first bytes now, so that an answer that breaks before them can be a 502.

        And of chunks, those that are here already: mostly that is all of them. An answer that
        is here needs its connection no more, however long the browser takes over it.
        """
        ahead = self.read()
        while self._response.chunked and len(ahead) < CHUNK_BYTES and self._goes_on_at_once():
            ahead += self.read()
        if self.is_here:
            self.close()
        self._ahead = ahead

    def _goes_on_at_once(self) -> bool:
        """Whether the next chunk need not be waited for. The line end of the last one is none."""
        if self.is_here:
            return False
        with self._line.without_waiting(), contextlib.suppress(OSError):
            return len(self._response.fp.peek()) > 2 or wait_for_read(self._line.wire, 0)
        return False

    def close(self) -> None:
        """Keep the connection if the answer is whole, else drop it. May be called twice."""
        if not self._closing.acquire(blocking=False):
            return
        if self.on_close is not None:
            self.on_close(self)
        if self.is_here and not self._response.will_close and not self._smuggles():
            self._response.close()
            self._line.keep()
        else:
            self._line.drop()
            self._response.close()
        self._place.leave()

    def _smuggles(self) -> bool:
        """Whether bytes of a body that must not exist may follow. RFC 9112 §6.3."""
        if self.status not in BODYLESS:
            return False
        lengths, codings = map(self._response.said, ("content-length", "transfer-encoding"))
        return bool(codings) or any(length != "0" for length in lengths)


class _Line:
    """One connection, out of the pool. urllib3 connects, TLS and all; we write and read."""

    def __init__(self, pool: deque[HTTPConnection], connection: HTTPConnection, used: bool) -> None:
        self.used = used
        self._connection = connection
        self._pool = pool

    def connect(self, seconds: float) -> None:
        if self._connection.sock is None:
            self._connection.timeout = seconds
            self._connection.connect()

    @property
    def wire(self) -> socket.socket:
        """There is one from `connect` to `drop`."""
        return cast(socket.socket, self._connection.sock)

    def send(self, head: bytes, body: Body, *, chunked: bool) -> None:
        if not isinstance(body, Iterator):
            self.wire.sendall(head + (body or b""))
            return
        self.wire.sendall(head)
        for chunk in filter(None, body):  # an empty one would be the last
            self.wire.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
        if chunked:
            self.wire.sendall(b"0\r\n\r\n")

    def answer(self, method: str) -> _Head:
        """Read an answer's head."""
        head = _Head(self.wire, method=method)
        try:
            head.begin()
        except BaseException:
            head.close()
            raise
        return head

    def wait_at_most(self, seconds: float) -> None:
        self.wire.settimeout(seconds)

    def wait_no_longer(self, seconds: float) -> None:
        if seconds < (self.wire.gettimeout() or 0):
            self.wire.settimeout(seconds)

    @contextlib.contextmanager
    def without_waiting(self) -> Iterator[None]:
        seconds = self.wire.gettimeout()
        self.wire.settimeout(0)
        try:
            yield
        finally:
            self.wire.settimeout(seconds)

    def keep(self) -> None:
        if len(self._pool) < IDLE_CONNECTIONS:
            self._pool.append(self._connection)
        else:
            self.drop()

    def drop(self) -> None:
        """Wake a thread that may be reading, then close."""
        if self._connection.sock is not None:
            with contextlib.suppress(OSError):
                self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._connection.close()


def call(
    upstream: Upstream, method: str, target: str, headers: Headers, body: Body, length: int | None
) -> Answer:
    """Send one request and return the answer as soon as its head is there.

    `length` is the body's in bytes, None with a body for chunked. Raises
    `UpstreamUnreachable` or `UpstreamTimeout`, and whatever the body raises while
    it is read; the connection is then dropped, so that half a request is never
    taken for a whole one.
    """
    until = time.monotonic() + upstream.timeouts.total
    place = bulkhead(upstream).enter()
    try:
        response, line = _ask(place, upstream, method, target, headers, body, length)
        answer = Answer(response, line, method, place)
    except BaseException:
        place.leave()
        raise
    try:
        if is_event_stream(answer.headers):
            place.becomes_stream()
        else:
            answer.limit(upstream, until)
    except UpstreamUnreachable:
        answer.close()
        raise
    return answer


def reach(upstream: Upstream) -> None:
    """Connect as a call would, TLS and all, and hang up. Raises what urllib3 and the OS raise."""
    line = _fresh(upstream)
    try:
        line.connect(upstream.timeouts.connect)
    finally:
        line.drop()


def _ask(
    place: Place,
    upstream: Upstream,
    method: str,
    target: str,
    headers: Headers,
    body: Body,
    length: int | None,
) -> tuple[_Head, _Line]:
    """Ask once, and once more if a kept connection turns out to have been dead."""
    repeatable = method in REPEATABLE and not isinstance(body, Iterator)
    head = request_head(method, target, headers, has_body=body is not None, length=length)

    def once(line: _Line) -> tuple[_Head, _Line]:
        return _once(line, place, upstream, method, head, body, chunked=length is None)

    line = _take(upstream)
    try:
        return once(line)
    except _NoAnswer:
        if not (line.used and repeatable):
            raise UpstreamUnreachable("the upstream hung up without an answer") from None
    try:
        return once(_fresh(upstream))
    except _NoAnswer:
        raise UpstreamUnreachable("the upstream hung up twice without an answer") from None


class _NoAnswer(Exception):
    """The peer closed before a single byte of an answer."""


#: The first line of an answer's head, and each further one. RFC 9112 §4, §5.
_STATUS = re.compile(rb"HTTP/1\.([0-9]) +([1-9][0-9][0-9])(?: [^\r\n]*)?\r?\n")
_FIELD = re.compile(rb"([!-9;-~]+):([^\r\n]*)\r?\n")
_LENGTH = re.compile("[0-9]{1,18}")
_MOST_LINE_BYTES = 64 * 1024
_MOST_FIELDS = 100


class _Head(http.client.HTTPResponse):
    """Reads an answer's head; the body behind it is `http.client`'s to read.

    Skips interim answers, and refuses what two readers read in two ways: a line that is folded,
    nameless or cut off, a body framed twice. RFC 9110 §15.2; RFC 9112 §5.2, §6.3.
    """

    fields: Headers
    _method: str

    def begin(self) -> None:
        self.status = 100  # an interim one, until the final one comes
        while 100 <= self.status < 200 and self.status != 101:
            minor, self.status = self._status()
            self.fields = self._fields()
        if self.status == 101:
            raise HTTPException("nobody asked to switch protocols")
        lengths, codings = set(self.said("content-length")), self.said("transfer-encoding")
        if (
            len(lengths) > 1
            or not all(map(_LENGTH.fullmatch, lengths))
            or codings not in ([], ["chunked"])
        ):
            raise HTTPException("the answer's framing is ambiguous")
        options = {option.strip() for line in self.said("connection") for option in line.split(",")}
        self.will_close = "keep-alive" not in options if minor == b"0" else "close" in options
        self.chunked, self.chunk_left, self.length = bool(codings), None, None
        if codings and lengths:
            self.fields = [pair for pair in self.fields if pair[0].lower() != "content-length"]
            self.will_close = True
        elif lengths:
            self.length = int(*lengths)
        if self._method == "HEAD" or self.status in (204, 304):
            self.length = 0
        elif not codings and not lengths:
            self.will_close = True  # that is where it ends

    def said(self, name: str) -> list[str]:
        """The values of a field, in lower case."""
        return [value.lower() for own, value in self.fields if own.lower() == name]

    def _status(self) -> tuple[bytes, int]:
        line = self.fp.readline(_MOST_LINE_BYTES)
        if not line:
            raise RemoteDisconnected("hung up")
        found = _STATUS.fullmatch(line)
        if found is None:
            raise HTTPException("the answer is not HTTP")
        return found[1], int(found[2])

    def _fields(self) -> Headers:
        fields: Headers = []
        while (line := self.fp.readline(_MOST_LINE_BYTES)) not in (b"\r\n", b"\n"):
            found = _FIELD.fullmatch(line)
            if found is None or len(fields) == _MOST_FIELDS:
                raise HTTPException("the answer's head is not clear")
            name, value = found.groups()
            fields.append((name.decode("latin-1"), value.strip(b" \t").decode("latin-1")))
        return fields


def _once(
    line: _Line,
    place: Place,
    upstream: Upstream,
    method: str,
    head: bytes,
    body: Body,
    *,
    chunked: bool,
) -> tuple[_Head, _Line]:
    connected = False
    try:
        line.connect(upstream.timeouts.connect)
        connected = True
        line.wait_at_most(min(upstream.timeouts.first_byte, upstream.timeouts.total))
        # An upstream may answer before it has read everything (413, 401): then look at the answer.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            line.send(head, body, chunked=chunked)
        response = line.answer(method)
        line.wait_at_most(upstream.timeouts.idle)
    except BaseException as exc:
        line.drop()
        ours = _translate(exc)
        if isinstance(ours, UpstreamTimeout) or not connected:
            place.failed()
        raise ours from None
    place.reached()
    return response, line


def _translate(exc: BaseException) -> BaseException:
    """Foreign errors become ours, once, here."""
    if isinstance(exc, ForwardingError):
        return exc
    if isinstance(exc, NewConnectionError):
        return UpstreamUnreachable(type(exc).__name__)
    if isinstance(exc, ConnectTimeoutError | ReadTimeoutError | TimeoutError):
        return UpstreamTimeout(type(exc).__name__)
    if isinstance(exc, RemoteDisconnected | ConnectionResetError | BrokenPipeError):
        return _NoAnswer(type(exc).__name__)
    if isinstance(exc, HTTPError | HTTPException | OSError):
        return UpstreamUnreachable(type(exc).__name__)
    return exc


def _take(upstream: Upstream) -> _Line:
    pool = _pool(upstream.name, upstream.url)
    while True:
        try:
            connection = pool.pop()
        except IndexError:
            return _fresh(upstream)
        if not is_connection_dropped(connection):
            return _Line(pool, connection, used=True)
        connection.close()


def _fresh(upstream: Upstream) -> _Line:
    parts = upstream.parts
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(host=str(parts.hostname), port=parts.port)
    return _Line(_pool(upstream.name, upstream.url), connection, used=False)


@cache
def _pool(name: str, url: str) -> deque[HTTPConnection]:
    """The idle connections of this process to one upstream. Its ends are thread-safe."""
    return deque()
