"""Filters and search, each served by an index; docs/admin.md shows the query plans.

What comes from the address bar is looked up among what is offered, or parsed; nothing of
it reaches the database as it came.
"""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import F, Q, QuerySet, TextField, Value
from django.db.models.functions import Concat
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from oauthbff.conf import conf
from oauthbff.models import EndReason, Revocation, TokenGrant

from .base import TEMPLATES
from .words import IDLE_SOON, name_of

Grants = QuerySet[TokenGrant]

#: More people than this are looked for inside the database instead of one by one.
MOST_PEOPLE = 200
LONGEST_QUESTION = 255
MOST_PROVIDERS = 20


def _idle_before(share: float = 1.0) -> datetime:
    return timezone.now() - timedelta(seconds=conf().idle_timeout * share)


def active(grants: Grants) -> Grants:
    """Those whose next call passes."""
    return grants.filter(
        ended_at=None, last_used_at__gt=_idle_before(), expires_at__gt=timezone.now()
    )


def idle_soon(grants: Grants) -> Grants:
    return active(grants).filter(last_used_at__lte=_idle_before(IDLE_SOON))


def over(grants: Grants) -> Grants:
    """Those whose time is up, and which the next call or the next sweep ends."""
    return grants.filter(ended_at=None).filter(
        Q(last_used_at__lte=_idle_before()) | Q(expires_at__lte=timezone.now())
    )


def used_within(**age: float) -> Callable[[Grants], Grants]:
    return lambda grants: grants.filter(
        ended_at=None, last_used_at__gt=timezone.now() - timedelta(**age)
    )


def providers_of(grants: Grants) -> list[str]:
    """The issuers there are, by steps from one to the next: an index probe each, no scan."""
    found: list[str] = []
    rest = grants.order_by("issuer").values_list("issuer", flat=True)
    while len(found) < MOST_PROVIDERS:
        following = rest.filter(issuer__gt=found[-1]) if found else rest
        issuer = following.first()
        if issuer is None:
            break
        found.append(issuer)
    return found


class Choice(admin.SimpleListFilter):
    """A filter whose choices are known: anything else in the address bar changes nothing."""

    template = f"{TEMPLATES}/filter.html"

    def narrow(self, grants: Grants, value: str) -> Grants:
        raise NotImplementedError

    def queryset(self, request: HttpRequest, queryset: Grants) -> Grants:
        value = self.value()
        if value is None or value not in {str(key) for key, _label in self.lookup_choices}:
            return queryset
        return self.narrow(queryset, value)


class StateFilter(Choice):
    title = _("state")
    parameter_name = "state"
    states: dict[str, tuple[Any, Callable[[Grants], Grants]]] = {
        "active": (_("Active"), active),
        "idle-soon": (_("Idle soon"), idle_soon),
        "over": (_("Time is up"), over),
        "ended": (_("Ended"), lambda grants: grants.filter(ended_at__isnull=False)),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [(key, label) for key, (label, _narrow) in self.states.items()]

    def narrow(self, grants: Grants, value: str) -> Grants:
        return self.states[value][1](grants)


class UsedFilter(Choice):
    title = _("last use")
    parameter_name = "used"
    spans: dict[str, tuple[Any, Callable[[Grants], Grants]]] = {
        "5m": (_("In the last 5 minutes"), used_within(minutes=5)),
        "1h": (_("In the last hour"), used_within(hours=1)),
        "1d": (_("In the last day"), used_within(days=1)),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [(key, label) for key, (label, _narrow) in self.spans.items()]

    def narrow(self, grants: Grants, value: str) -> Grants:
        return self.spans[value][1](grants)


class ReasonFilter(Choice):
    title = _("reason")
    parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return EndReason.choices

    def narrow(self, grants: Grants, value: str) -> Grants:
        return grants.filter(end_reason=value)


class RevocationFilter(Choice):
    title = _("revocation")
    parameter_name = "revocation"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [choice for choice in Revocation.choices if choice[0] != Revocation.NONE]

    def narrow(self, grants: Grants, value: str) -> Grants:
        return grants.filter(revocation=value)


class ProviderFilter(Choice):
    title = _("provider")
    parameter_name = "provider"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [(issuer, issuer) for issuer in providers_of(model_admin.get_queryset(request))]

    def has_output(self) -> bool:
        return len(self.lookup_choices) > 1

    def narrow(self, grants: Grants, value: str) -> Grants:
        return grants.filter(issuer=value)


class WordFilter(Choice):
    """One word of a column that holds several."""

    column: str

    def narrow(self, grants: Grants, value: str) -> Grants:
        spaced = Concat(Value(" "), F(self.column), Value(" "), output_field=TextField())
        return grants.alias(spaced=spaced).filter(spaced__contains=f" {value} ")


class UpstreamFilter(WordFilter):
    title = _("API called")
    parameter_name = "upstream"
    column = "upstreams"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [(name, name) for name in conf().upstreams]

    def has_output(self) -> bool:
        return bool(self.lookup_choices)


class ScopeFilter(WordFilter):
    title = _("scope")
    parameter_name = "scope"
    column = "scopes"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [(scope, scope) for scope in conf().scopes]


class UserFilter(Choice):
    """Not offered, but reached from a user's page; then it can be taken away again."""

    title = _("user")
    parameter_name = "user"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        wanted = request.GET.get(self.parameter_name, "")
        user = user_among(model_admin.get_queryset(request), wanted)
        return [] if user is None else [(wanted, name_of(user))]

    def narrow(self, grants: Grants, value: str) -> Grants:
        return grants.filter(user_id=value)


def user_among(grants: Grants, key: str) -> Any:
    """The user with a primary key as it stands in an address, if they have a grant among these."""
    model = get_user_model()
    try:
        pk = model._meta.pk.to_python(key)
        found = grants.filter(user_id=pk).select_related("user").first()
    except (ValueError, TypeError, OverflowError, ArithmeticError, ValidationError):
        return None
    return found.user if found is not None else None


def search(grants: Grants, question: str, *, everything: Grants) -> Grants:
    """Those of some grants that a question means; `everything` are all that may be seen.

    A handle or an address says what it is. All else is a subject or `sid` to the letter,
    or words that occur in a user's names or e-mail address.
    """
    question = question.strip()
    if not question:
        return grants
    if "\0" in question or len(question) > LONGEST_QUESTION:
        return grants.none()
    if (address := _address(question)) is not None:
        return grants.filter(ip=address)
    # With the issuers in the condition an index serves it.
    named = _named(question, providers_of(everything))
    if (handle := _handle(question)) is not None:
        return grants.filter(Q(pk=handle) | named)
    return grants.filter(named | _of_people(question))


def _named(word: str, issuers: list[str]) -> Q:
    return Q(issuer__in=issuers, subject=word) | Q(issuer__in=issuers, sid=word)


def _of_people(question: str) -> Q:
    model = get_user_model()
    named = [model.USERNAME_FIELD, model.get_email_field_name(), "first_name", "last_name"]
    fields = {name for name in named if any(name == each.name for each in model._meta.fields)}
    everyone = model._default_manager.order_by()
    for word in question.split():
        occurs = Q()
        for field in fields:
            occurs |= Q(**{f"{field}__icontains": word})
        everyone = everyone.filter(occurs)
    few = list(everyone.values_list("pk", flat=True)[: MOST_PEOPLE + 1])
    return Q(user_id__in=few if len(few) <= MOST_PEOPLE else everyone.values("pk"))


def _handle(word: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(word)
    except ValueError:
        return None


def _address(word: str) -> str | None:
    try:
        return str(ipaddress.ip_address(word))
    except ValueError:
        return None
