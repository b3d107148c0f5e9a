"""Who has the database and not the keys: a thief, a backup on a lost disk, a curious host."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import sqlite3
import subprocess
import uuid
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.conftest import MakeSite
from tests.support import canary
from tests.support.provider import NodeProvider
from tests.support.site import KEY, Site
from tests.support.upstream import RecordingUpstream

PEOPLE = ("jane", "joe", "jim")


def whole_dump(site: Site) -> str:
    """What `sqlite3 .dump` or `pg_dump` writes: schema, rows, indexes."""
    if site.database.kind == "sqlite":
        with sqlite3.connect(site.database.url.removeprefix("sqlite:///")) as connection:
            return "\n".join(connection.iterdump())
    command = ["pg_dump", "--dbname", site.database.url]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_dump_opens_nothing(
    make_site: MakeSite,
    provider: NodeProvider,
    upstream: RecordingUpstream,
    database: str,
):
    site = make_site(fresh=True, database=database)
    browsers = {name: site.browser() for name in PEOPLE}
    for name, browser in browsers.items():
        browser.login(name)
        assert browser.fetch("api/photos/1").status == 200
    dump = whole_dump(site)
    sealed = dict(site.sql("SELECT id, envelope FROM oauthbff_tokengrant"))

    # A thief who looks.
    tokens = {f"access-{n}": str(request.token) for n, request in enumerate(upstream.requests)}
    assert len(tokens) == len(sealed) == len(PEOPLE)
    assert all(str(envelope) in dump for envelope in sealed.values())
    assert canary.find(tokens, dump) == []

    # A thief who tries whatever lies about as the key.
    words = {word.encode() for word in re.findall(r"[\w+/=.~$:-]{4,}", dump)}
    guesses = {bytes(32), hashlib.sha256(b"").digest(), os.urandom(32)}
    guesses |= {hashlib.sha256(word).digest() for word in words}
    guesses |= {word.ljust(32, b"\0")[:32] for word in words}
    assert len(guesses) > 500
    assert [guess for guess in guesses if opened_with(guess, sealed)] == []
    assert opened_with(base64.b64decode(KEY), sealed) == len(PEOPLE)  # the right one would

    # A thief who runs the site on it, with a key of his own under the same name: the sessions are
    # there, and behind none of them is a token.
    theirs = make_site(share=site, env={"OAUTHBFF_KEYS": f"test:{own_key()}"})
    provider.forget_log()
    upstream.clear()
    for browser in browsers.values():
        thief = theirs.browser(cookies_of=browser)
        refused = thief.fetch("api/photos/1")
        assert (refused.status, refused.json()["reason"]) == (401, "key_lost")
    said = theirs.manage("rekeygrants", expect=None)
    assert canary.find(tokens, said, theirs.log()) == []
    assert upstream.requests == [] and provider.calls("/token") == []


def opened_with(key: bytes, sealed: dict[Any, str]) -> int:
    """How many envelopes open, by docs/keys.md alone: the key as it is, or derived from it."""
    derived = HKDF(SHA256(), 32, None, b"oauthbff grant").derive(key)
    count = 0
    for handle, envelope in sealed.items():
        raw = base64.urlsafe_b64decode(envelope.rpartition(".")[2] + "==")
        for cipher in (AESGCM(key), AESGCM(derived)):
            with contextlib.suppress(InvalidTag):
                cipher.decrypt(raw[:12], raw[12:], f"grant:{uuid.UUID(str(handle))}".encode())
                count += 1
    return count


def own_key() -> str:
    return base64.b64encode(os.urandom(32)).decode()
