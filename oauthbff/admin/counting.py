"""Counts that stop at a limit, and a list that never counts its table.

COUNT(*) reads every row that matches. Up to a limit that costs milliseconds, and past it
nobody wants to know: "10,000+" says what there is to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.timesince import timesince

from oauthbff.models import Revocation, TokenGrant

from .finding import active

#: The list can be leafed through so far; then it wants a filter.
LIST_LIMIT = 10_000
FIGURE_LIMIT = 10_000


class Count(int):
    """A number that knows whether it stopped at its limit."""

    stopped = False

    @property
    def text(self) -> str:
        return number_format(int(self), force_grouping=True) + ("+" if self.stopped else "")


def count_up_to(limit: int, rows: QuerySet[Any]) -> Count:
    """How many rows there are, reading at most `limit` of them and one."""
    found = rows.order_by()[: limit + 1].count()
    count = Count(min(found, limit))
    count.stopped = found > limit
    return count


class LimitedPaginator(Paginator):  # type: ignore[type-arg]
    """A paginator for tables that are too large to be counted."""

    @cached_property
    def count(self) -> int:
        return count_up_to(LIST_LIMIT, self.object_list)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Counts:
    """The line above the list."""

    active: Count
    ended_today: Count
    waiting: Count
    #: How long the oldest of them has waited, in words.
    oldest_waiting: str


def counts_of(grants: QuerySet[TokenGrant]) -> Counts:
    """Four queries, each on an index and each with an end."""
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    waiting = grants.filter(revocation=Revocation.PENDING)
    count = count_up_to(FIGURE_LIMIT, waiting)
    oldest = waiting.order_by("ended_at").values_list("ended_at", flat=True)[:1] if count else []
    return Counts(
        active=count_up_to(FIGURE_LIMIT, active(grants)),
        ended_today=count_up_to(FIGURE_LIMIT, grants.filter(ended_at__gte=midnight)),
        waiting=count,
        oldest_waiting=next((timesince(at, depth=1) for at in oldest if at is not None), ""),
    )
