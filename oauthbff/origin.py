"""Was this call made by our own page, and does an address stay on our own site? Pure.

A foreign page can make a browser send our cookie, but it can neither set a
header of its own without a preflight, which we refuse, nor forge the headers
that the browser writes itself. Every fetched door asks here first, GET
included, before the session is looked up. RFC 10017 §6.1.3.3.2; W3C Fetch
Metadata.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote

from django.utils.http import url_has_allowed_host_and_scheme

from .errors import CSRFFailed

#: Fetch Metadata values a browser may send; anything else is treated as not sent.
SITES = frozenset({"same-origin", "same-site", "cross-site", "none"})
SAFE = ("GET", "HEAD")

Header = Callable[[str], str | None]


def check_fetch(
    method: str, header: Header, *, name: str, base_url: str, embed: tuple[str, ...] = ()
) -> None:
    """Pass a call from our own page; raise `CSRFFailed` for any other.

    `header` looks a request header up by its name. `embed` lists the
    destinations (`image`) for which the browser's own word is enough on GET.
    """
    site = header("Sec-Fetch-Site")
    if site not in SITES:
        site = None
    origin = header("Origin")
    elsewhere = f"Calls are for pages of {base_url} alone: open the page there."
    if origin is not None and origin != base_url:
        raise CSRFFailed(f"the origin is {origin[:100]!r}, ours is {base_url}", elsewhere)
    if site is not None and site != "same-origin":
        raise CSRFFailed(f"the browser says the call is {site}", elsewhere)
    if header(name) == "1":
        return
    if (
        site == "same-origin"
        and method in SAFE
        and header("Sec-Fetch-Dest") in embed
        and header("Sec-Fetch-Dest") is not None
    ):
        return
    advice = f"Send the header {name}: 1 with every call, GET included; bff.js does."
    raise CSRFFailed(f"the header {name}: 1 is missing", advice)


def check_socket(header: Header, *, base_url: str) -> None:
    """Pass a WebSocket handshake of our own page; raise `CSRFFailed` for any other.

    It has no preflight and can carry no header of ours: the browser's word must be there,
    and be the right one. RFC 6455 §10.2.
    """
    given = header("Origin")
    if given != base_url:
        raise CSRFFailed(f"the origin is {(given or 'missing')[:100]!r}, ours is {base_url}")
    site, mode = header("Sec-Fetch-Site"), header("Sec-Fetch-Mode")
    if site in SITES and site != "same-origin":
        raise CSRFFailed(f"the browser says the handshake is {site}")
    if mode is not None and mode != "websocket":
        raise CSRFFailed("the browser says that this is no WebSocket")


def is_handshake(method: str, header: Header) -> bool:
    """Whether a WebSocket is to be opened: no `fetch` can send these headers. RFC 6455 §4.1."""
    return (
        method == "GET"
        and (header("Upgrade") or "").strip().lower() == "websocket"
        and header("Sec-WebSocket-Version") is not None
    )


def is_navigation(header: Header) -> bool:
    """Whether the browser is moving its window here; True for clients without Fetch Metadata."""
    return (header("Sec-Fetch-Mode") or "navigate") == "navigate" and (
        header("Sec-Fetch-Dest") or "document"
    ) == "document"


def came_from_elsewhere(header: Header) -> bool:
    """Whether another site sent the browser here, as opposed to us or the address bar."""
    return header("Sec-Fetch-Site") in ("cross-site", "same-site")


def stays_here(address: str, *, host: str, closed: str) -> bool:
    """Whether a `return_to` is an absolute path of our own site, however often it is decoded.

    `closed` is the mount point of our doors: nobody is sent back into them. Django's
    `url_has_allowed_host_and_scheme` is necessary and not sufficient: it lets
    through what only the next decoder turns into another host.
    """
    if len(address) > 2048:
        return False
    seen = address
    for _ in range(3):
        if not _stays_here_as_written(seen, host) or seen.startswith(closed):
            return False
        seen = unquote(re.split(r"[?#]", seen, maxsplit=1)[0]).replace(" ", "%20")
    return True


def _stays_here_as_written(address: str, host: str) -> bool:
    if not re.match(r"/(?![/\\])", address) or "\\" in address:
        return False
    if re.search(r"[\x00-\x20\x7f-\xa0\u2028\u2029\ufffd]|%(?![0-9A-Fa-f]{2})", address):
        return False
    path = re.split(r"[?#]", address, maxsplit=1)[0]
    segments = path.split("/")[1:]
    if "" in segments[:-1] or "." in segments or ".." in segments:
        return False
    return url_has_allowed_host_and_scheme(address, {host}, require_https=True)
