"""What the provider's tokens say.

DOT issues opaque access tokens. Ours are JWTs, so that the photo API can judge
them alone. DOT still stores their hash: they work at UserInfo, and fall there
at once when they are revoked.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

from django.conf import settings
from joserfc import jwt
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauthlib.common import Request

from .keys import signing_key


def access_token(request: Request, refresh_token: bool = False) -> str:
    """Mint the access token for a token request. RFC 9068 §2."""
    key = signing_key(settings.OAUTH2_PROVIDER["OIDC_RSA_PRIVATE_KEY"])
    now = int(time.time())
    claims = {
        "iss": settings.ISSUER,
        "sub": str(request.user.pk) if request.user else request.client.client_id,
        "aud": settings.AUDIENCE,
        "client_id": request.client.client_id,
        "scope": " ".join(request.scopes),
        "iat": now,
        "exp": now + request.expires_in,
        "jti": str(uuid.uuid4()),
    }
    return jwt.encode({"alg": "RS256", "typ": "at+jwt", "kid": key.kid}, claims, key)


class Validator(OAuth2Validator):
    """DOT's answers to oauthlib's questions, and the four that it lacks."""

    oidc_claim_scope = OAuth2Validator.oidc_claim_scope | {"groups": "profile"}

    def get_additional_claims(self, request: Request) -> dict[str, Any]:
        """Tell about the person, in the ID token and at UserInfo. `sub` is the primary key."""
        user = request.user
        return {
            "name": user.get_full_name(),
            "given_name": user.first_name,
            "family_name": user.last_name,
            "preferred_username": user.username,
            "email": user.email,
            "email_verified": True,
            "groups": sorted(user.groups.values_list("name", flat=True)),
        }

    def get_discovery_claims(self, request: Request) -> list[str]:
        return ["sub", "name", "given_name", "family_name", "preferred_username"] + [
            "email",
            "email_verified",
            "groups",
        ]

    def validate_jwt_bearer_token(self, token: str, scopes: list[str], request: Request) -> bool:
        """Judge a bearer token that looks like a JWT as what it is here: an access token.

        DOT would take it for an ID token, which nobody may use to call an API.
        """
        return self.validate_bearer_token(token, scopes, request)

    def validate_silent_login(self, request: Request) -> bool:
        """Let prompt=none pass: `views.Authorize` has made sure that somebody is signed in."""
        return True

    def validate_silent_authorization(self, request: Request) -> bool:
        """Let prompt=none pass: every client here is ours, and none asks for consent."""
        return True
