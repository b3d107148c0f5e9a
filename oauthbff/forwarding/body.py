"""How long a body is, and whether all of it came. Pure."""

from __future__ import annotations

from oauthbff.conf import Upstream
from oauthbff.errors import BodyBroken, BodyTooLarge, LengthRequired

CHUNK_BYTES = 64 * 1024
#: A body up to this size is held, so that it can be sent again after a refused token.
REPLAYABLE_BYTES = 64 * 1024


def declared_length(length: str | None, coding: str | None, *, reads_chunked: bool) -> int | None:
    """Return the body's length in bytes by its head, None for a chunked one.

    `length` is the Content-Length, `coding` the Transfer-Encoding; `reads_chunked` says
    whether this server hands over a chunked body. Raises `LengthRequired`, `BodyBroken`.
    """
    if "chunked" in (coding or "").lower():
        if length or not reads_chunked:
            raise LengthRequired("this server cannot hand over a chunked body")
        return None
    if not length:
        return 0
    if not (length.isascii() and length.isdigit()):
        raise BodyBroken("the Content-Length is not a number")
    return int(length)


def check_length(upstream: Upstream, length: int | None) -> None:
    """Refuse a body that is known to be too large before any of it is read."""
    if length is not None and length > upstream.max_body:
        raise BodyTooLarge(f"{length} bytes, at most {upstream.max_body}")


def has_body(method: str, length: int | None) -> bool:
    """Whether the new request has a body, if only one of no bytes. RFC 9110 §8.6."""
    return length != 0 or method in ("POST", "PUT", "PATCH")


def is_replayable(length: int | None) -> bool:
    """Whether the body is small enough to be held and sent again."""
    return length is not None and length <= REPLAYABLE_BYTES


class Meter:
    """Counts a body's bytes while they pass."""

    def __init__(self, upstream: Upstream, length: int | None) -> None:
        self._limit = upstream.max_body
        self._length = length
        self._seen = 0

    @property
    def wanted(self) -> int:
        """How many bytes to ask for next; 0: the whole body is here."""
        left = CHUNK_BYTES if self._length is None else self._length - self._seen
        return min(CHUNK_BYTES, left)

    def count(self, chunk: bytes) -> bytes:
        """Return `chunk`. Raises `BodyTooLarge` on a byte too many."""
        self._seen += len(chunk)
        if self._seen > self._limit:
            raise BodyTooLarge(f"more than {self._limit} bytes")
        return chunk

    def end(self) -> None:
        """Raise `BodyBroken` if the body has ended before its length."""
        if self._length is not None and self._seen < self._length:
            raise BodyBroken(f"{self._seen} of {self._length} bytes came")
