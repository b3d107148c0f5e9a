"""A User-Agent header in two words: browser and system. Pure.

Good enough for "is that my laptop?", and never used to decide anything.
"""

from __future__ import annotations

from functools import lru_cache

from ua_parser import parse

UNKNOWN = "–"
LONGEST = 400


@lru_cache(maxsize=1024)
def device_of(user_agent: str) -> str:
    found = parse(user_agent[:LONGEST])
    parts = [part.family for part in (found.user_agent, found.os) if part is not None]
    return " · ".join(parts) or UNKNOWN
