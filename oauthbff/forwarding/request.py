"""The headers of the new request. Pure.

The rule: build a new request, never forward the old one. Headers pass by allow-list.
RFC 9110 §7.6.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from functools import cache, lru_cache

from oauthbff.conf import Upstream, never_passes
from oauthbff.errors import UpstreamUnreachable

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
    left_out = {name.strip().lower() for name in (header("Connection") or "").split(",")}
    if request_id:
        left_out.add("x-request-id")  # ours instead, so that both logs speak of the same call
    passed: dict[str, tuple[str, str]] = {}
    for lower, name in _may_pass(upstream.headers):
        value = header(name)
        if value is not None and lower not in left_out and VALUE.fullmatch(value):
            passed[lower] = (name, value)
    result: Headers = [("Host", upstream.parts.netloc), *passed.values()]
    if "accept-encoding" not in passed:
        result.append(("Accept-Encoding", "identity"))
    if authorization is not None:
        result.append(("Authorization", authorization))
    if request_id:
        result.append(("X-Request-ID", request_id))
    result += [("Via", via), ("Forwarded", forwarded)]
    if "user-agent" not in passed:
        result.append(("User-Agent", "oauthbff"))
    return result


def request_head(
    method: str, target: str, headers: Headers, *, has_body: bool, length: int | None
) -> bytes:
    """Write the head of the new request; a body without a length comes in chunks.

    Every part was judged where it came from. Should one hold a line of its own all the
    same, nothing is sent: that would be a second request. RFC 9112 §11.2.
    """
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    if has_body:
        lines.append(
            "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        )
    head = "\r\n".join([*lines, "", ""])
    if not head.count("\r") == head.count("\n") == len(lines) + 1 or "\0" in head:
        raise UpstreamUnreachable("the request cannot be written")
    return head.encode("latin-1")


@cache
def _may_pass(further: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """The headers that pass on a route, in lower case and as they are sent, in their order."""
    names = {name.lower(): name for name in (*further, *REQUEST_HEADERS)}
    return tuple((lower, name) for lower, name in names.items() if not never_passes(lower))


def via(base_url: str) -> str:
    """Our pseudonym, as `Via` has it. RFC 9110 §7.6.3."""
    return f"1.1 {base_url.partition('//')[2]}"


@lru_cache(maxsize=1024)
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
