"""The dashboard: what has been going on, as pictures, from what the database knows."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.safestring import mark_safe
from django.utils.translation import gettext as _

from oauthbff.models import EndReason, GrantEvent

from .base import GrantPages
from .charts import Chart, Series, svg
from .counting import counts_of
from .figures import SPANS, Figures, figures_of

Kind = GrantEvent.Kind


class GrantDashboard(GrantPages):
    def dashboard(self, request: HttpRequest) -> HttpResponse:
        wanted = request.GET.get("span")
        span = next((each for each in SPANS if each.key == wanted), SPANS[1])
        grants = self.get_queryset(request)
        figures = figures_of(grants, span, timezone.now())
        return self.page(
            request,
            "dashboard",
            _("What has been going on"),
            span=span,
            spans=SPANS,
            counts=counts_of(grants),
            backlog=zip(_ages(), figures.backlog, strict=True),
            # `svg` escapes every text that it writes.
            charts=[{"chart": each, "svg": mark_safe(svg(each))} for each in charts_of(figures)],  # noqa: S308
        )


def charts_of(figures: Figures) -> list[Chart]:
    nothing = [0] * len(figures.labels)

    def events(kind: str) -> Any:
        return figures.events.get(kind, nothing)

    return [
        Chart(
            id="chart-standing",
            title=_("Grants that stand"),
            about=_("How many grants had not ended, at the end of each stretch of time."),
            labels=figures.labels,
            series=[Series(name=_("standing"), kind="1", values=figures.standing)],
            line=True,
        ),
        Chart(
            id="chart-sign-ins",
            title=_("Sign-ins"),
            about=_("How many grants were issued in each stretch of time."),
            labels=figures.labels,
            series=[Series(name=_("sign-ins"), kind="1", values=figures.sign_ins)],
        ),
        Chart(
            id="chart-endings",
            title=_("Endings by reason"),
            always_named=True,
            about=_("How many grants ended in each stretch of time, and why."),
            labels=figures.labels,
            series=[
                Series(name=str(EndReason(reason).label), kind=reason, values=numbers)
                for reason, numbers in figures.endings.items()
            ],
        ),
        Chart(
            id="chart-refreshes",
            title=_("Refreshes"),
            about=_("How often the provider was asked for new tokens, and whether it gave them."),
            labels=figures.labels,
            series=[
                Series(name=_("refreshed"), kind="good", values=events(Kind.REFRESHED)),
                Series(name=_("failed"), kind="bad", values=events(Kind.REFRESH_FAILED)),
            ],
        ),
        Chart(
            id="chart-revocations",
            title=_("Revocations"),
            about=_(
                "How often the provider was told that a grant has ended, and how often in vain."
            ),
            labels=figures.labels,
            series=[
                Series(name=_("answered"), kind="good", values=events(Kind.REVOKED)),
                Series(name=_("not answered"), kind="bad", values=events(Kind.REVOCATION_FAILED)),
            ],
        ),
    ]


def _ages() -> list[str]:
    return [_("under 5 minutes"), _("under an hour"), _("under a day"), _("longer")]
