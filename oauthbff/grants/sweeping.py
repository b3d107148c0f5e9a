"""Sweep: what time does to grants, and what crashes left behind.

Safe to run on several hosts at once: every step is a conditional update, and
works in batches, so that a million rows need no more memory than a thousand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db.models import QuerySet
from django.utils import timezone

from oauthbff import provider
from oauthbff.conf import conf
from oauthbff.errors import KeyStoreUnavailable, ProviderError
from oauthbff.models import EndReason, GrantEvent, Revocation, SpentToken, TokenGrant

from .ending import end_in_batches
from .orders import carry_out_all, left_to_end, purge_orders
from .rows import batches
from .telling import AT_ONCE, WAITS, close, close_unsupported, given_up_before, tell_many

BATCH = 500
#: How many grants are claimed together to tell the provider of.
CLAIM = 64

Say = Callable[[str], None]


@dataclass
class Swept:
    """What one sweep did, or with `dry_run` would have done."""

    #: By order of an administrator whose page was closed.
    ordered: int = 0
    absolute: int = 0
    idle: int = 0
    #: Of users that were disabled or deleted behind Django's back, by an UPDATE say.
    disabled: int = 0
    told: int = 0
    given_up: int = 0
    #: Revocations that the provider has yet to confirm.
    still_waiting: int = 0
    purged_grants: int = 0
    purged_events: int = 0
    purged_marks: int = 0

    @property
    def ended(self) -> int:
        return self.ordered + self.absolute + self.idle + self.disabled


def sweep(*, dry_run: bool = False, say: Say = lambda _: None) -> Swept:
    """End what is over, tell the provider what it does not know, purge what is old.

    `say` hears of the progress after each batch.
    """
    if dry_run:
        return Swept(
            ordered=left_to_end(),
            absolute=_too_old().count(),
            idle=_unused().count(),
            disabled=_of_disabled_users().count() + _of_nobody().count(),
            told=_due().count(),
            still_waiting=_pending().count(),
            purged_grants=_old_grants().count(),
            purged_events=sum(events.count() for events in _old_events()),
            purged_marks=_spent_marks().count(),
        )
    did = Swept()
    did.ordered = carry_out_all(say)
    did.absolute = _end(_too_old(), EndReason.ABSOLUTE, say)
    did.idle = _end(_unused(), EndReason.IDLE, say)
    did.disabled = _end(_of_disabled_users(), EndReason.USER_DISABLED, say)
    did.disabled += _end(_of_nobody(), EndReason.USER_DISABLED, say)
    did.told = tell_due(say=say)
    did.given_up = _give_up()
    did.still_waiting = _pending().count()
    did.purged_grants = _purge(_old_grants(), "old grants", say)
    did.purged_events = sum(_purge(events, "old events", say) for events in _old_events())
    did.purged_marks = _purge(_spent_marks(), "spent marks", say)
    purge_orders()
    return did


def tell_due(*, say: Say = lambda _: None) -> int:
    """Work the revocation queue once through, oldest first; return how many came to their end.

    What fails is due again later. A provider that answers nobody of a whole claim is
    left alone until the next time, so that its outage does not hold up the rest.
    """
    try:
        if not provider.may_revoke():
            return _close_unsupported(say)
    except ProviderError:
        pass  # found out again below, and written down for those that were due first
    due, told, size = _due().order_by("revocation_due_at"), 0, AT_ONCE
    while pks := list(due.values_list("pk", flat=True)[:size]):
        outcomes = tell_many(pks).values()
        failed = sum(one.state == Revocation.PENDING for one in outcomes)
        told += len(outcomes) - failed
        say(f"told the provider of {told}")
        if failed and failed == len(outcomes):
            say("the provider does not answer; the rest waits")
            break
        size = CLAIM
    return told


def _close_unsupported(say: Say) -> int:
    count = 0
    try:
        for batch in batches(_due(), BATCH):
            count += close_unsupported(batch)
            say(f"closed {count}: the provider has no revocation endpoint")
    except KeyStoreUnavailable:
        say("the key store does not answer; the rest waits")
    return count


# --- what is over, due and old ---


def _too_old() -> QuerySet[TokenGrant]:
    return TokenGrant.objects.filter(ended_at=None, expires_at__lte=timezone.now())


def _unused() -> QuerySet[TokenGrant]:
    now = timezone.now()
    unused = now - timedelta(seconds=conf().idle_timeout)
    return TokenGrant.objects.filter(ended_at=None, last_used_at__lte=unused, expires_at__gt=now)


def _of_disabled_users() -> QuerySet[TokenGrant]:
    users: Any = get_user_model()
    try:
        users._meta.get_field("is_active")
    except FieldDoesNotExist:
        return TokenGrant.objects.none()
    disabled = users._default_manager.filter(is_active=False)
    return TokenGrant.objects.filter(ended_at=None, user__in=disabled)


def _of_nobody() -> QuerySet[TokenGrant]:
    return TokenGrant.objects.filter(ended_at=None, user=None)


def _pending() -> QuerySet[TokenGrant]:
    return TokenGrant.objects.filter(revocation=Revocation.PENDING)


def _due() -> QuerySet[TokenGrant]:
    """What was due when this was asked: what fails now is not met again."""
    return _pending().filter(revocation_due_at__lte=timezone.now())


def _old() -> datetime:
    return timezone.now() - timedelta(days=conf().retention_days)


def _old_grants() -> QuerySet[TokenGrant]:
    return TokenGrant.objects.filter(ended_at__lte=_old()).exclude(revocation=Revocation.PENDING)


def _old_events() -> list[QuerySet[GrantEvent]]:
    """By kind, as the index is."""
    return [GrantEvent.objects.filter(kind=kind, at__lte=_old()) for kind in GrantEvent.Kind]


def _spent_marks() -> QuerySet[SpentToken]:
    return SpentToken.objects.filter(expires_at__lte=timezone.now())


# --- steps ---


def _end(grants: QuerySet[TokenGrant], reason: EndReason, say: Say) -> int:
    count = 0
    for ended in end_in_batches(grants, reason=reason):
        count += len(ended)
        say(f"ended {count}: {reason.label}")
    return count


def _give_up() -> int:
    """Give up on revocations that are tried since too many days, or were never reached."""
    hopeless = _due().filter(ended_at__lt=given_up_before()).exclude(revocation_error=WAITS)
    days = conf().revocation_days
    return sum(
        close(hopeless.filter(pk__in=batch), Revocation.FAILED, f"given up after {days} days")
        for batch in batches(hopeless, BATCH)
    )


def _purge(rows: QuerySet[Any], what: str, say: Say) -> int:
    """Delete in batches; what belongs to a row goes with it."""
    count = 0
    for batch in batches(rows, BATCH):
        rows.model._default_manager.filter(pk__in=batch).delete()
        count += len(batch)
        say(f"purged {count} {what}")
    return count
