"""How we show the provider who we are. Pure, but for the clock and the dice.

`client_secret_basic` and `client_secret_post` (RFC 6749 §2.3.1), and
`private_key_jwt` with a fresh assertion for each request (RFC 7523 §2.2, §3):
there the provider knows our public key only, and nothing that could be stolen
from it signs for us.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus

from joserfc import jwk, jwt
from joserfc.errors import JoseError

METHODS = ("client_secret_basic", "client_secret_post", "private_key_jwt")
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_SECONDS = 60
MIN_RSA_BITS = 2048

Key = jwk.RSAKey | jwk.ECKey | jwk.OKPKey


@dataclass(frozen=True, kw_only=True)
class Client:
    """Our registration at the provider."""

    client_id: str
    issuer: str
    secret: str = field(repr=False)
    key: Key | None = field(repr=False, default=None)


def credentials(client: Client, method: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return (form fields, headers) that authenticate one request."""
    if method == "client_secret_basic":
        pair = f"{quote_plus(client.client_id)}:{quote_plus(client.secret)}"
        return {}, {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
    if method == "client_secret_post":
        return {"client_id": client.client_id, "client_secret": client.secret}, {}
    return {
        "client_id": client.client_id,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion(client),
    }, {}


def assertion(client: Client) -> str:
    """A signed statement that we are the client, for one use. `aud` is the issuer, as a string."""
    assert client.key is not None  # noqa: S101 - `conf` has seen to it
    now = int(time.time())
    claims = {
        "iss": client.client_id,
        "sub": client.client_id,
        "aud": client.issuer,
        "jti": secrets.token_urlsafe(24),
        "iat": now,
        "exp": now + ASSERTION_SECONDS,
    }
    algorithm = algorithm_of(client.key)
    header = {"alg": algorithm, "typ": "JWT"}
    if client.key.kid is not None:
        header["kid"] = client.key.kid
    return jwt.encode(header, claims, client.key, algorithms=[algorithm])


def read_key(text: str) -> Key:
    """Read a private key from a JWK or PEM. Raises `ValueError` saying what is wrong with it."""
    try:
        data: Any = json.loads(text) if text.lstrip().startswith("{") else text
        if isinstance(data, dict) and data.get("kty") not in ("RSA", "EC", "OKP"):
            raise ValueError("a symmetric key")
        kind = None if isinstance(data, dict) else _kind_of_pem(text)
        key = jwk.import_key(data, kind) if kind else jwk.import_key(data)
    except (JoseError, ValueError, TypeError, KeyError):
        raise ValueError("it is neither a JWK nor a PEM private key") from None
    if not isinstance(key, jwk.RSAKey | jwk.ECKey | jwk.OKPKey) or not key.is_private:
        raise ValueError("it is not an asymmetric private key")
    if isinstance(key, jwk.RSAKey) and key.raw_value.key_size < MIN_RSA_BITS:
        raise ValueError(f"an RSA key needs at least {MIN_RSA_BITS} bits")
    algorithm_of(key)
    return key


def algorithm_of(key: Key) -> str:
    """The algorithm a key signs with: its own `alg`, else the best for its kind."""
    named = key.as_dict(private=False).get("alg")
    if isinstance(named, str):
        return named
    if isinstance(key, jwk.ECKey):
        known = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
        if key.curve_name not in known:
            raise ValueError(f"the curve {key.curve_name} is not usable")
        return known[key.curve_name]
    return "PS256" if isinstance(key, jwk.RSAKey) else "EdDSA"


def _kind_of_pem(text: str) -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    loaded = load_pem_private_key(text.encode(), None)
    if isinstance(loaded, rsa.RSAPrivateKey):
        return "RSA"
    return "EC" if isinstance(loaded, ec.EllipticCurvePrivateKey) else "OKP"
