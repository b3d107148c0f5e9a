"""authorize/<upstream>/: what a proxy in front is told, and that nobody else is told anything."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.conftest import MakeSite
from tests.support.caller import EDGE_SECRET, OURS, Caller, Raw, proxy_site, signed_in
from tests.support.provider import NodeProvider
from tests.support.upstream import RecordingUpstream

SECRET = f"X-BFF-Edge: {EDGE_SECRET}"


def authorize(
    jane: Caller, method: str, target: str, *lines: str, secret: str = SECRET, **how: Any
) -> Raw:
    """What nginx, Caddy and Traefik ask for a call to api/<target>."""
    alias = target.partition("/")[0]
    asks = [secret, f"X-Forwarded-Method: {method}", f"X-Forwarded-Uri: /bff/api/{target}"]
    door = f"/bff/authorize/{alias}/"
    return jane.ask("GET", door, *asks, *lines, whole_target=True, **how)


CALLS: dict[str, tuple[str, str, list[str], dict[str, Any]]] = {
    "get": ("GET", "photos/1?a=1&a=2", [], {}),
    "post": ("POST", "photos/1", ["X-BFF-Slide: false"], {}),
    "without-token": ("GET", "weather/1", [], {}),
    "anonymous": ("GET", "news/1", [], {"cookie": b"a=b"}),
    "patterns": ("GET", "public/open/abc", [], {}),
    "embedded": (
        *("GET", "pictures/1"),
        ["Sec-Fetch-Site: same-origin", "Sec-Fetch-Dest: image"],
        {"ours": False},
    ),
    "no-header": ("GET", "photos/1", [], {"ours": False}),
    "header-twice": ("GET", "photos/1", ["X-BFF: 1"], {}),
    "foreign-origin": ("GET", "photos/1", ["Origin: https://evil.test"], {}),
    "cross-site": ("GET", "photos/1", ["X-BFF: 1", "Sec-Fetch-Site: cross-site"], {"ours": False}),
    "embedded-post": (
        *("POST", "pictures/1"),
        ["Sec-Fetch-Site: same-origin", "Sec-Fetch-Dest: image"],
        {"ours": False},
    ),
    "no-session": ("GET", "photos/1", [], {"cookie": b"a=b"}),
    "two-cookies": ("GET", "photos/1", ["Cookie: __Host-Http-bff-auth=x"], {}),
    "no-upstream": ("GET", "nothing/1", [], {}),
    "method": ("POST", "weather/1", [], {}),
    "unknown-method": ("QUERY", "photos/1", [], {}),
    "preflight": ("OPTIONS", "photos/1", [], {}),
    "dots": ("GET", "photos/../v1/1", [], {}),
    "encoded-dots": ("GET", "photos/%2e%2e/v1/1", [], {}),
    "encoded-slash": ("GET", "photos/a%2Fb", [], {}),
    "outside-patterns": ("GET", "public/admin", [], {}),
    "too-large": ("POST", "v1/1", ["Content-Length: 100001"], {}),
    "no-number": ("GET", "guarded/1?raise=ValidationError", [], {}),
    "permission": ("GET", "guarded/1?refuse", [], {}),
    "permission-who": ("GET", "guarded/1?refuse", [], {"cookie": b"a=b"}),
    "permission-user": ("GET", "guarded/1?user=jane", [], {}),
    "permission-other": ("GET", "guarded/1?user=bob", [], {}),
    "throttled": ("GET", "guarded/1?raise=Throttled", [], {}),
    "bug": ("GET", "guarded/1?raise=ZeroDivisionError", [], {}),
}


@pytest.fixture(params=OURS)
def door(request: pytest.FixtureRequest) -> str:
    """Asked by us, as a proxy would: nginx hides this door from everybody else."""
    return str(request.param)


def test_it_decides_as_the_proxy_door_does(jane: Caller):
    for name, (method, target, lines, how) in CALLS.items():
        jane.upstream.clear()
        body = b"x" * 100_001 if name == "too-large" else b""
        framing = ["Content-Length: 0"] if method == "POST" and not body else []
        carried = jane.ask(method, target, *lines, *framing, body=body, **how)
        told = [line.replace("Content-Length", "X-BFF-Edge-Length") for line in lines]
        asked = authorize(jane, method, target, *told, **how)
        assert (asked.status, asked.code) == (carried.status, carried.code), name
        assert asked.get("Cache-Control") == "no-store", name
        if carried.status == 200:
            [call] = jane.upstream.requests
            assert asked.get("Authorization") == call.get("Authorization"), name
            assert (asked.body, asked.get("Content-Type")) == (b"", None), name
        else:
            assert jane.reached() == [], name
            assert asked.body == carried.body, name
            for header in ("Content-Type", "Retry-After", "Allow", "X-BFF-Error"):
                assert asked.get(header) == carried.get(header), (name, header)
            assert asked.get("X-BFF-Remember") is None, name
            assert asked.get("Authorization") is None, name


UPGRADE, VERSION = "Upgrade: websocket", "Sec-WebSocket-Version: 13"
HANDSHAKES: dict[str, tuple[str, str, list[str], tuple[int, str | None]]] = {
    "ours": ("GET", "live/1", [], (200, None)),
    "by-a-browser": ("GET", "live/1", ["Sec-Fetch-Mode: websocket"], (200, None)),
    "foreign": ("GET", "live/1", ["Origin: https://evil.test"], (403, "csrf_failed")),
    "no-origin": ("GET", "live/1", ["Origin"], (403, "csrf_failed")),
    "cross-site": ("GET", "live/1", ["Sec-Fetch-Site: cross-site"], (403, "csrf_failed")),
    "no-websocket": ("GET", "live/1", ["Sec-Fetch-Mode: no-cors"], (403, "csrf_failed")),
    "post": ("POST", "live/1", [], (403, "csrf_failed")),
    "no-upgrade": ("GET", "live/1", ["Upgrade"], (403, "csrf_failed")),
    "no-version": ("GET", "live/1", ["Sec-WebSocket-Version"], (403, "csrf_failed")),
    "route": ("GET", "photos/1", [], (403, "not_allowed")),
    "route-with-permissions": ("GET", "guarded/1", [], (403, "not_allowed")),
    "no-upstream": ("GET", "nothing/1", [], (404, "no_such_upstream")),
    "nobody": ("GET", "live/1", ["Cookie: a=b"], (401, "login_required")),
    "path": ("GET", "live/a%2Fb", [], (400, "bad_path")),
}


@pytest.mark.parametrize("row", HANDSHAKES)
def test_a_handshake_is_judged_by_the_browsers_word_and_nothing_else_is(jane: Caller, row: str):
    """Without `X-BFF`, which no browser can send there. A name alone: without that line."""
    method, target, changes, expected = HANDSHAKES[row]
    lines = {
        line.partition(":")[0]: line
        for line in (UPGRADE, VERSION, f"Origin: {jane.site.base_url}", *changes)
    }
    told = [line for line in lines.values() if ":" in line and not line.startswith("Cookie")]
    cookie = lines["Cookie"].encode()[8:] if "Cookie" in lines else None
    said = authorize(jane, method, target, *told, ours=False, cookie=cookie)
    assert (said.status, said.code) == expected
    assert (b"Bearer" in said.wire) is (said.status == 200)


SECRETS = [
    *("X-None: 1", "X-BFF-Edge:", f"X-BFF-Edge: {EDGE_SECRET[:-1]}"),
    *(f"X-BFF-Edge: {EDGE_SECRET}x", f"X-BFF-Edge: {EDGE_SECRET.upper()}"),
    *(f"X-BFF: {EDGE_SECRET}", f"X_BFF_Edge: {EDGE_SECRET}", "X-BFF-Edge: \xff"),
    f"{SECRET}\r\n{SECRET}",
]


def test_without_the_secret_there_is_no_such_door(jane: Caller):
    for secret in SECRETS:
        for alias in ("photos", "nothing"):
            said = authorize(jane, "GET", f"{alias}/1", secret=secret)
            assert (said.status, said.code) == (404, None), secret
            assert said.get("Authorization") is None, secret
            assert b"Bearer" not in said.wire, secret


def test_without_the_setting_there_is_no_such_door(
    make_site: MakeSite, upstream: RecordingUpstream
):
    jane = signed_in(make_site(workers=2), upstream)
    for secret in (SECRET, "X-BFF-Edge:", "X-BFF-Edge: None", "X-None: 1"):
        said = authorize(jane, "GET", "photos/1", secret=secret)
        assert (said.status, said.code) == (404, None)
        assert b"Bearer" not in said.wire
    jane.still_works()


def test_the_target_must_be_of_the_upstream_that_is_asked_for(jane: Caller):
    """Else a location of one upstream could be given a path that was judged for another."""
    said = jane.ask(
        *("GET", "/bff/authorize/photos/", SECRET, "X-Forwarded-Method: GET"),
        "X-Forwarded-Uri: /bff/api/photos2/1",
        whole_target=True,
    )
    assert (said.status, said.code) == (400, "bad_path")


def test_a_refusal_is_told_in_a_header_too_if_the_proxy_asks(jane: Caller):
    said = authorize(jane, "GET", "photos/1", "X-BFF-Problem: 1", cookie=b"a=b")
    assert (said.status, said.get("X-BFF-Problem")) == (401, said.body.decode())
    assert json.loads(said.body)["code"] == "login_required"
    assert authorize(jane, "GET", "photos/1", cookie=b"a=b").get("X-BFF-Problem") is None
    assert authorize(jane, "GET", "photos/1", "X-BFF-Problem: 1").get("X-BFF-Problem") is None


def test_a_proxy_that_writes_the_target_behind_our_address_is_understood(jane: Caller):
    """Envoy's ext_authz: its path_prefix, then the browser's target; the browser's method."""
    door = "/bff/authorize/photos/bff/api"
    said = jane.ask("PUT", f"{door}/photos/caf%C3%A9?q=%2F", SECRET, whole_target=True)
    assert said.status == 200
    assert (said.get("Authorization") or "").startswith("Bearer ")
    for path, code in {"photos/a%2Fb": "bad_path", "v1/1": "bad_path"}.items():
        assert jane.ask("GET", f"{door}/{path}", SECRET, whole_target=True).code == code
    door = "/bff/authorize/public/bff/api"
    assert jane.ask("GET", f"{door}/public/list?x", SECRET, whole_target=True).status == 200
    assert jane.ask("GET", f"{door}/public/%6cist", SECRET, whole_target=True).status == 400
    assert jane.ask("GET", f"{door}/public/admin?list", SECRET, whole_target=True).status == 400


def test_an_answer_is_remembered_for_a_second_and_a_sites_own_rule_never(jane: Caller):
    for target, seconds in {
        "photos/1": "1",
        "weather/1": "1",
        "news/1": "1",
        "guarded/1": None,
    }.items():
        assert authorize(jane, "GET", target).get("X-BFF-Remember") == seconds, target
    assert authorize(jane, "GET", "news/1", cookie=b"a=b").get("X-BFF-Remember") == "1"


def long_memory(make_site: MakeSite, upstream: RecordingUpstream, **env: str) -> Caller:
    env = {"OAUTHBFF_EDGE_SECRET": EDGE_SECRET, "OAUTHBFF_EDGE_REMEMBER": "60", **env}
    return signed_in(make_site(env=env), upstream)


def test_nothing_is_remembered_for_longer_than_the_token_lives(
    make_site: MakeSite, provider: NodeProvider, upstream: RecordingUpstream
):
    provider.configure(ACCESS_TTL=4)
    jane = long_memory(make_site, upstream)
    assert authorize(jane, "GET", "photos/1").get("X-BFF-Remember") in ("2", "3")
    time.sleep(2)  # refresh begins in the last quarter of the life
    assert authorize(jane, "GET", "photos/1").get("X-BFF-Remember") in ("1", "2", "3")
    assert authorize(jane, "GET", "weather/1").get("X-BFF-Remember") == "60"


def test_nothing_is_remembered_for_longer_than_the_grant_lives(
    make_site: MakeSite, upstream: RecordingUpstream
):
    jane = long_memory(make_site, upstream, OAUTHBFF_ABSOLUTE_TIMEOUT="10")
    seconds = authorize(jane, "GET", "photos/1").get("X-BFF-Remember")
    assert 1 <= int(seconds or 0) <= 10


def test_zero_seconds_is_not_at_all(make_site: MakeSite, upstream: RecordingUpstream):
    jane = long_memory(make_site, upstream, OAUTHBFF_EDGE_REMEMBER="0")
    said = authorize(jane, "GET", "photos/1")
    assert (said.status, said.get("X-BFF-Remember")) == (200, None)


def test_a_due_token_is_refreshed_an_ended_grant_refused_and_an_outage_is_503(
    make_site: MakeSite, provider: NodeProvider, upstream: RecordingUpstream
):
    provider.configure(ACCESS_TTL=1)
    jane = signed_in(proxy_site(make_site, upstream, "gunicorn"), upstream)
    first = authorize(jane, "GET", "photos/1").get("Authorization")
    time.sleep(1.1)
    assert authorize(jane, "GET", "photos/1", ours=False).code == "csrf_failed"
    assert provider.refreshes == 0
    second = authorize(jane, "GET", "photos/1").get("Authorization")
    assert second not in (None, first)
    assert provider.refreshes == 1
    provider.fail_refreshes(times=99)
    time.sleep(1.1)
    said = authorize(jane, "GET", "photos/1")
    assert (said.status, said.code) == (503, "provider_unavailable")
    assert int(said.get("Retry-After") or 0) >= 1
    assert authorize(jane, "GET", "weather/1").status == 200
    jane.site.manage("endgrants", "--subject", "jane", "--reason", "over", "--yes")
    said = authorize(jane, "GET", "photos/1")
    assert (said.status, said.code) == (401, "grant_ended")
    for secret in (first, second):
        assert str(secret).removeprefix("Bearer ") not in jane.site.log()
    assert EDGE_SECRET not in jane.site.log()


def test_it_is_the_browsers_address_that_is_written_down(jane: Caller):
    for given, written in {"192.0.2.7": "192.0.2.7", "evil\t": "127.0.0.1"}.items():
        before = len(jane.site.log())
        line = f"X-BFF-Edge-Address: {given}"
        assert authorize(jane, "GET", "photos/1", line, ours=False).status == 403
        log = jane.site.log()[before:]
        assert f"ip={written}" in log
        assert "path=/bff/api/photos/1" in log
