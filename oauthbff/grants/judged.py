"""What was judged and is said again, word for word, need not be judged again.

The rows are read on each call all the same, and a grant that has ended is another row. Only what
follows from them alone is spared: the session's signature, the user, the hash that holds the
session to the user's password. No token is among them: the envelope stays sealed.
"""

from __future__ import annotations

import threading
import uuid
from datetime import datetime
from typing import Any, NamedTuple

Rows = list[tuple[Any, ...]]


class _Known(NamedTuple):
    rows: Rows
    grant: uuid.UUID
    since: datetime
    until: datetime


class Judged:
    """By the session's key: the rows of a grant that stands, and until when. For threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[str, _Known] = {}
        self._lock = threading.Lock()

    def get(self, key: str, rows: Rows, now: datetime) -> uuid.UUID | None:
        """The grant that these very rows were judged to be, if it stands at this time as well."""
        known = self._known.get(key)
        if known is None or known.rows != rows or not known.since <= now < known.until:
            return None
        return known.grant

    def keep(
        self, key: str, rows: Rows, grant: uuid.UUID, *, since: datetime, until: datetime
    ) -> None:
        with self._lock:
            self._known.pop(key, None)
            self._known[key] = _Known(rows, grant, since, until)
            if len(self._known) > self._most:
                del self._known[next(iter(self._known))]

    def clear(self) -> None:
        with self._lock:
            self._known.clear()
