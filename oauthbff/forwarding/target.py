"""Which upstream is meant, and what goes into the request line. Pure.

A path reaches the upstream byte-identical or not at all. RFC 9110 §7.7; RFC 10017 §6.1.3.6.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote_to_bytes

from oauthbff.conf import Upstream
from oauthbff.errors import MethodRefused, NoSuchUpstream, PathRefused, SocketRefused

MAX_PATH = 8 * 1024
MAX_QUERY = 16 * 1024

#: Paths and queries that can mean one thing only, in the language that Python, PCRE and RE2 share:
#: for a proxy in front. `check_path` and `check_query` pass each of them, and more beside them.
_PLAIN = r"[A-Za-z0-9_~!$&'()*+,=:@-]"
PLAIN_SEGMENT = rf"(?:[.]*{_PLAIN}(?:{_PLAIN}|[.])*|[.][.][.]+)"  # anything but . and ..
PLAIN_QUERY = r"(?:[?][!-\x22$-~]*)?"
PLAIN_REST = f"(?:{PLAIN_SEGMENT}/)*(?:{PLAIN_SEGMENT})?{PLAIN_QUERY}"
#: The same for an address that an upstream tells (`Location`): encoded characters may be in it,
#: but none that separates, controls or is a dot, and a fragment behind it.
_CODED = "%(?:2[0-46-9A-Da-d]|5[0-9ABD-Fabd-f]|7[0-9A-Ea-e]|[34689A-Fa-f][0-9A-Fa-f])"
_TOLD = rf"(?:[.]*(?:{_PLAIN}|{_CODED})(?:{_PLAIN}|[.]|{_CODED})*|[.][.][.]+)"
TOLD_REST = f"(?:{_TOLD}/)*(?:{_TOLD})?{PLAIN_QUERY}(?:#[!-~]*)?"

_PATH = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*")
_QUERY = re.compile(r"[\x21-\x7e]*")


def embeds(upstreams: Mapping[str, Upstream], rest: str) -> tuple[str, ...]:
    """Return the route's `embed`, for the check that comes before the route is even looked for."""
    route = upstreams.get(rest.partition("/")[0])
    return route.embed if route else ()


def find_route(upstreams: Mapping[str, Upstream], rest: str) -> Upstream:
    """Return the upstream that `<upstream>/<path>` names, to the letter. RFC 10017 §6.1.3.6."""
    name, slash, _ = rest.partition("/")
    route = upstreams.get(name)
    if route is None or not slash:
        raise NoSuchUpstream(f"no upstream is called {name[:40]!r}")
    return route


def check_method(upstream: Upstream, method: str) -> None:
    if method not in upstream.methods:
        raise MethodRefused(method, upstream.methods)


def check_socket(upstream: Upstream) -> None:
    """Refuse a WebSocket but where the route lets it, and no rule of the site's own judges it."""
    if not upstream.websocket or upstream.permissions or upstream.throttles:
        raise SocketRefused("the route lets no WebSocket pass")


def raw_target(
    prefix: str, query: str, *, asgi_path: bytes | None, wsgi_target: str | None, decoded: str
) -> tuple[str, str]:
    """Return (path below `prefix`, query with its `?` or empty) as the browser wrote them.

    ASGI servers hand over the raw path, gunicorn and uWSGI the raw target. Where a server
    does neither, the `decoded` path is written anew, or refused if it is ambiguous.
    """
    if asgi_path is not None:
        path = asgi_path.decode("latin-1").partition("?")[0]
        return split_target(path + (f"?{query}" if query else ""), prefix)
    if wsgi_target is not None:
        return split_target(wsgi_target, prefix)
    if not decoded.startswith(prefix):
        raise PathRefused("the path is not under its route")
    return requote(decoded[len(prefix) :]), f"?{query}" if query else ""


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
        if "%" in segment or segment.startswith("."):  # any other is what it looks like
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


def upstream_target(upstream: Upstream, path: str, query: str) -> str:
    """Return the target to write into the request line: the configured prefix and the raw rest.

    Raises `PathRefused` for anything ambiguous or outside the route's `paths`.
    The host is not part of it: that comes from the configuration alone.
    """
    check_path(path)
    check_query(query)
    sent = upstream.parts.path + path
    if upstream.paths and not any(
        pattern.fullmatch(sent if pattern.pattern.startswith("^/") else path)
        for pattern in upstream.paths
    ):
        raise PathRefused("the path is not among the route's paths")
    target = sent + query
    if not target.startswith(upstream.parts.path):  # pragma: no cover - a law, not a case
        raise PathRefused("the path left the upstream")
    return target
