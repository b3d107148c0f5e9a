"""BFFAuthentication and access_token in a site's own DRF view: the one of docs/views.md."""

from __future__ import annotations

import json

import pytest

from tests.conftest import MakeSite
from tests.support.caller import Caller, Raw
from tests.support.provider import NodeProvider
from tests.support.upstream import RecordingUpstream, answer

SHOP = "/orders/"


@pytest.fixture
def shopper(make_site: MakeSite, upstream: RecordingUpstream) -> Caller:
    env = {
        "DJANGO_SETTINGS_MODULE": "tests.support.example_settings",
        "PHOTO_API": upstream.url,
    }
    site = make_site(env=env)
    browser = site.browser()
    browser.login("jane")
    upstream.on("/photos/7", answer('{"title": "sea"}'))
    return Caller(site, browser, upstream)


def order(shopper: Caller, *lines: str, **how: object) -> Raw:
    body = b'{"photo": 7}'
    kind = ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return shopper.ask("POST", SHOP, *kind, *lines, body=body, whole_target=True, **how)


def test_the_view_of_the_page_calls_an_api_with_the_users_token(
    shopper: Caller, provider: NodeProvider
):
    said = order(shopper)
    assert said.status == 201
    assert json.loads(said.body)["photo"] == {"title": "sea"}
    [call] = shopper.upstream.requests
    assert call.token and provider.active(call.token)
    assert call.get("Cookie") is None


def test_the_header_rule_is_that_of_the_doors(shopper: Caller):
    for lines in (
        [],
        ["X-BFF: 1", "Sec-Fetch-Site: cross-site"],
        ["X-BFF: 1", "Origin: https://evil.test"],
        ["X-BFF: 0", "Sec-Fetch-Site: same-origin"],
    ):
        said = order(shopper, *lines, ours=False)
        assert (said.status, said.code) == (403, "csrf_failed"), lines
        assert said.get("Content-Type") == "application/problem+json"
    said = shopper.ask("GET", SHOP, ours=False, whole_target=True)
    assert (said.status, said.code) == (403, "csrf_failed")
    assert shopper.reached() == []


def test_nobody_is_401_and_an_ended_grant_says_why(shopper: Caller):
    said = order(shopper, cookie=b"a=b")
    assert (said.status, said.code) == (401, "login_required")
    assert said.get("WWW-Authenticate") is None
    shopper.site.manage("endgrants", "--all", "--reason", "test", "--yes")
    said = order(shopper)
    assert (said.status, said.code) == (401, "grant_ended")
    assert json.loads(said.body)["reason"] == "admin"
    assert shopper.reached() == []


def test_a_provider_that_is_away_is_503_and_says_when_to_try_again(
    shopper: Caller, provider: NodeProvider
):
    shopper.site.sql("update oauthbff_tokengrant set access_expires_at=created_at")
    provider.fail_refreshes(times=3)
    said = order(shopper)
    assert (said.status, said.code) == (503, "provider_unavailable")
    assert int(said.get("Retry-After") or 0) >= 1
    assert shopper.reached() == []


def test_other_refusals_are_drfs_own(shopper: Caller):
    said = shopper.ask("GET", SHOP, whole_target=True)
    assert (said.status, said.code) == (405, None)
    assert json.loads(said.body) == {"detail": 'Method "GET" not allowed.'}
