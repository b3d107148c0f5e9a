"""The explicit allow-list of APIs that RFC 10017 demands: `OAUTHBFF["UPSTREAMS"]`.

E014-E025, E051-E053, E057.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any
from urllib.parse import SplitResult

from django.conf import settings

from .reading import HEADER_NAME, Reading, is_loopback, origin_of, split_url
from .values import METHODS, Breaking, Timeouts, Upstream

TOKEN_MODES = ("user", "user-or-none", "none")
ROUTE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
AMBIGUOUS_PATH = re.compile(
    r"[^!$&'()*+,\-./0-9:;=@A-Z_a-z~%]|//|/\.{1,2}(/|$)|%2[ef]|%5c|%[01]|%(?![0-9a-f]{2})", re.I
)
#: Values of `Sec-Fetch-Dest`. Fetch Standard §2.2.5, "destination"; `empty` is what `fetch` says.
DESTINATIONS = frozenset(
    """
    audio audioworklet document embed empty fencedframe font frame iframe image json manifest object
    paintworklet report script serviceworker sharedworker style text track video webidentity
    worker xslt
    """.split()
)
#: Headers that no setting can let through, in either direction.
NEVER_PASS = frozenset(
    """
    cookie cookie2 set-cookie set-cookie2 authorization proxy-authorization
    proxy-authenticate www-authenticate dpop dpop-nonce host connection keep-alive
    proxy-connection te trailer transfer-encoding upgrade http2-settings content-length
    expect via forwarded x-forwarded-for x-forwarded-host x-forwarded-proto
    x-forwarded-port x-forwarded-prefix x-forwarded-uri x-real-ip x-csrftoken origin
    clear-site-data strict-transport-security access-control-allow-origin
    access-control-allow-credentials access-control-allow-methods
    access-control-allow-headers access-control-expose-headers access-control-max-age
    x-accel-redirect x-accel-buffering x-accel-charset x-accel-expires x-accel-limit-rate
    x-sendfile content-security-policy x-bff-error service-worker-allowed refresh
    x-lighttpd-send-file x-reproxy-url alt-svc public-key-pins public-key-pins-report-only
    nel report-to reporting-endpoints set-login
    """.split()
)
#: What begins so is a hop's word to the next, a browser's own, or an order to a front server.
NEVER_PREFIXES = ("access-control-", "proxy-", "sec-", "x-accel-", "x-forwarded-")


def never_passes(name: str) -> bool:
    """Whether no setting can let this header through. `name` is in lower case."""
    return name in NEVER_PASS or name.startswith(NEVER_PREFIXES)


def upstreams(read: Reading) -> Mapping[str, Upstream]:
    given = read.given.get("UPSTREAMS", {})
    if not isinstance(given, Mapping):
        read.say(
            "E014",
            'OAUTHBFF["UPSTREAMS"] is not a dictionary.',
            'Write {"name": {"url": "https://…/"}}.',
        )
        return {}
    return {
        name: found
        for name, options in given.items()
        if (found := upstream(read, name, options)) is not None
    }


def upstream(read: Reading, name: Any, options: Any) -> Upstream | None:
    where = f'OAUTHBFF["UPSTREAMS"]["{name}"]'
    before = len(read.problems)
    if not isinstance(name, str) or not ROUTE_NAME.fullmatch(name):
        read.say("E015", f"{where}: not a route name.", "Use lower case letters, digits, - and _.")
        return None
    if not isinstance(options, Mapping):
        read.say("E015", f"{where} is not a dictionary.", 'Write at least {"url": "https://…/"}.')
        return None
    names = [f.name for f in fields(Upstream) if f.name != "name"]
    read.unknown(options, names, where + '["%s"]')
    values: dict[str, Any] = {key: options[key] for key in names if key in options}
    values["url"] = upstream_url(read, where, options)
    for key in ("methods", "permissions", "throttles", "headers", "response_headers", "embed"):
        if key in values:
            values[key] = read.sequence(f'{where}["{key}"]', values[key])
    for key in ("cache", "websocket", "allow_insecure_http", "allow_provider"):
        if not isinstance(values.get(key, False), bool):
            read.say(
                "E002",
                f'{where}["{key}"] must be True or False.',
                f"Write one of them, not {values[key]!r}.",
            )
    if "methods" in values:
        values["methods"] = methods(read, where, values["methods"])
    if values.get("token", "user") not in TOKEN_MODES:
        hint = f"Use one of {', '.join(TOKEN_MODES)}."
        read.say("E017", f'{where}["token"] is {values["token"]!r}.', hint)
    for key, read_value in {"paths": patterns, "timeouts": timeouts, "breaker": breaker}.items():
        if key in values:
            values[key] = read_value(read, f'{where}["{key}"]', values[key])
    check_counts(read, where, values)
    check_resource(read, where, values.get("resource"))
    check_headers(read, where, values)
    check_embed(read, where, values.get("embed", ()))
    return Upstream(name=name, **values) if len(read.problems) == before else None


def methods(read: Reading, where: str, given: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(method.upper() for method in given)
    for method in sorted(set(names) - set(METHODS)):
        hint = f"Use {', '.join(METHODS)}."
        read.say("E016", f"{where}: method {method!r} cannot be forwarded.", hint)
    return names


def check_counts(read: Reading, where: str, values: Mapping[str, Any]) -> None:
    for key in ("max_calls", "max_streams"):
        if not is_count(values.get(key, 1), least=1):
            hint = f"Write a whole number from 1, not {values[key]!r}."
            read.say("E051", f'{where}["{key}"] is not a number of calls.', hint)
    for key in ("max_body", "max_answer"):
        value = values.get(key, 0)
        if not is_count(value, least=0) and not (key == "max_answer" and value is None):
            hint = f"Write a whole number, as 100_000_000; it is {value!r}."
            read.say("E018", f'{where}["{key}"] is not a number of bytes.', hint)


def check_headers(read: Reading, where: str, values: Mapping[str, Any]) -> None:
    for key in ("headers", "response_headers"):
        for header in values.get(key, ()):
            odd = not HEADER_NAME.fullmatch(header) or "_" in header
            if odd or never_passes(header.lower()):
                hint = "Remove it: it carries credentials, framing or our own rules."
                read.say("E019", f'{where}["{key}"]: {header!r} can never pass.', hint)


def check_embed(read: Reading, where: str, given: tuple[str, ...]) -> None:
    for destination in given:
        if destination not in DESTINATIONS:
            hint = 'Write what browsers say in Sec-Fetch-Dest, as "image", "audio" or "video".'
            read.say("E057", f'{where}["embed"]: no browser says {destination!r}.', hint)


def upstream_url(read: Reading, where: str, options: Mapping[str, Any]) -> str:
    url = options.get("url")
    parts = split_url(url) if isinstance(url, str) else None
    if parts is None or parts.scheme not in ("https", "http") or not parts.hostname:
        hint = 'Write it whole, as "https://api.example.com/v1/".'
        read.say("E020", f'{where}["url"] is not an absolute https URL.', hint)
        return ""
    if parts.username is not None or parts.query or parts.fragment or "\\" in str(url):
        hint = "Leave scheme, host, port and path; credentials and queries are the call's own."
        read.say("E020", f'{where}["url"] has a user, query or fragment.', hint)
    if AMBIGUOUS_PATH.search(parts.path):
        hint = f"Write {parts.path!r} without dot or empty segments, percent-encoded where it must."
        read.say("E020", f'{where}["url"] has an ambiguous path.', hint)
    insecure = options.get("allow_insecure_http") is True
    if parts.scheme == "http" and not (is_loopback(parts.hostname) or insecure):
        hint = 'Use https, or say "allow_insecure_http": True if that network is yours alone.'
        read.say("E021", f'{where}["url"] sends tokens over http.', hint)
    ourselves = split_url(str(read.given.get("BASE_URL", "")).rstrip("/"))
    if ourselves is not None and is_same_place(parts, ourselves):
        hint = "Name the API's own address. A view of this site needs no proxy: docs/views.md."
        read.say("E022", f'{where}["url"] is this site itself.', hint)
    if options.get("allow_provider") is not True and is_provider(parts):
        hint = 'Remove it: its endpoints are not for browsers. For an API: "allow_provider": True.'
        read.say("E053", f'{where}["url"] is the provider itself.', hint)
    path = parts.path if parts.path.endswith("/") else parts.path + "/"
    return f"{parts.scheme}://{parts.netloc}{path}"


def is_same_place(one: SplitResult, other: SplitResult) -> bool:
    """Whether two addresses are one origin, this very machine's names being one name."""
    names = [origin_of(parts).rstrip(".").replace(".:", ":") for parts in (one, other)]
    if names[0] == names[1]:
        return True
    ports = [parts.port or {"https": 443}.get(parts.scheme, 80) for parts in (one, other)]
    return ports[0] == ports[1] and is_loopback(one.hostname) and is_loopback(other.hostname)


def is_provider(parts: SplitResult) -> bool:
    """Whether the route would reach what lies under the issuer, or the issuer lies under it."""
    issuer = split_url(str(getattr(settings, "OIDC_OP_ISSUER", "")))
    if issuer is None or not issuer.hostname or origin_of(issuer) != origin_of(parts):
        return False
    ours, theirs = (f"{path.rstrip('/')}/" for path in (parts.path, issuer.path))
    return ours.startswith(theirs) or theirs.startswith(ours)


def is_count(value: Any, *, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_seconds(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 < value < 86400


def patterns(read: Reading, where: str, value: Any) -> tuple[re.Pattern[str], ...]:
    compiled = []
    for pattern in read.sequence(where, value):
        if not (pattern.startswith("^") and pattern.endswith("$")):
            hint = 'Write "^…$": the pattern must say where the path begins and ends.'
            read.say("E023", f"{where}: {pattern!r} is not anchored.", hint)
            continue
        try:
            compiled.append(re.compile(pattern))
        except re.error as exc:
            hint = f"Write it as re.compile takes it: {exc}."
            read.say("E023", f"{where}: {pattern!r} is no regular expression.", hint)
    return tuple(compiled)


def timeouts(read: Reading, where: str, value: Any) -> Timeouts:
    names = [f.name for f in fields(Timeouts)]
    if not isinstance(value, Mapping):
        hint = f"Write a dictionary with some of {', '.join(names)}."
        read.say("E024", f"{where} is not a dictionary.", hint)
        return Timeouts()
    read.unknown(value, names, where + '["%s"]')
    good: dict[str, float] = {}
    for name in sorted(set(names) & set(value)):
        seconds = value[name]
        if not is_seconds(seconds):
            hint = f"Write seconds, more than 0 and less than a day, not {seconds!r}."
            read.say("E024", f'{where}["{name}"] is not a time in seconds.', hint)
        else:
            good[name] = float(seconds)
    return Timeouts(**good)


def breaker(read: Reading, where: str, value: Any) -> Breaking:
    names = [f.name for f in fields(Breaking)]
    if not isinstance(value, Mapping):
        hint = f"Write a dictionary with some of {', '.join(names)}."
        read.say("E052", f"{where} is not a dictionary.", hint)
        return Breaking()
    read.unknown(value, names, where + '["%s"]')
    failures, cooldown = value.get("failures", 5), value.get("cooldown", 10.0)
    if not is_count(failures, least=0):
        read.say(
            "E052",
            f'{where}["failures"] is not a number.',
            "Write how many; 0 turns the breaker off.",
        )
    elif not is_seconds(cooldown):
        hint = f"Write seconds, more than 0 and less than a day, not {cooldown!r}."
        read.say("E052", f'{where}["cooldown"] is not a time in seconds.', hint)
    else:
        return Breaking(failures=failures, cooldown=float(cooldown))
    return Breaking()


def check_resource(read: Reading, where: str, value: Any) -> None:
    if value is None:
        return
    parts = split_url(value) if isinstance(value, str) else None
    if parts is None or not parts.scheme or parts.fragment:
        hint = "Write an absolute URI without a fragment. RFC 8707 §2."
        read.say("E025", f'{where}["resource"] is {value!r}.', hint)
