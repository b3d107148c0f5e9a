"""Caddyfile, or the part of it that is one site's. Pure."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

from oauthbff.conf import Conf, Upstream, never_passes
from oauthbff.forwarding import PLAIN_QUERY, PLAIN_SEGMENT, RESPONSE_HEADERS, TOLD_REST

from .words import (
    OWN_REFUSALS,
    SOCKET_HEADERS,
    SPELLABLE,
    UNAVAILABLE,
    Front,
    common,
    fill,
    request_headers,
    seconds,
    variable,
)

#: How its own test is called; `{file}` is a whole configuration.
CHECK = ("caddy", "validate", "--adapter", "caddyfile", "--config", "{file}")
LOGS = ("/var/log/caddy/oauthbff.log", "/var/log/caddy/oauthbff-error.log")
#: How long a connection that nobody uses is kept. Caddy's clock for silence runs on in it.
KEPT = 10.0
#: What the question never says in the browser's words, not even for a site's own permission.
NEVER_TOLD = """
    Connection Keep-Alive Proxy-* TE Trailer Transfer-Encoding Upgrade HTTP2-Settings Expect
    X-BFF-Edge* X-BFF-Problem X-Forwarded-* Forwarded
    """.split()
#: What opens no WebSocket: of the answer that does, Caddy can take nothing out.
ACTS = """
    Set-Cookie Set-Cookie2 Clear-Site-Data Strict-Transport-Security Alt-Svc NEL Report-To
    Reporting-Endpoints Accept-CH Critical-CH Set-Login Service-Worker-Allowed Authorization
    """.split()


def write(front: Front, conf: Conf, mount: str) -> str:
    """The configuration for these settings. `mount` is the path of `api/`."""
    asked = ["Cookie", "Origin", "Sec-Fetch-Site", "Sec-Fetch-Dest"]
    asked += [conf.header, f"{conf.header}-Slide"]
    own = [route for route in conf.upstreams.values() if not front.is_lanes(route)]
    names = {name.lower(): name for route in own for name in sent(route)}
    opens = [*SOCKET_HEADERS, "Sec-Fetch-Mode"]
    names |= {name.lower(): name for name in (*asked, *opens)}
    relative = PLAIN_SEGMENT.replace(":@", "@")  # with a colon it might be a scheme
    context = common(front, conf, mount)
    bind, port = listen(front, conf)
    context |= {
        "address": f"{context['scheme']}://{context['host']}:{port}",
        "bind": bind,
        "port": port,
        "certificate": front.certificate,
        "certificate_key": front.certificate_key,
        "access_log": front.access_log or LOGS[0],
        "global_options": global_options(front),
        "django": _servers(front.django),
        "several": len(front.django) if len(front.django) > 1 else 0,
        "lane": _servers(front.lane),
        "lane_several": len(front.lane) if len(front.lane) > 1 else 0,
        "own": [
            {"name": one.name, "code": one.code, "status": one.status, "body": literal(one.body)}
            for one in (*OWN_REFUSALS, UNAVAILABLE)
        ],
        "asked": [header(name) for name in asked],
        "never_told": NEVER_TOLD,
        "acts": ACTS,
        "headers": [{**header(name), "asked": name in (*asked, *opens)} for name in names.values()],
        "plain_rest": TOLD_REST,
        "plain_relative": f"(?:{relative}/)*{relative}{PLAIN_QUERY}|[?][!-~]+",
        "routes": [_route(route, conf, mount) for route in own],
    }
    template = files("oauthbff").joinpath("templates/oauthbff/edge/Caddyfile").read_text()
    return fill(template, context)


def header(name: str) -> dict[str, str]:
    return {"name": name, "variable": variable(name), "pattern": re.escape(name)}


def literal(text: str) -> str:
    """Text in which Caddy finds no placeholder."""
    return text.replace("{", "\\{").replace("}", "\\}")


def sent(route: Upstream) -> list[str]:
    return [*request_headers(route), "Accept-Encoding"]


def answered(route: Upstream) -> list[str]:
    """The headers of an answer that reach the browser, beside those that we write."""
    known = {name.lower(): name.title() for name in (*RESPONSE_HEADERS, *route.response_headers)}
    if route.cache:
        known.pop("vary", None)
    return sorted(
        name
        for key, name in known.items()
        if SPELLABLE.fullmatch(name) and (not never_passes(key) or key == "content-length")
    )


def _servers(addresses: tuple[str, ...]) -> list[str]:
    return [re.sub("^unix:", "unix/", address) for address in addresses]


def _route(route: Upstream, conf: Conf, mount: str) -> dict[str, Any]:
    parts, times = route.parts, route.timeouts
    default = 443 if parts.scheme == "https" else 80
    port = parts.port or default
    host = parts.netloc.rpartition("@")[2]
    bare = host.rpartition(":")[0] if parts.port else host
    origin = f"(?i:{re.escape(bare)})" + (f"(?::{port})?" if port == default else f":{port}")
    return {
        "id": route.name,
        "name": route.name,
        "mount": f"{mount}{route.name}/",
        "mount_pattern": re.escape(f"{mount}{route.name}/"),
        "server": f"{parts.scheme}://{bare}:{port}",
        "tls": parts.scheme == "https",
        "host": host,
        "hostname": parts.hostname,
        "prefix": parts.path.replace("$", "$$"),
        "scheme": parts.scheme,
        "origin_pattern": origin,
        "prefix_pattern": re.escape(parts.path),
        "places": route.max_calls + route.max_streams,
        "connect": seconds(times.connect),
        "first_byte": seconds(times.first_byte),
        "idle": seconds(times.idle),
        "kept": seconds(min(times.idle, KEPT)),
        "silence": seconds(max(times.idle, times.first_byte) + min(times.idle, KEPT)),
        "max_body": route.max_body or 1,
        "cache": route.cache,
        "websocket": route.websocket,
        "asks_all": bool(route.permissions or route.throttles),
        "headers": [header(name) for name in sent(route)],
        "socket_headers": [header(name) for name in SOCKET_HEADERS] if route.websocket else [],
        "answers": answered(route),
    }


def global_options(front: Front) -> list[str]:
    """What Caddy is to be as a whole; a part can only say what it needs."""
    whole = ["\tadmin off", f"\tstorage file_system {front.state}"] if front.whole else []
    return [
        "{",
        *whole,
        "\tlog default {",
        "\t\tlevel ERROR",
        f"\t\toutput file {front.error_log or LOGS[1]}",
        "\t\tformat filter {",
        "\t\t\twrap json",
        "\t\t\tfields {",
        "\t\t\t\trequest>uri delete",
        "\t\t\t\trequest>headers delete",
        "\t\t\t}",
        "\t\t}",
        "\t}",
        "\tservers {",
        "\t\tprotocols h1 h2",
        "\t\tmax_header_size 32KB",
        "\t\ttimeouts {",
        "\t\t\tread_header 30s",
        "\t\t\tidle 75s",
        "\t\t}",
        "\t}",
        "}",
    ]


def listen(front: Front, conf: Conf) -> tuple[str, str]:
    """(address, port), by the operator's word or else by BASE_URL."""
    base = conf.base_url.partition("//")[2]
    secure = conf.base_url.startswith("https:")
    port = base.rpartition(":")[2] if re.search(":[0-9]+$", base) else ("443" if secure else "80")
    if not front.listen:
        return ("" if secure else "127.0.0.1"), port
    addresses = []
    for words in front.listen:
        address, colon, given = words.rpartition(":")
        addresses.append(address if colon else words)
        port = given if colon else port
    return " ".join(filter(None, addresses)), port
