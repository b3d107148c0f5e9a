"""What the other rooms of `grants` share: small steps on rows."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from oauthbff import events
from oauthbff.claims import TokenResponse
from oauthbff.conf import conf
from oauthbff.models import GrantEvent, SpentToken

Kind = GrantEvent.Kind


def digest(session_key: str) -> str:
    return hashlib.sha256(session_key.encode()).hexdigest()


def spend(kind: str, value: str, *, seconds: float) -> bool:
    """Spend a value once for all processes. False: it was spent before."""
    try:
        with transaction.atomic():
            SpentToken.objects.create(
                kind=kind,
                issuer=conf().issuer,
                digest=hashlib.sha256(value.encode()).hexdigest(),
                expires_at=timezone.now() + timedelta(seconds=seconds),
            )
    except IntegrityError:
        return False
    return True


def record(pk: uuid.UUID, kind: str, *, by_id: Any = None, note: str = "") -> None:
    record_many([pk], kind, by_id=by_id, note=note)


def record_many(pks: Iterable[uuid.UUID], kind: str, *, by_id: Any = None, note: str = "") -> None:
    """Add the same line to the history of several grants."""
    now = timezone.now()
    GrantEvent.objects.bulk_create(
        GrantEvent(grant_id=pk, at=now, kind=kind, by_id=by_id, note=note[:255]) for pk in pks
    )


def note_viewed(pk: Any, *, by: User, note: str = "") -> None:
    """Write down that somebody of the staff has looked at a grant."""
    record(pk, Kind.VIEWED, by_id=by.pk, note=note)
    events.grant_viewed(grant=pk, by=by.pk)


def batches(rows: QuerySet[Any], size: int) -> Iterator[list[Any]]:
    """Yield the keys of rows, in batches and in the order of the keys.

    Each batch goes on behind the one before: to begin anew would meet, in PostgreSQL,
    every row that was changed already and is not vacuumed yet.
    """
    pks = rows.order_by("pk").values_list("pk", flat=True)
    batch = list(pks[:size])
    while batch:
        yield batch
        batch = list(pks.filter(pk__gt=batch[-1])[:size])


def expiry(tokens: TokenResponse, now: datetime) -> datetime | None:
    return None if tokens.expires_in is None else now + timedelta(seconds=tokens.expires_in)


def seconds_until(moment: datetime) -> int:
    return max(0, int((moment - timezone.now()).total_seconds()))


def let_go_of_the_database() -> None:
    """Hold no connection while the provider is asked."""
    if not connection.in_atomic_block:
        connection.close()


def let_go_of_a_pooled_connection() -> None:
    """While waiting for somebody else who needs one, too, and there may be four in all."""
    if not connection.in_atomic_block and connection.settings_dict["OPTIONS"].get("pool"):
        connection.close()
