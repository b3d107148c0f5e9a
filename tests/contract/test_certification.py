"""The certification suite's relying-party modules, row by row, and the attacks next to them.

A provider of our own does one thing wrong; a real site on gunicorn, two workers, judges it. After
each refusal nothing further may have happened: see `Stage.refused`. The suite waits five seconds
to see that; here that is done once, for all refusals, when the last test is over.

Rows about documents (discovery, key sets, other algorithms) need a site that has not seen this
issuer yet: they run in this process, over the same real HTTP, each with an issuer of its own.

    WRITE_DOCS=1 pytest tests/contract/test_certification.py

writes docs/certification.md from what was run. The numbers B1, C3 … are of the standards
checklist; `old` is the name that a module had before the suite was rewritten in Java.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import http.client
import json
import os
import re
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from oauthbff import vault
from oauthbff.conf import conf
from oauthbff.errors import Misconfigured
from oauthbff.login.pending import COOKIE_PREFIX, TRANSACTION_SECONDS, Transaction
from tests.support.browser import Answer, Browser
from tests.support.mutating import (
    ABSENT,
    CLIENT_ID,
    CLIENT_SECRET,
    LOGOUT_EVENT,
    Key,
    MutatingProvider,
    Op,
    Reply,
    half_hash,
    pair,
    plus,
    xor,
)
from tests.support.site import KEY, Site, default_upstreams
from tests.support.upstream import RecordingUpstream

QUIET_SECONDS = 5.0  # the suite's waitTimeoutSeconds
SCOPES = "openid profile email address phone"
SESSION_COOKIE = "__Host-Http-bff-auth"
ACCEPT = "accept"
REJECT = "token_rejected"
NONSENSE = "provider_unavailable"

Setting = Mapping[str, Any] | Callable[[Op], Mapping[str, Any]]


# ------------------------------------------------------------------------------- the table


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table."""

    part: str
    name: str  # of the test case
    does: str  # what the provider (or the attacker) does
    module: str = ""  # of the certification suite
    old: str = ""
    sets: Setting = field(default_factory=dict)
    verdict: str = ACCEPT  # or the short code that the browser gets
    reason: str = ""  # that the log gives
    userinfo: int = 0  # calls that a refusal may have needed
    tokens: int = 1
    note: str = ""

    def switches(self, op: Op) -> Mapping[str, Any]:
        return self.sets(op) if callable(self.sets) else self.sets


TABLE: dict[str, Row] = {}  # by the test's name, parameters and all


def rows(*table: Row) -> Callable[[Any], Any]:
    """Run a test for each row, and put the rows into the table."""

    def decorate(test: Any) -> Any:
        TABLE.update({f"{test.__name__}[{row.name}]": row for row in table})
        return pytest.mark.parametrize("row", table, ids=lambda row: row.name)(test)

    return decorate


def shows(part: str, does: str, verdict: str, module: str = "", old: str = "") -> Any:
    """Put a test that is a story into the table."""

    def decorate(test: Any) -> Any:
        TABLE[test.__name__] = Row(
            part=part, name=test.__name__, does=does, verdict=verdict, module=module, old=old
        )
        return test

    return decorate


BASIC, CONFIG = "Basic RP: the code flow", "Config RP: discovery and keys"
REFRESH, LOGOUT = "Refresh tokens", "RP-initiated logout"
BACK = "Back-channel logout"
ID_TOKEN, SIGNATURE = "Beyond the suite: ID token claims", "Beyond the suite: signatures and keys"
RESPONSE, TOKEN = "Beyond the suite: authorization responses", "Beyond the suite: token endpoint"
USERINFO, ATTACK = "Beyond the suite: UserInfo", "Beyond the suite: attacks"
DOCUMENT = "Beyond the suite: documents"
PARTS = (BASIC, CONFIG, REFRESH, LOGOUT, BACK, ID_TOKEN, SIGNATURE, TOKEN, USERINFO, RESPONSE)
PARTS = (*PARTS, DOCUMENT, ATTACK)


# ------------------------------------------------------------------------------- the stage


class Stage:
    """A provider, a site, an API and a browser, clean for each test."""

    def __init__(self, op: Op, site: Site, upstream: RecordingUpstream) -> None:
        self.op, self.site, self.upstream = op, site, upstream
        self.browser = self.new_browser()
        self._log_from = len(site.log())

    def new_browser(self) -> Browser:
        return Browser(self.site.base_url, self.op)

    def log(self) -> str:
        return self.site.log()[self._log_from :]

    def sign_in(self, browser: Browser | None = None, query: str = "") -> Answer:
        return (browser or self.browser).navigate(f"login/{query}")

    def begin(self, browser: Browser | None = None, query: str = "") -> str:
        """Go to the provider and stop there; return the callback's address."""
        browser = browser or self.browser
        away = browser.navigate(f"login/{query}", follow=False)
        assert away.status == 302, away
        back = browser.navigate(away.get("location") or "", follow=False)
        assert back.status == 302, back
        return back.get("location") or ""

    def count(self, table: str) -> int:
        [(number,)] = self.site.sql(f"SELECT count(*) FROM {table}")
        return int(number)

    def accepted(self, landed: Answer, browser: Browser | None = None) -> None:
        """Signed in, with UserInfo asked once by header, and the API gets our token."""
        browser = browser or self.browser
        assert landed.status == 200, f"{landed}\n{self.log()}"
        assert "/bff/" not in landed.url, f"{landed}\n{self.log()}"
        assert browser.session()["user"]["sub"] == self.op.subject
        assert browser.fetch("api/photos/1").status == 200
        token = self.upstream.requests[-1].token
        assert token in self.op.live
        assert self.op.live[token] == "access_token"
        assert "Traceback" not in self.log()

    def refused(
        self,
        landed: Answer,
        code: str,
        reason: str = "",
        *,
        userinfo: int = 0,
        tokens: int = 1,
        browser: Browser | None = None,
    ) -> None:
        """The error page with a short code; and nothing further happened."""
        browser, op = browser or self.browser, self.op
        said = self.log()
        assert landed.url == f"{self.site.base_url}/bff/error/?bff_error={code}", (
            f"{landed}\n{said}"
        )
        assert landed.status == 400, landed
        assert all(step.status < 500 for step in landed.chain), landed
        assert landed.get("cache-control") == "no-store"
        if reason:
            assert f"login_failed why={reason}" in said.replace('"', ""), said
        assert "Traceback" not in said, said
        assert len(op.named("token")) == tokens, op.calls
        assert len(op.named("userinfo")) == userinfo, op.calls
        assert not op.named("elsewhere"), op.calls
        assert not op.live, "tokens were received and not given back"
        for table in ("oauthbff_tokengrant", "django_session", "auth_user", "oauthbff_identity"):
            assert self.count(table) == 0, table
        self.is_nobody(browser)
        secrets = [one for one in (*op.given, *op.id_tokens) if len(one) > 16]
        leaked = [one for one in secrets if one in said or one.encode() in browser.received]
        assert not leaked
        REFUSED.extend((op, token, time.time()) for token in op.given)

    def is_nobody(self, browser: Browser) -> None:
        assert SESSION_COOKIE not in browser.cookies
        assert not browser.is_logged_in()
        before = len(self.upstream.requests)
        assert browser.fetch("api/photos/1").status == 401
        assert len(self.upstream.requests) == before


REFUSED: list[tuple[Op, str, float]] = []  # tokens of refused sign-ins, and when
CARRIED: list[str | None] = []  # tokens that reached the API


# -------------------------------------------------------------------------------- the page

PAGE = Path(__file__).parents[2] / "docs" / "certification.md"
HEAD = """# What a wrong provider gets from us

Generated by `WRITE_DOCS=1 pytest tests/contract/test_certification.py`; do not edit.

Each line was run: a provider of our own ([tests/support/mutating.py](../tests/support/mutating.py))
does what the second column says, a real site judges it. The modules are those of the OpenID
Foundation's conformance suite for relying parties, with their old names; we reproduce what they do
and have not run the suite itself, nor are we certified.

**accept**: signed in, UserInfo was asked once with the token in the header, and an API call carried
the token. Anything else is the short code on the page where the browser ends. After each refusal
nothing further had happened: no UserInfo (but where UserInfo itself was wrong), no call to an API,
no grant, session, user or session cookie, no 5xx, no traceback, no token in the log or the browser;
and every token that the provider had given out was given back by revocation. No call came later
either, within the suite's five seconds.

Rows about documents, key sets and algorithms other than RS256 run in one process over the same
HTTP and look at less: where the browser ends, the session, the database, UserInfo not asked, and
the tokens that were given back. A story (its test has no `[…]`) asserts what its line says.
"""
NOT_APPLICABLE = """
`oidcc-client-formpost-*`, `oidcc-client-test-form-post-error`
form_post: a cross-site POST carries no Lax cookie, and the code flow does not need it
`oidcc-client-implicit-*`, `oidcc-client-hybrid-*`, `…-chash`, `…-athash`
implicit and hybrid: a token in the browser's address is what a BFF avoids; `at_hash` is checked
`oidcc-client-test-request-uri-signed-rs256`, `-none`
request objects: parameters travel in the query, or by PAR
`oidcc-client-test-dynamic-registration`
dynamic registration: the client is registered by hand
`oidcc-client-test-discovery-webfinger-acct`, `-url`
WebFinger: the issuer is configured, not found by a user's address
`oidcc-client-test-userinfo-bearer-body`
either this or the header; ours is the header
`oidcc-client-test-mtls-endpoint-aliases`
mutual TLS is not implemented
`oidcc-client-test-3rd-party-init-login`
another site cannot start a login: the user is asked for a click
`oidcc-client-test-session-management`
session iframes need third-party cookies; `session_state` is ignored
`oidcc-client-test-rp-frontchannel-*`
front-channel logout needs third-party cookies; there is the back channel
""".strip().splitlines()


class Page:
    """Writes the table when everything in it has been run."""

    def __init__(self) -> None:
        self.outcome: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        file, _, name = report.nodeid.partition("::")
        if file.endswith("test_certification.py") and (report.when == "call" or report.failed):
            key = name if name in TABLE else name.partition("[")[0]
            if self.outcome.get(key) != "failed":
                self.outcome[key] = report.outcome

    def pytest_sessionfinish(self) -> None:
        bad = [key for key in TABLE if self.outcome.get(key) != "passed"]
        if bad:
            raise pytest.UsageError(f"not written, not passed: {', '.join(bad)}")
        PAGE.write_text(self.text())

    def text(self) -> str:
        lines = [HEAD]
        for part in PARTS:
            lines += [f"\n## {part}\n", "| module | the provider | our verdict | test |"]
            lines += ["|---|---|---|---|"]
            mine = [key for key in TABLE if TABLE[key].part == part]
            lines += [self.line(key) for key in sorted(mine, key=_by_number)]
        lines += ["\n## Not applicable\n", "| modules | why |", "|---|---|"]
        pairs = zip(NOT_APPLICABLE[::2], NOT_APPLICABLE[1::2], strict=True)
        lines += [f"| {modules} | {why} |" for modules, why in pairs]
        return "\n".join(lines) + "\n"

    def line(self, key: str) -> str:
        row = TABLE[key]
        module = f"`{row.module}`" if row.module else "—"
        module += f" ({row.old})" if row.old else ""
        verdict = f"**{row.verdict}**" if row.verdict == ACCEPT else row.verdict
        verdict += f": {row.reason}" if row.reason else ""
        verdict += f" ({row.note})" if row.note else ""
        return f"| {module} | {row.does} | {verdict} | `{key.removeprefix('test_')}` |".replace(
            "<script>", "`<script>`"
        )


def _by_number(key: str) -> tuple[Any, ...]:
    """B2 before B10; what has no number stays as it stands in this file."""
    number = re.match(r"(B|C|R|L|BC)(\d+)", TABLE[key].name)
    return (0, int(number[2])) if number else (1, list(TABLE).index(key))


@pytest.fixture(scope="module", autouse=True)
def _page(request: pytest.FixtureRequest) -> None:
    if os.environ.get("WRITE_DOCS") == "1":
        request.config.pluginmanager.register(Page(), "certification-page")


@pytest.fixture(scope="module")
def provider() -> Iterator[MutatingProvider]:
    with MutatingProvider() as provider:
        yield provider


@pytest.fixture(scope="module")
def _site(
    provider: MutatingProvider, recording_upstream: RecordingUpstream
) -> Iterator[tuple[Op, Site]]:
    """The site of almost all rows. It says whose answers it takes: RFC 9207 is on."""
    op = provider.issuer("basic")
    options = site_options(recording_upstream, op)
    with Site(workers=2, **options) as site:
        yield op, site
        _five_seconds_of_silence(recording_upstream)


def site_options(upstream: RecordingUpstream, op: Op, **env: str) -> dict[str, Any]:
    return {
        "issuer": op.issuer,
        "upstreams": default_upstreams(upstream.url),
        "env": {"OIDC_RP_CLIENT_SECRET": CLIENT_SECRET, "OIDC_RP_SCOPES": SCOPES, **env},
    }


def _five_seconds_of_silence(upstream: RecordingUpstream) -> None:
    """No call that carries a token of a refused sign-in came late."""
    if not REFUSED:
        return
    time.sleep(max(0.0, REFUSED[-1][2] + QUIET_SECONDS - time.time()))
    carried = {*CARRIED, *(request.token for request in upstream.requests)}
    for op, token, refused_at in REFUSED:
        assert token not in carried
        late = [
            call
            for call in op.calls_ever
            if call.at > refused_at and token in (*call.headers.values(), *call.params.values())
        ]
        assert not late, late


@pytest.fixture
def stage(_site: tuple[Op, Site], recording_upstream: RecordingUpstream) -> Stage:
    op, site = _site
    return clean_stage(op, site, recording_upstream)


def clean_stage(op: Op, site: Site, upstream: RecordingUpstream) -> Stage:
    op.reset()
    op.site = site.base_url
    site.empty()
    CARRIED.extend(request.token for request in upstream.requests)
    upstream.clear()
    return Stage(op, site, upstream)


# ------------------------------------------------------------------ the code flow, ID tokens


def claim(part: str, name: str, does: str, reason: str, module: str = "", old: str = "", **claims):
    verdict = REJECT if reason else ACCEPT
    return Row(
        part=part,
        name=name,
        does=does,
        sets={"claims": claims},
        verdict=verdict,
        reason=reason,
        module=module and f"oidcc-client-test-{module}",
        old=old,
    )


def header(name: str, does: str, sets: Setting, reason: str = "") -> Row:
    verdict = REJECT if reason else ACCEPT
    return Row(part=SIGNATURE, name=name, does=does, sets=sets, verdict=verdict, reason=reason)


def soon(seconds: int) -> Callable[[Any], Any]:
    return lambda _: int(time.time()) + seconds


def twins(name: str) -> Callable[[bytes], bytes]:
    """Repeat a member of the JSON text; what another parser reads is another token."""
    return lambda text: b'{"' + name.encode() + b'": "twin", ' + text[1:]


@rows(
    Row(
        part=BASIC,
        name="B1-code",
        does="nothing wrong",
        module="oidcc-client-test",
        old="rp-response_type-code",
    ),
    claim(
        BASIC,
        "B2-iss",
        "`iss` is the issuer + `1`",
        "iss_wrong",
        "invalid-iss",
        "rp-id_token-issuer-mismatch",
        iss=plus("1"),
    ),
    claim(BASIC, "B3-sub", "no `sub`", "sub_missing", "missing-sub", "rp-id_token-sub", sub=ABSENT),
    claim(
        BASIC,
        "B4-aud",
        "`aud` is our client id + `1`",
        "aud_wrong",
        "invalid-aud",
        "rp-id_token-aud",
        aud=plus("1"),
    ),
    claim(BASIC, "B5-iat", "no `iat`", "iat_missing", "missing-iat", "rp-id_token-iat", iat=ABSENT),
    Row(
        part=BASIC,
        name="B7-kid-absent-many-keys",
        does="no `kid`; two RSA keys fit, and many decoys do not",
        module="oidcc-client-test-kid-absent-multiple-jwks",
        old="rp-id_token-kid-absent-multiple-jwks",
        sets={"kid": ABSENT},
        note="may be rejected; we try every key that fits",
    ),
    Row(
        part=BASIC,
        name="B8-rs256",
        does="RS256, as registered",
        module="oidcc-client-test-idtoken-sig-rs256",
        old="rp-id_token-sig-rs256",
    ),
    Row(
        part=BASIC,
        name="B9-none",
        does="`alg` is `none`, no signature",
        module="oidcc-client-test-idtoken-sig-none",
        old="rp-id_token-sig-none",
        sets={"algorithm": "none"},
        verdict=REJECT,
        reason="alg_wrong",
        note="may be accepted by the suite's rules; never by ours",
    ),
    Row(
        part=BASIC,
        name="B10-signature",
        does="each byte of the signature XOR 0x5A",
        module="oidcc-client-test-invalid-sig-rs256",
        old="rp-id_token-bad-sig-rs256",
        sets={"signature": xor},
        verdict=REJECT,
        reason="bad_signature",
    ),
    Row(
        part=BASIC,
        name="B11-userinfo-sub",
        does="UserInfo `sub` + `invalid`",
        module="oidcc-client-test-userinfo-invalid-sub",
        old="rp-userinfo-bad-sub-claim",
        sets={"userinfo": {"sub": plus("invalid")}},
        verdict=REJECT,
        reason="userinfo_sub_wrong",
        userinfo=1,
    ),
    claim(
        BASIC,
        "B12-nonce",
        "`nonce` + `1`",
        "nonce_wrong",
        "nonce-invalid",
        "rp-nonce-invalid",
        nonce=plus("1"),
    ),
    claim(BASIC, "B15-aud", "no `aud`", "aud_wrong", "missing-aud", "rp-id_token-aud", aud=ABSENT),
    Row(
        part=BASIC,
        name="B16-hs256",
        does="HS256 with our client secret, a good MAC",
        module="oidcc-client-test-invalid-sig-hs256",
        old="rp-id_token-bad-sig-hs256",
        sets={"algorithm": "HS256", "mac_key": CLIENT_SECRET.encode()},
        verdict=REJECT,
        reason="alg_wrong",
        note="HS256 cannot be configured either",
    ),
    Row(
        part=BASIC,
        name="B22-aggregated",
        does="UserInfo with aggregated claims",
        module="oidcc-client-test-aggregated-claims",
        old="rp-claims-aggregated",
        sets={
            "userinfo": {
                "_claim_names": {"shoe_size": "a"},
                "_claim_sources": {"a": {"JWT": "e30.e30.e30"}},
            }
        },
        note="the foreign claims are ignored",
    ),
    Row(
        part=BASIC,
        name="B23-distributed",
        does="UserInfo points to a claims endpoint",
        module="oidcc-client-test-distributed-claims",
        old="rp-claims-distributed",
        sets=lambda op: {
            "userinfo": {
                "_claim_names": {"shoe_size": "d"},
                "_claim_sources": {"d": {"endpoint": f"{op.base}lure", "access_token": "x"}},
            }
        },
        note="the address is never fetched",
    ),
    Row(
        part=BASIC,
        name="B29-userinfo-signed",
        does="UserInfo as a JWT, RS256",
        module="oidcc-client-test-userinfo-signed",
        old="rp-userinfo-sig",
        sets={"userinfo_jwt": {}},
    ),
    # Claims.
    claim(ID_TOKEN, "iss-absent", "no `iss`", "iss_wrong", iss=ABSENT),
    claim(
        ID_TOKEN, "iss-no-slash", "`iss` without the last slash", "iss_wrong", iss=lambda v: v[:-1]
    ),
    claim(ID_TOKEN, "iss-case", "`iss` in capitals", "iss_wrong", iss=lambda v: v.upper()),
    claim(ID_TOKEN, "iss-list", "`iss` is a list", "iss_wrong", iss=lambda v: [v]),
    claim(ID_TOKEN, "sub-empty", '`sub` is ""', "sub_missing", sub=""),
    claim(ID_TOKEN, "sub-number", "`sub` is a number", "sub_missing", sub=7),
    claim(ID_TOKEN, "sub-list", "`sub` is a list", "sub_missing", sub=["jane"]),
    claim(ID_TOKEN, "sub-long", "`sub` of 256 characters", "sub_missing", sub="s" * 256),
    claim(ID_TOKEN, "sub-nul", "`sub` with U+0000", "sub_missing", sub="jane\0"),
    claim(ID_TOKEN, "sub-surrogate", "`sub` with half a character", "sub_missing", sub="j\ud800"),
    claim(ID_TOKEN, "aud-list", "`aud` is a list of us alone", "", aud=[CLIENT_ID]),
    claim(
        ID_TOKEN, "aud-two", "`aud` names us and a stranger", "aud_foreign", aud=[CLIENT_ID, "x"]
    ),
    claim(
        ID_TOKEN,
        "aud-two-azp",
        "the same, and `azp` is us",
        "aud_foreign",
        aud=[CLIENT_ID, "x"],
        azp=CLIENT_ID,
    ),
    claim(ID_TOKEN, "aud-empty", "`aud` is []", "aud_wrong", aud=[]),
    claim(
        ID_TOKEN, "aud-object", "`aud` is an object with our name", "aud_wrong", aud={CLIENT_ID: 1}
    ),
    claim(ID_TOKEN, "aud-null", "`aud` is null", "aud_wrong", aud=None),
    claim(
        ID_TOKEN, "aud-part", "`aud` contains our id as a part", "aud_wrong", aud=f"x{CLIENT_ID}x"
    ),
    claim(ID_TOKEN, "azp-us", "`azp` is us", "", azp=CLIENT_ID),
    claim(ID_TOKEN, "azp-other", "`azp` is another client", "azp_wrong", azp="another"),
    claim(ID_TOKEN, "exp-past", "expired six minutes ago", "expired", exp=soon(-360)),
    claim(ID_TOKEN, "exp-absent", "no `exp`", "exp_missing", exp=ABSENT),
    claim(ID_TOKEN, "exp-text", "`exp` is text", "exp_missing", exp=lambda v: str(v)),
    claim(ID_TOKEN, "iat-future", "issued in an hour", "iat_in_future", iat=soon(3600)),
    claim(ID_TOKEN, "iat-old", "issued two hours ago", "iat_too_old", iat=soon(-7200)),
    claim(ID_TOKEN, "iat-text", "`iat` is text", "iat_missing", iat=lambda v: str(v)),
    claim(ID_TOKEN, "iat-float", "`iat` is a float", "", iat=lambda v: v + 0.25),
    claim(ID_TOKEN, "skew", "its clock is 40 seconds ahead", "", iat=soon(40), exp=soon(340)),
    claim(ID_TOKEN, "nbf", "not valid before an hour", "not_yet_valid", nbf=soon(3600)),
    claim(ID_TOKEN, "nonce-absent", "no `nonce`", "nonce_missing", nonce=ABSENT),
    claim(ID_TOKEN, "nonce-list", "`nonce` is a list", "nonce_missing", nonce=lambda v: [v]),
    claim(ID_TOKEN, "at-hash-absent", "no `at_hash`", "", at_hash=ABSENT),
    claim(
        ID_TOKEN,
        "at-hash-wrong",
        "`at_hash` of another token",
        "at_hash_wrong",
        at_hash=half_hash("x"),
    ),
    claim(ID_TOKEN, "sid-absent", "no `sid`", "", sid=ABSENT),
    claim(ID_TOKEN, "sid-number", "`sid` is a number", "sid_malformed", sid=7),
    claim(ID_TOKEN, "ignored", "a claim that nobody knows", "", ignored_claim={"a": [1, None]}),
    claim(
        ID_TOKEN,
        "events",
        "a logout token's `events` among right claims",
        "not_an_id_token",
        events={LOGOUT_EVENT: {}},
    ),
    Row(
        part=ID_TOKEN,
        name="sub-twice",
        does="`sub` twice in the JSON",
        sets={"payload": twins("sub")},
        verdict=REJECT,
        reason="malformed",
    ),
    Row(
        part=ID_TOKEN,
        name="not-an-object",
        does="the payload is a list",
        sets={"payload": lambda text: b"[" + text + b"]"},
        verdict=REJECT,
        reason="malformed",
    ),
    Row(
        part=ID_TOKEN,
        name="logout-token",
        does="a logout token in its place",
        sets={"id_token": lambda op, claims: op.logout_token()},
        verdict=REJECT,
        reason="not_an_id_token",
    ),
    Row(
        part=ID_TOKEN,
        name="access-token",
        does="an `at+jwt` access token in its place, for us and with the nonce",
        sets={"id_token": lambda op, claims: op.sign(claims, header={"typ": "at+jwt"})},
        verdict=REJECT,
        reason="typ_wrong",
    ),
    Row(
        part=ID_TOKEN,
        name="userinfo-token",
        does="a signed UserInfo answer in its place",
        sets={
            "id_token": lambda op, claims: op.sign(
                {"iss": op.issuer, "aud": CLIENT_ID, "sub": "jane"}
            )
        },
        verdict=REJECT,
        reason="exp_missing",
    ),
    # Signatures and keys.
    header("none-capital", "`alg` is `NONE`", {"algorithm": "NONE"}, "alg_wrong"),
    header("none-mixed", "`alg` is `nOnE`", {"algorithm": "nOnE"}, "alg_wrong"),
    header(
        "none-named-rs256",
        "`alg` is RS256, the signature is empty",
        {"signature": lambda _: b""},
        "bad_signature",
    ),
    header("alg-absent", "no `alg`", {"header": {"alg": ABSENT}}, "alg_wrong"),
    header(
        "hs256-public-key",
        "HS256 with our RSA public key as the secret",
        lambda op: {
            "algorithm": "HS256",
            "mac_key": op.key("RSA").pair.as_pem(private=False),
        },
        "alg_wrong",
    ),
    header(
        "hs256-named-rs256",
        "an HS256 MAC by the public key, `alg` says RS256",
        lambda op: {
            "algorithm": "HS256",
            "header": {"alg": "RS256"},
            "mac_key": op.key("RSA").pair.as_pem(private=False),
        },
        "bad_signature",
    ),
    header("rs512", "RS512 by the right key", {"algorithm": "RS512"}, "alg_wrong"),
    header("ps256", "PS256 by the right key", {"algorithm": "PS256"}, "alg_wrong"),
    header("es256", "ES256 by a key of the set", {"algorithm": "ES256"}, "alg_wrong"),
    header("eddsa", "EdDSA by a key of the set", {"algorithm": "EdDSA"}, "alg_wrong"),
    header("typ-jwt", "`typ` is `JWT`", {"header": {"typ": "JWT"}}),
    header("typ-logout", "`typ` is `logout+jwt`", {"header": {"typ": "logout+jwt"}}, "typ_wrong"),
    header("typ-dpop", "`typ` is `dpop+jwt`", {"header": {"typ": "dpop+jwt"}}, "typ_wrong"),
    header(
        "stranger",
        "signed by a stranger under a `kid` of the set",
        lambda op: {"key": op.stranger(op.key("RSA").kid)},
        "bad_signature",
    ),
    header(
        "stranger-no-kid",
        "signed by a stranger, no `kid`",
        lambda op: {"key": op.stranger()},
        "unknown_key",
    ),
    header(
        "jwk",
        "signed by a stranger whose key is in the header",
        lambda op: {
            "key": op.stranger(),
            "header": {"jwk": op.stranger().pair.as_dict(private=False)},
        },
        "unknown_key",
    ),
    header(
        "jku",
        "signed by a stranger, `jku` says where his keys are",
        lambda op: {"key": op.stranger(), "header": {"jku": f"{op.base}lure"}},
        "unknown_key",
    ),
    header(
        "x5u",
        "signed by a stranger, `x5u` says where his certificate is",
        lambda op: {
            "key": op.stranger(),
            "header": {"x5u": f"{op.base}lure", "x5c": ["TUlJ"]},
        },
        "unknown_key",
    ),
    header("crit", "`crit` names an extension", {"header": {"crit": ["exp"]}}, "crit_unsupported"),
    header("b64", "`b64` is false", {"header": {"b64": False}}, "crit_unsupported"),
    header(
        "kid-unknown",
        "a `kid` that is in no set",
        {"kid": "nobody-knows"},
        "unknown_key",
    ),
    header(
        "kid-path",
        "a `kid` that is a path",
        {"kid": "../../../../dev/null"},
        "unknown_key",
    ),
    header(
        "kid-ec",
        "the `kid` of a P-256 key, signed RS256",
        lambda op: {"kid": op.key("P-256").kid},
        "unknown_key",
    ),
    header(
        "key-enc",
        "signed by the key for encryption",
        lambda op: {"key": op.key("RSA-enc")},
        "unknown_key",
    ),
    Row(
        part=SIGNATURE,
        name="encrypted",
        does="five parts, as an encrypted token has",
        sets={"id_token": lambda op, claims: "a.b.c.d.e"},
        verdict=REJECT,
        reason="malformed",
    ),
    Row(
        part=SIGNATURE,
        name="huge",
        does="an ID token of 300 kB",
        sets={"claims": {"padding": "x" * 300_000}},
        verdict=REJECT,
        reason="malformed",
    ),
)
def test_id_token(stage: Stage, row: Row):
    stage.op.set(**row.switches(stage.op))
    landed = stage.sign_in()
    if row.verdict == ACCEPT:
        stage.accepted(landed)
        assert len(stage.op.named("userinfo")) == 1
        assert stage.count("oauthbff_tokengrant") == 1
        assert not stage.op.named("elsewhere")
    else:
        stage.refused(landed, row.verdict, row.reason, userinfo=row.userinfo)


@shows(
    BASIC,
    "returns claims by scope",
    ACCEPT,
    "oidcc-client-test-scope-userinfo-claims",
    "rp-scope-userinfo-claims",
)
def test_claims_come_from_userinfo_by_scope(stage: Stage):
    stage.accepted(stage.sign_in())
    [asked] = stage.op.named("authorize")
    assert asked.params["scope"].split() == SCOPES.split()
    assert stage.browser.session()["user"] == {
        "sub": "jane",
        "name": "Jane",
        "email": "jane@example.com",
    }
    assert stage.site.sql("SELECT email FROM auth_user") == [("jane@example.com",)]


@shows(
    BASIC,
    "takes client_secret_basic alone; the secret has `:`, `%`, `+`, `&` and é",
    ACCEPT,
    "oidcc-client-test-client-secret-basic",
    "rp-token_endpoint-client_secret_basic",
)
def test_client_secret_basic_by_the_letter(stage: Stage):
    stage.accepted(stage.sign_in())
    stage.browser.fetch("logout/", method="POST")
    for call in stage.op.named("token", "revoke"):
        assert call.headers["authorization"].startswith("Basic ")
        assert "client_secret" not in call.params
    assert len(stage.op.named("revoke")) == 2


@shows(
    BASIC,
    "wants the access token in the header of UserInfo",
    ACCEPT,
    "oidcc-client-test-userinfo-bearer-header",
    "rp-userinfo-bearer-header",
)
def test_userinfo_is_asked_by_header(stage: Stage):
    stage.accepted(stage.sign_in())
    [asked] = stage.op.named("userinfo")
    assert asked.method == "GET"
    assert stage.op.live[asked.headers["authorization"].removeprefix("Bearer ")] == "access_token"
    assert asked.params == {}


@shows(
    BASIC,
    "requires a nonce also in the code flow",
    ACCEPT,
    "oidcc-client-test-nonce-unless-code-flow",
    "rp-nonce-unless-code-flow",
)
def test_state_nonce_and_challenge_are_new_each_time(stage: Stage):
    for _ in range(20):
        stage.begin(stage.new_browser())
    asked = [call.params for call in stage.op.named("authorize")]
    for name in ("state", "nonce", "code_challenge"):
        values = {each[name] for each in asked}
        assert len(values) == 20, name
        assert all(len(value) >= 22 for value in values), name
        assert len(max(values, key=len)) <= 64, name
    assert {each["code_challenge_method"] for each in asked} == {"S256"}
    known = set("response_type scope client_id redirect_uri state nonce".split())
    known |= {"code_challenge", "code_challenge_method"}
    assert {name for each in asked for name in each} == known


@shows(ATTACK, "a link to login/ that brings parameters of the request along", "ignored")
def test_a_link_cannot_change_the_request(stage: Stage):
    smuggled = {
        "scope": "openid admin",
        "redirect_uri": "https://evil.example/",
        "client_id": "evil",
        "response_type": "id_token",
        "response_mode": "fragment",
        "request_uri": f"{stage.op.base}lure",
        "request": "e30.e30.",
        "claims": "{}",
        "state": "mine",
        "nonce": "mine",
        "code_challenge": "mine",
        "code_challenge_method": "plain",
    }
    stage.accepted(stage.sign_in(query=f"?{urllib.parse.urlencode(smuggled)}"))
    [asked] = stage.op.named("authorize")
    assert not set(smuggled.values()) & set(asked.params.values())


@rows(
    *(
        Row(
            part=ID_TOKEN,
            name=f"max-age-{name}",
            does=f"asked for `max_age=60`: {does}",
            sets={"claims": {"auth_time": auth_time}},
            verdict=REJECT if reason else ACCEPT,
            reason=reason,
        )
        for name, does, auth_time, reason in (
            ("fresh", "`auth_time` is now", soon(0), ""),
            ("old", "`auth_time` is an hour ago", soon(-3600), "auth_time_too_old"),
            ("absent", "no `auth_time`", ABSENT, "auth_time_missing"),
            ("text", "`auth_time` is text", "now", "auth_time_missing"),
        )
    )
)
def test_max_age(stage: Stage, row: Row):
    stage.op.set(**row.switches(stage.op))
    landed = stage.sign_in(query="?max_age=60")
    assert stage.op.named("authorize")[0].params["max_age"] == "60"
    if row.verdict == ACCEPT:
        stage.accepted(landed)
    else:
        stage.refused(landed, row.verdict, row.reason)


# ----------------------------------------------------------------------------- UserInfo


def person(name: str, does: str, sets: Setting, code: str, reason: str = "") -> Row:
    return Row(
        part=USERINFO, name=name, does=does, sets=sets, verdict=code, reason=reason, userinfo=1
    )


@rows(
    person("sub-absent", "no `sub`", {"userinfo": {"sub": ABSENT}}, REJECT, "userinfo_sub_wrong"),
    person("sub-list", "`sub` is a list", {"userinfo": {"sub": ["jane"]}}, REJECT),
    person("401", "401", {"userinfo_reply": Reply(status=401, body={})}, NONSENSE),
    person("403", "403", {"userinfo_reply": Reply(status=403, body="no")}, NONSENSE),
    person("500", "500", {"userinfo_reply": Reply(status=500, body="<html>")}, NONSENSE),
    person("html", "200 with HTML", {"userinfo_reply": Reply(body="<html>")}, NONSENSE),
    person("empty", "200 without a body", {"userinfo_reply": Reply(body=b"")}, NONSENSE),
    person("list", "a JSON list", {"userinfo_reply": Reply(body=[])}, REJECT, "userinfo_malformed"),
    person("nan", "NaN for a claim", {"userinfo": {"age": float("nan")}}, NONSENSE),
    person("huge", "two megabytes", {"userinfo_reply": Reply(body=b" " * 2_000_000)}, NONSENSE),
    person("gone", "hangs up", {"userinfo_reply": Reply(hang_up=True)}, NONSENSE),
    person(
        "redirect",
        "redirects elsewhere",
        lambda op: {"userinfo_reply": Reply(status=302, headers={"Location": f"{op.base}lure"})},
        NONSENSE,
    ),
    person(
        "signed-badly",
        "signed, each byte XOR 0x5A",
        {"userinfo_jwt": {"signature": xor}},
        REJECT,
        "bad_signature",
    ),
    person(
        "signed-none",
        "a JWT with `alg` `none`",
        {"userinfo_jwt": {"algorithm": "none"}},
        REJECT,
        "alg_wrong",
    ),
    person(
        "signed-hs256",
        "a JWT with HS256 and our client secret",
        {"userinfo_jwt": {"algorithm": "HS256", "mac_key": CLIENT_SECRET.encode()}},
        REJECT,
        "alg_wrong",
    ),
    person(
        "signed-stranger",
        "signed by a stranger",
        lambda op: {"userinfo_jwt": {"key": op.stranger(op.key("RSA").kid)}},
        REJECT,
        "bad_signature",
    ),
    *(
        person(
            f"signed-{name}",
            f"signed, {does}",
            {"userinfo_jwt": {}, "userinfo": change},
            REJECT,
            reason,
        )
        for name, does, change, reason in (
            ("iss", "`iss` + `1`", {"iss": plus("1")}, "userinfo_iss_wrong"),
            ("no-iss", "no `iss`", {"iss": ABSENT}, "userinfo_iss_wrong"),
            ("aud", "`aud` is another client", {"aud": "another"}, "userinfo_aud_wrong"),
            ("no-aud", "no `aud`", {"aud": ABSENT}, "userinfo_aud_wrong"),
            ("sub", "`sub` + `invalid`", {"sub": plus("invalid")}, "userinfo_sub_wrong"),
        )
    ),
)
def test_userinfo(stage: Stage, row: Row):
    stage.op.set(**row.switches(stage.op))
    stage.refused(stage.sign_in(), row.verdict, row.reason, userinfo=1)


@shows(USERINFO, "claims `iss`, `aud`, `sid`, `nonce` … in UserInfo", "the ID token's stand")
def test_userinfo_cannot_overrule_the_id_token(stage: Stage):
    stage.op.set(
        userinfo={
            "iss": "https://evil.example",
            "sid": "x",
            "iat": 1,
            "email": "other@example.com",
        },
        claims={"email": "jane@example.com"},
    )
    stage.accepted(stage.sign_in())
    assert stage.browser.session()["user"]["email"] == "jane@example.com"
    assert stage.site.sql("SELECT issuer, subject, sid FROM oauthbff_tokengrant") == [
        (stage.op.issuer, "jane", stage.op.sid)
    ]


# ------------------------------------------------------------------------ token endpoint


def odd(name: str, does: str, reply: Reply, code: str = NONSENSE) -> Row:
    return Row(part=TOKEN, name=name, does=does, sets={"token_reply": reply}, verdict=code)


def part_of(name: str, does: str, sets: Setting, code: str = ACCEPT) -> Row:
    return Row(part=TOKEN, name=name, does=does, sets=sets, verdict=code)


GIVEN = {"access_token": "at-odd", "token_type": "Bearer"}


@rows(
    odd(
        "invalid-grant",
        "400 invalid_grant",
        Reply(status=400, body={"error": "invalid_grant"}),
        "login_expired",
    ),
    odd(
        "invalid-client", "401 invalid_client", Reply(status=401, body={"error": "invalid_client"})
    ),
    odd("error-odd", "400 with script for an error", Reply(status=400, body={"error": "<script>"})),
    odd("error-number", "400 with a number for an error", Reply(status=400, body={"error": 7})),
    odd("error-html", "400 with HTML", Reply(status=400, body="<html>")),
    odd("error-200", "200 with an error", Reply(body={"error": "invalid_grant"})),
    odd("error-200-tokens", "200 with an error beside tokens", Reply(body={**GIVEN, "error": "x"})),
    odd("500", "500", Reply(status=500, body="<html>")),
    odd("503", "503", Reply(status=503, body={"error": "temporarily_unavailable"})),
    odd("429", "429", Reply(status=429, body={"error": "slow_down"})),
    odd("201", "201 with tokens", Reply(status=201, body=GIVEN)),
    odd("204", "204", Reply(status=204)),
    odd("empty", "200 without a body", Reply(body=b"")),
    odd("html", "200 with HTML", Reply(body="<html>")),
    odd("list", "a JSON list", Reply(body=[GIVEN])),
    odd("nothing", "{}", Reply(body={})),
    odd("nan", "NaN for expires_in", Reply(body={**GIVEN, "expires_in": float("nan")})),
    odd("deep", "JSON nested 100,000 deep", Reply(body=b"[" * 100_000)),
    odd("not-utf8", "bytes that are no UTF-8", Reply(body=b'{"access_token": "\xff"}')),
    odd("huge", "twenty megabytes", Reply(body=b" " * 20_000_000)),
    odd("gone", "hangs up", Reply(hang_up=True)),
    odd("no-type", "no token_type", Reply(body={"access_token": "at-odd"})),
    odd("type-mac", "token_type `mac`", Reply(body={**GIVEN, "token_type": "mac"})),
    odd("type-dpop", "token_type `DPoP`", Reply(body={**GIVEN, "token_type": "DPoP"})),
    odd("no-access-token", "no access_token", Reply(body={"token_type": "Bearer"})),
    odd(
        "access-token-list", "access_token is a list", Reply(body={**GIVEN, "access_token": ["x"]})
    ),
    odd(
        "access-token-lf",
        "a line end in access_token",
        Reply(body={**GIVEN, "access_token": "a\r\nX: y"}),
    ),
)
def test_token_endpoint_that_gives_nothing_good(stage: Stage, row: Row):
    stage.op.set(**row.switches(stage.op))
    stage.refused(stage.sign_in(), row.verdict)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_token_endpoint_that_redirects(stage: Stage, status: int):
    away = Reply(status=status, headers={"Location": f"{stage.op.base}lure"})
    stage.op.set(token_reply=away)
    stage.refused(stage.sign_in(), NONSENSE)


TABLE["test_token_endpoint_that_redirects"] = Row(
    part=TOKEN, name="redirect", does="redirects elsewhere (301 to 308)", verdict=NONSENSE
)


@rows(
    part_of("no-id-token", "no id_token", {"id_token": lambda op, claims: ABSENT}, NONSENSE),
    part_of("id-token-null", "id_token is null", {"id_token": lambda op, claims: None}, NONSENSE),
    part_of("id-token-odd", "id_token is no JWT", {"id_token": lambda op, claims: "x"}, REJECT),
    part_of("type-case", "token_type `bEARER`", {"answer": {"token_type": "bEARER"}}),
    part_of("no-expiry", "no expires_in", {"expires_in": ABSENT}),
    part_of("expiry-text", 'expires_in "3600"', {"expires_in": "3600"}),
    part_of("expiry-zero", "expires_in 0", {"expires_in": 0}),
    part_of("expiry-negative", "expires_in -1", {"expires_in": -1}),
    part_of("expiry-huge", "expires_in 1e99", {"expires_in": 1e99}),
    part_of("expiry-null", "expires_in null", {"expires_in": None}),
    part_of("no-refresh-token", "no refresh_token", {"answer": {"refresh_token": ABSENT}}),
    part_of("unknown", "members that nobody knows", {"answer": {"x_y": {"z": 1}}}),
    part_of("scope-narrow", "a narrower scope", {"answer": {"scope": "openid"}}),
)
def test_token_endpoint(stage: Stage, row: Row):
    stage.op.set(**row.switches(stage.op))
    landed = stage.sign_in()
    if row.verdict != ACCEPT:
        stage.refused(landed, row.verdict)
        return
    stage.accepted(landed)
    if row.name == "scope-narrow":
        assert stage.browser.session()["grant"]["scopes"] == ["openid"]


# ---------------------------------------------------------------- authorization responses


def response(name: str, does: str, verdict: str, /, **changes: Any) -> Row:
    twice = changes.pop("twice", {})
    sets = {"response": changes, "twice": twice}
    return Row(part=RESPONSE, name=name, does=does, sets=sets, verdict=verdict, tokens=0)


WRONG = "wrong_issuer"


@rows(
    response(
        "unknown",
        "`session_state` and parameters that nobody knows",
        ACCEPT,
        session_state="x.y",
        foo="1",
    ),
    response("iss-other", "`iss` is another issuer", WRONG, iss="https://evil.example/"),
    response("iss-absent", "no `iss`, though the metadata promise it", WRONG, iss=ABSENT),
    response("iss-empty", "`iss` is empty", WRONG, iss=""),
    response("iss-case", "`iss` in capitals", WRONG, iss=lambda v: v.upper()),
    response("iss-slash", "`iss` without the last slash", WRONG, iss=lambda v: v[:-1]),
    response("iss-encoded", "`iss` with a %-encoded letter", WRONG, iss=lambda v: v[:-2] + "%63/"),
    response(
        "iss-userinfo", "`iss` with a user name", WRONG, iss=lambda v: v.replace("//", "//x@")
    ),
    response("iss-twice", "`iss` twice", "bad_response", twice={"iss": "https://evil.example/"}),
    response("code-twice", "`code` twice", "bad_response", twice={"code": "x"}),
    response("code-absent", "no `code` and no `error`", "bad_response", code=ABSENT),
    response("code-empty", "`code` is empty", "bad_response", code=""),
    response("denied", "`access_denied`", "access_denied", code=ABSENT, error="access_denied"),
    response(
        "login-required", "`login_required`", "login_required", code=ABSENT, error="login_required"
    ),
    response("error-and-code", "an error and a code", "access_denied", error="access_denied"),
    response("error-odd", "script for an error", "provider_error", code=ABSENT, error="<script>"),
    response(
        "error-text",
        "script for an error_description",
        "server_error",
        code=ABSENT,
        error="server_error",
        error_description="<script>canary()</script>",
        error_uri="javascript:canary()",
    ),
    response(
        "error-twice",
        "`error` twice",
        "bad_response",
        code=ABSENT,
        error="access_denied",
        twice={"error": "x"},
    ),
    response(
        "error-iss",
        "an error with another `iss`",
        WRONG,
        code=ABSENT,
        error="access_denied",
        iss="https://evil.example/",
    ),
    response(
        "error-no-iss",
        "an error without `iss`",
        WRONG,
        code=ABSENT,
        error="access_denied",
        iss=ABSENT,
    ),
    response("state-absent", "no `state`", "login_expired", state=ABSENT),
    response("state-other", "`state` + `1`", "login_expired", state=plus("1")),
    response("state-twice", "`state` twice", "bad_response", twice={"state": "x"}),
)
def test_authorization_response(stage: Stage, row: Row):
    stage.op.set(**row.switches(stage.op))
    landed = stage.sign_in()
    if row.verdict == ACCEPT:
        stage.accepted(landed)
        return
    stage.refused(landed, row.verdict, tokens=0)
    assert b"canary()" not in landed.body


# ------------------------------------------------------------------------------- refresh


@pytest.fixture
def refreshing(stage: Stage) -> Stage:
    """Signed in with an access token that is about to be refreshed."""
    stage.op.set(expires_in=1)
    landed = stage.sign_in()
    assert "/bff/" not in landed.url, landed
    time.sleep(1.05)
    return stage


def refreshed(
    name: str, does: str, reason: str, module: str = "", old: str = "", **sets: Any
) -> Row:
    return Row(
        part=REFRESH,
        name=name,
        does=does,
        sets=sets,
        verdict="grant_ended" if reason else ACCEPT,
        reason=reason,
        module=module and f"oidcc-client-test-{module}",
        old=old,
    )


@rows(
    refreshed("R1-rotation", "a new refresh token with each refresh", "", "refresh-token"),
    refreshed(
        "R2-iss",
        "the refreshed ID token's `iss` + `1`",
        "iss_wrong",
        "refresh-token-invalid-issuer",
        refreshed={"iss": plus("1")},
    ),
    refreshed(
        "R3-sub",
        "the refreshed ID token's `sub` + `1`",
        "sub_changed",
        "refresh-token-invalid-sub",
        refreshed={"sub": plus("1")},
    ),
    refreshed(
        "aud", "the refreshed ID token's `aud` + `1`", "aud_wrong", refreshed={"aud": plus("1")}
    ),
    refreshed(
        "signature", "each byte of its signature XOR 0x5A", "bad_signature", refreshed_signature=xor
    ),
    refreshed(
        "events", "a logout token's `events` in it", "not_an_id_token", refreshed={"events": {}}
    ),
    refreshed("no-id-token", "no ID token", "", refreshed_answer={"id_token": ABSENT}),
)
def test_refresh(refreshing: Stage, row: Row):
    stage, op = refreshing, refreshing.op
    first = set(op.given)
    op.set(**row.switches(op), expires_in=3600)
    answer = stage.browser.fetch("api/photos/1")
    second = set(op.given) - first
    assert len(second) == 2
    if row.verdict == ACCEPT:
        assert answer.status == 200, f"{answer}\n{stage.log()}"
        [call] = stage.upstream.requests
        assert call.token in second
        assert second <= set(op.live)
        return
    assert (answer.status, answer.code) == (401, "grant_ended"), f"{answer}\n{stage.log()}"
    assert stage.upstream.requests == []
    assert len(op.named("userinfo")) == 1  # of the sign-in
    assert len(op.named("token")) == 2
    assert not op.live, "both sets must be given back"
    assert row.reason in stage.log()
    assert stage.count("django_session") == 0
    [(reason, note)] = stage.site.sql("SELECT end_reason, end_note FROM oauthbff_tokengrant")
    assert (reason, note) == ("invalid_grant", f"refreshed ID token: {row.reason}")
    assert stage.browser.session()["authenticated"] is False
    assert stage.browser.fetch("api/photos/1").status == 401
    assert len(op.named("token")) == 2, "no second try"
    REFUSED.extend((op, token, time.time()) for token in second)


# -------------------------------------------------------------------- RP-initiated logout


def init_logout(name: str, does: str, module: str, state: str) -> Row:
    return Row(
        part=LOGOUT,
        name=name,
        does=does,
        module=f"oidcc-client-test-{module}",
        old=module,
        sets={"logout_state": state, "tells": True},
    )


@rows(
    init_logout("L1", "nothing wrong", "rp-init-logout", "same"),
    init_logout("L2", "returns another `state`", "rp-init-logout-other-state", "other"),
    init_logout("L3", "returns no `state`", "rp-init-logout-no-state", "absent"),
)
def test_rp_initiated_logout(stage: Stage, row: Row):
    op = stage.op
    op.set(**row.switches(op))
    stage.accepted(stage.sign_in())
    landed = stage.browser.logout()
    assert landed.status == 200
    assert landed.url.startswith(f"{stage.site.base_url}/bff/logged-out/")
    [asked] = op.named("end_session")
    assert asked.params["id_token_hint"] == op.id_tokens[0]
    assert asked.params["post_logout_redirect_uri"] == f"{stage.site.base_url}/bff/logged-out/"
    assert len(asked.params["state"]) >= 16
    assert op.told == [200]  # the suite sends its logout token meanwhile
    assert not op.live
    assert stage.count("django_session") == 0
    stage.is_nobody(stage.browser)


# ----------------------------------------------------------------------- back-channel logout


def told(
    name: str, does: str, status: int, module: str = "", lives: bool | None = None, **how: Any
) -> Row:
    """`lives`: whether the session outlives the token; by default it does after a 400."""
    lives = status == 400 if lives is None else lives
    return Row(
        part=BACK,
        name=name,
        does=does,
        module=module and f"oidcc-client-test-rp-backchannel-{module}",
        old=module and f"rp-backchannel-{module}".replace("rpinitlogout-", "rpinitlogout-lt-"),
        sets={"how": how.pop("how", {}), "claims": how},
        verdict=f"{status}, {'session stands' if lives else 'session ended'}",
    )


@rows(
    told("BC1", "nothing wrong", 200, "rpinitlogout"),
    told("BC2-none", "`alg` is `none`", 400, "rpinitlogout-alg-none", how={"algorithm": "none"}),
    told(
        "BC3-alg",
        "ES256 by a key of the set",
        400,
        "rpinitlogout-wrong-alg",
        how={"algorithm": "ES256"},
    ),
    told("BC4-iss", "`iss` + `INVALID`", 400, "rpinitlogout-wrong-iss", iss=plus("INVALID")),
    told("BC5-aud", "`aud` + `INVALID`", 400, "rpinitlogout-wrong-aud", aud=plus("INVALID")),
    told("BC6-no-event", "no `events`", 400, "rpinitlogout-no-event", events=ABSENT),
    told(
        "BC7-wrong-event",
        "`events` of something else",
        400,
        "rpinitlogout-wrong-event",
        events={"http://schemas.openid.net/event/foobar": {}},
    ),
    told("BC8-nonce", "a `nonce`", 400, "rpinitlogout-with-nonce", nonce="nonce"),
    told("sub-only", "`sub` and no `sid`", 200, sid=ABSENT),
    told("sid-only", "`sid` and no `sub`", 200, sub=ABSENT),
    told("neither", "neither `sub` nor `sid`", 400, sub=ABSENT, sid=ABSENT),
    told("sid-unknown", "a `sid` that we do not know", 200, lives=True, sid="unknown"),
    told("sub-other", "the right `sid` with somebody else's `sub`", 200, lives=True, sub="bob"),
    told("sid-other", "the right `sub` with somebody else's `sid`", 200, lives=True, sid="sid-bob"),
    told(
        "sub-case",
        "`sub` and `sid` in capitals",
        200,
        lives=True,
        sub="JANE",
        sid=lambda v: v.upper(),
    ),
    told("sub-number", "`sub` is a number", 400, sub=7),
    told("sid-list", "`sid` is a list", 400, sid=lambda v: [v]),
    told("jti-absent", "no `jti`", 400, jti=ABSENT),
    told("jti-number", "`jti` is a number", 400, jti=7),
    told("exp-absent", "no `exp`", 400, exp=ABSENT),
    told("iat-absent", "no `iat`", 400, iat=ABSENT),
    told("expired", "expired two minutes ago", 400, exp=soon(-120)),
    told("iat-future", "issued in an hour", 400, iat=soon(3600)),
    told("iat-old", "issued two hours ago", 400, iat=soon(-7200)),
    told("iat-before", "issued before the sign-in", 200, lives=True, iat=soon(-30)),
    told("aud-list", "`aud` is a list of us alone", 200, aud=[CLIENT_ID]),
    told("aud-two", "`aud` names us and a stranger", 400, aud=[CLIENT_ID, "x"]),
    told(
        "event-more", "further events beside the right one", 200, events={LOGOUT_EVENT: {}, "x": {}}
    ),
    told("event-list", "`events` is a list", 400, events=[LOGOUT_EVENT]),
    told("event-text", "`events` is text", 400, events=LOGOUT_EVENT),
    told("event-null", "the event is null", 400, events={LOGOUT_EVENT: None}),
    told("event-array", "the event is []", 400, events={LOGOUT_EVENT: []}),
    told("nonce-null", "`nonce` is null", 400, nonce=None),
    told("typ-logout", "`typ` is `logout+jwt`", 200, how={"header": {"typ": "logout+jwt"}}),
    told("typ-jwt", "`typ` is `JWT`", 200, how={"header": {"typ": "JWT"}}),
    told("typ-at", "`typ` is `at+jwt`", 400, how={"header": {"typ": "at+jwt"}}),
    told("typ-secevent", "`typ` is `secevent+jwt`", 400, how={"header": {"typ": "secevent+jwt"}}),
    told("signature", "each byte of the signature XOR 0x5A", 400, how={"signature": xor}),
    told(
        "hs256",
        "HS256 with our client secret",
        400,
        how={"algorithm": "HS256", "mac_key": CLIENT_SECRET.encode()},
    ),
    told("kid-absent", "no `kid`", 200, how={"kid": ABSENT}),
    told("crit", "`crit` names an extension", 400, how={"header": {"crit": ["exp"]}}),
    told("sub-twice", "`sub` twice in the JSON", 400, how={"payload": twins("sub")}),
)
def test_backchannel_logout(stage: Stage, row: Row):
    op = stage.op
    stage.accepted(stage.sign_in())
    sets = row.switches(op)
    status, lives = int(row.verdict[:3]), "stands" in row.verdict
    assert op.logout(op.logout_token(sets["claims"], **sets["how"])) == status, stage.log()
    assert stage.browser.is_logged_in() is lives
    assert bool(op.live) is lives
    assert stage.count("django_session") == lives
    assert "Traceback" not in stage.log()


@rows(
    *(
        Row(part=BACK, name=name, does=does, sets={"token": make}, verdict="400, session stands")
        for name, does, make in (
            ("id-token", "the ID token in its place", lambda op: op.id_tokens[0]),
            ("access-token", "an access token in its place", lambda op: next(iter(op.given))),
            (
                "stranger",
                "signed by a stranger under our `kid`",
                lambda op: op.logout_token(key=op.stranger(op.key("RSA").kid)),
            ),
            (
                "stranger-jwk",
                "signed by a stranger whose key is in the header",
                lambda op: op.logout_token(
                    key=op.stranger(), header={"jwk": op.stranger().pair.as_dict(private=False)}
                ),
            ),
            (
                "jku",
                "signed by a stranger, `jku` says where his keys are",
                lambda op: op.logout_token(key=op.stranger(), header={"jku": f"{op.base}lure"}),
            ),
            (
                "key-enc",
                "signed by the key for encryption",
                lambda op: op.logout_token(key=op.key("RSA-enc")),
            ),
            ("encrypted", "five parts, as an encrypted token has", lambda op: "a.b.c.d.e"),
            ("empty", "empty", lambda op: ""),
            ("huge", "300 kB", lambda op: "x" * 300_000),
        )
    )
)
def test_something_else_for_a_logout_token(stage: Stage, row: Row):
    stage.accepted(stage.sign_in())
    assert stage.op.logout(row.switches(stage.op)["token"](stage.op)) == 400
    assert stage.browser.is_logged_in()
    assert not stage.op.named("elsewhere")
    assert "Traceback" not in stage.log()


@shows(BACK, "posts it as JSON, in the query, twice, by GET, without it", "400, session stands")
def test_only_a_form_with_one_logout_token_counts(stage: Stage):
    stage.accepted(stage.sign_in())
    token = stage.op.logout_token()
    form = "application/x-www-form-urlencoded"
    twice = urllib.parse.urlencode([("logout_token", token)] * 2)
    for method, query, kind, body in (
        ("POST", "", "application/json", json.dumps({"logout_token": token})),
        ("POST", f"?logout_token={token}", form, ""),
        ("GET", f"?logout_token={token}", form, ""),
        ("PUT", "", form, f"logout_token={token}"),
        ("POST", "", form, twice),
        ("POST", "", form, "token=x"),
        ("POST", "", "text/plain", f"logout_token={token}"),
    ):
        line = http.client.HTTPConnection("127.0.0.1", stage.site.port, timeout=10)
        headers = {"Content-Type": kind, "Host": stage.site.base_url.removeprefix("http://")}
        line.request(method, f"/bff/backchannel-logout/{query}", body, headers)
        answer = line.getresponse()
        answer.read()
        line.close()
        assert (answer.status, answer.getheader("Cache-Control")) == (400, "no-store"), method
    assert stage.browser.is_logged_in()
    assert stage.op.logout(token) == 200  # it was not spent on the way
    assert not stage.browser.is_logged_in()


@shows(BACK, "sends a logout token again after a new sign-in", "400, session stands")
def test_a_replayed_logout_token_ends_nothing(stage: Stage):
    stage.accepted(stage.sign_in())
    token = stage.op.logout_token()
    assert stage.op.logout(token) == 200
    assert not stage.browser.is_logged_in()
    time.sleep(1.1)  # logout tokens know whole seconds
    stage.accepted(stage.sign_in())
    assert stage.op.logout(token) == 400
    assert stage.browser.is_logged_in()
    assert "jti_spent" in stage.log()


@shows(BACK, "sends it again after our database failed half-way", "400, then 200, session ended")
def test_a_logout_token_is_not_spent_by_our_own_failure(stage: Stage):
    stage.accepted(stage.sign_in())
    token = stage.op.logout_token()
    stage.site.sql("ALTER TABLE oauthbff_grantevent RENAME TO away")
    assert stage.op.logout(token) == 400  # ended, spent, and all of it rolled back
    stage.site.sql("ALTER TABLE away RENAME TO oauthbff_grantevent")
    assert stage.browser.is_logged_in()
    assert stage.op.logout(token) == 200
    assert not stage.browser.is_logged_in()
    assert "Traceback" not in stage.log()


@shows(BACK, "three sessions: first a `sid`, then the `sub`", "one ends, then the others")
def test_a_sid_ends_one_session_and_a_sub_all_of_a_person(stage: Stage):
    op, people = stage.op, []
    for subject, sid in (("jane", "s-1"), ("jane", "s-2"), ("jane", "s-3"), ("bob", "s-4")):
        op.subject, op.sid = subject, sid
        browser = stage.new_browser()
        stage.accepted(stage.sign_in(browser), browser)
        people.append(browser)
    assert op.logout(op.logout_token({"sid": "s-2", "sub": ABSENT})) == 200
    assert [one.is_logged_in() for one in people] == [True, False, True, True]
    assert op.logout(op.logout_token({"sid": ABSENT, "sub": "jane"})) == 200
    assert [one.is_logged_in() for one in people] == [False, False, False, True]


@shows(BACK, "20 logout tokens with unknown `kid`s", "400, at most one key fetch per process")
def test_forged_logout_tokens_cannot_make_us_ask_for_keys(stage: Stage):
    for number in range(20):
        assert stage.op.logout(stage.op.logout_token(kid=f"kid-{number}")) == 400
    seconds = (
        stage.op.calls_ever[-1].at - stage.op.named("jwks")[0].at if stage.op.named("jwks") else 0
    )
    assert len(stage.op.named("jwks")) <= 2 * (1 + seconds // 5)


# --------------------------------------------------------------------------------- attacks


@shows(
    ATTACK, "A.5: swaps the codes of two browsers; the provider binds them (PKCE)", "login_expired"
)
def test_swapped_codes_meet_the_code_challenge(stage: Stage):
    one, two = stage.begin(), stage.begin(other := stage.new_browser())
    for browser, mine, foreign in ((stage.browser, one, two), (other, two, one)):
        landed = browser.navigate(_with(mine, code=_of(foreign, "code")))
        stage.refused(landed, "login_expired", tokens=len(stage.op.named("token")), browser=browser)
    assert len(stage.op.named("token")) == 2


@shows(ATTACK, "A.5: the same at a provider without PKCE", REJECT)
def test_swapped_codes_meet_the_nonce(stage: Stage):
    stage.op.set(pkce=False)
    one, two = stage.begin(), stage.begin(stage.new_browser())
    landed = stage.browser.navigate(_with(one, code=_of(two, "code")))
    stage.refused(landed, REJECT, "nonce_wrong")
    assert len(stage.op.revoked) == 2


@shows(ATTACK, "A.5: a code that was used before", "login_expired")
def test_a_code_of_an_older_login_is_refused(stage: Stage):
    first = stage.begin()
    stage.accepted(stage.browser.navigate(first))
    other = stage.new_browser()
    landed = other.navigate(_with(stage.begin(other), code=_of(first, "code")))
    assert landed.url.endswith("?bff_error=login_expired")
    stage.is_nobody(other)
    assert stage.count("oauthbff_tokengrant") == 1


@shows(
    ATTACK, "A.1: the attacker's callback address in a browser that began no login", "login_expired"
)
def test_login_csrf_without_a_login(stage: Stage):
    attack = stage.begin(stage.new_browser())
    landed = stage.browser.navigate(attack)
    stage.refused(landed, "login_expired", tokens=0)


@shows(
    ATTACK, "A.1: the same in a browser that is signing in; its own login goes on", "login_expired"
)
def test_login_csrf_beside_a_login(stage: Stage):
    attacker = stage.new_browser()
    attack, mine = stage.begin(attacker), stage.begin()
    landed = stage.browser.navigate(attack)
    stage.refused(landed, "login_expired", tokens=0)
    stage.accepted(stage.browser.navigate(mine))


@shows(ATTACK, "A.1: plants his own login cookie under the name of the victim's", "login_expired")
def test_a_planted_login_cookie_does_not_open(stage: Stage):
    attacker = stage.new_browser()
    attack, mine = stage.begin(attacker), stage.begin()
    [theirs], [ours] = _pending(attacker), _pending(stage.browser)
    stage.browser.cookies.plant(ours, attacker.cookies[theirs].value)
    stage.refused(
        stage.browser.navigate(_with(mine, code=_of(attack, "code"))), "login_expired", tokens=0
    )


@shows(ATTACK, "A.1: img, frame, fetch and a foreign page on login/", "refused, or a click asked")
def test_a_foreign_page_starts_no_login(stage: Stage):
    foreign = "https://evil.example/"
    assert stage.browser.fetch("login/", from_site=foreign).status == 400
    for destination in ("image", "iframe", "empty"):
        mode = "navigate" if destination == "iframe" else "no-cors"
        headers = {"Sec-Fetch-Dest": destination, "Sec-Fetch-Mode": mode}
        assert stage.browser.navigate("login/", from_site=foreign, headers=headers).status == 400
    asked = stage.browser.navigate("login/?return_to=/x", from_site=foreign, follow=False)
    assert asked.status == 200
    assert not _pending(stage.browser)
    assert not stage.op.named("authorize")


@shows(ATTACK, "A.6: `iss` of the honest provider in a login begun at another", WRONG)
def test_mix_up_is_seen_by_the_issuer(stage: Stage, provider: MutatingProvider):
    honest = provider.issuer("honest", keys=1)
    back = stage.begin()
    landed = stage.browser.navigate(_with(back, iss=honest.issuer, code="code-of-the-honest"))
    stage.refused(landed, WRONG, tokens=0)
    assert not honest.calls
    again = stage.browser.navigate(back)  # the state is spent: no second try with a better guess
    stage.refused(again, "login_expired", tokens=0)


@shows(ATTACK, "A.6: another issuer's keys under our `kid`s, in ID and logout tokens", REJECT)
def test_keys_of_another_issuer_do_not_count(stage: Stage, provider: MutatingProvider):
    other = provider.issuer("honest", keys=1).key("RSA")
    theirs = Key(other.pair, stage.op.key("RSA").kid)
    stage.accepted(stage.sign_in())
    assert stage.op.logout(stage.op.logout_token(key=theirs)) == 400
    assert stage.browser.is_logged_in()
    stage.op.set(key=theirs)
    landed = stage.sign_in(other := stage.new_browser())
    assert landed.url.endswith("?bff_error=token_rejected")
    stage.is_nobody(other)
    assert "login_failed why=bad_signature" in stage.log()


@shows(ATTACK, "CB-3: twenty identical callbacks at the same moment", "one token request")
def test_twenty_callbacks_spend_a_state_once(stage: Stage):
    back, browser = stage.begin(), stage.browser
    cookies = "; ".join(f"{name}={browser.cookies[name].value}" for name in _pending(browser))
    barrier = threading.Barrier(20)

    def arrive(_: int) -> Answer:
        barrier.wait()
        return browser.navigate(back, headers={"Cookie": cookies}, follow=False)

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(arrive, range(20)))
    assert {answer.status for answer in answers} == {303}
    ends = sorted(answer.get("location") or "" for answer in answers)
    assert ends == ["/", *["/bff/error/?bff_error=login_replayed"] * 19]
    assert len(stage.op.named("token")) == 1
    assert stage.count("oauthbff_tokengrant") == stage.count("django_session") == 1
    assert browser.is_logged_in()
    assert "Traceback" not in stage.log()


@shows(ATTACK, "CB-2: the callback's address once more, by the back button", "home, signed in")
def test_the_back_button_of_a_user_who_is_signed_in(stage: Stage):
    back = stage.begin()
    stage.accepted(stage.browser.navigate(back))
    landed = stage.browser.navigate(back)
    assert (landed.url, landed.status) == (f"{stage.site.base_url}/", 200), landed
    assert stage.browser.is_logged_in()
    assert len(stage.op.named("token")) == 1


@shows(ATTACK, "CB-2: the same in a browser that has signed out", "login_expired")
def test_the_back_button_of_a_user_who_has_signed_out(stage: Stage):
    back = stage.begin()
    stage.accepted(stage.browser.navigate(back))
    stage.browser.logout()
    landed = stage.browser.navigate(back)
    assert landed.url.endswith("?bff_error=login_expired")
    stage.is_nobody(stage.browser)
    assert len(stage.op.named("token")) == 1


@shows(ATTACK, "CB-1: two tabs, each with its own way back, finished in any order", ACCEPT)
def test_two_tabs_finish_independently(stage: Stage):
    one = stage.begin(query="?return_to=/%3Ftab%3Done")
    two = stage.begin(query="?return_to=/%3Ftab%3Dtwo")
    for back, tab in ((two, "two"), (one, "one")):
        landed = stage.browser.navigate(back)
        assert landed.url == f"{stage.site.base_url}/?tab={tab}"
        stage.accepted(landed)
    assert stage.count("django_session") == 1
    assert not _pending(stage.browser)


@shows(ATTACK, "CB-12: a login that took longer than ten minutes", "login_expired")
def test_a_slow_login_is_over(stage: Stage, settings: Any):
    settings.OAUTHBFF = {**settings.OAUTHBFF, "KEYS": {"test": KEY}}
    back, browser = stage.begin(), stage.browser
    [name] = _pending(browser)
    sealed = json.loads(vault.unseal(browser.cookies[name].value, f"login:{name}"))
    for age, code in ((TRANSACTION_SECONDS - 20, ""), (TRANSACTION_SECONDS + 1, "login_expired")):
        old = Transaction(**{**sealed, "started_at": int(time.time()) - age})
        text = json.dumps(dataclasses.asdict(old)).encode()
        browser.cookies.plant(name, vault.seal(text, f"login:{name}"))
        if code:
            stage.refused(browser.navigate(back), code, tokens=0)
    browser.cookies.plant(name, browser_cookie_of(sealed, name, TRANSACTION_SECONDS - 20))
    stage.accepted(browser.navigate(back))


def browser_cookie_of(sealed: dict[str, Any], name: str, age: int) -> str:
    aged = {**sealed, "started_at": int(time.time()) - age}
    return vault.seal(json.dumps(aged).encode(), f"login:{name}")


@shows(ATTACK, "seven logins begun in one browser", "the last five are kept")
def test_five_logins_at_most(stage: Stage):
    backs = [stage.begin() for _ in range(7)]
    assert len(_pending(stage.browser)) == 5
    lost = [back for back in backs if _cookie_of(back) not in _pending(stage.browser)]
    assert lost == backs[:2]
    for back in lost:
        stage.refused(stage.browser.navigate(back), "login_expired", tokens=0)
    for back in backs[2:]:
        stage.accepted(stage.browser.navigate(back))


@shows(ATTACK, "CB-10: HEAD, POST, a frame or a fetch on the callback", "refused, state unspent")
def test_only_a_window_that_gets_spends_the_state(stage: Stage):
    back, browser = stage.begin(), stage.browser
    home = stage.op.base
    assert browser.navigate(back, method="HEAD", follow=False).status == 405
    assert browser.navigate(back, form={"a": "b"}, follow=False).status in (403, 405)
    assert browser.navigate(back, method="OPTIONS", follow=False).status in (200, 405)
    frame = {"Sec-Fetch-Dest": "iframe"}
    assert browser.navigate(back, from_site=home, headers=frame, follow=False).status == 403
    assert browser.fetch(back, from_site=home).status == 403
    assert not stage.op.named("token")
    stage.accepted(browser.navigate(back))


@shows(ATTACK, "A.3: a session of the attacker in the victim's browser", "replaced, and it ends")
def test_a_fixed_session_is_not_adopted(stage: Stage):
    attacker = stage.new_browser()
    stage.op.subject = "mallory"
    stage.accepted(stage.sign_in(attacker), attacker)
    planted = attacker.cookies[SESSION_COOKIE].value
    stage.browser.cookies.plant(SESSION_COOKIE, planted)
    stage.op.subject = "jane"
    stage.accepted(stage.browser.navigate("login/", from_site=f"{stage.site.base_url}/"))
    assert stage.browser.cookies[SESSION_COOKIE].value != planted
    assert not attacker.is_logged_in()


@shows(
    ATTACK,
    "A.6: the site moves to another issuer while a login is under way; same `sub` there",
    "login_expired; two users",
)
def test_a_login_belongs_to_the_issuer_it_was_begun_at(
    provider: MutatingProvider, recording_upstream: RecordingUpstream
):
    here, there = provider.issuer("here"), provider.issuer("there", keys=1)
    with Site(workers=1, **site_options(recording_upstream, here)) as site:
        stage = clean_stage(here, site, recording_upstream)
        clean_stage(there, site, recording_upstream)
        stage.accepted(stage.sign_in())
        back = stage.begin(late := stage.new_browser())
        calls = len(here.calls)
        site.restart({"OIDC_OP_ISSUER": there.issuer})
        landed = late.navigate(_with(back, iss=there.issuer))
        assert landed.url.endswith("?bff_error=login_expired")
        assert len(here.calls) == calls
        assert not there.named("token")
        other = Stage(there, site, recording_upstream)
        other.accepted(other.sign_in())
        assert there.logout(there.logout_token({"sid": here.sid})) == 200
        assert site.sql("SELECT issuer, subject FROM oauthbff_identity ORDER BY id") == [
            (here.issuer, "jane"),
            (there.issuer, "jane"),
        ]
        assert stage.count("auth_user") == 2
        ended = "SELECT count(*) FROM oauthbff_tokengrant WHERE end_reason = 'backchannel'"
        assert site.sql(ended) == [(0,)]


# -------------------------------------------------------------------- documents, keys, rotation


@shows(
    CONFIG,
    "new keys under new names just before signing; then between two logins",
    ACCEPT,
    "oidcc-client-test-signing-key-rotation, …-just-before-signing",
    "rp-key-rotation-op-sign-key, …-native",
)
def test_key_rotation(provider: MutatingProvider, recording_upstream: RecordingUpstream):
    op = provider.issuer("rotating", keys=2)
    with Site(workers=1, **site_options(recording_upstream, op)) as site:
        stage = clean_stage(op, site, recording_upstream)
        stage.accepted(stage.sign_in())
        assert (len(op.named("discovery")), len(op.named("jwks"))) == (1, 1)
        op.set(rotate=True)
        stage.accepted(stage.sign_in(two := stage.new_browser()), two)
        assert len(op.named("jwks")) == 2
        op.set(rotate=False, kid="random")
        for number in range(20):  # within the cool-down nobody fetches again
            op.set(kid=f"random-{number}")
            landed = stage.sign_in(stage.new_browser())
            assert landed.url.endswith("?bff_error=token_rejected")
        assert len(op.named("jwks")) == 2
        op.rotate()
        op.set(kid=None)
        time.sleep(5.1)
        stage.accepted(stage.sign_in(three := stage.new_browser()), three)
        assert (len(op.named("discovery")), len(op.named("jwks"))) == (1, 3)
        assert len(op.named("userinfo")) == 3


NAVIGATION = {
    "Sec-Fetch-Site": "none",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
}


class InProcess:
    """The site in this process, with an issuer that it has never seen."""

    def __init__(self, op: Op, settings: Any) -> None:
        self.op, self.client, self._settings = op, Client(HTTP_HOST="localhost"), settings
        op.reset()
        op.site = "http://localhost:8000"
        settings.OAUTHBFF = {
            **settings.OAUTHBFF,
            "BASE_URL": op.site,
            "CLAIMS_HOOK": None,
            "USERINFO": True,
        }
        settings.OIDC_RP_CLIENT_ID = CLIENT_ID
        settings.OIDC_RP_CLIENT_SECRET = CLIENT_SECRET
        settings.OIDC_RP_SIGN_ALGO = "RS256"
        settings.OIDC_OP_ISSUER = op.issuer

    def algorithm(self, name: str) -> None:
        self._settings.OIDC_RP_SIGN_ALGO = name

    def sign_in(self) -> str:
        """Return where the browser ends: an address of ours."""
        away = self.client.get("/bff/login/", headers=NAVIGATION)
        if away.status_code != 302:
            assert away.status_code == 303
            return str(away["Location"])
        url = urllib.parse.urlsplit(away["Location"])
        assert url.scheme == "http", away["Location"]
        assert url.hostname == "127.0.0.1", away["Location"]
        line = http.client.HTTPConnection("127.0.0.1", url.port or 0, timeout=10)
        line.request("GET", f"{url.path}?{url.query}")
        back = line.getresponse()
        back.read()
        line.close()
        location = back.getheader("Location") or ""
        assert location.startswith(f"{self.op.site}/bff/callback/"), location
        landed = self.client.get(location.removeprefix(self.op.site), headers=NAVIGATION)
        assert landed.status_code == 303
        return str(landed["Location"])

    @property
    def is_signed_in(self) -> bool:
        answer = self.client.get("/bff/session/", headers={"X-BFF": "1"})
        assert answer.status_code == 200
        return bool(answer.json()["authenticated"])


@pytest.fixture
def fresh(provider: MutatingProvider, settings: Any, request: pytest.FixtureRequest) -> InProcess:
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())
    return InProcess(provider.issuer(name, keys=3), settings)


def document(name: str, does: str, changes: Mapping[str, Any] | None = None, **sets: Any) -> Row:
    sets = {"metadata": changes} if changes is not None else sets
    part = CONFIG if "module" in sets else DOCUMENT
    module, old = sets.pop("module", ""), sets.pop("old", "")
    return Row(part=part, name=name, does=does, sets=sets, verdict=NONSENSE, module=module, old=old)


@rows(
    Row(
        part=CONFIG,
        name="C3-issuer",
        does="the metadata's `issuer` + `INVALID`",
        module="oidcc-client-test-discovery-issuer-mismatch",
        old="rp-discovery-issuer-not-matching-config",
        sets={"metadata": {"issuer": plus("INVALID")}},
        verdict=NONSENSE,
    ),
    document("issuer-slash", "`issuer` without the last slash", {"issuer": lambda v: v[:-1]}),
    document("issuer-absent", "no `issuer`", {"issuer": ABSENT}),
    document(
        "issuer-mix-up",
        "A.6: `issuer` is another provider's",
        {"issuer": "https://honest.example/"},
    ),
    document(
        "authorize-http",
        "authorization_endpoint is http",
        {"authorization_endpoint": "http://op.example/authorize"},
    ),
    document(
        "authorize-script",
        "authorization_endpoint is `javascript:`",
        {"authorization_endpoint": "javascript:alert(1)"},
    ),
    document("authorize-absent", "no authorization_endpoint", {"authorization_endpoint": ABSENT}),
    document(
        "authorize-fragment",
        "authorization_endpoint with a fragment",
        {"authorization_endpoint": plus("#x")},
    ),
    document("token-http", "token_endpoint is http", {"token_endpoint": "http://op.example/token"}),
    document("token-relative", "token_endpoint is a path", {"token_endpoint": "/token"}),
    document("token-broken", "token_endpoint is no URL", {"token_endpoint": "https://[x/"}),
    document("jwks-http", "jwks_uri is http", {"jwks_uri": "http://op.example/jwks"}),
    document("jwks-file", "jwks_uri is `file:`", {"jwks_uri": "file:///etc/passwd"}),
    document("jwks-absent", "no jwks_uri", {"jwks_uri": ABSENT}),
    document(
        "userinfo-http", "userinfo_endpoint is http", {"userinfo_endpoint": "http://op.example/me"}
    ),
    document(
        "revoke-http", "revocation_endpoint is http", {"revocation_endpoint": "http://op.example/r"}
    ),
    document(
        "end-session-http",
        "end_session_endpoint is http",
        {"end_session_endpoint": "http://op.example/e"},
    ),
    document("404", "404", metadata_reply=Reply(status=404)),
    document("500", "500", metadata_reply=Reply(status=500)),
    document("html", "HTML", metadata_reply=Reply(body="<html>")),
    document("list", "a JSON list", metadata_reply=Reply(body=[])),
    document("huge", "two megabytes", metadata_reply=Reply(body=b" " * 2_000_000)),
    document("gone", "hangs up", metadata_reply=Reply(hang_up=True)),
)
def test_metadata_that_stop_before_the_authorization_request(fresh: InProcess, row: Row):
    """No database is allowed here: nothing is written."""
    fresh.op.set(**row.switches(fresh.op))
    assert fresh.sign_in() == f"/bff/error/?bff_error={NONSENSE}"
    assert not fresh.client.cookies
    assert {call.name for call in fresh.op.calls} == {"discovery"}


@shows(DOCUMENT, "the metadata redirect to good ones elsewhere", NONSENSE)
def test_metadata_that_redirect(fresh: InProcess, provider: MutatingProvider):
    good = provider.issuer("redirected-to")
    location = {"Location": f"{good.base}.well-known/openid-configuration"}
    fresh.op.set(metadata_reply=Reply(status=302, headers=location))
    assert fresh.sign_in() == f"/bff/error/?bff_error={NONSENSE}"
    assert not good.calls


@shows(
    CONFIG,
    "counts the call for the metadata; the issuer has a path and a trailing slash",
    ACCEPT,
    "oidcc-client-test-discovery-openid-config",
    "rp-discovery-openid-configuration",
)
@pytest.mark.django_db
def test_discovery_by_the_letter(fresh: InProcess):
    assert fresh.sign_in() == "/"
    [asked] = fresh.op.named("discovery")
    assert asked.path == f"/test/a/{fresh.op.name}/.well-known/openid-configuration"


@shows(
    CONFIG,
    "jwks_uri ends in something random",
    ACCEPT,
    "oidcc-client-test-discovery-jwks-uri-keys",
    "rp-discovery-jwks_uri-keys",
)
@pytest.mark.django_db
def test_the_key_set_is_where_the_metadata_say(fresh: InProcess):
    assert fresh.sign_in() == "/"
    order = [call.name for call in fresh.op.calls]
    assert order == ["discovery", "authorize", "token", "jwks", "userinfo"]


def keys(name: str, does: str, sets: Setting, reason: str = "", **more: Any) -> Row:
    return Row(
        part=more.pop("part", DOCUMENT),
        name=name,
        does=does,
        sets=sets,
        verdict=REJECT if reason else ACCEPT,
        reason=reason,
        **more,
    )


def same_kid(op: Op) -> list[Any]:
    """Ed25519, P-256, a stranger's RSA and ours: all under one name, ours in the middle."""
    kid = op.key("RSA").kid
    strangers = [Key(pair(kind, 91), kid).public() for kind in ("Ed25519", "P-256", "RSA")]
    return [*strangers, op.key("RSA").public(), Key(pair("RSA", 92), kid).public()]


@rows(
    keys(
        "B6-kid-absent-single",
        "no `kid`; one key",
        {"kid": ABSENT, "jwks": lambda op: [op.key("RSA").public(kid=None)]},
        part=BASIC,
        module="oidcc-client-test-kid-absent-single-jwks",
        old="rp-id_token-kid-absent-single-jwks",
    ),
    keys(
        "B7-kid-absent-nameless-keys",
        "no `kid`; three RSA and three of each other kind, none has a name",
        {
            "kid": ABSENT,
            "jwks": lambda op: [
                *(
                    Key(pair(kind, 93 + n), None).public()
                    for kind in ("P-256", "secp256k1", "Ed25519")
                    for n in range(3)
                ),
                Key(pair("RSA", 93), None).public(),
                Key(pair("RSA", 94), None).public(),
                op.key("RSA").public(kid=None),
            ],
        },
        part=BASIC,
        module="oidcc-client-test-kid-absent-multiple-jwks",
        old="rp-id_token-kid-absent-multiple-jwks",
    ),
    keys("same-kid", "five keys under one `kid`, ours in the middle", {"jwks": same_kid}),
    keys(
        "alg-of-key",
        "the key says `alg` RS256",
        {"jwks": lambda op: [op.key("RSA").public(alg="RS256")]},
    ),
    keys(
        "alg-of-key-other",
        "the key says `alg` PS256",
        {"jwks": lambda op: [op.key("RSA").public(alg="PS256")]},
        "unknown_key",
    ),
    keys(
        "use-enc",
        "the only key is for encryption",
        {"jwks": lambda op: [op.key("RSA").public(use="enc")]},
        "unknown_key",
    ),
    keys(
        "key-ops",
        "the only key's key_ops are [encrypt]",
        {"jwks": lambda op: [op.key("RSA").public(key_ops=["encrypt"])]},
        "unknown_key",
    ),
    keys(
        "use-absent",
        "the key does not say what for",
        {"jwks": lambda op: [op.key("RSA").public(use=None)]},
    ),
    keys(
        "private",
        "the key set has private members",
        {
            "jwks": lambda op: [
                {**op.key("RSA").pair.as_dict(private=True), "kid": op.key("RSA").kid}
            ]
        },
    ),
    keys(
        "small",
        "RSA of 1024 bits",
        lambda op: {
            "key": Key(pair("RSA-1024", 0), "small"),
            "jwks": lambda op: [Key(pair("RSA-1024", 0), "small").public()],
        },
        "unknown_key",
    ),
    keys("empty", "an empty key set", {"jwks": lambda op: []}, "unknown_key"),
    keys(
        "rubbish",
        "rubbish between the keys",
        {
            "jwks": lambda op: [
                None,
                7,
                "x",
                [],
                {},
                {"kty": "RSA"},
                {"kty": "RSA", "n": "!", "e": "AQAB", "kid": op.key("RSA").kid},
                {"kty": "oct", "k": "c2VjcmV0", "kid": op.key("RSA").kid},
                op.key("RSA").public(),
            ]
        },
    ),
    keys(
        "no-names-itself",
        "neither promises nor sends `iss` in its responses",
        {
            "metadata": {"authorization_response_iss_parameter_supported": ABSENT},
            "response": {"iss": ABSENT},
        },
    ),
    keys(
        "no-pkce-metadata",
        "does not say that it knows PKCE",
        {"metadata": {"code_challenge_methods_supported": ABSENT}},
    ),
    keys(
        "post",
        "takes client_secret_post alone",
        {
            "metadata": {"token_endpoint_auth_methods_supported": ["client_secret_post"]},
            "authentication": "client_secret_post",
        },
        old="rp-token_endpoint-client_secret_post",
    ),
    keys(
        "query",
        "endpoints that have a query",
        {
            "metadata": {
                "authorization_endpoint": plus("?tenant=a"),
                "token_endpoint": plus("?tenant=a"),
            }
        },
    ),
    Row(
        part=RESPONSE,
        name="code-long",
        does="a `code` of 5000 characters (most servers stop it: 414)",
        sets={"response": {"code": "x" * 5000}},
        verdict="bad_response",
    ),
    keys("no-userinfo", "has no UserInfo", {"metadata": {"userinfo_endpoint": ABSENT}}),
)
@pytest.mark.django_db
def test_documents(fresh: InProcess, row: Row):
    fresh.op.set(**row.switches(fresh.op))
    landed = fresh.sign_in()
    if row.verdict == ACCEPT:
        assert landed == "/"
        assert fresh.is_signed_in
        return
    judge_refusal(fresh, landed, row.verdict)


def judge_refusal(fresh: InProcess, landed: str, code: str) -> None:
    from django.contrib.auth.models import User

    from oauthbff.models import TokenGrant

    assert landed == f"/bff/error/?bff_error={code}"
    assert not fresh.is_signed_in
    assert not fresh.op.live, "tokens were received and not given back"
    assert not fresh.op.named("userinfo", "elsewhere")
    assert not User.objects.exists()
    assert not TokenGrant.objects.exists()
    assert not [name for name, morsel in fresh.client.cookies.items() if morsel.value]


@rows(
    *(
        document(f"jwks-{name}", f"the key set is {does}", jwks_reply=reply)
        for name, does, reply in (
            ("404", "a 404", Reply(status=404)),
            ("500", "a 500", Reply(status=500)),
            ("html", "HTML", Reply(body="<html>")),
            ("no-keys", "{}", Reply(body={})),
            ("keys-object", "an object for keys", Reply(body={"keys": {}})),
            ("huge", "two megabytes", Reply(body=b" " * 2_000_000)),
        )
    )
)
@pytest.mark.django_db
def test_key_sets_that_cannot_be_had(fresh: InProcess, row: Row):
    fresh.op.set(**row.switches(fresh.op))
    judge_refusal(fresh, fresh.sign_in(), row.verdict)


def algorithm(name: str, does: str, sets: Setting, reason: str = "", **more: Any) -> Row:
    return keys(name, does, sets, reason, part=more.pop("part", SIGNATURE), **more)


@rows(
    algorithm("ES256", "ES256, as registered", {}, old="rp-id_token-sig-es256"),
    algorithm(
        "ES256-signature",
        "ES256, each byte of the signature XOR 0x5A",
        {"signature": xor},
        "bad_signature",
        part=BASIC,
        module="oidcc-client-test-invalid-sig-es256",
        old="rp-id_token-bad-sig-es256",
    ),
    algorithm(
        "ES256-zero",
        "ES256, the signature is 64 zero bytes",
        {"signature": lambda _: bytes(64)},
        "bad_signature",
    ),
    algorithm(
        "ES256-der",
        "ES256, a signature of another length",
        {"signature": lambda s: b"\x30" + s},
        "bad_signature",
    ),
    algorithm(
        "ES256-rs256",
        "RS256 by a key of the set, ES256 registered",
        {"algorithm": "RS256"},
        "alg_wrong",
    ),
    algorithm("PS256", "PS256, as registered", {}),
    algorithm(
        "PS256-signature",
        "PS256, each byte of the signature XOR 0x5A",
        {"signature": xor},
        "bad_signature",
    ),
    algorithm("EdDSA", "EdDSA, as registered", {}),
    algorithm(
        "EdDSA-signature",
        "EdDSA, each byte of the signature XOR 0x5A",
        {"signature": xor},
        "bad_signature",
    ),
    algorithm("Ed25519", "Ed25519, the new name of EdDSA, as registered", {}),
)
@pytest.mark.django_db
def test_other_algorithms(fresh: InProcess, row: Row):
    registered = row.name.partition("-")[0]
    fresh.algorithm(registered)
    at_hash = {"at_hash": ABSENT} if registered.startswith("Ed") else {}
    fresh.op.set(**{"algorithm": registered, "claims": at_hash, **row.switches(fresh.op)})
    landed = fresh.sign_in()
    if row.verdict == ACCEPT:
        assert landed == "/"
        assert fresh.is_signed_in
    else:
        judge_refusal(fresh, landed, row.verdict)


@shows(SIGNATURE, "(our own settings) `none` or HMAC as the registered algorithm", "does not start")
def test_none_and_hmac_cannot_be_configured(fresh: InProcess):
    for name in ("none", "HS256", "HS384", "HS512"):
        fresh.algorithm(name)
        with pytest.raises(Misconfigured, match="never accepted"):
            conf()


# ------------------------------------------------------------------------- found by this table


@pytest.mark.parametrize("aud", [7, {CLIENT_ID: 1}, True])
def test_signed_userinfo_with_an_odd_audience(stage: Stage, aud: Any):
    stage.op.set(userinfo_jwt={}, userinfo={"aud": aud})
    stage.refused(stage.sign_in(), REJECT, "userinfo_aud_wrong", userinfo=1)


@pytest.mark.parametrize("answer", [{"token_type": "mac"}, {"access_token": ABSENT}])
def test_tokens_of_a_refused_response(stage: Stage, answer: Mapping[str, Any]):
    stage.op.set(answer=answer)
    stage.refused(stage.sign_in(), NONSENSE)


@pytest.mark.parametrize("claims", [{"auth_time": 5}, {"nonce": "another"}])
def test_refreshed_id_token_of_another_sign_in(refreshing: Stage, claims: Mapping[str, Any]):
    refreshing.op.set(refreshed=claims, expires_in=3600)
    assert refreshing.browser.fetch("api/photos/1").status == 401


def test_a_logout_token_of_somebody_else_stops_no_sign_in(stage: Stage):
    stage.op.subject, stage.op.sid = "bob", "sid-bob"
    ahead = {"sub": "jane", "sid": "sid-bob", "iat": soon(5)}
    assert stage.op.logout(stage.op.logout_token(ahead)) == 200
    stage.accepted(stage.sign_in())


def test_metadata_with_a_member_twice(fresh: InProcess):
    text = json.dumps(fresh.op.metadata())
    twice = '{"token_endpoint": "https://evil.example/", ' + text[1:]
    fresh.op.set(metadata_reply=Reply(body=twice.encode()))
    away = fresh.client.get("/bff/login/", headers=NAVIGATION)
    assert away.status_code == 303


# --------------------------------------------------------------------------------- helpers


def _of(url: str, name: str) -> str:
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))[name]


def _with(url: str, **changes: str) -> str:
    parts = urllib.parse.urlsplit(url)
    query = {**dict(urllib.parse.parse_qsl(parts.query)), **changes}
    return parts._replace(query=urllib.parse.urlencode(query)).geturl()


def _pending(browser: Browser) -> list[str]:
    return [name for name in browser.cookies if name.startswith(COOKIE_PREFIX)]


def _cookie_of(callback: str) -> str:
    state = _of(callback, "state")
    bare = {"nonce": "", "code_verifier": "", "issuer": "", "return_to": "", "started_at": 0}
    return Transaction(state=state, **bare).cookie
