"""The user's own admin page gets a panel with the user's grants. One word opts in:

class UserAdmin(oauthbff.admin.GrantsOfUser, django.contrib.auth.admin.UserAdmin): ...
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.exceptions import NotRegistered
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from oauthbff import grants
from oauthbff.models import EndReason, TokenGrant

from . import rights, words
from .base import TEMPLATES
from .tokengrants import TokenGrantAdmin

MOST_SHOWN = 20


class GrantsOfUser(admin.ModelAdmin):  # type: ignore[type-arg]
    """To be put before the site's own ModelAdmin of users.

    Shows the standing grants of a user to who may see grants, with a button that ends all
    of them. Where the user is disabled here, the history says by whom.
    """

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        user, pages = kwargs.get("obj"), self._pages()
        if user is None or pages is None or not rights.may_see(request):
            return super().render_change_form(request, context, *args, **kwargs)
        context["oauth_sessions"] = _panel(request, pages, user)
        context["media"] = context["media"] + pages.media
        response = super().render_change_form(request, context, *args, **kwargs)
        if isinstance(response, TemplateResponse):
            # The panel extends whatever page the site, or a theme, has for its users.
            page = response.resolve_template(response.template_name)
            response.context_data = {**(response.context_data or {}), "users_page": page}
            response.template_name = f"{TEMPLATES}/of_user.html"
        return response

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Disabling a user ends their grants at once. The same transaction, and by whom."""
        if change and not obj.is_active:
            theirs = TokenGrant.objects.filter(user=obj)
            grants.end(theirs, reason=EndReason.USER_DISABLED, by=request.user)  # type: ignore[arg-type]
        super().save_model(request, obj, form, change)

    def _pages(self) -> TokenGrantAdmin | None:
        """The pages of grants in this admin site: theirs is what this person may see."""
        try:
            pages = self.admin_site.get_model_admin(TokenGrant)
        except NotRegistered:
            return None
        return pages if isinstance(pages, TokenGrantAdmin) else None


def _panel(request: HttpRequest, pages: TokenGrantAdmin, user: Any) -> dict[str, Any]:
    now = timezone.now()
    standing = pages.get_queryset(request).filter(user=user, ended_at=None)
    shown = standing.order_by("-last_used_at")[: MOST_SHOWN + 1]
    rows = [
        {
            "url": pages.address("change", grant.pk),
            "device": words.device_in(grant),
            "ip": grant.ip,
            "state": words.state_of(grant, now).badge,
            "signed_in": words.moment(grant.created_at),
            "used": words.ago(grant.last_used_at, now),
        }
        for grant in shown
    ]
    query = urlencode({"user": user.pk})
    return {
        "rows": rows[:MOST_SHOWN],
        "more": len(rows) > MOST_SHOWN,
        "all_url": f"{pages.address('changelist')}?{query}",
        "end_url": f"{pages.address('end')}?{query}" if rows and rights.may_end(request) else "",
    }
