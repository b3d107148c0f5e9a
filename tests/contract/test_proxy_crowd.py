"""Among all of Django's middlewares, in a transaction, with DEBUG: the same bytes. RH-12, RS-12."""

from __future__ import annotations

import concurrent.futures
import json
import time

import pytest

from tests.conftest import MakeSite
from tests.support.caller import Caller, routes, signed_in, spare_port
from tests.support.upstream import RecordingUpstream, answer, chunked, events, hang_up, huge

DJANGO = ("gunicorn", "uvicorn")
ENV = {
    "DJANGO_SETTINGS_MODULE": "tests.support.crowded_settings",
    "ATOMIC_REQUESTS": "True",
    "DEBUG": "True",
    "LOG_LEVEL": "DEBUG",
}
TEXT = b"compress me " * 5000


@pytest.fixture(params=DJANGO)
def jane(
    request: pytest.FixtureRequest, make_site: MakeSite, upstream: RecordingUpstream
) -> Caller:
    site = make_site(upstreams=routes(upstream.url), server=request.param, env=ENV)
    return signed_in(site, upstream)


def test_rs12_nothing_is_compressed_on_the_way(jane: Caller):
    """BREACH: a secret beside what a stranger chose must not be compressed together."""
    page = jane.ask("GET", "/", "Accept-Encoding: gzip", whole_target=True)
    assert page.get("Content-Encoding") == "gzip"  # the middleware is there and works
    for reply in (answer(TEXT, headers=[("ETag", '"strong"')]), chunked(TEXT[:100], TEXT[100:])):
        jane.upstream.on("/photos/text", reply)
        said = jane.ask("GET", "photos/text", "Accept-Encoding: gzip, br")
        assert (said.status, said.body, said.get("Content-Encoding")) == (200, TEXT, None)
        assert said.get("ETag") in ('"strong"', None)
        assert jane.upstream.requests[-1].get("Accept-Encoding") == "gzip, br"


def test_st1_an_event_is_not_held_back_to_be_compressed(jane: Caller):
    jane.upstream.on("/photos/feed", events("one", "two", pause=5))
    begin = time.monotonic()
    with jane.browser.stream("api/photos/feed", headers={"Accept-Encoding": "gzip"}) as stream:
        assert next(stream.chunks) == b"data: one\n\n"
        assert time.monotonic() - begin < 4


def test_rh12_a_part_does_not_become_a_304_nor_a_whole(jane: Caller):
    tag = [("ETag", '"x"'), ("Last-Modified", "Tue, 15 Nov 1994 12:45:26 GMT")]
    part = answer(b"0123", status=206, headers=[*tag, ("Content-Range", "bytes 0-3/10")])
    whole = answer(b"0123456789", headers=tag)
    conditions = ['If-None-Match: "x"', "If-Modified-Since: Tue, 15 Nov 2094 12:45:26 GMT"]
    for condition in (*conditions, 'If-Match: "y"'):
        jane.upstream.on("/photos/part", part)
        said = jane.ask("GET", "photos/part", "Range: bytes=0-3", condition)
        assert (said.status, said.body) == (206, b"0123"), condition
        jane.upstream.on("/photos/part", whole)
        said = jane.ask("GET", "photos/part", condition)
        assert (said.status, said.body) == (200, b"0123456789"), condition
    jane.upstream.on("/photos/bare", answer(b"bare"))
    assert jane.ask("GET", "photos/bare").get("ETag") is None
    jane.upstream.on("/photos/head", answer(b"x" * 1234))
    assert jane.ask("HEAD", "photos/head").all("Content-Length") == ["1234"]
    jane.upstream.on("/photos/same", answer(status=304, headers=tag))
    said = jane.ask("GET", "photos/same", conditions[0])
    assert (said.status, said.get("ETag")) == (304, '"x"')


def test_rb3_no_middleware_reads_the_body_first(jane: Caller):
    form = b"csrfmiddlewaretoken=x&a=" + b"b" * 3_000_000
    kind = "application/x-www-form-urlencoded"
    said = jane.browser.fetch("api/photos/1", "POST", headers={"Content-Type": kind}, body=form)
    assert (said.status, said.json()["length"]) == (200, len(form))
    jane.upstream.on("/photos/huge", huge(3_000_000))
    assert len(jane.ask("GET", "photos/huge").body) == 3_000_000


def test_rs16_debug_tells_no_more_than_else(jane: Caller):
    jane.upstream.on("/photos/gone", hang_up())
    for target, status in {
        "photos/gone": 502,
        "gone/1": 502,
        "photos/..": 400,
        "nothing/1": 404,
        "guarded/1?raise=ZeroDivisionError": 500,
        "guarded/1?raise=Http404": 404,
    }.items():
        said = jane.ask("GET", target, "Accept: text/html")
        assert said.status == status, target
        assert said.get("Content-Type") == "application/problem+json", target
        assert set(json.loads(said.body)) <= {"type", "title", "status", "code", "detail"}, target
        for secret in (str(jane.upstream.port), str(spare_port()), "Traceback", "canary", "urllib"):
            assert secret.encode() not in said.wire, (target, secret)


def test_ar8_no_body_is_in_the_log_at_any_level(jane: Caller):
    jane.upstream.on("/photos/1", answer(b"canary-down"))
    jane.upstream.on("/photos/2", answer(b"canary-down", status=500))
    for path in ("photos/1", "photos/2", "gone/1"):
        jane.browser.fetch(f"api/{path}", "PUT", body=b"canary-up")
    assert " DEBUG " in jane.site.log() and "/bff/api/gone/1" in jane.site.log()
    assert "canary-down" not in jane.site.log()
    assert "canary-up" not in jane.site.log()


def test_st6_no_transaction_is_open_while_an_upstream_thinks(jane: Caller):
    """ATOMIC_REQUESTS is on, SQLite has one writer: another person signs in and out meanwhile."""
    jane.upstream.on("/photos/slow", answer(b"slow", delay=2))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        slow = [pool.submit(jane.ask, "PUT", "photos/slow", "Content-Length: 0") for _ in range(4)]
        jane.upstream.wait_for(4)
        signed_in(jane.site, jane.upstream, "bob").browser.fetch("logout/", "POST")
        assert not any(one.done() for one in slow)
        assert {one.result().body for one in slow} == {b"slow"}


def test_request_auth_and_a_throttle_work_as_ever(jane: Caller):
    assert jane.ask("GET", "guarded/1?user=jane").status == 200
    assert jane.ask("GET", "guarded/1?user=bob").status == 403


def test_st6_an_ending_stays_whatever_is_answered(jane: Caller):
    jane.site.sql("update oauthbff_tokengrant set last_used_at='2020-01-01 00:00:00'")
    assert jane.ask("GET", "photos/1").code == "grant_ended"
    [(reason,)] = jane.site.sql("select end_reason from oauthbff_tokengrant")
    assert reason == "idle"
    assert jane.reached() == []
