"""nginx.conf, or the part of it that belongs into http {}. Pure."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

from oauthbff.conf import Conf, Upstream
from oauthbff.forwarding import PLAIN_QUERY, PLAIN_REST, PLAIN_SEGMENT, TOLD_REST

from .words import (
    SOCKET_HEADERS,
    Front,
    common,
    fill,
    hidden_headers,
    request_headers,
    seconds,
    variable,
)

#: How its own test is called; `{file}` is a whole configuration.
CHECK = ("nginx", "-t", "-q", "-c", "{file}")
LOGS = ("/var/log/nginx/oauthbff.log", "/var/log/nginx/oauthbff-error.log")


def write(front: Front, conf: Conf, mount: str) -> str:
    """The configuration for these settings. `mount` is the path of `api/`."""
    own = [route for route in conf.upstreams.values() if not front.is_lanes(route)]
    routes = [_route(number, route, conf, mount) for number, route in enumerate(own, 1)]
    names = {name.lower(): name for route in own for name in request_headers(route)}
    names["accept-encoding"] = "Accept-Encoding"
    relative = PLAIN_SEGMENT.replace(":@", "@")  # with a colon it might be a scheme
    plain = f"^(?=.{{1,2000}}$){_escape(mount)}[a-z0-9_-]+/{PLAIN_REST}$"
    context = common(front, conf, mount) | {
        "listens": front.listen or _listens(conf),
        "certificate": front.certificate or "/etc/nginx/tls/fullchain.pem",
        "certificate_key": front.certificate_key or "/etc/nginx/tls/privkey.pem",
        "access_log": front.access_log or LOGS[0],
        "error_log": front.error_log or LOGS[1],
        "ticks": conf.edge_remember == 1,
        "mount_pattern": _escape(mount),
        "plain_target": plain,
        "plain_rest": TOLD_REST,
        "plain_relative": f"(?:(?:{relative}/)*{relative}{PLAIN_QUERY}|[?][!-~]+)",
        "headers": [
            {"variable": variable(name), "pattern": re.escape(key)} for key, name in names.items()
        ],
        "socket_headers": _named(*SOCKET_HEADERS, "Sec-Fetch-Mode"),
        "routes": routes,
    }
    template = files("oauthbff").joinpath("templates/oauthbff/edge/nginx.conf").read_text()
    return fill(template, context)


def _route(number: int, route: Upstream, conf: Conf, mount: str) -> dict[str, Any]:
    parts = route.parts
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = parts.netloc.rpartition("@")[2]
    bare = host.rpartition(":")[0] if parts.port else host
    default = port == (443 if parts.scheme == "https" else 80)
    sent = []
    for name in request_headers(route):
        sent.append({"name": name, "value": f"$oauthbff_sends_{variable(name)}"})
    if "user-agent" not in {one["name"].lower() for one in sent}:
        sent.append({"name": "User-Agent", "value": "oauthbff"})
    sent.append({"name": "X-Request-ID", "value": "$request_id"})
    return {
        "number": number,
        "name": route.name,
        "mount": f"{mount}{route.name}/",
        "bare_mount": f"{mount}{route.name}",
        "authorize": f"{mount.removesuffix('api/')}authorize/{route.name}/",
        "scheme": parts.scheme,
        "tls": parts.scheme == "https",
        "server": f"{bare}:{port}",
        "host": host,
        "hostname": parts.hostname,
        "origin_pattern": f"(?i:{_escape(bare)})" + (f"(?::{port})?" if default else f":{port}"),
        "prefix": parts.path,
        "prefix_pattern": _escape(parts.path),
        "places": route.max_calls + route.max_streams,
        "connect": seconds(route.timeouts.connect),
        "idle": seconds(route.timeouts.idle),
        "silence": seconds(max(route.timeouts.idle, route.timeouts.first_byte)),
        "max_body": route.max_body or 1,
        "cache": route.cache,
        "websocket": route.websocket,
        "socket_headers": _named(*SOCKET_HEADERS) if route.websocket else [],
        "paths": bool(route.paths),
        "remembered": not (route.permissions or route.throttles) and conf.edge_remember > 0,
        "headers": sent,
        "hidden": hidden_headers(route, conf.upstreams),
    }


def _named(*headers: str) -> list[dict[str, str]]:
    return [{"name": name, "variable": variable(name)} for name in headers]


def _escape(text: str) -> str:
    return re.sub(r"([.+*?()|\[\]{}^$\\])", r"\\\1", text)


def _listens(conf: Conf) -> tuple[str, ...]:
    if conf.base_url.startswith("https:"):
        return ("443 ssl http2", "[::]:443 ssl http2")
    host, _, port = conf.base_url.partition("//")[2].rpartition(":")
    return (f"127.0.0.1:{port}",) if host else ("127.0.0.1:80",)
