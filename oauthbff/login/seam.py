"""Where mozilla-django-oidc is bent to our rules: its settings, its session, its backend.

Relied upon beyond its documentation: the shape of `session["oidc_states"]`, and
that its ID token call is `verify_token(token, nonce=…)`. `tests/contract/test_seam.py`
holds both.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from django.contrib import auth
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.urls import reverse
from django.utils.module_loading import import_string
from mozilla_django_oidc.auth import OIDCAuthenticationBackend
from mozilla_django_oidc.utils import import_from_settings

from oauthbff import events, provider
from oauthbff.claims import TokenResponse, is_text
from oauthbff.conf import conf
from oauthbff.errors import BFFError, LoginFailed, ProviderError, ProviderNonsense, TokenRejected
from oauthbff.models import Identity

from .matching import match
from .pending import Transaction


def redirect_uri() -> str:
    """Our callback at the provider: built from BASE_URL, never from the Host header."""
    return conf().base_url + reverse("oauthbff:callback")


class Seam:
    """Answers mozilla-django-oidc's questions for settings: safe values, discovered endpoints."""

    def get_settings(self, attr: str, *args: Any) -> Any:
        if attr == "OIDC_OP_AUTHORIZATION_ENDPOINT":
            return provider.metadata().authorization_endpoint
        ours = {
            "OIDC_RP_CLIENT_ID": conf().client_id,
            "OIDC_RP_SCOPES": " ".join(conf().scopes),
            "OIDC_USE_PKCE": True,
            "OIDC_PKCE_CODE_CHALLENGE_METHOD": "S256",
            "OIDC_USE_NONCE": True,
            "OIDC_STATE_SIZE": 32,
            "OIDC_NONCE_SIZE": 32,
            "OIDC_AUTHENTICATION_CALLBACK_URL": "oauthbff:callback",
        }
        return ours[attr] if attr in ours else import_from_settings(attr, *args)


class Aside(dict[str, Any]):
    """Stands in for the session while mozilla-django-oidc writes its state: costs no row."""

    session_key = None

    def __init__(self, session_key: str | None = None) -> None:
        super().__init__()

    def __repr__(self) -> str:
        return f"<Aside of {len(self)}>"

    def save(self) -> None:
        pass


@dataclass
class SignIn:
    """What came of one callback, carried on the request between backend and view."""

    transaction: Transaction
    tokens: TokenResponse | None = None
    id_claims: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    failure: BFFError | None = None


class OIDCBackend(Seam, OIDCAuthenticationBackend):
    """AUTHENTICATION_BACKENDS entry: a person the provider vouches for, found by (issuer, sub)."""

    def __init__(self) -> None:
        # Whole: Django builds every backend on every request, so nothing is asked here.
        self.UserModel = auth.get_user_model()
        self.OIDC_RP_CLIENT_ID = self.OIDC_RP_CLIENT_SECRET = ""

    def authenticate(self, request: HttpRequest | None, **kwargs: Any) -> Any:
        """Return the user of a callback, or None with the reason on the request's `SignIn`."""
        sign_in: SignIn | None = getattr(request, "_oauthbff_sign_in", None)
        if sign_in is None:
            return None
        self._sign_in = sign_in
        # The view passes stand-ins: Django sends what a backend was given to
        # `user_login_failed`, where a verifier in clear has no business.
        kwargs.update(
            nonce=sign_in.transaction.nonce, code_verifier=sign_in.transaction.code_verifier
        )
        try:
            user = super().authenticate(request, **kwargs)
        except (TokenRejected, ProviderError, LoginFailed) as exc:
            sign_in.failure = exc
            return None
        if user is None:
            sign_in.failure = sign_in.failure or LoginFailed("user_unknown", "no such user here")
        elif not self.user_can_authenticate(user):
            sign_in.failure = LoginFailed("user_disabled", f"user {user.pk} is disabled")
            return None
        return user

    def get_token(self, payload: dict[str, Any]) -> dict[str, Any]:
        tokens = provider.exchange(
            payload["code"],
            redirect_uri=redirect_uri(),
            code_verifier=payload["code_verifier"],
        )
        self._sign_in.tokens = tokens
        if tokens.id_token is None:
            raise ProviderNonsense("the token response has no id_token")
        return {"access_token": tokens.access_token, "id_token": tokens.id_token}

    def verify_token(self, token: str, **kwargs: Any) -> dict[str, Any]:
        tokens = self._sign_in.tokens
        self._sign_in.id_claims = provider.judge_id_token(
            token,
            nonce=kwargs["nonce"],
            access_token=tokens.access_token if tokens else "",
            max_age=self._sign_in.transaction.max_age,
        )
        return self._sign_in.id_claims

    def store_tokens(self, access_token: str, id_token: str) -> None:
        """Never into the session."""

    def get_userinfo(
        self, access_token: str, id_token: str, payload: dict[str, Any]
    ) -> dict[str, Any]:
        """ID token claims, completed by UserInfo; what the ID token says stands."""
        found = provider.userinfo(access_token, payload["sub"]) if conf().userinfo else {}
        self._sign_in.claims = {**found, **payload}
        return self._sign_in.claims

    def verify_claims(self, claims: dict[str, Any]) -> bool:
        return True

    def filter_users_by_claims(self, claims: dict[str, Any]) -> Any:
        found = self._known(claims)
        if found:
            return found
        try:
            matched = match(claims)
        except IntegrityError:  # another callback of theirs was faster
            return self._known(claims)
        return [] if matched is None else [matched]

    def _known(self, claims: dict[str, Any]) -> list[Any]:
        return [
            identity.user
            for identity in Identity.objects.filter(
                issuer=conf().issuer, subject=claims["sub"]
            ).select_related("user")
            if identity.subject == claims["sub"]
        ]

    def create_user(self, claims: dict[str, Any]) -> Any:
        """A new user and their identity, or those that another callback made just before."""
        try:
            with transaction.atomic():
                user = self.UserModel.objects.create_user(self.get_username(claims))
                self._apply(user, claims)
                Identity.objects.create(issuer=conf().issuer, subject=claims["sub"], user=user)
        except IntegrityError:
            found = self._known(claims)
            if not found:
                raise LoginFailed("user_conflict", "the user name is taken") from None
            return found[0]
        return user

    def update_user(self, user: Any, claims: dict[str, Any]) -> Any:
        """Let a returning user follow the claims; one who is disabled stays untouched."""
        if self.user_can_authenticate(user):
            try:
                with transaction.atomic():
                    self._apply(user, claims)
            except IntegrityError:
                events.user_claims_conflict(user=user.pk)
                user.refresh_from_db()
        return user

    def get_username(self, claims: dict[str, Any]) -> str:
        if self.get_settings("OIDC_USERNAME_ALGO", None):
            return str(super().get_username(claims))
        whole = json.dumps([conf().issuer, claims["sub"]]).encode()
        return "oidc-" + hashlib.sha256(whole).hexdigest()[:32]

    def describe_user_by_claims(self, claims: dict[str, Any]) -> str:
        return "that identity"

    def get_user(self, user_id: Any) -> Any:
        """Unlike the parent: a disabled user is nobody."""
        user = super().get_user(user_id)
        return user if user is not None and self.user_can_authenticate(user) else None

    def _apply(self, user: Any, claims: dict[str, Any]) -> None:
        """Let name, address and the site's hook follow the claims. They identify nobody.

        Only what changed is written: `is_active` may be changing in the admin meanwhile.
        """
        before = {field.attname: getattr(user, field.attname) for field in user._meta.fields}
        for attribute, claim in (
            (self.UserModel.get_email_field_name(), "email"),
            ("first_name", "given_name"),
            ("last_name", "family_name"),
        ):
            if hasattr(user, attribute) and is_text(claims.get(claim)):
                longest = user._meta.get_field(attribute).max_length
                setattr(user, attribute, claims[claim][:longest])
        hook = conf().claims_hook
        if hook is not None:
            import_string(hook)(user, claims)
        changed = [name for name, value in before.items() if getattr(user, name) != value]
        if changed:
            user.save(update_fields=changed)
