"""One refresh, whatever happens: real processes, a provider that revokes the family on reuse."""

from __future__ import annotations

import concurrent.futures
import time

import pytest

from tests.conftest import MakeSite
from tests.support.browser import Browser
from tests.support.provider import NodeProvider
from tests.support.site import Site
from tests.support.upstream import RecordingUpstream, answer

DATABASES = ("sqlite", "postgresql", "mariadb")
TTL = 3  # seconds


@pytest.fixture
def short_lived(provider: NodeProvider) -> NodeProvider:
    provider.configure(ACCESS_TTL=TTL)
    return provider


def expire() -> None:
    time.sleep(TTL + 0.2)


@pytest.mark.parametrize("database", DATABASES)
def test_twenty_calls_over_four_processes_refresh_once(
    make_site: MakeSite, short_lived: NodeProvider, database: str
):
    site = make_site(workers=4, database=database)
    browser = site.browser()
    browser.login("jane")
    for round_ in range(1, 3):
        expire()
        answers = browser.together(20, "api/photos/1")
        assert [one.status for one in answers] == [200] * 20
        assert (short_lived.refreshes, short_lived.reuses) == (round_, 0)


def test_who_waits_for_a_refresh_keeps_no_pooled_connection(
    make_site: MakeSite, short_lived: NodeProvider
):
    """psycopg's pool has four: the one call with the new tokens needs one to store them."""
    env = {"DATABASE_POOL": "1"}
    site = make_site(server="uvicorn", database="postgresql", env=env)
    browser = site.browser()
    browser.login("jane")
    expire()
    short_lived.fault("/token", grant_type="refresh_token", delay=1.0)
    answers = browser.together(40, "api/photos/1")
    assert [one.status for one in answers] == [200] * 40
    assert short_lived.reuses == 0


def test_two_hosts_that_share_a_database_refresh_once(
    make_site: MakeSite, short_lived: NodeProvider
):
    one = make_site(workers=2, database="postgresql")
    other = make_site(share=one, workers=2)
    browser = one.browser()
    browser.login("jane")
    twin = other.browser(cookies_of=browser)
    expire()
    answers = browser.together(10, "api/photos/1") + twin.together(10, "api/photos/1")
    assert {one.status for one in answers} == {200}
    assert (short_lived.refreshes, short_lived.reuses) == (1, 0)


def test_nobody_waits_while_the_token_at_hand_is_valid(make_site: MakeSite, provider: NodeProvider):
    provider.configure(ACCESS_TTL=8)  # due two seconds before its end
    site = make_site(workers=2)
    browser = site.browser()
    browser.login("jane")
    time.sleep(6.3)
    provider.fault("/token", grant_type="refresh_token", delay=1.2)
    started = time.monotonic()
    answers = browser.together(6, "api/photos/1")
    assert {one.status for one in answers} == {200}
    assert time.monotonic() - started < 5
    assert provider.refreshes == 1


@pytest.mark.parametrize(
    "fault",
    [{"status": 503}, {"status": 500, "body": "<html>no</html>"}, {"drop": "before"}],
    ids=["503", "html", "dropped"],
)
def test_an_outage_never_logs_anybody_out(
    site: Site, browser: Browser, short_lived: NodeProvider, fault: dict[str, object]
):
    browser.login("jane")
    expire()
    short_lived.fault("/token", grant_type="refresh_token", times=2, **fault)  # type: ignore[arg-type]
    refused = browser.fetch("api/photos/1")
    assert (refused.status, refused.code) == (503, "provider_unavailable")
    wait = int(str(refused.get("Retry-After")))
    assert wait > 0
    again = browser.fetch("api/photos/1")  # shared bad news: the provider is left alone
    assert again.status == 503
    assert browser.is_logged_in()
    short_lived.mend()
    time.sleep(wait)
    assert browser.fetch("api/photos/1").status == 200


def test_a_refused_refresh_ends_the_grant_for_everybody_waiting(
    site: Site, browser: Browser, short_lived: NodeProvider
):
    browser.login("jane")
    expire()
    refusal = {"error": "invalid_grant"}
    short_lived.fault("/token", grant_type="refresh_token", status=400, body=refusal)
    answers = browser.together(8, "api/photos/1")
    assert {(one.status, one.code) for one in answers} == {(401, "grant_ended")}
    assert {one.json()["reason"] for one in answers} == {"invalid_grant"}
    assert browser.session()["ended"] == "invalid_grant"
    assert short_lived.refreshes == 1


def test_an_answer_lost_after_rotation_is_asked_for_once_more_and_then_ends_with_a_reason(
    site: Site, browser: Browser, short_lived: NodeProvider
):
    browser.login("jane")
    expire()
    short_lived.fault("/token", grant_type="refresh_token", drop="after")
    refused = browser.fetch("api/photos/1")
    assert (refused.status, refused.code) == (401, "grant_ended")
    assert refused.json()["reason"] == "invalid_grant"
    asked = len(short_lived.calls("/token", grant_type="refresh_token"))
    browser.fetch("api/photos/1")
    assert len(short_lived.calls("/token", grant_type="refresh_token")) == asked == 2


def test_a_grant_ended_while_its_refresh_is_under_way_stays_dead_and_the_new_tokens_are_revoked(
    site: Site, browser: Browser, short_lived: NodeProvider
):
    browser.login("jane")
    expire()
    short_lived.fault("/token", grant_type="refresh_token", delay=1.5)
    twin = site.browser(cookies_of=browser)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        refreshing = pool.submit(twin.fetch, "api/photos/1")
        time.sleep(0.7)
        browser.fetch("logout/", "POST")
        assert refreshing.result().status == 401
    assert short_lived.refreshes == 1
    assert short_lived.live_refresh_tokens == 0
    assert site.sql("SELECT end_reason FROM oauthbff_tokengrant") == [("logout",)]


def test_a_rotated_token_survives_an_error_answer_and_atomic_requests(
    make_site: MakeSite, short_lived: NodeProvider, upstream: RecordingUpstream
):
    site = make_site(workers=2, env={"ATOMIC_REQUESTS": "True"})
    browser = site.browser()
    browser.login("jane")
    for _ in range(2):
        expire()
        upstream.on("/photos/1", answer(b"broken", status=500))
        assert browser.fetch("api/photos/1").status == 500
    assert (short_lived.refreshes, short_lived.reuses) == (2, 0)
    assert browser.is_logged_in()


def test_an_api_that_refuses_the_token_gets_a_new_one_once(
    site: Site, browser: Browser, provider: NodeProvider, upstream: RecordingUpstream
):
    browser.login("jane")
    challenge = [("WWW-Authenticate", 'Bearer error="invalid_token"')]
    upstream.on("/photos/1", answer(b"", status=401, headers=challenge), answer(b"fine"))
    assert browser.fetch("api/photos/1", "POST", body={"a": 1}).status == 200
    assert provider.refreshes == 1
    first, second = upstream.requests
    assert first.token != second.token
    assert first.sha256 == second.sha256

    upstream.clear()
    upstream.on("/photos/2", answer(b"", status=401, headers=challenge))
    refused = browser.fetch("api/photos/2")
    assert refused.status == 401
    assert refused.get("X-BFF-Error") is None  # the API's own word
    assert len(upstream.requests) == 2

    upstream.clear()
    upstream.on("/photos/3", answer(b"", status=401))
    assert browser.fetch("api/photos/3").status == 401
    assert len(upstream.requests) == 1
    assert provider.refreshes == 2


def test_a_provider_that_names_no_lifetime_is_not_asked_for_each_call(
    site: Site, browser: Browser, provider: NodeProvider
):
    provider.fault("/token", patch={"expires_in": None})
    browser.login("jane")
    for _ in range(3):
        assert browser.fetch("api/photos/1").status == 200
    assert provider.refreshes == 0
