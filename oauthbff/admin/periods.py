"""The list and its date hierarchy, without reading the table for them.

Django asks the database in which months and days there are rows. The first and the last
row are enough: two index probes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dates import MONTHS
from django.utils.formats import date_format

FIELD = "created_at"
YEAR, MONTH, DAY = (f"{FIELD}__{part}" for part in ("year", "month", "day"))
MOST_MONTHS = 24


@dataclass(frozen=True)
class Period:
    label: str
    query: str
    chosen: bool = False


class GrantChangeList(ChangeList):
    def get_filters(self, request: HttpRequest) -> Any:
        """Dates that are none are answered like any other odd filter, and not by a failure."""
        if YEAR not in self.filter_params:
            # Django looks at these beside a year only, and would take them for columns.
            self.filter_params.pop(MONTH, None)
            self.filter_params.pop(DAY, None)
        try:
            return super().get_filters(request)
        except (ValueError, OverflowError) as exc:
            raise IncorrectLookupParameters(exc) from exc

    def get_results(self, request: HttpRequest) -> None:
        """The people of this page's rows, and not of all rows that are sorted to find them."""
        super().get_results(request)
        self.result_list = self.result_list.prefetch_related("user")

    @property
    def periods(self) -> list[Period]:
        """The months there are; in a chosen month, its days."""
        dates = self.root_queryset.order_by(FIELD).values_list(FIELD, flat=True)
        first, last = dates.first(), dates.last()
        if first is None or last is None:
            return []
        span = timezone.localtime(first).date(), timezone.localtime(last).date()
        month = self._chosen_month()
        return self._months(*span) if month is None else self._days(month, *span)

    def _chosen_month(self) -> date | None:
        try:
            return datetime(int(self.params[YEAR]), int(self.params[MONTH]), 1).date()
        except (KeyError, ValueError, OverflowError):
            return None

    def _months(self, first: date, last: date) -> list[Period]:
        count = (last.year - first.year) * 12 + last.month - first.month
        months = [divmod(first.year * 12 + first.month - 1 + step, 12) for step in range(count + 1)]
        return [
            Period(
                f"{MONTHS[month + 1]} {year}", self.get_query_string({YEAR: year, MONTH: month + 1})
            )
            for year, month in months[-MOST_MONTHS:]
        ]

    def _days(self, month: date, first: date, last: date) -> list[Period]:
        days = [month + timedelta(days=step) for step in range(31)]
        return [
            Period(
                date_format(day, "MONTH_DAY_FORMAT"),
                self.get_query_string({YEAR: day.year, MONTH: day.month, DAY: day.day}),
                chosen=self.params.get(DAY) == str(day.day),
            )
            for day in days
            if day.month == month.month and first <= day <= last
        ]

    @property
    def all_periods(self) -> str:
        """The query without a date."""
        return self.get_query_string(remove=[FIELD])

    @property
    def in_period(self) -> bool:
        return YEAR in self.params
