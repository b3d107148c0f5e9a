"""Two middlewares: the cookie guard, and the grant of each request.

    "oauthbff.middleware.CookieGuardMiddleware",   before SessionMiddleware
    …
    "oauthbff.middleware.GrantMiddleware",         after AuthenticationMiddleware

Just as AuthenticationMiddleware populates `request.user`, GrantMiddleware
populates `request.grant`, and sees to it that a session whose grant has fallen
is nobody's session in the site's other views as well.
"""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.deprecation import MiddlewareMixin
from django.utils.functional import SimpleLazyObject

from . import correlation, events, grants
from .conf import conf
from .cookies import AmbiguousCookie, exact_cookie
from .errors import LoginRequired
from .models import TokenGrant


class CookieGuardMiddleware(MiddlewareMixin):
    """Hand on the session cookie only if there is exactly one, by its exact bytes.

    Anything ambiguous is no session, and one line in the log.
    """

    def __init__(self, get_response: Any) -> None:
        super().__init__(get_response)
        conf()  # a server with unusable settings does not start

    def process_request(self, request: HttpRequest) -> None:
        given = conf().request_id_header
        correlation.begin(request.headers.get(given) if given else None)
        name = settings.SESSION_COOKIE_NAME
        cookies = dict(request.COOKIES)
        cookies.pop(name, None)
        try:
            value = exact_cookie(cookie_header(request), name)
        except AmbiguousCookie as exc:
            events.cookie_ambiguous(exc, ip=request.META.get("REMOTE_ADDR"))
        else:
            if value is not None:
                cookies[name] = value
        request.COOKIES = cookies

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """Django deletes a cookie without HttpOnly, which browsers refuse for these names."""
        for name, morsel in response.cookies.items():
            if name.startswith(("__Http-", "__Host-Http-")):
                morsel["httponly"] = morsel["secure"] = True
        return response


def cookie_header(request: HttpRequest) -> bytes:
    """The Cookie header as it came over the wire."""
    return str(request.META.get("HTTP_COOKIE", "")).encode("latin-1", "replace")


class GrantMiddleware(MiddlewareMixin):
    """Set `request.grant`: the standing `TokenGrant` of the session, or something falsy.

    Lazy: a view that looks at neither `request.grant` nor `request.user` costs no query.
    """

    def process_request(self, request: HttpRequest) -> None:
        from_django = request.user
        request.grant = SimpleLazyObject(lambda: _grant(request))  # type: ignore[attr-defined]
        request.user = SimpleLazyObject(lambda: _user(request, from_django))  # type: ignore[assignment]

        async def auser() -> Any:
            return await sync_to_async(_user)(request, from_django)

        request.auser = auser


def _grant(request: HttpRequest) -> TokenGrant | None:
    try:
        return grants.current(request)
    except LoginRequired:
        return None


def _user(request: HttpRequest, from_django: Any) -> Any:
    """The grant's user; for a session that never had a grant, Django's own."""
    had_grant = request.session.get(grants.HANDLE) is not None
    grant = _grant(request)
    if grant is not None:
        return grant.user
    if had_grant:
        return AnonymousUser()
    _ = from_django.pk  # resolve Django's lazy object here, in this thread
    return from_django._wrapped if isinstance(from_django, SimpleLazyObject) else from_django
