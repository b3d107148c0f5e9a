"""A User-Agent header in two words: browser and system. Pure.

Good enough for "is that my laptop?", and never used to decide anything.
"""

from __future__ import annotations

from functools import lru_cache

from ua_parser import parse_os, parse_user_agent

UNKNOWN = "–"
LONGEST = 400


@lru_cache(maxsize=1024)
def device_of(user_agent: str) -> str:
    text = user_agent[:LONGEST]
    # Not `parse`, which tries a thousand patterns more to name the device.
    parts = [part.family for part in (parse_user_agent(text), parse_os(text)) if part is not None]
    return " · ".join(parts) or UNKNOWN
