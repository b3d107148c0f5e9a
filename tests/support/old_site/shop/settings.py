import os
from pathlib import Path

OP = os.environ["OP"]

SECRET_KEY = "of-the-old-site-" + "x" * 40
DEBUG = False
ALLOWED_HOSTS = ["localhost"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": Path(__file__).parent.parent / "db.sqlite3",
    }
}
ROOT_URLCONF = "shop.urls"
USE_TZ = True

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "mozilla_django_oidc",
    "shop",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "mozilla_django_oidc.middleware.SessionRefresh",
]
AUTHENTICATION_BACKENDS = ["mozilla_django_oidc.auth.OIDCAuthenticationBackend"]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    }
]

OIDC_RP_CLIENT_ID = "old-site"
OIDC_RP_CLIENT_SECRET = "old-secret-old-secret"
OIDC_RP_SIGN_ALGO = "RS256"
OIDC_RP_SCOPES = "openid email"
OIDC_USE_PKCE = True
OIDC_TOKEN_USE_BASIC_AUTH = True
OIDC_STORE_ACCESS_TOKEN = True
OIDC_OP_AUTHORIZATION_ENDPOINT = f"{OP}/authorize"
OIDC_OP_TOKEN_ENDPOINT = f"{OP}/token"
OIDC_OP_USER_ENDPOINT = f"{OP}/userinfo"
OIDC_OP_JWKS_ENDPOINT = f"{OP}/jwks"
LOGIN_URL = "oidc_authentication_init"
LOGIN_REDIRECT_URL = "/"
