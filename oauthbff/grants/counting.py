"""How many grants there are, for who watches from outside: asked often, counted seldom."""

from __future__ import annotations

from collections.abc import Callable

from django.core.cache import cache
from django.db import DatabaseError
from django.utils import timezone

from oauthbff.models import Revocation, TokenGrant

from .rows import let_go_of_the_database

#: One count serves all who ask meanwhile; with a shared cache, all processes.
COUNT_SECONDS = 60


def count_standing() -> int | None:
    """How many grants stand; None: the database does not say."""
    now = timezone.now()
    return _counted("standing", TokenGrant.objects.filter(ended_at=None, expires_at__gt=now).count)


def count_untold() -> int | None:
    """How many ended grants the provider was not told of yet; None: the database does not say."""
    return _counted("untold", TokenGrant.objects.filter(revocation=Revocation.PENDING).count)


def _counted(name: str, count: Callable[[], int]) -> int | None:
    key = f"oauthbff.counted.{name}"
    found: int | None = cache.get(key)
    if found is not None:
        return found
    try:
        found = count()
    except DatabaseError:
        return None
    finally:
        let_go_of_the_database()  # who asks is a thread of the exporter's
    cache.set(key, found, COUNT_SECONDS)
    return found
