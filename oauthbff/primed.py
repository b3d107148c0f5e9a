"""What is known of a grant for a few seconds, in a Redis that all hosts share. For the lane.

    lease     a mark is put into the entry's place, if that is empty
    (read)    the database is asked, which is the truth
    confirm   the entry takes the mark's place, if that mark is still there
    forget    the place is emptied; nobody has to remember that it was

Who read before a grant ended put its mark there before, so `forget` has removed it or the
entry; who leases after `forget` reads that the grant has ended. A Redis that loses its
content loses marks as well. An entry counts only in the very Redis process it was written
to: one that comes back with old content, and a replica that is promoted, are others. And
where nobody can tell whether an entry is gone, `forget` waits until it must be.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import deque
from collections.abc import Collection, Sequence
from functools import cache
from typing import Any, NamedTuple

from redis import Redis, RedisError
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.backoff import NoBackoff
from redis.retry import Retry

from . import events, vault
from .conf import conf
from .errors import KeyStoreUnavailable, SealBroken, StoreAway

#: From the lease on, by Redis's own clock: no entry is read later than this.
LIFE_SECONDS = 5.0
#: In which the entry must follow the mark.
MARK_SECONDS = 1.0
#: What a look into the store may take before the database is asked instead.
PATIENCE_SECONDS = 0.25
#: After a failure nobody looks there for so long.
PAUSE_SECONDS = 1.0
#: At once and per process.
MOST_CONNECTIONS = 8

CONFIRM = """
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('set', KEYS[1], ARGV[2], 'px', ARGV[3])
return 1
"""


# -------------------------------------------------------------- the side that ends, blocking


def forget(digests: Collection[str]) -> None:
    """Return when no entry of these sessions can be read any more, on any host.

    Called after the ending is committed. At once if the store says so, else after
    `LIFE_SECONDS`.
    """
    until = time.monotonic() + LIFE_SECONDS
    while not forgot(digests):
        if time.monotonic() > until:
            return
        time.sleep(PATIENCE_SECONDS)


def forgot(digests: Collection[str]) -> bool:
    """Empty the places of these sessions; False: the store did not say that it has."""
    try:
        _client(conf().lane_store).delete(*map(_place_of, digests))
    except (RedisError, OSError) as exc:
        events.lane_store_away(type(exc).__name__)
        return False
    return True


@cache
def _client(url: str) -> Redis:
    return Redis.from_url(
        url,
        socket_timeout=PATIENCE_SECONDS,
        socket_connect_timeout=PATIENCE_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


def _place_of(digest: str) -> str:
    return f"oauthbff.lane.{digest}"


# ------------------------------------------------------------------ the side that reads, async


class _Link:
    """One connection, to one Redis process: another one has another run id."""

    def __init__(self, connection: AbstractConnection, run_id: str) -> None:
        self.connection = connection
        self.run_id = run_id

    @classmethod
    async def open(cls, pool: ConnectionPool) -> _Link:
        connection: Any = pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            await connection.connect()
            await connection.send_command("INFO", "server")
            told = await connection.read_response()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        text = told.decode() if isinstance(told, bytes) else str(told)
        found = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        return cls(connection, found["run_id"])

    async def ask(self, *words: str | int) -> Any:
        await self.connection.send_command(*words)
        return await self.connection.read_response()


class Sealed(NamedTuple):
    """An entry as it was found, and the Redis process that held it."""

    text: str
    run_id: str


class Store:
    """The entries, as one process sees them."""

    def __init__(self, url: str) -> None:
        self._pool = ConnectionPool.from_url(url, retry=Retry(NoBackoff(), 0))
        self._free: deque[_Link] = deque()
        self._places = asyncio.Semaphore(MOST_CONNECTIONS)
        self._pause_until = 0.0

    async def look(self, digests: Sequence[str]) -> dict[str, Sealed]:
        """The entries of these sessions, as far as there are any. Raises `StoreAway`."""
        run_id, found = await self._ask("MGET", *map(_place_of, digests))
        return {
            digest: Sealed(text.decode(), run_id)
            for digest, text in zip(digests, found, strict=True)
            if text is not None and not text.startswith(b"?")
        }

    async def open(self, digest: str, sealed: Sealed) -> dict[str, Any] | None:
        """What an entry says; None: it is not one of ours, or of another Redis process."""
        place = f"lane:{digest}"
        try:
            if vault.opens_at_once(sealed.text, place):
                plain = vault.unseal(sealed.text, place)
            else:
                plain = await asyncio.to_thread(vault.unseal, sealed.text, place)
        except (SealBroken, KeyStoreUnavailable):
            return None
        entry: dict[str, Any] = json.loads(plain)
        return entry if entry["run"] == sealed.run_id else None

    async def lease(self, digest: str) -> str | None:
        """Announce that an entry will be made; None: somebody else is at it. Raises `StoreAway`."""
        mark = f"?{secrets.token_hex(8)}"
        milliseconds = int(MARK_SECONDS * 1000)
        run_id, done = await self._ask("SET", _place_of(digest), mark, "PX", milliseconds, "NX")
        return f"{mark}@{run_id}" if done else None

    async def confirm(self, digest: str, lease: str, entry: dict[str, Any]) -> bool:
        """Put the entry into its place, if that is still ours. Raises `StoreAway`."""
        mark, _, run_id = lease.partition("@")
        # In a thread: a key store may have to be asked for the data key.
        plain = json.dumps({**entry, "run": run_id}, separators=(",", ":")).encode()
        sealed = await asyncio.to_thread(vault.seal, plain, f"lane:{digest}")
        life = int((LIFE_SECONDS - MARK_SECONDS) * 1000)
        _, done = await self._ask("EVAL", CONFIRM, 1, _place_of(digest), mark, sealed, life)
        return bool(done)

    async def _ask(self, *words: str | int) -> tuple[str, Any]:
        if time.monotonic() < self._pause_until:
            raise StoreAway
        try:
            async with asyncio.timeout(PATIENCE_SECONDS), self._places:
                link = self._free.pop() if self._free else await _Link.open(self._pool)
                try:
                    answer = await link.ask(*words)
                except BaseException:  # an answer under way would be taken for the next one's
                    await link.connection.disconnect(nowait=True)
                    raise
                self._free.append(link)
        except Exception as exc:  # redis's, the system's, the event loop's own
            self._pause_until = time.monotonic() + PAUSE_SECONDS
            events.lane_store_away(type(exc).__name__)
            raise StoreAway from None
        return link.run_id, answer

    async def close(self) -> None:
        while self._free:
            await self._free.pop().connection.disconnect(nowait=True)
