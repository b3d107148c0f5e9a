"""One grant: facts in groups, what happened, what can be done. Every look is written down."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from oauthbff import grants
from oauthbff.models import EndReason, GrantEvent, Revocation, TokenGrant

from . import rights, words
from .base import GrantPages

#: Of a long history the newest events are shown.
MOST_EVENTS = 200
#: How long one click on "try again" may take.
AGAIN_SECONDS = 6.0
#: What is noted of a look that showed claims as well.
WITH_CLAIMS = "with claims"
LINE_BREAK = mark_safe("<br>")  # noqa: S308 - no word of anybody's

_PERSON = ("whose", "issuer", "subject", "sid", "client_id")
_WHERE = ("device_name", "ip", "user_agent")
_STATE = (
    "standing",
    "created_at",
    "last_used_at",
    "ends_in",
    "expires_at",
    "upstreams",
    "id",
)
_TOKENS = (
    "access_expires_at",
    "refreshed_at",
    "refreshable",
    "scopes",
    "audience",
    "fingerprint",
    "key_id",
)
_CLAIMS = ("claims",)
_END = ("ended_at", "end_reason", "ended_by_name", "end_note")
_TOLD = ("told", "revocation_attempts", "revocation_due_at", "revocation_error")


class GrantDetail(GrantPages):
    change_form_template = "admin/oauthbff/tokengrant/change_form.html"

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        groups: list[tuple[Any, tuple[str, ...]]] = [
            (gettext_lazy("State"), _STATE),
            (gettext_lazy("Person"), _PERSON),
            (gettext_lazy("Where"), _WHERE),
            (gettext_lazy("Tokens"), _TOKENS),
        ]
        if rights.may_see_claims(request):
            groups.append((gettext_lazy("Claims"), _CLAIMS))
        if obj is not None and obj.ended_at is not None:
            groups[1:1] = [(gettext_lazy("End"), _END), (gettext_lazy("At the provider"), _TOLD)]
        return [(title, {"fields": fields}) for title, fields in groups]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Looking is written down as well: who looked at whose grant, and at the claims."""
        if request.method == "POST":
            raise PermissionDenied
        response = super().change_view(request, object_id, form_url, extra_context)
        grant = self.get_object(request, object_id) if response.status_code == 200 else None
        if grant is not None:
            with_claims = WITH_CLAIMS if rights.may_see_claims(request) else ""
            grants.note_viewed(grant.pk, by=request.user, note=with_claims)  # type: ignore[arg-type]
            self.log_change(request, grant, f"Viewed {with_claims}".strip() + ".")
        return response

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        grant = kwargs.get("obj")
        if isinstance(grant, TokenGrant):
            newest = grant.events.select_related("by").order_by("-at", "-id")[:MOST_EVENTS]
            context |= {
                "events": [_told(event) for event in newest],
                **self._offers(request, grant),
            }
        return super().render_change_form(request, context, *args, **kwargs)

    def _offers(self, request: HttpRequest, grant: TokenGrant) -> dict[str, Any]:
        """What this person may do with this grant."""
        end = self.address("end")
        offers: dict[str, Any] = {
            "all_url": self._list_of(grant) if grant.user_id is not None else "",
            "order_url": self.address("order", grant.end_order_id) if grant.end_order_id else "",
        }
        if not rights.may_end(request):
            return offers
        if grant.ended_at is None:
            offers["end_url"] = f"{end}?{urlencode({'grant': grant.pk})}"
        if grant.user_id is not None:
            offers["end_user_url"] = f"{end}?{urlencode({'user': grant.user_id})}"
            keep = {"user": grant.user_id, "keep": grant.pk}
            offers["end_others_url"] = f"{end}?{urlencode(keep)}"
        if grant.revocation == Revocation.PENDING:
            offers |= {"again_url": self.address("again", grant.pk)}
            offers["waits"] = words.outcome_of(grant)[1]
        return offers

    def again(self, request: HttpRequest, handle: Any) -> HttpResponse:
        """Try the provider again now."""
        grant = self.get_queryset(request).filter(pk=handle).first()
        if grant is None:
            raise Http404
        if request.method == "POST":
            one = TokenGrant.objects.filter(pk=grant.pk)
            grants.tell_again(one, seconds=AGAIN_SECONDS)
            now = one.get()
            self.log_change(request, now, "Tried the provider again.")
            settled = now.revocation != Revocation.PENDING
            self.message_user(
                request, words.outcome_of(now)[1], messages.SUCCESS if settled else messages.WARNING
            )
        return HttpResponseRedirect(self.address("change", grant.pk))

    def _list_of(self, grant: TokenGrant) -> str:
        return f"{self.address('changelist')}?{urlencode({'user': grant.user_id})}"

    @admin.display(description=gettext_lazy("state"))
    def standing(self, grant: TokenGrant) -> str:
        state = words.state_of(grant, timezone.now())
        return format_html("{} {}", state.badge, state.why)

    @admin.display(description=gettext_lazy("ends in"))
    def ends_in(self, grant: TokenGrant) -> str:
        return words.left_of(grant, timezone.now()) or words.DASH

    @admin.display(description=gettext_lazy("device"))
    def device_name(self, grant: TokenGrant) -> str:
        return words.device_in(grant)

    @admin.display(description=gettext_lazy("person"))
    def whose(self, grant: TokenGrant) -> str:
        if grant.user is None:
            return words.DASH
        meta = grant.user._meta
        try:
            url = reverse(
                f"{self.admin_site.name}:{meta.app_label}_{meta.model_name}_change",
                args=[grant.user.pk],
            )
        except NoReverseMatch:  # this admin does not show users
            return words.person_of(grant)
        return format_html('<a href="{}">{}</a>', url, words.person_of(grant))

    @admin.display(description=gettext_lazy("ended by"))
    def ended_by_name(self, grant: TokenGrant) -> str:
        return words.name_of(grant.ended_by)

    @admin.display(description=gettext_lazy("outcome"))
    def told(self, grant: TokenGrant) -> str:
        kind, label = words.outcome_of(grant)
        return words.badge(f"told-{kind}", label)

    @admin.display(description=gettext_lazy("fingerprint of the access token"))
    def fingerprint(self, grant: TokenGrant) -> str:
        contents = grants.look_into(grant)
        return words.DASH if contents is None else f"SHA-256 {contents.fingerprint}…"

    @admin.display(description=gettext_lazy("can be refreshed"))
    def refreshable(self, grant: TokenGrant) -> str:
        contents = grants.look_into(grant)
        if contents is None:
            return _("no token is kept") if grant.ended_at else _("its key is not configured")
        return _("yes") if contents.refreshable else _("no, it ends with its access token")

    @admin.display(description=gettext_lazy("audience"))
    def audience(self, grant: TokenGrant) -> str:
        contents = grants.look_into(grant)
        if contents is None or not contents.resources:
            return words.DASH
        rows = (
            (resource, _("expires"), words.moment(expires))
            for resource, expires in sorted(contents.resources.items())
        )
        return format_html_join(LINE_BREAK, "{}, {} {}", rows)

    @admin.display(description=gettext_lazy("shown to the app"))
    def claims(self, grant: TokenGrant) -> str:
        contents = grants.look_into(grant)
        if contents is None or not contents.claims:
            return words.DASH
        rows = ((_text(name), _text(value)) for name, value in contents.claims.items())
        items = format_html_join("", "<dt>{}</dt><dd>{}</dd>", rows)
        return format_html('<dl class="grant-claims">{}</dl>', items)


def _text(value: Any) -> str:
    """A claim as text that a page can hold: JSON also knows half a character."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode()


def _told(event: GrantEvent) -> dict[str, Any]:
    """An event as the timeline shows it."""
    return {
        "at": timezone.localtime(event.at),
        "kind": event.kind,
        "label": event.get_kind_display(),
        "by": "" if event.by is None else words.name_of(event.by),
        "note": _note(event),
    }


def _note(event: GrantEvent) -> str:
    """What `grants` noted: a code of ours in words, all else to the letter."""
    kind = GrantEvent.Kind
    if event.kind == kind.ENDED and event.note in EndReason.values:
        return words.reason(event.note)
    if event.kind == kind.REVOKED and event.note in Revocation.values:
        return "" if event.note == Revocation.DONE else str(Revocation(event.note).label)
    if event.kind == kind.VIEWED and event.note == WITH_CLAIMS:
        return _("with claims")
    return event.note
