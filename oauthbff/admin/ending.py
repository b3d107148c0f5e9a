"""End grants, from wherever it is asked for: one page that says what will happen, and asks why.

Nothing is ended by a link. A confirmed wish becomes an order (`grants.order_end`), and
what became of it is the next page.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from oauthbff import grants
from oauthbff.errors import LoginRequired
from oauthbff.models import EndOrder, Revocation, TokenGrant

from . import rights, words
from .base import GrantPages
from .finding import providers_of, user_among

#: How long the request that gives an order works at it itself.
FIRST_SECONDS = 6.0
#: So many grants are named on the confirmation; the rest are counted.
MOST_NAMED = 25
LONGEST_NOTE = 200
MOST_TOLD_AGAIN = 500

Scope = EndOrder.Scope


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What somebody wants to end: which grants of those they may see, and how it was said."""

    scope: Scope
    grants: QuerySet[TokenGrant]
    title: str
    label: str = ""
    #: Everything somebody could mean by "all": their own session then stays, unless they say so.
    sweeping: bool = False
    #: What the confirmation sends back.
    fields: list[tuple[str, str]] = field(default_factory=list)
    back: str = ""


class GrantEnding(GrantPages):
    actions = ("end_selected", "tell_selected")

    @admin.action(description=gettext_lazy("End the selected grants…"), permissions=["end"])
    def end_selected(self, request: HttpRequest, queryset: QuerySet[TokenGrant]) -> HttpResponse:
        across = request.POST.get("select_across") == "1"
        allowed = rights.may_end_every(request) if across else rights.may_end(request)
        if not allowed:
            return self._refuse(request, across)
        chosen = request.POST.getlist("_selected_action")
        wish = Wish(
            scope=Scope.LIST if across else Scope.CHOSEN,
            grants=queryset,
            title=_("End all grants that the list shows?") if across else _("End these grants?"),
            label=request.GET.urlencode() if across else "",
            sweeping=across,
            fields=[
                ("action", "end_selected"),
                ("select_across", "1" if across else "0"),
                *(("_selected_action", pk) for pk in (chosen[:1] if across else chosen)),
            ],
            back=request.get_full_path(),
        )
        return self._confirm_or_end(request, wish)

    @admin.action(description=gettext_lazy("Try the provider again now"), permissions=["end"])
    def tell_selected(self, request: HttpRequest, queryset: QuerySet[TokenGrant]) -> None:
        """A few hundred of them now; the others when their turn comes."""
        waiting = queryset.filter(revocation=Revocation.PENDING)
        before = waiting.count()
        chosen = list(waiting.values_list("pk", flat=True)[:MOST_TOLD_AGAIN])
        grants.tell_again(TokenGrant.objects.filter(pk__in=chosen), seconds=FIRST_SECONDS)
        left = waiting.count()
        text = _("The provider was told of %(told)d; %(left)d still wait.")
        level = messages.WARNING if left else messages.SUCCESS
        self.message_user(request, text % {"told": before - left, "left": left}, level)

    def end(self, request: HttpRequest) -> HttpResponse:
        """One grant, all of a user, all others of a user, all of a provider: by the address."""
        wish = self._wish(request)
        if wish is None:
            raise Http404
        allowed = (
            rights.may_end_every(request)
            if wish.scope == Scope.PROVIDER
            else rights.may_end(request)
        )
        return self._confirm_or_end(request, wish) if allowed else self._refuse(request, True)

    def _wish(self, request: HttpRequest) -> Wish | None:
        told = request.POST if request.method == "POST" else request.GET
        seen = self.get_queryset(request)
        if handle := told.get("grant"):
            return self._one(seen, handle)
        if key := told.get("user"):
            return self._of_user(seen, key, told.get("keep"))
        issuer = told.get("provider")
        return self._of_provider(seen, issuer) if issuer else None

    def _one(self, seen: QuerySet[TokenGrant], handle: str) -> Wish | None:
        grant = _by_handle(seen, handle)
        if grant is None:
            return None
        return Wish(
            scope=Scope.CHOSEN,
            grants=seen.filter(pk=grant.pk),
            title=_("End this grant?"),
            fields=[("grant", str(grant.pk))],
            back=self.address("change", grant.pk),
        )

    def _of_user(self, seen: QuerySet[TokenGrant], key: str, keep: str | None) -> Wish | None:
        user = user_among(seen, key)
        if user is None:
            return None
        fields = [("user", str(user.pk))]
        theirs = seen.filter(user_id=user.pk)
        name = words.name_of(user)
        if keep is None:
            title = _("End all grants of %(name)s?") % {"name": name}
            return Wish(
                scope=Scope.USER,
                grants=theirs,
                title=title,
                label=name,
                fields=fields,
                sweeping=True,
            )
        kept = _by_handle(theirs, keep)
        if kept is None:
            return None
        return Wish(
            scope=Scope.OTHERS,
            grants=theirs.exclude(pk=kept.pk),
            title=_("End all other grants of %(name)s?") % {"name": name},
            label=name,
            fields=[*fields, ("keep", str(kept.pk))],
            back=self.address("change", kept.pk),
        )

    def _of_provider(self, seen: QuerySet[TokenGrant], issuer: str) -> Wish | None:
        if issuer not in providers_of(seen):
            return None
        return Wish(
            scope=Scope.PROVIDER,
            grants=seen.filter(issuer=issuer),
            title=_("Log out everyone who signed in at %(provider)s?")
            % {"provider": words.host_of(issuer)},
            label=issuer,
            fields=[("provider", issuer)],
            sweeping=True,
        )

    def _confirm_or_end(self, request: HttpRequest, wish: Wish) -> HttpResponse:
        standing = wish.grants.filter(ended_at=None)
        own = _own_handle(request)
        spares = wish.sweeping and own is not None and standing.filter(pk=own).exists()
        if spares and "own" not in request.POST:
            standing = standing.exclude(pk=own)
        confirmed = request.method == "POST" and "confirmed" in request.POST
        note = request.POST.get("note", "").replace("\0", "").strip()[:LONGEST_NOTE]
        if not (confirmed and note):
            return self._confirm(request, wish, standing, own, spares, no_note=confirmed)
        order = grants.order_end(
            standing,
            scope=wish.scope,
            label=wish.label,
            by=request.user,  # type: ignore[arg-type]
            note=note,
        )
        grants.carry_out(order, seconds=FIRST_SECONDS)
        return HttpResponseRedirect(self.address("order", order.pk))

    def _confirm(
        self,
        request: HttpRequest,
        wish: Wish,
        standing: QuerySet[TokenGrant],
        own: Any,
        spares: bool,
        *,
        no_note: bool,
    ) -> HttpResponse:
        count = standing.count()
        people = standing.order_by().values("issuer", "subject").distinct().count()
        named = list(standing.select_related("user").order_by("-last_used_at")[:MOST_NAMED])
        now = timezone.now()
        return self.page(
            request,
            "confirm_end",
            wish.title,
            wish=wish,
            back=wish.back or self.address("changelist"),
            count=count,
            effect=_effect(count, people),
            grants=[
                {
                    "person": words.person_of(grant),
                    "where": words.where(grant),
                    "used": words.ago(grant.last_used_at, now),
                    "own": grant.pk == own,
                }
                for grant in named
            ],
            more=count - len(named),
            spares_own=spares,
            ends_own=not wish.sweeping and any(grant.pk == own for grant in named),
            own_checked="own" in request.POST,
            no_note=no_note,
            longest_note=LONGEST_NOTE,
        )

    def _refuse(self, request: HttpRequest, whole: bool) -> HttpResponse:
        text = (
            _("You may end grants one by one, but not everything that matches.")
            if whole
            else _("You may not end single grants.")
        )
        self.message_user(request, text, messages.ERROR)
        return HttpResponseRedirect(self.address("changelist"))


def _by_handle(seen: QuerySet[TokenGrant], text: str) -> TokenGrant | None:
    try:
        return seen.filter(pk=uuid.UUID(text)).first()
    except ValueError:
        return None


def _effect(count: int, people: int) -> str:
    """What will happen, to how many people."""
    who = ngettext("%(n)s person", "%(n)s people", people) % {"n": people}
    what = ngettext("%(n)s grant", "%(n)s grants", count) % {"n": count}
    return _("%(grants)s of %(people)s will end at once.") % {"grants": what, "people": who}


def _own_handle(request: HttpRequest) -> Any:
    """The grant of whoever asks, which they may not want to end by the way."""
    try:
        return grants.current(request).pk
    except LoginRequired:
        return None
