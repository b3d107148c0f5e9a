"""What one proxied call costs, in this process, on a database and a real upstream.

Queries, and calls of Python functions: both can be counted, on any machine alike.

The sessions are made by Django itself, as a sign-in makes them.
"""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.utils import timezone
from django.utils.module_loading import import_string

import project.urls
from oauthbff import grants, upstream
from oauthbff.conf import conf
from oauthbff.models import EndReason, TokenGrant
from oauthbff.urls import urlpatterns as doors
from tests.contract.test_signals import SECRETS, issue
from tests.support.upstream import RecordingUpstream, answer, chunked

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=["db", "cached_db", "cache"])
def engine(request: pytest.FixtureRequest, recording_upstream: RecordingUpstream) -> Iterator[str]:
    recording_upstream.clear()
    # Else the connection would be kept in this process when the test is over.
    recording_upstream.on("/photos/1", answer(b"{}", headers=[("Connection", "close")]))
    changed = {
        **settings.OAUTHBFF,
        "UPSTREAMS": {"photos": {"url": f"{recording_upstream.url}/photos/"}},
    }
    name = f"django.contrib.sessions.backends.{request.param}"
    with override_settings(OAUTHBFF=changed, SESSION_ENGINE=name):
        yield request.param


def signed_in() -> tuple[Client, TokenGrant]:
    grant = issue()
    user = get_user_model().objects.get(pk=grant.user_id)
    session: SessionBase = import_string(f"{settings.SESSION_ENGINE}.SessionStore")()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "oauthbff.login.OIDCBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session[grants.HANDLE] = str(grant.pk)
    session.create()
    browser = Client(headers={"x-bff": "1", "sec-fetch-site": "same-origin"})
    browser.cookies[settings.SESSION_COOKIE_NAME] = session.session_key
    browser.get("/bff/api/photos/1")  # the grant follows the session's key, once
    return browser, grant


def queries_of(browser: Client, target: str = "/bff/api/photos/1") -> list[dict[str, Any]]:
    with CaptureQueriesContext(connection) as seen:
        assert browser.get(target).status_code == 200
    return seen.captured_queries


def test_a_call_asks_one_question_for_session_and_grant_and_writes_nothing(
    engine: str, recording_upstream: RecordingUpstream
):
    browser, _ = signed_in()
    queries = queries_of(browser)
    assert len(queries) == 1, queries
    assert queries[0]["sql"].startswith("SELECT"), queries
    assert ("django_session" in queries[0]["sql"]) == (engine == "db")
    # The user's row is joined for its password and activity; it is not fetched.
    assert "user_agent" not in queries[-1]["sql"]
    assert "last_login" not in queries[-1]["sql"]
    assert recording_upstream.requests[-1].token == SECRETS[0]


def trivial(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"{}", content_type="application/json")


#: The example site, and beside its doors a view that does nothing.
urlpatterns = [path("trivial/", trivial), *project.urls.urlpatterns]
#: Calls of Python functions that a proxied call may make beyond those of a view that does nothing.
#: About ten more than it makes: each further header is one, and where a test before this one has
#: set up OpenTelemetry in this process, `traceparent` is such a header.
MOST_CALLS = {"db": 415, "cached_db": 460, "cache": 460}


@override_settings(ROOT_URLCONF=__name__)
def test_a_call_makes_no_more_calls_of_functions_than_it_must(engine: str):
    browser, _ = signed_in()
    more = calls_of(browser, "/bff/api/photos/1") - calls_of(browser, "/trivial/")
    assert more <= MOST_CALLS[engine]


def calls_of(browser: Client, target: str) -> int:
    """The least of a few: a first call fills caches, and any may meet the garbage collector."""
    return min(counted(browser, target) for _ in range(5))


def counted(browser: Client, target: str) -> int:
    """Without what OpenTelemetry does: that depends on whether somebody in this process listens."""
    count = 0

    def look(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call" and not within("opentelemetry", frame)

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        response = browser.get(target)
    finally:
        sys.setprofile(before)
    assert response.status_code == 200
    return count


def within(package: str, frame: Any) -> bool:
    while frame is not None:
        if str(frame.f_globals.get("__name__")).startswith(package):
            return True
        frame = frame.f_back
    return False


@pytest.mark.parametrize("pause", [0, 0.2])
def test_an_answer_in_chunks_is_here_when_its_last_one_is(
    engine: str, recording_upstream: RecordingUpstream, pause: float
):
    """Else the database's connection is let go, and a new one costs more than the whole call."""
    close = [("Connection", "close")]
    recording_upstream.on("/photos/1", chunked(b"one", b"two", headers=close, pause=pause))
    got = upstream.call(conf().upstreams["photos"], "GET", "/photos/1", [("Host", "x")], None, None)
    time.sleep(0.05)
    got.look_ahead()
    assert got.is_here == (pause == 0)
    assert b"".join(iter(got.read, b"")) == b"onetwo"
    assert got.is_here
    got.close()


def test_no_door_that_ends_or_refreshes_works_inside_the_requests_transaction():
    without = {door.name for door in doors if not hasattr(door.callback, "_non_atomic_requests")}
    assert without == {"error", "logged-out"}


def test_a_grant_that_is_not_known_by_the_sessions_key_is_found_by_its_handle(engine: str):
    """Django has changed the key under us: one more question, once."""
    browser, grant = signed_in()
    TokenGrant.objects.filter(pk=grant.pk).update(session_digest="of another key")
    first, second = queries_of(browser), queries_of(browser)
    assert (len(first) > 1, len(second)) == (True, 1)


def test_a_grant_that_is_found_by_its_handle_is_judged_on_each_call(engine: str):
    """The rows by the session's key say nothing of it, and stay the same whatever becomes of it."""
    browser, grant = signed_in()  # was found so by its first call
    TokenGrant.objects.filter(pk=grant.pk).update(session_digest="of another key")
    get_user_model().objects.filter(pk=grant.user_id).update(is_active=False)
    assert browser.get("/bff/api/photos/1").status_code == 401


def test_of_several_grants_with_the_sessions_key_the_sessions_own_counts(
    engine: str, recording_upstream: RecordingUpstream
):
    browser, grant = signed_in()
    other = TokenGrant.objects.get(pk=grant.pk)
    other.pk = uuid.UUID(int=0)  # the database finds it first
    other.save(force_insert=True)
    assert len(queries_of(browser)) == 1
    grants.end(TokenGrant.objects.filter(pk=grant.pk), reason=EndReason.ADMIN)
    refused = browser.get("/bff/api/photos/1")
    assert (refused.status_code, refused["X-BFF-Error"]) == (401, "grant_ended")


def test_an_expired_session_is_nobodys(engine: str):
    if engine == "cache":
        return  # there, the cache itself forgets
    browser, _ = signed_in()
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    caches["default"].clear()
    assert browser.get("/bff/api/photos/1").status_code == 401


def test_use_is_written_down_once_a_minute(engine: str):
    browser, grant = signed_in()
    earlier = timezone.now() - timedelta(seconds=70)
    TokenGrant.objects.filter(pk=grant.pk).update(last_used_at=earlier)
    first, second = queries_of(browser), queries_of(browser)
    assert [query["sql"].partition(" ")[0] for query in first][-1] == "UPDATE"
    assert len(second) == len(first) - 1


def test_an_upstream_is_written_down_the_first_time_that_it_is_called(engine: str):
    browser, grant = signed_in()
    TokenGrant.objects.filter(pk=grant.pk).update(upstreams="photos-of-old weather")
    first, second = queries_of(browser), queries_of(browser)
    assert [query["sql"].partition(" ")[0] for query in first][-1] == "UPDATE"
    assert len(second) == len(first) - 1
    grant.refresh_from_db()
    assert grant.upstreams == "photos-of-old weather photos"


@pytest.mark.parametrize("change", [{"is_active": False}, {"password": "another"}])
def test_who_is_disabled_behind_our_back_or_has_a_new_password_is_refused(
    engine: str, change: dict[str, Any]
):
    """Written by SQL, so that no signal has ended the grant."""
    browser, grant = signed_in()
    queries_of(browser)  # has been judged once
    get_user_model().objects.filter(pk=grant.user_id).update(**change)
    refused = browser.get("/bff/api/photos/1")
    assert (refused.status_code, refused["X-BFF-Error"]) == (401, "grant_ended")


def test_what_was_judged_once_says_the_same_to_the_browser(engine: str):
    browser, _ = signed_in()
    first, second = (browser.get("/bff/api/photos/1") for _ in range(2))
    assert first["Vary"] == second["Vary"] == "Cookie"
    assert first.headers == second.headers


def test_what_was_judged_once_is_judged_again_under_other_settings(engine: str):
    browser, _ = signed_in()
    queries_of(browser)
    with override_settings(SECRET_KEY="another-secret-key-of-fifty-characters-and-some-more"):
        assert browser.get("/bff/api/photos/1").status_code == 401


def looks_into_the_session(get_response: Any) -> Any:
    """What a middleware of the site may do once the view is done."""

    def look(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["X-Handle"] = request.session[grants.HANDLE]
        return response

    return look


def test_who_looks_into_the_session_costs_no_further_question(engine: str):
    browser, grant = signed_in()
    with override_settings(MIDDLEWARE=[*settings.MIDDLEWARE, f"{__name__}.looks_into_the_session"]):
        browser.handler.load_middleware()
        assert [len(queries_of(browser)) for _ in range(2)] == [1, 1]
        assert browser.get("/bff/api/photos/1")["X-Handle"] == str(grant.pk)


def test_a_session_that_points_elsewhere_is_another(engine: str):
    browser, _ = signed_in()
    queries_of(browser)
    key = browser.cookies[settings.SESSION_COOKIE_NAME].value
    session: SessionBase = import_string(f"{settings.SESSION_ENGINE}.SessionStore")(key)
    session[grants.HANDLE] = str(uuid.UUID(int=0))
    session.save()
    assert browser.get("/bff/api/photos/1").status_code == 401


def test_a_user_class_that_looks_further_is_asked_on_each_call(
    engine: str, monkeypatch: pytest.MonkeyPatch
):
    epoch = "first"
    monkeypatch.setattr(get_user_model(), "get_session_auth_hash", lambda self: epoch)
    browser, _ = signed_in()
    queries_of(browser)
    epoch = "second"
    assert browser.get("/bff/api/photos/1").status_code == 401
