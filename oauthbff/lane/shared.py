"""Grants out of the store that all hosts share: looked up together, opened once."""

from __future__ import annotations

import time

from oauthbff import grants, primed

from .judged import Judged
from .together import Together


class Shared:
    """`primed.Store`, as far as the lane is concerned. Each method raises `StoreAway`."""

    def __init__(self, url: str) -> None:
        self._store = primed.Store(url)
        self._entries = Together(self._store.look, primed.MOST_CONNECTIONS)
        self._judged = Judged()
        self.lease = self._store.lease

    async def find(self, digest: str) -> grants.Standing | None:
        """What the store knows of a session; None: nothing that counts."""
        sealed = await self._entries.ask(digest)
        if sealed is None:
            return None
        known = self._judged.get(digest, sealed)
        if known is not None:
            return known
        entry = await self._store.open(digest, sealed)
        found = None if entry is None else grants.Standing.of_entry(entry, time.time())
        if found is not None:
            self._judged.keep(digest, sealed, found)
        return found

    async def confirm(self, digest: str, lease: str, found: grants.Standing) -> bool:
        return await self._store.confirm(digest, lease, found.as_entry())

    async def close(self) -> None:
        self._judged.clear()
        await self._store.close()
