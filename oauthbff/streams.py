"""Event streams outlive requests: they are cut when their grant ends or the browser has left.

One thread per process looks once a second, at the grants of all open streams in one
query, and is there only while there are any. It holds no database connection between
two looks. An ASGI server tells of a browser that has left, a WSGI server only when it
writes: there the thread looks at the browser's socket as well, where the server gives it.
"""

from __future__ import annotations

import socket
import threading
import time
import uuid
from dataclasses import dataclass

from django.db import DatabaseError, connection

from . import browser_socket, events, grants
from .upstream import Answer

LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class _Stream:
    #: Whose token opened it; None on a route that does without.
    grant: uuid.UUID | None
    client: socket.socket | None


class Watch:
    """The open streams of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[Answer, _Stream] = {}
        self._running = False

    def add(self, answer: Answer, grant: uuid.UUID | None, client: socket.socket | None) -> None:
        """Cut `answer` within two seconds of the grant's end, or of `client` leaving.

        `Answer.close` forgets it.
        """
        with self._lock:
            self._open[answer] = _Stream(grant, client)
            answer.on_close = self._forget
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="oauthbff-watch", daemon=True).start()

    def _forget(self, answer: Answer) -> None:
        with self._lock:
            self._open.pop(answer, None)

    def _run(self) -> None:
        while True:
            time.sleep(LOOK_SECONDS)
            with self._lock:
                streams = dict(self._open)
                if not streams:
                    self._running = False
                    return
            for answer in self._fallen(streams):
                answer.close()
            for answer, stream in streams.items():
                if browser_socket.has_left(stream.client):
                    answer.close()

    def _fallen(self, streams: dict[Answer, _Stream]) -> list[Answer]:
        held = {answer: one.grant for answer, one in streams.items() if one.grant is not None}
        if not held:
            return []
        try:
            standing = grants.standing_among(set(held.values()))
        except DatabaseError:
            events.streams_unwatched(count=len(streams))
            return []
        finally:
            connection.close()
        fallen = [answer for answer, grant in held.items() if grant not in standing]
        if fallen:
            events.streams_cut(count=len(fallen))
        return fallen


watch = Watch()
