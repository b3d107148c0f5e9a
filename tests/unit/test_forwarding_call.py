"""The rules of a call that need no socket: its route, its target, its body, its second try."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oauthbff.conf import Upstream
from oauthbff.errors import (
    BFFError,
    BodyBroken,
    BodyTooLarge,
    LengthRequired,
    NoSuchUpstream,
    PathRefused,
    UpstreamUnreachable,
)
from oauthbff.forwarding import (
    CHUNK_BYTES,
    REQUEST_HEADERS,
    Meter,
    check_length,
    declared_length,
    embeds,
    find_route,
    forwarded,
    has_body,
    is_event_stream,
    is_replayable,
    raw_target,
    refuses_token,
    request_head,
    request_headers,
    via,
)

PICTURES = Upstream(name="pictures", url="https://p.example.com/", embed=("image",), max_body=10)
ROUTES = {"pictures": PICTURES}


@pytest.mark.parametrize("rest", ["pictures/", "pictures/1", "pictures//x"])
def test_rp1_a_route_is_found_by_its_name(rest: str) -> None:
    assert find_route(ROUTES, rest) is PICTURES
    assert embeds(ROUTES, rest) == ("image",)


@pytest.mark.parametrize("rest", ["", "/", "picture/1", "Pictures/1", "pictures2/1", "pictures%2f"])
def test_rp1_what_is_not_a_routes_name_is_no_way_out(rest: str) -> None:
    assert embeds(ROUTES, rest) == ()
    with pytest.raises(NoSuchUpstream):
        find_route(ROUTES, rest)


def test_rp1_a_route_without_its_slash_is_none() -> None:
    with pytest.raises(NoSuchUpstream):
        find_route(ROUTES, "pictures")


@pytest.mark.parametrize(
    ("has_body", "length", "framing"),
    [
        (False, None, b""),
        (True, 0, b"Content-Length: 0\r\n"),
        (True, 7, b"Content-Length: 7\r\n"),
        (True, None, b"Transfer-Encoding: chunked\r\n"),
    ],
)
def test_the_head_of_the_new_request_is_written(
    has_body: bool, length: int | None, framing: bytes
) -> None:
    head = request_head(
        "PUT", "/v1/a?b", [("Host", "p"), ("Accept", "\xe4")], has_body=has_body, length=length
    )
    assert head == b"PUT /v1/a?b HTTP/1.1\r\nHost: p\r\nAccept: \xe4\r\n" + framing + b"\r\n"


@pytest.mark.parametrize("odd", ["\r", "\n", "\r\n", "\r\nX: y", "\n\r", "\0"])
@pytest.mark.parametrize("where", ["method", "target", "name", "value"])
def test_nothing_is_sent_whose_head_has_a_line_more(odd: str, where: str) -> None:
    method, target, name, value = (
        word + odd if place == where else word
        for place, word in [("method", "GET"), ("target", "/"), ("name", "Accept"), ("value", "x")]
    )
    with pytest.raises(UpstreamUnreachable):
        request_head(method, target, [(name, value)], has_body=False, length=None)


MOUNT = "/bff/api/pictures/"


@pytest.mark.parametrize(
    ("query", "asgi_path", "wsgi_target", "decoded", "expected"),
    [
        pytest.param("q", b"/bff/api/pictures/a%2Fb", None, "-", ("a%2Fb", "?q"), id="ASGI"),
        pytest.param("", b"/bff/api/pictures/a", None, "-", ("a", ""), id="ASGI, no query"),
        pytest.param("q", b"/bff/api/pictures/a?q", None, "-", ("a", "?q"), id="ASGI, both"),
        pytest.param("q", None, "/bff/api/pictures/a?", "-", ("a", "?"), id="WSGI, empty query"),
        pytest.param("q", b"/bff/api/pictures/a", "/x", "-", ("a", "?q"), id="ASGI is asked first"),
        pytest.param("", b"/bff/api/Pictures/a", None, MOUNT, None, id="ASGI, another route"),
        pytest.param("", None, "http://e/bff/api/pictures/a", MOUNT, None, id="PT-11 absolute"),
        pytest.param("q", None, None, "/bff/api/pictures/a b", ("a%20b", "?q"), id="PF5 decoded"),
        pytest.param("", None, None, "/bff/api/pictures/a%b", None, id="PF5 ambiguous"),
        pytest.param("", None, None, "/bff/apis/pictures/a", None, id="PF5 another door"),
        pytest.param("", b"", None, MOUNT, None, id="ASGI, nothing"),
    ],
)
def test_pf5_the_target_is_taken_where_it_is_raw(
    query: str,
    asgi_path: bytes | None,
    wsgi_target: str | None,
    decoded: str,
    expected: tuple[str, str] | None,
) -> None:
    def found() -> tuple[str, str]:
        return raw_target(
            MOUNT, query, asgi_path=asgi_path, wsgi_target=wsgi_target, decoded=decoded
        )

    if expected is not None:
        assert found() == expected
    else:
        with pytest.raises(PathRefused):
            found()


@pytest.mark.parametrize(
    ("length", "coding", "reads_chunked", "expected"),
    [
        pytest.param("5", None, True, 5, id="sized"),
        pytest.param("5", "", False, 5, id="sized, empty coding"),
        pytest.param("0", None, True, 0, id="RB-6 none"),
        pytest.param(None, None, True, 0, id="RB-6 no header"),
        pytest.param("", None, True, 0, id="RB-6 an empty header"),
        pytest.param(None, "chunked", True, None, id="RB-3 chunked"),
        pytest.param("", "Chunked", True, None, id="RB-3 chunked, any case"),
        pytest.param(None, "chunked", False, LengthRequired, id="PF3 not handed over"),
        pytest.param("5", "chunked", True, LengthRequired, id="RH-10 both"),
        pytest.param("5", "identity, chunked", True, LengthRequired, id="RH-10 both, listed"),
        pytest.param("+5", None, True, BodyBroken, id="RH-10 a sign"),
        pytest.param("5,5", None, True, BodyBroken, id="RH-10 a list"),
        pytest.param("5_0", None, True, BodyBroken, id="RH-10 an underscore"),
        pytest.param(" 5", None, True, BodyBroken, id="RH-10 a space"),
        pytest.param("٥", None, True, BodyBroken, id="RH-10 another script's digit"),
        pytest.param("0x5", None, True, BodyBroken, id="RH-10 hex"),
    ],
)
def test_the_length_of_a_body_by_its_head(
    length: str | None,
    coding: str | None,
    reads_chunked: bool,
    expected: int | None | type[BFFError],
) -> None:
    if isinstance(expected, type):
        with pytest.raises(expected):
            declared_length(length, coding, reads_chunked=reads_chunked)
    else:
        assert declared_length(length, coding, reads_chunked=reads_chunked) == expected


def test_rb2_a_length_beyond_the_routes_is_refused_before_a_byte_is_read() -> None:
    for fits in (None, 0, 10):
        check_length(PICTURES, fits)
    with pytest.raises(BodyTooLarge):
        check_length(PICTURES, 11)


def test_rb2_a_body_without_a_length_is_counted() -> None:
    meter = Meter(PICTURES, None)
    assert meter.wanted == CHUNK_BYTES
    assert meter.count(b"x" * 10) == b"x" * 10
    meter.end()
    with pytest.raises(BodyTooLarge):
        meter.count(b"x")


def test_rb4_a_body_with_a_length_is_whole_or_broken() -> None:
    meter = Meter(PICTURES, 3)
    assert meter.wanted == 3
    meter.count(b"ab")
    assert meter.wanted == 1
    with pytest.raises(BodyBroken):
        meter.end()
    meter.count(b"c")
    assert meter.wanted == 0
    meter.end()


def test_rb6_who_has_a_body() -> None:
    for method in ("POST", "PUT", "PATCH"):
        assert has_body(method, 0)
    for method in ("GET", "HEAD", "DELETE"):
        assert not has_body(method, 0)
        assert has_body(method, 1)
        assert has_body(method, None)


def test_37_what_is_held_can_be_sent_again() -> None:
    assert is_replayable(0)
    assert is_replayable(65536)
    assert not is_replayable(65537)
    assert not is_replayable(None)


@pytest.mark.parametrize(
    ("status", "challenge", "refused"),
    [
        (401, 'Bearer error="invalid_token"', True),
        (401, "bearer  realm=x , error = invalid_token", True),
        (401, 'Basic realm="x", Bearer realm="y", error="invalid_token", scope="z"', True),
        (403, 'Bearer error="invalid_token"', False),
        (200, 'Bearer error="invalid_token"', False),
        (401, 'Bearer realm="x"', False),
        (401, 'Bearer error="insufficient_scope"', False),
        (401, 'Bearer realm="error=invalid_token"', False),
        (401, 'Basic realm="Bearer error=invalid_token"', False),
        (401, 'Basic error="invalid_token"', False),
        (401, 'Bearer error="invalid_token_x"', False),
        (401, "", False),
    ],
)
def test_37_only_a_bearer_challenge_says_that_the_token_is_refused(
    status: int, challenge: str, refused: bool
) -> None:
    assert refuses_token(status, [("Www-authenticate", challenge)]) is refused
    assert not refuses_token(status, [("X-Authenticate", challenge)])


def test_st1_an_event_stream_is_known_by_its_type_alone() -> None:
    for value in ("text/event-stream", "Text/Event-Stream; charset=utf-8"):
        assert is_event_stream([("content-type", value)])
    assert not is_event_stream([("Content-Type", "text/html")])
    assert not is_event_stream([("X-Request-ID", "text/event-stream")])
    assert not is_event_stream([])


@pytest.mark.parametrize(
    ("address", "node"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", '"[2001:db8::1]"'),
        ("fe80::1%eth0", '"[fe80::1]"'),
        ('fe80::1%a]";host="evil', '"[fe80::1]"'),
        ("unix:", "unknown"),
        ("", "unknown"),
        (None, "unknown"),
        ("192.0.2.1, 192.0.2.2", "unknown"),
    ],
)
def test_rh6_our_word_on_who_asked(address: str | None, node: str) -> None:
    said = forwarded(address, "https://app.example.com:8443")
    assert said == f'for={node};host="app.example.com:8443";proto=https'


def test_rh7_our_pseudonym() -> None:
    assert via("https://app.example.com:8443") == "1.1 app.example.com:8443"


# ------------------------------------------------------------------------ whatever is said: RP-3

WORDS = st.sampled_from(
    """Host host X-Forwarded-Host Forwarded Via Connection Cookie cookie Authorization DPoP Accept
    X-Tenant x-tenant Content-Type Content-Length Transfer-Encoding Upgrade Expect TE Proxy-X
    Sec-Fetch-Site Accept-Encoding User-Agent Range Origin Referer X-BFF X-Request-ID""".split()
)
VALUES = st.text(alphabet="aA0 ,;=:/.\r\n\t\x00\xe9\u0100", max_size=12) | WORDS
GREEDY = Upstream(
    name="greedy",
    url="https://p.example.com:8443/v1/",
    headers=("X-Tenant", "Cookie", "Authorization", "Host", "*", "Connection", "Content-Length"),
)


@given(
    given=st.dictionaries(WORDS | st.text(max_size=8), VALUES, max_size=8),
    connection=st.lists(WORDS, max_size=4),
    route=st.sampled_from([PICTURES, GREEDY]),
    token=st.sampled_from([None, "Bearer ours"]),
)
def test_rp3_whatever_is_said_in_headers_the_new_request_is_ours(
    given: dict[str, str], connection: list[str], route: Upstream, token: str | None
) -> None:
    lower = {name.lower(): value for name, value in given.items()}
    lower["connection"] = ", ".join(connection)
    headers = request_headers(
        lambda name: lower.get(name.lower()),
        route,
        authorization=token,
        via="1.1 ours",
        forwarded="for=192.0.2.1",
        request_id="ours",
    )
    names = [name.lower() for name, _ in headers]
    values = dict(zip(names, (value for _, value in headers), strict=True))
    assert len(names) == len(set(names))
    assert values["host"] == route.parts.netloc
    assert (values["via"], values["forwarded"]) == ("1.1 ours", "for=192.0.2.1")
    assert values.get("authorization") == token
    assert values["x-request-id"] == "ours"
    allowed = {name.lower() for name in REQUEST_HEADERS} | {"x-tenant", "user-agent", "*"}
    ours = {"host", "via", "forwarded", "authorization", "user-agent", "accept-encoding"}
    assert set(names) <= allowed | ours
    named = {name.lower() for name in connection}
    assert not (set(names) & named) - ours - {"x-request-id"}
    for value in values.values():
        assert not set(value) & set("\r\n\x00\u0100")
