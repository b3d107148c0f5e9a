"""What the site tells a browser to keep, and what its pages allow: CK rows, CS-11, AR-4, AR-7."""

from __future__ import annotations

import json
import re

import pytest

from tests.conftest import MakeSite
from tests.support.browser import Browser
from tests.support.caller import DOORS, proxy_site
from tests.support.provider import NodeProvider
from tests.support.upstream import RecordingUpstream

SESSION = "__Host-Http-bff-auth"
SAME_SITE = {"login": "Lax", "csrf": "Strict", "auth": "Strict"}


def a_whole_round(make_site: MakeSite, upstream: RecordingUpstream, door: str) -> Browser:
    """Signed in, signed in anew, called, refused, signed out: every cookie is set and deleted."""
    browser = proxy_site(make_site, upstream, door).browser()
    for _ in range(2):
        browser.login("jane")
        assert browser.fetch("api/photos/1").status == 200
    browser.navigate("devices/")
    browser.navigate("callback/?code=x&state=y")
    browser.fetch("logout/", "POST")
    assert browser.fetch("api/photos/1").status == 401
    return browser


@pytest.mark.parametrize("door", DOORS)
def test_ck1_to_ck6_and_ck11_every_cookie_is_for_this_host_https_and_http_alone(
    make_site: MakeSite, provider: NodeProvider, upstream: RecordingUpstream, door: str
):
    browser = a_whole_round(make_site, upstream, door)
    ours = [line for line in set_by(browser) if line.startswith("__Host-")]
    assert not [line for line in set_by(browser) if "bff" in line and line not in ours]
    deleted = set()
    for line in ours:
        pair, *given = [part.strip() for part in line.split(";")]
        name, _, value = pair.partition("=")
        attributes = {key.lower(): said for key, _, said in (one.partition("=") for one in given)}
        assert name.startswith("__Host-Http-"), line  # CK-6
        assert "secure" in attributes and "httponly" in attributes, line  # CK-1, CK-2
        kind = next(kind for kind in SAME_SITE if kind in name)
        assert attributes["samesite"] == SAME_SITE[kind], line  # CK-3
        assert attributes["path"] == "/", line  # CK-4
        assert "domain" not in attributes, line  # CK-5
        assert len(pair) <= 4096, line  # CK-9
        if attributes.get("max-age") == "0" or not value.strip('"'):
            deleted.add(kind)
    assert {"auth", "login"} <= deleted  # CK-11: with the same attributes, or it would stay
    left = [name for name in browser.cookies if "auth" in name or "login" in name]
    assert left == []


def set_by(browser: Browser) -> list[str]:
    """The Set-Cookie lines of the site, out of all that the browser has received."""
    text = browser.received.decode("latin-1")
    lines = re.findall(r"(?im)^set-cookie: (.*?)\r?$", text)
    return [line for line in lines if "bff" in line or line.startswith("__Host-")]


def test_ck8_a_session_key_is_long_random_and_says_nothing(
    make_site: MakeSite, provider: NodeProvider, upstream: RecordingUpstream
):
    site = proxy_site(make_site, upstream, "gunicorn")
    keys = set()
    for _ in range(8):
        browser = site.browser()
        browser.login("jane")
        keys.add(browser.cookies[SESSION].value)
    assert len(keys) == 8
    for key in keys:
        assert len(key) >= 26  # of 36 characters: 134 bits
        assert re.fullmatch("[a-z0-9]+", key)
        assert "jane" not in key


PAGES = ["/", "/bff/devices/", "/bff/error/?code=login_expired", "/bff/logged-out/?state=x"]
PAGES += ["/bff/callback/?code=x&state=y", "/bff/login/", "/admin/login/", "/bff/nothing/"]


@pytest.mark.parametrize("door", DOORS)
def test_cs11_no_page_of_ours_is_framed_sniffed_or_named_to_others(
    make_site: MakeSite, provider: NodeProvider, upstream: RecordingUpstream, door: str
):
    browser = proxy_site(make_site, upstream, door).browser()
    browser.login("jane")
    for page in PAGES:
        said = browser.navigate(page, follow=False)
        assert said.get("X-Frame-Options") == "DENY", page
        assert said.get("X-Content-Type-Options") == "nosniff", page
        assert said.get("Referrer-Policy") in ("no-referrer", "same-origin"), page
        assert said.get("Cross-Origin-Opener-Policy") == "same-origin", page
        if page.startswith("/bff/") and "nothing" not in page:
            assert "no-store" in (said.get("Cache-Control") or ""), page
            if "html" in (said.get("Content-Type") or "") and said.status != 302:
                assert "frame-ancestors 'none'" in (said.get("Content-Security-Policy") or ""), page
    callback = browser.navigate("/bff/callback/?code=x&state=y", follow=False)
    assert callback.get("Referrer-Policy") == "no-referrer"  # the code is in its address


def test_ar4_ar7_no_door_gives_a_token_away(
    make_site: MakeSite, provider: NodeProvider, upstream: RecordingUpstream
):
    """RFC 10017 §6.2: no token-mediating back end, by no parameter and under no address."""
    browser = proxy_site(make_site, upstream, "gunicorn").browser()
    assert browser.session() == json.loads(browser.fetch("session/").body)
    assert browser.fetch("session/").status == 200
    browser.login("jane")
    browser.fetch("api/photos/1")
    token = upstream.requests[0].token
    assert token
    for path in (
        *("session/?include=token", "session/?access_token=1", "session/?debug=1"),
        *("token/", "tokens/", "access-token/", "sessions/", "session/token/", "api/", "user/"),
    ):
        browser.fetch(path)
    browser.fetch("session/", headers={"Accept": "application/jwt", "X-Include": "token"})
    assert token.encode() not in browser.received
    assert set(browser.session()["user"]) <= {"sub", "name", "email", "picture"}
    assert "no-store" in (browser.fetch("session/").get("Cache-Control") or "")
