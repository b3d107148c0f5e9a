"""What the provider says of people: the tokens it signs, judged with its keys, and UserInfo."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from oauthbff import claims
from oauthbff.conf import conf
from oauthbff.errors import ProviderRefused, TokenRejected

from .asking import ask
from .discovery import metadata, with_fresh_keys


def judge_id_token(
    token: str, *, nonce: str, access_token: str, max_age: int | None = None
) -> dict[str, Any]:
    """Return the claims of an ID token made for this sign-in. Raises `TokenRejected`."""
    return with_fresh_keys(
        lambda keys: claims.judge_id_token(
            token,
            keys=keys,
            nonce=nonce,
            access_token=access_token,
            max_age=max_age,
            now=time.time(),
            **_expectations(),
        )
    )


def judge_refreshed_id_token(
    token: str, *, subject: str, first: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the claims of an ID token that came with a refresh. Raises `TokenRejected`."""
    return with_fresh_keys(
        lambda keys: claims.judge_refreshed_id_token(
            token, keys=keys, subject=subject, first=first, now=time.time(), **_expectations()
        )
    )


def judge_logout_token(token: str) -> dict[str, Any]:
    """Return the claims of a logout token from the provider. Raises `TokenRejected`."""
    return with_fresh_keys(
        lambda keys: claims.judge_logout_token(token, keys=keys, now=time.time(), **_expectations())
    )


def userinfo(access_token: str, subject: str) -> dict[str, Any]:
    """Return the UserInfo claims of `subject`.

    Raises `TokenRejected` when they are somebody else's, or unsigned though
    they claim a signature. OIDC Core 1.0 §5.3.
    """
    endpoint = metadata().userinfo_endpoint
    if endpoint is None:
        return {}
    answer = ask("GET", endpoint, headers={"Authorization": f"Bearer {access_token}"})
    if answer.status != 200:
        raise ProviderRefused(f"userinfo_{answer.status}")
    if answer.headers.get("content-type", "").lower().startswith("application/jwt"):
        return claims.judge_userinfo(_signed_userinfo(answer.body), subject)
    return claims.judge_userinfo(answer.json(), subject)


def _expectations() -> dict[str, str]:
    return {
        "algorithm": conf().sign_algorithm,
        "issuer": conf().issuer,
        "client_id": conf().client_id,
    }


def _signed_userinfo(body: bytes) -> dict[str, Any]:
    token = body.decode("ascii", "replace")
    _, found = with_fresh_keys(
        lambda keys: claims.judge_signature(token, keys=keys, algorithm=conf().sign_algorithm)
    )
    audience = found.get("aud")
    if found.get("iss") != conf().issuer:
        raise TokenRejected("userinfo_iss_wrong")
    audiences = [audience] if isinstance(audience, str) else audience
    if not isinstance(audiences, list) or conf().client_id not in audiences:
        raise TokenRejected("userinfo_aud_wrong")
    return dict(found)
