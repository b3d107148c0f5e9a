"""The provider's signing key: made once, kept in the data directory."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc.jwk import RSAKey


def signing_key_pem(path: Path) -> str:
    """Return the RSA key at `path` as PEM; make it if there is none."""
    if not path.exists():
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
    return path.read_text()


@cache
def signing_key(pem: str) -> RSAKey:
    """Return `pem` as a JWK whose `kid` is its thumbprint, as DOT publishes it. RFC 7638."""
    key = RSAKey.import_key(pem)
    return RSAKey.import_key(pem, {"kid": key.thumbprint()})
