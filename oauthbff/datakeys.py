"""Data keys, for keys that never leave their key store (a KMS, an HSM): envelope encryption.

Each grant has a data key of its own. The store wraps it, the wrapped form lies beside the
ciphertext, and the store unwraps it when it is needed. What was unwrapped is remembered
for `DATA_KEY_SECONDS`, so that not each call asks the store. Knows no ciphertexts.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.module_loading import import_string

from .conf import StoredKey, conf
from .errors import KeyStoreUnavailable

DATA_KEY_BYTES = 32
MOST_REMEMBERED = 20_000
#: After a failure nobody asks that store again for so long: a dead one must not hold every thread.
PAUSE_SECONDS = 1.0


class KeyStore(Protocol):
    """What wraps data keys: a class without arguments, named in `OAUTHBFF["KEY_STORES"]`.

    `name` is what stands behind the scheme in `OAUTHBFF["KEYS"]`. `context` must be bound to
    the wrapped key, so that it unwraps for nothing else. Both raise
    `errors.KeyStoreUnavailable` when the store cannot be asked now, whatever the cause, and
    `unwrap` raises `errors.SealBroken` when the store says that this is not what it wrapped.
    Called by several threads at once.
    """

    def wrap(self, name: str, data_key: bytes, context: Mapping[str, str]) -> bytes: ...

    def unwrap(self, name: str, wrapped: bytes, context: Mapping[str, str]) -> bytes: ...


@dataclass(frozen=True)
class DataKey:
    wrapped: bytes
    plain: bytes = field(repr=False)


@dataclass(frozen=True)
class _Known:
    plain: bytes = field(repr=False)
    until: float


_known: OrderedDict[tuple[StoredKey, bytes, str], _Known] = OrderedDict()
_shared: dict[tuple[StoredKey, str], tuple[DataKey, float]] = {}
_pauses: dict[StoredKey, float] = {}
_lock = threading.Lock()
#: One thread at a time asks for the same data key; different ones rarely share a turn.
_turns = tuple(threading.Lock() for _ in range(64))


def new(key: StoredKey, place: str) -> DataKey:
    """Make a data key for one place, wrapped. Raises `KeyStoreUnavailable`."""
    plain = os.urandom(DATA_KEY_BYTES)
    wrapped = _ask(key, "wrap", plain, place)
    _remember(key, wrapped, place, plain)
    return DataKey(wrapped, plain)


def shared(key: StoredKey, purpose: str) -> DataKey:
    """Return this process's data key for what is sealed for minutes only, at strangers' wish."""
    with _turns[0]:
        found = _shared.get((key, purpose))
        if found is None or time.monotonic() > found[1]:
            found = new(key, purpose), time.monotonic() + conf().data_key_seconds
            _shared[key, purpose] = found
        return found[0]


def unwrap(key: StoredKey, wrapped: bytes, place: str) -> bytes:
    """Return a data key in clear. Raises `KeyStoreUnavailable`, `SealBroken`."""
    with _turns[hash(wrapped) % len(_turns)]:
        known = _known.get((key, wrapped, place))
        if known is not None and time.monotonic() < known.until:
            return known.plain
        plain = _ask(key, "unwrap", wrapped, place)
        _remember(key, wrapped, place, plain)
        return plain


def is_known(key: StoredKey, wrapped: bytes, place: str) -> bool:
    """Whether `unwrap` needs to ask nobody now."""
    known = _known.get((key, wrapped, place))
    return known is not None and time.monotonic() < known.until


def unwrapped_before(key: StoredKey, wrapped: bytes, place: str) -> bytes:
    """The same for who replaces a value that was just opened: then its time may have run out.

    New tokens are in hand, and must not be lost because the store is away at this moment.
    """
    known = _known.get((key, wrapped, place))
    return known.plain if known is not None else unwrap(key, wrapped, place)


def _ask(key: StoredKey, verb: str, data: bytes, place: str) -> bytes:
    if time.monotonic() < _pauses.get(key, 0):
        raise KeyStoreUnavailable("the key store did not answer a moment ago")
    try:
        answer: bytes = getattr(_store(key.store), verb)(key.name, data, {"oauthbff": place})
    except KeyStoreUnavailable:
        _pauses[key] = time.monotonic() + PAUSE_SECONDS
        raise
    return answer


def _remember(key: StoredKey, wrapped: bytes, place: str, plain: bytes) -> None:
    with _lock:
        _known[key, wrapped, place] = _Known(plain, time.monotonic() + conf().data_key_seconds)
        while len(_known) > MOST_REMEMBERED:
            _known.popitem(last=False)


@cache
def _store(dotted: str) -> KeyStore:
    made: KeyStore = import_string(dotted)()
    return made


@receiver(setting_changed)
def forget(**_: object) -> None:
    """Forget every data key in clear."""
    with _lock:
        _known.clear()
        _shared.clear()
        _pauses.clear()
