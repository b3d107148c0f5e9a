"""What every configuration of a proxy in front has to say, in no proxy's language yet. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.template import Context, Engine

from oauthbff.conf import NEVER_PASS, Conf, Upstream, never_passes
from oauthbff.errors import (
    BFFError,
    BodyTooLarge,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from oauthbff.forwarding import REQUEST_HEADERS

#: What a proxy without an allow-list for answers must take out, beside what never passes.
ACTS_ON_BROWSERS = """
    Accept-CH Age CDN-Cache-Control Cache-Control Cloudflare-CDN-Cache-Control Content-Location
    Content-Security-Policy-Report-Only Critical-CH Cross-Origin-Embedder-Policy
    Cross-Origin-Opener-Policy Cross-Origin-Resource-Policy Expires Location Origin-Trial P3P
    Permissions-Policy Pragma Referrer-Policy Server SourceMap Supports-Loading-Mode
    Surrogate-Control Timing-Allow-Origin X-Content-Type-Options X-Frame-Options
    X-Permitted-Cross-Domain-Policies X-Powered-By X-Runtime X-SourceMap
    """.split()
#: Of those that never pass, the ones that only a request has, or that the proxy itself writes.
NOT_IN_ANSWERS = frozenset("host connection content-length transfer-encoding expect te".split())
#: What the handshake of a WebSocket has beside `Connection` and `Upgrade`. RFC 6455 §4.1.
SOCKET_HEADERS = (
    *("Sec-WebSocket-Key", "Sec-WebSocket-Version"),
    *("Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"),
)
#: A name that any proxy's configuration can spell.
SPELLABLE = re.compile(r"[A-Za-z0-9-]+")
#: Every status that a permission of a site might refuse with.
STATUSES = (
    *(400, 401, 402, 403, 404, 405, 406, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 422),
    *(423, 424, 425, 426, 428, 429, 431, 451, 500, 501, 502, 503, 504),
)


@dataclass(frozen=True, kw_only=True)
class Front:
    """Where the proxy in front stands, by the operator's word."""

    #: Where Django listens: `127.0.0.1:8000` or `unix:/run/site.sock`, one or several.
    django: tuple[str, ...] = ("127.0.0.1:8000",)
    #: Where the lane listens, likewise; empty: there is none.
    lane: tuple[str, ...] = ()
    #: Upstreams that the lane carries, beside those with WebSockets.
    lane_routes: frozenset[str] = frozenset()
    #: What the session cookie is called.
    cookie: str = "sessionid"
    #: Where the proxy listens; empty: what BASE_URL says.
    listen: tuple[str, ...] = ()
    certificate: str = ""
    certificate_key: str = ""
    #: A folder in memory (tmpfs) for what it remembers and, in a whole configuration, all else.
    state: str = "/run/oauthbff-edge"
    #: Empty: where the proxy's own logs are.
    access_log: str = ""
    error_log: str = ""
    #: A file of the site's own words for the same server: static files, headers. Empty: none.
    include: str = ""
    #: The roots that upstreams' certificates are checked against.
    ca: str = "/etc/ssl/certs/ca-certificates.crt"
    #: Whether connections to upstreams are kept for the next call.
    keepalive: bool = True
    #: Not a part for the machine's own proxy but all of it, to be run in the foreground.
    whole: bool = False
    #: For a whole one that root runs: whom its workers are.
    user: str = ""
    workers: str = "auto"

    def is_lanes(self, route: Upstream) -> bool:
        """Whether a route is handed on to the lane, which cuts what is open when a grant ends."""
        return bool(self.lane) and (route.websocket or route.name in self.lane_routes)


@dataclass(frozen=True)
class Refusal:
    """One that the proxy itself says, in the words of ours."""

    name: str
    status: int
    code: str
    body: str


def refusal(name: str, error: type[BFFError]) -> Refusal:
    return _refusal(name, error.status, error.code, error.title)


def _refusal(name: str, status: int, code: str, title: str) -> Refusal:
    body = {"type": "about:blank", "title": title, "status": status, "code": code}
    return Refusal(name, status, code, json.dumps(body))


#: Django is down, or has not spoken as a door of ours does.
UNAVAILABLE = _refusal(
    "unavailable", 503, "bff_unavailable", "This site is not available just now."
)
OWN_REFUSALS = (
    refusal("too_large", BodyTooLarge),
    refusal("unreachable", UpstreamUnreachable),
    refusal("timeout", UpstreamTimeout),
)


def request_headers(route: Upstream) -> list[str]:
    """Which of the browser's headers pass to this upstream, beside those that we write."""
    named = {name.lower(): name for name in (*route.headers, *REQUEST_HEADERS)}
    named.pop("x-request-id", None)  # the proxy writes its own
    named.pop("accept-encoding", None)  # has a default
    return [
        name for key, name in named.items() if SPELLABLE.fullmatch(name) and not never_passes(key)
    ]


def hidden_headers(route: Upstream, upstreams: Mapping[str, Upstream]) -> list[str]:
    """What of an answer is taken out, by a proxy that cannot do it by an allow-list."""
    allowed = {name.lower() for name in route.response_headers}
    elsewhere = {name for one in upstreams.values() for name in one.response_headers}
    names = {name.lower(): name for name in (*ACTS_ON_BROWSERS, *NEVER_PASS, *elsewhere)}
    if route.cache:
        names["vary"] = "Vary"
    drop = NOT_IN_ANSWERS | (allowed - NEVER_PASS)
    if route.websocket:
        drop |= {"upgrade"}
    return sorted(
        (name for key, name in names.items() if key not in drop and SPELLABLE.fullmatch(name)),
        key=str.lower,
    )


def seconds(value: float) -> str:
    """A time as both proxies read it."""
    return f"{round(value * 1000)}ms"


def common(front: Front, conf: Conf, mount: str) -> dict[str, Any]:
    """What both languages need. `mount` is the path of `api/`."""
    base = urlsplit(conf.base_url)
    return {
        "host": base.hostname,
        "pseudonym": base.netloc,
        "scheme": base.scheme,
        "tls": base.scheme == "https",
        "secret": conf.edge_secret,
        "cookie_name": front.cookie,
        "authorize": mount.removesuffix("api/") + "authorize/",
        "header_name": conf.header,
        "header_variable": variable(conf.header),
        "request_id": "X-Request-ID",
        "django": front.django,
        "lane": front.lane,
        "lanes": [
            {"name": route.name, "mount": f"{mount}{route.name}/", "bare": f"{mount}{route.name}"}
            for route in conf.upstreams.values()
            if front.is_lanes(route)
        ],
        "keepalive": front.keepalive,
        "state": front.state,
        "include": front.include,
        "ca": front.ca,
        "whole": front.whole,
        "user": front.user,
        "workers": front.workers,
        "own": OWN_REFUSALS,
        "unavailable": UNAVAILABLE,
        "statuses": STATUSES,
        "any_cache": any(route.cache for route in conf.upstreams.values()),
        "largest_body": max([route.max_body for route in conf.upstreams.values()] + [1]),
    }


def variable(header: str) -> str:
    """A header's name as part of a variable's."""
    return header.lower().replace("-", "_")


def fill(template: str, context: Mapping[str, Any]) -> str:
    engine = Engine(autoescape=False)
    return str(engine.from_string(template).render(Context(dict(context), autoescape=False)))
