"""The list: who, where, since when, how long yet. A fixed number of queries, and no scan."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from oauthbff.models import Revocation, TokenGrant

from . import finding, rights, words
from .base import GrantPages
from .counting import LimitedPaginator, counts_of
from .periods import GrantChangeList


class GrantList(GrantPages):
    list_display = ("person", "state", "device", "scope_names", "signed_in", "used")
    list_filter = (
        finding.StateFilter,
        finding.RevocationFilter,
        finding.ReasonFilter,
        finding.UsedFilter,
        finding.ScopeFilter,
        finding.UpstreamFilter,
        finding.ProviderFilter,
        finding.UserFilter,
    )
    list_per_page = 50
    paginator = LimitedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ("signed_in",)
    search_fields = ("subject",)  # what is searched is in `finding.search`
    search_help_text = gettext_lazy(
        "Name or e-mail address; or, to the letter: subject, provider session, handle, IP address"
    )
    date_hierarchy = "created_at"

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Only the filters that are offered. Django would allow every column of the table:
        a question about the envelope, letter by letter, is an answer about the envelope."""
        offered = {each.parameter_name for each in self.list_filter}
        dates = {f"{self.date_hierarchy}__{part}" for part in ("year", "month", "day")}
        return lookup in offered | dates

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[TokenGrant], search_term: str
    ) -> tuple[QuerySet[TokenGrant], bool]:
        found = finding.search(queryset, search_term, everything=self.get_queryset(request))
        return found, False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        more: dict[str, Any] = {
            "has_end_permission": self.has_end_permission(request),
            "may_end_every": rights.may_end_every(request),
            "selection_note_all": _("All that match are selected"),
        }
        if request.method == "GET" and self.has_view_permission(request):
            more["counts"] = counts_of(self.get_queryset(request))
            if rights.may_end_every(request):
                more["end_providers"] = finding.providers_of(self.get_queryset(request))
        return super().changelist_view(request, more | (extra_context or {}))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return GrantChangeList

    @admin.display(description=gettext_lazy("person"))
    def person(self, grant: TokenGrant) -> str:
        name = words.person_of(grant)
        mail = words.mail_of(grant.user) if grant.user is not None else ""
        return words.two_lines(name, mail if mail != name else "")

    @admin.display(description=gettext_lazy("state"))
    def state(self, grant: TokenGrant) -> str:
        state = words.state_of(grant, timezone.now())
        cell = words.two_lines(state.badge, state.why)
        if grant.revocation in (Revocation.NONE, Revocation.DONE):
            return cell
        kind, told = words.outcome_of(grant)
        return format_html("{}<br>{}", cell, words.badge(f"told-{kind}", told))

    @admin.display(description=gettext_lazy("device"))
    def device(self, grant: TokenGrant) -> str:
        return words.two_lines(words.device_in(grant), grant.ip)

    @admin.display(description=gettext_lazy("scopes"))
    def scope_names(self, grant: TokenGrant) -> str:
        return " ".join(scope for scope in grant.scopes.split() if scope != "openid") or words.DASH

    @admin.display(description=gettext_lazy("signed in"), ordering="created_at")
    def signed_in(self, grant: TokenGrant) -> str:
        at = words.named(_("signed in"), words.moment(grant.created_at))
        return words.two_lines(at, words.host_of(grant.issuer))

    @admin.display(description=gettext_lazy("last used"))
    def used(self, grant: TokenGrant) -> str:
        now = timezone.now()
        left = words.left_of(grant, now)
        ends = _("ends in %(time)s") % {"time": left} if left else ""
        used = words.named(_("last used"), words.ago(grant.last_used_at, now))
        return words.two_lines(used, ends)
