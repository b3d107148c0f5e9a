"""The admin: see the grants, end them. Nothing here can show or change a secret."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from . import grants
from .devices import device_of
from .models import EndReason, GrantEvent, Revocation, TokenGrant
from .vault import key_id_of


def name_of(user: Any) -> str:
    """How a person is called here; a dash for nobody."""
    return "-" if user is None else str(user.get_full_name() or user.get_username())


def briefly(moment: datetime) -> str:
    """A moment in one short line: the time today, else day and time."""
    local = timezone.localtime(moment)
    today = local.date() == timezone.localdate()
    return date_format(local, "H:i" if today else "j M Y H:i")


class Standing(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("active", _("Active")),
            ("ended", _("Ended")),
            ("pending", _("Provider to be told")),
        ]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[TokenGrant]
    ) -> QuerySet[TokenGrant]:
        if self.value() == "active":
            return queryset.filter(ended_at=None)
        if self.value() == "ended":
            return queryset.exclude(ended_at=None)
        if self.value() == "pending":
            return queryset.filter(revocation=Revocation.PENDING)
        return queryset


class EventInline(admin.TabularInline):  # type: ignore[type-arg]
    model = GrantEvent
    fields = readonly_fields = ("at", "kind", "by_name", "note")
    extra = 0
    can_delete = False

    @admin.display(description=_("by"))
    def by_name(self, event: GrantEvent) -> str:
        return name_of(event.by)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True


@admin.register(TokenGrant)
class TokenGrantAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Read-only, but for ending."""

    list_display = ("person", "state", "told", "device", "ip", "signed_in", "used")
    list_filter = (Standing, "end_reason", "issuer")
    list_select_related = ("user",)
    list_per_page = 50
    show_full_result_count = False
    search_fields = ("user__username", "user__email", "subject", "=sid", "=ip")
    date_hierarchy = "created_at"
    actions = ("end_selected",)
    inlines = (EventInline,)
    fieldsets = (
        (None, {"fields": ("person", "state", "id", "device", "ip", "user_agent")}),
        (_("Provider"), {"fields": ("issuer", "client_id", "subject", "sid", "scopes")}),
        (
            _("Times"),
            {
                "fields": (
                    "created_at",
                    "last_used_at",
                    "expires_at",
                    "refreshed_at",
                    "access_expires_at",
                    "sealed_with",
                )
            },
        ),
        (
            _("End"),
            {
                "fields": (
                    "ended_at",
                    "end_reason",
                    "ended_by_name",
                    "end_note",
                    "told",
                    "revocation_attempts",
                    "revocation_due_at",
                    "revocation_error",
                )
            },
        ),
    )

    class Media:
        css = {"all": ("oauthbff/admin.css",)}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_end_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("oauthbff.end_tokengrant")

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Looking is written down as well: who looked at whose grant."""
        response = super().change_view(request, object_id, form_url, extra_context)
        if request.method == "GET" and response.status_code == 200:
            grants.note_viewed(object_id, by=request.user)  # type: ignore[arg-type]
        return response

    @admin.display(description=_("person"), ordering="user__email")
    def person(self, grant: TokenGrant) -> str:
        return str(grant.subject) if grant.user is None else name_of(grant.user)

    @admin.display(description=_("ended by"))
    def ended_by_name(self, grant: TokenGrant) -> str:
        return name_of(grant.ended_by)

    @admin.display(description=_("state"), ordering="ended_at")
    def state(self, grant: TokenGrant) -> str:
        if grant.ended_at is not None:
            kind, label = "ended", str(grant.get_end_reason_display())
        elif timezone.now() >= grant.expires_at:
            kind, label = "over", str(EndReason.ABSOLUTE.label)
        else:
            kind, label = "active", str(_("active"))
        return format_html('<span class="grant-state grant-state-{}">{}</span>', kind, label)

    @admin.display(description=_("at the provider"), ordering="revocation")
    def told(self, grant: TokenGrant) -> str:
        if grant.revocation == Revocation.NONE:
            return "-"
        return format_html(
            '<span class="grant-told grant-told-{}">{}</span>',
            grant.revocation,
            grant.get_revocation_display(),
        )

    @admin.display(description=_("device"))
    def device(self, grant: TokenGrant) -> str:
        return device_of(grant.user_agent)

    @admin.display(description=_("signed in"), ordering="created_at")
    def signed_in(self, grant: TokenGrant) -> str:
        return briefly(grant.created_at)

    @admin.display(description=_("last used"), ordering="last_used_at")
    def used(self, grant: TokenGrant) -> str:
        return briefly(grant.last_used_at)

    @admin.display(description=_("sealed with key"))
    def sealed_with(self, grant: TokenGrant) -> str:
        return key_id_of(grant.envelope) or "-"

    @admin.action(description=_("End the selected grants…"), permissions=["end"])
    def end_selected(
        self, request: HttpRequest, queryset: QuerySet[TokenGrant]
    ) -> HttpResponse | None:
        """Ask first, then end; say what the provider answered."""
        standing = queryset.filter(ended_at=None)
        if "confirmed" not in request.POST:
            context = {
                **self.admin_site.each_context(request),
                "title": _("End these grants?"),
                "grants": [
                    (self.person(grant), device_of(grant.user_agent), grant)
                    for grant in standing.select_related("user")
                ],
                "people": standing.values("user").distinct().count(),
                "selected": request.POST.getlist("_selected_action"),
                "select_across": request.POST.get("select_across", "0"),
                "opts": self.model._meta,
            }
            return TemplateResponse(request, "admin/oauthbff/tokengrant/confirm_end.html", context)
        note = request.POST.get("note", "").replace("\0", "").strip()
        ids = list(standing.values_list("pk", flat=True))
        count = grants.end(
            TokenGrant.objects.filter(pk__in=ids),
            reason=EndReason.ADMIN,
            by=request.user,  # type: ignore[arg-type]
            note=note,
        )
        ended = TokenGrant.objects.filter(pk__in=ids)
        for grant in ended:
            self.log_change(request, grant, f"Ended. {note}".strip())
        waiting = ended.filter(revocation=Revocation.PENDING).count()
        message = ngettext("%(count)d grant ended.", "%(count)d grants ended.", count)
        text = message % {"count": count}
        if waiting:
            text += " " + str(
                _("The provider did not answer for %(count)d; it will be told again.")
                % {"count": waiting}
            )
        self.message_user(request, text, messages.WARNING if waiting else messages.SUCCESS)
        return None
