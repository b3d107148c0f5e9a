"""Was it our own page, and does an address stay here. Ids: shared/standards.md CS-6 and A.4."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oauthbff.errors import CSRFFailed
from oauthbff.origin import (
    came_from_elsewhere,
    check_fetch,
    check_socket,
    is_handshake,
    is_navigation,
    stays_here,
)

HOST = "app.example.com"
OURS = f"https://{HOST}"
EVIL = "https://evil.example.com"
OK, NO = True, False


def headers(**given: str | None) -> Callable[[str], str | None]:
    """A header lookup: `headers(X_BFF="1")("X-BFF")`."""
    lower = {name.replace("_", "-").lower(): value for name, value in given.items()}
    return lambda name: lower.get(name.lower())


def passes(method: str, embed: tuple[str, ...] = (), **given: str | None) -> bool:
    try:
        check_fetch(method, headers(**given), name="X-BFF", base_url=OURS, embed=embed)
    except CSRFFailed:
        return False
    return True


CS6 = [
    pytest.param("same-origin", None, OK, id="CS-6 same-origin"),
    pytest.param("same-origin", OURS, OK, id="CS-6 same-origin, our Origin"),
    pytest.param("same-origin", EVIL, NO, id="CS-6 same-origin, foreign Origin"),
    pytest.param("same-origin", "null", NO, id="CS-6 same-origin, Origin null"),
    pytest.param("same-site", None, NO, id="CS-6 same-site"),
    pytest.param("same-site", OURS, NO, id="CS-6 same-site, our Origin"),
    pytest.param("same-site", "https://sibling.example.com", NO, id="CS-1 sibling"),
    pytest.param("cross-site", None, NO, id="CS-6 cross-site"),
    pytest.param("cross-site", OURS, NO, id="CS-6 cross-site, our Origin"),
    pytest.param("cross-site", EVIL, NO, id="CS-6 cross-site, foreign Origin"),
    pytest.param("none", None, NO, id="CS-6 none, the address bar"),
    pytest.param("none", OURS, NO, id="CS-6 none, our Origin"),
    pytest.param("invalid", None, OK, id="CS-6 invalid value, no Origin"),
    pytest.param("invalid", OURS, OK, id="CS-6 invalid value, our Origin"),
    pytest.param("invalid", EVIL, NO, id="CS-6 invalid value, foreign Origin"),
    pytest.param("", EVIL, NO, id="CS-6 empty value, foreign Origin"),
    pytest.param("", OURS, OK, id="CS-6 empty value, our Origin"),
    pytest.param(None, None, OK, id="CS-6 absent, no Origin"),
    pytest.param(None, OURS, OK, id="CS-6 absent, our Origin"),
    pytest.param(None, EVIL, NO, id="CS-6 absent, foreign Origin"),
    pytest.param(None, "null", NO, id="CS-6 absent, Origin null"),
    pytest.param(None, "", NO, id="CS-6 absent, Origin empty"),
    pytest.param(None, OURS + "/", NO, id="Origin with a slash"),
    pytest.param(None, OURS + ":443", NO, id="Origin with the port"),
    pytest.param(None, f"http://{HOST}", NO, id="Origin over http"),
    pytest.param(None, OURS + ".evil.com", NO, id="Origin with ours in front"),
    pytest.param(None, f"https://evil{HOST}", NO, id="Origin with ours behind"),
    pytest.param(None, f"{OURS}, {EVIL}", NO, id="two Origins"),
]
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("site", "origin", "verdict"), CS6)
def test_only_our_own_page_may_call(
    method: str, site: str | None, origin: str | None, verdict: bool
) -> None:
    assert passes(method, Sec_Fetch_Site=site, Origin=origin, X_BFF="1") is verdict


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [None, "", "0", "2", "true", " 1", "1 ", "1, 1", "11", "１"])
@pytest.mark.parametrize("site", [None, "same-origin"])
def test_without_the_header_nothing_passes(
    method: str, value: str | None, site: str | None
) -> None:
    """CS-2: GET and HEAD too."""
    assert not passes(method, X_BFF=value, Sec_Fetch_Site=site, Origin=OURS)
    assert passes(method, X_BFF="1", Sec_Fetch_Site=site, Origin=OURS)


def test_the_headers_name_is_the_configured_one() -> None:
    with pytest.raises(CSRFFailed):
        check_fetch("GET", headers(X_BFF="1"), name="X-Own", base_url=OURS)
    check_fetch("GET", headers(X_Own="1"), name="X-Own", base_url=OURS)


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        *(({}, OK), ({"Sec_Fetch_Site": "same-origin", "Sec_Fetch_Mode": "websocket"}, OK)),
        *(({"Origin": None}, NO), ({"Origin": EVIL}, NO), ({"Origin": "null"}, NO)),
        *(({"Origin": ""}, NO), ({"Origin": OURS + "/"}, NO), ({"X_BFF": "1", "Origin": EVIL}, NO)),
        *(({"Sec_Fetch_Site": "cross-site"}, NO), ({"Sec_Fetch_Site": "same-site"}, NO)),
        *(({"Sec_Fetch_Site": "none"}, NO), ({"Sec_Fetch_Mode": "cors"}, NO)),
    ],
)
def test_only_our_own_page_may_open_a_websocket(
    given: dict[str, str | None], verdict: bool
) -> None:
    try:
        check_socket(headers(**{"Origin": OURS, **given}), base_url=OURS)
        passed = True
    except CSRFFailed:
        passed = False
    assert passed is verdict


def test_what_the_handshake_of_a_websocket_is() -> None:
    both = {"Upgrade": "WebSocket", "Sec_WebSocket_Version": "13"}
    assert is_handshake("GET", headers(**both))
    for method in METHODS[1:]:
        assert not is_handshake(method, headers(**both))
    for changed in ({"Upgrade": None}, {"Upgrade": "h2c"}, {"Sec_WebSocket_Version": None}):
        assert not is_handshake("GET", headers(**{**both, **changed}))


IMAGE = ("image",)


@pytest.mark.parametrize(
    ("method", "embed", "site", "dest", "verdict"),
    [
        pytest.param("GET", IMAGE, "same-origin", "image", OK, id="an image of ours"),
        pytest.param("HEAD", IMAGE, "same-origin", "image", OK, id="HEAD of it"),
        pytest.param("GET", ("image", "video"), "same-origin", "video", OK, id="a video of ours"),
        pytest.param("GET", (), "same-origin", "image", NO, id="off by default"),
        pytest.param("GET", IMAGE, "same-origin", "script", NO, id="another destination"),
        pytest.param("GET", IMAGE, "same-origin", "Image", NO, id="another case"),
        pytest.param("GET", IMAGE, "same-origin", "empty", NO, id="a fetch"),
        pytest.param("GET", IMAGE, "same-origin", None, NO, id="no destination"),
        pytest.param("GET", IMAGE, "same-origin", "", NO, id="an empty destination"),
        pytest.param("GET", IMAGE, None, "image", NO, id="no Fetch Metadata"),
        pytest.param("GET", IMAGE, "invalid", "image", NO, id="invalid Fetch Metadata"),
        pytest.param("GET", IMAGE, "same-site", "image", NO, id="a sibling's page"),
        pytest.param("GET", IMAGE, "cross-site", "image", NO, id="a foreign page"),
        pytest.param("GET", IMAGE, "none", "image", NO, id="the address bar"),
        pytest.param("POST", IMAGE, "same-origin", "image", NO, id="POST"),
        pytest.param("DELETE", IMAGE, "same-origin", "image", NO, id="DELETE"),
        pytest.param("get", IMAGE, "same-origin", "image", NO, id="a made-up method"),
    ],
)
def test_an_embedded_destination_passes_on_the_browsers_word(
    method: str, embed: tuple[str, ...], site: str | None, dest: str | None, verdict: bool
) -> None:
    assert passes(method, embed, Sec_Fetch_Site=site, Sec_Fetch_Dest=dest) is verdict


def test_a_foreign_origin_is_refused_even_where_embedding_is_allowed() -> None:
    known = {"Sec_Fetch_Site": "same-origin", "Sec_Fetch_Dest": "image"}
    assert passes("GET", IMAGE, Origin=OURS, **known)
    assert not passes("GET", IMAGE, Origin=EVIL, **known)


def test_the_refusal_does_not_repeat_a_long_origin() -> None:
    with pytest.raises(CSRFFailed) as refusal:
        check_fetch("GET", headers(Origin="x" * 5000), name="X-BFF", base_url=OURS)
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize(
    ("mode", "dest", "verdict"),
    [
        pytest.param("navigate", "document", True, id="CS-7 a navigation"),
        pytest.param(None, None, True, id="no Fetch Metadata"),
        pytest.param("navigate", None, True, id="mode alone"),
        pytest.param("cors", "empty", False, id="a fetch"),
        pytest.param("no-cors", "image", False, id="CS-7 an image"),
        pytest.param("no-cors", "script", False, id="CS-7 a script"),
        pytest.param("navigate", "iframe", False, id="CS-7 an iframe"),
        pytest.param("navigate", "object", False, id="an object"),
        pytest.param("same-origin", "document", False, id="a same-origin fetch"),
        pytest.param("websocket", "websocket", False, id="a websocket"),
    ],
)
def test_a_navigation_is_told_from_a_fetch(
    mode: str | None, dest: str | None, verdict: bool
) -> None:
    assert is_navigation(headers(Sec_Fetch_Mode=mode, Sec_Fetch_Dest=dest)) is verdict


@pytest.mark.parametrize(
    ("site", "verdict"),
    [
        ("cross-site", True),
        ("same-site", True),
        ("same-origin", False),
        ("none", False),
        (None, False),
    ],
)
def test_a_foreign_site_is_told_from_ours(site: str | None, verdict: bool) -> None:
    assert came_from_elsewhere(headers(Sec_Fetch_Site=site)) is verdict


# --- return_to --------------------------------------------------------------------------------


def stays(address: str, closed: str = "/bff/") -> bool:
    return stays_here(address, host=HOST, closed=closed)


GOOD = [
    "/",
    "/photos",
    "/photos/",
    "/a/b/c",
    "/a/b?x=1&y=%20",
    "/a/b?x=1&y=+",
    "/%C3%BC",
    "/m%C3%BCnchen/stra%C3%9Fe",
    "/ü",
    "/#frag",
    "/#/route/in/the/spa",
    "/a?next=/b",
    "/a?next=%2Fb",
    "/a?u=https%3A%2F%2Fexample.org%2Fx",
    "/a?path=a//b",
    "/a?q=..",
    "/?a[]=1",
    "/a?",
    "/a;v=1/b",
    "/a:b",
    "/@jane",
    "/a..b",
    "/...",
    "/.well-known/x",
    "/~jane",
    "/bff-photos",
    "/bffx/",
    "/a/bff/",
    "/a?x=/bff/logout/",
    "/" + "a" * 2047,
]


@pytest.mark.parametrize("address", GOOD)
def test_an_address_of_ours_is_kept(address: str) -> None:
    assert stays(address)


#: The table of standards.md A.4, row by row.
A4 = [
    "//evil.com",
    "///evil.com",
    "////evil.com",
    "/\\evil.com",
    "/\\/evil.com",
    "/\\/\\/evil.com/",
    "/\t/evil.com",
    "/\n/evil.com",
    "/\r/evil.com",
    "\\\\evil.com",
    "\\/evil.com",
    " //evil.com",
    "\t//evil.com",
    "\x00//evil.com",
    "\x0b//evil.com",
    "\x1f//evil.com",
    "https:evil.com",
    "https:/evil.com",
    "http:evil.com",
    "https:///evil.com",
    "https:\\\\evil.com",
    f"https://{HOST}@evil.com",
    f"//{HOST}:443@evil.com",
    f"https://evil.com\\@{HOST}",
    f"https://evil.com#@{HOST}",
    f"https://evil.com?@{HOST}",
    "//evil。com",
    "//evil%E3%80%82com",
    f"https://{HOST}.evil.com",
    "https://evilapp.example.com",
    "javascript:alert(1)",
    "java\tscript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    f"blob:{OURS}/1",
    "//[evil",
    "https://[::1",
    "/%2f%2fevil.com",
    "/%5cevil.com",
    "/%09/evil.com",
    "%2f%2fevil.com",
    "@evil.com",
    "?next=//evil.com",
    "/.//evil.com",
    "/..//evil.com",
    "/x/..//evil.com",
    "/a\r\nSet-Cookie: x=1",
]

#: Further shapes that have opened redirects elsewhere.
SHAPES = [
    "",
    " ",
    "/ ",
    " /",
    "evil.com",
    "www.evil.com",
    ".evil.com",
    "photos",
    "./photos",
    "../photos",
    "#//evil.com",
    "?",
    ";//evil.com",
    ":80",
    "://evil.com",
    ":///evil.com",
    "//",
    "///",
    "//evil.com/%2f..",
    "//evil.com:80/",
    "//user:pass@evil.com",
    "//127.0.0.1",
    "//2130706433",
    "//0x7f.1",
    "//[::1]/",
    "///evil.com/..",
    "////evil.com/%2e%2e",
    "//evil.com\\",
    "/////evil.com",
    "//\\evil.com",
    "//;@evil.com",
    f"//{HOST}/",
    f"//{HOST}@evil.com/",
    f"{OURS}/photos",
    f"http://{HOST}/photos",
    f"HTTPS://{HOST}/",
    "HtTp://evil.com",
    "hTTps:\\/\\/evil.com",
    "http:\\\\evil.com",
    "http:/\\evil.com",
    "http://;@evil.com",
    "https:///\\evil.com",
    "ftp://evil.com",
    "file:///etc/passwd",
    "mailto:a@evil.com",
    "vbscript:msgbox(1)",
    "JaVaScRiPt:alert(1)",
    "javascript://%0aalert(1)",
    "javascript:%61lert(1)",
    "\x01javascript:alert(1)",
    "view-source:https://evil.com",
    "about:blank",
    "/\\\\evil.com",
    "/a\\b",
    "/a\\..\\b",
    "/\\t/evil.com",
    "/\x00/evil.com",
    "/\x0b/evil.com",
    "/\x0c/evil.com",
    "/\x7f/evil.com",
    "/\x85/evil.com",
    "/\xa0/evil.com",
    "/\u2028/evil.com",
    "/\u2029/evil.com",
    "/a b",
    "/a//evil.com",
    "/a///b",
    "/./evil",
    "/../evil",
    "/a/../b",
    "/a/./b",
    "/a/..",
    "/a/.",
    "/..",
    "/.",
    "/%2e",
    "/%2e%2e",
    "/%2e%2e/evil",
    "/%2E%2E/evil",
    "/.%2e/evil",
    "/a/%2e%2e//evil.com",
    "/%2f/evil.com",
    "/%2Fevil.com",
    "/%2F%2Fevil.com%2F",
    "/%5C%5Cevil.com",
    "/%5c/evil.com",
    "/a%5cb",
    "/%0aevil.com",
    "/%0d%0aLocation:%20https://evil.com",
    "/a%0d%0aSet-Cookie:x=1",
    "/%00/evil.com",
    "/%00",
    "/%7f",
    "/%E2%80%A8/evil.com",
    "/%252f%252fevil.com",
    "/%252fevil.com",
    "/%255cevil.com",
    "/%2509/evil.com",
    "/%252e%252e/evil",
    "/%250d%250aSet-Cookie:x=1",
    "/%2500",
    "/%",
    "/%2",
    "/%zz",
    "/%u002f",
    "/%u2215evil.com",
    "/%c0%afevil.com",
    "/%ff",
    "/a%2F%2Fb",
    "/\ufffd",
    "/" + "a" * 2048,
    "/bff/",
    "/bff/login/",
    "/bff/logout/",
    "/bff/logout/?x=1",
    "/bff/callback/?code=a&state=b",
    "/bff/#x",
    "/%62ff/logout/",
    "/bff%2flogout/",
    "/bff%252flogout/",
    "/%2562ff/logout/",
    "/x/../bff/logout/",
    "/./bff/logout/",
]


@pytest.mark.parametrize("address", A4)
def test_a_redirect_of_the_table_is_refused(address: str) -> None:
    """A.4."""
    assert not stays(address)


@pytest.mark.parametrize("address", SHAPES)
def test_other_shapes_of_open_redirects_are_refused(address: str) -> None:
    """A.4, further shapes."""
    assert not stays(address)


def test_the_closed_mount_is_the_sites_own() -> None:
    assert stays("/bff/logout/", closed="/auth/")
    assert not stays("/auth/logout/", closed="/auth/")


@given(st.text(alphabet='/\\.%25cfe?#@: \t\n"ü⁄;b0', max_size=24).map(lambda rest: "/" + rest))
def test_whatever_stays_here_stays_here_however_a_browser_reads_it(address: str) -> None:
    if not stays(address):
        return
    seen = address
    for _ in range(3):
        assert seen.startswith("/")
        assert not seen.replace("\\", "/").startswith("//")
        path = seen.partition("#")[0].partition("?")[0]
        assert "\\" not in path and "//" not in path
        assert not {".", ".."} & set(path.split("/"))
        seen = unquote(seen)


@given(st.text(max_size=40))
def test_no_text_makes_it_fall_over(text: str) -> None:
    for address in (text, "/" + text):
        assert stays(address) in (True, False)


@pytest.mark.parametrize(
    ("sent", "advice"),
    [
        ({}, "Send the header X-BFF: 1 with every call"),
        ({"X-BFF": "1", "Origin": "http://localhost:5173"}, "pages of https://app.example.com"),
        ({"X-BFF": "1", "Sec-Fetch-Site": "same-site"}, "pages of https://app.example.com"),
    ],
)
def test_a_refusal_tells_the_developer_what_to_do(sent: dict[str, str], advice: str) -> None:
    with pytest.raises(CSRFFailed) as refused:
        check_fetch("GET", sent.get, name="X-BFF", base_url="https://app.example.com")
    assert advice in refused.value.extra["detail"]
    assert "5173" not in refused.value.extra["detail"]
