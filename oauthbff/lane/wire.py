"""Calling upstreams without a thread each. Beside `upstream` the only room that talks to them.

One `Line` is one connection, an asyncio protocol around httptools, the parser that uvicorn
uses. Client libraries for asyncio write paths and header values anew, or cost several times
the rest of the lane. The rules are `upstream`'s: no redirects, no cookies, no proxies from
the environment, no decoding, no repeating of what may have been acted upon.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator
from functools import cache
from typing import Any

import httptools
from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from oauthbff.bulkhead import Place
from oauthbff.conf import Upstream
from oauthbff.errors import BFFError, UpstreamTimeout, UpstreamUnreachable
from oauthbff.forwarding import BODYLESS, Headers

MOST_HEADERS = 100
MOST_HEAD_BYTES = 64 * 1024
#: Bytes of an answer that wait for the browser before the upstream must wait as well.
HIGH_WATER = 256 * 1024
#: A connection that nobody needed for so long is not kept.
IDLE_SECONDS = 30.0
NEVER = float("inf")
#: The largest message of an upstream, where the route does not say `max_answer`.
MOST_MESSAGE_BYTES = 16 * 1024 * 1024
#: How long a WebSocket may take to say goodbye.
CLOSE_SECONDS = 2.0
#: Of a WebSocket's handshake only `websockets` itself says these, or they are of no meaning.
OF_HANDSHAKE = frozenset(
    """host connection upgrade content-type content-encoding content-language content-disposition
    accept-encoding range if-range if-match if-none-match if-modified-since if-unmodified-since
    idempotency-key""".split()
)
#: Close codes that an endpoint may send. RFC 6455 §7.4.1.
SENDABLE = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015)})


class NoAnswer(UpstreamUnreachable):
    """The peer closed before a single byte of an answer."""


class Line(asyncio.Protocol):
    """One connection to an upstream, and the exchange that goes over it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport = None  # type: ignore[assignment]
        self._parser: Any = None
        self._lost = False
        self._busy = False
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._write_paused = False
        self._read_paused = False
        self.idle_since = 0.0
        self.used = False
        self._reset("GET")

    def _reset(self, method: str) -> None:
        self.status = 0
        self.headers: Headers = []
        #: When the upstream has kept us waiting for too long, on the clock of `time.monotonic`.
        self.deadline = NEVER
        #: Whether the whole request was sent: an upload says so itself.
        self.sent = True
        self._method = method
        self._head_bytes = 0
        self._heard = False
        self._answered = False
        self._complete = False
        self._until_close = False
        self._reusable = False
        self._error: BFFError | None = None
        self._chunks: list[bytes] = []
        self._waiting_bytes = 0

    # ------------------------------------------------------------------ what the caller does

    def begin(self, method: str, head: bytes) -> None:
        """Send a request's head, and the body if that is small."""
        self._reset(method)
        self._busy = True
        self._transport.write(head)

    def write(self, data: bytes) -> None:
        """Send more of the body. An upstream that hung up may have answered before: look there."""
        if not self._lost:
            self._transport.write(data)

    async def drained(self) -> None:
        """Wait until the upstream has taken most of what was written."""
        if self._write_paused and not self._lost:
            self._drained = self._loop.create_future()
            await self._drained

    async def answer(self) -> None:
        """Wait for the answer's head: `status` and `headers`. Raises what `read` raises."""
        while not self._answered:
            if self._error is not None:
                raise self._error
            await self._wait()

    async def read(self) -> bytes:
        """Return the next bytes as they came, empty at the end.

        Raises `UpstreamTimeout` or `UpstreamUnreachable` when the answer is cut off.
        """
        while not self._chunks:
            if self._complete:
                return b""
            if self._error is not None:
                raise self._error
            await self._wait()
        chunk = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._waiting_bytes = 0
        if self._read_paused and not self._lost:
            self._read_paused = False
            self._transport.resume_reading()
        return chunk

    @property
    def at_end(self) -> bool:
        """Whether `read` would return the empty end now."""
        return self._complete and not self._chunks

    def fail(self, error: BFFError) -> None:
        """End the exchange here; whoever waits is told."""
        if self._error is None and not self._complete:
            self._error = error
        self.drop()
        self._wake()

    def close(self) -> None:
        """Keep the connection if answer and request are whole, else drop it."""
        if self._busy and self.sent and self._complete and self._reusable and not self._lost:
            self._busy = False
            self._parser = None if self._method == "HEAD" else self._parser
            self._pool.keep(self)
        else:
            self.drop()

    def drop(self) -> None:
        self._busy = False
        self._reusable = False
        if not self._lost:
            self._transport.abort()

    @property
    def is_fit(self) -> bool:
        """Whether a kept connection may carry another request: open, and silent."""
        if self._lost or self._transport.is_closing():
            return False
        looking = select.poll()
        looking.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not looking.poll(0)

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # ----------------------------------------------------------------- what asyncio tells us

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._pool.forget(self)
        if self._until_close and exc is None and self._error is None:
            self._complete = True
        elif not self._complete and self._error is None:
            kind = UpstreamUnreachable if self._heard else NoAnswer
            self._error = kind("the answer was cut off" if self._heard else "hung up")
        self._wake()
        self.resume_writing()

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def data_received(self, data: bytes) -> None:
        if not self._busy or self._complete:
            self.drop()  # bytes that nobody asked for: the next answer would not be its own
            return
        self._heard = True
        if not self._answered:
            self._head_bytes += len(data)
        if self._parser is None:
            self._parser = httptools.HttpResponseParser(self)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self._break(f"the answer is not HTTP: {type(exc).__name__}")
        if not self._answered and self._head_bytes > MOST_HEAD_BYTES:
            self._break("the answer's head is too long")
        if self._error is not None:
            self.drop()
        elif self._waiting_bytes > HIGH_WATER and not self._read_paused:
            self._read_paused = True
            self._transport.pause_reading()
        self._wake()

    def _break(self, why: str) -> None:
        if self._error is None and not self._complete:
            self._error = UpstreamUnreachable(why)
        self._reusable = False

    # -------------------------------------------------------------- what the parser tells us

    def on_message_begin(self) -> None:
        if self._answered:
            self._reusable = False  # a second answer to one request

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._answered:
            return  # a trailer is no header
        self.headers.append((name.decode("latin-1"), value.decode("latin-1")))
        if len(self.headers) > MOST_HEADERS or len(value) > MOST_HEAD_BYTES:
            self._break("the answer's head is too long")

    def on_headers_complete(self) -> None:
        if self._answered or self._error is not None:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self.headers = []  # an interim answer. RFC 9110 §15.2
            return
        if not 200 <= status <= 999:
            self._break("no answer's status")
            return
        framing = [(n.lower(), v) for n, v in self.headers if n.lower() in _FRAMING]
        names = {name for name, _ in framing}
        chunked = [value.lower() for name, value in framing if name == "transfer-encoding"]
        if len(set(framing)) > 1 or chunked not in ([], ["chunked"]):
            self._break("the answer's framing is ambiguous")  # RFC 9112 §6.3
            return
        self.status, self._answered = status, True
        if self._method == "HEAD" or status in BODYLESS:
            # Bytes of a body that must not exist may follow.
            smuggles = "transfer-encoding" in names or any(value != "0" for _, value in framing)
            self._finish(self._method != "HEAD" and not smuggles)
        elif not names:
            self._until_close = True

    def on_body(self, body: bytes) -> None:
        if self._complete:
            self._reusable = False
        elif self._error is None:
            self._chunks.append(body)
            self._waiting_bytes += len(body)

    def on_message_complete(self) -> None:
        if self._answered and not self._complete and self._error is None:
            self._finish(True)

    def _finish(self, reusable: bool) -> None:
        self._complete = True
        self._reusable = reusable and self._parser.should_keep_alive()


_FRAMING = frozenset({"content-length", "transfer-encoding"})


class Pool:
    """The connections of this process to one upstream."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._idle: deque[Line] = deque()
        parts = upstream.parts
        self._host = str(parts.hostname)
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None

    def take(self) -> Line | None:
        """A connection that was kept and looks alive."""
        while self._idle:
            line = self._idle.pop()
            if line.is_fit:
                line.used = True
                return line
            line.drop()
        return None

    async def connect(self, place: Place) -> Line:
        """Raises `UpstreamTimeout`, `UpstreamUnreachable`."""
        try:
            async with asyncio.timeout(self._upstream.timeouts.connect):
                _, line = await asyncio.get_running_loop().create_connection(
                    lambda: Line(self), self._host, self._port, ssl=self._tls
                )
        except TimeoutError as exc:
            place.failed()
            raise UpstreamTimeout(type(exc).__name__) from None
        except OSError as exc:
            place.failed()
            raise UpstreamUnreachable(type(exc).__name__) from None
        return line

    def keep(self, line: Line) -> None:
        now = line.idle_since = time.monotonic()
        self._idle.append(line)
        while self._idle and (
            now - self._idle[0].idle_since > IDLE_SECONDS
            or len(self._idle) > self._upstream.max_calls
        ):
            self._idle.popleft().drop()

    def forget(self, line: Line) -> None:
        if not line._busy and line in self._idle:
            self._idle.remove(line)


@cache
def pool(upstream: Upstream) -> Pool:
    return Pool(upstream)


class Dialed:
    """An open WebSocket to an upstream."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    @property
    def subprotocol(self) -> str | None:
        return self._connection.subprotocol

    @property
    def transport(self) -> asyncio.Transport:
        return self._connection.transport

    @property
    def closed_with(self) -> tuple[int | None, str]:
        return self._connection.close_code, self._connection.close_reason or ""

    async def send(self, data: str | bytes) -> bool:
        """Wait until the upstream has taken most of it. False: it is closed."""
        try:
            await self._connection.send(data)
        except ConnectionClosed:
            return False
        return True

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        with contextlib.suppress(ConnectionClosed):
            while True:
                yield await self._connection.recv()

    async def close(self, code: int) -> None:
        await self._connection.close(code)


async def dial(
    upstream: Upstream, place: Place, target: str, headers: Headers, subprotocols: list[str]
) -> Dialed:
    """Open a WebSocket to an upstream. Raises `UpstreamTimeout`, `UpstreamUnreachable`.

    Below `websockets.connect` on purpose: that one follows redirects and proxies of the
    environment.
    """
    parts = upstream.parts
    secure = parts.scheme == "https"
    path, _, query = target.partition("?")
    port = parts.port or (443 if secure else 80)
    protocol = ClientProtocol(
        WebSocketURI(secure, str(parts.hostname), port, path, query),
        subprotocols=[Subprotocol(name) for name in subprotocols] or None,
        max_size=upstream.max_answer or MOST_MESSAGE_BYTES,
    )
    passed = [pair for pair in headers if pair[0].lower() not in OF_HANDSHAKE and pair[1].isascii()]
    connected = False
    try:
        async with asyncio.timeout(upstream.timeouts.connect):
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: ClientConnection(protocol, close_timeout=CLOSE_SECONDS),
                *(str(parts.hostname), port),
                ssl=ssl.create_default_context() if secure else None,
            )
        connected = True
        try:
            async with asyncio.timeout(upstream.timeouts.first_byte):
                await connection.handshake(passed, user_agent_header=None)
        except BaseException:
            connection.transport.abort()
            raise
    except TimeoutError as exc:
        place.failed()
        raise UpstreamTimeout(type(exc).__name__) from None
    except (OSError, WebSocketException, ValueError) as exc:
        if not connected:
            place.failed()
        raise UpstreamUnreachable(f"no WebSocket: {type(exc).__name__}") from None
    place.reached()
    return Dialed(connection)


def sendable(code: int | None, *, otherwise: int) -> int:
    """A close code that may be sent; 1005 and 1006 only say that none came. RFC 6455 §7.4."""
    if code == 1005:
        return 1000
    if code is not None and (code in SENDABLE or 3000 <= code < 5000):
        return code
    return otherwise
