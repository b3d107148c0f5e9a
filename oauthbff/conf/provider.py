"""The provider's side: mozilla-django-oidc's own names. E003, E005-E009, E026."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from oauthbff.client_auth import METHODS as AUTH_METHODS
from oauthbff.client_auth import read_key

from .reading import Reading, is_loopback, split_url

SIGNATURE_ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA", "Ed25519"),
)


def issuer(read: Reading) -> str:
    value = getattr(settings, "OIDC_OP_ISSUER", None)
    if not isinstance(value, str) or not value:
        hint = "Set it to the provider's issuer; the endpoints are discovered from it."
        read.say("E005", "OIDC_OP_ISSUER is not set.", hint)
        return ""
    parts = split_url(value)
    if parts is None or parts.scheme not in ("https", "http") or not parts.hostname:
        read.say("E006", "OIDC_OP_ISSUER is not an https URL.", f"Write https://…, not {value!r}.")
    elif parts.query or parts.fragment or parts.username is not None:
        hint = "Remove the query, fragment or user: an issuer has none. OIDC Discovery 1.0 §3."
        read.say("E006", f"OIDC_OP_ISSUER is {value!r}.", hint)
    elif parts.scheme == "http" and not is_loopback(parts.hostname):
        hint = "Tokens would cross the network in clear. Use https."
        read.say("E006", f"OIDC_OP_ISSUER is {value!r}: http is for loopback only.", hint)
    return value


def scopes(read: Reading) -> tuple[str, ...]:
    value = getattr(settings, "OIDC_RP_SCOPES", "openid email")
    scopes = tuple(dict.fromkeys(str(value).split()))
    if "openid" not in scopes:
        hint = "Add it: without it there is no ID token, and nobody can be signed in."
        read.say("E007", 'OIDC_RP_SCOPES does not contain "openid".', hint)
    return scopes


def algorithm(read: Reading) -> str:
    value = getattr(settings, "OIDC_RP_SIGN_ALGO", "RS256")
    if value not in SIGNATURE_ALGORITHMS:
        hint = f"Use one of {', '.join(SIGNATURE_ALGORITHMS)}; HMAC and none are never accepted."
        read.say("E008", f"OIDC_RP_SIGN_ALGO is {value!r}.", hint)
        return "RS256"
    return str(value)


def provider_timeout(read: Reading) -> float:
    value = getattr(settings, "OIDC_TIMEOUT", 10)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 120:
        hint = f"Write seconds, more than 0 and at most 120. It is {value!r}."
        read.say("E009", "OIDC_TIMEOUT is not usable.", hint)
        return 10.0
    return float(value)


def client_authentication(read: Reading) -> dict[str, Any]:
    """How we authenticate: CLIENT_AUTH, or mozilla-django-oidc's own switch, or by metadata."""
    method = read.given.get("CLIENT_AUTH")
    basic = getattr(settings, "OIDC_TOKEN_USE_BASIC_AUTH", None)
    if basic not in (None, True, False):
        hint = f"Write True for client_secret_basic, False for client_secret_post, not {basic!r}."
        read.say("E026", "OIDC_TOKEN_USE_BASIC_AUTH must be True or False.", hint)
    elif method is None and basic is not None:
        method = "client_secret_basic" if basic else "client_secret_post"
    key = None
    if read.given.get("CLIENT_KEY"):
        method = method or "private_key_jwt"
        try:
            key = read_key(str(read.given["CLIENT_KEY"]))
        except ValueError as exc:
            hint = f"{exc}. Write a private key, RSA, EC or Ed25519, as JWK or PEM."
            read.say("E026", 'OAUTHBFF["CLIENT_KEY"] is not usable.', hint)
    if method is not None and method not in AUTH_METHODS:
        hint = f"Use one of {', '.join(AUTH_METHODS)}."
        read.say("E026", f'OAUTHBFF["CLIENT_AUTH"] is {method!r}.', hint)
    if method == "private_key_jwt":
        if not read.given.get("CLIENT_KEY"):
            hint = "Set it to a JWK or PEM, and register its public half at the provider."
            read.say("E026", 'private_key_jwt needs OAUTHBFF["CLIENT_KEY"].', hint)
        return {"client_auth": method, "client_key": key, "client_secret": ""}
    secret = read.required("OIDC_RP_CLIENT_SECRET")
    return {"client_auth": method, "client_key": key, "client_secret": secret}
