"""RecordingUpstream: an API on a raw socket. It keeps the exact bytes and answers as told.

Nothing here parses more than it must, so that what is recorded is what was sent. Without a
script for a path the answer is JSON: {"method", "target", "headers": [[name, value], ...],
"length", "sha256"}; it does not repeat the token, so that a token found in a browser leaked.

    with RecordingUpstream() as upstream:
        upstream.on("/v1/slow", answer(b"late", delay=2))
        upstream.on("/v1/feed*", events("one", "two", pause=0.5))
        ...
        assert upstream.requests[0].get("authorization") == "Bearer …"
"""

from __future__ import annotations

import gzip
import hashlib
import json
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Self

from tests.support.ports import LOOPBACK

KEPT_BODY = 1_000_000  # bytes; of a longer body only length and sha256 are kept
LONGEST_HEAD = 1_000_000
BLOCK = 65536

Headers = Iterable[tuple[str, str]]


@dataclass
class Request:
    """A request as it arrived."""

    head: bytes  # the request line and the headers, to the empty line
    method: str
    target: str
    version: str
    headers: list[tuple[str, str]]
    connection: int  # the same number: the same TCP connection
    at: float  # time.monotonic()
    framing: str = "none"  # "none", "length" or "chunked"
    length: int = 0
    sha256: str = ""
    body: bytes | None = b""  # None: longer than KEPT_BODY, or never complete
    complete: bool = False
    sent: int = 0  # bytes of the answer that were handed to the system
    client_gone: bool = False  # the other side hung up before the answer was complete

    def get(self, name: str) -> str | None:
        """Return the header's first value."""
        values = self.all(name)
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        return [value for each, value in self.headers if each.lower() == name.lower()]

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def token(self) -> str | None:
        """The bearer token, None without one."""
        scheme, _, token = (self.get("authorization") or "").partition(" ")
        return token if scheme.lower() == "bearer" else None


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What to send. Build it with the functions below."""

    status: int = 200
    reason: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    pieces: Callable[[], Iterable[bytes]] = tuple
    length: int | None = None  # the Content-Length announced; None: chunked
    chunked: bool = False
    delay: float = 0  # seconds before the first byte
    pause: float = 0  # seconds between two pieces
    after: int | None = None  # cut the connection after so many bytes of body
    literal: bytes | None = None  # these bytes and nothing else, then hang up
    mute: bool = False  # read the request and never say a word


def answer(
    body: bytes | str = b"", *, status: int = 200, headers: Headers = (), delay: float = 0
) -> Reply:
    data = body.encode() if isinstance(body, str) else body
    return Reply(
        status=status,
        headers=tuple(headers),
        pieces=lambda: (data,),
        length=len(data),
        delay=delay,
    )


def chunked(
    *pieces: bytes, status: int = 200, headers: Headers = (), pause: float = 0, delay: float = 0
) -> Reply:
    return Reply(
        status=status,
        headers=tuple(headers),
        pieces=lambda: pieces,
        chunked=True,
        pause=pause,
        delay=delay,
    )


def events(*data: str, pause: float = 0) -> Reply:
    """Server-sent events, one piece each."""
    pieces = [f"data: {text}\n\n".encode() for text in data]
    return chunked(*pieces, headers=[("Content-Type", "text/event-stream")], pause=pause)


def cut_off(body: bytes, *, after: int, headers: Headers = ()) -> Reply:
    """Announce all of `body` and reset the connection after `after` bytes."""
    return Reply(headers=tuple(headers), pieces=lambda: (body,), length=len(body), after=after)


def cut_off_chunked(body: bytes, *, headers: Headers = ()) -> Reply:
    """One whole chunk, then a reset instead of the last chunk."""
    return Reply(headers=tuple(headers), pieces=lambda: (body,), chunked=True, after=len(body))


def silence() -> Reply:
    """Accept the request and never answer."""
    return Reply(mute=True)


def hang_up() -> Reply:
    """Close without a byte."""
    return Reply(literal=b"")


def raw(data: bytes, *, delay: float = 0) -> Reply:
    """Send exactly these bytes and close."""
    return Reply(literal=data, delay=delay)


def redirect(location: str, *, status: int = 302) -> Reply:
    return answer(status=status, headers=[("Location", location)])


def gzipped(body: bytes, *, headers: Headers = ()) -> Reply:
    return answer(gzip.compress(body), headers=[("Content-Encoding", "gzip"), *headers])


def huge(size: int, *, headers: Headers = ()) -> Reply:
    """A body of `size` bytes, made as it is sent. Its digest: `huge_sha256(size)`."""
    return Reply(headers=tuple(headers), pieces=lambda: _huge(size), length=size)


def huge_sha256(size: int) -> str:
    digest = hashlib.sha256()
    for piece in _huge(size):
        digest.update(piece)
    return digest.hexdigest()


def _huge(size: int) -> Iterator[bytes]:
    block = bytes(range(256)) * (BLOCK // 256)
    for start in range(0, size, BLOCK):
        yield block[: size - start]


def _echo(request: Request) -> Reply:
    said = {
        "method": request.method,
        "target": request.target,
        "headers": [
            (name, "(not repeated)" if name.lower() == "authorization" else value)
            for name, value in request.headers
        ],
        "length": request.length,
        "sha256": request.sha256,
    }
    return answer(json.dumps(said), headers=[("Content-Type", "application/json")])


Script = Reply | Callable[[Request], Reply]


@dataclass
class _Route:
    pattern: str
    scripts: list[Script] = field(default_factory=list)

    def matches(self, path: str) -> bool:
        if self.pattern.endswith("*"):
            return path.startswith(self.pattern[:-1])
        return path == self.pattern

    def next(self) -> Script:
        return self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]


class _ClientGone(Exception):
    pass


class RecordingUpstream:
    def __init__(self) -> None:
        self._listener = socket.create_server((LOOPBACK, 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.requests: list[Request] = []
        self.connections = 0  # ever accepted
        self._routes: list[_Route] = []
        self._open: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self._news = threading.Condition(self._lock)
        self._stopping = threading.Event()
        self._acceptor = threading.Thread(target=self._accept, name="upstream", daemon=True)

    # ------------------------------------------------------------------ for the tests

    def on(self, path: str, *scripts: Script) -> None:
        """Answer `path` (exact, or a prefix ending in *) with the scripts in turn.

        The last one stays. A later `on` for the same path wins.
        """
        with self._lock:
            self._routes.insert(0, _Route(path, list(scripts)))

    def clear(self) -> None:
        """Forget the requests and the scripts. Open connections stay open."""
        with self._lock:
            self._routes.clear()
            self.requests.clear()

    def wait_for(self, count: int, *, seconds: float = 5) -> list[Request]:
        """Return when `count` requests have arrived with their bodies."""
        with self._news:

            def there() -> bool:
                return sum(request.complete for request in self.requests) >= count

            if not self._news.wait_for(there, seconds):
                raise AssertionError(f"{len(self.requests)} of {count} requests in {seconds:g} s")
            return list(self.requests)

    @property
    def open_connections(self) -> int:
        with self._lock:
            return len(self._open)

    # ---------------------------------------------------------------------- its life

    def start(self) -> Self:
        self._acceptor.start()
        return self

    def stop(self) -> None:
        self._stopping.set()
        # Closing a listener does not wake accept() on Linux; shutting it down does.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        with self._lock:
            waiting, threads = list(self._open), list(self._threads)
            for connection in waiting:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # its peer was faster
        for thread in threads:
            thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # ------------------------------------------------------------------- connections

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self.connections += 1
                thread = threading.Thread(
                    target=self._serve, args=(connection, self.connections), daemon=True
                )
                self._open.add(connection)
                self._threads.add(thread)
            thread.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            with connection:
                incoming = _Incoming(connection)
                while self._one(connection, incoming, number):
                    pass
        except (OSError, _ClientGone):
            pass
        finally:
            with self._lock:
                self._open.discard(connection)
                self._threads.discard(threading.current_thread())

    def _one(self, connection: socket.socket, incoming: _Incoming, number: int) -> bool:
        """Read a request and answer it. Return whether the connection stays open."""
        head = incoming.head()
        if not head:
            return False
        request = _parse(head, number)
        with self._news:
            self.requests.append(request)
        if (request.get("expect") or "").lower() == "100-continue":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        incoming.body_of(request)
        with self._news:
            request.complete = True
            self._news.notify_all()
            route = next((each for each in self._routes if each.matches(request.path)), None)
            script = route.next() if route else _echo
        reply = script if isinstance(script, Reply) else script(request)
        try:
            return self._send(connection, request, reply)
        except (OSError, _ClientGone):
            request.client_gone = not self._stopping.is_set()
            raise

    def _send(self, connection: socket.socket, request: Request, reply: Reply) -> bool:
        if reply.mute:
            self._sleep(connection, float("inf"))
        self._sleep(connection, reply.delay)
        if reply.literal is not None:
            connection.sendall(reply.literal)
            request.sent += len(reply.literal)
            return False
        headers = list(reply.headers)
        if reply.chunked:
            headers.append(("Transfer-Encoding", "chunked"))
        elif not (reply.status == 304 or reply.status == 204):
            headers.append(("Content-Length", str(reply.length or 0)))
        reason = reply.reason if reply.reason is not None else _reason(reply.status)
        lines = [f"HTTP/1.1 {reply.status} {reason}", *(f"{n}: {v}" for n, v in headers)]
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        frame = _chunk if reply.chunked else bytes
        end = b"0\r\n\r\n" if reply.chunked else b""
        keep = (request.get("connection") or "").lower() != "close"
        if request.method == "HEAD":
            connection.sendall(head)
            return True
        pieces = reply.pieces()
        if isinstance(pieces, tuple) and not reply.pause and reply.after is None:
            # In one go: what comes later than its answer is beyond any client's knowledge.
            connection.sendall(head + b"".join(map(frame, pieces)) + end)
            request.sent += sum(map(len, pieces))
            return keep
        connection.sendall(head)
        left = reply.after
        for number, piece in enumerate(pieces):
            if number:
                self._sleep(connection, reply.pause)
            if left is not None:
                piece = piece[:left]
                left -= len(piece)
            connection.sendall(frame(piece))
            request.sent += len(piece)
            if left == 0:
                time.sleep(0.05)  # let the bytes leave before the reset overtakes them
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                return False
        connection.sendall(end)
        return keep

    def _sleep(self, connection: socket.socket, seconds: float) -> None:
        """Wait, but notice at once when the client hangs up or the test is over."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            readable, _, _ = select.select([connection], [], [], min(left, 0.25))
            if readable and not connection.recv(1, socket.MSG_PEEK):
                raise _ClientGone
            if self._stopping.is_set():
                raise _ClientGone
            if readable:  # the next request, pipelined: it waits
                time.sleep(min(left, 0.05))


class _Incoming:
    """The bytes of one connection, in order."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""

    def head(self) -> bytes:
        while b"\r\n\r\n" not in self._buffer:
            more = self._connection.recv(BLOCK)
            if not more or len(self._buffer) > LONGEST_HEAD:
                return b""
            self._buffer += more
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        return head + b"\r\n\r\n"

    def body_of(self, request: Request) -> None:
        digest = hashlib.sha256()
        kept: list[bytes] = []
        for piece in self._body(request):
            digest.update(piece)
            request.length += len(piece)
            if request.length <= KEPT_BODY:
                kept.append(piece)
            request.body = None
        request.sha256 = digest.hexdigest()
        request.body = b"".join(kept) if request.length <= KEPT_BODY else None

    def _body(self, request: Request) -> Iterator[bytes]:
        if "chunked" in (request.get("transfer-encoding") or "").lower():
            request.framing = "chunked"
            while size := int(self._line().split(b";")[0], 16):
                yield from self._exactly(size)
                self._line()
            while self._line():
                pass
        elif length := request.get("content-length"):
            request.framing = "length"
            yield from self._exactly(int(length))

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            if not self._buffer:
                self._buffer = self._more()
            piece, self._buffer = self._buffer[:size], self._buffer[size:]
            size -= len(piece)
            yield piece

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            self._buffer += self._more()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _more(self) -> bytes:
        more = self._connection.recv(BLOCK)
        if not more:
            raise _ClientGone
        return more


def _parse(head: bytes, connection: int) -> Request:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, version = (first.split(" ", 2) + ["", ""])[:3]
    headers = []
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            headers.append((name, value.strip(" \t")))
    return Request(
        head=head,
        method=method,
        target=target,
        version=version,
        headers=headers,
        connection=connection,
        at=time.monotonic(),
    )


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(piece), piece)


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
