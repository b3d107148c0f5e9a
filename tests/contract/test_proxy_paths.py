"""Paths and queries: byte-identical at the upstream, or refused and nothing sent. PT rows."""

from __future__ import annotations

import pytest

from tests.conftest import MakeSite
from tests.support.caller import Caller, proxy_site, signed_in
from tests.support.upstream import RecordingUpstream

SAME = {
    "PT-0-characters": [
        "Az09-._~",
        "!$&'()*+,;=:@",
        "",
        "album/1/",
        "a;v=1/b;w=2;x",
        ".hidden/a..b/...x/v1.2.3/..x/x..",
    ],
    "PT-0-encoded": [
        "caf%C3%A9/%e2%82%ac/%F0%9F%8E%89",
        "%c3%a9%C3%A9",
        "%41%7e%2D",
        "a%20b+c",
        "100%25",
    ],
    "PT-0-query": [
        "s?a=1&a=2&b=&c",
        "s?q=a+b%20c%2Bd",
        "s?a[]=1&b={c}|d^e`f<g>\"h\\i'",
        "s?next=//evil.test/../x&u=http://e/?y",
        "s?q=%zz%&r=%00%0a%ff",
    ],
    "PT-8": ["x%3Fadmin=1", "x%23frag?y=%23", "x%3fy%3F?z"],
    "PT-10": ["@evil.test/", ":80@evil.test/", ".evil.test/", "https:/evil", "@evil.test:80"],
    "PT-14-short-enough": ["p" * 2000 + "?" + "q" * 1900],
    "PT-16": ["s?access_token=canary&id_token=x"],
}


@pytest.mark.parametrize("paths", SAME.values(), ids=SAME.keys())
def test_what_is_unambiguous_arrives_byte_identical(jane: Caller, paths: list[str]):
    for path in paths:
        for alias, prefix in (("photos", "/photos/"), ("v1", "/deep/api/v1/")):
            assert jane.ask("GET", f"{alias}/{path}").status == 200, path
            assert jane.reached() == [f"GET {prefix}{path}"]
            [call] = jane.upstream.requests
            assert call.get("Host") == f"127.0.0.1:{jane.upstream.port}"
            assert call.token not in (None, "canary")
            jane.upstream.clear()


def test_pt15_nothing_is_redirected_to_a_slash(jane: Caller):
    expected = []
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        for path in ("a/b", "a/b/"):
            assert jane.ask(method, f"photos/{path}", "Content-Length: 2", body=b"{}").status == 200
            expected.append(f"{method} /photos/{path}")
    assert jane.reached() == expected


def test_an_empty_query_is_kept_where_the_server_tells_of_it(jane: Caller):
    """ASGI has no word for a query that is there and empty; the two mean the same."""
    assert jane.ask("GET", "photos/s?").status == 200
    kept = "?" if jane.sees_the_raw_target else ""
    assert jane.reached() == [f"GET /photos/s{kept}"]


REFUSED: dict[str, list[str | bytes]] = {
    "PT-1-dots": ["../admin", "a/../../admin", "./x", "..", ".", "a/..", "a/.", "a/./b"],
    "PT-2-encoded-dots": ["%2e%2e/admin", "%2E%2e%2Fadmin", ".%2e/x", "%2e./x", "%2e", "a/%2E"],
    "PT-3-twice": ["%252e%252e/x", "%25%32%65%25%32%65/x", "%25252e%25252e/x", "%252e"],
    "PT-3-overlong": ["%c0%ae%c0%ae/x", "%c0%af", "%e0%80%ae/x", "%ff", "%ed%a0%80"],
    "PT-3-not-hex": ["%u002e/x", "%zz", "%", "a%2", "%2"],
    "PT-4-separators": ["a%2Fb", "a%5Cb", "a%252Fb", "a%25252fb", "a%255cb"],
    "PT-5-empty-segments": ["/evil.test/x", "a//b", "///", "a//", "//", "/"],
    "PT-6-backslashes": ["..\\x", "\\\\evil\\x", "..%5cx", "a\\b"],
    "PT-7-tomcat": ["..;/x", ".;/x", "x;/../y", "..;a=b/x", "%2e%2e;/x", "..%3b/x", "..%3Bv=1/x"],
    "PT-9-control": ["x%00y", "x%0d%0aX-Inj:1", "x%09y", "x%7f", "x%0ay", "x%2500y", "x%1f"],
    "PT-9-raw": [b"x\ty", b"x\x00y", b"caf\xc3\xa9", b"\xff", b"x\x7fy", b"x\x01"],
    "PT-9-unencoded": ["a|b", "a<b>", 'a"b', "a{b}", "a^b", "a`b", "a[b]"],
    "PT-10-url": ["http://evil.test/", "https://evil.test"],
    "PT-14-too-long": ["p" * 8200, "s?" + "q" * 16400, "s?" + "a=1&" * 10000],
    "query-raw": [b"s?q=\xc3\xa9", b"s?q=\xff", b"s?q=a\tb", b"s?q=\x01", b"s?q=\x7f"],
}


@pytest.mark.parametrize("paths", REFUSED.values(), ids=REFUSED.keys())
def test_what_two_programs_could_read_in_two_ways_is_refused(
    jane: Caller, paths: list[str | bytes]
):
    for path in paths:
        written = path.encode() if isinstance(path, str) else path
        refused = jane.ask("GET", b"v1/" + written)
        assert refused.status in (400, 414, 431), (path[:40], refused.status)
        if refused.code is not None:  # else the server refused before us
            assert refused.code == "bad_path", path[:40]
        assert jane.reached() == [], path[:40]
    jane.still_works()


def test_pt9_a_space_ends_the_target(jane: Caller):
    refused = jane.ask("GET", "photos/x y")
    assert refused.status == 400
    assert jane.reached() == []


def test_pt9_a_path_cannot_add_a_header(jane: Caller):
    for path in (b"x%0d%0aX-Inj:%201", b"x\rX-Inj: 1", b"x?q=\rX-Inj: 1"):
        jane.ask("GET", b"photos/" + path)
        assert not [one for one in jane.upstream.requests if b"X-Inj: 1" in one.head], path
    jane.still_works()


def test_pt13_a_fragment_in_the_target_is_never_sent_and_never_helps(jane: Caller):
    """A server may cut it off or refuse it, but what is judged is what is sent."""
    for path in ("admin#open/x", "admin#/open/x", "open/../admin#list"):
        assert jane.ask("GET", f"public/{path}").status == 400
    assert jane.reached() == []
    jane.ask("GET", "photos/a#b")
    assert jane.reached() in ([], ["GET /photos/a"])


def test_pt13_the_routes_patterns_judge_the_very_string_that_is_sent(jane: Caller):
    for path, passes in {
        "open/abc": True,
        "list": True,
        "list?x=/admin": True,
        "open/abc?../../admin": True,
        "admin": False,
        "": False,
        "admin?x=open/abc": False,
        "admin?open/abc": False,
        "admin%23open/abc": False,
        "admin%3Fopen/abc": False,
        "xopen/abc": False,
        "open/abc/d": False,
        "open/abc1": False,
        "open/%61bc": False,
        "OPEN/abc": False,
        "list/": False,
        "list;x": False,
        "list%0a": False,
        "open/../admin": False,
    }.items():
        jane.upstream.clear()
        assert jane.ask("GET", f"public/{path}").status == (200 if passes else 400), path
        assert jane.reached() == ([f"GET /public/{path}"] if passes else []), path


def test_pf5_a_server_that_hides_the_raw_path_forwards_only_what_is_certain(
    make_site: MakeSite, upstream: RecordingUpstream
):
    """runserver. `%2F` reaches us as a slash, and as a slash it is judged and sent."""
    jane = signed_in(proxy_site(make_site, upstream, "runserver"), upstream)
    for path, expected in {
        "a/b": "/photos/a/b",
        "caf%C3%A9?q=%32": "/photos/caf%C3%A9?q=%32",
        "a%20b": "/photos/a%20b",
        "a%2Fb": "/photos/a/b",
        "a%3Fb": None,
        "a%23b": None,
        "%2e%2e/x": None,
        "a%2F..%2Fb": None,
        "100%25": None,
        "a%5Cb": None,
    }.items():
        upstream.clear()
        assert jane.ask("GET", f"photos/{path}").status == (200 if expected else 400), path
        assert jane.reached() == ([f"GET {expected}"] if expected else []), path
