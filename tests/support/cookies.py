"""The cookie jar of a browser: which Set-Cookie is accepted, which cookie goes where.

RFC 6265bis as Chromium applies it, with its two well-known peculiarities: loopback hosts count
as secure over plain http, and ports do not separate cookies. Nothing here does I/O.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

LONGEST_COOKIE = 4096  # bytes of name and value; a longer one is dropped without a word
LONGEST_ATTRIBUTE = 1024
SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")


@dataclass(frozen=True, kw_only=True)
class Cookie:
    name: str
    value: str
    host: str
    path: str
    secure: bool
    http_only: bool
    same_site: str  # "Strict", "Lax" or "None"; Lax where the server said nothing
    expires: float | None  # seconds since 1970; None: until the browser closes
    attributes: tuple[str, ...]  # as sent, for assertions

    def __str__(self) -> str:
        return f"{self.name}={self.value}"


@dataclass(frozen=True, kw_only=True)
class Trip:
    """A request on its way: what decides which cookies it carries."""

    url: str
    method: str = "GET"
    navigation: bool = False  # a top-level one; else a fetch, an image, a frame
    # URLs that led here: the page that began it, and every redirect passed through. An address
    # that was typed has no page. One foreign site among them makes the request cross-site.
    through: tuple[str, ...] = ()

    @property
    def cross_site(self) -> bool:
        return any(site_of(url) != site_of(self.url) for url in self.through)


def site_of(url: str) -> tuple[str, str]:
    """Return scheme and registrable domain. An IP address and localhost are their own."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if not is_ip(host):
        host = ".".join(host.split(".")[-2:])
    return parts.scheme, host


def origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def is_ip(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def is_trustworthy(url: str) -> bool:
    """Tell whether a browser takes Secure cookies from here and sends them there."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    loopback = host in ("localhost", "::1") or host.endswith(".localhost")
    return parts.scheme == "https" or loopback or (is_ip(host) and host.startswith("127."))


class Jar:
    def __init__(self) -> None:
        self._cookies: dict[tuple[str, str, str], Cookie] = {}
        self.refused: list[str] = []  # each Set-Cookie that was not accepted, with the reason

    # ------------------------------------------------------------------ what the tests ask

    def __iter__(self) -> Iterator[str]:
        """The names, as of a dict."""
        return iter([cookie.name for cookie in self.all()])

    def __len__(self) -> int:
        return len(self.all())

    def __getitem__(self, name: str) -> Cookie:
        cookie = self.get(name)
        if cookie is None:
            raise KeyError(f"{name}; there are {', '.join(self) or 'none'}")
        return cookie

    def all(self) -> list[Cookie]:
        self._drop_expired()
        return list(self._cookies.values())

    def get(self, name: str, *, host: str | None = None) -> Cookie | None:
        for cookie in self.all():
            if cookie.name == name and host in (None, cookie.host):
                return cookie
        return None

    def of(self, host: str) -> dict[str, str]:
        return {cookie.name: cookie.value for cookie in self.all() if cookie.host == host}

    def delete(self, name: str) -> None:
        for key, cookie in list(self._cookies.items()):
            if cookie.name == name:
                del self._cookies[key]

    def clear(self) -> None:
        self._cookies.clear()

    def plant(self, name: str, value: str, *, host: str = "localhost", path: str = "/") -> None:
        """Put a cookie there as an attacker on a sibling port, or a thief, would: no rules."""
        self._cookies[host, path, name] = Cookie(
            name=name,
            value=value,
            host=host,
            path=path,
            secure=False,
            http_only=False,
            same_site="Lax",
            expires=None,
            attributes=(),
        )

    # ------------------------------------------------------------------------- the rules

    def header(self, trip: Trip) -> str:
        """Return the Cookie header of a request, empty if none goes along."""
        url = urlsplit(trip.url)
        going = [
            cookie
            for cookie in self.all()
            if cookie.host == url.hostname
            and _path_matches(url.path or "/", cookie.path)
            and (not cookie.secure or is_trustworthy(trip.url))
            and _same_site_allows(cookie.same_site, trip)
        ]
        going.sort(key=lambda cookie: -len(cookie.path))
        return "; ".join(map(str, going))

    def take(self, line: str, trip: Trip) -> None:
        """Judge one Set-Cookie line of the answer to `trip` and keep it, or refuse it."""
        cookie, max_age, wrong = _parse(line, trip)
        if wrong:
            self.refused.append(f"{line}: {wrong}")
            return
        key = (cookie.host, cookie.path, cookie.name)
        if max_age is not None and max_age <= 0:
            self._cookies.pop(key, None)
        else:
            self._cookies[key] = cookie
            self._drop_expired()

    def _drop_expired(self) -> None:
        now = time.time()
        for key, cookie in list(self._cookies.items()):
            if cookie.expires is not None and cookie.expires <= now:
                self._cookies.pop(key, None)


def _same_site_allows(same_site: str, trip: Trip) -> bool:
    if not trip.cross_site:
        return True
    if same_site == "Lax":
        return trip.navigation and trip.method in SAFE_METHODS
    # A third-party fetch carries no cookie at all any more, whatever its SameSite.
    return same_site == "None" and trip.navigation


def _parse(line: str, trip: Trip) -> tuple[Cookie, float | None, str]:
    """Return the cookie, its Max-Age and why a browser refuses it (empty: it does not)."""
    url = urlsplit(trip.url)
    first, *rest = line.split(";")
    name, equals, value = (part.strip() for part in first.partition("="))
    if not equals:
        name, value = "", name
    attributes = {}
    for part in rest:
        key, _, said = (piece.strip() for piece in part.partition("="))
        if len(said) <= LONGEST_ATTRIBUTE:
            attributes[key.lower()] = said

    path = attributes.get("path", "")
    if not path.startswith("/"):
        path = url.path.rpartition("/")[0] or "/"
    max_age, expires = _lifetime(attributes)
    same_site = attributes.get("samesite", "").capitalize()
    cookie = Cookie(
        name=name,
        value=value,
        host=url.hostname or "",
        path=path,
        secure="secure" in attributes,
        http_only="httponly" in attributes,
        same_site=same_site if same_site in ("Strict", "Lax", "None") else "Lax",
        expires=expires,
        attributes=tuple(part.strip() for part in rest),
    )
    return cookie, max_age, _why_refused(cookie, attributes, trip)


def _lifetime(attributes: dict[str, str]) -> tuple[float | None, float | None]:
    """Return seconds to live and the moment of death. Max-Age wins over Expires."""
    try:
        max_age = float(int(attributes["max-age"]))
        return max_age, time.time() + max_age
    except (KeyError, ValueError):
        pass
    try:
        expires = parsedate_to_datetime(attributes["expires"].replace("-", " ")).timestamp()
        return expires - time.time(), expires
    except (KeyError, ValueError):
        return None, None


def _why_refused(cookie: Cookie, attributes: dict[str, str], trip: Trip) -> str:
    prefix = cookie.name.lower()
    domain = attributes.get("domain", "").lstrip(".").lower()
    host_bound = cookie.secure and not domain and attributes.get("path") == "/"
    rules = {
        "it is empty": not cookie.name and not cookie.value,
        f"it is longer than {LONGEST_COOKIE} bytes": len(cookie.name.encode())
        + len(cookie.value.encode())
        > LONGEST_COOKIE,
        "it has a control character": any(ord(c) < 32 or ord(c) == 127 for c in str(cookie)),
        "Secure from an insecure origin": cookie.secure and not is_trustworthy(trip.url),
        "SameSite=None without Secure": cookie.same_site == "None" and not cookie.secure,
        "its Domain is not ours": bool(domain) and domain != cookie.host,
        "__Secure- without Secure": prefix.startswith("__secure-") and not cookie.secure,
        "__Host- without Secure, with Domain, or without Path=/": prefix.startswith("__host-")
        and not host_bound,
        "Http- without HttpOnly and Secure": prefix.startswith(("__http-", "__host-http-"))
        and not (cookie.http_only and cookie.secure),
        "SameSite on a cross-site fetch": cookie.same_site != "None"
        and trip.cross_site
        and not trip.navigation,
    }
    return next((reason for reason, broken in rules.items() if broken), "")


def _path_matches(path: str, cookie_path: str) -> bool:
    if path == cookie_path:
        return True
    return path.startswith(cookie_path) and (
        cookie_path.endswith("/") or path[len(cookie_path)] == "/"
    )
