"""Two hooks for OAUTHBFF["PLACE_HOOK"]."""

from __future__ import annotations


def place_of(address: str) -> str:
    return "Loopback, right here" if address == "127.0.0.1" else ""


def broken(address: str) -> str:
    raise LookupError(address)
