"""The keys that seal tokens. E012, E013."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from .reading import Reading
from .values import StoredKey

KEY_BYTES = 32
KEY_STORES = {"awskms": "oauthbff.aws_kms.KeyStore"}
KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")


def keys(read: Reading) -> Mapping[str, bytes | StoredKey]:
    given = read.given.get("KEYS")
    hint = "Generate one: manage.py oauthbff_key"
    if not isinstance(given, Mapping) or not given:
        read.say("E012", 'OAUTHBFF["KEYS"] is empty: nothing to seal tokens with.', hint)
        return {}
    keys: dict[str, bytes | StoredKey] = {}
    for key_id, text in given.items():
        if not isinstance(key_id, str) or not KEY_ID.fullmatch(key_id):
            rule = "Use letters, digits, - and _; at most 40."
            read.say("E013", 'OAUTHBFF["KEYS"] has a key whose id is not an id.', rule)
            continue
        if isinstance(text, str) and ":" in text:
            stored = _stored_key(text, key_stores(read))
            if isinstance(stored, StoredKey):
                keys[key_id] = stored
            else:
                sentence = f'OAUTHBFF["KEYS"]["{key_id}"] cannot be had from its key store.'
                read.say("E013", sentence, stored)
            continue
        key = _decode_key(text)
        if key is None or len(key) != KEY_BYTES:
            read.say("E013", f'OAUTHBFF["KEYS"]["{key_id}"] is not 32 bytes in base64.', hint)
        elif len(set(key)) < 8 or key in keys.values():
            read.say("E013", f'OAUTHBFF["KEYS"]["{key_id}"] is repeated or not random.', hint)
        elif _comes_from_secret_key(key):
            rule = "SECRET_KEY signs; it must not also encrypt. " + hint
            read.say("E013", f'OAUTHBFF["KEYS"]["{key_id}"] is made from SECRET_KEY.', rule)
        else:
            keys[key_id] = key
    return keys


def key_stores(read: Reading) -> Mapping[str, str]:
    given = read.given.get("KEY_STORES", {})
    named = isinstance(given, Mapping) and all(isinstance(path, str) for path in given.values())
    return {**KEY_STORES, **given} if named else KEY_STORES


def _stored_key(text: str, stores: Mapping[str, str]) -> StoredKey | str:
    """The key that `scheme:name` names, or what is wrong with it."""
    scheme, _, name = text.partition(":")
    if scheme not in stores or not name:
        return f"Write scheme:name; the schemes are {', '.join(stores)}."
    try:
        import_string(stores[scheme])
    except ImportError as exc:
        extra = " pip install oauthbff[aws]" if scheme == "awskms" else ""
        return f"{stores[scheme]} cannot be imported: {exc}.{extra}"
    return StoredKey(stores[scheme], name)


def _decode_key(text: Any) -> bytes | None:
    if not isinstance(text, str):
        return None
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        return None


def _comes_from_secret_key(key: bytes) -> bool:
    secret = settings.SECRET_KEY.encode()
    return key in (hashlib.sha256(secret).digest(), secret[:KEY_BYTES], secret[-KEY_BYTES:])
