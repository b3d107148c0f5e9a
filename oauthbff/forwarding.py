"""What may pass between browser and upstream: paths, headers, status. Pure.

The rule: build a new request, never forward the old one. A path reaches the
upstream byte-identical or not at all; headers pass by allow-list in both
directions. RFC 9110 §7.6; RFC 10017 §6.1.3.6.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from urllib.parse import quote, unquote_to_bytes, urljoin, urlsplit

from .conf import NEVER_PASS, Upstream
from .errors import MethodRefused, PathRefused, UpstreamUnreachable

MAX_PATH = 8 * 1024
MAX_QUERY = 16 * 1024

Header = Callable[[str], str | None]
Headers = list[tuple[str, str]]

REQUEST_HEADERS = (
    *("Accept", "Accept-Language", "Accept-Encoding"),
    *("Content-Type", "Content-Encoding", "Content-Language", "Content-Disposition"),
    *("Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since"),
    *("If-Unmodified-Since", "Last-Event-ID", "Prefer", "Idempotency-Key"),
    *("Traceparent", "Tracestate", "X-Request-ID"),
)
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

_PATH = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*")
_QUERY = re.compile(r"[\x21-\x7e]*")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def split_target(target: str, prefix: str) -> tuple[str, str]:
    """Return (path below `prefix`, query with its `?` or empty) of a raw request target.

    Raises `PathRefused` when the target is not in origin form or does not begin
    with `prefix` to the letter: then server and proxy would read it differently.
    """
    path, mark, query = target.partition("?")
    if not path.startswith(prefix):
        raise PathRefused("the request target is not written as the route is")
    return path[len(prefix) :], mark + query


def requote(decoded: str) -> str:
    """Write a percent-decoded path as one that can mean nothing else.

    For servers that do not hand over the raw target. Raises `PathRefused` where
    decoding has lost what the browser meant.
    """
    if re.search(r"[%?#\\\x00-\x1f\x7f\ufffd]", decoded):
        raise PathRefused("this server hides the raw path, and the decoded one is ambiguous")
    return quote(decoded, safe="/!$&'()*+,;=:@-._~")


def check_path(path: str) -> None:
    """Refuse a path that two programs could read in two ways. `path` is raw, without query."""
    if len(path) > MAX_PATH:
        raise PathRefused("the path is too long")
    if not _PATH.fullmatch(path):
        raise PathRefused("the path has a character that must be percent-encoded")
    segments = path.split("/")
    if "" in segments[:-1]:
        raise PathRefused("the path has an empty segment")
    for segment in segments:
        _check_segment(segment)


def _check_segment(segment: str) -> None:
    """A segment stays one segment, however often somebody decodes it."""
    seen = segment
    for _ in range(3):
        raw = unquote_to_bytes(seen)
        try:
            decoded = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise PathRefused("the path is not UTF-8") from None
        if decoded.partition(";")[0] in (".", ".."):
            raise PathRefused("the path has a dot segment")
        if re.search(r"[/\\\x00-\x1f\x7f]", decoded):
            raise PathRefused("the path hides a separator or a control character")
        if decoded == seen:
            return
        seen = decoded


def check_query(query: str) -> None:
    if len(query) > MAX_QUERY:
        raise PathRefused("the query is too long")
    if query and not (_QUERY.fullmatch(query) and query.startswith("?")) or "#" in query:
        raise PathRefused("the query has a character that must be percent-encoded")


def check_method(upstream: Upstream, method: str) -> None:
    if method not in upstream.methods:
        raise MethodRefused(method, upstream.methods)


def upstream_target(upstream: Upstream, path: str, query: str) -> str:
    """Return the target to write into the request line: the configured prefix and the raw rest.

    Raises `PathRefused` for anything ambiguous or outside the route's `paths`.
    The host is not part of it: that comes from the configuration alone.
    """
    check_path(path)
    check_query(query)
    if upstream.paths and not any(pattern.fullmatch(path) for pattern in upstream.paths):
        raise PathRefused("the path is not among the route's paths")
    target = upstream.parts.path + path + query
    if not target.startswith(upstream.parts.path):  # pragma: no cover - a law, not a case
        raise PathRefused("the path left the upstream")
    return target


def request_headers(
    header: Header, upstream: Upstream, *, authorization: str | None, via: str, forwarded: str
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
        if value is None or lower in named or lower in NEVER_PASS or not _VALUE.fullmatch(value):
            continue
        result.append((name, value))
    if "accept-encoding" not in {name.lower() for name, _ in result}:
        result.append(("Accept-Encoding", "identity"))
    if authorization is not None:
        result.append(("Authorization", authorization))
    result += [("Via", via), ("Forwarded", forwarded)]
    if "user-agent" not in {name.lower() for name, _ in result}:
        result.append(("User-Agent", "oauthbff"))
    return result


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
    allowed = RESPONSE_HEADERS | {name.lower() for name in upstream.response_headers}
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
        if lower not in allowed or lower in named or not _VALUE.fullmatch(value):
            continue
        if lower in NEVER_PASS and lower != "content-length":
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
