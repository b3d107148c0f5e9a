"""Settings of the peers' site. BENCH_WHAT: trivial, bare, naive, tuned or revproxy."""

from __future__ import annotations

import os

import environ

WHAT = os.environ["BENCH_WHAT"]
UPSTREAM = os.environ["BENCH_UPSTREAM"]
ISSUER = os.environ["BENCH_ISSUER"]

SECRET_KEY = "a-secret-key-of-the-benchmark-long-enough-for-django-50"  # noqa: S105
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
ROOT_URLCONF = "bench.peers.site.urls"
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "mozilla_django_oidc",
    "revproxy",
]
#: What `startproject` writes.
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates"}]
DATABASES = {"default": environ.Env().db_url("BENCH_DATABASE", default="sqlite://:memory:")}
DATABASES["default"]["CONN_MAX_AGE"] = int(os.environ["BENCH_CONN_MAX_AGE"])
DATA_UPLOAD_MAX_MEMORY_SIZE = None

if WHAT not in ("trivial", "bare"):
    MIDDLEWARE.append("mozilla_django_oidc.middleware.SessionRefresh")
if WHAT != "trivial":
    AUTHENTICATION_BACKENDS = ["mozilla_django_oidc.auth.OIDCAuthenticationBackend"]
    OIDC_RP_CLIENT_ID = os.environ["BENCH_CLIENT"]
    OIDC_RP_CLIENT_SECRET = os.environ["BENCH_SECRET"]
    OIDC_RP_SIGN_ALGO = "RS256"
    OIDC_RP_SCOPES = "openid profile email photos.read"
    OIDC_OP_AUTHORIZATION_ENDPOINT = f"{ISSUER}/auth"
    OIDC_OP_TOKEN_ENDPOINT = f"{ISSUER}/token"
    OIDC_OP_USER_ENDPOINT = f"{ISSUER}/me"
    OIDC_OP_JWKS_ENDPOINT = f"{ISSUER}/jwks"
    OIDC_STORE_ACCESS_TOKEN = True
    OIDC_RENEW_ID_TOKEN_EXPIRY_SECONDS = 7200
    LOGIN_URL = "oidc_authentication_init"
    LOGIN_REDIRECT_URL = "/hello"
