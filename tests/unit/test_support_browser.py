"""The cookie model that every contract test trusts. Facts measured with Chromium 156."""

from __future__ import annotations

import pytest

from tests.support.cookies import Jar, Trip, site_of

SITE = "http://localhost:8000"
PROVIDER = "http://127.0.0.1:9000"


def trip(path: str = "/", *, through: str | tuple[str, ...] = (), **how: object) -> Trip:
    through = (through,) if isinstance(through, str) else through
    return Trip(url=SITE + path, through=through, **how)  # type: ignore[arg-type]


def jar_with(*lines: str, at: Trip | None = None) -> Jar:
    jar = Jar()
    for line in lines:
        jar.take(line, at or trip(navigation=True))
    return jar


ALL_THREE = ("strict=1; SameSite=Strict", "lax=1; SameSite=Lax", "none=1; SameSite=None; Secure")


@pytest.mark.parametrize(
    ("going", "carried"),
    [
        (trip(navigation=True), "strict lax none"),  # typed
        (trip(navigation=True, through=f"{SITE}/page"), "strict lax none"),
        (trip(through=f"{SITE}/page"), "strict lax none"),  # fetch
        (trip(method="POST", through=f"{SITE}/page"), "strict lax none"),
        (trip(through="http://localhost:9999/"), "strict lax none"),  # ports are one site
        (trip(navigation=True, through=PROVIDER), "lax none"),
        (trip(navigation=True, through=(SITE, PROVIDER)), "lax none"),  # redirected back
        (trip(navigation=True, method="POST", through=PROVIDER), "none"),
        (trip(through=PROVIDER), ""),  # a third party's fetch
        (trip(method="POST", through=PROVIDER), ""),
    ],
)
def test_same_site_decides_what_a_request_carries(going: Trip, carried: str) -> None:
    header = jar_with(*ALL_THREE).header(going)

    assert [pair.removesuffix("=1") for pair in header.split("; ") if pair] == carried.split()


def test_a_cookie_without_same_site_is_lax() -> None:
    jar = jar_with("c=1")

    assert jar.header(trip(navigation=True, through=PROVIDER)) == "c=1"
    assert jar.header(trip(navigation=True, method="POST", through=PROVIDER)) == ""


@pytest.mark.parametrize(
    "line",
    [
        "__Host-a=1; Secure; Path=/",
        "__Host-Http-a=1; Secure; HttpOnly; Path=/; SameSite=Strict",
        "__Secure-a=1; Secure",
        "a=1; Domain=localhost",
        "a=1; SameSite=None; Secure",
        f"a={'x' * 4095}",
    ],
)
def test_a_browser_keeps_what_follows_the_rules(line: str) -> None:
    jar = jar_with(line)

    assert len(jar) == 1
    assert jar.refused == []


@pytest.mark.parametrize(
    "line",
    [
        "__Host-a=1; Path=/",
        "__Host-a=1; Secure; Path=/bff/",
        "__Host-a=1; Secure",  # the default path is not enough
        "__Host-a=1; Secure; Path=/; Domain=localhost",
        "__host-a=1; Path=/",  # prefixes are compared without case
        "__Secure-a=1",
        "__Host-Http-a=1; Secure; Path=/",
        "__Http-a=1; Secure",
        "a=1; Domain=example.com",
        "a=1; SameSite=None",
        f"a={'x' * 4096}",
        "a=1\x01",
        "=",
    ],
)
def test_a_browser_refuses_what_does_not(line: str) -> None:
    jar = jar_with(line)

    assert len(jar) == 0
    assert len(jar.refused) == 1


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("http://localhost:1/", True),
        ("http://app.localhost:1/", True),
        ("http://127.0.0.1:1/", True),
        ("https://bff.test/", True),
        ("http://bff.test:1/", False),
        ("http://192.168.0.1:1/", False),
    ],
)
def test_secure_cookies_live_on_https_and_on_loopback(url: str, kept: bool) -> None:
    jar = jar_with("a=1; Secure", at=Trip(url=url, navigation=True))

    assert (len(jar) == 1) is kept


def test_a_cross_site_fetch_may_set_only_same_site_none() -> None:
    jar = jar_with(*ALL_THREE, at=trip(through=PROVIDER))

    assert list(jar) == ["none"]


def test_a_cross_site_navigation_may_set_a_strict_cookie_but_does_not_carry_it_yet() -> None:
    way_back = trip(navigation=True, through=(SITE, PROVIDER))
    jar = jar_with("session=1; SameSite=Strict", at=way_back)

    assert jar.header(way_back) == ""
    assert jar.header(trip(through=SITE)) == "session=1"


@pytest.mark.parametrize(
    "line",
    [
        "a=; Max-Age=0",
        "a=; Max-Age=-1",
        "a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "a=; expires=Thu, 01-Jan-1970 00:00:00 GMT",
        "a=; Expires=Fri, 01 Jan 2100 00:00:00 GMT; Max-Age=0",
    ],
)
def test_an_expired_cookie_is_deleted(line: str) -> None:
    jar = jar_with("a=1")

    jar.take(line, trip())

    assert len(jar) == 0


def test_a_deletion_with_another_path_deletes_nothing() -> None:
    jar = jar_with("a=1; Path=/bff/")

    jar.take("a=; Max-Age=0; Path=/", trip())

    assert "a" in jar


@pytest.mark.parametrize(
    ("path", "cookie_path", "carried"),
    [
        ("/bff/login/", "/bff/", True),
        ("/bff/", "/bff", True),
        ("/bffx", "/bff", False),
        ("/", "/bff/", False),
        ("/bff", "/bff/", False),
    ],
)
def test_path_bounds_a_cookie(path: str, cookie_path: str, carried: bool) -> None:
    jar = jar_with(f"a=1; Path={cookie_path}")

    assert bool(jar.header(trip(path))) is carried


def test_without_path_a_cookie_is_bound_to_the_folder_that_set_it() -> None:
    jar = jar_with("a=1", at=trip("/bff/login/?x=/y/"))

    assert jar.header(trip("/bff/login/")) == "a=1"
    assert jar.header(trip("/bff/session/")) == ""


def test_hosts_do_not_share_cookies_and_ports_do() -> None:
    jar = jar_with("a=1")

    assert jar.header(Trip(url="http://localhost:9999/")) == "a=1"
    assert jar.header(Trip(url="http://127.0.0.1:8000/")) == ""


def test_a_planted_cookie_stands_beside_the_real_one() -> None:
    jar = jar_with("sessionid=real; Path=/")

    jar.plant("sessionid", "planted", path="/bff/")

    assert jar.header(trip("/bff/session/")) == "sessionid=planted; sessionid=real"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://localhost:1", "http://localhost:2", True),
        ("http://localhost", "http://127.0.0.1", False),
        ("http://a.example.com", "http://b.example.com", True),
        ("http://example.com", "https://example.com", False),  # schemeful
        ("http://127.0.0.1", "http://127.0.0.2", False),
    ],
)
def test_a_site_is_scheme_and_registrable_domain(one: str, other: str, same: bool) -> None:
    assert (site_of(one) == site_of(other)) is same
