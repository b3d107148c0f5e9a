"""The proxy in front: what it shows, and how long it may remember. E054, E055."""

from __future__ import annotations

import re
from collections.abc import Mapping

from django.conf import settings

from .reading import Reading

#: What can be written unquoted into any proxy's configuration and into a header.
EDGE_SECRET = re.compile(r"[A-Za-z0-9._~+/=-]{32,200}")
LONGEST_REMEMBER = 60


def secret(read: Reading) -> str | None:
    value = read.given.get("EDGE_SECRET")
    if value is None:
        return None
    hint = "Generate one: manage.py oauthbff_key"
    if not isinstance(value, str) or not EDGE_SECRET.fullmatch(value):
        rule = "At least 32 of letters, digits and ._~+/=-. " + hint
        read.say("E054", 'OAUTHBFF["EDGE_SECRET"] is not a secret that a proxy can show.', rule)
    elif len(set(value)) < 12:
        read.say("E054", 'OAUTHBFF["EDGE_SECRET"] is not random.', hint)
    elif value in _other_secrets(read):
        rule = "The proxy's files hold it: it must open nothing else. " + hint
        read.say("E054", 'OAUTHBFF["EDGE_SECRET"] is another secret as well.', rule)
    else:
        return value
    return None


def _other_secrets(read: Reading) -> list[object]:
    keys = read.given.get("KEYS")
    client = getattr(settings, "OIDC_RP_CLIENT_SECRET", None)
    return [settings.SECRET_KEY, client, *(keys.values() if isinstance(keys, Mapping) else ())]


def remember(read: Reading) -> int:
    value = read.given.get("EDGE_REMEMBER", read.default("edge_remember"))
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not 0 <= value <= LONGEST_REMEMBER:
        hint = f"Whole seconds, 0 to {LONGEST_REMEMBER}; an ended grant is honoured for so long."
        read.say("E055", f'OAUTHBFF["EDGE_REMEMBER"] is {value!r}.', hint)
        return int(read.default("edge_remember"))
    return int(value)
