"""What became of an order to end grants: how far it is, and what the provider said of each.

While the page is open it drives the order, a few seconds at a time; closed, the next
`sweepgrants` goes on where it stopped. It works without a script too, a click per step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.translation import gettext as _

from oauthbff import grants
from oauthbff.models import EndOrder, Revocation, TokenGrant

from . import words
from .base import GrantPages

#: How long one step of a large order takes.
STEP_SECONDS = 2.0
MOST_ORDERS = 50


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where an order stands, in numbers."""

    total: int
    left: int
    ended: int
    told: int
    unsupported: int
    waiting: int
    failed: int
    #: Of those that wait, how many could be told right now.
    due: int

    @property
    def others(self) -> int:
        """Those that somebody or something else had ended by then."""
        return max(0, self.total - self.left - self.ended)

    @property
    def looked_at(self) -> int:
        return self.total - self.left

    @property
    def phase(self) -> str:
        """ending: steps follow at once. telling: so they do. waiting: for the provider. done."""
        if self.left:
            return "ending"
        if self.due:
            return "telling"
        return "waiting" if self.waiting else "done"


def progress_of(order: EndOrder, ended: QuerySet[TokenGrant]) -> Progress:
    counted = ended.order_by().values_list("revocation").annotate(Count("pk"))
    states: dict[str, int] = dict(counted)
    due = ended.filter(revocation=Revocation.PENDING, revocation_due_at__lte=timezone.now())
    return Progress(
        total=order.total,
        left=grants.left_to_end(order),
        ended=sum(states.values()),
        told=states.get(Revocation.DONE, 0),
        unsupported=states.get(Revocation.UNSUPPORTED, 0),
        waiting=states.get(Revocation.PENDING, 0),
        failed=states.get(Revocation.FAILED, 0),
        due=due.count() if states.get(Revocation.PENDING) else 0,
    )


class GrantOutcome(GrantPages):
    def orders(self, request: HttpRequest) -> HttpResponse:
        """The way back to an order whose tab was closed."""
        mine = self._orders(request)[:MOST_ORDERS]
        rows = [
            {
                "order": order,
                "left": grants.left_to_end(order),
                "by": words.name_of(order.requested_by),
            }
            for order in mine
        ]
        return self.page(request, "orders", _("Orders to end grants"), orders=rows)

    def order(self, request: HttpRequest, order_id: Any) -> HttpResponse:
        order = self._orders(request).filter(pk=order_id).first()
        if order is None:
            raise Http404
        if request.method == "POST":
            self._step(request, order)
            if request.headers.get("X-Requested-With") != "fetch":
                return HttpResponseRedirect(request.get_full_path())
        template = "order_progress" if request.method == "POST" else "order"
        return self.page(request, template, _title(order), **self._shown(request, order))

    def _orders(self, request: HttpRequest) -> QuerySet[EndOrder]:
        """Their own; it counts grants that others may not see."""
        orders = EndOrder.objects.select_related("requested_by")  # who may be gone a moment later
        if request.user.is_superuser:
            return orders
        return orders.filter(requested_by=request.user)  # type: ignore[misc]

    def _step(self, request: HttpRequest, order: EndOrder) -> None:
        if "again" in request.POST:
            ended = TokenGrant.objects.filter(end_order=order)
            grants.tell_again(ended, seconds=STEP_SECONDS)
        else:
            grants.carry_out(order, seconds=STEP_SECONDS)

    def _shown(self, request: HttpRequest, order: EndOrder) -> dict[str, Any]:
        ended = self.get_queryset(request).filter(end_order=order)
        rows = ended.select_related("user").order_by("-revocation", "pk")  # what waits comes first
        page = Paginator(rows, self.list_per_page).get_page(request.GET.get("p"))
        return {
            "order": order,
            "by": words.name_of(order.requested_by),
            "progress": progress_of(order, ended),
            "rows": [_row(grant) for grant in page.object_list],
            "page": page,
        }


def _row(grant: TokenGrant) -> dict[str, Any]:
    kind, told = words.outcome_of(grant)
    return {
        "grant": grant,
        "person": words.person_of(grant),
        "device": words.device_in(grant),
        "told": words.badge(f"told-{kind}", told),
        "error": grant.revocation_error if grant.revocation in ("pending", "failed") else "",
    }


def _title(order: EndOrder) -> str:
    titles = {
        EndOrder.Scope.CHOSEN: _("Chosen grants"),
        EndOrder.Scope.USER: _("All grants of %(label)s"),
        EndOrder.Scope.OTHERS: _("All other grants of %(label)s"),
        EndOrder.Scope.PROVIDER: _("All grants of %(label)s"),
        EndOrder.Scope.LIST: _("All grants of a list"),
    }
    return titles[EndOrder.Scope(order.scope)] % {"label": order.label}
