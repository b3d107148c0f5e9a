"""Sealing and opening secrets. The only room that can decrypt.

AES-256-GCM under keys that have names: `v1.<key id>.<base64url(nonce|sealed)>`.
The associated data binds a value to its place (this grant, this purpose), so a
ciphertext moved to another row does not open. Each purpose has a key of its
own, derived by HKDF from the configured one.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .conf import conf
from .errors import KeyLost, SealBroken

NONCE_BYTES = 12
VERSION = "v1"


@dataclass(frozen=True, kw_only=True, repr=False)
class Envelope:
    """The secrets of one grant. Its repr says nothing."""

    access_token: str
    refresh_token: str | None = None
    #: The newest one: the hint for the provider's logout.
    id_token: str | None = None
    #: Where the Django session was last seen, so that it can be deleted at once.
    session_key: str | None = None
    #: The allow-listed claims that session/ shows. Not secret, but personal.
    claims: dict[str, Any] = field(default_factory=dict)
    #: `nonce` and `auth_time` of the sign-in, to hold refreshed ID tokens against.
    first: dict[str, Any] = field(default_factory=dict)
    #: RFC 8707: resource → {"access_token", "expires_at" (Unix time or None)}.
    resources: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: Tokens that arrived when the grant had ended, with their hints: to be revoked, never used.
    late: list[tuple[str, str]] = field(default_factory=list)

    def __repr__(self) -> str:
        return "<Envelope sealed>"

    def seal(self, place: str) -> str:
        return seal(json.dumps(asdict(self), separators=(",", ":")).encode(), place)

    @classmethod
    def open(cls, sealed: str, place: str) -> Envelope:
        """Raises `KeyLost` or `SealBroken`."""
        return cls(**json.loads(unseal(sealed, place)))


def seal(plain: bytes, place: str) -> str:
    """Seal bytes for one place (`grant:<id>`, `login:<state>`) with the first key."""
    key_id = next(iter(conf().keys))
    nonce = os.urandom(NONCE_BYTES)
    sealed = _cipher(conf().keys[key_id], _purpose(place)).encrypt(nonce, plain, place.encode())
    text = base64.urlsafe_b64encode(nonce + sealed).rstrip(b"=").decode()
    return f"{VERSION}.{key_id}.{text}"


def unseal(sealed: str, place: str) -> bytes:
    """Open what `seal` closed for the same place.

    Raises `KeyLost` when the key is not configured any more, `SealBroken` when
    the value was tampered with or belongs elsewhere.
    """
    version, _, rest = sealed.partition(".")
    key_id, _, text = rest.partition(".")
    if version != VERSION or not text:
        raise SealBroken("not a sealed value")
    key = conf().keys.get(key_id)
    if key is None:
        raise KeyLost(f"the key {key_id!r} is not configured")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return _cipher(key, _purpose(place)).decrypt(
            raw[:NONCE_BYTES], raw[NONCE_BYTES:], place.encode()
        )
    except (InvalidTag, binascii.Error, ValueError):
        raise SealBroken("the seal does not open") from None


def reseal(sealed: str, place: str) -> str:
    """The same secret under the first key. Raises `KeyLost` or `SealBroken`."""
    return seal(unseal(sealed, place), place)


def key_id_of(sealed: str) -> str:
    """The id of the key that sealed a value; empty when there is no value."""
    return sealed.split(".")[1] if sealed.count(".") == 2 else ""


def _purpose(place: str) -> str:
    return place.partition(":")[0]


@lru_cache(maxsize=64)
def _cipher(key: bytes, purpose: str) -> AESGCM:
    derived = HKDF(
        algorithm=SHA256(), length=32, salt=None, info=f"oauthbff {purpose}".encode()
    ).derive(key)
    return AESGCM(derived)
