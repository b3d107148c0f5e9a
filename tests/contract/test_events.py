"""Security events as a running site writes them (SE-11), and one id in all three logs."""

from __future__ import annotations

import re
import time

import pytest

from tests.conftest import MakeSite
from tests.support.browser import Browser
from tests.support.provider import NodeProvider
from tests.support.site import Site
from tests.support.upstream import RecordingUpstream

TTL = 2


def lines(site: Site, event: str) -> list[str]:
    """The lines of one event, oldest first."""
    return re.findall(rf" oauthbff\.\w+ {event}\b[^\n]*", site.log())


def soon(site: Site, event: str, *parts: str) -> str:
    """The newest line of an event, which must hold all parts."""
    deadline = time.monotonic() + 5
    while True:
        found = [line for line in lines(site, event) if all(part in line for part in parts)]
        if found or time.monotonic() > deadline:
            assert found, (event, parts, lines(site, event))
            return found[-1]
        time.sleep(0.05)


def test_se11_signing_in_refreshing_and_ending_are_written_down(
    make_site: MakeSite, provider: NodeProvider
):
    site = make_site(fresh=True)
    provider.configure(ACCESS_TTL=TTL)
    jane = site.browser()
    jane.login("jane")
    handle = jane.session()["grant"]["handle"]
    soon(site, "grant_issued", handle)
    soon(site, "login_succeeded", handle, "ip=127.0.0.1")
    site.browser().navigate("callback/?code=abcdefgh&state=ijklmnop")
    assert "abcdefgh" not in soon(site, "login_failed", "code=login_expired")
    time.sleep(TTL + 0.2)
    jane.fetch("api/photos/1")
    soon(site, "grant_refreshed", handle)
    time.sleep(TTL - 0.4)
    provider.fault("/token", grant_type="refresh_token", status=503)
    jane.fetch("api/photos/1")
    soon(site, "refresh_failed", handle, "retry_in=")
    jane.fetch("logout/", "POST")
    soon(site, "grant_ended", handle, "reason=logout", "by=")
    soon(site, "provider_told", handle, "state=done")

    joe = site.browser()
    joe.login("joe")
    handle = joe.session()["grant"]["handle"]
    time.sleep(TTL + 0.2)
    refusal = {"error": "invalid_grant"}
    provider.fault("/token", grant_type="refresh_token", status=400, body=refusal)
    assert joe.fetch("api/photos/1").status == 401
    soon(site, "refresh_refused", handle)
    soon(site, "grant_ended", handle, "reason=invalid_grant")


def test_se11_the_providers_and_the_admins_endings_say_who_and_why(
    site: Site, provider: NodeProvider
):
    ada, jane = site.browser(), site.browser()
    ada.login("ada")
    site.sql("UPDATE auth_user SET is_staff = %s, is_superuser = %s", (True, True))
    jane.login("jane")
    handle = jane.session()["grant"]["handle"]
    page = f"/admin/oauthbff/tokengrant/{handle}/change/"
    assert ada.navigate(page, from_site=f"{site.base_url}/").status == 200
    soon(site, "grant_viewed", handle, "by=")
    said = site.manage("endgrants", "--subject", "jane", "--reason", "stolen laptop", "--yes")
    assert re.search(rf"grant_ended grant={handle} reason=admin .*note=\"stolen laptop\"", said)
    forged = {"logout_token": "a.b.c"}
    answer = site.browser().navigate("backchannel-logout/", form=forged)
    assert answer.status == 400
    soon(site, "logout_token_refused", "ip=127.0.0.1")


REFUSALS = [
    pytest.param("api/photos/%2e%2e/x", "GET", {}, "call_refused", "code=bad_path", id="path"),
    pytest.param("api/nowhere/x", "GET", {}, "call_refused", "code=no_such_upstream", id="route"),
    pytest.param("api/weather/x", "POST", {}, "call_refused", "method_not_allowed", id="method"),
    pytest.param("api/photos/1", "GET", {"X-BFF": None}, "csrf_failed", "path=/bff/api", id="csrf"),
]


@pytest.mark.parametrize(("path", "method", "headers", "event", "part"), REFUSALS)
def test_se11_what_is_refused_is_written_down(
    site: Site, path: str, method: str, headers: dict[str, str | None], event: str, part: str
):
    jane = site.browser()
    jane.login("jane")
    before = len(lines(site, event))
    assert jane.fetch(path, method, headers=headers).status >= 400
    soon(site, event, part, "ip=127.0.0.1")
    assert len(lines(site, event)) == before + 1


def test_one_id_is_in_our_log_at_the_api_and_at_the_provider(
    make_site: MakeSite, provider: NodeProvider, upstream: RecordingUpstream
):
    site = make_site(fresh=True)
    provider.configure(ACCESS_TTL=TTL)
    jane = site.browser()
    jane.login("jane")
    time.sleep(TTL + 0.2)
    upstream.clear()
    jane.fetch("api/photos/1", headers={"X-Request-ID": "a-browsers-own"})
    line = soon(site, "grant_refreshed")
    [ours] = re.findall(r"request_id=([0-9a-f]{32})\b", line)
    assert upstream.requests[0].all("X-Request-ID") == [ours]
    refused = jane.fetch("api/nowhere/x")
    assert f"request_id={refused.get('X-Request-ID')}" in soon(site, "call_refused", "nowhere")
    assert refused.get("X-Request-ID") != ours


def test_an_id_of_ones_own_proxy_is_taken_where_it_is_configured(
    make_site: MakeSite, upstream: RecordingUpstream
):
    site = make_site(fresh=True, env={"OAUTHBFF_REQUEST_ID_HEADER": "X-Request-ID"})
    jane = site.browser()
    jane.login("jane")
    upstream.clear()
    jane.fetch("api/photos/1", headers={"X-Request-ID": "proxy-17"})
    jane.fetch("api/photos/1", headers={"X-Request-ID": "two words"})
    first, second = (one.all("X-Request-ID") for one in upstream.requests)
    assert first == ["proxy-17"] and re.fullmatch("[0-9a-f]{32}", second[0])


def test_an_api_that_is_down_is_written_down(make_site: MakeSite):
    dead = {"dead": {"url": "http://127.0.0.1:9/"}}
    site = make_site(fresh=True, upstreams=dead)
    jane: Browser = site.browser()
    jane.login("jane")
    assert jane.fetch("api/dead/x").status == 502
    soon(site, "upstream_failed", "upstream=dead", "code=upstream_unreachable")
