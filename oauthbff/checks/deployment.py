"""Works, but should not be deployed like this: asked by `check --deploy`. W040-W052, W060."""

from __future__ import annotations

import logging
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.utils import timezone
from django.utils.module_loading import import_string

from oauthbff.conf import conf, is_loopback
from oauthbff.errors import Misconfigured
from oauthbff.reporting import ExceptionReporter, ExceptionReporterFilter

from .rules import Found, rule

#: Caches that no other process can see.
ALONE = ("locmem.LocMemCache", "dummy.DummyCache")


def _public() -> bool:
    """Whether people reach this site over a network."""
    try:
        return not is_loopback(urlsplit(conf().base_url).hostname)
    except Misconfigured:
        return False


@rule("W040", deploy=True)
def cookie_flags() -> Found:
    """The session cookie could be read by a script, or go over plain http."""
    if not settings.SESSION_COOKIE_SECURE or not settings.SESSION_COOKIE_HTTPONLY:
        yield (
            "The session cookie is not Secure and HttpOnly.",
            "Set SESSION_COOKIE_SECURE and SESSION_COOKIE_HTTPONLY. RFC 10017 §6.1.3.2.",
        )


@rule("W041", deploy=True)
def cookie_name() -> Found:
    """A sibling subdomain could set the session cookie."""
    if not settings.SESSION_COOKIE_NAME.startswith("__Host-"):
        yield (
            f"The session cookie is called {settings.SESSION_COOKIE_NAME}.",
            'Call it "__Host-Http-bff-auth", so that no other host can set it.',
        )


@rule("W043", deploy=True)
def saves() -> Found:
    """Each API call would write the session."""
    if settings.SESSION_SAVE_EVERY_REQUEST:
        yield (
            "SESSION_SAVE_EVERY_REQUEST writes the session on each API call.",
            "Turn it off; the grant counts activity itself.",
        )


@rule("W044", deploy=True)
def sweeping() -> Found:
    """Nobody runs `sweepgrants`: idle grants stay, providers are not told, old rows are kept."""
    if sweeping_is_overdue():
        yield (
            "sweepgrants has not run for a day: there is work that was due before that.",
            "Run `manage.py sweepgrants` every few minutes, or with --loop.",
        )


@rule("W045", deploy=True)
def csrf_cookie() -> Found:
    """The CSRF cookie could be read over plain http, or set by a sibling subdomain."""
    if settings.CSRF_USE_SESSIONS:
        return
    if not settings.CSRF_COOKIE_SECURE or settings.CSRF_COOKIE_DOMAIN:
        yield (
            "The CSRF cookie is not Secure, or is shared with subdomains.",
            "Set CSRF_COOKIE_SECURE, and remove CSRF_COOKIE_DOMAIN.",
        )


@rule("W046", deploy=True)
def atomic_requests() -> Found:
    """In the site's own views a rollback undoes an ending, and a due refresh is refused."""
    if any(one.get("ATOMIC_REQUESTS") for one in settings.DATABASES.values()):
        yield (
            "ATOMIC_REQUESTS is on. Our doors are outside it; your own views that use "
            "BFFAuthentication or oauthbff.access_token() are not.",
            "Turn it off, or mark those views with transaction.non_atomic_requests.",
        )


@rule("W047", deploy=True)
def lonely_cache() -> Found:
    """Several processes would each fetch the provider's documents, and throttle for themselves."""
    backend = settings.CACHES.get("default", {}).get("BACKEND", "")
    if _public() and backend.endswith(ALONE):
        yield (
            "The default cache is not shared between processes.",
            "Use Redis, memcached or the database cache once there is more than one process. "
            "Throttles count per process until then, and cached sessions are lost.",
        )


@rule("W048", deploy=True)
def debug_in_public() -> Found:
    """Error pages would show the inside of the site to everybody."""
    if settings.DEBUG and _public():
        yield "DEBUG is on, and BASE_URL is public.", "Turn DEBUG off."


@rule("W049", deploy=True)
def behind_a_proxy() -> Found:
    """Behind a proxy that ends TLS, Django takes each request for plain http."""
    https = _public() and conf().base_url.startswith("https:")
    told = getattr(settings, "SECURE_PROXY_SSL_HEADER", None)
    if https and settings.SECURE_SSL_REDIRECT and not told:
        yield (
            "BASE_URL is https and SECURE_SSL_REDIRECT is on, but Django is not told how to know "
            "https behind a proxy: it would redirect for ever.",
            'Set SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if your proxy '
            "always sets that header itself. If your server ends TLS itself, silence this check.",
        )


@rule("W050", deploy=True)
def secrets_in_source() -> Found:
    """Who can read the repository could open every grant, or speak as this client."""
    text = _settings_source()
    for name, secret in _secrets():
        if len(secret) >= 16 and secret in text:
            yield (
                f"{name} is written in the settings file.",
                "Read it from the environment or a secret store, and change it: history keeps it.",
            )


@rule("W051", deploy=True)
def reporter() -> Found:
    """An error page or mail could show a code, a cookie, or a token in a variable."""
    wanted = {
        "DEFAULT_EXCEPTION_REPORTER": ExceptionReporter,
        "DEFAULT_EXCEPTION_REPORTER_FILTER": ExceptionReporterFilter,
    }
    for name, ours in wanted.items():
        try:
            good = issubclass(import_string(getattr(settings, name)), ours)
        except ImportError:
            good = False
        if not good:
            yield (
                f"{name} is not oauthbff's: error reports may hold codes, cookies and tokens.",
                f'Set {name} = "oauthbff.reporting.{ours.__name__}", or a subclass of it.',
            )


@rule("W052", deploy=True)
def loud_libraries() -> Found:
    """At DEBUG a library writes requests and answers into the log, keys and tokens included."""
    for name in ("botocore", "boto3", "urllib3", "requests_oauthlib", "oauthlib"):
        if logging.getLogger(name).level == logging.DEBUG:
            yield (
                f"The logger {name} is at DEBUG: it writes requests and answers.",
                f"Set it to INFO in LOGGING: {name} handles keys or tokens here.",
            )


@rule("W060", deploy=True)
def long_memory() -> Found:
    """The proxy in front would honour an ended grant for longer than people expect."""
    try:
        seconds = conf().edge_remember if conf().edge_secret else 0
    except Misconfigured:
        return
    if seconds > 5:
        yield (
            f"The edge remembers answers for {seconds} seconds: an ended grant works for so long.",
            "Set EDGE_REMEMBER to 1 or 2; more brings little speed.",
        )


def sweeping_is_overdue() -> bool:
    """Whether something waits for a sweep for more than a day. False without a database."""
    from oauthbff.models import Revocation, TokenGrant

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


def _settings_source() -> str:
    try:
        return Path(str(import_module(settings.SETTINGS_MODULE).__file__)).read_text()
    except (AttributeError, ImportError, OSError, ValueError):
        return ""


def _secrets() -> list[tuple[str, str]]:
    ours: Any = getattr(settings, "OAUTHBFF", {})
    ours = ours if isinstance(ours, dict) else {}
    keys = ours.get("KEYS")
    keys = keys if isinstance(keys, dict) else {}
    local = {key_id: key for key_id, key in keys.items() if ":" not in str(key)}
    named = [(f'OAUTHBFF["KEYS"]["{key_id}"]', key) for key_id, key in local.items()]
    named += [
        ('OAUTHBFF["CLIENT_KEY"]', ours.get("CLIENT_KEY")),
        ('OAUTHBFF["EDGE_SECRET"]', ours.get("EDGE_SECRET")),
        ("OIDC_RP_CLIENT_SECRET", getattr(settings, "OIDC_RP_CLIENT_SECRET", None)),
        ("SECRET_KEY", settings.SECRET_KEY),
    ]
    return [(name, text) for name, text in named if isinstance(text, str)]
