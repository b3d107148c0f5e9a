"""The example site's own pages: the SPA's shell, and the way into the admin."""

from __future__ import annotations

from urllib.parse import urlencode

from django.contrib.auth import REDIRECT_FIELD_NAME
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBadRequest,
    HttpResponseRedirect,
)
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


def index(request: HttpRequest) -> HttpResponse:
    """The SPA. Served without looking at the session: a Strict cookie is not sent right after
    a sign-in, and a page that insisted on it would send the browser round in a circle."""
    response = render(request, "index.html")
    response["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response["Cache-Control"] = "no-store"
    return response


def admin_login(request: HttpRequest) -> HttpResponse:
    """Stands where the admin's password form would be: sign in at the provider instead."""
    wanted = request.GET.get(REDIRECT_FIELD_NAME, "")
    if not url_has_allowed_host_and_scheme(wanted, {request.get_host()}):
        wanted = reverse("admin:index")
    if request.headers.get("Sec-Fetch-Site") == "cross-site":
        # The browser comes straight from the provider and holds back the Strict cookie.
        # One more step, from our own page, and it is sent.
        return render(request, "oauthbff/continue.html", {"url": wanted})
    if request.user.is_authenticated:
        return render(request, "no_staff.html", status=403)
    return HttpResponseRedirect(f"{reverse('oauthbff:login')}?{urlencode({'return_to': wanted})}")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's own looks for a CSRF token in the body first, and is a 500 if that is malformed."""
    return HttpResponseBadRequest("Bad request.", content_type="text/plain")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """As Django's own, which looks into the body as well."""
    return render(request, "404.html", status=404)
