"""End grants: local truth first, then the session, then the provider.

A crash between any two steps loses nothing: the intent to revoke is written in
the transaction that ends the grant, and `telling` works it off, now or later.
"""

from __future__ import annotations

import logging
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

from oauthbff import signals
from oauthbff.models import EndReason, GrantEvent, Revocation, TokenGrant

from .rows import Kind
from .telling import delete_session, tell, tell_siblings

log = logging.getLogger("oauthbff.grants")

BATCH = 200
#: How long the request that ends grants spends on telling the provider, and on one answer.
BUDGET_SECONDS = 6.0
ANSWER_SECONDS = 3.0


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
    if not grants.query.where:
        raise ValueError("refusing to end every grant there is; filter the queryset")
    deadline = time.monotonic() + BUDGET_SECONDS if tell_now else 0.0
    count = 0
    for batch in _batches(grants.filter(ended_at=None)):
        with transaction.atomic():
            ended = _mark_ended(batch, reason=reason, by=by, note=note)
            count += len(ended)
            facts = {"reason": str(reason), "by_id": by.pk if by else None, "note": note}
            transaction.on_commit(partial(_after_end, ended, facts, deadline))
    return count


def _batches(grants: QuerySet[TokenGrant]) -> Iterator[list[uuid.UUID]]:
    pks = grants.order_by("pk").values_list("pk", flat=True)
    batch = list(pks[:BATCH])
    while batch:
        yield batch
        batch = list(pks.filter(pk__gt=batch[-1])[:BATCH])


def _mark_ended(
    batch: list[uuid.UUID], *, reason: str, by: User | None, note: str
) -> list[uuid.UUID]:
    """End those of a batch that still stand; return them: each is ended by one caller only."""
    now, mark = timezone.now(), secrets.token_hex(16)
    TokenGrant.objects.filter(pk__in=batch, ended_at=None).update(
        ended_at=now,
        end_reason=reason,
        ended_by=by,
        end_note=note[:255],
        revocation=Revocation.PENDING,
        revocation_due_at=now,
        lease_owner=mark,
        lease_until=None,
        version=F("version") + 1,
    )
    ours = TokenGrant.objects.filter(pk__in=batch, lease_owner=mark)
    ended = list(ours.values_list("pk", flat=True))
    GrantEvent.objects.bulk_create(
        GrantEvent(grant_id=pk, at=now, kind=Kind.ENDED, by=by, note=(note or reason)[:255])
        for pk in ended
    )
    return ended


def _after_end(ended: list[uuid.UUID], facts: dict[str, Any], deadline: float) -> None:
    """What follows the commit. Nothing here may fail the request: it is on the row already."""
    for grant in TokenGrant.objects.filter(pk__in=ended):
        log.info("grant %s ended: %s", grant.pk, facts["reason"])
        signals.grant_ended.send_robust(sender=TokenGrant, grant_id=grant.pk, **facts)
        try:
            delete_session(grant)
            if time.monotonic() < deadline:
                tell(grant.pk, patience=ANSWER_SECONDS)
            if facts["reason"] != EndReason.SUPERSEDED and deadline:
                tell_siblings(grant, deadline=deadline, patience=ANSWER_SECONDS)
        except Exception:
            log.exception("grant %s has ended; the rest is left to sweepgrants", grant.pk)
