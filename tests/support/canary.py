"""Finds a secret where it must not be, however it was written down.

Looked for: the bytes themselves, base64 and base64url at each of the three alignments, hex in
both cases, percent-encoding, JSON's \\u escapes, and each of these again inside every zlib,
gzip or raw-deflate stream and every base64 run of the haystack (Django's signed sessions are
base64 of zlib; a cookie is both), three layers deep.
"""

from __future__ import annotations

import base64
import binascii
import functools
import re
import urllib.parse
import zlib
from collections.abc import Iterable, Iterator, Mapping

Text = bytes | str

SHORTEST_SECRET = 8  # bytes; shorter ones are found everywhere
LAYERS = 3
UNPACKED_LIMIT = 50_000_000

_BASE64_RUN = re.compile(rb"[A-Za-z0-9+/_-]{16,}")
_STANDARD = bytes.maketrans(b"-_", b"+/")
_ZLIB_HEAD = re.compile(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08")


def find(secrets: Iterable[Text] | Mapping[str, Text], *haystacks: Text) -> list[str]:
    """Return a line for each secret found: which one, how written, near what. Empty: clean.

    A mapping names its secrets; those of a list are named by their first four characters, so
    that a failing test does not print them.
    """
    named = (
        {name: _bytes(secret) for name, secret in secrets.items()}
        if isinstance(secrets, Mapping)
        else {f"{_bytes(secret)[:4].decode('latin-1')}…": _bytes(secret) for secret in secrets}
    )
    for name, secret in named.items():
        if len(secret) < SHORTEST_SECRET:
            raise ValueError(f"the secret {name} is shorter than {SHORTEST_SECRET} bytes")
    written = {name: list(_spellings(secret)) for name, secret in named.items()}

    found: list[str] = []
    for number, haystack in enumerate(haystacks):
        for where, data in _layers(_bytes(haystack)):
            readings = _readings(data)
            for name, spellings in written.items():
                for how, reading, text in spellings:
                    start = readings[reading].find(text)
                    if start >= 0:
                        found.append(f"{name} {how} in haystack {number}{where} at {start}")
    return found


def _bytes(text: Text) -> bytes:
    return text.encode() if isinstance(text, str) else bytes(text)


def _spellings(secret: bytes) -> Iterator[tuple[str, str, bytes]]:
    """Yield how it was written down, in which reading of the haystack, and the bytes there."""
    yield "in clear", "as it is", secret
    yield "in hex", "lower case", secret.hex().encode()
    percent = "".join(f"%{byte:02x}" for byte in secret).encode()
    yield "percent-encoded", "lower case", percent
    quoted = urllib.parse.quote_from_bytes(secret, safe="").encode()
    if quoted != secret:
        yield "percent-encoded", "lower case", quoted.lower()
    unicode_escapes = "".join(f"\\u{byte:04x}" for byte in secret).encode()
    yield "in \\u escapes", "lower case", unicode_escapes
    for skipped in range(3):
        # What base64 makes of the secret when it begins `skipped` bytes into a group of three,
        # without the characters at both ends that depend on the neighbours.
        encoded = base64.b64encode(b"\0" * skipped + secret)
        start = (0, 2, 3)[skipped]
        rest = (skipped + len(secret)) % 3
        yield "in base64", "base64", encoded[start : len(encoded) - (0, 3, 2)[rest]]


def _readings(data: bytes) -> dict[str, bytes]:
    """The same bytes, made alike once where they may differ; a plain search is fast, and these
    haystacks are megabytes.
    """
    return {"as it is": data, "lower case": data.lower(), "base64": data.translate(_STANDARD)}


def _layers(data: bytes, where: str = "", depth: int = LAYERS) -> Iterator[tuple[str, bytes]]:
    yield where, data
    if depth == 0:
        return
    for start, inner in _streams(data):
        yield from _layers(inner, f"{where} > stream at {start}", depth - 1)
    for match in _BASE64_RUN.finditer(data):
        for inner in _packed(match.group()):
            yield from _layers(inner, f"{where} > base64 at {match.start()}", depth - 1)


@functools.lru_cache(maxsize=100_000)
def _packed(run: bytes) -> tuple[bytes, ...]:
    """What a run of base64 holds, if that is packed; base64 of plain data is covered by the
    spellings. Remembered, for a log repeats itself.
    """
    # The run may begin with letters of something else.
    opened = (_unbase64(run[skipped:]) for skipped in range(4))
    return tuple(inner for inner in opened if any(True for _ in _streams(inner)))


def _streams(data: bytes) -> Iterator[tuple[int, bytes]]:
    for match in _ZLIB_HEAD.finditer(data):
        inner = _inflate(data[match.start() :], zlib.MAX_WBITS | 32)
        if inner:
            yield match.start(), inner
    if data and (inner := _inflate(data, -zlib.MAX_WBITS)):
        yield 0, inner


def _inflate(data: bytes, window: int) -> bytes:
    machine = zlib.decompressobj(window)
    try:
        inner = machine.decompress(data, UNPACKED_LIMIT)
    except zlib.error:
        return b""
    # Raw deflate has no check sum: noise often "opens". A whole stream is taken, the rest not.
    return inner if window > 0 or machine.eof else b""


def _unbase64(run: bytes) -> bytes:
    run = run.translate(_STANDARD)
    run = run[: len(run) - (len(run) % 4 == 1)]
    try:
        return base64.b64decode(run + b"=" * (-len(run) % 4))
    except binascii.Error:
        return b""
