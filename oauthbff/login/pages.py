"""The few pages that a sign-in can end on, and the redirect that leads there."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _

from oauthbff import events, grants, origin
from oauthbff.conf import conf
from oauthbff.door import PAGE_POLICY, PlainDoor, harden
from oauthbff.errors import BFFError, LoginRequired

#: An answer of the provider that came too late, or again.
STALE = ("login_expired", "login_replayed")


def see_other(url: str) -> HttpResponse:
    response = HttpResponse(status=303)
    response["Location"] = url
    return harden(response)


def page(
    request: HttpRequest, name: str, context: dict[str, Any], status: int = 200
) -> HttpResponse:
    """One of our few pages: no script, no frame, nothing stored."""
    response = render(request, f"oauthbff/{name}.html", context, status=status)
    response["Content-Security-Policy"] = PAGE_POLICY
    response["Cross-Origin-Opener-Policy"] = "same-origin"
    return harden(response)


def show_failure(request: HttpRequest, exc: BFFError) -> HttpResponse:
    """Log why in full, tell the browser a short code at an address without secrets."""
    events.login_failed(exc, code=exc.code, ip=request.META.get("REMOTE_ADDR"))
    target = conf().error_url or reverse("oauthbff:error")
    mark = "&" if "?" in target else "?"
    return see_other(f"{target}{mark}{urlencode({'bff_error': exc.code})}")


def signed_in(request: HttpRequest) -> bool:
    try:
        return bool(grants.current(request))
    except LoginRequired:
        return False


class ErrorDoor(PlainDoor):
    """The page a failed sign-in ends on."""

    http_method_names = ("get", "head")

    def get(self, request: HttpRequest) -> HttpResponse:
        code = request.GET.get("bff_error", "")
        if code in STALE:
            # The back button, mostly. Straight from the provider a Strict cookie is held back;
            # one step from our own page shows whether the user is signed in after all.
            if origin.came_from_elsewhere(request.headers.get):
                return page(request, "continue", {"url": request.get_full_path()})
            if signed_in(request):
                return see_other(conf().home_url)
        code = code if code.replace("_", "").isalpha() and len(code) <= 40 else "login_failed"
        title, message = explanation(code)
        return page(
            request,
            "error",
            {
                "code": code,
                "title": title,
                "message": message,
                "login_url": reverse("oauthbff:login"),
                "home_url": conf().home_url,
                "hint": hint(code) if settings.DEBUG else "",
            },
            status=400,
        )


def hint(code: str) -> str:
    """What the developer of a site should look at. Shown under DEBUG only."""
    if code == "login_expired":
        return (
            "If it was not too long ago, the cookie of the sign-in did not come back. Was the site "
            f"opened under another name than {conf().base_url} (127.0.0.1 is not localhost)? Or in "
            "Safari, which refuses Secure cookies on http?"
        )
    return f"The log says why: look for login_failed code={code}, and why= in that line."


def explanation(code: str) -> tuple[str, str]:
    """A code in the user's words."""
    known = {
        "login_expired": (
            _("That took a little too long"),
            _("The sign-in was started too long ago, or in another browser. Please start again."),
        ),
        "login_replayed": (
            _("This sign-in was used already"),
            _("The page was opened a second time. Please start again."),
        ),
        "access_denied": (
            _("You did not sign in"),
            _("The sign-in was cancelled, or access was not granted."),
        ),
        "provider_unavailable": (
            _("The sign-in service does not answer"),
            _("This is usually over in a moment. Please try again."),
        ),
        "user_disabled": (
            _("This account is disabled"),
            _("Please ask the people who run this site."),
        ),
        "email_conflict": (
            _("You may have an account here already"),
            _(
                "We could not tell for certain that it is yours. "
                "Please ask the people who run this site."
            ),
        ),
        "user_unknown": (
            _("You have no account here"),
            _("You are known to the sign-in service, but not to this site."),
        ),
    }
    return known.get(
        code,
        (_("The sign-in did not work"), _("Nothing was changed. You can simply try again.")),
    )
