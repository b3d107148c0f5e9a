"""The proxy door as a whole: which upstream, in which order, and what a refusal looks like.

All `test_proxy_*` files use the same routes (tests/support/caller.py), so that one site behind
each door serves them all. The ids in the names of the tests are rows of docs/proxy.md: RP routing,
PT paths, RH request headers, RB bodies, RS responses, ST streams, CS forged calls.
"""

from __future__ import annotations

import pytest

from tests.support.caller import ALL_METHODS, Caller, spare_port
from tests.support.ports import LOOPBACK
from tests.support.provider import NodeProvider
from tests.support.upstream import answer, hang_up, raw, redirect, silence

# ------------------------------------------------------------------------------------ routing


def test_rp1_pt12_only_an_alias_of_the_list_is_a_way_out(jane: Caller):
    connections = jane.upstream.connections
    for target, status in {
        "nothing/1": 404,
        "": 404,
        "photos": 404,  # without its slash
        "photo/1": 404,  # begins like one
        "photos3/1": 404,
        "PHOTOS/1": 404,
        "__proto__/1": 404,
        "http://evil.test/1": 404,
        "ph%6ftos/1": 400,  # decoded an alias, as written not
        "photos%2f1": 400,
    }.items():
        refused = jane.ask("GET", target)
        assert refused.status == status, target
        assert refused.code == ("no_such_upstream" if status == 404 else "bad_path"), target
        assert (jane.reached(), jane.upstream.connections) == ([], connections), target
    jane.still_works()


@pytest.mark.parametrize(
    "target", ["/bff/apiX/photos/1", "/BFF/API/photos/1", "/bff//api/photos/1"]
)
def test_pt12_the_door_itself_is_matched_exactly(jane: Caller, target: str):
    assert jane.ask("GET", target, whole_target=True).status == 404
    assert jane.reached() == []


def test_pt12_aliases_that_begin_alike_are_two_upstreams(jane: Caller):
    assert jane.ask("GET", "photos/1").status == 200
    assert jane.ask("GET", "photos2/1").status == 200
    assert jane.ask("GET", "v1/1").status == 200
    assert jane.reached() == ["GET /photos/1", "GET /second/1", "GET /deep/api/v1/1"]


def test_rp2_no_header_chooses_the_destination(jane: Caller):
    for line in (
        "X-Original-URL: /photos2/1",
        "X-Rewrite-URL: /bff/api/photos2/1",
        "X-Forwarded-Host: evil.test",
        "X-Forwarded-Prefix: /evil",
        "X-Forwarded-Uri: /bff/api/photos2/1",
        "X-HTTP-Method-Override: DELETE",
        "X-Host: evil.test",
        "X-Upstream: photos2",
        "Forwarded: host=evil.test;proto=https",
        "X-Forwarded-Proto: https",
    ):
        jane.upstream.clear()
        assert jane.ask("GET", "photos/1?url=http://evil.test/", line).status == 200, line
        [call] = jane.upstream.requests
        assert (call.method, call.target) == ("GET", "/photos/1?url=http://evil.test/"), line
        assert call.all("Host") == [f"{LOOPBACK}:{jane.upstream.port}"], line
        assert b"evil" not in call.head.replace(b"?url=http://evil.test/", b""), line


@pytest.mark.parametrize(
    ("head", "statuses"),
    [
        pytest.param("OPTIONS *", {400, 403, 404, 405}, id="PT-11-asterisk-form"),
        pytest.param("CONNECT photos.example:443", {400, 404, 405}, id="PT-11-authority-form"),
        pytest.param("CONNECT /bff/api/photos/1", {400, 404, 405}, id="RH-14-CONNECT"),
        pytest.param("GET bff/api/photos/1", {400, 404}, id="PT-11-no-slash"),
    ],
)
def test_only_a_target_in_origin_form_is_forwarded(jane: Caller, head: str, statuses: set[int]):
    method, target = head.format(ours=jane.site.base_url).split(" ")
    refused = jane.ask(method, target, whole_target=True)
    assert refused.status in statuses
    assert jane.reached() == []
    jane.still_works()


@pytest.mark.parametrize("origin", ["http://evil.test", "http://localhost:9", "https://evil.test"])
def test_pt11_an_absolute_form_is_refused_or_goes_to_the_configured_host(jane: Caller, origin: str):
    """uvicorn splits the target before it hands it over, so that the door cannot tell."""
    said = jane.ask("GET", f"{origin}/bff/api/photos/1?a", whole_target=True)
    if jane.sees_the_raw_target:
        assert said.status in (400, 404)
        assert jane.reached() == []
    else:
        assert said.status in (200, 400, 404)
        assert jane.reached() in ([], ["GET /photos/1?a"])


# ------------------------------------------------------------------------------------ methods


@pytest.mark.parametrize("method", ["TRACE", "FOO", "PROPFIND", "OPTIONS", "QUERY"])
def test_rh14_rh16_an_unknown_verb_is_refused_and_echoes_nothing(jane: Caller, method: str):
    refused = jane.ask(method, "photos/1", "X-Canary: canary-canary")
    assert refused.status in (400, 405, 501)  # uvicorn's parser does not know FOO
    assert b"canary" not in refused.wire
    assert jane.reached() == []
    jane.still_works()


@pytest.mark.parametrize("method", ALL_METHODS)
def test_rh16_the_routes_own_methods(jane: Caller, method: str):
    allowed = jane.ask(method, "photos/1", *(["Content-Length: 0"] if method[0] == "P" else []))
    assert (allowed.status, jane.reached()) == (200, [f"{method} /photos/1"])
    jane.upstream.clear()
    other = jane.ask(method, "weather/1", *(["Content-Length: 0"] if method[0] == "P" else []))
    if method == "GET":
        assert (other.status, jane.reached()) == (200, ["GET /weather/1"])
    else:
        assert (other.status, other.code) == (405, "method_not_allowed")
        assert other.get("Allow") == "GET"
        assert jane.reached() == []


# ------------------------------------------------------------------------------------- errors


def test_rs10_rs16_what_is_our_fault_and_what_is_theirs(jane: Caller):
    up = jane.upstream
    up.on("/photos/teapot", answer(b"short and stout", status=418))
    up.on("/photos/down", answer(b"their 503", status=503, headers=[("Retry-After", "7")]))
    up.on("/photos/many", answer(b"their 429", status=429, headers=[("Retry-After", "9")]))
    up.on("/photos/401", answer(b"their 401", status=401, headers=[("X-BFF-Error", "fake")]))
    up.on("/photos/hangs-up", hang_up())
    up.on("/photos/garbage", raw(b"SSH-2.0-OpenSSH_9.9\r\n\r\n"))
    up.on("/photos/leaves", redirect("https://evil.test/"))
    up.on("/hasty/silent", silence())
    theirs = {"teapot": 418, "down": 503, "many": 429, "401": 401}
    for path, status in theirs.items():
        said = jane.ask("GET", f"photos/{path}")
        assert (said.status, said.code) == (status, None), path
    assert jane.ask("GET", "photos/down").get("Retry-After") == "7"
    assert jane.ask("GET", "photos/many").get("Retry-After") == "9"
    assert [line for line in jane.reached() if "many" in line] == ["GET /photos/many"] * 2
    ours = {
        "photos/hangs-up": (502, "upstream_unreachable"),
        "photos/garbage": (502, "upstream_unreachable"),
        "photos/leaves": (502, "upstream_unreachable"),
        "gone/1": (502, "upstream_unreachable"),
        "hasty/silent": (504, "upstream_timeout"),
    }
    for target, expected in ours.items():
        said = jane.ask("GET", target)
        assert (said.status, said.code) == expected, target
        assert said.get("Content-Type") == "application/problem+json"
        assert said.get("Cache-Control") == "no-store"
        for secret in (str(up.port), str(spare_port()), "127.0.0.1", "evil", "Error", "urllib3"):
            assert secret.encode() not in said.body, (target, secret)
    token = up.requests[0].token
    assert token
    assert token not in jane.site.log()


def test_refusals_in_their_order_and_nothing_sent(jane: Caller):
    """CSRF before route, route before session, session before method, path and size."""
    foreign = {"ours": False}
    assert jane.ask("GET", "nothing/..", **foreign).code == "csrf_failed"
    assert jane.ask("GET", "nothing/..", cookie=b"a=b").code == "no_such_upstream"
    assert jane.ask("GET", "photos/..", cookie=b"a=b").code == "login_required"
    assert jane.ask("GET", "photos/..").code == "bad_path"
    assert jane.reached() == []


@pytest.mark.parametrize(
    ("alias", "signed_in_token", "anonymous_status"),
    [("photos", True, 401), ("news", True, 200), ("weather", False, 200)],
)
def test_ar6_whose_token_goes_along(
    jane: Caller,
    provider: NodeProvider,
    alias: str,
    signed_in_token: bool,
    anonymous_status: int,
):
    assert jane.ask("GET", f"{alias}/1").status == 200
    [call] = jane.upstream.requests
    assert (call.token is not None) is signed_in_token
    assert len(call.all("Authorization")) == int(signed_in_token)
    assert call.token is None or provider.active(call.token)
    jane.upstream.clear()
    said = jane.ask("GET", f"{alias}/1", "Authorization: Bearer evil", cookie=b"a=b")
    assert said.status == anonymous_status
    assert [one.get("Authorization") for one in jane.upstream.requests] == (
        [] if anonymous_status == 401 else [None]
    )


def test_each_api_is_written_down_at_its_first_call_even_if_nobody_was_there(jane: Caller):
    newest = "FROM oauthbff_tokengrant ORDER BY created_at DESC LIMIT 1"
    [(before,)] = jane.site.sql(f"SELECT last_used_at {newest}")
    for target in ("photos/1", "photos2/1", "photos/2"):
        assert jane.ask("GET", target, "X-BFF-Slide: false").status == 200
    [(called, used)] = jane.site.sql(f"SELECT upstreams, last_used_at {newest}")
    assert called.split() == ["photos", "photos2"]
    assert used == before
