"""Headers, in both directions: what passes, what never does. RH, RS, CK rows and A.17, A.18."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.support import canary
from tests.support.caller import Caller
from tests.support.ports import LOOPBACK
from tests.support.upstream import Headers, answer, raw, redirect

# ---------------------------------------------------------------------------- to the upstream

OURS = {
    *("host", "accept-encoding", "authorization", "via", "forwarded", "user-agent"),
    "x-request-id",
}


def test_rh1_no_cookie_of_ours_reaches_an_upstream(jane: Caller):
    """RFC 10017 §6.1.1. Any spelling, several lines, and on the route that lets `*` through."""
    for alias in ("photos", "extra", "news", "pictures"):
        said = jane.ask(
            "GET",
            f"{alias}/1",
            "cOOkie2: $Version=canary-cookie2",
            "X-CSRFToken: canary-csrf",
            "Referer: http://localhost/?code=canary-referer",
            cookie=jane.cookie + b"; __Host-Http-csrf-token=canary-csrf; other=canary-other",
        )
        assert said.status == 200
    assert len(jane.upstream.requests) == 4
    for call in jane.upstream.requests:
        assert call.token
        assert not [name for name, _ in call.headers if "cookie" in name.lower()]
        assert b"canary" not in call.head
        assert canary.find([jane.key], call.head) == []


def test_rh1_nothing_that_two_cookie_lines_carry_reaches_an_upstream(jane: Caller):
    jane.ask("GET", "news/1", "cookie: canary-second=1", "COOKIE: canary-third=1")
    [call] = jane.upstream.requests
    assert b"canary" not in call.head
    assert b"ookie" not in call.head


def test_rh2_rh6_what_the_browser_claims_to_be_does_not_pass(jane: Caller):
    """A.17. Credentials, identities, and everything nobody has allowed."""
    claims = """Authorization Proxy-Authorization DPoP X-CSRFToken X-Api-Key X-Auth-Token
        X-Forwarded-User X-Forwarded-Email X-Forwarded-Access-Token X-Forwarded-Groups
        X-Forwarded-Host X-Forwarded-Proto X-Forwarded-Port X-Real-IP X-Client-IP True-Client-IP
        X-User X-User-Id X-Remote-User Remote-User X-Auth-Request-User X-SSL-Client-CN
        Client-Cert Client-Cert-Chain X-Original-URL X-Original-Method X-Bff-Error Via Origin
        Referer Sec-CH-UA Sec-Fetch-User Max-Forwards Trailer TE X-Anything Cookie2 Priority
        X-Request-ID
        """.split()
    given = [f"{name}: canary-{name}" for name in claims if name != "Origin"]
    for alias in ("photos", "news", "weather"):
        assert jane.ask("GET", f"{alias}/1", *given).status == 200
        assert jane.ask("GET", f"{alias}/1", *(line.lower() for line in given)).status == 200
    assert len(jane.upstream.requests) == 6
    for call in jane.upstream.requests:
        assert {name.lower() for name, _ in call.headers} <= OURS
        assert b"canary" not in call.head
        assert len(call.all("Authorization")) == (0 if "/weather/" in call.target else 1)


def test_rh3_rh4_the_connection_header_removes_what_it_names_and_nothing_of_ours(jane: Caller):
    """The class of Fabio's CVE-2025-48865."""
    named = "X-Tenant, Authorization, Via, Forwarded, X-BFF, Host, Cookie, User-Agent"
    said = jane.ask(
        "GET", "extra/1", "Connection: close", f"Connection: {named}", "X-Tenant: canary"
    )
    assert said.status == 200
    [call] = jane.upstream.requests
    assert call.token
    assert call.get("X-Tenant") is None
    for name in ("Host", "Via", "Forwarded", "User-Agent", "Authorization"):
        assert len(call.all(name)) == 1, name
    assert call.get("Connection") in (None, "keep-alive")
    assert jane.ask("GET", "extra/1", "X-Tenant: blue").status == 200
    assert jane.upstream.requests[-1].get("X-Tenant") == "blue"


def test_rh3_hop_by_hop_headers_stay_here(jane: Caller):
    given = {
        "Keep-Alive": "timeout=5",
        "Proxy-Connection": "keep-alive",
        "TE": "trailers",
        "Trailer": "X-T",
        "HTTP2-Settings": "AAMAAABkAARAAAAAAAIAAAAA",
        "Proxy-Authenticate": "Basic",
    }
    lines = [f"{name}: {value}" for name, value in given.items()]
    assert (
        jane.ask("GET", "photos/1", "Connection: close", "Connection: TE, Trailer", *lines).status
        == 200
    )
    [call] = jane.upstream.requests
    assert {name.lower() for name, _ in call.headers} <= OURS


def test_rh5_no_spelling_smuggles_a_header_name(jane: Caller):
    """CVE-2025-64484. Refused, or sent without it."""
    for line in (
        b"X_Tenant: canary",
        b"x-Tenant_: canary",
        b"X-Tenant : canary",
        b"X-Tenant\x0b: canary",
        b"X-Tenant\t: canary",
        b"Authorization : Bearer canary",
        b"Authorization\x0b: Bearer canary",
        b"X_Forwarded_User: canary",
        b"If_Match: canary",
        b" X-Tenant: canary",
    ):
        jane.upstream.clear()
        said = jane.ask("GET", "extra/1", line)
        assert said.status in (200, 400), line
        assert len(jane.upstream.requests) == (1 if said.status == 200 else 0), line
        for call in jane.upstream.requests:
            assert b"canary" not in call.head, line
            assert len(call.all("Authorization")) == 1, line
    assert jane.ask("GET", "extra/1", "x-tenant: blue").status == 200
    assert jane.upstream.requests[-1].get("X-Tenant") == "blue"


@pytest.mark.parametrize(
    "address",
    [
        *("6.6.6.6", "6.6.6.6;host=evil", '6.6.6.6";host="evil', "evil, 6.6.6.6, 7.7.7.7:80"),
        *('fe80::1%a]";host="evil', "fe80::1%eth0", "fe80::1"),
    ],
)
def test_rh6_rh7_our_word_on_who_asked_is_exact_and_cannot_be_written_by_the_browser(
    jane: Caller, address: str
):
    """uvicorn believes X-Forwarded-For from loopback, as it would from a reverse proxy."""
    jane.ask("GET", "photos/1", f"X-Forwarded-For: {address}")
    [call] = jane.upstream.requests
    host = f"localhost:{jane.site.port}"
    assert call.all("Via") == [f"1.1 {host}"]
    assert call.all("Host") == [f"{LOOPBACK}:{jane.upstream.port}"]
    assert call.all("X-Forwarded-For") == []
    [said] = call.all("Forwarded")
    node, rest = said.partition(";")[::2]
    assert rest == f'host="{host}";proto=http'
    known = {"for=127.0.0.1"}
    if jane.believes_forwarded_for:
        known |= {"for=6.6.6.6", "for=unknown", 'for="7.7.7.7:80"', "for=7.7.7.7"}
        known |= {'for="[fe80::1]"'}
    assert node in known


PASSES = {
    "Accept": "application/vnd.x+json;q=0.9, */*;q=0.1",
    "Accept-Language": "de-CH, en;q=0.5",
    "Accept-Encoding": "gzip, br;q=0.9, zstd, x-unknown;q=0",
    "Range": "bytes=0-9,20-",
    "If-Range": '"abc"',
    "If-Match": '"a", W/"b"',
    "If-None-Match": "*",
    "If-Modified-Since": "Tue, 15 Nov 1994 12:45:26 GMT",
    "If-Unmodified-Since": "Tue, 15 Nov 1994 12:45:26 GMT",
    "Last-Event-ID": "42/é",
    "Prefer": "return=minimal",
    "Idempotency-Key": '"8e03978e-40d5-43e8-bc93-6894a57f9324"',
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}


def test_rh8_rh12_what_an_api_needs_passes_unchanged(jane: Caller):
    lines = [f"{name}: {value}" for name, value in PASSES.items()]
    assert jane.ask("GET", "photos/1", *lines).status == 200
    [call] = jane.upstream.requests
    for name, value in PASSES.items():
        assert call.all(name) == [value], name
    kind = ["Content-Type: application/vnd.x+json; charset=x", "Content-Language: de"]
    kind += ["Content-Encoding: gzip", "Content-Disposition: attachment; filename=x"]
    assert jane.ask("PUT", "photos/1", *kind, "Content-Length: 2", body=b"xx").status == 200
    for line in kind:
        name, _, value = line.partition(": ")
        assert jane.upstream.requests[-1].all(name) == [value], name


def test_rh11_without_a_wish_no_coding_is_asked_for(jane: Caller):
    jane.ask("GET", "photos/1")
    assert jane.upstream.requests[0].all("Accept-Encoding") == ["identity"]


def test_rh15_a_header_given_twice_is_one_or_refused_and_ours_is_single(jane: Caller):
    for name in ("Content-Type", "Accept", "Authorization", "Range", "If-Match"):
        jane.upstream.clear()
        said = jane.ask("GET", "photos/1", f"{name}: a/b", f"{name}: c/d")
        assert said.status in (200, 400), name
        for call in jane.upstream.requests:
            assert len(call.all(name)) <= 1
            assert len(call.all("Authorization")) == 1
            assert call.token not in ("a/b", "c/d", None)
    jane.upstream.clear()
    assert jane.ask("GET", "photos/1", "X-BFF: 1").code == "csrf_failed"  # a second one
    assert jane.ask("GET", "photos/1", "Host: evil.test").status in (400, 404)
    assert jane.reached() == []


def test_rh9_a_value_is_clean_or_does_not_pass(jane: Caller):
    for line in (
        b"X-Tenant: a\x00b",
        b"X-Tenant: a\rX-Inj: 1",
        b"X-Tenant: a\r\n X-Inj: 1",
        b"X-Tenant: a\nX-Inj: 1",
        b"X-Tenant: a\x7f",
    ):
        jane.upstream.clear()
        said = jane.ask("GET", "extra/1", line)
        assert said.status in (200, 400), line
        for call in jane.upstream.requests:
            assert call.get("X-Inj") is None, line
            assert all(byte >= 32 or byte in b"\r\n\t" for byte in call.head), line
            assert b"\r" not in call.head.replace(b"\r\n", b""), line
            assert b"\x7f" not in call.head, line
    jane.still_works()


def test_rh9_a_value_beyond_ascii_keeps_its_bytes(jane: Caller):
    assert jane.ask("GET", "extra/1", b"X-Tenant: caf\xc3\xa9 \xff").status == 200
    assert b"X-Tenant: caf\xc3\xa9 \xff\r\n" in jane.upstream.requests[0].head


# ----------------------------------------------------------------------------- to the browser


def give(jane: Caller, headers: Headers, *, alias: str = "photos", status: int = 200) -> Any:
    jane.upstream.on(f"/{alias}/given", answer(b"body", status=status, headers=headers))
    return jane.ask("GET", f"{alias}/given")


def test_rs1_hop_by_hop_headers_of_the_upstream_stay_there(jane: Caller):
    said = give(
        jane,
        [
            ("Connection", "X-Extra, keep-alive"),
            ("X-Extra", "canary"),
            ("Keep-Alive", "timeout=5, max=canary"),
            ("Proxy-Authenticate", "Basic canary"),
            ("Proxy-Connection", "canary"),
            ("Trailer", "canary"),
            ("Upgrade", "canary"),
        ],
        alias="extra",
    )
    assert (said.status, said.body) == (200, b"body")
    assert b"canary" not in said.wire
    assert said.all("Connection") in ([], ["close"])
    assert give(jane, [("X-Extra", "kept")], alias="extra").get("X-Extra") == "kept"
    assert give(jane, [("X-Extra", "dropped")]).get("X-Extra") is None


def test_rs2_no_upstream_sets_a_cookie(jane: Caller):
    before = jane.cookie
    names = ["__Host-Http-bff-auth", "__Host-Http-csrf-token", "sessionid", "csrftoken", "x"]
    headers = [("Set-Cookie", f"{name}=canary; Path=/; Secure; HttpOnly") for name in names]
    headers += [("set-cookie", "y=canary"), ("Set-Cookie2", "z=canary")]
    headers += [("Clear-Site-Data", '"cookies"')]
    for alias in ("photos", "extra", "cached", "weather"):
        said = give(jane, headers, alias=alias)
        assert said.status == 200
        assert b"canary" not in said.wire
        assert not [name for name, _ in said.headers if "cookie" in name.lower() and name != "Vary"]
        assert said.get("Clear-Site-Data") is None
    jane.upstream.on("/photos/jar", answer(b"", headers=headers))
    jane.browser.fetch("api/photos/jar")
    assert jane.cookie == before
    assert jane.browser.is_logged_in()


DANGEROUS = """Strict-Transport-Security Content-Security-Policy-Report-Only Public-Key-Pins Alt-Svc
    Refresh Service-Worker-Allowed SourceMap X-SourceMap X-Accel-Redirect X-Accel-Charset
    X-Accel-Expires X-Accel-Limit-Rate X-Sendfile X-Lighttpd-Send-File X-Reproxy-URL X-Powered-By
    DPoP-Nonce NEL Report-To Reporting-Endpoints Origin-Trial WWW-Authenticate Authorization Pragma
    X-Frame-Options-X Surrogate-Control CDN-Cache-Control Cloudflare-CDN-Cache-Control Expires Age
    Access-Control-Allow-Origin Access-Control-Allow-Credentials Access-Control-Allow-Headers
    Access-Control-Allow-Methods Access-Control-Expose-Headers Access-Control-Max-Age
    Cross-Origin-Embedder-Policy Permissions-Policy Timing-Allow-Origin X-BFF-Error Content-Location
    Accept-CH Critical-CH Set-Login X-Permitted-Cross-Domain-Policies P3P Supports-Loading
    """.split()


def test_cs5_rs3_rs9_nothing_that_acts_on_the_browser_or_the_front_server_passes(jane: Caller):
    headers = [(name, "canary") for name in DANGEROUS]
    headers += [
        ("Location", "https://canary.test/"),
        ("Server", "canary"),
        ("Via", "1.1 canary"),
        ("X-Accel-Buffering", "canary"),
    ]
    for alias in ("photos", "cached", "weather"):
        for status in (200, 201, 401, 404, 500):
            said = give(jane, headers, alias=alias, status=status)
            assert (said.status, said.body) == (status, b"body")
            assert b"canary" not in said.wire, (alias, status)
            assert not [n for n, _ in said.headers if n.lower().startswith("access-control")]


def test_rs9_a_native_password_prompt_is_not_relayed(jane: Caller):
    for challenge in ('Basic realm="x"', "Negotiate", 'Digest realm="x"', "Bearer"):
        said = give(jane, [("WWW-Authenticate", challenge)], status=401)
        assert (said.status, said.get("WWW-Authenticate"), said.code) == (401, None, None)


def test_cs12_rs15_markup_of_an_upstream_is_not_a_page_of_ours(jane: Caller):
    for kind in ("text/html", "image/svg+xml", "application/xhtml+xml", "text/javascript"):
        said = give(
            jane,
            [("Content-Type", kind), ("Content-Security-Policy", "default-src *")],
            alias="cached",
        )
        assert said.all("Content-Type") == [kind]
        [policy] = said.all("Content-Security-Policy")
        assert "sandbox" in policy
        assert "allow-" not in policy
        assert "default-src 'none'" in policy
        assert said.all("X-Content-Type-Options") == ["nosniff"]
        assert said.all("Cross-Origin-Resource-Policy") == ["same-origin"]
        assert said.all("X-Frame-Options") == ["DENY"]


def test_rs15_an_answer_without_a_type_is_given_none(jane: Caller):
    said = give(jane, [])
    assert said.all("Content-Type") == []
    assert said.get("X-Content-Type-Options") == "nosniff"


def test_rs13_headers_given_twice_are_all_there(jane: Caller):
    said = give(
        jane,
        [
            ("Link", "</1>; rel=prev"),
            ("Vary", "Accept"),
            ("Link", "</3>; rel=next"),
            ("Vary", "Accept-Language"),
            ("Warning", '199 - "a"'),
            ("Warning", '199 - "b"'),
        ],
    )
    assert ", ".join(said.all("Link")) == "</1>; rel=prev, </3>; rel=next"
    assert ", ".join(said.all("Warning")) == '199 - "a", 199 - "b"'
    varies = [name.strip() for value in said.all("Vary") for name in value.split(",")]
    assert {"Accept", "Accept-Language"} <= set(varies)


def test_rs14_a_value_cannot_split_the_answer(jane: Caller):
    for value in (
        b"a\rSet-Cookie: canary=1",
        b"a\r\n Set-Cookie: canary=1",
        b"a\nX-Accel-Redirect: canary",
        b"a\x00canary",
        b"a\x0bSet-Cookie: canary",
        b"a\x85Set-Cookie: canary",
    ):
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nETag: " + value + b"\r\n\r\nbody"
        jane.upstream.on("/photos/split", raw(head))
        said = jane.ask("GET", "photos/split")
        assert said.status in (200, 502), value
        assert said.get("Set-Cookie") is None, value
        assert said.get("X-Accel-Redirect") is None, value
        front = said.wire.partition(b"\r\n\r\n")[0]
        for line in front.split(b"\r\n"):
            assert b"\n" not in line, value
            assert b"\r" not in line, value
            assert b"\x00" not in line, value
            assert not line.lower().startswith((b"set-cookie", b"x-accel-redirect")), value
        jane.still_works()


KINDS = {
    "ETag": 'W/"x"',
    "Last-Modified": "Tue, 15 Nov 1994 12:45:26 GMT",
    "Content-Language": "de",
    "Content-Disposition": "attachment; filename*=UTF-8''caf%C3%A9",
    "Accept-Ranges": "bytes",
    "Allow": "GET, PUT",
    "Retry-After": "120",
    "Link": "</2>; rel=next",
    "X-Request-ID": "abc",
    "X-RateLimit-Remaining": "3",
    "RateLimit": '"default";r=50;t=30',
    "X-Total-Count": "17",
    "Deprecation": "@1688169599",
}


def test_rs10_what_an_spa_needs_passes_unchanged(jane: Caller):
    said = give(jane, KINDS.items())
    for name, value in KINDS.items():
        assert said.all(name) == [value], name
    assert said.get("Content-Length") == "4"


# ------------------------------------------------------------------------------------ caching


def test_rs11_by_default_nothing_is_stored_anywhere(jane: Caller):
    """A.18. Our request carries no Authorization, so shared caches would store the answer."""
    for wish in ("public, max-age=600", "s-maxage=600", "immutable", "max-age=1, must-revalidate"):
        said = give(jane, [("Cache-Control", wish), ("Expires", "Thu, 01 Dec 2094 16:00:00 GMT")])
        assert said.all("Cache-Control") == ["private, no-store"]
        assert said.get("Expires") is None
    jane.upstream.on("/photos/me/x.css", answer("p", headers=[("Content-Type", "text/css")]))
    assert jane.ask("GET", "photos/me/x.css").all("Cache-Control") == ["private, no-store"]


def test_rs11_a_route_that_allows_it_lets_the_one_browser_keep_it(jane: Caller):
    for wishes, expected in (
        (["public, max-age=600"], {"private", "max-age=600"}),
        (["s-maxage=600, max-age=60, proxy-revalidate"], {"private", "max-age=60"}),
        (['private="Set-Cookie", no-cache'], {"private", "no-cache"}),
        (["no-store"], {"private", "no-store"}),
        (["PUBLIC, S-MaxAge=9, MAX-AGE=3"], {"private", "max-age=3"}),
        ([], {"private", "no-store"}),
    ):
        assert cached(jane, wishes) == expected, wishes


def test_rs11_a_no_store_in_another_line_is_not_lost(jane: Caller):
    """RFC 9110 §5.3: several lines are one list, in whatever order."""
    assert {"private", "no-store"} <= cached(jane, ["no-store", "max-age=600"])
    assert {"private", "no-store"} <= cached(jane, ["max-age=600", "no-store"])


def cached(jane: Caller, wishes: list[str]) -> set[str]:
    headers = [("Cache-Control", wish) for wish in wishes]
    said = give(jane, [*headers, ("Vary", "Accept")], alias="cached")
    varies = [name.strip() for value in said.all("Vary") for name in value.split(",")]
    assert "Cookie" in varies
    assert "Accept" in varies
    [kept] = said.all("Cache-Control")
    return {wish.strip().lower() for wish in kept.split(",")}


def test_rs11_vary_cookie_is_there_also_without_a_vary_of_the_upstreams(jane: Caller):
    said = give(jane, [("Cache-Control", "max-age=60")], alias="cached")
    varies = [name.strip() for value in said.all("Vary") for name in value.split(",")]
    assert varies.count("Cookie") == 1


# ---------------------------------------------------------------------------------- redirects


def test_rs4_a_redirect_within_the_upstream_leads_to_our_door(jane: Caller):
    up = jane.upstream
    origin = f"http://{LOOPBACK}:{up.port}"
    for location, expected in {
        "/photos/a/b?x=1#f": "/bff/api/photos/a/b?x=1#f",
        f"{origin}/photos/a": "/bff/api/photos/a",
        f"{origin.upper().replace('HTTP', 'http')}/photos/a": "/bff/api/photos/a",
        f"//{LOOPBACK}:{up.port}/photos/a": "/bff/api/photos/a",
        "/photos/": "/bff/api/photos/",
        "/photos/caf%C3%A9?q=%2F": "/bff/api/photos/caf%C3%A9?q=%2F",
    }.items():
        for status in (301, 302, 303, 307, 308, 201):
            up.on("/photos/album/1", redirect(location, status=status))
            said = jane.ask("POST", "photos/album/1", "Content-Length: 0")
            assert (said.status, said.all("Location")) == (status, [expected]), location
    assert set(jane.reached()) == {"POST /photos/album/1"}  # never followed


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("2", "/bff/api/photos/album/2"),
        ("../other", "/bff/api/photos/other"),
        ("?page=2", "/bff/api/photos/album/1?page=2"),
        ("./", "/bff/api/photos/album/"),
    ],
    ids=["sibling", "parent", "query", "here"],
)
def test_rs4_a_relative_redirect_is_relative_to_what_was_asked(
    jane: Caller, location: str, expected: str
):
    """RFC 9110 §10.2.2: resolved against the target URI."""
    jane.upstream.on("/photos/album/1", redirect(location, status=303))
    said = jane.ask("GET", "photos/album/1")
    assert (said.status, said.get("Location")) == (303, expected)


def test_rs4_a_redirect_that_leaves_the_upstream_ends_here(jane: Caller):
    up = jane.upstream
    here = f"{LOOPBACK}:{up.port}"
    for location in (
        "https://evil.test/",
        "//evil.test/x",
        "/\\evil.test",
        "\\\\evil.test",
        "/second/1",
        "/",
        "/photosx/1",
        "../second/1",
        "/photos/../second/1",
        "/photos/%2e%2e/second/1",
        "http://127.0.0.1:1/photos/1",
        f"https://{here}/photos/1",
        f"http://user@{here}/photos/1",
        f"http://:x@{here}/photos/1",
        f"http://{here}.evil.test/photos/1",
        "javascript:alert(1)",
        "data:text/html,x",
        "",
        "http://[::1/photos/",
        "/photos/a b",
        "/photos/a\tb",
        "/photos//evil.test/",
        "http:///photos/1",
        "http:/photos/1",
    ):
        up.clear()
        up.on("/photos/leaves", redirect(location, status=302))
        said = jane.ask("GET", "photos/leaves")
        if said.status == 302:  # read leniently, it must at least stay under the route
            assert (said.get("Location") or "").startswith("/bff/api/photos/"), location
            assert "//" not in (said.get("Location") or ""), location
        else:
            assert (said.status, said.code) == (502, "upstream_unreachable"), location
            assert said.get("Location") is None, location
        assert jane.reached() == ["GET /photos/leaves"], location


def test_rs4_neither_refresh_nor_content_location_leads_away(jane: Caller):
    said = give(
        jane, [("Refresh", "0;url=https://evil.test"), ("Content-Location", "//evil.test/x")]
    )
    assert b"evil" not in said.wire


def test_ar3_an_upstream_that_echoes_the_token_is_all_that_could_leak_it(jane: Caller):
    """Headers of ours and the errors of ours never hold it; the body is the API's own."""
    jane.ask("GET", "photos/1")
    token = jane.upstream.requests[0].token
    assert token
    jane.upstream.on(
        "/photos/echo",
        lambda one: answer(
            b"", status=500, headers=[(n, one.get("Authorization") or "") for n in DANGEROUS]
        ),
    )
    assert canary.find([token], jane.ask("GET", "photos/echo").wire) == []
    encoded = base64.b64encode(token.encode()).decode()
    assert encoded not in jane.site.log()
    assert token not in jane.site.log()
