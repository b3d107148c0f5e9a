"""What the dashboard asks the database: a handful of aggregates over an index range each.

Time is cut in UTC by the database, into minutes or hours, and put together to the local
time's buckets here: so it needs no time zone tables in MySQL.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Trunc
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext_lazy as _

from oauthbff.models import EndReason, GrantEvent, Revocation, TokenGrant

Kind = GrantEvent.Kind

#: The limits between the ages of what waits.
AGES = (timedelta(minutes=5), timedelta(hours=1), timedelta(days=1))


@dataclass(frozen=True, kw_only=True)
class Span:
    """A stretch of time in equal buckets, the last of which is still running."""

    key: str
    label: Any
    buckets: int
    step: timedelta
    unit: str  # what the database cuts by

    def starts(self, now: datetime) -> list[datetime]:
        """When each bucket begins, the oldest first."""
        local = timezone.localtime(now)
        if self.unit == "hour" and self.step == timedelta(days=1):
            today = local.replace(hour=0, minute=0, second=0, microsecond=0)
            days = [today.date() - timedelta(days=back) for back in range(self.buckets)][::-1]
            zone = timezone.get_current_timezone()
            return [datetime(day.year, day.month, day.day, tzinfo=zone) for day in days]
        seconds = int(self.step.total_seconds())
        last = datetime.fromtimestamp(now.timestamp() // seconds * seconds, UTC)
        return [last - self.step * back for back in range(self.buckets)][::-1]

    def say(self, start: datetime) -> str:
        local = timezone.localtime(start)
        return date_format(local, "MONTH_DAY_FORMAT" if self.step.days else "TIME_FORMAT")


SPANS = (
    Span(key="hour", label=_("Last hour"), buckets=12, step=timedelta(minutes=5), unit="minute"),
    Span(key="day", label=_("Last day"), buckets=24, step=timedelta(hours=1), unit="hour"),
    Span(key="month", label=_("Last month"), buckets=30, step=timedelta(days=1), unit="hour"),
)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Numbers per bucket, by what they count."""

    labels: list[str]
    standing: list[int]
    sign_ins: list[int]
    #: By reason, those that occur.
    endings: dict[str, list[int]]
    #: By kind of event.
    events: dict[str, list[int]]
    #: Revocations that wait: up to five minutes, an hour, a day, and longer.
    backlog: list[int]


def figures_of(grants: QuerySet[TokenGrant], span: Span, now: datetime) -> Figures:
    """Five queries, whatever the number of grants."""
    starts = span.starts(now)
    fill = _Buckets(starts)
    sign_ins = fill(_cut(grants.filter(created_at__gte=starts[0]), "created_at", span.unit))
    ended = grants.filter(ended_at__gte=starts[0])
    endings = fill.by(_cut(ended, "ended_at", span.unit, "end_reason"))
    happened = _events_of(grants).filter(
        kind__in=(Kind.REFRESHED, Kind.REFRESH_FAILED, Kind.REVOKED, Kind.REVOCATION_FAILED),
        at__gte=starts[0],
    )
    return Figures(
        labels=[span.say(start) for start in starts],
        standing=_standing(grants.filter(ended_at=None).count(), sign_ins, endings),
        sign_ins=sign_ins,
        endings={reason: endings[reason] for reason in EndReason.values if reason in endings},
        events=fill.by(_cut(happened, "at", span.unit, "kind")),
        backlog=_backlog(grants, now),
    )


def _events_of(grants: QuerySet[TokenGrant]) -> QuerySet[GrantEvent]:
    """The events of some grants; of all where `get_queryset` keeps nothing back."""
    if grants.query.where:
        return GrantEvent.objects.filter(grant__in=grants.order_by())
    return GrantEvent.objects.all()


def _cut(rows: QuerySet[Any], field: str, unit: str, *by: str) -> Iterator[tuple[Any, ...]]:
    """(start, *by, count) for each stretch of time in which there is something."""
    cut = rows.order_by().annotate(cut=Trunc(field, unit, tzinfo=UTC))
    yield from cut.values_list("cut", *by).annotate(number=Count("pk"))


class _Buckets:
    def __init__(self, starts: list[datetime]) -> None:
        self.starts = starts

    def __call__(self, rows: Iterable[tuple[Any, ...]]) -> list[int]:
        return self.by((at, "", number) for at, number in rows).get("", [0] * len(self.starts))

    def by(self, rows: Iterable[tuple[Any, ...]]) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for at, key, number in rows:
            place = max(0, bisect_right(self.starts, at) - 1)
            found.setdefault(key, [0] * len(self.starts))[place] += number
        return found


def _standing(now: int, sign_ins: list[int], endings: dict[str, list[int]]) -> list[int]:
    """How many had not ended at the end of each bucket, reckoned back from now."""
    ended = [sum(numbers) for numbers in zip(*endings.values(), strict=True)] or [0] * len(sign_ins)
    standing = [now]
    for came, went in zip(reversed(sign_ins), reversed(ended), strict=True):
        standing.append(standing[-1] - came + went)
    return [max(0, number) for number in reversed(standing[:-1])]


def _backlog(grants: QuerySet[TokenGrant], now: datetime) -> list[int]:
    waiting = grants.order_by().filter(revocation=Revocation.PENDING)
    counted = waiting.aggregate(
        **{
            f"age{place}": Count("pk", filter=Q(ended_at__gt=older))
            for place, older in enumerate(now - age for age in AGES)
        },
        all=Count("pk"),
    )
    upto = [counted[f"age{place}"] for place in range(len(AGES))] + [counted["all"]]
    return [number - before for number, before in zip(upto, [0, *upto], strict=False)]
