"""What of an upstream's answer reaches the browser. Pure.

Headers pass by allow-list; a redirect passes rewritten, or not at all.
RFC 9110 §7.6; RFC 9111 §3.5.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from urllib.parse import urljoin, urlsplit

from oauthbff.conf import Upstream, never_passes
from oauthbff.errors import PathRefused, UpstreamUnreachable

from .request import VALUE, Headers
from .target import check_path

RESPONSE_HEADERS = frozenset(
    """
    content-type content-length content-encoding content-language content-disposition
    content-range accept-ranges etag last-modified retry-after allow accept-patch
    accept-post link vary warning preference-applied deprecation sunset
    content-digest repr-digest ratelimit ratelimit-policy ratelimit-limit
    ratelimit-remaining ratelimit-reset x-ratelimit-limit x-ratelimit-remaining
    x-ratelimit-reset x-total-count x-request-id
    """.split()
)
BODYLESS = frozenset({204, 205, 304})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: A Bearer challenge, alone or among others, whose `error` is invalid_token. RFC 9110 §11.6.1.
INVALID_TOKEN = re.compile(
    r"""(?ix) (?:^|,) \s* Bearer \s+ (?: [a-z_]+ \s*=\s* (?:"[^"]*"|[^\s,"]+) \s*,\s* )*
    error \s*=\s* "?invalid_token"? \s* (?:,|$)"""
)


def refuses_token(status: int, headers: Iterable[tuple[str, str]]) -> bool:
    """Whether an answer says that it is the token that it does not like. RFC 6750 §3.1."""
    challenges = [value for name, value in headers if name.lower() == "www-authenticate"]
    return status == 401 and any(INVALID_TOKEN.search(challenge) for challenge in challenges)


def is_event_stream(headers: Iterable[tuple[str, str]]) -> bool:
    """Whether an answer may last for hours. WHATWG HTML, server-sent events."""
    return any(
        name.lower() == "content-type" and value.lower().startswith("text/event-stream")
        for name, value in headers
    )


def response_headers(
    status: int,
    incoming: Iterable[tuple[str, str]],
    upstream: Upstream,
    mount: str,
    target: str = "",
) -> Headers:
    """Return the headers that reach the browser: the allowed ones, then ours.

    `mount` is the path under which this upstream is served, `target` what was asked
    of it, against which a relative `Location` is read. Raises
    `UpstreamUnreachable` for a redirect that leaves the upstream: it is neither
    followed nor passed on.
    """
    incoming = list(incoming)
    named = {
        name.strip().lower()
        for key, value in incoming
        if key.lower() == "connection"
        for name in value.split(",")
    }
    allowed = _may_pass(upstream.response_headers)
    merged: dict[str, tuple[str, str]] = {}
    location: str | None = None
    caching: list[str] = []
    for name, value in incoming:
        lower = name.lower()
        if lower == "location":
            location = value
            continue
        if lower == "cache-control":
            caching.append(value)
        if lower not in allowed or lower in named or not VALUE.fullmatch(value):
            continue
        if lower == "content-length" and (status in BODYLESS or not re.fullmatch("[0-9]+", value)):
            continue
        if lower in merged and lower not in ("content-length", "content-type", "etag"):
            value = f"{merged[lower][1]}, {value}"
        merged[lower] = (name.title() if lower == "content-length" else name, value)
    result = list(merged.values())
    if location is not None:
        rewritten = rewrite_location(location, upstream, mount, target)
        if rewritten is not None:
            result.append(("Location", rewritten))
        elif status in REDIRECTS:
            raise UpstreamUnreachable("the upstream redirects to somewhere else")
    if upstream.cache:
        result = [pair for pair in result if pair[0].lower() != "vary"]
        result.append(("Vary", _vary(merged.get("vary"))))
    result += [
        ("Cache-Control", _private(caching) if upstream.cache else "private, no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", "default-src 'none'; sandbox"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("X-Accel-Buffering", "no"),
    ]
    return result


@cache
def _may_pass(further: tuple[str, ...]) -> frozenset[str]:
    """The headers that reach the browser on a route, in lower case."""
    named = {name.lower() for name in further}
    return RESPONSE_HEADERS | {name for name in named if not never_passes(name)}


def rewrite_location(location: str, upstream: Upstream, mount: str, target: str = "") -> str | None:
    """Return where the SPA finds what the upstream points to, None when that is elsewhere."""
    if not re.fullmatch(r"[\x21-\x7e]+", location) or "\\" in location:
        return None
    try:
        found = urlsplit(urljoin(urljoin(upstream.url, target), location))
        same = (found.scheme, found.hostname, found.port or _port(found.scheme)) == (
            upstream.parts.scheme,
            upstream.parts.hostname,
            upstream.parts.port or _port(upstream.parts.scheme),
        )
    except ValueError:
        return None
    if not same or found.username is not None or not found.path.startswith(upstream.parts.path):
        return None
    path = found.path[len(upstream.parts.path) :]
    try:
        check_path(path)
    except PathRefused:
        return None
    query = f"?{found.query}" if found.query else ""
    fragment = f"#{found.fragment}" if found.fragment else ""
    return mount + path + query + fragment


def _port(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def _private(lines: list[str]) -> str:
    """The upstream's caching wish, for this browser only. RFC 9111 §5.2.2."""
    if not lines:
        return "private, no-store"
    wishes = [part.strip() for part in ",".join(lines).split(",") if part.strip()]
    shared = ("public", "private", "s-maxage", "proxy-revalidate")
    kept = [wish for wish in wishes if not wish.lower().startswith(shared)]
    return ", ".join(["private", *kept])


def _vary(given: tuple[str, str] | None) -> str:
    names = [] if given is None else [name.strip() for name in given[1].split(",")]
    return ", ".join(dict.fromkeys([*names, "Cookie"]))
