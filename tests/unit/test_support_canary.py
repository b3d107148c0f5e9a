"""The search that says whether a token leaked. A search that finds nothing must be trusted."""

from __future__ import annotations

import base64
import gzip
import json
import urllib.parse
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import canary

SECRET = "at.Zm9v+bar/baz_42~?"

HIDINGS = {
    "in clear": lambda s: s,
    "base64": base64.b64encode,
    "base64url": base64.urlsafe_b64encode,
    "base64url without padding": lambda s: base64.urlsafe_b64encode(s).rstrip(b"="),
    "hex": lambda s: s.hex().encode(),
    "upper hex": lambda s: s.hex().upper().encode(),
    "percent": lambda s: urllib.parse.quote_from_bytes(s, safe="").encode(),
    "percent throughout": lambda s: "".join(f"%{b:02X}" for b in s).encode(),
    "unicode escapes": lambda s: "".join(f"\\u{b:04x}" for b in s).encode(),
    "json": lambda s: json.dumps({"t": s.decode()}).encode(),
    "zlib": zlib.compress,
    "stored zlib": lambda s: zlib.compress(s, 0),
    "gzip": gzip.compress,
    "raw deflate": lambda s: zlib.compress(s)[2:-4],
    "base64 of zlib": lambda s: base64.urlsafe_b64encode(zlib.compress(s * 3)).rstrip(b"="),
    "zlib of base64": lambda s: zlib.compress(base64.b64encode(b"x" + s)),
    "a signed Django cookie": lambda s: (
        b"sessionid=."
        + base64.urlsafe_b64encode(zlib.compress(json.dumps({"t": s.decode() * 9}).encode()))
        + b":1rXyZ:sig"
    ),
}


@pytest.mark.parametrize("how", HIDINGS)
def test_a_secret_is_found(how: str) -> None:
    hidden = HIDINGS[how](SECRET.encode())

    assert canary.find([SECRET], hidden)
    if how != "raw deflate":  # without any mark it can only be recognised when it is alone
        assert canary.find([SECRET], b"\x00before: " + hidden + b" after\xff")


@given(before=st.binary(max_size=7), after=st.binary(max_size=7), secret=st.binary(min_size=8))
def test_base64_is_found_at_every_alignment(before: bytes, after: bytes, secret: bytes) -> None:
    assert canary.find([secret], base64.b64encode(before + secret + after))
    assert canary.find([secret], base64.urlsafe_b64encode(before + secret + after))


def test_what_is_not_there_is_not_found() -> None:
    assert canary.find([SECRET], b"", "harmless", base64.b64encode(SECRET[:-6].encode())) == []


def test_the_finding_names_the_secret_and_does_not_print_it() -> None:
    (line,) = canary.find({"access token": SECRET}, "clean", f"leak {SECRET}")
    assert line == "access token in clear in haystack 1 at 5"

    (line,) = canary.find([SECRET], SECRET)
    assert SECRET not in line


def test_a_short_secret_is_refused_because_it_is_found_everywhere() -> None:
    with pytest.raises(ValueError, match="shorter"):
        canary.find(["short"], "")
