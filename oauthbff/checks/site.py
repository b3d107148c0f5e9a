"""The site around oauthbff is put together wrongly. E031-E047, W053."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.contrib.sessions.backends import signed_cookies
from django.db import DEFAULT_DB_ALIAS, router
from django.template.loader import get_template
from django.urls import NoReverseMatch, reverse
from django.utils.module_loading import import_string
from rest_framework.throttling import ScopedRateThrottle

from oauthbff.conf import conf
from oauthbff.errors import Misconfigured

from .rules import Found, rule

GUARD = "oauthbff.middleware.CookieGuardMiddleware"
GRANT = "oauthbff.middleware.GrantMiddleware"
SESSION = "django.contrib.sessions.middleware.SessionMiddleware"
AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"
CSRF = "django.middleware.csrf.CsrfViewMiddleware"
BACKEND = "oauthbff.login.OIDCBackend"
#: Routers choose among replicas by chance.
ENOUGH_TO_MEET_A_REPLICA = 50


@rule("E031")
def middleware() -> Found:
    """The two middlewares are missing or in the wrong places."""
    wanted = [GUARD, SESSION, AUTHENTICATION, GRANT]
    if [name for name in settings.MIDDLEWARE if name in wanted] != wanted:
        yield (
            "MIDDLEWARE does not have oauthbff's two middlewares in their places.",
            f"In this order: {', '.join(wanted)}.",
        )


@rule("E032")
def backend() -> Found:
    """Nobody could be signed in."""
    if BACKEND not in settings.AUTHENTICATION_BACKENDS:
        yield (
            "AUTHENTICATION_BACKENDS does not contain oauthbff's backend.",
            f"Add {BACKEND!r}.",
        )


@rule("E033")
def tokens_in_sessions() -> Found:
    """mozilla-django-oidc would keep tokens in the session, or take unsigned ones."""
    for name in ("OIDC_STORE_ACCESS_TOKEN", "OIDC_STORE_ID_TOKEN", "OIDC_ALLOW_UNSECURED_JWT"):
        if getattr(settings, name, False):
            yield f"{name} must not be on.", "Remove it."


@rule("E034")
def certificates() -> Found:
    """Certificates would not be verified."""
    if getattr(settings, "OIDC_VERIFY_SSL", True) is not True:
        yield "OIDC_VERIFY_SSL is off.", "oauthbff always verifies; remove the setting."


@rule("E035")
def session_refresh() -> Found:
    """API calls would be redirected to the provider."""
    if "mozilla_django_oidc.middleware.SessionRefresh" in settings.MIDDLEWARE:
        yield (
            "mozilla-django-oidc's SessionRefresh is installed: it redirects API calls.",
            "Remove it; oauthbff refreshes on the server.",
        )


@rule("E036")
def same_site() -> Found:
    """The session cookie would go along with other sites' calls."""
    if settings.SESSION_COOKIE_SAMESITE not in ("Strict", "Lax"):
        yield (
            f"SESSION_COOKIE_SAMESITE is {settings.SESSION_COOKIE_SAMESITE!r}.",
            'Set it to "Strict", or "Lax" if other sites link to signed-in pages.',
        )


@rule("E045")
def time_zones() -> Found:
    """Sign-in would fail on SQLite and MySQL, and the pages of the admin everywhere."""
    if not settings.USE_TZ:
        yield (
            "USE_TZ is off.",
            "Set USE_TZ = True; lifetimes are compared with the provider's clock.",
        )


@rule("E037")
def route_classes() -> Found:
    """A permission or throttle that cannot be had would be a 500 on each call."""
    try:
        routes = conf().upstreams.values()
    except Misconfigured:
        return
    for route in routes:
        for key, names, method in (
            ("permissions", route.permissions, "has_permission"),
            ("throttles", route.throttles, "allow_request"),
        ):
            for name in names:
                why = _why_unusable(name, method)
                if why:
                    yield (
                        f'OAUTHBFF["UPSTREAMS"]["{route.name}"]["{key}"]: {name!r} cannot be used.',
                        f"{why} It must be the dotted name of a DRF class with {method}().",
                    )


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


@rule("E038")
def cors() -> Found:
    """Other origins could read what the API answers to a signed-in user."""
    if getattr(settings, "CORS_ALLOW_CREDENTIALS", False) and any(
        name.startswith("corsheaders.") for name in settings.MIDDLEWARE
    ):
        yield (
            "CORS_ALLOW_CREDENTIALS is on: other origins' pages may call with the session cookie.",
            "Turn it off; the SPA and its back end share one origin.",
        )


@rule("E039")
def pkce() -> Found:
    """PKCE is always used; a setting that says otherwise is a misunderstanding."""
    off = getattr(settings, "OIDC_USE_PKCE", True) is not True
    if off or getattr(settings, "OIDC_PKCE_CODE_CHALLENGE_METHOD", "S256") != "S256":
        yield (
            "OIDC_USE_PKCE is off, or its method is not S256.",
            "oauthbff always uses PKCE with S256; remove the settings. RFC 9700 §2.1.1.",
        )


@rule("E040")
def csrf_middleware() -> Found:
    """Forms of the site, the devices page and the admin among them, could be forged."""
    if CSRF not in settings.MIDDLEWARE:
        yield "CsrfViewMiddleware is not installed.", f"Add {CSRF!r} to MIDDLEWARE."


@rule("E041")
def trusted_origins() -> Found:
    """A sibling subdomain could forge the site's forms."""
    for origin in settings.CSRF_TRUSTED_ORIGINS:
        if "*" in origin:
            yield (
                f"CSRF_TRUSTED_ORIGINS trusts every subdomain: {origin}.",
                "Name the origins whose forms you mean to accept; BASE_URL is usually enough.",
            )


@rule("E042")
def dotted_names() -> Found:
    """A function or class of the site's that cannot be had would break each sign-in or call."""
    for setting, dotted in _dotted():
        why = _why_uncallable(dotted)
        if why:
            yield (
                f"{setting}: {dotted!r} cannot be used.",
                f"{why} It must be the dotted name of something that can be called.",
            )


def _dotted() -> Iterator[tuple[str, str]]:
    ours: Any = getattr(settings, "OAUTHBFF", None)
    ours = ours if isinstance(ours, dict) else {}
    stores = ours.get("KEY_STORES")
    stores = stores if isinstance(stores, dict) else {}
    named = {f'OAUTHBFF["{name}"]': ours.get(name) for name in ("CLAIMS_HOOK", "PLACE_HOOK")}
    named |= {f'OAUTHBFF["KEY_STORES"]["{scheme}"]': dotted for scheme, dotted in stores.items()}
    named |= {"OIDC_USERNAME_ALGO": getattr(settings, "OIDC_USERNAME_ALGO", None)}
    return ((setting, dotted) for setting, dotted in named.items() if isinstance(dotted, str))


def _why_uncallable(dotted: str) -> str | None:
    try:
        found = import_string(dotted)
    except Exception as exc:  # whatever the site's module raises, this is where it is told
        return f"{type(exc).__name__}: {exc}."
    return None if callable(found) else f"It is {type(found).__name__!r}."


@rule("E043")
def session_engine() -> Found:
    """Sessions could not be read, or would lie with the browser, where nobody can end them."""
    name = settings.SESSION_ENGINE
    if name == signed_cookies.__name__:
        return  # E027 says it, and nothing starts
    try:
        store = import_module(name).SessionStore
    except Exception as exc:
        why = f"{type(exc).__name__}: {exc}."
    else:
        if not issubclass(store, signed_cookies.SessionStore):
            return
        why = "It keeps the session in the cookie."
    yield (
        f"SESSION_ENGINE {name!r} cannot be used.",
        f"{why} Use the db, cached_db, cache or file engine, or one derived from these.",
    )


@rule("E044")
def cookies_arrive() -> Found:
    """Browsers would refuse a cookie, or never send it to the doors: nobody stays signed in."""
    try:
        host = urlsplit(conf().base_url).hostname or ""
        door = reverse("oauthbff:session")
    except (Misconfigured, NoReverseMatch):
        return
    kinds = ["SESSION"] if settings.CSRF_USE_SESSIONS else ["SESSION", "CSRF"]
    for kind in kinds:
        name = getattr(settings, f"{kind}_COOKIE_NAME")
        for why, fix in _refusals(f"{kind}_COOKIE", name, host, door):
            yield f"Browsers refuse the cookie {name}, or keep it back: {why}.", fix


def _refusals(setting: str, name: str, host: str, door: str) -> Iterator[tuple[str, str]]:
    """Draft-ietf-httpbis-layered-cookies; RFC 6265bis §5.7."""

    def of(attribute: str) -> object:
        return getattr(settings, f"{setting}_{attribute}")

    domain, path = str(of("DOMAIN") or "").lstrip("."), str(of("PATH") or "/")
    if name.startswith(("__Host-", "__Secure-", "__Http-")) and not of("SECURE"):
        fix = f"Set {setting}_SECURE = True: it works on http://localhost, too, but in Safari."
        yield "its name promises Secure", fix
    if name.startswith(("__Host-Http-", "__Http-")) and not of("HTTPONLY"):
        yield "its name promises HttpOnly", f"Set {setting}_HTTPONLY = True."
    if name.startswith("__Host-") and (domain or path != "/"):
        fix = f"Remove {setting}_DOMAIN and {setting}_PATH."
        yield "its name promises no Domain, and the Path /", fix
    elif domain and host != domain and not host.endswith(f".{domain}"):
        fix = f"Remove {setting}_DOMAIN, or open the site under a name below {domain}."
        yield f"its Domain is {domain}, and BASE_URL is at {host}", fix
    elif not door.startswith(path):
        yield f"its Path is {path}, and the doors are at {door}", f"Remove {setting}_PATH."


@rule("E046")
def pages() -> Found:
    """A sign-in that comes to nothing, or a signing out, would end on a 500."""
    try:
        get_template("oauthbff/error.html")
    except Exception as exc:  # a template of the site's own may have any fault
        yield (
            "The pages of oauthbff cannot be shown.",
            f'{type(exc).__name__}: {exc}. Django\'s own template engine with "APP_DIRS": True in '
            "TEMPLATES finds them.",
        )


@rule("E047")
def database() -> Found:
    """A replica would let an ended grant stand for a while; half an ending could be written."""
    asked = (router.db_for_write, *[router.db_for_read] * ENOUGH_TO_MEET_A_REPLICA)
    models = list(apps.get_app_config("oauthbff").get_models())
    others = {ask(model) for model in models for ask in asked} - {DEFAULT_DB_ALIAS}
    if others:
        yield (
            f"The rows of oauthbff are read from or written to the database {min(others)!r}.",
            f"Let DATABASE_ROUTERS leave the app oauthbff in {DEFAULT_DB_ALIAS!r}.",
        )


@rule("W053")
def doors() -> Found:
    """The doors are not among the URLs, so that nobody can sign in."""
    try:
        reverse("oauthbff:session")
    except NoReverseMatch:
        yield (
            "The doors are not in ROOT_URLCONF.",
            'Add path("bff/", include("oauthbff.urls")) to its urlpatterns.',
        )
