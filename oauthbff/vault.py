"""Sealing and opening secrets. The only room that can decrypt.

AES-256-GCM under keys that have names: `v1.<key id>.<base64url(nonce|sealed)>`.
The associated data binds a value to its place (this grant, this purpose), so a
ciphertext moved to another row does not open. Each purpose has a key of its
own, derived by HKDF from the configured one. For a key that stays in a key store
it is `v2.<key id>.<wrapped data key>.<base64url(nonce|sealed)>`.
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
from django.core import signing

from . import datakeys
from .conf import StoredKey, conf
from .errors import KeyLost, KeyStoreUnavailable, SealBroken

NONCE_BYTES = 12
#: Values of this purpose stay with us. Others are in strangers' hands, and made at their wish.
OURS = "grant"


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

    def seal(self, place: str, *, instead_of: str = "") -> str:
        plain = json.dumps(asdict(self), separators=(",", ":")).encode()
        return seal(plain, place, instead_of=instead_of)

    @classmethod
    def open(cls, sealed: str, place: str) -> Envelope:
        """Raises `KeyLost` or `SealBroken`."""
        return cls(**json.loads(unseal(sealed, place)))


def seal(plain: bytes, place: str, *, instead_of: str = "") -> str:
    """Seal bytes for one place (`grant:<id>`, `login:<state>`) with the first key.

    `instead_of` is the value that this one replaces. In a key store its data key serves
    again; and if that store cannot be asked, the new value is sealed as the old one was,
    rather than lost. Raises `KeyStoreUnavailable` when that is not possible either.
    """
    first = next(iter(conf().keys))
    old = _read(instead_of) if instead_of else None
    if old is not None and old.key_id == first:
        return _close(old, plain, place)
    try:
        return _close(_begin(first, place), plain, place)
    except KeyStoreUnavailable:
        if old is None or old.key_id not in conf().keys:
            raise
        return _close(old, plain, place)


def unseal(sealed: str, place: str) -> bytes:
    """Open what `seal` closed for the same place.

    Raises `KeyLost` when the key is not configured any more, `SealBroken` when
    the value was tampered with or belongs elsewhere, `KeyStoreUnavailable`.
    """
    found = _read(sealed)
    raw = _decode(found.text)
    try:
        return _cipher(found, place).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], place.encode())
    except (InvalidTag, ValueError):
        raise SealBroken("the seal does not open") from None


def reseal(sealed: str, place: str) -> str:
    """The same secret under the first key. Raises as `unseal`."""
    return seal(unseal(sealed, place), place)


def opens_at_once(sealed: str, place: str) -> bool:
    """Whether `unseal` would open or refuse this without asking a key store."""
    try:
        found = _read(sealed)
        key = conf().keys.get(found.key_id)
        if not found.wrapped or not isinstance(key, StoredKey):
            return True
        ours = _purpose(place) == OURS
        wrapped = _decode(found.wrapped if ours else _signed(found.wrapped))
    except SealBroken:
        return True
    return datakeys.is_known(key, wrapped, place if ours else _purpose(place))


def key_id_of(sealed: str) -> str:
    """The id of the key that sealed a value; empty when there is no value."""
    try:
        return _read(sealed).key_id
    except SealBroken:
        return ""


@dataclass(frozen=True)
class _Sealed:
    """A sealed value in its parts; `wrapped` is empty but for keys in a key store."""

    key_id: str
    wrapped: str
    text: str

    @property
    def head(self) -> str:
        return f"v2.{self.key_id}.{self.wrapped}" if self.wrapped else f"v1.{self.key_id}"


def _read(sealed: str) -> _Sealed:
    version, *rest = sealed.split(".")
    if version == "v1" and len(rest) == 2 and rest[1]:
        return _Sealed(rest[0], "", rest[1])
    if version == "v2" and len(rest) == 3 and rest[1] and rest[2]:
        return _Sealed(*rest)
    raise SealBroken("not a sealed value")


def _begin(key_id: str, place: str) -> _Sealed:
    """What a value sealed with this key begins with, a wrapped data key included."""
    key = conf().keys[key_id]
    if not isinstance(key, StoredKey):
        return _Sealed(key_id, "", "")
    if _purpose(place) == OURS:
        return _Sealed(key_id, _encode(datakeys.new(key, place).wrapped), "")
    wrapped = _encode(datakeys.shared(key, _purpose(place)).wrapped)
    return _Sealed(key_id, _signer().sign(wrapped), "")


def _close(start: _Sealed, plain: bytes, place: str) -> str:
    nonce = os.urandom(NONCE_BYTES)
    sealed = _cipher(start, place, again=True).encrypt(nonce, plain, place.encode())
    return f"{start.head}.{_encode(nonce + sealed)}"


def _cipher(found: _Sealed, place: str, *, again: bool = False) -> AESGCM:
    key = conf().keys.get(found.key_id)
    if key is None:
        raise KeyLost(f"the key {found.key_id!r} is not configured")
    if not found.wrapped and isinstance(key, bytes):
        return _derived(key, _purpose(place))
    if not found.wrapped or isinstance(key, bytes):
        raise KeyLost(f"the key {found.key_id!r} is another one now")
    unwrap = datakeys.unwrapped_before if again else datakeys.unwrap
    if _purpose(place) == OURS:
        return AESGCM(unwrap(key, _decode(found.wrapped), place))
    return AESGCM(unwrap(key, _decode(_signed(found.wrapped)), _purpose(place)))


def _signed(wrapped: str) -> str:
    """A stranger's garbage is never carried to the key store: that would be a call each time."""
    try:
        return _signer().unsign(wrapped)
    except signing.BadSignature:
        raise SealBroken("not a data key of ours") from None


def _signer() -> signing.Signer:
    return signing.Signer(sep="~", salt="oauthbff.vault")


def _purpose(place: str) -> str:
    return place.partition(":")[0]


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise SealBroken("the seal does not open") from None


@lru_cache(maxsize=64)
def _derived(key: bytes, purpose: str) -> AESGCM:
    derived = HKDF(
        algorithm=SHA256(), length=32, salt=None, info=f"oauthbff {purpose}".encode()
    ).derive(key)
    return AESGCM(derived)
