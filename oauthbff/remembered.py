"""A document fetched from afar and kept fresh: once per lifetime, whoever asks.

Kept in the process and in Django's cache, so that where the cache is shared one
process fetches for all. While the far side is down the last good copy serves.
Knows the cache, not what the document means.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.core.cache import cache

from .errors import ProviderError, ProviderUnreachable

FRESH_SECONDS = 3600
STALE_SECONDS = 7 * 86400
#: How long a process trusts its own copy before it looks into the cache again.
LOCAL_SECONDS = 30
#: At most one fetch beyond the schedule (an unknown key id) in this time.
COOL_DOWN_SECONDS = 5
#: After a failure nobody tries again for so long while a copy serves.
RETRY_SECONDS = 10
#: With no copy at all the wait is short: nobody can sign in meanwhile.
NOTHING_SECONDS = 1


@dataclass(frozen=True)
class _Copy:
    document: dict[str, Any]
    fetched_at: float


class Remembered:
    """One kind of document, by its address."""

    def __init__(self, name: str, fetch: Callable[[str], dict[str, Any]]) -> None:
        self._name = name
        self._fetch = fetch
        self._lock = threading.Lock()
        self._local: dict[str, tuple[_Copy, float]] = {}
        self._failed_until: dict[str, float] = {}

    def get(self, address: str, *, wait: float) -> dict[str, Any]:
        """Return the document at `address`, at most an hour old if its host answers.

        Waits at most `wait` seconds for another process that is fetching it.
        Raises `ProviderError` when there is no copy, however old.
        """
        local = self._local.get(address)
        if local is not None and time.monotonic() < local[1]:
            return local[0].document
        copy = self._shared(address)
        if copy is not None and time.time() < copy.fetched_at + FRESH_SECONDS:
            return self._keep(address, copy)
        if copy is None and time.monotonic() < self._failed_until.get(address, 0):
            raise ProviderUnreachable(f"the {self._name} could not be fetched a moment ago")
        if not self._lock.acquire(blocking=copy is None):
            return copy.document  # type: ignore[union-attr] # another thread is at it
        try:
            local = self._local.get(address)
            if local is not None and time.monotonic() < local[1]:
                return local[0].document
            if copy is None and time.monotonic() < self._failed_until.get(address, 0):
                raise ProviderUnreachable(f"the {self._name} could not be fetched a moment ago")
            return self._refetch(address, copy, wait)
        finally:
            self._lock.release()

    def get_newer(self, address: str, *, wait: float) -> dict[str, Any]:
        """Return the document fetched again, unless somebody just did so: then that copy.

        Raises `ProviderError` when it cannot be had.
        """
        cool = self._key(address, "cool")
        if cache.add(cool, time.time(), COOL_DOWN_SECONDS):
            try:
                return self._store(address, self._fetch(address))
            except ProviderError:
                cache.set(cool, 0.0, COOL_DOWN_SECONDS)  # nobody need wait for it
                raise
        deadline = time.monotonic() + min(wait, COOL_DOWN_SECONDS)
        while time.monotonic() < deadline and (begun := cache.get(cool)) is not None:
            copy = self._shared(address)
            if copy is not None and copy.fetched_at >= begun:
                return self._keep(address, copy)
            time.sleep(0.05)
        return self.get(address, wait=wait)

    def forget(self) -> None:
        """Drop the process's own copies (the shared ones stay)."""
        self._local.clear()
        self._failed_until.clear()

    def _refetch(self, address: str, old: _Copy | None, wait: float) -> dict[str, Any]:
        turn = self._key(address, "turn")
        deadline = time.monotonic() + wait
        while not cache.add(turn, 1, int(wait) + 1):
            if old is not None:
                return self._keep(address, old)
            time.sleep(0.05)
            copy = self._shared(address)
            if copy is not None:
                return self._keep(address, copy)
            if time.monotonic() > deadline:
                raise ProviderUnreachable(f"nobody could fetch the {self._name}")
        try:
            newer = self._shared(address)
            if newer is not None and newer != old:
                return self._keep(address, newer)
            return self._store(address, self._fetch(address))
        except ProviderError:
            if old is None:
                self._failed_until[address] = time.monotonic() + NOTHING_SECONDS
                raise
            return self._keep(address, old, seconds=RETRY_SECONDS)
        finally:
            cache.delete(turn)

    def _store(self, address: str, document: dict[str, Any]) -> dict[str, Any]:
        copy = _Copy(document, time.time())
        cache.set(self._key(address), copy, STALE_SECONDS)
        return self._keep(address, copy)

    def _keep(self, address: str, copy: _Copy, seconds: float = LOCAL_SECONDS) -> dict[str, Any]:
        self._local[address] = (copy, time.monotonic() + seconds)
        return copy.document

    def _shared(self, address: str) -> _Copy | None:
        found = cache.get(self._key(address))
        return found if isinstance(found, _Copy) else None

    def _key(self, address: str, what: str = "copy") -> str:
        digest = hashlib.sha256(address.encode()).hexdigest()[:32]
        return f"oauthbff.{self._name}.{what}.{digest}"
