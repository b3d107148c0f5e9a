"""`manage.py check`: what would make oauthbff unsafe or unable to run.

E001-E027  a setting is missing or wrong; found by `conf`, and a server does not start
E051-E053  a route is wrong; found by `conf` as well
E031-E037  the site around it is put together wrongly
W040-W049  works, but should not be deployed like this (`check --deploy`)
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.utils import timezone
from django.utils.module_loading import import_string
from rest_framework.throttling import ScopedRateThrottle

from .conf import conf
from .errors import Misconfigured

GUARD = "oauthbff.middleware.CookieGuardMiddleware"
GRANT = "oauthbff.middleware.GrantMiddleware"
SESSION = "django.contrib.sessions.middleware.SessionMiddleware"
AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"
BACKEND = "oauthbff.login.OIDCBackend"

Apps = Sequence[AppConfig] | None


def check_settings(app_configs: Apps, **_: Any) -> list[CheckMessage]:
    try:
        conf()
    except Misconfigured as exc:
        return [Error(sentence, hint=hint, id=check) for check, sentence, hint in exc.problems]
    return []


def check_site(app_configs: Apps, **_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    middleware = list(settings.MIDDLEWARE)
    order = [name for name in middleware if name in (GUARD, SESSION, AUTHENTICATION, GRANT)]
    if order != [GUARD, SESSION, AUTHENTICATION, GRANT]:
        found.append(
            Error(
                "MIDDLEWARE does not have oauthbff's two middlewares in their places.",
                hint=f"In this order: {GUARD}, {SESSION}, {AUTHENTICATION}, {GRANT}.",
                id="oauthbff.E031",
            )
        )
    if BACKEND not in settings.AUTHENTICATION_BACKENDS:
        found.append(
            Error(
                "AUTHENTICATION_BACKENDS does not contain oauthbff's backend.",
                hint=f"Add {BACKEND!r}.",
                id="oauthbff.E032",
            )
        )
    for name in ("OIDC_STORE_ACCESS_TOKEN", "OIDC_STORE_ID_TOKEN", "OIDC_ALLOW_UNSECURED_JWT"):
        if getattr(settings, name, False):
            found.append(Error(f"{name} must not be on.", hint="Remove it.", id="oauthbff.E033"))
    if getattr(settings, "OIDC_VERIFY_SSL", True) is not True:
        found.append(
            Error(
                "OIDC_VERIFY_SSL is off.",
                hint="oauthbff always verifies; remove the setting.",
                id="oauthbff.E034",
            )
        )
    if "mozilla_django_oidc.middleware.SessionRefresh" in middleware:
        found.append(
            Error(
                "mozilla-django-oidc's SessionRefresh is installed: it redirects API calls.",
                hint="Remove it; oauthbff refreshes on the server.",
                id="oauthbff.E035",
            )
        )
    if settings.SESSION_COOKIE_SAMESITE not in ("Strict", "Lax"):
        found.append(
            Error(
                f"SESSION_COOKIE_SAMESITE is {settings.SESSION_COOKIE_SAMESITE!r}.",
                hint='Set it to "Strict", or "Lax" if other sites link to signed-in pages.',
                id="oauthbff.E036",
            )
        )
    return found


def check_routes(app_configs: Apps, **_: Any) -> list[CheckMessage]:
    """A permission or throttle that cannot be had would be a 500 on each call."""
    try:
        routes = conf().upstreams.values()
    except Misconfigured:
        return []
    wanted = [
        (route.name, key, name, method)
        for route in routes
        for key, names, method in (
            ("permissions", route.permissions, "has_permission"),
            ("throttles", route.throttles, "allow_request"),
        )
        for name in names
    ]
    return [
        Error(
            f'OAUTHBFF["UPSTREAMS"]["{route}"]["{key}"]: {name!r} cannot be used.',
            hint=f"{why} It must be the dotted name of a DRF class with {method}().",
            id="oauthbff.E037",
        )
        for route, key, name, method in wanted
        if (why := _why_unusable(name, method))
    ]


def _why_unusable(dotted: str, method: str) -> str | None:
    try:
        made = import_string(dotted)()
    except Exception as exc:  # whatever the site's module raises, this is where it is told
        return f"{type(exc).__name__}: {exc}."
    if not callable(getattr(made, method, None)):
        return f"It has no {method}()."
    if isinstance(made, ScopedRateThrottle) or getattr(made, "rate", "") is None:
        return "It has no rate, and would let everything through."
    return None


def check_deployment(app_configs: Apps, **_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if not settings.SESSION_COOKIE_SECURE or not settings.SESSION_COOKIE_HTTPONLY:
        found.append(
            Warning(
                "The session cookie is not Secure and HttpOnly.",
                hint="Set SESSION_COOKIE_SECURE and SESSION_COOKIE_HTTPONLY. RFC 10017 §6.1.3.2.",
                id="oauthbff.W040",
            )
        )
    if not settings.SESSION_COOKIE_NAME.startswith("__Host-"):
        found.append(
            Warning(
                f"The session cookie is called {settings.SESSION_COOKIE_NAME}.",
                hint='Call it "__Host-Http-bff-auth", so that no other host can set it.',
                id="oauthbff.W041",
            )
        )
    elif settings.SESSION_COOKIE_DOMAIN or settings.SESSION_COOKIE_PATH != "/":
        found.append(
            Warning(
                "Browsers refuse a __Host- cookie with a Domain or another Path than /.",
                hint="Remove SESSION_COOKIE_DOMAIN and SESSION_COOKIE_PATH.",
                id="oauthbff.W042",
            )
        )
    if settings.SESSION_SAVE_EVERY_REQUEST:
        found.append(
            Warning(
                "SESSION_SAVE_EVERY_REQUEST writes the session on each API call.",
                hint="Turn it off; the grant counts activity itself.",
                id="oauthbff.W043",
            )
        )
    if sweeping_is_overdue():
        found.append(
            Warning(
                "sweepgrants has not run for a day: there is work that was due before that.",
                hint="Run `manage.py sweepgrants` every few minutes, or with --loop.",
                id="oauthbff.W044",
            )
        )
    return found


def sweeping_is_overdue() -> bool:
    """Whether something waits for a sweep for more than a day. False without a database."""
    from .models import Revocation, TokenGrant

    long_ago = timezone.now() - timedelta(days=1)
    try:
        return (
            TokenGrant.objects.filter(ended_at=None, expires_at__lt=long_ago).exists()
            or TokenGrant.objects.filter(
                revocation=Revocation.PENDING, revocation_due_at__lt=long_ago
            ).exists()
        )
    except Exception:  # no database, no table yet: other checks speak of that
        return False
