"""End grants: local truth first, then the session, then the provider.

A crash between any two steps loses nothing: the intent to revoke is written in
the transaction that ends the grant, and `telling` works it off, now or later.
"""

from __future__ import annotations

import contextlib
import secrets
import time
import uuid
from collections.abc import Iterator
from functools import partial
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from oauthbff import events, signals
from oauthbff.conf import conf
from oauthbff.errors import KeyStoreUnavailable
from oauthbff.models import EndOrder, Revocation, TokenGrant

from .rows import Kind, batches, record_many
from .sessions import delete_sessions_of
from .telling import tell_while

BATCH = 500
#: How long the request that ends grants spends on telling the provider, and on one answer.
BUDGET_SECONDS = 6.0
ANSWER_SECONDS = 3.0
#: No provider answers for more within the budget.
MOST_TOLD = 2000


def end(
    grants: QuerySet[TokenGrant],
    *,
    reason: str,
    by: User | None = None,
    note: str = "",
    tell_now: bool = True,
) -> int:
    """End every standing grant of a queryset and return how many there were.

    Local truth first, in one transaction per batch: ended, why, and the intent
    to revoke. After commit the Django sessions are deleted and, with `tell_now`,
    the provider is told for a few seconds; what it has not confirmed by then stays
    an intent for `sweepgrants`. Refuses a queryset without a filter: "everyone"
    must be said, not forgotten.
    """
    deadline = time.monotonic() + BUDGET_SECONDS
    count, first = 0, list[uuid.UUID]()
    for ended in end_in_batches(grants, reason=reason, by=by, note=note):
        count += len(ended)
        first += ended[: MOST_TOLD - len(first)]
    if tell_now and first:
        transaction.on_commit(partial(_tell, first, deadline))
    return count


def end_in_batches(
    grants: QuerySet[TokenGrant],
    *,
    reason: str,
    by: User | None = None,
    note: str = "",
    order: EndOrder | None = None,
) -> Iterator[list[uuid.UUID]]:
    """The same for who has many to end and wants to say how far it is; tells no provider.

    Yields the handles of each batch that has ended.
    """
    if not grants.query.where:
        raise ValueError("refusing to end every grant there is; filter the queryset")
    facts = {"reason": str(reason), "by_id": by.pk if by else None, "note": note}
    for batch in batches(grants.filter(ended_at=None), BATCH):
        with transaction.atomic():
            ended = _mark_ended(batch, reason=reason, by=by, note=note, order=order)
            transaction.on_commit(partial(_forget, _digests(ended)))
            transaction.on_commit(partial(_after_end, ended, facts))
        yield ended


def _mark_ended(
    batch: list[uuid.UUID], *, reason: str, by: User | None, note: str, order: EndOrder | None
) -> list[uuid.UUID]:
    """End those of a batch that still stand; return them: each is ended by one caller only."""
    now, mark = timezone.now(), secrets.token_hex(16)
    TokenGrant.objects.filter(pk__in=batch, ended_at=None).update(
        ended_at=now,
        end_reason=reason,
        ended_by=by,
        end_note=note[:255],
        end_order=order,
        revocation=Revocation.PENDING,
        revocation_due_at=now,
        lease_owner=mark,
        lease_until=None,
        version=F("version") + 1,
    )
    ours = TokenGrant.objects.filter(pk__in=batch, lease_owner=mark)
    ended = list(ours.values_list("pk", flat=True))
    record_many(ended, Kind.ENDED, by_id=by.pk if by else None, note=note or reason)
    return ended


def _digests(ended: list[uuid.UUID]) -> list[str]:
    """Under what the lane's store may know these grants."""
    if not conf().lane_store:
        return []
    found = TokenGrant.objects.filter(pk__in=ended).exclude(session_digest="")
    return list(found.values_list("session_digest", flat=True))


def _forget(digests: list[str]) -> None:
    """Return when no lane, on whatever host, can take these for standing any more."""
    if digests:
        from oauthbff import primed  # needs redis, which not every site has

        primed.forget(digests)


def _after_end(ended: list[uuid.UUID], facts: dict[str, Any]) -> None:
    """What follows the commit. Nothing here may fail the request: it is on the row already."""
    for pk in ended:
        events.grant_ended(
            grant=pk, reason=facts["reason"], by=facts["by_id"], note=facts["note"] or None
        )
        signals.grant_ended.send_robust(sender=TokenGrant, grant_id=pk, **facts)
    # A key store that is away: `telling` needs it as well, and deletes the sessions then.
    with _left_to_sweepgrants(ended), contextlib.suppress(KeyStoreUnavailable):
        delete_sessions_of(TokenGrant.objects.filter(pk__in=ended).only("envelope"))


def _tell(ended: list[uuid.UUID], deadline: float) -> None:
    with _left_to_sweepgrants(ended):
        tell_while(ended, deadline=deadline, patience=ANSWER_SECONDS)


@contextlib.contextmanager
def _left_to_sweepgrants(ended: list[uuid.UUID]) -> Iterator[None]:
    try:
        yield
    except Exception:
        events.ending_unfinished(count=len(ended), trace=True)
