"""The pages as one ModelAdmin, and their addresses."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest
from django.urls import URLPattern

from oauthbff.models import TokenGrant

from . import rights
from .dashboard import GrantDashboard
from .detail import GrantDetail
from .ending import GrantEnding
from .listing import GrantList
from .outcome import GrantOutcome


def may_give_orders(request: HttpRequest) -> bool:
    return rights.may_end(request) or rights.may_end_every(request)


@admin.register(TokenGrant)
class TokenGrantAdmin(GrantList, GrantDetail, GrantEnding, GrantOutcome, GrantDashboard):
    """See the grants, end them. Override `get_queryset` to show each tenant its own."""

    def get_urls(self) -> list[URLPattern]:
        return [
            self.door("dashboard/", self.dashboard, "dashboard", rights.may_see),
            self.door("end/", self.end, "end", may_give_orders),
            self.door("orders/", self.orders, "orders", may_give_orders),
            self.door("orders/<uuid:order_id>/", self.order, "order", may_give_orders),
            self.door("<uuid:handle>/again/", self.again, "again", rights.may_end),
            *super().get_urls(),
        ]
