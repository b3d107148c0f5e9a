"""Settings of the demo's provider. `LUMEN_*` variables say what differs from run to run."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from .keys import signing_key_pem

DATA_DIR = Path(os.environ["LUMEN_DATA_DIR"])
ISSUER = os.environ.get("LUMEN_ISSUER", "http://127.0.0.1:9000/o")
#: RFC 9068 `aud`: the API that our access tokens are for.
AUDIENCE = os.environ.get("LUMEN_AUDIENCE", "http://127.0.0.1:9100")
ACCESS_TOKEN_LIFETIME_SECONDS = int(os.environ.get("LUMEN_ACCESS_TOKEN_LIFETIME", "60"))

CLIENT_ID = os.environ.get("LUMEN_CLIENT_ID", "print-shop")
CLIENT_SECRET = os.environ["LUMEN_CLIENT_SECRET"]
#: Origins at which the client runs, separated by spaces.
CLIENT_ORIGINS = os.environ.get("LUMEN_CLIENT_ORIGINS", "http://localhost:8000").split()

SECRET_KEY = os.environ["LUMEN_SECRET_KEY"]
DEBUG = False
ALLOWED_HOSTS = [urlsplit(ISSUER).hostname]

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "project.demo.provider",  # before DOT: its templates are ours
    "oauth2_provider",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "project.demo.provider.urls"
WSGI_APPLICATION = "project.demo.provider.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA_DIR / "provider.sqlite3",
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
#: scrypt, as slow as a password deserves, but no slower.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.ScryptPasswordHasher"]
USE_TZ = True
TIME_ZONE = "UTC"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
}

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
#: Cookies know no ports. With these names the BFF may share our host name.
SESSION_COOKIE_NAME = "lumen_session"
CSRF_COOKIE_NAME = "lumen_csrf"
CSRF_FAILURE_VIEW = "project.demo.provider.views.form_anew"

OAUTH2_PROVIDER = {
    "OIDC_ENABLED": True,
    "OIDC_ISS_ENDPOINT": ISSUER,
    "OIDC_RSA_PRIVATE_KEY": signing_key_pem(DATA_DIR / "provider-key.pem"),
    "OIDC_RESPONSE_TYPES_SUPPORTED": ["code"],
    "OAUTH2_VALIDATOR_CLASS": "project.demo.provider.tokens.Validator",
    "ACCESS_TOKEN_GENERATOR": "project.demo.provider.tokens.access_token",
    # Without this, DOT makes the refresh token with the generator above.
    "REFRESH_TOKEN_GENERATOR": "oauthlib.oauth2.rfc6749.tokens.random_token_generator",
    "ACCESS_TOKEN_EXPIRE_SECONDS": ACCESS_TOKEN_LIFETIME_SECONDS,
    "ID_TOKEN_EXPIRE_SECONDS": 3600,
    "REFRESH_TOKEN_EXPIRE_SECONDS": 30 * 24 * 3600,
    # A refresh token works once. Seen twice, it has been stolen: its whole family falls.
    "ROTATE_REFRESH_TOKEN": True,
    "REFRESH_TOKEN_REUSE_PROTECTION": True,
    "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": 0,
    "PKCE_REQUIRED": True,
    "OIDC_RP_INITIATED_LOGOUT_ENABLED": True,
    "OIDC_RP_INITIATED_LOGOUT_ALWAYS_PROMPT": False,
    # Signing out of one browser must not end the person's other grants.
    "OIDC_RP_INITIATED_LOGOUT_DELETE_TOKENS": False,
    "COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT": True,
    "COMPLIANT_BCP_RFC9700_PASSWORD_GRANT": True,
    "COMPLIANT_BCP_RFC9700_PKCE_METHOD": True,
    "COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS": True,
    "COMPLIANT_BCP_RFC9700_ACCESS_TOKEN_TRANSPORT": True,
    "SCOPES": {
        "openid": "Know who you are",
        "profile": "See your name and picture",
        "email": "See your e-mail address",
        "offline_access": "Stay connected while you are away",
        "photos.read": "See your photos",
        "photos.write": "Add and delete photos",
        "prints.order": "Order prints of your photos",
    },
    "DEFAULT_SCOPES": ["openid"],
}
