"""Settings of the example site. The environment names are a contract: deployments use them.

Every value that differs between machines comes from the environment; what makes
the site safe does not. See docs/settings.md for the table.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from oauthbff.conf import is_loopback


class AsItIs(Mapping[str, str]):
    """The environment. django-environ takes a value that begins with `$` for a variable's name."""

    def __getitem__(self, name: str) -> str:
        return os.environ[name].replace("$", r"\$")

    def __iter__(self) -> Iterator[str]:
        return iter(os.environ)

    def __len__(self) -> int:
        return len(os.environ)


env = environ.Env()
ROOT = Path(__file__).resolve().parent.parent
env.read_env(ROOT / ".env", overwrite=False)
env.ENVIRON, env.escape_proxy = AsItIs(), True


def read(as_: Any, name: str, **default: Any) -> Any:
    """A variable of the environment; what cannot be read is refused under its name."""
    try:
        return as_(name, **default)
    except ValueError as exc:
        raise ImproperlyConfigured(f"{name} cannot be read: {exc}") from None


def key_pairs(name: str) -> dict[str, str]:
    """`id:base64,id:base64`. A key without an id goes on to the checks, which refuse it."""
    pairs = [p.split(":", 1) if ":" in p else ("", p) for p in env.list(name, default=[])]
    keys = dict(pairs)
    if len(keys) < len(pairs):
        raise ImproperlyConfigured(f"{name} has two keys of one id: give each its own.")
    return keys


DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="")
if not SECRET_KEY:
    from django.core.management.utils import get_random_secret_key

    SECRET_KEY = get_random_secret_key()  # good for one process; sessions end with it
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])

# --- oauthbff ---------------------------------------------------------------------------------

OIDC_OP_ISSUER = env.str("OIDC_OP_ISSUER", default="")
OIDC_RP_CLIENT_ID = env.str("OIDC_RP_CLIENT_ID", default="")
OIDC_RP_CLIENT_SECRET = env.str("OIDC_RP_CLIENT_SECRET", default="")
OIDC_RP_SCOPES = env.str("OIDC_RP_SCOPES", default="openid profile email")
OIDC_RP_SIGN_ALGO = env.str("OIDC_RP_SIGN_ALGO", default="RS256")
OIDC_TIMEOUT = read(env.float, "OIDC_TIMEOUT", default=10)

BASE_URL = env.str("OAUTHBFF_BASE_URL", default="http://localhost:8000")
OAUTHBFF = {
    "BASE_URL": BASE_URL,
    "UPSTREAMS": read(env.json, "OAUTHBFF_UPSTREAMS", default={}),
    "KEYS": key_pairs("OAUTHBFF_KEYS"),
    "CLAIMS_HOOK": env.str("OAUTHBFF_CLAIMS_HOOK", default="project.people.staff_by_group") or None,
}
for _name, _as in {
    "IDLE_TIMEOUT": env.int,
    "ABSOLUTE_TIMEOUT": env.int,
    "REFRESH_LEEWAY": env.int,
    "REVOCATION_DAYS": env.int,
    "RETENTION_DAYS": env.int,
    "DATA_KEY_SECONDS": env.int,
    "USERINFO": env.bool,
    "HEADER": env.str,
    "HOME_URL": env.str,
    "LANE_STORE": env.str,
    "ERROR_URL": env.str,
    "CLAIMS": env.list,
    "REQUEST_ID_HEADER": env.str,
    "PLACE_HOOK": env.str,
    "MATCH_EMAIL_UNTIL": env.str,
    "CLIENT_AUTH": env.str,
    "CLIENT_KEY": env.str,
    "PAR": env.bool,
    "END_ON_PASSWORD_CHANGE": env.bool,
    "EDGE_SECRET": env.str,
    "EDGE_REMEMBER": env.int,
}.items():
    # Compose files write `NAME=` for what is not set; only a list can be meant to be empty.
    _given = env.ENVIRON.get(f"OAUTHBFF_{_name}")
    if _given or (_given == "" and _as == env.list):
        OAUTHBFF[_name] = read(_as, f"OAUTHBFF_{_name}")

# --- the site -----------------------------------------------------------------------------------

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "oauthbff",
    "project",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "oauthbff.middleware.CookieGuardMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "oauthbff.middleware.GrantMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
AUTHENTICATION_BACKENDS = [
    "oauthbff.login.OIDCBackend",
    "django.contrib.auth.backends.ModelBackend",
]
ROOT_URLCONF = "project.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ROOT / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
WSGI_APPLICATION = "project.wsgi.application"
LANE = env.bool("LANE", default=False)  # for project/asgi.py

DATABASES = {"default": env.db_url("DATABASE_URL", default=f"sqlite:///{ROOT / 'db.sqlite3'}")}
if "sqlite3" in DATABASES["default"]["ENGINE"]:
    # A writer waits for its turn instead of failing; readers do not wait for writers.
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
    }
if "mysql" in DATABASES["default"]["ENGINE"]:
    DATABASES["default"]["OPTIONS"] = {"charset": "utf8mb4"}
    try:
        import MySQLdb  # noqa: F401
    except ImportError:
        import pymysql

        pymysql.install_as_MySQLdb()
DATABASES["default"]["ATOMIC_REQUESTS"] = env.bool("ATOMIC_REQUESTS", default=False)
DATABASES["default"]["CONN_MAX_AGE"] = env.int("CONN_MAX_AGE", default=0)
if env.bool("DATABASE_POOL", default=False):  # PostgreSQL under ASGI, where none can be kept
    DATABASES["default"].setdefault("OPTIONS", {})["pool"] = True
CACHES = {"default": env.cache_url("CACHE_URL", default="locmemcache://")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = env.str("LANGUAGE_CODE", default="en")

STATIC_URL = "static/"
STATICFILES_DIRS: list[Path] = []
WHITENOISE_USE_FINDERS = True

# --- cookies and transport: as hard as browsers allow -------------------------------------------

SESSION_ENGINE = env.str("SESSION_ENGINE", default="django.contrib.sessions.backends.db")
SESSION_COOKIE_NAME = "__Host-Http-bff-auth"
SESSION_COOKIE_SECURE = True
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = env.str("SESSION_COOKIE_SAMESITE", default="Strict")
CSRF_COOKIE_NAME = "__Host-Http-csrf-token"
CSRF_COOKIE_SECURE = True
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Strict"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# Browsers take loopback for a secure place, so that the demo runs with the cookies of production.
if is_loopback(urlsplit(BASE_URL).hostname) and BASE_URL.startswith("http:"):
    SECURE_SSL_REDIRECT = False
else:
    SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=True)
    SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", default=31536000)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = env.bool("SECURE_HSTS_INCLUDE_SUBDOMAINS", default=False)
_proxy_header = env.str("SECURE_PROXY_SSL_HEADER", default="")
if _proxy_header:
    _header, _, _value = _proxy_header.partition("=")
    SECURE_PROXY_SSL_HEADER = (f"HTTP_{_header.strip().upper().replace('-', '_')}", _value.strip())
CSRF_TRUSTED_ORIGINS = [BASE_URL]

DEFAULT_EXCEPTION_REPORTER = "oauthbff.reporting.ExceptionReporter"
DEFAULT_EXCEPTION_REPORTER_FILTER = "oauthbff.reporting.ExceptionReporterFilter"

LOGIN_URL = "oauthbff:login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO")},
}
