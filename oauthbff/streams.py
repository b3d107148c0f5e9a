"""Event streams outlive requests: when a grant ends, those it carries are cut.

One thread per process asks once a second, in one query for all open streams, and
is there only while there are any. It holds no database connection between two looks.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid

from django.db import DatabaseError, connection

from . import grants
from .upstream import Answer

log = logging.getLogger("oauthbff.proxy")

LOOK_SECONDS = 1.0


class Watch:
    """The open streams of this process, by the grant whose token opened them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[Answer, uuid.UUID] = {}
        self._running = False

    def add(self, answer: Answer, grant: uuid.UUID) -> None:
        """Cut `answer` within two seconds of the grant's end. `Answer.close` forgets it."""
        with self._lock:
            self._open[answer] = grant
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

    def _fallen(self, streams: dict[Answer, uuid.UUID]) -> list[Answer]:
        try:
            standing = grants.standing_among(set(streams.values()))
        except DatabaseError:
            log.warning("the grants of %s open streams cannot be looked at", len(streams))
            return []
        finally:
            connection.close()
        fallen = [answer for answer, grant in streams.items() if grant not in standing]
        if fallen:
            log.info("%s open streams are cut: their grants have ended", len(fallen))
        return fallen


watch = Watch()
