"""Settings are judged as a whole, at once, and a mistake never means a default.

A table row is (what was written, the id of the check that must say so). Ids of checks that only
look at the site around us are in test_checks.py.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oauthbff.conf import SIGNATURE_ALGORITHMS, Breaking, Conf, Timeouts, conf, is_loopback
from oauthbff.errors import Misconfigured

ROOT = Path(__file__).resolve().parents[2]
KEY = base64.b64encode(bytes(range(32))).decode()
KEY_2 = base64.b64encode(bytes(range(50, 82))).decode()
ABSENT = object()

GOOD: dict[str, Any] = {
    "BASE_URL": "https://app.example.com",
    "UPSTREAMS": {"photos": {"url": "https://photos.example.com/v1/"}},
    "KEYS": {"2026-11": KEY},
}
OIDC = {
    "OIDC_OP_ISSUER": "https://op.example.com/",
    "OIDC_RP_CLIENT_ID": "client",
    "OIDC_RP_CLIENT_SECRET": "SECRET-client",
    "OIDC_RP_SCOPES": "openid profile",
    "OIDC_RP_SIGN_ALGO": "RS256",
    "OIDC_TIMEOUT": 10,
}

Configure = Callable[..., Conf]


@pytest.fixture
def configure(settings: Any) -> Configure:
    """`configure(BASE_URL=…, OIDC_TIMEOUT=…)`: good settings but for these; then `conf()`."""

    def write(**changes: Any) -> Conf:
        of_django = ("OIDC_", "SESSION_")
        ours = {k: v for k, v in (GOOD | changes).items() if not k.startswith(of_django)}
        theirs = OIDC | {k: v for k, v in changes.items() if k.startswith(of_django)}
        for name, value in theirs.items():
            if value is ABSENT:
                delattr(settings, name)
            else:
                setattr(settings, name, value)
        settings.OAUTHBFF = {name: value for name, value in ours.items() if value is not ABSENT}
        return conf()

    return write


def problems(configure: Configure, **changes: Any) -> list[tuple[str, str, str]]:
    with pytest.raises(Misconfigured) as wrong:
        configure(**changes)
    return wrong.value.problems


def photos(**options: Any) -> dict[str, Any]:
    """UPSTREAMS with one route, its good url but for `options`."""
    row = {"url": "https://photos.example.com/v1/"} | options
    return {"UPSTREAMS": {"photos": {k: v for k, v in row.items() if v is not ABSENT}}}


# --- what is good -----------------------------------------------------------------------------


def test_the_least_configuration_has_the_documented_defaults(configure: Configure) -> None:
    found = configure()
    assert found.issuer == "https://op.example.com/"  # to the letter: AZ-13
    assert (found.idle_timeout, found.absolute_timeout, found.refresh_leeway) == (1800, 28800, 60)
    assert found.claims == ("sub", "name", "email", "picture")
    assert (found.userinfo, found.header, found.home_url) == (True, "X-BFF", "/")
    assert (found.error_url, found.client_auth) == (None, None)
    assert (found.claims_hook, found.place_hook) == (None, None)
    assert (found.revocation_days, found.retention_days) == (7, 90)
    assert (found.edge_secret, found.edge_remember) == (None, 1)
    photos = found.upstreams["photos"]
    assert (photos.token, photos.methods[0], photos.embed, photos.cache) == (
        "user",
        "GET",
        (),
        False,
    )
    assert photos.timeouts == Timeouts(connect=3.0, first_byte=30.0, idle=60.0)
    assert (photos.max_calls, photos.max_streams, photos.websocket) == (100, 500, False)
    assert photos.breaker == Breaking(failures=5, cooldown=10.0)


def test_the_whole_configuration_is_read(configure: Configure) -> None:
    found = configure(
        BASE_URL="https://APP.example.com/",
        UPSTREAMS={
            "photos": {
                "url": "https://photos.example.com:8443/v1",
                "token": "user-or-none",
                "resource": "https://photos.example.com/",
                "methods": ["get", "POST"],
                "paths": ["^a/[0-9]+$", "^b$"],
                "max_body": 0,
                "timeouts": {"connect": 1, "first_byte": 2.5, "idle": 3},
                "permissions": ["rest_framework.permissions.IsAuthenticated"],
                "throttles": [],
                "headers": ["X-Api-Version"],
                "response_headers": ["X-Total"],
                "embed": ["image"],
                "cache": True,
                "websocket": True,
                "max_calls": 4,
                "max_streams": 2,
                "breaker": {"failures": 3, "cooldown": 2},
                "allow_insecure_http": False,
            },
            "weather": {"url": "http://weather.lan/", "allow_insecure_http": True, "token": "none"},
            "local": {"url": "http://127.0.0.1:9/"},
        },
        KEYS={"new": KEY_2, "old": KEY},
        IDLE_TIMEOUT=900,
        ABSOLUTE_TIMEOUT=3600,
        REFRESH_LEEWAY=0,
        CLAIMS=["sub"],
        USERINFO=False,
        HEADER="X-Own",
        HOME_URL="/app/",
        LANE_STORE="rediss://redis.internal:6379/1",
        ERROR_URL="/oops/",
        CLAIMS_HOOK="a.b",
        PLACE_HOOK="a.c",
        REVOCATION_DAYS=1,
        RETENTION_DAYS=2,
        EDGE_SECRET=KEY_2 + "-.~_",
        EDGE_REMEMBER=0,
    )
    photos = found.upstreams["photos"]
    assert found.base_url == "https://app.example.com"
    assert photos.url == "https://photos.example.com:8443/v1/"
    assert photos.methods == ("GET", "POST")
    assert [pattern.pattern for pattern in photos.paths] == ["^a/[0-9]+$", "^b$"]
    assert photos.timeouts == Timeouts(connect=1.0, first_byte=2.5, idle=3.0)
    assert (photos.max_body, photos.embed, photos.cache) == (0, ("image",), True)
    assert (found.claims_hook, found.place_hook) == ("a.b", "a.c")
    assert (photos.max_calls, photos.max_streams, photos.websocket) == (4, 2, True)
    assert photos.breaker == Breaking(failures=3, cooldown=2.0)
    assert (found.edge_secret, found.edge_remember) == (KEY_2 + "-.~_", 0)
    assert KEY_2 not in repr(found)
    assert list(found.keys) == ["new", "old"]
    assert found.keys["old"] == bytes(range(32))
    assert (found.idle_timeout, found.refresh_leeway, found.userinfo) == (900, 0, False)
    assert (found.header, found.home_url, found.error_url) == ("X-Own", "/app/", "/oops/")
    assert found.lane_store == "rediss://redis.internal:6379/1"


def test_settings_that_change_are_read_anew(configure: Configure) -> None:
    assert configure(HEADER="X-One").header == "X-One"
    assert conf() is conf()
    assert configure(HEADER="X-Two").header == "X-Two"
    assert configure(OIDC_RP_SCOPES="openid a").scopes == ("openid", "a")


@pytest.mark.parametrize("algorithm", SIGNATURE_ALGORITHMS)
def test_each_asymmetric_algorithm_may_be_registered(configure: Configure, algorithm: str) -> None:
    assert configure(OIDC_RP_SIGN_ALGO=algorithm).sign_algorithm == algorithm


@pytest.mark.parametrize(
    "base_url",
    [
        "http://localhost:8000",
        "http://127.0.0.1",
        "http://127.8.9.1:8080",
        "http://[::1]:8000",
        "http://app.localhost",
        "HTTP://LOCALHOST:8000",
    ],
)
def test_plain_http_is_for_loopback(configure: Configure, base_url: str) -> None:
    found = configure(BASE_URL=base_url)
    assert found.base_url == base_url.lower()


@pytest.mark.parametrize("base_url", ["https://app.example.com:443", "http://localhost:80"])
def test_the_default_port_is_not_kept(configure: Configure, base_url: str) -> None:
    """Browsers leave it out of `Origin`, so that with it no call would ever pass."""
    assert configure(BASE_URL=base_url).base_url == base_url.rpartition(":")[0]


@pytest.mark.parametrize(
    ("host", "verdict"),
    [
        ("localhost", True),
        ("app.localhost", True),
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::1", True),
        (None, False),
        ("", False),
        ("localhost.evil.com", False),
        ("notlocalhost", False),
        ("127.0.0.1.evil.com", False),
        ("127.1", False),
        ("2130706433", False),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("169.254.169.254", False),
        ("app.example.com", False),
    ],
)
def test_loopback_is_this_very_machine(host: str | None, verdict: bool) -> None:
    assert is_loopback(host) is verdict


# --- what is not ------------------------------------------------------------------------------

SECRET_KEY_SETTING = "unit-" + "0123456789abcdefghijklmnopqrstuvwxyz" * 2
FROM_SECRET = {
    "its hash": hashlib.sha256(SECRET_KEY_SETTING.encode()).digest(),
    "its head": SECRET_KEY_SETTING.encode()[:32],
    "its tail": SECRET_KEY_SETTING.encode()[-32:],
}


def rows(check: str, name: str, *values: Any) -> list[Any]:
    return [
        pytest.param({name: value}, check, id=f"{check} {name} {str(value)[:40]!a}")
        for value in values
    ]


def upstream_rows(check: str, name: str, *values: Any) -> list[Any]:
    return [
        pytest.param(photos(**{name: value}), check, id=f"{check} {name} {str(value)[:40]!a}")
        for value in values
    ]


BAD = [
    *rows("E002", "IDLE_TIMEOUT", "1800", 0, -1, 1.5, True, None),
    *rows("E002", "ABSOLUTE_TIMEOUT", "1h", 0, None),
    *rows("E002", "REFRESH_LEEWAY", "60", None, -1),
    *rows("E002", "REVOCATION_DAYS", 0, "7"),
    *rows("E002", "RETENTION_DAYS", 0, 1.0),
    *rows("E002", "USERINFO", "false", 0, 1, None),
    *rows("E002", "HOME_URL", None, 5),
    *rows("E056", "LANE_STORE", None, 5, "redis", "http://redis.internal/", "memcached://x"),
    *rows("E002", "ERROR_URL", 5, ["/"]),
    *rows("E002", "CLAIMS_HOOK", print),
    *rows("E002", "CLAIMS", "sub", [1], None, {"sub": 1}),
    *rows("E002", "HEADER", "", None, 5, "X BFF", "X-BFF:", "X\r\nY", "X_BFF", "ü"),
    *rows("E002", "HEADER", "Accept", "content-type", "Range", "Cookie", "Sec-BFF", "Origin"),
    *rows("E054", "EDGE_SECRET", "", 5, "short", "a b" * 20, "ü" * 40, KEY + "\n", "x" * 40),
    *rows("E054", "EDGE_SECRET", KEY, "ab" * 20, KEY_2 + "$host", KEY_2 + '"', "x" * 201),
    *rows("E055", "EDGE_REMEMBER", -1, 61, 0.5, "1", True, None),
    *rows("E003", "OIDC_RP_CLIENT_ID", "", None, ABSENT, 5),
    *rows("E003", "OIDC_RP_CLIENT_SECRET", "", None, ABSENT),
    *rows("E004", "BASEURL", "https://app.example.com"),
    *rows("E004", "base_url", "x"),
    *rows("E004", "SECURE", True),
    *rows("E004", "CLIENT_ID", "x"),
    *rows("E005", "OIDC_OP_ISSUER", "", None, ABSENT, 5),
    *rows("E006", "OIDC_OP_ISSUER", "op.example.com", "ftp://op.example.com", "https://", "//op"),
    *rows("E006", "OIDC_OP_ISSUER", "https://op.example.com/?a=1", "https://op.example.com/#a"),
    *rows("E006", "OIDC_OP_ISSUER", "https://u:p@op.example.com/", "http://op.example.com/"),
    *rows("E006", "OIDC_OP_ISSUER", "http://localhost.evil.com/", "https://op example.com"),
    *rows("E006", "OIDC_OP_ISSUER", "https://op.example.com:99999/", "https://[::1"),
    *rows("E007", "OIDC_RP_SCOPES", "", "profile email", "openidx", "OpenID"),
    *rows("E008", "OIDC_RP_SIGN_ALGO", "none", "HS256", "HS512", "rs256", "", None, "ES256K"),
    *rows("E026", "OIDC_TOKEN_USE_BASIC_AUTH", "no", 2),
    *rows("E026", "CLIENT_AUTH", "none", "tls_client_auth", "private_key_jwt"),
    *rows("E026", "CLIENT_KEY", "junk", '{"kty": "oct", "k": "AAAA"}'),
    *rows("E027", "SESSION_ENGINE", "django.contrib.sessions.backends.signed_cookies"),
    *rows("E028", "MATCH_EMAIL_UNTIL", "soon", "31.01.2027", True, 20270131, ["2027-01-31"]),
    *rows("E009", "OIDC_TIMEOUT", 0, -1, 121, "10", None, True, float("nan"), float("inf")),
    *rows("E010", "BASE_URL", ABSENT, "", None, 5, "app.example.com", "//app.example.com"),
    *rows("E010", "BASE_URL", "https://app.example.com/bff", "https://app.example.com?a=1"),
    *rows("E010", "BASE_URL", "https://app.example.com#a", "https://u@app.example.com", "https://"),
    *rows("E010", "BASE_URL", "ftp://app.example.com", "https://app.example.com:99999"),
    *rows("E010", "BASE_URL", "https://bücher.example"),
    *rows("E010", "BASE_URL", "https://app.example.com?", "https://app.example.com#"),
    *rows("E011", "BASE_URL", "http://app.example.com", "http://localhost.evil.com"),
    *rows("E011", "BASE_URL", "http://10.0.0.1:8000", "http://0.0.0.0:8000", "http://127.1"),
    *rows("E011", "BASE_URL", "http://localhost.", "http://notlocalhost"),
    *rows("E012", "KEYS", ABSENT, None, {}, [], KEY),
    *rows("E013", "KEYS", {"a": ""}, {"a": None}, {"a": "x"}, {"a": KEY[:20]}, {"a": KEY + KEY}),
    *rows("E013", "KEYS", {"a": "awskms:"}, {"a": "nokms:key"}, {"a": KEY, "b": "x:" + KEY}),
    *rows("E013", "KEYS", {"a.b": KEY}, {"": KEY}, {5: KEY}, {"a" * 41: KEY}, {"a b": KEY}),
    *rows("E013", "KEYS", {"a": KEY, "b": KEY}, {"a": base64.b64encode(bytes(32)).decode()}),
    *(
        pytest.param(
            {"KEYS": {"a": base64.b64encode(key).decode()}}, "E013", id=f"E013 SECRET_KEY {name}"
        )
        for name, key in FROM_SECRET.items()
    ),
    *rows("E014", "UPSTREAMS", None, [], "photos"),
    *rows("E015", "UPSTREAMS", {"Photos": {}}, {"a/b": {}}, {"": {}}, {5: {}}, {"-a": {}}),
    *rows("E015", "UPSTREAMS", {"photos": "https://photos.example.com/"}, {"photos": None}),
    *upstream_rows("E002", "methods", "GET", [1], None),
    *upstream_rows("E002", "headers", "X-A", None),
    *upstream_rows("E002", "embed", "image", [None]),
    *upstream_rows("E002", "permissions", "a.b"),
    *upstream_rows("E002", "paths", "^a$"),
    *upstream_rows("E002", "cache", "false", "no", 0, 1, None),
    *upstream_rows("E002", "websocket", "true", 1, None, ["chat"]),
    *upstream_rows("E002", "allow_insecure_http", "true", 1),
    *upstream_rows("E004", "method", ["GET"]),
    *upstream_rows("E004", "verify_ssl", False),
    *upstream_rows("E004", "name", "x"),
    *upstream_rows("E004", "timeouts", {"read": 5}),
    *upstream_rows("E016", "methods", ["TRACE"], ["CONNECT"], ["OPTIONS"], ["GET", "FOO"]),
    *upstream_rows("E017", "token", "User", "", None, [], True, "anonymous"),
    *upstream_rows("E018", "max_body", -1, "1M", 1.5, True, None),
    *upstream_rows("E018", "max_answer", -1, "1M", 1.5, True),
    *upstream_rows("E019", "headers", ["Cookie"], ["AUTHORIZATION"], ["X-Forwarded-For"]),
    *upstream_rows("E019", "headers", ["Host"], ["Transfer-Encoding"], ["DPoP"], ["X Y"], [""]),
    *upstream_rows("E019", "headers", ["X_Forwarded_For"], ["Proxy_Authorization"], ["X_Real_IP"]),
    *upstream_rows("E019", "response_headers", ["Set-Cookie"], ["Access-Control-Allow-Origin"]),
    *upstream_rows("E019", "response_headers", ["X-Accel-Redirect"], ["WWW-Authenticate"]),
    *upstream_rows("E020", "url", ABSENT, None, "", 5, "photos.example.com", "/v1/", "ftp://x/"),
    *upstream_rows(
        "E020", "url", "https://u:p@photos.example.com/", "https://photos.example.com/?a"
    ),
    *upstream_rows("E020", "url", "https://photos.example.com/#a", "https://x.test/a/../b/"),
    *upstream_rows(
        "E020", "url", "https://x.test/a//b/", "https://x.test/a/./", "https://x.test/a/.."
    ),
    *upstream_rows(
        "E020", "url", "https://x.test\\@y.test/", "https://x.test/ü/", "https://x.test/a b/"
    ),
    *upstream_rows("E020", "url", "https://x.test:99999/", "https:///v1/", "https://x.test/a\n/"),
    *upstream_rows("E020", "url", "https://x.test/a/%2e%2e/", "https://x.test/a%2fb/"),
    *upstream_rows("E021", "url", "http://photos.example.com/", "http://10.0.0.1/"),
    *upstream_rows("E021", "url", "http://localhost.evil.com/"),
    *upstream_rows("E022", "url", "https://app.example.com/", "https://APP.example.com/api/"),
    *upstream_rows("E023", "paths", ["a"], ["^a"], ["a$"], [""], ["^($"], ["^a$", "b"]),
    *upstream_rows("E024", "timeouts", 5, None, [], {"idle": 0}, {"idle": "5"}, {"connect": True}),
    *upstream_rows("E024", "timeouts", {"idle": float("nan")}, {"idle": -1}),
    *upstream_rows("E002", "allow_provider", "yes", 1),
    *upstream_rows("E019", "headers", ["Sec-Fetch-Site"], ["X-Forwarded-User"], ["Proxy-X"]),
    *upstream_rows("E019", "response_headers", ["Access-Control-New"], ["X-Accel-New"]),
    *upstream_rows("E019", "response_headers", ["Alt-Svc"], ["X-Lighttpd-Send-File"], ["NEL"]),
    *upstream_rows("E057", "embed", ["img"], ["Image"], ["image", "images"], [""]),
    *upstream_rows("E051", "max_calls", 0, -1, "8", 1.5, True, None),
    *upstream_rows("E051", "max_streams", 0, "8", None),
    *upstream_rows("E052", "breaker", 5, None, [], {"failures": -1}, {"failures": True}),
    *upstream_rows("E052", "breaker", {"cooldown": 0}, {"cooldown": "5"}, {"failures": None}),
    *upstream_rows("E004", "breaker", {"failure": 5}),
    *upstream_rows("E053", "url", "https://op.example.com/", "https://OP.example.com:443/token/"),
    *upstream_rows("E025", "resource", "", "photos", "https://x/#a", 5, "/relative"),
]


#: A hint that only repeats the value tells nobody what to do.
ONLY_THE_VALUE = re.compile(r"(It is )?('.*'|\[.*\]|\{.*\}|\S+)\.?")


@pytest.mark.parametrize(("changes", "check"), BAD)
def test_a_mistake_is_found_and_named(
    configure: Configure, settings: Any, changes: dict[str, Any], check: str
) -> None:
    settings.SECRET_KEY = SECRET_KEY_SETTING
    found = problems(configure, **changes)
    assert {number for number, _, _ in found} == {f"oauthbff.{check}"}
    assert [hint for _, _, hint in found if ONLY_THE_VALUE.fullmatch(hint)] == []


@pytest.mark.parametrize("value", [None, [], "x", 5])
def test_settings_that_are_no_dictionary_are_said_to_be_none(settings: Any, value: Any) -> None:
    """E001."""
    settings.OAUTHBFF = value
    with pytest.raises(Misconfigured) as wrong:
        conf()
    assert "oauthbff.E001" in {check for check, _, _ in wrong.value.problems}


def test_settings_that_are_missing_altogether_are_said_to_be_missing(settings: Any) -> None:
    """E001."""
    del settings.OAUTHBFF
    with pytest.raises(Misconfigured, match="OAUTHBFF is not a dictionary"):
        conf()


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://app.example.com/", "https://app.example.com/api/"),
        ("https://app.example.com", "https://app.example.com:443/api/"),
        ("https://app.example.com", "https://app.example.com./api/"),
        ("https://app.example.com:8443", "https://app.example.com.:8443/api/"),
        ("http://localhost:8000/", "http://localhost:8000/"),
        ("http://localhost:8000", "http://127.0.0.1:8000/"),
        ("http://localhost:8000", "http://[::1]:8000/api/"),
        ("http://localhost", "http://127.0.0.1/"),
    ],
)
def test_this_site_is_recognised_in_any_spelling(
    configure: Configure, base_url: str, url: str
) -> None:
    """E022."""
    found = problems(configure, BASE_URL=base_url, **photos(url=url))
    assert {check for check, _, _ in found} == {"oauthbff.E022"}


@pytest.mark.parametrize(
    ("issuer", "url", "refused"),
    [
        ("https://id.test/realms/a", "https://id.test/", True),
        ("https://id.test/realms/a", "https://id.test/realms/", True),
        ("https://id.test/realms/a", "https://id.test/realms/a/protocol/", True),
        ("https://id.test/realms/a", "https://id.test/realms/ab/", False),
        ("https://id.test/realms/a", "https://id.test/api/", False),
        ("https://id.test/realms/a", "https://api.test/realms/a/", False),
        ("https://id.test/realms/a", "https://id.test:8443/realms/a/", False),
    ],
)
def test_rp7_the_provider_is_no_upstream_unless_it_is_said(
    configure: Configure, issuer: str, url: str, refused: bool
) -> None:
    """E053."""
    if refused:
        found = problems(configure, OIDC_OP_ISSUER=issuer, **photos(url=url))
        assert {check for check, _, _ in found} == {"oauthbff.E053"}
        configure(OIDC_OP_ISSUER=issuer, **photos(url=url, allow_provider=True))
    else:
        configure(OIDC_OP_ISSUER=issuer, **photos(url=url))


@pytest.mark.parametrize(
    ("option", "value", "check", "fix"),
    [
        ("url", "http://photos.example.com/", "E021", "https"),
        ("url", "https://u:p@photos.example.com/", "E020", "Leave scheme, host, port and path"),
        ("url", "https://photos.example.com/?a=1", "E020", "Leave scheme, host, port and path"),
        ("url", "photos.example.com/v1", "E020", '"https://api.example.com/v1/"'),
        ("url", "https://photos.example.com/a/../b/", "E020", "without dot or empty segments"),
        ("url", "https://app.example.com/api/", "E022", "docs/views.md"),
        ("url", "https://op.example.com/userinfo", "E053", '"allow_provider": True'),
        ("paths", ["items/.*"], "E023", '"^…$"'),
        ("headers", ["Cookie"], "E019", "credentials"),
        ("methods", ["TRACE"], "E016", "GET"),
        ("max_answer", "1G", "E018", "whole number"),
    ],
)
def test_rp4_rp6_rp7_a_routes_mistake_comes_with_its_mending(
    configure: Configure, option: str, value: Any, check: str, fix: str
) -> None:
    [(found, sentence, hint)] = problems(configure, **photos(**{option: value}))
    assert found == f"oauthbff.{check}"
    assert 'OAUTHBFF["UPSTREAMS"]["photos"]' in sentence
    assert fix in hint
    assert ":p@" not in sentence + hint  # a password in a URL is a password


def test_rp6_a_neighbour_on_this_machine_is_not_this_site(configure: Configure) -> None:
    """E022, the twin: another port is another program."""
    configure(BASE_URL="http://localhost:8000", **photos(url="http://127.0.0.1:8001/"))
    configure(BASE_URL="http://localhost:8000", **photos(url="http://localhost:80/"))


def test_all_mistakes_are_told_at_once(configure: Configure) -> None:
    found = problems(
        configure,
        BASE_URL="http://app.example.com",
        KEYS={},
        IDLE_TIMEOUT="x",
        OIDC_OP_ISSUER="",
        OIDC_RP_SIGN_ALGO="none",
        **photos(url="http://photos.example.com/", token="x", method="GET"),
    )
    assert {check.removeprefix("oauthbff.") for check, _, _ in found} == {
        *("E011", "E012", "E002", "E005", "E008", "E021", "E017", "E004")
    }


def test_every_problem_says_what_to_do(configure: Configure) -> None:
    for changes in ({"KEYS": {}}, {"BASE_URL": ""}, {"OIDC_RP_SIGN_ALGO": "none"}):
        for _, sentence, hint in problems(configure, **changes):
            assert sentence.endswith(".") and hint


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"BASEURL": "x"}, 'Did you mean OAUTHBFF["BASE_URL"]?'),
        ({"IDLE_TIMEOUTS": 5}, 'Did you mean OAUTHBFF["IDLE_TIMEOUT"]?'),
        ({"UPSTREAM": {}}, 'Did you mean OAUTHBFF["UPSTREAMS"]?'),
        ({"KEY": {}}, 'Did you mean OAUTHBFF["KEYS"]?'),
        (photos(method=[]), 'Did you mean OAUTHBFF["UPSTREAMS"]["photos"]["methods"]?'),
        (photos(embeds=[]), 'Did you mean OAUTHBFF["UPSTREAMS"]["photos"]["embed"]?'),
        (
            photos(timeouts={"conect": 5}),
            'Did you mean OAUTHBFF["UPSTREAMS"]["photos"]["timeouts"]["connect"]?',
        ),
        (photos(timeouts={"zzz": 5}), "Use connect, first_byte, idle, total."),
    ],
)
def test_an_unknown_key_comes_with_a_suggestion(
    configure: Configure, changes: dict[str, Any], hint: str
) -> None:
    assert [found for check, _, found in problems(configure, **changes)] == [hint]


# --- secrets ----------------------------------------------------------------------------------


def test_the_repr_of_the_configuration_shows_no_secret(configure: Configure) -> None:
    text = repr(configure())
    assert "SECRET-client" not in text
    assert KEY not in text and str(bytes(range(32))) not in text


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param({"a": KEY + "QUJD"}, id="too long"),
        pytest.param({"a": KEY, "b": KEY}, id="repeated"),
        pytest.param({KEY: "2026-11"}, id="key and id swapped"),
        pytest.param([KEY], id="a list"),
    ],
)
def test_a_complaint_about_a_key_does_not_show_it(configure: Configure, keys: Any) -> None:
    assert KEY[:40] not in str(problems(configure, KEYS=keys))


# --- the environment of project/ --------------------------------------------------------------

PROGRAM = """
import dataclasses, json, django
django.setup()
from django.conf import settings
from oauthbff.conf import conf
found = conf()
print(json.dumps({f.name: getattr(found, f.name) for f in dataclasses.fields(found)
                  if f.name not in ("keys", "upstreams", "client_secret")}
                 | {"KEYS": list(found.keys), "URLS": [u.url for u in found.upstreams.values()],
                    "PROXY": getattr(settings, "SECURE_PROXY_SSL_HEADER", None),
                    "HOSTS": settings.ALLOWED_HOSTS, "DEBUG": settings.DEBUG,
                    "REDIRECT": settings.SECURE_SSL_REDIRECT,
                    "SECURE": settings.SESSION_COOKIE_SECURE,
                    "SECRETS": [settings.SECRET_KEY, found.client_secret]}, default=str))
"""


def in_environment(**given: str) -> subprocess.CompletedProcess[str]:
    """project/ in a process of its own, with these variables and no others of ours."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    needed = {
        "DJANGO_SETTINGS_MODULE": "project.settings",
        "SECRET_KEY": "unit-" + "x" * 50,
        "DATABASE_URL": "sqlite:///:memory:",
        "OIDC_OP_ISSUER": "https://op.example.com/",
        "OIDC_RP_CLIENT_ID": "client",
        "OIDC_RP_CLIENT_SECRET": "secret",
        "OAUTHBFF_KEYS": f"a:{KEY}",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path) or str(ROOT),
    }
    return subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=kept | needed | given,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("secret", ["$HOME", "$", "a$b", r"\$a\\$b$", r"a\b"])
def test_a_secret_is_taken_as_it_is(secret: str) -> None:
    """Django's own generator writes `$`, and django-environ would look for a variable."""
    key = secret + "x" * 50
    result = in_environment(SECRET_KEY=key, OIDC_RP_CLIENT_SECRET=secret)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["SECRETS"] == [key, secret]


def test_a_variable_that_is_left_empty_is_not_set_but_an_empty_list_is_one() -> None:
    optional = ("IDLE_TIMEOUT", "USERINFO", "CLAIMS", "CLAIMS_HOOK", "PLACE_HOOK", "EDGE_SECRET")
    result = in_environment(**{f"OAUTHBFF_{name}": "" for name in optional})
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    shown = {name.lower(): found[name.lower()] for name in optional}
    assert shown == {
        "idle_timeout": 1800,
        "userinfo": True,
        "claims": [],
        "claims_hook": None,
        "place_hook": None,
        "edge_secret": None,
    }


@pytest.mark.parametrize(
    ("name", "written", "said"),
    [
        ("OAUTHBFF_IDLE_TIMEOUT", "half an hour", "OAUTHBFF_IDLE_TIMEOUT cannot be read"),
        ("OAUTHBFF_UPSTREAMS", "{photos}", "OAUTHBFF_UPSTREAMS cannot be read"),
        ("OIDC_TIMEOUT", "soon", "OIDC_TIMEOUT cannot be read"),
        ("OAUTHBFF_KEYS", KEY, "a key whose id is not an id"),
        ("OAUTHBFF_KEYS", f"a:{KEY},a:{KEY_2}", "OAUTHBFF_KEYS has two keys of one id"),
    ],
)
def test_a_variable_that_cannot_be_read_is_refused_by_its_name(
    name: str, written: str, said: str
) -> None:
    result = in_environment(**{name: written})
    assert result.returncode != 0
    assert said in result.stderr
    assert KEY not in result.stderr


def test_every_scalar_can_be_written_in_the_environment() -> None:
    """DESIGN.md: every other scalar of OAUTHBFF as OAUTHBFF_<NAME>, each with its type."""
    result = in_environment(
        OIDC_OP_ISSUER="https://op.example.com/x",
        OIDC_RP_SCOPES="openid photos.read",
        OIDC_RP_SIGN_ALGO="ES256",
        OIDC_TIMEOUT="7.5",
        SECURE_PROXY_SSL_HEADER="X-Forwarded-Proto=https",
        ALLOWED_HOSTS="app.example.com,www.example.com",
        DEBUG="true",
        OAUTHBFF_BASE_URL="https://app.example.com",
        OAUTHBFF_UPSTREAMS='{"photos": {"url": "https://photos.example.com/v1/"}}',
        OAUTHBFF_KEYS=f"new:{KEY_2},old:{KEY}",
        OAUTHBFF_IDLE_TIMEOUT="900",
        OAUTHBFF_ABSOLUTE_TIMEOUT="7200",
        OAUTHBFF_REFRESH_LEEWAY="30",
        OAUTHBFF_REVOCATION_DAYS="3",
        OAUTHBFF_RETENTION_DAYS="4",
        OAUTHBFF_DATA_KEY_SECONDS="60",
        OAUTHBFF_REQUEST_ID_HEADER="X-Request-ID",
        OAUTHBFF_USERINFO="false",
        OAUTHBFF_CLAIMS="sub,email",
        OAUTHBFF_HEADER="X-Own",
        OAUTHBFF_HOME_URL="/app/",
        OAUTHBFF_ERROR_URL="/oops/",
        OAUTHBFF_CLAIMS_HOOK="project.people.staff_by_group",
        OAUTHBFF_PLACE_HOOK="shop.places.place_of",
        OAUTHBFF_MATCH_EMAIL_UNTIL="2027-01-31",
        OAUTHBFF_EDGE_SECRET=KEY_2 + "-.~_",
        OAUTHBFF_EDGE_REMEMBER="0",
        OAUTHBFF_LANE_STORE="redis://redis.internal:6379/1",
    )
    assert result.returncode == 0, result.stderr
    expected = {
        "issuer": "https://op.example.com/x",
        "client_id": "client",
        "scopes": ["openid", "photos.read"],
        "sign_algorithm": "ES256",
        "provider_timeout": 7.5,
        "client_auth": None,
        "client_key": None,
        "par": False,
        "end_on_password_change": False,
        "base_url": "https://app.example.com",
        "idle_timeout": 900,
        "absolute_timeout": 7200,
        "refresh_leeway": 30,
        "revocation_days": 3,
        "retention_days": 4,
        "data_key_seconds": 60,
        "request_id_header": "X-Request-ID",
        "key_stores": {"awskms": "oauthbff.aws_kms.KeyStore"},
        "userinfo": False,
        "claims": ["sub", "email"],
        "header": "X-Own",
        "home_url": "/app/",
        "error_url": "/oops/",
        "claims_hook": "project.people.staff_by_group",
        "place_hook": "shop.places.place_of",
        "match_email_until": "2027-01-31",
        "edge_secret": KEY_2 + "-.~_",
        "edge_remember": 0,
        "lane_store": "redis://redis.internal:6379/1",
        "KEYS": ["new", "old"],
        "URLS": ["https://photos.example.com/v1/"],
        "PROXY": ["HTTP_X_FORWARDED_PROTO", "https"],
        "HOSTS": ["app.example.com", "www.example.com"],
        "DEBUG": True,
        "REDIRECT": True,
        "SECURE": True,
        "SECRETS": ["unit-" + "x" * 50, "secret"],
    }
    assert json.loads(result.stdout) == expected
    ours = {field.name for field in dataclasses.fields(Conf)}
    assert ours - {"keys", "upstreams", "client_secret"} <= set(expected)


def test_on_a_loopback_address_nothing_redirects_to_https_and_cookies_stay_secure() -> None:
    result = in_environment(OAUTHBFF_BASE_URL="http://localhost:8000", DEBUG="false")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["REDIRECT"], found["SECURE"], found["DEBUG"]) == (False, True, False)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        pytest.param({"OAUTHBFF_BASE_URL": "http://app.example.com"}, "loopback", id="http"),
        pytest.param({"OAUTHBFF_IDLE_TIMEOUT": "half an hour"}, "half an hour", id="no number"),
        pytest.param({"OAUTHBFF_UPSTREAMS": "{"}, "", id="no JSON"),
        pytest.param({"OAUTHBFF_KEYS": ""}, "KEYS", id="no keys"),
        pytest.param({"OIDC_OP_ISSUER": ""}, "OIDC_OP_ISSUER", id="no issuer"),
    ],
)
def test_a_mistake_in_the_environment_stops_the_start(
    given: dict[str, str], complaint: str
) -> None:
    result = in_environment(**given)
    assert result.returncode != 0
    assert complaint in result.stderr
