"""Deleting Django sessions, so that the site's other views see nobody.

Through the site's own `SessionStore`, never past it: with cached_db a row that is
deleted behind its back stays in the cache, and its user signed in. Django's own
engines delete many at once; any other is asked key by key.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from importlib import import_module

from django.conf import settings
from django.core.cache import caches

from oauthbff.errors import KeyStoreUnavailable, SealBroken
from oauthbff.models import TokenGrant
from oauthbff.vault import Envelope

ENGINES = "django.contrib.sessions.backends."


def delete_sessions_of(grants: Iterable[TokenGrant]) -> None:
    """Delete the sessions of some grants, as far as their envelopes still tell which.

    Raises `KeyStoreUnavailable` when some could not be opened now; the others are gone then.
    """
    keys, closed = [], None
    for grant in grants:
        try:
            keys.append(Envelope.open(grant.envelope, grant.place).session_key)
        except SealBroken:
            continue
        except KeyStoreUnavailable as exc:
            closed = exc
    delete_sessions([key for key in keys if key is not None])
    if closed is not None:
        raise closed


def delete_sessions(keys: Collection[str]) -> None:
    if not keys:
        return
    store = import_module(settings.SESSION_ENGINE).SessionStore()
    engine = settings.SESSION_ENGINE.removeprefix(ENGINES)
    if engine in ("db", "cached_db"):
        store.model.objects.filter(session_key__in=keys).delete()
    if engine in ("cache", "cached_db"):
        cache = caches[settings.SESSION_CACHE_ALIAS]
        cache.delete_many([store.cache_key_prefix + key for key in keys])
    if engine not in ("db", "cached_db", "cache"):
        for key in keys:
            store.delete(key)
