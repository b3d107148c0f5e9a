"""DRF's permissions and throttles on a route: as people know them, and never in DRF's own words."""

from __future__ import annotations

import json

import pytest

from tests.support.caller import Caller, signed_in
from tests.support.upstream import answer

TABLE = {
    "NotAuthenticated": (401, "login_required"),
    "AuthenticationFailed": (401, "login_required"),
    "PermissionDenied": (403, "not_allowed"),
    "django.PermissionDenied": (403, "not_allowed"),
    "NotFound": (404, "not_found"),
    "Http404": (404, "not_found"),
    "ValidationError": (400, "invalid"),
    "ParseError": (400, "parse_error"),
    "BadRequest": (400, "parse_error"),
    "TooManyFieldsSent": (400, "parse_error"),
    "APIException": (500, "error"),
    "Throttled": (429, "throttled"),
    "ThrottledForever": (429, "throttled"),
    "ZeroDivisionError": (500, "error"),
}


@pytest.mark.parametrize("name", TABLE)
def test_whatever_a_permission_raises_is_a_problem_document(jane: Caller, name: str):
    said = jane.ask("GET", f"guarded/1?raise={name}", "Accept: text/html")
    body = json.loads(said.body)
    assert (said.status, said.code) == TABLE[name]
    assert (body["status"], body["code"]) == TABLE[name]
    assert said.get("Content-Type") == "application/problem+json"
    assert said.get("Cache-Control") == "no-store"
    assert said.get("WWW-Authenticate") is None
    assert said.get("Retry-After") == ("3" if name == "Throttled" else None)
    assert body.get("detail") == ("not on your plan" if name == "PermissionDenied" else None)
    assert body.get("errors") == ({"q": ["too short"]} if name == "ValidationError" else None)
    assert b"canary" not in said.wire
    assert jane.reached() == []
    jane.still_works()


def test_a_bug_in_a_permission_is_in_the_log_and_carries_no_token(jane: Caller):
    before = len(jane.site.log())
    assert jane.ask("GET", "guarded/1?raise=ZeroDivisionError").status == 500
    log = jane.site.log()[before:]
    assert "ZeroDivisionError: canary-of-a-bug" in log
    assert "has_permission" in log
    assert jane.key.decode() not in log


def test_a_refusal_says_the_permissions_message_and_who_is_nobody_may_sign_in(jane: Caller):
    said = jane.ask("GET", "guarded/1?refuse")
    assert (said.status, said.code) == (403, "not_allowed")
    assert json.loads(said.body)["detail"] == "only for those who may"
    nobody = jane.ask("GET", "guarded/1?refuse", cookie=b"a=b")
    assert (nobody.status, nobody.code) == (401, "login_required")
    assert jane.reached() == []
    assert jane.ask("GET", "guarded/1", cookie=b"a=b").status == 200


def test_request_user_and_request_auth_are_the_grants(jane: Caller):
    assert jane.ask("GET", "guarded/1?user=jane").status == 200
    assert jane.ask("GET", "guarded/1?user=bob").status == 403
    assert jane.ask("GET", "guarded/1?user=jane", cookie=b"a=b").status == 401
    assert jane.reached() == ["GET /guarded/1?user=jane"]


def test_a_permission_that_asks_for_the_body_gets_none_and_takes_none(jane: Caller):
    """The body is the upstream's; a permission that parses it is refused, not served half."""
    line = ("Content-Type: application/json", "Content-Length: 2")
    said = jane.ask("POST", "guarded/1?read=data", *line, body=b"{}")
    assert (said.status, said.code) == (415, "unsupported_media_type")
    assert jane.reached() == []


def test_no_accept_and_no_format_is_drfs_business(jane: Caller):
    """DRF would answer 406 to the first, 404 to the second, and itself to the third."""
    jane.upstream.on("/guarded/1.csv", answer(b"a;b", headers=[("Content-Type", "text/csv")]))
    for wish in ("text/event-stream", "image/*", "application/x-nothing", "*", ""):
        said = jane.ask("GET", "guarded/1.csv?format=csv&_method=DELETE", f"Accept: {wish}")
        assert (said.status, said.body, said.get("Content-Type")) == (200, b"a;b", "text/csv"), wish
    assert set(jane.reached()) == {"GET /guarded/1.csv?format=csv&_method=DELETE"}
    said = jane.ask("OPTIONS", "guarded/1")
    assert (said.status, said.code) == (405, "method_not_allowed")


def test_a_throttle_counts_each_person_for_themselves(jane: Caller):
    bob = signed_in(jane.site, jane.upstream, "bob")
    for _ in range(3):
        assert jane.ask("GET", "guarded/1?count").status == 200
    said = jane.ask("GET", "guarded/1?count")
    assert (said.status, said.code) == (429, "throttled")
    assert 0 < int(said.get("Retry-After") or 0) <= 61
    assert bob.ask("GET", "guarded/1?count").status == 200
    assert len(jane.reached()) == 4
