"""The headers of the new request. Pure.

The rule: build a new request, never forward the old one. Headers pass by allow-list.
RFC 9110 §7.6.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

from oauthbff.conf import Upstream, never_passes

Header = Callable[[str], str | None]
Headers = list[tuple[str, str]]

REQUEST_HEADERS = (
    *("Accept", "Accept-Language", "Accept-Encoding"),
    *("Content-Type", "Content-Encoding", "Content-Language", "Content-Disposition"),
    *("Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since"),
    *("If-Unmodified-Since", "Last-Event-ID", "Prefer", "Idempotency-Key"),
    *("Traceparent", "Tracestate", "X-Request-ID"),
)

#: What a header's value may hold, in either direction.
VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def request_headers(
    header: Header,
    upstream: Upstream,
    *,
    authorization: str | None,
    via: str,
    forwarded: str,
    request_id: str = "",
) -> Headers:
    """Return the headers of the new request, in the order they are sent.

    What the browser's `Connection` header names is left out *before* ours are
    added, so that it can never remove the token or the Via.
    """
    named = {name.strip().lower() for name in (header("Connection") or "").split(",")}
    passed = {name.lower(): name for name in (*upstream.headers, *REQUEST_HEADERS)}
    result: Headers = [("Host", upstream.parts.netloc)]
    for lower, name in passed.items():
        value = header(name)
        if value is None or lower in named or never_passes(lower) or not VALUE.fullmatch(value):
            continue
        result.append((name, value))
    if "accept-encoding" not in {name.lower() for name, _ in result}:
        result.append(("Accept-Encoding", "identity"))
    if authorization is not None:
        result.append(("Authorization", authorization))
    if request_id:  # ours, so that both logs speak of the same call
        result = [pair for pair in result if pair[0].lower() != "x-request-id"]
        result.append(("X-Request-ID", request_id))
    result += [("Via", via), ("Forwarded", forwarded)]
    if "user-agent" not in {name.lower() for name, _ in result}:
        result.append(("User-Agent", "oauthbff"))
    return result


def via(base_url: str) -> str:
    """Our pseudonym, as `Via` has it. RFC 9110 §7.6.3."""
    return f"1.1 {base_url.partition('//')[2]}"


def forwarded(address: str | None, base_url: str) -> str:
    """Who asked, by our own knowledge: never by what the browser claims. RFC 7239."""
    try:
        # A zone (fe80::1%eth0) may hold any character, and means nothing to another host.
        ip = ipaddress.ip_address((address or "").partition("%")[0])
        node = f'"[{ip}]"' if ip.version == 6 else str(ip)
    except ValueError:
        node = "unknown"
    scheme, _, host = base_url.partition("://")
    return f'for={node};host="{host}";proto={scheme}'
