"""What a doctor says: one sentence of fact, a mark, and what to do. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

SHORTEST_SECRET = 8
LONGEST_QUOTE = 200


class Mark(StrEnum):
    OK = "ok"
    #: It works, but less well or less safely than it could.
    WARNING = "warning"
    #: Somebody cannot sign in, or something cannot be called.
    PROBLEM = "problem"


@dataclass(frozen=True, kw_only=True)
class Finding:
    #: Where and what: `provider.pkce`. Stable, for programs that read `--json`.
    check: str
    mark: Mark
    #: What is so, in a sentence.
    fact: str
    #: What to do, where that helps.
    advice: str = ""


def ok(check: str, fact: str, advice: str = "") -> Finding:
    return Finding(check=check, mark=Mark.OK, fact=fact, advice=advice)


def warning(check: str, fact: str, advice: str = "") -> Finding:
    return Finding(check=check, mark=Mark.WARNING, fact=fact, advice=advice)


def problem(check: str, fact: str, advice: str = "") -> Finding:
    return Finding(check=check, mark=Mark.PROBLEM, fact=fact, advice=advice)


def plain(value: Any) -> str:
    """Return foreign text as it may be shown: short, on one line, no control characters."""
    text = "".join(char if char.isprintable() else "?" for char in str(value))
    return text if len(text) <= LONGEST_QUOTE else text[: LONGEST_QUOTE - 1] + "…"


def count(number: int, name: str) -> str:
    return f"{number} {name}" + ("" if number == 1 else "s")


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return the text without any of the secrets, and without users and passwords in URLs."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, "…")
    return re.sub(r"//[^/\s'\"]*@", "//…@", text)
