"""Access tokens: what a call must bring, and how it is judged. RFC 9068 §4.

The judgement is local: signature, type, issuer, audience, lifetime. A token
that its owner has revoked is therefore good here until it expires, which is
why the provider makes it short.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import urllib3
from joserfc import jws, jwt
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jwk import KeySet

from .problems import Problem, TokenInvalid, TokenMissing

#: An unknown `kid` makes us ask the provider again, but not more often than this.
REFETCH_SECONDS = 10
PROVIDER_TIMEOUT_SECONDS = 5


@dataclass(frozen=True, kw_only=True)
class AccessToken:
    """What a good token says. The token itself goes no further."""

    subject: str
    client_id: str
    scopes: tuple[str, ...]
    #: Seconds of life left on arrival.
    expires_in: int
    jti: str = field(repr=False)


class Issuer:
    """The provider whose tokens we accept, and its public keys."""

    def __init__(self, issuer: str, audience: str) -> None:
        self.issuer = issuer
        self.claims = jwt.JWTClaimsRegistry(
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
            sub={"essential": True},
            exp={"essential": True},
            jti={"essential": True},
            client_id={"essential": True},
        )
        self.keys = KeySet([])
        self.fetched_at = float("-inf")
        self.fetching = threading.Lock()

    def judge(self, headers: Mapping[str, str]) -> AccessToken:
        """Return the token in `headers`.

        Raises `TokenMissing`, `TokenInvalid`, or a 503 `Problem` if the keys cannot be had.
        """
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise TokenMissing
        try:
            self.learn_keys_for(token)
            decoded = jwt.decode(token, self.keys, algorithms=["RS256"])
            if decoded.header.get("typ", "").lower() not in ("at+jwt", "application/at+jwt"):
                raise TokenInvalid("it is not an access token")
            self.claims.validate(decoded.claims)
        except ExpiredTokenError as exc:
            raise TokenInvalid("it has expired") from exc
        except (JoseError, ValueError) as exc:
            raise TokenInvalid("its signature or a claim is wrong") from exc
        claims = decoded.claims
        return AccessToken(
            subject=claims["sub"],
            client_id=claims["client_id"],
            scopes=tuple(claims.get("scope", "").split()),
            expires_in=int(claims["exp"] - time.time()),
            jti=claims["jti"],
        )

    def learn_keys_for(self, token: str) -> None:
        """Fetch the provider's keys if the token was signed by one that we do not know."""
        kid = jws.extract_compact(token.encode()).headers().get("kid")
        with self.fetching:
            known = any(key.kid == kid for key in self.keys.keys)
            if known or time.monotonic() - self.fetched_at < REFETCH_SECONDS:
                return
            try:
                metadata = fetch(f"{self.issuer}/.well-known/openid-configuration")
                self.keys = KeySet.import_key_set(fetch(metadata["jwks_uri"]))
            except (urllib3.exceptions.HTTPError, ValueError, KeyError) as exc:
                raise Problem(503, "The provider's keys cannot be had right now.") from exc
            self.fetched_at = time.monotonic()


def fetch(url: str) -> dict:
    answer = urllib3.request("GET", url, timeout=PROVIDER_TIMEOUT_SECONDS, retries=False)
    if answer.status != 200:
        raise ValueError(f"{url} answered {answer.status}")
    return answer.json()
