"""One id per request: on each of our log lines, and sent to the upstream and the provider.

Made by us. With `OAUTHBFF["REQUEST_ID_HEADER"]` an id that your own proxy wrote is taken
instead, if it is well-formed; from a browser it would be a stranger's word in your log.
Knows no requests: `middleware` begins, whoever likes asks.
"""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar

#: What goes into one header and one log line unharmed, ids of all tracers included.
WELL_FORMED = re.compile(r"[A-Za-z0-9._:-]{1,64}")
#: W3C Trace Context §3.2: version, trace id, parent, flags.
TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")

_current: ContextVar[str] = ContextVar("oauthbff_request_id", default="")


def begin(offered: str | None = None) -> str:
    """Give the request that begins here its id: `offered` if that is one, else a new one."""
    found = TRACEPARENT.fullmatch(offered or "")
    if found:
        chosen = found[1]
    elif offered and WELL_FORMED.fullmatch(offered):
        chosen = offered
    else:
        chosen = secrets.token_hex(16)
    _current.set(chosen)
    return chosen


def current() -> str:
    """The id of the request under way; empty outside one."""
    return _current.get()
