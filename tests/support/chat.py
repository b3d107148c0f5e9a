"""ChatUpstream: an API that speaks WebSocket, a real `websockets` server in a thread.

    with ChatUpstream() as chat:
        …
        assert chat.handshakes[0].headers["Authorization"] == "Bearer …"

What it does is in the path: `echo`, `flood` (as fast as it is let), `quiet` (reads nothing),
`bye` (closes with 4000), `vanish` (hangs up), `refuse` (403 to the handshake).
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from tests.support.ports import LOOPBACK, free_port

PIECE = b"x" * 65536


class ChatUpstream:
    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.handshakes: list[Request] = []
        self.closed: list[int | None] = []
        self.sent = 0  # bytes of `flood` that were handed to the system
        self.go_on = threading.Event()  # lets `quiet` read
        self.read: list[str | bytes] = []  # what `quiet` has read
        self._open: set[ServerConnection] = set()
        self._server: Server = serve(
            self._handle,
            LOOPBACK,
            self.port,
            process_request=self._begin,
            subprotocols=["chat.v2", "chat.v1"],  # type: ignore[list-item]
            select_subprotocol=lambda _, offered: offered[-1] if offered else None,
            compression=None,
            max_queue=2,
        )
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._thread.join()

    def clear(self) -> None:
        """Forget all, once what a test has left behind has ended."""
        self.go_on.set()
        end = time.monotonic() + 10
        while self._open:
            assert time.monotonic() < end, "a WebSocket of another test is still open"
            time.sleep(0.01)
        self.handshakes.clear()
        self.closed.clear()
        self.read.clear()
        self.go_on.clear()
        self.sent = 0

    def _begin(self, line: ServerConnection, request: Request) -> Response | None:
        self.handshakes.append(request)
        return line.respond(403, "no\n") if "refuse" in request.path else None

    def _handle(self, line: ServerConnection) -> None:
        assert line.request is not None
        path = line.request.path
        self._open.add(line)
        try:
            if "bye" in path:
                line.close(4000, "bye")
            elif "vanish" in path:
                line.recv()
                line.socket.close()
            elif "flood" in path:
                while True:
                    line.send(PIECE)
                    self.sent += len(PIECE)
            elif "quiet" in path:
                self.go_on.wait(30)
                for message in line:
                    self.read.append(message)
            else:
                for message in line:
                    line.send(message)
        except (ConnectionClosed, OSError):
            pass
        self.closed.append(line.close_code)
        self._open.discard(line)
