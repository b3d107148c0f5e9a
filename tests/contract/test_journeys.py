"""The four journeys, over real HTTP: a certified provider, real servers, a recording API."""

from __future__ import annotations

import time
import uuid
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from oauthbff.login import pending
from tests.conftest import MakeSite
from tests.support.browser import Browser
from tests.support.provider import NodeProvider
from tests.support.site import Site
from tests.support.upstream import RecordingUpstream

SERVERS = ("gunicorn", "uvicorn", "runserver")


@pytest.fixture(params=SERVERS)
def any_site(request: pytest.FixtureRequest, make_site: MakeSite) -> Site:
    return make_site(server=request.param, workers=1 if request.param == "runserver" else 2)


def test_login_call_and_logout_on_every_server(
    any_site: Site, provider: NodeProvider, upstream: RecordingUpstream
):
    browser = any_site.browser()
    landed = browser.login("jane", return_to="/?from=login")
    assert landed.url.endswith("/?from=login")

    session = browser.fetch("session/").json()
    assert session["authenticated"] is True
    assert session["user"]["sub"] == "jane"
    uuid.UUID(session["grant"]["handle"])
    assert "openid" in session["grant"]["scopes"]
    assert 1700 < session["grant"]["idle_expires_in"] <= 1800
    assert 28700 < session["grant"]["expires_in"] <= 28800
    assert session["upstreams"] == ["photos", "weather", "news"]
    assert session["login_url"] == "/bff/login/"
    assert session["logout_url"] == "/bff/logout/"

    answer = browser.fetch("api/photos/album/1?size=%32&q=a+b")
    assert answer.status == 200
    [call] = upstream.requests
    assert call.target == "/photos/album/1?size=%32&q=a+b"
    assert call.get("Cookie") is None
    assert call.token is not None
    assert provider.active(call.token)

    out = browser.fetch("logout/", method="POST")
    assert out.status == 200
    assert out.json()["logout_url"].startswith(provider.issuer)
    refused = browser.fetch("api/photos/album/1")
    assert (refused.status, refused.get("X-BFF-Error")) == (401, "login_required")
    assert not provider.active(call.token)
    assert provider.live_refresh_tokens == 0
    assert len(upstream.requests) == 1


def test_the_strict_session_cookie_is_absent_on_the_callback_and_the_page_comes_up_signed_in(
    site: Site, browser: Browser
):
    landed = browser.login("jane")
    [callback] = [one for one in landed.chain if "/bff/callback/" in one.url]
    assert b"__Host-Http-bff-login" in callback.sent
    assert b"__Host-Http-bff-auth=" not in callback.sent
    assert callback.status == 303
    assert browser.is_logged_in()


def test_an_anonymous_visitor_costs_no_database_row(site: Site, browser: Browser):
    for _ in range(7):
        browser.navigate("/bff/login/?return_to=/", follow=False)
    assert site.sql("SELECT count(*) FROM django_session") == [(0,)]
    pending = [name for name in browser.cookies if "login" in name]
    assert len(pending) == 5


@pytest.mark.parametrize(("length", "logins"), [(10, 5), (400, 4), (2000, 1)])
def test_logins_in_progress_leave_room_in_the_head_of_a_request(
    browser: Browser, length: int, logins: int
):
    """gunicorn and nginx refuse more than 8 kB of cookies, on every page of the site."""
    wanted = "/" + "x" * (length - 1)
    for _ in range(7):
        answer = browser.navigate(f"/bff/login/?return_to={wanted}", follow=False)
        assert answer.status == 302
    begun = [cookie for cookie in browser.cookies.all() if "login" in cookie.name]
    assert len(begun) == logins
    assert sum(len(f"{one.name}={one.value}; ") for one in begun) <= pending.ROOM_BYTES


class Looked(dict[str, Any]):
    """A request's head that counts how often the Cookie header is searched."""

    times = 0

    def get(self, key: str, default: Any = None) -> Any:
        self.times += key == "HTTP_COOKIE"
        return super().get(key, default)


def test_hundreds_of_made_up_logins_are_not_all_looked_at():
    made_up = "; ".join(f"{pending.COOKIE_PREFIX}{number:024x}=x" for number in range(1000))
    request = RequestFactory().get("/", HTTP_COOKIE=made_up)
    request.META = looked = Looked(request.META)
    response = HttpResponse()
    current = pending.Transaction(
        state="s", nonce="n", code_verifier="v", issuer="i", return_to="/", started_at=0
    )
    current.save(response)
    pending.make_room(request, response, current)
    assert looked.times == pending.MOST_READ
    assert len(response.cookies) == 1 + pending.MOST_READ


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("next=/vault", "/vault"),
        ("return_to=&next=/vault", "/vault"),
        ("return_to=/photos&next=/vault", "/photos"),
        ("next=//evil.example", "/"),
        ("next=https://evil.example/", "/"),
    ],
)
def test_djangos_name_for_the_way_back_is_understood(
    site: Site, browser: Browser, provider: NodeProvider, query: str, path: str
):
    """`LOGIN_URL = "oauthbff:login"` and `login_required`."""
    provider.login_as("jane")
    landed = browser.navigate(f"login/?{query}", from_site=f"{site.base_url}/")
    assert landed.url == f"{site.base_url}{path}"


def test_the_question_whether_to_sign_in_keeps_the_way_back(browser: Browser):
    asked = browser.navigate("login/?next=/vault", from_site="https://elsewhere.example")
    assert "/bff/login/?next=%2Fvault" in asked.text


def test_a_login_is_a_navigation(site: Site, browser: Browser):
    assert browser.fetch("login/").status == 400
    asked = browser.navigate("/bff/login/", from_site="https://elsewhere.example", follow=False)
    assert asked.status == 200
    assert "button" in asked.text


def test_a_second_login_supersedes_the_first_and_spares_the_family_they_share(
    site: Site, browser: Browser, provider: NodeProvider
):
    provider.configure(ACCESS_TTL=3)
    browser.login("jane")
    first = browser.session()["grant"]["handle"]
    browser.login("jane")
    second = browser.session()["grant"]["handle"]
    assert first != second
    rows = dict(site.sql("SELECT id, end_reason FROM oauthbff_tokengrant"))
    assert {uuid.UUID(str(key)): value for key, value in rows.items()} == {
        uuid.UUID(first): "superseded",
        uuid.UUID(second): "",
    }
    assert site.sql("SELECT count(*) FROM django_session") == [(1,)]
    time.sleep(3.2)
    assert browser.fetch("api/photos/1").status == 200  # the new grant can still refresh
    browser.logout()
    assert provider.live_refresh_tokens == 0


def test_another_person_in_the_same_browser_gets_a_session_of_their_own(
    site: Site, browser: Browser, provider: NodeProvider
):
    browser.login("jane")
    before = browser.cookie_header("/")
    provider.login_as("bob")
    browser.navigate("login/?prompt=login", from_site=f"{site.base_url}/")
    assert browser.session()["user"]["sub"] == "bob"
    assert browser.cookie_header("/") != before
    old = site.browser()
    answer = old.fetch("session/", headers={"Cookie": before}).json()
    assert answer["authenticated"] is False
    # The provider ends Jane's session to let Bob in, and may tell us so before he is back.
    assert answer["ended"] in ("superseded", "backchannel")


def test_a_person_is_found_by_issuer_and_subject_and_never_by_address(
    make_site: MakeSite, provider: NodeProvider
):
    site = make_site(workers=2)
    for sub in ("jane", "bob", "jane"):
        site.browser().login(sub)
    site.sql("UPDATE auth_user SET email = 'same@example.com'")
    site.browser().login("jane")
    site.browser().login("carol")
    people = site.sql("SELECT subject FROM oauthbff_identity ORDER BY subject")
    assert [subject for (subject,) in people] == ["bob", "carol", "jane"]
    assert site.sql("SELECT count(*) FROM auth_user") == [(3,)]


def test_every_refusal_is_a_problem_with_a_code(
    site: Site, browser: Browser, upstream: RecordingUpstream
):
    for method, path, headers, status, code in (
        ("GET", "api/photos/1", {}, 401, "login_required"),
        ("GET", "api/photos/1", {"X-BFF": None}, 403, "csrf_failed"),
        ("GET", "session/", {"X-BFF": None}, 403, "csrf_failed"),
        ("GET", "session/", {"Sec-Fetch-Site": "same-site"}, 403, "csrf_failed"),
        ("GET", "session/", {"Origin": "https://evil.example"}, 403, "csrf_failed"),
        ("POST", "logout/", {"X-BFF": None}, 403, "csrf_failed"),
        ("GET", "logout/", {}, 405, "method_not_allowed"),
        ("OPTIONS", "logout/", {}, 405, "method_not_allowed"),
        ("PUT", "session/", {}, 405, "method_not_allowed"),
        ("OPTIONS", "login/", {}, 405, "method_not_allowed"),
        ("POST", "login/", {}, 405, "method_not_allowed"),
        ("POST", "callback/", {"Origin": "https://evil.example"}, 405, "method_not_allowed"),
        ("GET", "api/nothing/1", {}, 404, "no_such_upstream"),
        ("POST", "api/weather/1", {}, 405, "method_not_allowed"),
        ("GET", "api/weather/../1", {}, 400, "bad_path"),
    ):
        answer = browser.fetch(path, method=method, headers=headers)
        assert (answer.status, answer.get("X-BFF-Error")) == (status, code), (method, path)
        assert answer.get("Content-Type") == "application/problem+json"
        assert answer.json()["code"] == code
        assert answer.json()["status"] == status
        assert (status == 405) == (answer.get("Allow") is not None)
        assert answer.get("Cache-Control") == "no-store"
        assert not [name for name, _ in answer.headers if name.lower().startswith("access-control")]
    assert upstream.requests == []


def test_logout_by_form_needs_djangos_token_and_redirects(site: Site, browser: Browser):
    browser.login("jane")
    home = f"{site.base_url}/"
    refused = browser.navigate("logout/", form={"a": "b"}, from_site=home, follow=False)
    assert refused.status == 403
    assert browser.is_logged_in()
    token = browser.cookies["__Host-Http-csrf-token"].value
    form = {"csrfmiddlewaretoken": token}
    assert browser.navigate("logout/", form=form, from_site="https://evil.example/").status == 403
    gone = browser.navigate("logout/", form=form, from_site=home, follow=False)
    assert gone.status == 303
    assert not browser.is_logged_in()


def test_logout_twice_and_without_a_session_is_no_error(site: Site, browser: Browser):
    assert browser.fetch("logout/", method="POST").json() == {"logout_url": None}
    browser.login("jane")
    assert browser.fetch("logout/", method="POST").status == 200
    assert browser.fetch("logout/", method="POST").json() == {"logout_url": None}


@pytest.mark.parametrize("query", ["", "?state=right", "?state=wrong&state=twice", "?x=//evil"])
def test_the_way_back_from_the_providers_logout_tolerates_any_state(site: Site, query: str):
    assert site.browser().navigate(f"/bff/logged-out/{query}").status == 200


def test_the_whole_round_of_logout_ends_the_providers_session_too(
    site: Site, browser: Browser, provider: NodeProvider
):
    browser.login("jane")
    assert provider.sessions == 1
    browser.logout()
    assert provider.sessions == 0


def test_a_provider_that_is_down_keeps_nobody_from_logging_out(
    site: Site, browser: Browser, provider: NodeProvider
):
    browser.login("jane")
    provider.fault("/token/revocation", status=503, times=9)
    assert browser.fetch("logout/", method="POST").status == 200
    assert browser.fetch("session/").json()["authenticated"] is False
    assert site.sql("SELECT revocation, revocation_attempts FROM oauthbff_tokengrant") == [
        ("pending", 1)
    ]


def test_errors_of_the_provider_lead_to_a_short_page_and_sign_nobody_out(
    site: Site, browser: Browser, provider: NodeProvider
):
    browser.login("jane")
    provider.refuse_login("access_denied")
    landed = browser.navigate("/bff/login/?prompt=login")
    assert landed.url.endswith("/bff/error/?bff_error=access_denied")
    assert landed.status == 400
    assert browser.is_logged_in()


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?code=x",
        "?code=x&state=y",
        "?state=y&error=access_denied",
        "?code=" + "x" * 3900 + "&state=y",
        "?code=a&code=b&state=y",
        "?%00=%ff&state=%f0%28",
    ],
)
def test_a_callback_that_belongs_to_no_login_asks_the_provider_nothing(
    site: Site, browser: Browser, provider: NodeProvider, query: str
):
    provider.forget_log()
    landed = browser.navigate(f"/bff/callback/{query}")
    assert "/bff/error/?bff_error=" in landed.url
    assert landed.status == 400
    assert provider.exchanges == 0
    assert site.sql("SELECT count(*) FROM oauthbff_tokengrant") == [(0,)]


def test_a_token_endpoint_that_fails_signs_nobody_in(
    site: Site, browser: Browser, provider: NodeProvider
):
    for fault in (
        {"status": 503},
        {"status": 400, "body": '{"error": "invalid_grant"}'},
        {"status": 200, "body": "<html>"},
        {"status": 200, "body": "{}"},
        {"status": 307, "body": ""},
        {"drop": "before"},
    ):
        provider.fault("/token", times=3, **fault)
        landed = browser.navigate("/bff/login/", follow=True)
        if "/bff/" not in landed.url:
            provider.login_as("jane")
            landed = browser.navigate("/bff/login/")
        assert "/bff/error/?bff_error=" in landed.url, (fault, landed.url)
        assert not browser.is_logged_in(), (fault, landed)
        provider.mend()
    assert site.sql("SELECT count(*) FROM oauthbff_tokengrant") == [(0,)]
    assert "Traceback" not in site.log()


def test_step_up_asks_the_provider_anew_and_replaces_the_grant(
    site: Site, browser: Browser, provider: NodeProvider
):
    browser.login("jane")
    first = browser.session()["grant"]["handle"]
    provider.forget_log()
    time.sleep(1.1)
    landed = browser.navigate("login/?max_age=0&return_to=/vault", from_site=f"{site.base_url}/")
    assert landed.url == f"{site.base_url}/vault"
    [asked] = [call for call in provider.calls("/auth") if "max_age" in call.params]
    assert asked.params["max_age"] == "0"
    second = browser.session()["grant"]["handle"]
    assert first != second
    ended = site.sql("SELECT end_reason FROM oauthbff_tokengrant WHERE end_reason <> ''")
    assert len(ended) == 1


def test_of_what_a_link_to_login_adds_the_provider_sees_the_allow_list_alone(
    site: Site, browser: Browser
):
    def asked(query: str) -> dict[str, list[str]]:
        begun = browser.navigate(f"login/?{query}", from_site=f"{site.base_url}/", follow=False)
        assert begun.status == 302
        return parse_qs(urlsplit(begun.get("Location") or "").query, keep_blank_values=True)

    ours = set(asked(""))
    extra = {"prompt": "login", "login_hint": "jane", "ui_locales": "de fr", "max_age": "60"}
    foreign = {"scope": "admin", "redirect_uri": "https://evil.example/", "acr_values": "1"}
    foreign |= {"client_id": "evil", "state": "s", "nonce": "n", "request_uri": "https://e/"}
    seen = asked(urlencode(extra | foreign))
    assert set(seen) == ours | set(extra)
    assert {name: seen[name] for name in extra} == {name: [extra[name]] for name in extra}
    assert not [name for name in foreign if name in seen and foreign[name] in seen[name]]
    for odd in ("max_age=-1", "max_age=%D9%A3", "max_age=", "max_age=5e3", f"max_age={'9' * 11}"):
        assert set(asked(odd)) == ours, odd
    for odd in ("login_hint=%0D%0AX:y", f"login_hint={'a' * 256}", "prompt="):
        assert set(asked(odd)) == ours, odd


def test_the_claims_hook_maps_groups_at_each_sign_in(make_site: MakeSite, provider: NodeProvider):
    site = make_site(fresh=True)
    site.browser().login("jane")  # the provider puts everybody into the group "staff"
    assert site.sql("SELECT count(*) FROM auth_user WHERE is_staff = %s", (True,)) == [(1,)]
    plain = make_site(fresh=True, env={"OAUTHBFF_CLAIMS_HOOK": "builtins.print"})
    plain.browser().login("jane")
    assert plain.sql("SELECT count(*) FROM auth_user WHERE is_staff = %s", (True,)) == [(0,)]


def test_long_odd_and_hostile_claims_do_not_break_a_sign_in(
    make_site: MakeSite, provider: NodeProvider
):
    site = make_site(workers=2, database="postgresql")
    for odd in (
        {"email": 123},
        {"email": ["a@b"]},
        {"email": "x" * 300 + "@example.com"},
        {"name": "nul\0byte", "given_name": "nul\0", "family_name": "y" * 500},
        {"given_name": "\ud800"},
    ):
        provider.fault("/me", patch=odd)
        browser = site.browser()
        browser.login("jane")
        assert browser.fetch("session/").status == 200
    assert "Traceback" not in site.log()
