"""Whose page made the call, and whose cookie is it? CS rows over every door, A.2, A.7, embed."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import URLPattern

from oauthbff import urls
from tests.conftest import MakeSite
from tests.support.caller import (
    ALL_METHODS,
    Caller,
    eventually,
    proxy_site,
    routes,
    signed_in,
)
from tests.support.provider import NodeProvider
from tests.support.upstream import RecordingUpstream

N = b"__Host-Http-bff-auth"
#: Doors that a browser navigates to, or the provider posts to (devices/ takes forms with Django's
#: CSRF token). Every other one is fetched.
NOT_FETCHED = {
    *("login", "callback", "error", "logged-out", "devices", "backchannel-logout", "authorize")
}


def fetched_doors() -> Iterator[str]:
    """Every address under the mount point that the SPA fetches, generated from the URLconf.

    A route that is added later cannot be missed: Duende's GHSA-4j63-5v5f-xcc4 was one.
    """
    for pattern in urls.urlpatterns:
        assert isinstance(pattern, URLPattern)
        if pattern.name == "api":
            yield from (f"api/{alias}/1" for alias in routes("http://127.0.0.1:9"))
            yield "api/nothing/1"
        elif pattern.name not in NOT_FETCHED:
            route = str(pattern.pattern)
            for name, converter in pattern.pattern.converters.items():
                kind = type(converter).__name__.removesuffix("Converter").lower()
                value = "1" if kind == "int" else str(uuid.uuid4())
                route = re.sub(rf"<(\w+:)?{name}>", value, route)
            assert "<" not in route, f"{pattern} has a part that this test cannot fill in"
            yield route


DOORS = list(fetched_doors())

#: What a foreign page, or none at all, makes a browser send. The cookie is there and valid.
FOREIGN: dict[str, list[str]] = {
    "CS-2-no-header": [],
    "CS-2-same-origin-without-header": ["Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors"],
    "CS-2-header-empty": ["X-BFF:", "Sec-Fetch-Site: same-origin"],
    "CS-2-header-wrong": ["X-BFF: 0", "Sec-Fetch-Site: same-origin"],
    "CS-2-header-misspelt": ["X_BFF: 1", "Sec-Fetch-Site: same-origin"],
    "CS-1-sibling": ["Origin: https://sibling.localhost", "Sec-Fetch-Site: same-site"],
    "CS-1-sibling-with-header": ["X-BFF: 1", "Origin: https://a.localhost"],
    "CS-6-same-site": ["X-BFF: 1", "Sec-Fetch-Site: same-site"],
    "CS-6-cross-site": ["X-BFF: 1", "Sec-Fetch-Site: cross-site"],
    "CS-6-none": ["X-BFF: 1", "Sec-Fetch-Site: none"],
    "CS-6-invalid-and-foreign": ["X-BFF: 1", "Sec-Fetch-Site: x", "Origin: https://evil.test"],
    "CS-6-origin-foreign": ["X-BFF: 1", "Origin: https://evil.test"],
    "CS-6-origin-null": ["X-BFF: 1", "Origin: null"],
    "CS-6-origin-empty": ["X-BFF: 1", "Origin:"],
    "CS-6-origin-other-port": ["X-BFF: 1", "Origin: http://localhost:1"],
    "CS-6-origin-other-scheme": ["X-BFF: 1", "Origin: https://{host}"],
    "CS-6-origin-longer": ["X-BFF: 1", "Origin: {ours}.evil.test"],
    "CS-6-origin-contradicts": [
        "X-BFF: 1",
        "Sec-Fetch-Site: same-origin",
        "Origin: https://evil.test",
    ],
}


def filled(jane: Caller, lines: list[str]) -> list[str]:
    host = f"localhost:{jane.site.port}"
    return [line.format(host=host, ours=jane.site.base_url) for line in lines]


def body_of(method: str) -> list[str]:
    return ["Content-Length: 0"] if method[0] == "P" else []


@pytest.mark.parametrize("row", ["CS-1", "CS-2", "CS-6"])
def test_no_foreign_page_gets_through_any_door_with_any_method(jane: Caller, row: str):
    names = [name for name in FOREIGN if name.startswith(row)]
    for name in names:
        lines = filled(jane, FOREIGN[name])
        for door in DOORS:
            for method in ALL_METHODS if door == "api/photos/1" else ("GET", "POST"):
                said = jane.ask(
                    method, f"/bff/{door}", *lines, *body_of(method), ours=False, whole_target=True
                )
                where = (name, method, door)
                assert said.get("Location") is None, where
                if door == "logout/":  # takes forms as well: Django's own middleware refuses there
                    assert said.status in (403, 405), where
                    continue
                assert (said.status, said.code) == (403, "csrf_failed"), where
                assert said.get("Content-Type") == "application/problem+json", where
    assert names
    assert jane.reached() == []
    assert jane.browser.is_logged_in()


OWN: dict[str, list[str]] = {
    "CS-6-same-origin": ["X-BFF: 1", "Sec-Fetch-Site: same-origin"],
    "CS-6-same-origin-and-origin": [
        "X-BFF: 1",
        "Sec-Fetch-Site: same-origin",
        "Origin: {ours}",
    ],
    "CS-6-invalid-falls-back": ["X-BFF: 1", "Sec-Fetch-Site: x", "Origin: {ours}"],
    "CS-6-origin-only": ["x-bff: 1", "Origin: {ours}"],
    "CS-6-nothing-but-the-header": ["X-BFF: 1"],
    "RH-4-header-named-by-connection": ["X-BFF: 1", "Connection: close", "Connection: X-BFF"],
}


def test_cs6_rh4_our_own_page_gets_through(jane: Caller):
    """The positive twin of the test above."""
    for name, given in OWN.items():
        lines = filled(jane, given)
        jane.upstream.clear()
        for method in ALL_METHODS:
            said = jane.ask(method, "photos/1", *lines, *body_of(method), ours=False)
            assert said.status == 200, (name, method)
        assert jane.reached() == [f"{method} /photos/1" for method in ALL_METHODS], name
        said = jane.ask("GET", "/bff/session/", *lines, ours=False, whole_target=True)
        assert (said.status, b'"authenticated": true' in said.body) == (200, True), name


def test_cs2_every_door_of_the_urlconf_was_asked():
    assert {"session/", "logout/", "api/photos/1", "api/weather/1"} <= set(DOORS)


def test_cs3_the_header_is_asked_for_before_anything_is_refreshed(
    make_site: MakeSite, provider: NodeProvider, upstream: RecordingUpstream
):
    provider.configure(ACCESS_TTL=1)
    jane = signed_in(proxy_site(make_site, upstream, "gunicorn"), upstream)
    time.sleep(1.1)
    for lines in FOREIGN.values():
        assert jane.ask("GET", "photos/1", *filled(jane, lines), ours=False).status == 403
    assert (provider.refreshes, jane.reached()) == (0, [])
    assert jane.ask("GET", "photos/1").status == 200
    assert provider.refreshes == 1


@pytest.mark.parametrize("origin", ["https://evil.test", "https://sibling.localhost", "null"])
def test_cs4_no_preflight_is_granted(jane: Caller, origin: str):
    for door in DOORS:
        for ours in (False, True):
            said = jane.ask(
                "OPTIONS",
                f"/bff/{door}",
                f"Origin: {origin}",
                "Access-Control-Request-Method: POST",
                "Access-Control-Request-Headers: x-bff,content-type",
                ours=ours,
                whole_target=True,
            )
            assert said.status in (403, 404, 405), door
            assert not [name for name, _ in said.headers if "access-control" in name.lower()]
    assert jane.reached() == []


def test_cs4_a_call_of_our_own_gets_no_cors_header_either(jane: Caller):
    said = jane.ask("GET", "photos/1", f"Origin: {jane.site.base_url}")
    assert said.status == 200
    assert not [name for name, _ in said.headers if "access-control" in name.lower()]


def test_cs8_a7_no_foreign_page_logs_anybody_out(jane: Caller):
    image = ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"]
    form = [
        "Content-Type: application/x-www-form-urlencoded",
        "Content-Length: 26",
        "Sec-Fetch-Mode: navigate",
        "Sec-Fetch-Dest: document",
    ]
    forged = b"csrfmiddlewaretoken=" + b"x" * 6
    cross = ["Origin: https://evil.test", "Sec-Fetch-Site: cross-site"]
    sibling = ["Origin: https://sibling.localhost", "Sec-Fetch-Site: same-site"]
    out = "/bff/logout/"
    for how in ({"ours": False}, {"ours": True}):
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            said = jane.ask(method, out, *body_of(method), whole_target=True, **how)
            assert said.status in (403, 405), method
    assert jane.ask("GET", out, *image, ours=False, whole_target=True).status in (403, 405)
    for lines in (cross, sibling):
        said = jane.ask("POST", out, *form, *lines, body=forged, ours=False, whole_target=True)
        assert said.status == 403
    assert jane.browser.is_logged_in()
    assert jane.browser.fetch("logout/", "POST").status == 200
    assert not jane.browser.is_logged_in()


def test_cs10_the_providers_door_knows_no_csrf(
    make_site: MakeSite, upstream: RecordingUpstream, door: str
):
    site = proxy_site(make_site, upstream, door)
    stranger = Caller(site, site.browser(), upstream)
    said = stranger.ask(
        "POST",
        "/bff/backchannel-logout/",
        "Content-Type: application/x-www-form-urlencoded",
        "Content-Length: 14",
        body=b"logout_token=x",
        ours=False,
        whole_target=True,
    )
    assert (said.status, said.get("Cache-Control")) == (400, "no-store")


# -------------------------------------------------------------------------------------- embed

EMBED = ["Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"]


def test_embed_an_image_of_our_own_page_needs_no_header(jane: Caller):
    for method in ("GET", "HEAD"):
        assert jane.ask(method, "pictures/1", *EMBED, ours=False).status == 200
    assert jane.reached() == ["GET /pictures/1", "HEAD /pictures/1"]
    assert jane.upstream.requests[0].token
    said = jane.ask("GET", "pictures/1", *EMBED, ours=False, cookie=b"a=b")
    assert (said.status, said.code) == (401, "login_required")
    jane.upstream.clear()
    assert jane.ask("POST", "pictures/1", "Content-Length: 0").status == 200


def test_embed_never_without_the_browsers_own_word(jane: Caller):
    def but(name: str, value: str | None) -> list[str]:
        kept = [line for line in EMBED if not line.startswith(name)]
        return kept if value is None else [*kept, f"{name}: {value}"]

    for lines in (
        but("Sec-Fetch-Site", None),
        but("Sec-Fetch-Site", "same-site"),
        but("Sec-Fetch-Site", "cross-site"),
        but("Sec-Fetch-Site", "none"),
        but("Sec-Fetch-Site", "x"),
        but("Sec-Fetch-Dest", None),
        but("Sec-Fetch-Dest", "script"),
        but("Sec-Fetch-Dest", "document"),
        but("Sec-Fetch-Dest", "iframe"),
        but("Sec-Fetch-Dest", "empty"),
        but("Sec-Fetch-Dest", "image, image"),
        [*EMBED, "Origin: https://evil.test"],
        [],
    ):
        said = jane.ask("GET", "pictures/1", *lines, ours=False)
        assert (said.status, said.code) == (403, "csrf_failed"), lines
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        said = jane.ask(method, "pictures/1", *EMBED, *body_of(method), ours=False)
        assert said.code == "csrf_failed", method
    for alias in ("photos", "weather", "news"):
        assert jane.ask("GET", f"{alias}/1", *EMBED, ours=False).code == "csrf_failed", alias
    assert jane.reached() == []


# ------------------------------------------------------------------------------------ cookies

V, E = b"{V}", b"{E}"  # the victim's and the attacker's session, both alive
TOSSED: dict[str, bytes | list[bytes]] = {
    "victim-then-attacker": b"N={V}; N={E}",
    "attacker-then-victim": b"N={E}; N={V}",
    "twice-the-same": b"N={V}; N={V}",
    "U+2000": b"N={V}; \xe2\x80\x80N={E}",
    "U+2000-first": b"\xe2\x80\x80N={E}; N={V}",
    "U+2000-alone": b"\xe2\x80\x80N={E}",
    "U+00A0": b"N={V}; \xc2\xa0N={E}",
    "U+0085": b"N={V}; \xc2\x85N={E}",
    "U+3000": b"N={V}; \xe3\x80\x80N={E}",
    "U+FEFF": b"N={V}; \xef\xbb\xbfN={E}",
    "latin-1-A0": b"N={V}; \xa0N={E}",
    "latin-1-85": b"N={V}; \x85N={E}",
    "U+2000-behind": b"N={V}; N\xe2\x80\x80={E}",
    "form-feed": b"N={V}; \x0cN={E}",
    "vertical-tab": b"N={V}; \x0bN={E}",
    "lower-case": b"N={V}; __host-http-bff-auth={E}",
    "lower-case-alone": b"__host-http-bff-auth={E}",
    "upper-case": b"N={V}; __HOST-HTTP-BFF-AUTH={E}",
    "nameless": b"N={V}; =N={E}",
    "nameless-alone": b"=N={E}",
    "version": b"$Version=1; N={E}",
    "version-behind": b"N={V}; $Version=1",
    "quote-across": b'a="x; N={E}"',
    "quoted": b'N="{V}"',
    "octal": b'N="\\137{V}"',
    "comma": b"a=b,N={E}",
    "comma-behind": b"N={V},N={E}",
    "empty-and-real": b"N=; N={V}",
    "without-value": b"N; N={V}",
    "two-header-lines": [b"N={V}", b"N={E}"],
    "two-header-lines-turned": [b"N={E}", b"N={V}"],
    "space-in-value": b"N={V} x",
}
CLEAN: dict[str, bytes] = {
    "alone": b"N={V}",
    "first": b"N={V}; theme=dark",
    "last": b"a=b; c=d; N={V}",
    "spaces": b"a=b;   N={V}  ;c=d",
    "tab": b"a=b;\tN={V}",
    "longer-name": b"N={V}; N2=x; xN=y; __Host-Http-bff-auth-old=z",
    "bytes-elsewhere": b"n\xc3\xa4me=v\xc3\xa4lue; N={V}; \xe2\x80\x80x=1",
    "json-elsewhere": b'prefs={"a":"b"}; N={V}',
    "no-space": b"a=b;N={V};c=d",
}


@pytest.fixture
def written(jane: Caller) -> Any:
    attacker = signed_in(jane.site, jane.upstream, "mallory")
    victim, mallory = jane.key, attacker.key
    assert victim != mallory

    def write(template: bytes) -> bytes:
        out = template.replace(b"{V}", victim).replace(b"{E}", mallory)
        return re.sub(rb"(?<![A-Za-z0-9_-])N(?=[^A-Za-z0-9_-]|$|2)", N, out)

    return write


def with_cookies(jane: Caller, target: str, lines: list[bytes]) -> Any:
    first, *others = lines
    more = [b"Cookie: " + line for line in others]
    return jane.ask("GET", target, *more, cookie=first, whole_target=True)


def test_a2_ck7_more_than_one_clean_cookie_is_none(jane: Caller, written: Any):
    """PF1, PF2. Nobody's session, one line in the log, and nothing reaches an upstream."""
    for name, template in TOSSED.items():
        lines = [written(one) for one in (template if isinstance(template, list) else [template])]
        assert any(N.lower() in line.lower() for line in lines), name
        before = len(jane.site.log())
        said = with_cookies(jane, "/bff/api/photos/1", lines)
        assert said.status in (400, 401), name
        if said.status == 401:
            assert said.code == "login_required", name
            eventually(lambda b=before: "cookie_ambiguous" in jane.site.log()[b:], seconds=1)
        session = with_cookies(jane, "/bff/session/", lines)
        assert b'"authenticated": true' not in session.body, name
        assert said.get("Set-Cookie") is None, name
    assert jane.reached() == []
    jane.still_works()


def test_a2_one_clean_cookie_among_others_is_the_session(jane: Caller, written: Any):
    before = len(jane.site.log())
    for name, template in CLEAN.items():
        said = with_cookies(jane, "/bff/session/", [written(template)])
        assert b'"sub": "jane"' in said.body, name
        assert with_cookies(jane, "/bff/api/photos/1", [written(template)]).status == 200, name
    assert len(jane.reached()) == len(CLEAN)
    assert "cookie_ambiguous" not in jane.site.log()[before:]


def test_a2_the_log_names_no_session_key(jane: Caller, written: Any):
    with_cookies(jane, "/bff/session/", [written(b"N={V}; N={E}")])
    assert jane.key.decode() not in jane.site.log()


def test_a2_a_jar_that_overflows_fails_cleanly(jane: Caller):
    padding = b"; ".join(b"p%d=" % number + b"x" * 200 for number in range(40))
    for cookie in (padding, jane.cookie + b"; " + padding, padding + b"; " + jane.cookie):
        said = jane.ask("GET", "photos/1", cookie=cookie)
        assert said.status in (200, 400, 401, 431), len(cookie)
    assert jane.ask("GET", "photos/1", cookie=padding).status != 200
    jane.still_works()


def test_a3_an_unknown_session_key_is_not_adopted(jane: Caller):
    for value in (b"x" * 32, b"", b"a" * 5000, jane.key[:-1] + b"-"):
        said = jane.ask("GET", "photos/1", cookie=N + b"=" + value)
        assert said.status in (401, 400, 431)
        assert said.get("Set-Cookie") is None or value not in said.wire or not value
    assert jane.reached() == []
