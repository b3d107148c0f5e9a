"""Calling upstreams without a thread each. Beside `upstream` the only room that talks to them.

The rules are `upstream`'s: no redirects, no cookies, no proxies from the environment, no decoding,
no repeating of what may have been acted upon.

    lines      calls, over connections that are kept
    dialing    WebSockets
"""

from __future__ import annotations

from .dialing import Dialed, dial, sendable
from .lines import NEVER, Line, NoAnswer, pool

__all__ = ["NEVER", "Dialed", "Line", "NoAnswer", "dial", "pool", "sendable"]
