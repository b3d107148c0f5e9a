"""Calls: one `Line` is one connection, kept in its upstream's `Pool` for the next call.

It is an asyncio protocol around httptools, the parser that uvicorn uses. Client libraries for
asyncio write paths and header values anew, or cost several times the rest of the lane.
"""

from __future__ import annotations

import asyncio
import select
import ssl
import time
from collections import deque
from functools import cache
from typing import Any

import httptools

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
