"""What a provider can do to a refresh: what the SPA sees, what is stored, what is revoked."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from oauthbff.testing.behaviour import ABSENT
from oauthbff.testing.provider import StrictProvider
from oauthbff.vault import Envelope
from tests.support.browser import Browser
from tests.support.provider import CLIENT_ID, CLIENT_SECRET, SCOPES
from tests.support.site import KEY, Site, drop_templates
from tests.support.upstream import RecordingUpstream, Reply, Request, answer

PATIENT, HASTY = 10, 2  # seconds that a site waits for the provider
MAIL, FILES = "https://mail.example/", "urn:files"
RESOURCES = {"mail": MAIL, "files": FILES}
INVALID_TOKEN = [("WWW-Authenticate", 'Bearer realm="x", error="invalid_token"')]


@pytest.fixture(scope="module")
def running() -> Iterator[StrictProvider]:
    with StrictProvider(CLIENT_ID, CLIENT_SECRET) as provider:
        yield provider


@pytest.fixture(scope="module")
def waiting(
    running: StrictProvider,
    recording_upstream: RecordingUpstream,
    request: pytest.FixtureRequest,
) -> Iterator[Callable[[int], Site]]:
    """A site of two workers for each time that it waits for the provider."""
    request.config.add_cleanup(drop_templates)
    url = recording_upstream.url
    routes: dict[str, dict[str, Any]] = {"photos": {"url": f"{url}/photos/"}}
    for name, resource in RESOURCES.items():
        routes[name] = {"url": f"{url}/{name}/", "resource": resource}
    with contextlib.ExitStack() as sites:

        @functools.cache
        def start(timeout: int) -> Site:
            env = {"OIDC_TIMEOUT": str(timeout)}
            site = Site(issuer=running.issuer, upstreams=routes, workers=2, env=env)
            return sites.enter_context(site)

        yield start


@pytest.fixture
def strict(running: StrictProvider) -> StrictProvider:
    running.configure()
    return running


@pytest.fixture
def api(strict: StrictProvider, upstream: RecordingUpstream) -> RecordingUpstream:
    """APIs that ask the provider whether the token is good for them."""

    def judge(request: Request) -> Reply:
        resource = RESOURCES.get(request.path.split("/")[1])
        if strict.takes(request.token, resource):
            return answer(b"fine")
        return answer(b"no", status=401, headers=INVALID_TOKEN)

    upstream.on("/*", judge)
    return upstream


@pytest.fixture
def timeout() -> int:
    """No test meets it, however busy the machine is, but those that are to meet it."""
    return PATIENT


@pytest.fixture
def site(waiting: Callable[[int], Site], timeout: int, api: RecordingUpstream) -> Site:
    site = waiting(timeout)
    site.empty()
    return site


@pytest.fixture
def browser(site: Site, strict: StrictProvider) -> Browser:
    return Browser(site.base_url, strict, port=site.port)


@pytest.fixture
def stored(site: Site, settings: Any) -> Callable[[], Envelope]:
    """Open the envelope of the one grant there is."""
    settings.OAUTHBFF = {**settings.OAUTHBFF, "KEYS": {"test": KEY}}

    def look() -> Envelope:
        [(pk, sealed)] = site.sql("SELECT id, envelope FROM oauthbff_tokengrant")
        return Envelope.open(sealed, f"grant:{uuid.UUID(pk)}")

    return look


def expire(site: Site, strict: StrictProvider) -> None:
    site.sql("UPDATE oauthbff_tokengrant SET access_expires_at = '2020-01-01 00:00:00'")
    strict.expire()


def back_off_ends(site: Site) -> None:
    site.sql("UPDATE oauthbff_tokengrant SET refresh_not_before = '2020-01-01 00:00:00'")


def ending(site: Site) -> list[tuple[Any, ...]]:
    return site.sql("SELECT end_reason, revocation FROM oauthbff_tokengrant")


def assert_over(browser: Browser, refused: Any) -> None:
    assert (refused.status, refused.code) == (401, "grant_ended")
    assert refused.json()["reason"] == "invalid_grant"
    assert browser.session() == {**browser.session(), "authenticated": False}
    assert browser.session()["ended"] == "invalid_grant"


# --- rotation ---


@pytest.mark.parametrize("rotation", ["always", "grace", "never", "echo"])
def test_each_expiry_costs_one_refresh_however_the_provider_rotates(
    site: Site,
    browser: Browser,
    strict: StrictProvider,
    api: RecordingUpstream,
    stored: Callable[[], Envelope],
    rotation: str,
):
    strict.switch(rotation=rotation)
    browser.login("jane")
    first = stored().refresh_token
    for round_ in (1, 2, 3):
        expire(site, strict)
        api.requests.clear()
        answers = browser.together(12, "api/photos/1")
        assert [each.body for each in answers] == [b"fine"] * 12
        assert (strict.refreshes, strict.reuses) == (round_, 0)
        assert {each.token for each in api.requests} == {stored().access_token}
    rotates = rotation in ("always", "grace")
    assert (stored().refresh_token != first) is rotates
    assert len({each.token for each in strict.presentations}) == (3 if rotates else 1)
    assert all("scope" not in each.form for each in strict.presentations)


def test_with_a_grace_period_a_lost_answer_is_not_even_noticed(
    site: Site, browser: Browser, strict: StrictProvider, stored: Callable[[], Envelope]
):
    strict.switch(rotation="grace")
    browser.login("jane")
    expire(site, strict)
    strict.fail(after=True, drop=True)
    assert browser.fetch("api/photos/1").status == 200
    assert strict.refreshes == 2
    assert stored().refresh_token == strict.presentations[1].gave[1]


def test_a_provider_without_refresh_tokens_gives_as_long_as_its_token_lives(
    site: Site, browser: Browser, strict: StrictProvider, stored: Callable[[], Envelope]
):
    strict.switch(refresh_tokens=False, expires_in=3)
    browser.login("jane")
    kept = stored()
    assert kept.refresh_token is None
    assert 0 < browser.session()["grant"]["expires_in"] <= 3
    assert browser.fetch("api/photos/1").status == 200
    time.sleep(3.1)
    refused = browser.fetch("api/photos/1")
    assert (refused.status, refused.code) == (401, "grant_ended")
    assert refused.json()["reason"] == "absolute"
    assert ending(site) == [("absolute", "done")]
    assert strict.revocations == [kept.access_token]
    assert strict.refreshes == 0


# --- lifetimes ---


@pytest.mark.parametrize(
    "expires_in",
    [ABSENT, None, 0, -5, True, "soon", [], {}, 0.5, "3600", 3600.7, 20, 10**30, "9" * 60],
    ids=lambda value: "absent" if value is ABSENT else repr(value),
)
def test_no_lifetime_however_odd_means_a_refresh_for_each_call(
    browser: Browser, strict: StrictProvider, expires_in: Any
):
    strict.switch(expires_in=expires_in)
    browser.login("jane")
    assert [browser.fetch("api/photos/1").status for _ in range(4)] == [200] * 4
    assert strict.refreshes == 0


def test_a_lifetime_shorter_than_the_leeway_is_refreshed_in_its_last_quarter(
    browser: Browser, strict: StrictProvider
):
    strict.switch(expires_in=4)
    browser.login("jane")
    begun = time.monotonic()
    statuses = Counter[int]()
    while time.monotonic() < begun + 5:
        statuses[browser.fetch("api/photos/1").status] += 1
        time.sleep(0.1)
    assert set(statuses) == {200}
    assert strict.refreshes == 1


def test_without_a_lifetime_only_the_api_knows_and_one_refresh_follows_its_word(
    site: Site, browser: Browser, strict: StrictProvider, stored: Callable[[], Envelope]
):
    strict.switch(expires_in=ABSENT)
    browser.login("jane")
    old = stored().access_token
    strict.expire()
    answers = browser.together(12, "api/photos/1")
    assert {each.status for each in answers} == {200}
    assert (strict.refreshes, strict.reuses) == (1, 0)
    assert stored().access_token != old
    assert site.sql("SELECT access_expires_at FROM oauthbff_tokengrant") == [(None,)]


# --- the refreshed ID token: ID-18 ---


@pytest.mark.parametrize("revocation", ["family", "token"])
@pytest.mark.parametrize(
    "switches",
    [
        {"id_claims": {"sub": "jane1"}},
        {"id_claims": {"sub": ABSENT}},
        {"id_claims": {"iss": "http://127.0.0.1:1"}},
        {"id_claims": {"aud": "somebody"}},
        {"id_claims": {"aud": [CLIENT_ID, "somebody"]}},
        {"id_claims": {"azp": "somebody"}},
        {"id_claims": {"exp": 1}},
        {"signed_by": "stranger"},
        {"signed_by": "none"},
    ],
    ids=["sub", "no-sub", "iss", "aud", "aud-two", "azp", "expired", "stranger", "none"],
)
def test_tokens_that_come_with_a_wrong_id_token_are_not_used_and_all_is_revoked(
    site: Site,
    browser: Browser,
    strict: StrictProvider,
    api: RecordingUpstream,
    stored: Callable[[], Envelope],
    switches: dict[str, Any],
    revocation: str,
):
    browser.login("jane")
    old = stored()
    strict.switch(revocation=revocation, **switches)
    expire(site, strict)
    answers = browser.together(4, "api/photos/1")
    for refused in answers:
        assert_over(browser, refused)
    assert api.requests == []
    assert strict.refreshes == 1
    [seen] = strict.presentations
    assert set(strict.revocations) == {old.access_token, old.refresh_token, *seen.gave}
    assert strict.alive() == []
    assert ending(site) == [("invalid_grant", "done")]
    assert all(token.encode() not in site.dump() for token in seen.gave)


@pytest.mark.parametrize("claims", [{"nonce": "another"}, {"auth_time": 1}], ids=repr)
def test_a_refreshed_id_token_of_another_authentication_ends_the_grant(
    site: Site, browser: Browser, strict: StrictProvider, claims: dict[str, Any]
):
    browser.login("jane")
    strict.switch(id_claims=claims)
    expire(site, strict)
    assert browser.fetch("api/photos/1").status == 401


def test_no_id_token_with_a_refresh_is_fine_and_the_old_one_stays(
    site: Site, browser: Browser, strict: StrictProvider, stored: Callable[[], Envelope]
):
    strict.switch(id_token=False)
    browser.login("jane")
    old = stored().id_token
    expire(site, strict)
    assert browser.fetch("api/photos/1").status == 200
    assert stored().id_token == old


def test_an_id_token_that_nobody_can_verify_just_now_is_left_out(
    site: Site, browser: Browser, strict: StrictProvider, stored: Callable[[], Envelope]
):
    browser.login("jane")
    old = stored().id_token
    strict.switch(signed_by="unknown", down=frozenset({"jwks"}))
    expire(site, strict)
    assert browser.fetch("api/photos/1").status == 200
    assert stored().id_token == old


# --- scope ---


def test_a_narrower_scope_shows_in_the_session(
    site: Site, browser: Browser, strict: StrictProvider
):
    browser.login("jane")
    assert browser.session()["grant"]["scopes"] == SCOPES.split()
    strict.switch(refreshed_scope="openid profile")
    expire(site, strict)
    assert browser.fetch("api/photos/1").status == 200
    assert browser.session()["grant"]["scopes"] == ["openid", "profile"]


# --- bad days, before the provider has acted: the grant stands ---


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500, "body": {"error": "server_error"}},
        {"status": 503, "body": "<html>", "headers": {"Retry-After": "7"}},
        {"status": 429, "body": {"error": "slow_down"}, "headers": {"Retry-After": "7"}},
        {"status": 200, "body": "<html>welcome</html>"},
        {"status": 200, "body": []},
        {"status": 200, "body": {"token_type": "Bearer"}},
        {"status": 200, "body": {"access_token": "x", "token_type": "DPoP"}},
        {"status": 200, "body": {"access_token": "a\r\nb", "token_type": "Bearer"}},
        {"status": 200, "body": {"error": "invalid_grant"}},
        {"status": 200, "body": "x" * 2_000_000},
        {"status": 302, "body": "", "headers": {"Location": "/token"}},
        {"status": 400, "body": "<html>bad request</html>"},
        {"status": 401, "body": {"error": "invalid_client"}},
        {"status": 400, "body": {"error": ["invalid_grant"]}},
    ],
    ids=lambda fault: f"{fault['status']} {str(fault['body'])[:20]}",
)
def test_an_answer_that_is_none_is_shared_bad_news_and_signs_nobody_out(
    site: Site, browser: Browser, strict: StrictProvider, fault: dict[str, Any]
):
    browser.login("jane")
    expire(site, strict)
    strict.fail(**fault)
    answers = browser.together(6, "api/photos/1")
    assert {(each.status, each.code) for each in answers} == {(503, "provider_unavailable")}
    assert min(int(str(each.get("Retry-After"))) for each in answers) >= 4
    assert browser.fetch("api/photos/1").status == 503
    assert strict.refreshes == 1
    assert browser.is_logged_in()
    back_off_ends(site)
    assert browser.fetch("api/photos/1").status == 200
    assert (strict.refreshes, strict.reuses) == (2, 0)


def test_while_the_old_token_lives_a_failing_provider_is_not_felt(
    site: Site, browser: Browser, strict: StrictProvider
):
    strict.switch(expires_in=8)
    browser.login("jane")
    time.sleep(6.2)
    strict.switch(down=frozenset({"token"}))
    assert {each.status for each in browser.together(6, "api/photos/1")} == {200}
    assert strict.refreshes == 1


@pytest.mark.parametrize("timeout", [HASTY])
def test_a_provider_that_takes_thirty_seconds_holds_nobody_for_thirty_seconds(
    site: Site, browser: Browser, strict: StrictProvider
):
    browser.login("jane")
    expire(site, strict)
    strict.fail(times=2, delay=2 * HASTY + 1.5)  # of thirty; the site has gone by then
    begun = time.monotonic()
    answers = browser.together(6, "api/photos/1")
    assert time.monotonic() - begun < 2 * HASTY + 1.5
    assert {(each.status, each.code) for each in answers} == {(503, "provider_unavailable")}
    assert strict.refreshes == 2  # the retry of an answer that may be lost
    assert browser.is_logged_in()
    back_off_ends(site)
    assert browser.fetch("api/photos/1").status == 200


# --- bad days, after it has rotated: one retry, then a reason, never a loop ---


@pytest.mark.parametrize(
    ("fault", "at_once", "timeout"),
    [
        ({"drop": True}, True, PATIENT),
        ({"half": True}, True, PATIENT),
        ({"delay": HASTY + 0.5}, True, HASTY),
        ({"status": 500}, False, PATIENT),
        ({"body": "<html>oops</html>"}, False, PATIENT),
        ({"body": {"token_type": "Bearer"}}, False, PATIENT),
    ],
    ids=["nothing", "half", "too-late", "500", "html", "no-token"],
)
def test_an_answer_lost_after_rotation_costs_one_retry_and_then_the_sign_in(
    site: Site, browser: Browser, strict: StrictProvider, fault: dict[str, Any], at_once: bool
):
    browser.login("jane")
    expire(site, strict)
    strict.fail(after=True, **fault)
    refused = browser.fetch("api/photos/1")
    if not at_once:
        assert (refused.status, refused.code) == (503, "provider_unavailable")
        back_off_ends(site)
        refused = browser.fetch("api/photos/1")
    assert_over(browser, refused)
    assert browser.fetch("api/photos/1").status == 401
    assert strict.refreshes == 2
    assert strict.alive() == []
    assert ending(site)[0][0] == "invalid_grant"


# --- ended meanwhile ---


@pytest.mark.parametrize("id_token", [True, False])
def test_what_arrives_for_an_ended_grant_is_revoked_token_by_token(
    site: Site, browser: Browser, strict: StrictProvider, id_token: bool
):
    """Also at a provider that revokes nothing but what it is told."""
    strict.switch(revocation="token", id_token=id_token)
    browser.login("jane")
    expire(site, strict)
    with strict.hold() as held, concurrent.futures.ThreadPoolExecutor() as pool:
        asking = pool.submit(browser.fetch, "api/photos/1")
        held.wait()
        Browser.logout(browser, at_provider=False)
        held.release()
        refused = asking.result()
    assert (refused.status, refused.json()["reason"]) == (401, "logout")
    assert set(strict.presentations[0].gave) <= set(strict.revocations)
    assert strict.alive() == []
    assert ending(site) == [("logout", "done")]


@pytest.mark.parametrize("down_since", ["the logout", "the refresh"])
def test_what_arrives_for_an_ended_grant_is_told_later_if_the_provider_is_down(
    site: Site, browser: Browser, strict: StrictProvider, down_since: str
):
    """Whether the grant's own revocation still waits, or its secrets have gone already."""
    strict.switch(revocation="token")
    browser.login("jane")
    expire(site, strict)
    down = frozenset({"revocation"})
    with strict.hold() as held, concurrent.futures.ThreadPoolExecutor() as pool:
        asking = pool.submit(browser.fetch, "api/photos/1")
        held.wait()
        if down_since == "the logout":
            strict.switch(down=down)
        Browser.logout(browser, at_provider=False)
        strict.switch(down=down)
        held.release()
        assert asking.result().json()["reason"] == "logout"
    assert ending(site) == [("logout", "pending")]
    assert strict.alive() != []
    strict.switch(down=frozenset())
    site.sql("UPDATE oauthbff_tokengrant SET revocation_due_at = '2020-01-01 00:00:00'")
    assert "1 told to the provider" in site.manage("sweepgrants")
    assert strict.alive() == []
    assert site.sql("SELECT revocation, envelope FROM oauthbff_tokengrant") == [("done", "")]


# --- the API's word: 401 and the others ---


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (401, []),
        (401, [("WWW-Authenticate", "Bearer")]),
        (401, [("WWW-Authenticate", 'Bearer error="insufficient_scope"')]),
        (401, [("WWW-Authenticate", 'Basic realm="invalid_token"')]),
        (403, INVALID_TOKEN),
        (429, INVALID_TOKEN),
        (503, INVALID_TOKEN),
    ],
)
def test_any_other_refusal_of_the_api_passes_on(
    browser: Browser,
    strict: StrictProvider,
    api: RecordingUpstream,
    status: int,
    headers: list[tuple[str, str]],
):
    browser.login("jane")
    api.on("/photos/1", answer(b"no", status=status, headers=headers))
    passed = browser.fetch("api/photos/1")
    assert (passed.status, passed.body, passed.code) == (status, b"no", None)
    assert (strict.refreshes, len(api.requests)) == (0, 1)


def test_an_upload_that_cannot_be_repeated_gets_the_401_and_the_next_call_the_new_token(
    browser: Browser, strict: StrictProvider, api: RecordingUpstream
):
    browser.login("jane")
    strict.expire()
    refused = browser.fetch("api/photos/1", "POST", body=(b"x" * 1000 for _ in range(3)))
    assert (refused.status, refused.code) == (401, None)
    assert (strict.refreshes, len(api.requests)) == (1, 1)
    again = browser.fetch("api/photos/1", "POST", body=(b"x" * 1000 for _ in range(3)))
    assert again.status == 200
    assert strict.refreshes == 1


def test_an_api_that_refuses_every_token_is_asked_twice_per_call_and_no_more(
    browser: Browser, strict: StrictProvider, api: RecordingUpstream
):
    browser.login("jane")
    api.on("/photos/*", answer(b"no", status=401, headers=INVALID_TOKEN))
    for round_ in (1, 2):
        assert browser.fetch("api/photos/1").status == 401
        assert (strict.refreshes, len(api.requests)) == (round_, 2 * round_)
    assert browser.is_logged_in()


def test_a_refused_token_and_a_provider_that_is_down_pass_the_401_on(
    browser: Browser, strict: StrictProvider, api: RecordingUpstream
):
    browser.login("jane")
    strict.expire()
    strict.switch(down=frozenset({"token"}))
    for _ in range(3):
        refused = browser.fetch("api/photos/1")
        assert (refused.status, refused.code) == (401, None)
    assert (strict.refreshes, len(api.requests)) == (1, 3)
    assert browser.is_logged_in()


def test_without_a_refresh_token_a_refused_token_is_not_sent_again(
    browser: Browser, strict: StrictProvider, api: RecordingUpstream
):
    strict.switch(refresh_tokens=False)
    browser.login("jane")
    strict.expire()
    refused = browser.fetch("api/photos/1", "POST", body={"a": 1})
    assert (refused.status, refused.code) == (401, None)
    assert len(api.requests) == 1


# --- a token per resource: RFC 8707 ---


def test_no_route_ever_gets_the_token_of_another(
    site: Site, browser: Browser, strict: StrictProvider, api: RecordingUpstream
):
    strict.switch(expires_in=2)
    browser.login("jane")
    paths = [f"api/{name}/{number}" for number in range(6) for name in ("mail", "files", "photos")]
    for _ in range(2):
        with concurrent.futures.ThreadPoolExecutor(len(paths)) as pool:
            answers = list(pool.map(browser.fetch, paths))
        assert {each.status for each in answers} == {200}
        time.sleep(2.1)  # all of them run out
    for request in api.requests:
        wanted = RESOURCES.get(request.path.split("/")[1])
        assert strict.tokens[str(request.token)].resource == wanted
    assert strict.reuses == 0
    per_resource = Counter(each.form.get("resource") for each in strict.presentations)
    assert all(1 <= per_resource[name] <= 3 for name in (MAIL, FILES, None)), per_resource


def test_a_resource_is_asked_for_once_and_its_token_kept(
    browser: Browser, strict: StrictProvider, stored: Callable[[], Envelope]
):
    browser.login("jane")
    own = stored().access_token
    assert {each.status for each in browser.together(8, "api/mail/1")} == {200}
    assert {each.status for each in browser.together(4, "api/files/1")} == {200}
    assert browser.fetch("api/photos/1").status == 200
    assert [each.form["resource"] for each in strict.presentations] == [MAIL, FILES]
    assert set(stored().resources) == {MAIL, FILES}
    assert stored().access_token == own


def test_the_tokens_of_all_resources_are_revoked_at_the_end(
    site: Site, browser: Browser, strict: StrictProvider, stored: Callable[[], Envelope]
):
    strict.switch(revocation="token")
    browser.login("jane")
    browser.fetch("api/mail/1")
    browser.fetch("api/files/1")
    kept = stored()
    browser.logout(at_provider=False)
    each = {one["access_token"] for one in kept.resources.values()}
    assert set(strict.revocations) == {kept.refresh_token, kept.access_token, *each}
    assert strict.alive() == []


def test_a_resource_that_is_not_granted_is_that_routes_trouble_alone(
    site: Site, browser: Browser, strict: StrictProvider
):
    browser.login("jane")
    strict.switch(resources=frozenset({MAIL}))
    refused = browser.fetch("api/files/1")
    assert (refused.status, refused.code) == (503, "provider_unavailable")
    assert browser.fetch("api/mail/1").status == 200
    expire(site, strict)
    assert browser.fetch("api/photos/1").status == 200
    assert browser.is_logged_in()


def test_a_resource_that_is_not_granted_is_not_asked_for_by_each_call(
    browser: Browser, strict: StrictProvider
):
    browser.login("jane")
    strict.switch(resources=frozenset({MAIL}))
    assert {browser.fetch("api/files/1").status for _ in range(8)} == {503}
    assert strict.refreshes <= 2  # where the cache is not shared, once per worker


def test_a_refusal_of_the_grant_ends_it_on_whatever_route_it_comes(
    site: Site, browser: Browser, strict: StrictProvider
):
    browser.login("jane")
    strict.fail(status=400, body={"error": "invalid_grant"})
    assert_over(browser, browser.fetch("api/mail/1"))
    assert json.loads(browser.fetch("api/photos/1").body)["reason"] == "invalid_grant"
