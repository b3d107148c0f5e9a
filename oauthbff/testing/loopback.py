"""An HTTP server on 127.0.0.1, in threads of this process: what provider and upstream stand on."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import threading
import traceback
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

LOOPBACK = "127.0.0.1"


class Loopback:
    """Base class: `answer` is called for each request, in a thread of its own.

    It listens from the start, so that `url` is known, and serves from `start` to `stop`. An
    error in `answer` fails the `with` statement at its end. Port 0: any that is free.
    """

    def __init__(self, port: int = 0) -> None:
        self.stopping = threading.Event()
        self.crashes: list[str] = []
        self._server = _Server((LOOPBACK, port), Call)
        self._server.owner = self
        self.url = f"http://{LOOPBACK}:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="loopback"
        )

    def answer(self, call: Call) -> None:
        raise NotImplementedError

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()  # waits for the requests under way

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
        assert not self.crashes, self.crashes


class _Server(ThreadingHTTPServer):
    owner: Loopback
    request_queue_size = 256
    daemon_threads = False  # so that `server_close` waits for them

    def handle_error(self, request: Any, client_address: Any) -> None:
        self.owner.crashes.append(traceback.format_exc())


class Call(BaseHTTPRequestHandler):
    """One request, and how to answer it."""

    server: _Server
    timeout = 10

    def do_GET(self) -> None:
        self.server.owner.answer(self)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def say(
        self,
        status: int,
        body: Any,
        headers: Mapping[str, str] | None = None,
        *,
        half: bool = False,
    ) -> None:
        """Answer: bytes as they are, text as HTML, anything else as JSON. `half`: and break off."""
        kind = "text/html" if isinstance(body, str) else "application/json"
        if isinstance(body, bytes):
            kind = "application/octet-stream"
        data = body.encode() if isinstance(body, str) else body
        if not isinstance(data, bytes):
            data = json.dumps(data).encode()
        whole = {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}
        with contextlib.suppress(OSError):  # the client may have gone
            self.send_response(status)
            for name, value in whole.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data[: len(data) // 2] if half else data)

    def client_gone(self) -> bool:
        readable, _, _ = select.select([self.connection], [], [], 0)
        try:
            return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""
