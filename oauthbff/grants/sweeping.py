"""Sweep: what time does to grants, and what crashes left behind.

Safe to run on several hosts at once: every step is a conditional update, and
works in batches, so that a million rows need no more memory than a thousand.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Model, QuerySet
from django.utils import timezone

from oauthbff.conf import conf
from oauthbff.models import EndReason, Revocation, SpentToken, TokenGrant

from .ending import end
from .telling import tell

BATCH = 500


@dataclass
class Swept:
    """What one sweep did, or with `dry_run` would have done."""

    idle: int = 0
    absolute: int = 0
    told: int = 0
    still_waiting: int = 0
    purged_grants: int = 0
    purged_marks: int = 0


def sweep(*, dry_run: bool = False, say: Callable[[str], None] = lambda _: None) -> Swept:
    """End what is over, tell the provider what it does not know, purge what is old."""
    done = Swept()
    now = timezone.now()
    standing = TokenGrant.objects.filter(ended_at=None)
    over = standing.filter(expires_at__lte=now)
    idle = standing.filter(
        expires_at__gt=now, last_used_at__lte=now - timedelta(seconds=conf().idle_timeout)
    )
    old = TokenGrant.objects.filter(
        ended_at__lte=now - timedelta(days=conf().retention_days)
    ).exclude(revocation=Revocation.PENDING)
    spent = SpentToken.objects.filter(expires_at__lte=now)
    due = TokenGrant.objects.filter(revocation=Revocation.PENDING, revocation_due_at__lte=now)
    if dry_run:
        return Swept(
            idle=idle.count(),
            absolute=over.count(),
            told=due.count(),
            purged_grants=old.count(),
            purged_marks=spent.count(),
        )
    done.absolute = end(over, reason=EndReason.ABSOLUTE, tell_now=False)
    say(f"ended {done.absolute} at their greatest age")
    done.idle = end(idle, reason=EndReason.IDLE, tell_now=False)
    say(f"ended {done.idle} unused ones")
    _tell_all(done, say)
    done.purged_grants = _purge(old)
    done.purged_marks = _purge(spent)
    return done


def _tell_all(done: Swept, say: Callable[[str], None]) -> None:
    """Work the queue once through, oldest first. What fails is due again later."""
    due = TokenGrant.objects.filter(revocation=Revocation.PENDING).order_by("revocation_due_at")
    seen: set[uuid.UUID] = set()
    while True:
        batch = [
            pk
            for pk in due.filter(revocation_due_at__lte=timezone.now()).values_list(
                "pk", flat=True
            )[:BATCH]
            if pk not in seen
        ]
        if not batch:
            return
        for pk in batch:
            if tell(pk) == Revocation.PENDING:
                done.still_waiting += 1
                seen.add(pk)
            else:
                done.told += 1
        say(f"told the provider of {done.told}, {done.still_waiting} wait")


def _purge(rows: QuerySet[Model]) -> int:
    """Delete in batches; what belongs to a row goes with it."""
    count = 0
    while True:
        batch = list(rows.values_list("pk", flat=True)[:BATCH])
        if not batch:
            return count
        rows.model._default_manager.filter(pk__in=batch).delete()
        count += len(batch)
