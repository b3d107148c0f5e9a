"""What passes between browser and upstream. Ids: shared/standards.md PT-…, RH-…, RS-….

What needs a socket (framing, streaming, 1xx) is in tests/contract.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from oauthbff.conf import METHODS, NEVER_PASS, Upstream
from oauthbff.errors import MethodRefused, PathRefused, UpstreamUnreachable
from oauthbff.forwarding import (
    MAX_PATH,
    MAX_QUERY,
    REQUEST_HEADERS,
    RESPONSE_HEADERS,
    check_method,
    request_headers,
    requote,
    response_headers,
    rewrite_location,
    split_target,
    upstream_target,
)

UP = Upstream(name="up", url="https://up.example.com:8443/v1/")
MOUNT = "/bff/api/up/"


def up(**changes: Any) -> Upstream:
    return Upstream(**({"name": "up", "url": UP.url} | changes))


# --- paths ------------------------------------------------------------------------------------

UNRESERVED = "ABCXYZabcxyz0189-._~"
SUB_DELIMS = "!$&'()*+,;=:@"

PASS = [
    pytest.param("", id="nothing"),
    pytest.param("a", id="a word"),
    pytest.param("a/b/c", id="segments"),
    pytest.param("a/", id="a slash behind"),
    pytest.param(UNRESERVED, id="unreserved"),
    pytest.param(SUB_DELIMS, id="sub-delims"),
    pytest.param("/".join(f"x{char}" for char in UNRESERVED + SUB_DELIMS), id="each one"),
    pytest.param("m%C3%BCnchen/%F0%9F%8D%8E", id="UTF-8"),
    pytest.param("m%c3%bcnchen", id="UTF-8 in lower case"),
    pytest.param("a;v=1/b;w=2,3", id="matrix parameters"),
    pytest.param("a%20b", id="a space"),
    pytest.param("50%25", id="a percent sign"),
    pytest.param("%2D%7E", id="unreserved, encoded all the same"),
    pytest.param("x%3Fadmin=1", id="PT-8 a question mark"),
    pytest.param("x%23frag", id="PT-8 a hash"),
    pytest.param("@evil.test/", id="PT-10 userinfo"),
    pytest.param(":80@evil.test/", id="PT-10 port and userinfo"),
    pytest.param(".evil.test/", id="PT-10 a dot before"),
    pytest.param("https:/evil", id="PT-10 a scheme and one slash"),
    pytest.param("a..b/...", id="dots that are no dot segment"),
    pytest.param(".well-known/x", id="a hidden segment"),
    pytest.param("a" * MAX_PATH, id="PT-14 a path of 8 kB"),
]

REFUSE = [
    *(
        pytest.param(path, id=f"PT-1 {path}")
        for path in ("../admin", "a/../../admin", "./x", "..", ".", "a/..", "a/.", "a/./b", "../")
    ),
    *(
        pytest.param(path, id=f"PT-2 {path}")
        for path in (
            "%2e%2e/admin",
            "%2E%2e%2Fadmin",
            ".%2e/x",
            "%2e./x",
            "%2e",
            "a/%2E%2E/b",
            "a/%2e%2e",
        )
    ),
    *(
        pytest.param(path, id=f"PT-3 {path}")
        for path in (
            "%252e%252e/x",
            "%25%32%65",
            "%25%32%65%25%32%65/x",
            "%c0%ae%c0%ae/x",
            "%u002e",
            "%e0%80%ae%e0%80%ae/x",
            "%25252e%25252e/x",
            "%ff",
        )
    ),
    *(pytest.param(path, id=f"PT-4 {path}") for path in ("a%2Fb", "a%5Cb", "a%2fb", "a%252Fb")),
    *(
        pytest.param(path, id=f"PT-5 {path}")
        for path in ("/evil.test/x", "a//b", "///", "/", "a//")
    ),
    *(
        pytest.param(path, id=f"PT-6 {path}")
        for path in ("..\\x", "\\\\evil\\x", "..%5cx", "a\\b", "..%255cx")
    ),
    *(
        pytest.param(path, id=f"PT-7 {path}")
        for path in (
            "..;/x",
            ".;/x",
            "x;/../y",
            "..;a=b/x",
            "%2e%2e;/x",
            "..%3b/x",
            "..%253b/x",
            "a/..;",
            ".%2e;x/y",
        )
    ),
    *(
        pytest.param(path, id=f"PT-9 {ascii(path)}")
        for path in (
            "x%00y",
            "x%0d%0aX-Inj:1",
            "x%09y",
            "x\ty",
            "x y",
            "x%7fy",
            "x%2500y",
            "x%250d%250ay",
            "x\r\ny",
            "x\x00y",
            "x\n",
            "\xc3\xbc",
            "ü",
            "١",
        )
    ),
    pytest.param("http://evil.test/", id="PT-10 an absolute URL"),
    *(pytest.param(f"a{char}b", id=f"PT-9 {char}") for char in '"<>[]^`{|}'),
    *(pytest.param(path, id=f"broken {path}") for path in ("%", "a%", "%2", "%zz", "%2g", "a%%")),
    *(pytest.param(path, id=f"no path {path}") for path in ("a?b", "a#b", "?", "#")),
    pytest.param("a" * (MAX_PATH + 1), id="PT-14 a path beyond 8 kB"),
]


@pytest.mark.parametrize("path", PASS)
def test_a_clear_path_passes_byte_identical(path: str) -> None:
    assert upstream_target(UP, path, "") == f"/v1/{path}"
    assert upstream_target(UP, path, "?q=/../x") == f"/v1/{path}?q=/../x"


@pytest.mark.parametrize("path", REFUSE)
def test_an_ambiguous_path_is_refused(path: str) -> None:
    with pytest.raises(PathRefused):
        upstream_target(UP, path, "")
    with pytest.raises(PathRefused):
        upstream_target(UP, path, "?a=1")


@pytest.mark.parametrize(
    ("query", "passes"),
    [
        pytest.param("", True, id="none"),
        pytest.param("?", True, id="empty"),
        pytest.param("?a=1&a=2&b", True, id="repeated"),
        pytest.param("?a=+&b=%20", True, id="plus and %20"),
        pytest.param("?x=a?b/c:@", True, id="characters of a query"),
        pytest.param('?q=[1]{2}|^`"<>\\', True, id="characters browsers leave alone"),
        pytest.param("?q=%zz%", True, id="broken escapes, which are the upstream's matter"),
        pytest.param("?q=%00%0d%0a", True, id="PT-8 escapes stay escapes"),
        pytest.param("?next=//evil.test/../..", True, id="an address"),
        pytest.param("?access_token=x", True, id="PT-16 passes, and is no credential to us"),
        pytest.param("?" + "a" * (MAX_QUERY - 1), True, id="PT-14 16 kB"),
        pytest.param("?" + "a" * MAX_QUERY, False, id="PT-14 beyond 16 kB"),
        pytest.param("?" + "&".join(f"p{i}=1" for i in range(10_000)), False, id="PT-14 10 000"),
        pytest.param("?a b", False, id="a space"),
        pytest.param("?a\tb", False, id="a tab"),
        pytest.param("?a\r\nX: y", False, id="a line break"),
        pytest.param("?a\x00", False, id="NUL"),
        pytest.param("?a\x7f", False, id="DEL"),
        pytest.param("?a\n", False, id="a line break at the end"),
        pytest.param("?ü", False, id="beyond ASCII"),
        pytest.param("?a#b", False, id="PT-13 a fragment"),
        pytest.param("a=1", False, id="not a query"),
        pytest.param("/../../admin", False, id="a path in the query's place"),
    ],
)
def test_a_query_passes_byte_identical_or_not_at_all(query: str, passes: bool) -> None:
    if passes:
        assert upstream_target(UP, "a", query) == f"/v1/a{query}"
    else:
        with pytest.raises(PathRefused):
            upstream_target(UP, "a", query)


PATHS = up(paths=(re.compile("^public$"), re.compile("^items/[0-9]+$")))


@pytest.mark.parametrize(
    ("path", "query", "passes"),
    [
        pytest.param("public", "", True, id="PT-13 the path"),
        pytest.param("items/12", "?x=1", True, id="PT-13 with a query"),
        pytest.param("public", "?x=/admin", True, id="PT-13 another path in the query"),
        pytest.param("admin", "?x=/public", False, id="PT-13 the path in the query"),
        pytest.param("admin", "?public", False, id="PT-13 the path as the query"),
        pytest.param("admin%23/public", "", False, id="PT-13 an encoded fragment"),
        pytest.param("admin%23public", "", False, id="PT-13 an encoded fragment, one segment"),
        pytest.param("admin#/public", "", False, id="PT-13 a fragment"),
        pytest.param("public/", "", False, id="PT-13 a slash behind"),
        pytest.param("public/admin", "", False, id="PT-13 deeper"),
        pytest.param("x/public", "", False, id="PT-13 higher"),
        pytest.param("publi%63", "", False, id="PT-13 in another spelling"),
        pytest.param("PUBLIC", "", False, id="PT-13 in another case"),
        pytest.param("items/12%0a", "", False, id="PT-13 a line break"),
        pytest.param("items/12\n", "", False, id="PT-13 a raw line break"),
        pytest.param("items/12a", "", False, id="PT-13 more behind"),
        pytest.param("", "", False, id="PT-13 nothing"),
    ],
)
def test_the_routes_patterns_see_the_very_string_that_is_sent(
    path: str, query: str, passes: bool
) -> None:
    if passes:
        assert upstream_target(PATHS, path, query) == f"/v1/{path}{query}"
    else:
        with pytest.raises(PathRefused):
            upstream_target(PATHS, path, query)


@pytest.mark.parametrize(
    ("pattern", "path", "passes"),
    [
        *(("^/v1/items$", "items", True), ("^/items$", "items", False)),
        *(("^/v1/items$", "v1/items", False), ("^/v1/[^a]*$", "ab", False)),
    ],
)
def test_a_pattern_that_begins_with_a_slash_sees_the_whole_path(
    pattern: str, path: str, passes: bool
) -> None:
    route = up(paths=(re.compile(pattern),))
    if passes:
        assert upstream_target(route, path, "?x") == f"/v1/{path}?x"
    else:
        with pytest.raises(PathRefused):
            upstream_target(route, path, "?x")


def test_a_pattern_of_two_halves_is_anchored_in_both() -> None:
    """PT-13: `^public|private$` is no licence for all that begins or ends so."""
    route = up(paths=(re.compile("^public|private$"),))
    assert upstream_target(route, "public", "") == "/v1/public"
    for path in ("publicadmin", "public/admin", "admin/private"):
        with pytest.raises(PathRefused):
            upstream_target(route, path, "")


URLISH = st.text(alphabet="abAB019/.%25eEfFcC;:@?#\\ \t\r\n&=+~ü\x00\u2044\ud800", max_size=30)
ORIGIN = "https://up.example.com:8443"


@given(path=URLISH | st.text(max_size=30), query=st.just("") | URLISH | st.text(max_size=20))
@example(path="@evil.test/", query="")
@example(path="//evil.test", query="")
@example(path="x", query="/../../..")
@example(path="%2e%2e", query="?")
def test_whatever_is_asked_the_target_stays_at_the_upstream(path: str, query: str) -> None:
    try:
        target = upstream_target(UP, path, query)
    except PathRefused:
        return

    assert target == f"/v1/{path}{query}"
    assert target.isascii() and target.isprintable() and " " not in target
    parts = urlsplit(ORIGIN + target)
    assert (parts.scheme, parts.hostname, parts.port) == ("https", "up.example.com", 8443)
    assert parts.username is None and parts.fragment == ""
    assert parts.path == f"/v1/{path}"
    decoded = parts.path.encode()
    for _ in range(3):
        segments = [segment.partition(b";")[0] for segment in decoded.split(b"/")]
        assert segments[:2] == [b"", b"v1"] and not {b".", b".."} & set(segments)
        decoded = unquote_to_bytes(decoded)


@given(path=st.lists(st.text(min_size=1, max_size=6), max_size=4).map("/".join))
def test_a_path_that_passes_reads_the_same_when_it_was_requoted(path: str) -> None:
    try:
        written = requote(path)
        target = upstream_target(UP, written, "")
    except (PathRefused, UnicodeEncodeError):
        return
    assert unquote_to_bytes(target.removeprefix("/v1/")).decode() == path


@pytest.mark.parametrize(
    ("target", "rest"),
    [
        pytest.param("/bff/api/up/a/b", ("a/b", ""), id="a path"),
        pytest.param("/bff/api/up/", ("", ""), id="nothing below"),
        pytest.param("/bff/api/up/a?", ("a", "?"), id="an empty query"),
        pytest.param("/bff/api/up/a?b?c", ("a", "?b?c"), id="a query with a question mark"),
        pytest.param("/bff/api/up//a", ("/a", ""), id="PT-5 two slashes, refused later"),
        pytest.param("/bff/api/up2/a", None, id="PT-12 up2"),
        pytest.param("/bff/api/u", None, id="PT-12 u"),
        pytest.param("/bff/api/up", None, id="PT-12 without slash"),
        pytest.param("/bff/api/up?/bff/api/up/", None, id="PT-12 the prefix in the query"),
        pytest.param("/bff/apiX/up/a", None, id="PT-12 apiX"),
        pytest.param("/BFF/API/up/a", None, id="PT-12 upper case"),
        pytest.param("/bff/api/%75p/a", None, id="PT-12 encoded"),
        pytest.param("/bff/x/../api/up/a", None, id="PT-12 dot segments"),
        pytest.param("//bff/api/up/a", None, id="PT-12 two slashes before"),
        pytest.param("https://app.example.com/bff/api/up/a", None, id="PT-11 absolute form"),
        pytest.param("http://evil.test/bff/api/up/a", None, id="PT-11 absolute form, evil"),
        pytest.param("*", None, id="PT-11 asterisk"),
        pytest.param("up.example.com:443", None, id="PT-11 authority form"),
        pytest.param("", None, id="empty"),
    ],
)
def test_the_route_is_matched_to_the_letter(target: str, rest: tuple[str, str] | None) -> None:
    if rest is not None:
        assert split_target(target, MOUNT) == rest
    else:
        with pytest.raises(PathRefused):
            split_target(target, MOUNT)


@pytest.mark.parametrize(
    ("decoded", "written"),
    [
        ("a/b", "a/b"),
        ("a b", "a%20b"),
        ("münchen", "m%C3%BCnchen"),
        ("a;v=1/" + SUB_DELIMS, "a;v=1/" + SUB_DELIMS),
        ("", ""),
        ("a%b", None),
        ("a?b", None),
        ("a#b", None),
        ("a\\b", None),
        ("a\x00b", None),
        ("a\r\nb", None),
        ("a\ufffdb", None),
    ],
)
def test_a_decoded_path_is_written_anew_or_refused(decoded: str, written: str | None) -> None:
    if written is not None:
        assert requote(decoded) == written
    else:
        with pytest.raises(PathRefused):
            requote(decoded)


# --- methods ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["FOO", "PROPFIND", "TRACE", "CONNECT", "OPTIONS", "get", ""])
def test_an_unknown_method_is_refused(method: str) -> None:
    """RH-14, RH-16."""
    with pytest.raises(MethodRefused):
        check_method(UP, method)


def test_a_route_answers_its_own_methods_only() -> None:
    """RH-16."""
    for method in METHODS:
        check_method(UP, method)
    only = up(methods=("GET", "HEAD"))
    check_method(only, "GET")
    with pytest.raises(MethodRefused) as refusal:
        check_method(only, "DELETE")
    assert refusal.value.headers == {"Allow": "GET, HEAD"}


# --- request headers --------------------------------------------------------------------------

OURS = {
    "Host": "up.example.com:8443",
    "Via": "1.1 app.example.com",
    "Forwarded": 'for="192.0.2.1"',
    "User-Agent": "oauthbff",
}


def sent(
    given: dict[str, str],
    route: Upstream = UP,
    authorization: str | None = "Bearer ours",
) -> list[tuple[str, str]]:
    """The headers that go upstream. `given` is looked up as Django's request.headers are."""
    lower = {name.lower(): value for name, value in given.items()}
    lookup: Callable[[str], str | None] = lambda name: lower.get(name.lower())  # noqa: E731
    return request_headers(
        lookup, route, authorization=authorization, via=OURS["Via"], forwarded=OURS["Forwarded"]
    )


def names(headers: list[tuple[str, str]]) -> list[str]:
    return [name.lower() for name, _ in headers]


def test_a_bare_request_carries_ours_and_nothing_else() -> None:
    """RH-7."""
    expected = OURS | {"Accept-Encoding": "identity", "Authorization": "Bearer ours"}
    assert dict(sent({})) == expected
    assert len(sent({})) == len(expected)


@pytest.mark.parametrize("name", REQUEST_HEADERS)
def test_an_allowed_request_header_passes_unchanged(name: str) -> None:
    """RH-11, RH-12."""
    assert (name, 'W/"a", b;q=0.5') in sent({name.upper(): 'W/"a", b;q=0.5'})


DROPPED = {
    "RH-1": "Cookie Cookie2 Set-Cookie",
    "RH-2": "Proxy-Authorization DPoP X-CSRFToken X-BFF X-Api-Key",
    "RH-3": """Connection Proxy-Connection Keep-Alive TE Upgrade Trailer Proxy-Authenticate
        HTTP2-Settings""",
    "RH-5": "X_Forwarded_User X_Forwarded_For Authorization_ Content_Type X_Request_ID",
    "RH-6": """X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Forwarded-Port
        X-Forwarded-Prefix X-Forwarded-User X-Real-IP X-Client-IP X-User X-User-Id X-Auth-User
        X-Remote-User Remote-User X-SSL-Client-Cert X-SSL-Verify Client-Cert Client-Cert-Chain
        X-Original-URL X-Original-Host X-Rewrite-URL True-Client-IP""",
    "RH-8": """Referer Origin Sec-Fetch-Site Sec-Fetch-Mode Sec-Fetch-Dest Sec-CH-UA DNT
        Save-Data Upgrade-Insecure-Requests""",
    "RH-10": "Content-Length Transfer-Encoding",
    "RH-13": "Expect",
    "RH-14": "Max-Forwards",
    "RH-16": "X-HTTP-Method-Override X-HTTP-Method X-Method-Override",
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, id=f"{row} {name}")
        for row, text in DROPPED.items()
        for name in text.split()
    ],
)
def test_any_other_request_header_stays_here(name: str) -> None:
    for spelling in (name, name.lower(), name.upper()):
        headers = sent({spelling: "CANARY", "Accept": "text/plain"})
        assert "CANARY" not in str(headers)
        assert ("Accept", "text/plain") in headers


@pytest.mark.parametrize("name", ["Host", "Via", "Forwarded", "User-Agent"])
def test_the_browser_does_not_write_our_own_headers(name: str) -> None:
    """RH-6, RH-7."""
    headers = sent({name: "evil"})
    assert [value for key, value in headers if key == name] == [OURS[name]]


def test_the_browsers_authorization_never_passes() -> None:
    """RH-2."""
    evil = {"Authorization": "Bearer evil"}
    assert [v for n, v in sent(evil) if n == "Authorization"] == ["Bearer ours"]
    assert "authorization" not in names(sent(evil, authorization=None))
    assert "evil" not in str(sent(evil, authorization=None))


def test_what_connection_names_is_dropped() -> None:
    """RH-3."""
    route = up(headers=("X-Secret", "X-Open"))
    given = {"X-Secret": "s", "X-Open": "o", "Connection": "close , x-SECRET,"}
    assert ("X-Open", "o") in sent(given, route)
    assert "x-secret" not in names(sent(given, route))
    assert ("X-Secret", "s") in sent(given | {"Connection": "close"}, route)


def test_connection_cannot_remove_what_is_ours() -> None:
    """RH-4."""
    named = "close, Authorization, Forwarded, Via, Host, User-Agent, X-BFF, Accept-Encoding"
    headers = sent({"Connection": named, "Accept-Encoding": "gzip"})
    assert dict(headers) == OURS | {"Authorization": "Bearer ours", "Accept-Encoding": "identity"}


@pytest.mark.parametrize(
    "value", ["a\r\nX: y", "a\nb", "a\rb", "a\x00b", "\x0b", "a\x7fb", "a\u0100b", "\ud800", "a\n"]
)
def test_a_value_that_could_split_a_header_is_dropped(value: str) -> None:
    """RH-9."""
    assert "x-request-id" not in names(sent({"X-Request-ID": value}))
    assert ("X-Request-ID", "a\tb é") in sent({"X-Request-ID": "a\tb é"})


def test_a_route_may_let_further_headers_pass() -> None:
    route = up(headers=("X-Api-Version",))
    assert ("X-Api-Version", "2") in sent({"x-api-version": "2"}, route)
    assert "x-api-version" not in names(sent({"x-api-version": "2"}))


@pytest.mark.parametrize("name", sorted(NEVER_PASS))
def test_no_setting_lets_a_forbidden_request_header_pass(name: str) -> None:
    """RH-1: also when the check of the settings was skipped."""
    route = up(headers=(name, name.title(), "*"))
    assert "CANARY" not in str(sent({name: "CANARY", "*": "star"}, route))


@pytest.mark.parametrize("name", ["Accept", "content-type", "Accept-Encoding", "X-Twice"])
def test_no_header_is_sent_twice(name: str) -> None:
    """RH-15: though the route names one that passes anyway, or names it twice."""
    headers = sent({name: "a/b"}, up(headers=(name, name.lower())))
    assert names(headers).count(name.lower()) == 1


def test_our_user_agent_is_the_only_one() -> None:
    """RH-8, RH-15: a route that passes the browser's does not get two."""
    headers = sent({"User-Agent": "Mozilla"}, up(headers=("User-Agent",)))
    assert names(headers).count("user-agent") == 1


# --- response headers -------------------------------------------------------------------------

HTML = ("Content-Type", "text/html")


def received(
    *given: tuple[str, str], status: int = 200, route: Upstream = UP
) -> list[tuple[str, str]]:
    return response_headers(status, given, route, MOUNT)


def value_of(headers: list[tuple[str, str]], name: str) -> str | None:
    """What the browser gets: as in a dictionary, the last one counts."""
    return {key.lower(): value for key, value in headers}.get(name.lower())


@pytest.mark.parametrize("name", sorted(RESPONSE_HEADERS - {"content-length"}))
def test_an_allowed_response_header_passes(name: str) -> None:
    assert value_of(received((name.title(), "x; y=1")), name) == "x; y=1"


STRIPPED = {
    "RS-1": "Connection Keep-Alive Proxy-Connection TE Trailer Transfer-Encoding Upgrade",
    "RS-2": "Set-Cookie Set-Cookie2",
    "RS-3": """Strict-Transport-Security Clear-Site-Data Public-Key-Pins Alt-Svc Refresh
        Service-Worker-Allowed SourceMap X-SourceMap X-Accel-Redirect X-Accel-Charset
        X-Accel-Expires X-Accel-Limit-Rate X-Sendfile X-Lighttpd-Send-File Server X-Powered-By Via
        DPoP-Nonce NEL Report-To Reporting-Endpoints Origin-Trial X-Frame-Options
        Content-Security-Policy-Report-Only""",
    "RS-4": "Content-Location",
    "RS-9": "WWW-Authenticate Proxy-Authenticate Authentication-Info",
    "RS-10": "X-BFF-Error",
    "RS-11": "Pragma Expires Age CDN-Cache-Control Surrogate-Control Surrogate-Key",
    "CS-5": """Access-Control-Allow-Origin Access-Control-Allow-Credentials
        Access-Control-Allow-Methods Access-Control-Allow-Headers Access-Control-Expose-Headers
        Access-Control-Max-Age Access-Control-Allow-Private-Network Timing-Allow-Origin""",
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, id=f"{row} {name}")
        for row, text in STRIPPED.items()
        for name in text.split()
    ],
)
def test_any_other_response_header_stays_here(name: str) -> None:
    for spelling in (name, name.lower(), name.upper()):
        headers = received((spelling, "CANARY"), HTML)
        assert "CANARY" not in str(headers)
        assert value_of(headers, "Content-Type") == "text/html"


SAFETY = {
    "Cache-Control": "private, no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Accel-Buffering": "no",
}


@pytest.mark.parametrize("status", [200, 204, 206, 304, 400, 401, 404, 500])
@pytest.mark.parametrize(("name", "value"), SAFETY.items())
def test_each_answer_is_made_safe(status: int, name: str, value: str) -> None:
    """RS-11, RS-15, CS-12."""
    assert value_of(received(HTML, status=status), name) == value
    assert value_of(received(HTML, (name, "weak"), status=status), name) == value
    opened = up(response_headers=(name,))
    assert value_of(received(HTML, (name, "weak"), status=status, route=opened), name) == value


def test_what_the_upstreams_connection_names_is_dropped() -> None:
    """RS-1."""
    route = up(response_headers=("X-Up", "X-Open"))
    given = (("X-Up", "u"), ("X-Open", "o"), ("Connection", "x-up"), ("connection", "close"))
    headers = received(*given, route=route)
    assert value_of(headers, "X-Up") is None
    assert value_of(headers, "X-Open") == "o"


def test_connection_cannot_remove_our_safety() -> None:
    """RS-1."""
    headers = received(("Connection", ", ".join([*SAFETY, "Content-Type"])), HTML)
    assert {name: value_of(headers, name) for name in SAFETY} == SAFETY


@pytest.mark.parametrize("name", sorted(NEVER_PASS - {"content-length"}))
def test_no_setting_lets_a_forbidden_response_header_pass(name: str) -> None:
    """RS-2, RS-3, RS-9."""
    route = up(response_headers=(name, name.title()))
    assert "CANARY" not in str(received((name.title(), "CANARY"), route=route))


@pytest.mark.parametrize("name", ["Link", "Vary", "Warning"])
def test_several_of_one_name_are_all_kept(name: str) -> None:
    """RS-13."""
    assert value_of(received((name, "a"), (name.lower(), "b")), name) == "a, b"


@pytest.mark.parametrize("name", ["Content-Type", "ETag"])
def test_a_header_with_one_value_keeps_one(name: str) -> None:
    assert value_of(received((name, '"a"'), (name, '"b"')), name) in ('"a"', '"b"')


@pytest.mark.parametrize("value", ["a\rSet-Cookie: x", "a\r\nX: y", "a\nb", "a\x00", "\u0100"])
def test_a_value_that_could_split_the_answer_is_dropped(value: str) -> None:
    """RS-14."""
    assert value_of(received(("X-Request-ID", value)), "X-Request-ID") is None


@pytest.mark.parametrize(
    ("status", "length", "kept"),
    [
        pytest.param(200, "5", "5", id="200"),
        pytest.param(206, "5", "5", id="206"),
        pytest.param(404, "0", "0", id="404"),
        pytest.param(204, "5", None, id="RS-6 204"),
        pytest.param(205, "5", None, id="RS-6 205"),
        pytest.param(304, "5", None, id="RS-6 304"),
        pytest.param(200, "+5", None, id="signed"),
        pytest.param(200, "5, 5", None, id="a list"),
        pytest.param(200, "-1", None, id="negative"),
        pytest.param(200, "0x5", None, id="hexadecimal"),
        pytest.param(200, "", None, id="empty"),
        pytest.param(200, "1²", None, id="a digit beyond ASCII"),
    ],
)
def test_the_length_passes_where_there_is_a_body(
    status: int, length: str, kept: str | None
) -> None:
    assert value_of(received(("content-length", length), status=status), "Content-Length") == kept


CACHING = [
    ("public, max-age=600", "private, max-age=600"),
    ("private, max-age=600", "private, max-age=600"),
    ("PUBLIC, s-maxage=9, max-age=1, proxy-revalidate", "private, max-age=1"),
    ("no-store", "private, no-store"),
    ("no-cache", "private, no-cache"),
    ("max-age=600, immutable", "private, max-age=600, immutable"),
    ("", "private"),
]


@pytest.mark.parametrize(("wish", "given"), CACHING)
def test_a_route_that_caches_does_so_for_this_browser_only(wish: str, given: str) -> None:
    """RS-11."""
    headers = received(("Cache-Control", wish), route=up(cache=True))
    assert value_of(headers, "Cache-Control") == given
    assert value_of(headers, "Vary") == "Cookie"
    assert value_of(received(("Cache-Control", wish)), "Cache-Control") == "private, no-store"


def test_a_route_that_caches_stays_quiet_when_the_upstream_does() -> None:
    """RS-11."""
    assert value_of(received(route=up(cache=True)), "Cache-Control") == "private, no-store"


def test_vary_is_kept_and_cookie_added_once() -> None:
    """RS-11."""
    headers = received(("Vary", "Accept, Cookie"), ("vary", "Origin"), route=up(cache=True))
    assert value_of(headers, "Vary") == "Accept, Cookie, Origin"
    assert names(headers).count("vary") == 1


# --- redirects --------------------------------------------------------------------------------

LOCATIONS = [
    ("a", MOUNT + "a", "relative"),
    ("/v1/a/b", MOUNT + "a/b", "absolute path"),
    ("/v1/", MOUNT, "the prefix"),
    ("https://up.example.com:8443/v1/a?x=1#y", MOUNT + "a?x=1#y", "absolute"),
    ("HTTPS://UP.example.com:8443/v1/a", MOUNT + "a", "absolute in upper case"),
    ("//up.example.com:8443/v1/a", MOUNT + "a", "without scheme"),
    ("?page=2", MOUNT + "?page=2", "a query"),
    ("a?next=//evil.test", MOUNT + "a?next=//evil.test", "an address in the query"),
    ("/", None, "above the prefix"),
    ("/v2/a", None, "beside the prefix"),
    ("/v10/a", None, "a prefix that begins alike"),
    ("../admin", None, "out of the prefix"),
    ("/v1/../admin", None, "out of the prefix, absolute"),
    ("/v1/%2e%2e/admin", None, "out of the prefix, encoded"),
    ("/v1/..;/admin", None, "out of the prefix, Tomcat"),
    ("/v1//evil.test", None, "an empty segment"),
    ("//evil.test", None, "//evil"),
    ("//evil.test/v1/a", None, "//evil with our prefix"),
    ("///evil.test", None, "///evil"),
    ("/\\evil.test", None, "/\\evil"),
    ("\\\\evil.test", None, "\\\\evil"),
    ("/v1/\\evil.test", None, "a backslash within"),
    ("http://up.example.com:8443/v1/a", None, "downgraded"),
    ("http://up.example.com/v1/a", None, "downgraded, another port"),
    ("https://up.example.com/v1/a", None, "another port"),
    ("https://up.example.com:8444/v1/a", None, "a third port"),
    ("https://up.example.com:99999/v1/a", None, "no port"),
    ("https://up.example.com:8443.evil.test/v1/", None, "ours in front"),
    ("https://up.evil/v1/", None, "another host"),
    ("https://user@up.example.com:8443/v1/a", None, "userinfo"),
    ("https://user:pw@up.example.com:8443/v1/a", None, "userinfo with a password"),
    ("https://up.example.com:8443@evil.test/v1/a", None, "ours as userinfo"),
    ("javascript:alert(1)", None, "javascript"),
    ("data:text/html,x", None, "data"),
    ("ftp://up.example.com:8443/v1/a", None, "another scheme"),
    ("/v1/a\r\nSet-Cookie: x", None, "a line break"),
    ("/v1/a b", None, "a space"),
    ("\t/v1/a", None, "a tab"),
    ("/v1/ü", None, "beyond ASCII"),
    ("https://[::1", None, "no URL"),
    ("", None, "empty"),
]


@pytest.mark.parametrize(
    ("location", "seen"), [pytest.param(*row, id=f"RS-4 {name}") for *row, name in LOCATIONS]
)
def test_a_location_leads_to_our_mount_or_nowhere(location: str, seen: str | None) -> None:
    assert rewrite_location(location, UP, MOUNT) == seen


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_within_the_upstream_is_rewritten(status: int) -> None:
    """RS-4."""
    headers = received(("Location", "/v1/a"), status=status)
    assert value_of(headers, "Location") == MOUNT + "a"
    assert names(headers).count("location") == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", [row[0] for row in LOCATIONS if row[1] is None])
def test_a_redirect_that_leaves_the_upstream_is_an_error(status: int, location: str) -> None:
    """RS-4: neither followed nor passed on."""
    with pytest.raises(UpstreamUnreachable):
        received(("Location", location), status=status)


@pytest.mark.parametrize("route", [UP, up(response_headers=("Location",))])
def test_a_location_beside_a_created_thing_is_rewritten_or_left_out(route: Upstream) -> None:
    """RS-4: with 201 it is no redirect, but an address all the same."""
    inside = received(("Location", "/v1/a"), status=201, route=route)
    assert value_of(inside, "Location") == MOUNT + "a"
    assert names(inside).count("location") == 1
    outside = received(("Location", "https://evil.test/"), status=201, route=route)
    assert value_of(outside, "Location") is None


def test_the_default_port_is_the_same_port() -> None:
    """RS-4."""
    plain = up(url="https://up.example.com/v1/")
    for location in ("https://up.example.com:443/v1/a", "https://up.example.com/v1/a"):
        assert rewrite_location(location, plain, MOUNT) == MOUNT + "a"


@given(URLISH | st.text(max_size=30))
@example("//up.example.com:8443//evil.test")
@example("https://up.example.com:8443/v1//evil.test")
def test_whatever_the_upstream_says_the_browser_stays_below_the_mount(location: str) -> None:
    seen = rewrite_location(location, UP, MOUNT)
    if seen is None:
        return
    parts = urlsplit("https://app.example.com" + seen)
    assert parts.netloc == "app.example.com"
    assert parts.path.startswith(MOUNT)
    assert "//" not in parts.path and "\\" not in seen
    assert not {".", ".."} & set(parts.path.split("/"))
