"""logout/ and logged-out/: end the grant here, then at the provider."""

from __future__ import annotations

import secrets

from django.conf import settings
from django.contrib import auth
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_exempt

from oauthbff import events, grants, origin, provider
from oauthbff.conf import conf
from oauthbff.door import PlainDoor, answer, note_refusal, problem_of
from oauthbff.errors import CSRFFailed, GrantEnded, LoginRequired, ProviderError
from oauthbff.models import EndReason, TokenGrant

from .pages import page, see_other


@method_decorator(csrf_exempt, name="dispatch")
@method_decorator(transaction.non_atomic_requests, name="dispatch")
class LogoutDoor(PlainDoor):
    """End the grant here and at the provider. A `fetch` gets JSON, a form a redirect."""

    http_method_names = ("post",)

    def post(self, request: HttpRequest) -> HttpResponse:
        fetched = conf().header in request.headers
        try:
            check_origin(request, fetched=fetched)
        except CSRFFailed as exc:
            note_refusal(exc, exc.code, request)
            return problem_of(exc)
        url = sign_out(request)
        if fetched:
            response: HttpResponse = answer({"logout_url": url})
        else:
            response = see_other(url or reverse("oauthbff:logged-out"))
        # A cookie that was kept to say why the grant had ended has said it.
        response.delete_cookie(
            settings.SESSION_COOKIE_NAME,
            path=settings.SESSION_COOKIE_PATH,
            domain=settings.SESSION_COOKIE_DOMAIN,
            samesite=settings.SESSION_COOKIE_SAMESITE,
        )
        # Not "cookies": the host may serve others. What the SPA kept of this user goes.
        response["Clear-Site-Data"] = '"cache", "storage"'
        return response


def check_origin(request: HttpRequest, *, fetched: bool) -> None:
    """A fetch shows our header, a form Django's CSRF token. Raises `CSRFFailed`."""
    if fetched:
        origin.check_fetch(
            str(request.method),
            request.headers.get,
            name=conf().header,
            base_url=conf().base_url,
        )
        return
    check = CsrfViewMiddleware(lambda _: HttpResponse())
    check.process_request(request)
    if check.process_view(request, lambda _: HttpResponse(), (), {}) is not None:
        advice = f"Send the header {conf().header}: 1, or a form with Django's CSRF token."
        raise CSRFFailed("neither the header nor a CSRF token", advice)


def sign_out(request: HttpRequest) -> str | None:
    """End the grant and the session; then see where the provider's own session ends.

    Somebody whose grant has ended already, unused for too long say, may still be signed in
    at the provider: they are sent there without the ID token as a hint.
    """
    url = None
    try:
        grant = grants.current(request)
        hint = grants.id_token_hint(grant)
        grants.end(TokenGrant.objects.filter(pk=grant.pk), reason=EndReason.LOGOUT, by=grant.user)
        url = provider_logout_url(hint)
    except GrantEnded as ended:
        if ended.reason != EndReason.BACKCHANNEL:
            url = provider_logout_url(None)
    except LoginRequired:
        pass
    auth.logout(request)
    return url


def provider_logout_url(id_token_hint: str | None) -> str | None:
    try:
        return provider.end_session_url(
            id_token_hint=id_token_hint,
            post_logout_redirect_uri=conf().base_url + reverse("oauthbff:logged-out"),
            state=secrets.token_urlsafe(16),
        )
    except ProviderError as exc:
        events.provider_session_stays(exc)
        return None


class LoggedOutDoor(PlainDoor):
    """Where the provider sends the browser back. Whatever `state` says changes nothing."""

    http_method_names = ("get", "head")

    def get(self, request: HttpRequest) -> HttpResponse:
        return page(
            request,
            "logged_out",
            {"home_url": conf().home_url, "login_url": reverse("oauthbff:login")},
        )
