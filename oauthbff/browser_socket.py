"""The browser's connection, where the server hands it over: `gunicorn.socket` in the environ.

gunicorn waits for a browser without end, and a thread waits with it. ASGI servers hand
nothing over and need not: there no thread waits.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Mapping
from typing import Any


def of(environ: Mapping[str, Any]) -> socket.socket | None:
    """Return the socket of a request, None where the server keeps it to itself."""
    found: socket.socket | None = environ.get("gunicorn.socket")
    return found


def be_brisk(line: socket.socket | None, seconds: float) -> None:
    """Give a browser up that neither sends nor takes a byte for so long."""
    if line is not None:
        line.settimeout(seconds)


def stop_listening(line: socket.socket | None) -> None:
    """Read no more from a browser that has stalled.

    gunicorn would wait two seconds for more, and let nobody in meanwhile.
    """
    if line is not None:
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RD)


def has_left(line: socket.socket | None) -> bool:
    """Whether the browser has closed its side. Looks at no byte, so TLS is no matter."""
    number = -1 if line is None else line.fileno()
    if number < 0:
        return False
    looking = select.poll()
    looking.register(number, select.POLLRDHUP)
    return bool(looking.poll(0))
