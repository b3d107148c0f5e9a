"""Session and grant of a call, read from PostgreSQL by one prepared statement.

Django's ORM builds the statement, Django's session engine reads the session, and `grants`
judges. Only the way there is short: asyncpg, a handful of connections per process, and one
question for all the calls that came at the same moment.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from typing import Any
from urllib.parse import urlencode

import asyncpg
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.db import connections, router
from django.db.models import Subquery
from django.db.models.functions import Now

from oauthbff import events, grants
from oauthbff.grants import reading
from oauthbff.models import TokenGrant

from .judged import Judged
from .together import Together

#: At once and per process. One statement takes well under a millisecond.
MOST_CONNECTIONS = 8
ENGINES = ("django.contrib.sessions.backends.db", "django.contrib.sessions.backends.cached_db")
#: What a connection or a statement may take before Django serves instead.
PATIENCE_SECONDS = 2.0
#: After a failure Django serves for so long, and nobody waits.
PAUSE_SECONDS = 1.0
#: Those of libpq's parameters that asyncpg knows as well; with any other Django serves.
SHARED = {
    *("dbname", "user", "password", "host", "port", "passfile", "sslmode", "sslcert"),
    *("sslkey", "sslrootcert", "sslcrl", "sslpassword", "target_session_attrs"),
}
OF_DRIVER = {"client_encoding", "context", "cursor_factory", "prepare_threshold"}
OF_NO_MATTER = {"connect_timeout", "application_name", "keepalives", "keepalives_idle"}


class Unreadable(Exception):
    """This site's sessions and grants cannot be read this way; says why."""


class Away(Exception):
    """The database did not answer, or not in time."""


class Reader:
    """Reads through connections of its own. Raises `Unreadable` when it never could."""

    def __init__(self) -> None:
        self._using = router.db_for_read(TokenGrant)
        self._statement = _compiled(self._using)
        self._address = _address(self._using)
        self._judged = Judged()
        self._free: list[tuple[asyncpg.Connection, Any]] = []
        self._rows: Together[str, list[Any]] = Together(self._fetch, MOST_CONNECTIONS)
        self._pause_until = 0.0

    async def read(self, session_key: str) -> grants.Standing | None:
        """The grant of a session if it stands; None: Django knows more. Raises `Away`."""
        for row in await self._rows.ask(session_key) or ():
            digest = row[1 + _DIGEST]
            known = self._judged.get(digest, row)
            if known is not None:
                return known
            text, *values = row
            session = _pointer(text)
            if session.get(grants.HANDLE) == str(values[_ID]):
                found = grants.judge(reading.seen(values, self._using), session, session_key)
                if found is not None:
                    self._judged.keep(digest, row, found)
                return found
        return None

    async def _fetch(self, session_keys: list[str]) -> dict[str, list[Any]]:
        """Session key → the rows of the grants that were last used with it."""
        keys = {grants.digest(key): key for key in session_keys}
        taken = connection, statement = self._free.pop() if self._free else await self._connect()
        try:
            rows = await statement.fetch(list(keys.values()), list(keys), timeout=PATIENCE_SECONDS)
        except BaseException as exc:
            connection.terminate()
            if isinstance(exc, Exception):  # asyncpg's, the system's, the event loop's own
                raise self._away(exc) from None
            raise
        self._free.append(taken)
        found: dict[str, list[Any]] = {}
        for row in rows:
            found.setdefault(keys[row[1 + _DIGEST]], []).append(row)
        return found

    async def _connect(self) -> tuple[asyncpg.Connection, Any]:
        if time.monotonic() < self._pause_until:
            raise Away("the database did not answer a moment ago")
        try:
            connection = await asyncpg.connect(self._address, timeout=PATIENCE_SECONDS)
            return connection, await connection.prepare(self._statement, timeout=PATIENCE_SECONDS)
        except Exception as exc:  # asyncpg's, the system's, the event loop's own
            raise self._away(exc) from None

    def _away(self, exc: Exception) -> Away:
        self._pause_until = time.monotonic() + PAUSE_SECONDS
        events.lane_database_away(type(exc).__name__)
        return Away(type(exc).__name__)

    def close(self) -> None:
        self._judged.clear()
        while self._free:
            self._free.pop()[0].terminate()


_ID = reading.GRANT_COLUMNS.index("id")
_DIGEST = reading.GRANT_COLUMNS.index("session_digest")


def _compiled(using: str) -> str:
    """The statement, with $1 for the sessions' keys and $2 for their digests, in the same order."""
    if connections[using].vendor != "postgresql":
        raise Unreadable(f"the database is {connections[using].vendor}")
    if settings.SESSION_ENGINE not in ENGINES:
        raise Unreadable(f"sessions are in {settings.SESSION_ENGINE}")
    sessions = import_module(settings.SESSION_ENGINE).SessionStore.get_model_class()
    if router.db_for_read(sessions) != using:
        raise Unreadable("sessions and grants are in two databases")
    if not settings.USE_TZ:
        raise Unreadable("USE_TZ is off")
    data = sessions.objects.filter(session_key="key", expire_date__gt=Now())
    rows = reading.rows_to_read(
        of={"_session": Subquery(data.values("session_data"))}, session_digest="", ended_at=None
    )
    compiler = rows.query.get_compiler(using)
    statement, values = compiler.as_sql()
    if compiler.get_converters([column for column, _, _ in compiler.select]):
        raise Unreadable("a column has a converter")
    if values != ("key", ""):
        raise Unreadable("the statement has other parameters")
    for asked in ("asked.key", "asked.digest"):
        statement = statement.replace("%s", asked, 1)
    return (
        "SELECT found.* FROM unnest($1::text[], $2::text[]) AS asked (key, digest) "  # noqa: S608
        f"CROSS JOIN LATERAL ({statement}) AS found"
    )


def _address(using: str) -> str:
    connection = connections[using]
    if connection.settings_dict["OPTIONS"].get("assume_role"):
        raise Unreadable("the database connection assumes a role")
    given = {
        name: value
        for name, value in connection.get_connection_params().items()
        if value is not None and name not in OF_DRIVER | OF_NO_MATTER
    }
    if set(given) - SHARED:
        raise Unreadable(f"asyncpg does not know {', '.join(sorted(set(given) - SHARED))}")
    return f"postgresql://?{urlencode(given)}"


@lru_cache(maxsize=4096)
def _pointer(text: str | None) -> Mapping[str, Any]:
    """What a session says of grant and user, read by Django's own code."""
    if text is None:
        return {}
    session = import_module(settings.SESSION_ENGINE).SessionStore().decode(text)
    return {name: session.get(name) for name in (grants.HANDLE, SESSION_KEY, HASH_SESSION_KEY)}
