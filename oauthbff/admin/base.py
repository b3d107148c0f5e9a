"""What all pages share: the rights, the frame, the addresses."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from . import rights, words

Right = Callable[[HttpRequest], bool]
TEMPLATES = "admin/oauthbff/tokengrant"


class GrantPages(admin.ModelAdmin):  # type: ignore[type-arg]
    """Read-only, but for ending. A row is never added, changed or deleted here."""

    class Media:
        css = {"all": ("oauthbff/admin.css",)}

    empty_value_display = words.DASH

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return rights.may_see(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_end_permission(self, request: HttpRequest) -> bool:
        """Django asks by this name whether the actions of the list are offered."""
        return rights.may_end(request) or rights.may_end_every(request)

    def address(self, name: str, *args: Any) -> str:
        """The address of one of our pages, in whatever admin site this is registered."""
        return reverse(
            f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_{name}",
            args=args,
        )

    def page(
        self, request: HttpRequest, template: str, title: Any, **context: Any
    ) -> TemplateResponse:
        """A page in the admin's own frame."""
        request.current_app = self.admin_site.name
        frame = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "media": self.media,
        }
        return TemplateResponse(request, f"{TEMPLATES}/{template}.html", {**frame, **context})

    def door(
        self, route: str, view: Callable[..., HttpResponse], name: str, right: Right
    ) -> URLPattern:
        """One of our own addresses: signed in, of the staff, with that right.

        Outside ATOMIC_REQUESTS, because what is ended must be committed before the
        provider is told.
        """

        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not right(request):
                raise PermissionDenied
            return view(request, *args, **kwargs)

        return path(
            route,
            transaction.non_atomic_requests(self.admin_site.admin_view(guarded)),
            name=f"{self.opts.app_label}_{self.opts.model_name}_{name}",
        )
