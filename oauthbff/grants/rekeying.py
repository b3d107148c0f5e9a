"""Seal every envelope with the first key, while the site runs.

A re-sealed envelope says what it said. So nobody is disturbed: the version stays, no
lease is taken, and each write replaces exactly the ciphertext that was read, or
nothing. Whoever refreshes or ends the grant meanwhile wins, and the next pass finds
the rest. A run that is stopped loses nothing: what it has done is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from django.db import connection, transaction
from django.db.models import Count

from oauthbff import events, vault
from oauthbff.conf import conf
from oauthbff.errors import SealBroken
from oauthbff.models import TokenGrant

#: Rows read, sealed and written together. Their locks are held for the writing alone.
BATCH = 200
#: A process that still seals with an old key would keep us busy for ever.
PASSES = 5


@dataclass
class Rekeyed:
    """What one run did."""

    resealed: int = 0
    #: Tampered with, or moved from another row: they end with `key_lost` when they are used.
    broken: int = 0


def keys_in_use() -> dict[str, int]:
    """Return key id → how many envelopes it seals. Read from an index, not from the envelopes."""
    counted = TokenGrant.objects.exclude(key_id="").order_by("key_id").values_list("key_id")
    return dict(counted.annotate(rows=Count("pk")))


def rekey(*, say: Callable[[int], None] = lambda _: None) -> Rekeyed:
    """Seal anew what any other configured key seals; `say` hears the count as it goes up.

    Goes over the rows again while that brings something: a row that somebody was
    writing is passed over, never waited for.
    """
    done = Rekeyed()
    first, *others = conf().keys
    for _ in range(PASSES):
        before, done.broken = done.resealed, 0
        for batch in _batches(others):
            _reseal(batch, done)
            say(done.resealed)
        if done.resealed == before:
            break
    events.grants_rekeyed(key=first, resealed=done.resealed, broken=done.broken)
    return done


def _batches(key_ids: Iterable[str]) -> Iterator[list[TokenGrant]]:
    for key_id in key_ids:
        rows = TokenGrant.objects.filter(key_id=key_id).order_by("pk").only("pk", "envelope")
        batch = list(rows[:BATCH])
        while batch:
            yield batch
            batch = list(rows.filter(pk__gt=batch[-1].pk)[:BATCH])


def _reseal(batch: list[TokenGrant], done: Rekeyed) -> None:
    sealed = {}
    for grant in batch:
        try:
            sealed[grant.pk] = grant.envelope, vault.reseal(grant.envelope, grant.place)
        except SealBroken:
            done.broken += 1
    # All locks at once and none waited for: this can be in nobody's deadlock.
    can_skip = connection.features.has_select_for_update_skip_locked
    with transaction.atomic():
        free = TokenGrant.objects.select_for_update(skip_locked=can_skip).filter(pk__in=sealed)
        for pk in list(free.values_list("pk", flat=True)):
            old, new = sealed[pk]
            done.resealed += TokenGrant.objects.filter(pk=pk, envelope=old).update(envelope=new)
