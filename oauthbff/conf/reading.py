"""One pass over the settings that goes on after a mistake, to report them all."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

from .values import Conf

KINDS = {int: "a whole number", bool: "True or False", str: "a string"}
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Reading:
    """What was given in `OAUTHBFF`, and what is wrong so far."""

    def __init__(self) -> None:
        self.problems: list[tuple[str, str, str]] = []
        given = getattr(settings, "OAUTHBFF", None)
        if not isinstance(given, Mapping):
            self.say("E001", "OAUTHBFF is not a dictionary.", "Add OAUTHBFF = {…} to the settings.")
            given = {}
        self.given: Mapping[str, Any] = given

    def say(self, check: str, sentence: str, hint: str) -> None:
        self.problems.append((f"oauthbff.{check}", sentence, hint))

    @staticmethod
    def default(name: str) -> Any:
        found = next(f for f in fields(Conf) if f.name == name).default
        return None if found is MISSING else found

    def plain(self, name: str, kind: Any) -> Any:
        """The value of a simple setting, judged by its type alone."""
        key = name.upper()
        value = self.given.get(key, self.default(name))
        if value is None and self.default(name) is None:
            return None
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            hint = f"Write {KINDS[kind]}, not {value!r}."
            self.say("E002", f'OAUTHBFF["{key}"] must be {kind.__name__}.', hint)
            return self.default(name)
        if kind is int and value < (0 if name == "refresh_leeway" else 1):
            hint = f"Write how many, or leave it out; not {value!r}."
            self.say("E002", f'OAUTHBFF["{key}"] must be more than zero.', hint)
            return self.default(name)
        return value

    def strings(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        value = self.given.get(key, default)
        return self.sequence(f'OAUTHBFF["{key}"]', value)

    def sequence(self, where: str, value: Any) -> tuple[str, ...]:
        strings = isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)
        if not strings:
            hint = f'Write ["…"], also for one alone, not {value!r}.'
            self.say("E002", f"{where} must be a list of strings.", hint)
            return ()
        return tuple(value)

    def required(self, name: str) -> str:
        value = getattr(settings, name, None)
        if not isinstance(value, str) or not value:
            hint = "Set it to what the provider gave you when you registered this site there."
            self.say("E003", f"{name} is not set.", hint)
            return ""
        return value

    def unknown(self, given: Mapping[str, Any], known: Any, shape: str) -> None:
        names = list(known)
        for key in given:
            if key in names:
                continue
            close = difflib.get_close_matches(str(key), names, n=1, cutoff=0.5)
            hint = f"Did you mean {shape % close[0]}?" if close else f"Use {', '.join(names)}."
            self.say("E004", f"{shape % key} is not a setting.", hint)


def is_loopback(host: str | None) -> bool:
    """Whether the host names this very machine, so that plain http is safe."""
    if host is None:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def split_url(value: str) -> SplitResult | None:
    """The parts of a URL, None if it is none or has blanks in it."""
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        return None
    return None if re.search(r"[\x00-\x20\x7f]", value) else parts


def origin_of(parts: SplitResult) -> str:
    """Scheme, host and port as a browser writes them: no default port. RFC 6454 §6.2."""
    host = parts.netloc.rpartition("@")[2].lower()
    default = {"https": ":443", "http": ":80"}.get(parts.scheme, "")
    return f"{parts.scheme}://{host.removesuffix(default) if default else host}"
