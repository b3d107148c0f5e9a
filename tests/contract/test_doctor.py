"""manage.py oauthbff_doctor and oauthbff_key: what is judged, and what is asked.

Above, tables of the pure judgement; below, the commands against the real provider.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import pytest
from django.test import override_settings
from joserfc import jwk

from oauthbff import client_auth, diagnosis
from oauthbff.conf import Conf, Upstream, conf
from oauthbff.diagnosis import Finding, Mark
from oauthbff.management.commands.oauthbff_doctor import our_addresses
from tests.support.ports import LOOPBACK, free_port
from tests.support.provider import CLIENT_SECRET, NodeProvider
from tests.support.site import KEY, Site

NOW = 1_800_000_000.0
ISSUER = "https://id.example.com"
METADATA: dict[str, Any] = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/auth",
    "token_endpoint": f"{ISSUER}/token",
    "jwks_uri": f"{ISSUER}/keys",
    "userinfo_endpoint": f"{ISSUER}/me",
    "revocation_endpoint": f"{ISSUER}/revoke",
    "end_session_endpoint": f"{ISSUER}/end",
    "response_types_supported": ["code"],
    "response_modes_supported": ["query", "form_post"],
    "grant_types_supported": ["authorization_code", "refresh_token"],
    "code_challenge_methods_supported": ["S256"],
    "id_token_signing_alg_values_supported": ["RS256"],
    "token_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt"],
    "scopes_supported": ["openid", "email"],
    "authorization_response_iss_parameter_supported": True,
    "backchannel_logout_supported": True,
    "backchannel_logout_session_supported": True,
}
RSA = {"kty": "RSA", "e": "AQAB", "n": base64.urlsafe_b64encode(b"\xff" * 256).decode().rstrip("=")}
EC = {"kty": "EC", "crv": "P-256", "x": "x", "y": "y"}
OK, WARNING, PROBLEM = Mark.OK, Mark.WARNING, Mark.PROBLEM


def ours(**changes: Any) -> Conf:
    base = {"base_url": "https://app.example.com", "issuer": ISSUER, "scopes": ("openid", "email")}
    return replace(conf(), **(base | changes))


def judged(changes: dict[str, Any], settings: Conf, method: str = "client_secret_basic") -> Any:
    """The findings of changed metadata by their check; None removes a member."""
    document = {k: v for k, v in (METADATA | changes).items() if v is not None}
    return {
        finding.check.removeprefix("provider."): finding
        for finding in diagnosis.judge_metadata(document, settings, method=method)
    }


def test_a_provider_that_fits_gets_no_word_of_blame():
    found = judged({}, ours()).values()

    assert {finding.mark for finding in found} == {OK}
    assert len(found) == 13


@pytest.mark.parametrize(
    ("changes", "settings", "check", "mark", "word"),
    [
        ({"issuer": ISSUER + "/"}, {}, "issuer", PROBLEM, ISSUER + "/"),
        ({"issuer": None}, {}, "issuer", PROBLEM, "None"),
        ({"issuer": ["\x1b[2J"]}, {}, "issuer", PROBLEM, "OIDC_OP_ISSUER"),
        ({"jwks_uri": None}, {}, "endpoints", PROBLEM, "no jwks_uri"),
        ({"jwks_uri": 7}, {}, "endpoints", PROBLEM, "7"),
        ({"token_endpoint": "http://id.example.com/"}, {}, "endpoints", PROBLEM, "https"),
        ({"token_endpoint": "http://[::1/"}, {}, "endpoints", PROBLEM, "token_endpoint"),
        ({"token_endpoint": "http://127.0.0.1/"}, {}, "endpoints", PROBLEM, "127.0.0.1"),
        ({"revocation_endpoint": "ftp://x/"}, {}, "endpoints", PROBLEM, "ftp"),
        ({"response_types_supported": ["id_token"]}, {}, "code_flow", PROBLEM, "id_token"),
        ({"response_types_supported": None}, {}, "code_flow", WARNING, "does not say"),
        ({"response_modes_supported": ["form_post"]}, {}, "code_flow", PROBLEM, "form_post"),
        ({"grant_types_supported": ["implicit"]}, {}, "code_flow", PROBLEM, "implicit"),
        ({"code_challenge_methods_supported": None}, {}, "pkce", WARNING, "state and nonce"),
        ({"code_challenge_methods_supported": "S256"}, {}, "pkce", WARNING, "does not advertise"),
        ({"code_challenge_methods_supported": ["plain"]}, {}, "pkce", PROBLEM, "plain"),
        ({}, {"sign_algorithm": "ES256"}, "algorithm", PROBLEM, "OIDC_RP_SIGN_ALGO to RS256"),
        (
            {"id_token_signing_alg_values_supported": ["HS256", "none"]},
            {},
            "algorithm",
            PROBLEM,
            "none of these",
        ),
        (
            {"id_token_signing_alg_values_supported": ["RS256", "Ed25519"]},
            {"sign_algorithm": "EdDSA"},
            "algorithm",
            OK,
            "id_token_signed_response_alg",
        ),
        ({"id_token_signing_alg_values_supported": None}, {}, "algorithm", WARNING, "RS256 only"),
        ({"scopes_supported": None}, {}, "scopes", OK, "need not"),
        ({"scopes_supported": ["openid"]}, {}, "scopes", WARNING, "email"),
        ({"grant_types_supported": None}, {}, "refresh", WARNING, "does not say"),
        ({"grant_types_supported": ["authorization_code"]}, {}, "refresh", WARNING, "not support"),
        (
            {"scopes_supported": ["openid", "email", "offline_access"]},
            {},
            "offline_access",
            WARNING,
            "may be no refresh token",
        ),
        ({}, {"scopes": ("openid", "offline_access")}, "offline_access", OK, "outlive"),
        (
            {"token_endpoint_auth_methods_supported": ["client_secret_post", "x"]},
            {},
            "client_auth",
            PROBLEM,
            "client_secret_post",
        ),
        ({"token_endpoint_auth_methods_supported": None}, {}, "client_auth", OK, "basic"),
        ({"revocation_endpoint": None}, {}, "revocation", WARNING, "local only"),
        (
            {"revocation_endpoint_auth_methods_supported": ["none"]},
            {},
            "revocation",
            WARNING,
            "does not list",
        ),
        ({"end_session_endpoint": None}, {}, "end_session", WARNING, "not the provider's"),
        (
            {"authorization_response_iss_parameter_supported": "yes"},
            {},
            "iss",
            OK,
            "does not name itself",
        ),
        ({"userinfo_endpoint": None}, {}, "userinfo", WARNING, "USERINFO"),
        ({"userinfo_endpoint": None}, {"userinfo": False}, "userinfo", OK, "not asked"),
        ({"require_pushed_authorization_requests": True}, {}, "par", PROBLEM, "not where"),
        ({}, {"par": True}, "par", PROBLEM, "PAR"),
        (
            {"pushed_authorization_request_endpoint": f"{ISSUER}/par"},
            {},
            "par",
            OK,
            "offers",
        ),
        (
            {
                "pushed_authorization_request_endpoint": f"{ISSUER}/par",
                "require_pushed_authorization_requests": True,
            },
            {},
            "par",
            OK,
            "requires",
        ),
    ],
)
def test_what_the_metadata_lacks_is_named(
    changes: dict[str, Any], settings: dict[str, Any], check: str, mark: Mark, word: str
):
    finding = judged(changes, ours(**settings))[check]

    assert finding.mark is mark, finding
    assert word in f"{finding.fact} {finding.advice}"
    assert "\x1b" not in finding.fact


def test_a_loopback_issuer_may_have_loopback_endpoints():
    issuer = "http://127.0.0.1:9000"
    endpoints = {name: f"{issuer}/x" for name in METADATA if name.endswith(("_endpoint", "_uri"))}
    assert judged({"issuer": issuer, **endpoints}, ours(issuer=issuer))["endpoints"].mark is OK


@pytest.mark.parametrize(
    ("algorithms", "mark"), [(None, OK), (["ES256", "RS256"], OK), (["RS256"], PROBLEM)]
)
def test_the_client_key_must_sign_as_the_provider_reads(algorithms: list[str] | None, mark: Mark):
    key = client_auth.read_key(json.dumps(jwk.generate_key("EC", "P-256").as_dict(private=True)))
    changes = {"token_endpoint_auth_signing_alg_values_supported": algorithms}
    finding = judged(changes, ours(client_key=key), "private_key_jwt")["client_auth"]

    assert finding.mark is mark
    assert "ES256" in finding.fact


@pytest.mark.parametrize(
    ("keys", "algorithm", "mark", "word"),
    [
        ([RSA, EC], "RS256", OK, "1 of its 2 keys"),
        ([RSA | {"use": "enc"}, EC], "RS256", PROBLEM, "Its keys fit ES256"),
        ([RSA | {"n": "AQAB"}], "PS256", PROBLEM, "None of its 1 key"),
        ([], "RS256", PROBLEM, "fits any"),
        ([{"kty": 7, "key_ops": 7}], "EdDSA", PROBLEM, "fits any"),
    ],
)
def test_keys_count_when_they_can_verify(
    keys: list[dict[str, Any]], algorithm: str, mark: Mark, word: str
):
    finding = diagnosis.judge_keys(keys, ours(sign_algorithm=algorithm))

    assert finding.mark is mark
    assert word in f"{finding.fact} {finding.advice}"


@pytest.mark.parametrize(
    ("headers", "mark", "word"),
    [
        ({"date": formatdate(NOW - 4, usegmt=True)}, OK, "agree"),
        ({"date": formatdate(NOW - 6, usegmt=True)}, WARNING, "6 s ahead of"),
        ({"date": formatdate(NOW + 60, usegmt=True)}, WARNING, "60 s behind"),
        ({"date": formatdate(NOW + 61, usegmt=True)}, PROBLEM, "61 s behind"),
        ({"date": formatdate(NOW - 500, usegmt=True), "age": "500"}, OK, "agree"),
        ({"date": "yesterday"}, WARNING, "no Date"),
        ({}, WARNING, "no Date"),
    ],
)
def test_clocks_are_compared(headers: dict[str, str], mark: Mark, word: str):
    finding = diagnosis.judge_clock(headers, NOW)

    assert finding.mark is mark
    assert word in finding.fact


@pytest.mark.parametrize(
    ("changes", "settings", "mark", "word"),
    [
        ({}, {}, OK, "https://app.example.com/out"),
        ({"backchannel_logout_session_supported": False}, {}, WARNING, "all of a person's"),
        ({"backchannel_logout_supported": None}, {}, WARNING, "does not tell"),
        ({}, {"base_url": "http://localhost:8000"}, WARNING, "cannot reach"),
        ({}, {"base_url": "http://localhost:8000", "issuer": "http://127.0.0.1"}, OK, "Register"),
    ],
)
def test_back_channel_logout_says_what_to_register(
    changes: dict[str, Any], settings: dict[str, Any], mark: Mark, word: str
):
    current = ours(**settings)
    finding = diagnosis.judge_backchannel(METADATA | changes, current, f"{current.base_url}/out")

    assert finding.mark is mark
    assert word in f"{finding.fact} {finding.advice}"


@pytest.mark.parametrize(
    ("finding", "mark"),
    [
        (diagnosis.judge_answer(ISSUER, 20, ours(provider_timeout=10)), OK),
        (diagnosis.judge_answer(ISSUER, 6000, ours(provider_timeout=10)), WARNING),
        (diagnosis.judge_database("sqlite", []), OK),
        (diagnosis.judge_database("sqlite", ["shop.0001_initial"]), WARNING),
        (diagnosis.judge_database("sqlite", ["shop.0001", "oauthbff.0002_x"]), PROBLEM),
        (diagnosis.judge_cache("django.core.cache.backends.redis.RedisCache"), OK),
        (diagnosis.judge_cache("django.core.cache.backends.filebased.FileBasedCache"), OK),
        (diagnosis.judge_cache("django.core.cache.backends.locmem.LocMemCache"), WARNING),
        (diagnosis.judge_cache("django.core.cache.backends.dummy.DummyCache"), WARNING),
        (diagnosis.judge_sweeping(False), OK),
        (diagnosis.judge_sweeping(True), WARNING),
    ],
)
def test_the_site_is_judged(finding: Finding, mark: Mark):
    assert finding.mark is mark
    assert (mark is OK) or finding.advice


def test_sessions_in_a_cache_of_one_process_are_a_problem():
    engine = "django.contrib.sessions.backends.cache"
    locmem = "django.core.cache.backends.locmem.LocMemCache"

    assert [f.mark for f in diagnosis.judge_sessions(engine, locmem)] == [PROBLEM]
    assert diagnosis.judge_sessions(engine, "django.core.cache.backends.redis.RedisCache") == []
    assert diagnosis.judge_sessions("django.contrib.sessions.backends.cached_db", locmem) == []


def test_an_upstream_is_reached_or_not_and_in_clear_or_not():
    safe = Upstream(name="photos", url="https://photos.example.com/v1/")
    clear = Upstream(name="news", url="http://news.internal/", allow_insecure_http=True)
    near = Upstream(name="near", url="http://127.0.0.1:9/")

    assert [f.mark for f in diagnosis.judge_upstream(safe, 3.0)] == [OK]
    assert [f.mark for f in diagnosis.judge_upstream(near, 3.0)] == [OK]
    assert [f.mark for f in diagnosis.judge_upstream(clear, 3.0)] == [OK, WARNING]
    [failed] = diagnosis.judge_upstream(safe, None, "its name is not known")
    assert failed.mark is PROBLEM
    assert "its name is not known" in failed.fact


def test_secrets_and_passwords_in_urls_are_taken_out():
    said = "'http://me:pw@id.example.com/' and long-secret-one, and short"
    told = diagnosis.redact(said, ["long-secret", "long-secret-one", "short"])
    assert told == "'http://…@id.example.com/' and …, and short"


def test_foreign_text_is_short_and_harmless():
    assert diagnosis.plain("a\x1b[31m\nb\u202ec") == "a?[31m?b?c"
    assert len(diagnosis.plain("x" * 1000)) == diagnosis.LONGEST_QUOTE


# --- the commands ---


@contextmanager
def changed(site: Site, **env: str) -> Iterator[None]:
    """The site's environment with other values, for commands."""
    before = site.env
    site.env = {**before, **env}
    try:
        yield
    finally:
        site.env = before


def marks(site: Site, *, expect: int) -> dict[str, dict[str, str]]:
    said = site.manage("oauthbff_doctor", "--json", expect=expect)
    return {finding["check"]: finding for finding in json.loads(said)}


def test_a_healthy_site_has_no_problems(site: Site, provider: NodeProvider):
    said = site.manage("oauthbff_doctor", "--no-color")

    assert "problem " not in said
    assert "0 problems, 2 warnings." in said  # offline_access, LocMemCache
    assert f"{site.base_url}/bff/callback/\n" in said
    assert f"{site.base_url}/bff/logged-out/\n" in said
    assert f"{site.base_url}/bff/backchannel-logout/ " in said
    assert "\x1b" not in said
    assert {call.path for call in provider.log()} == {"/.well-known/openid-configuration", "/jwks"}


def test_the_wrong_algorithm_is_named_with_the_right_ones(site: Site):
    with changed(site, OIDC_RP_SIGN_ALGO="ES384"):
        found = marks(site, expect=1)

    wrong = {check for check, finding in found.items() if finding["mark"] == "problem"}
    assert wrong == {"provider.algorithm", "provider.keys"}
    assert "RS256 or PS256 or ES256" in found["provider.algorithm"]["advice"]
    assert set(found["provider.keys"]) == {"check", "mark", "fact", "advice"}


def test_what_the_provider_itself_says_wrong_is_found(site: Site, provider: NodeProvider):
    provider.fault(
        "/.well-known/openid-configuration",
        times=0,
        patch={"issuer": "https://else.example", "jwks_uri": "http://else.example/jwks"},
    )
    found = marks(site, expect=1)

    wrong = {check for check, finding in found.items() if finding["mark"] == "problem"}
    assert wrong == {"provider.issuer", "provider.endpoints", "provider.keys"}
    assert found["provider.client_auth"]["mark"] == "warning"


@pytest.mark.parametrize("how", ["nobody", "status", "html"])
def test_a_provider_that_is_down_is_a_problem_and_the_rest_is_still_told(
    site: Site, provider: NodeProvider, how: str
):
    if how == "status":
        provider.fault("/.well-known/openid-configuration", status=503, body="down")
    if how == "html":
        provider.fault("/.well-known/openid-configuration", status=200, body="<p>Hello")
    issuer = f"http://{LOOPBACK}:{free_port()}" if how == "nobody" else provider.issuer
    with changed(site, OIDC_OP_ISSUER=issuer):
        found = marks(site, expect=1)

    wrong = {check for check, finding in found.items() if finding["mark"] == "problem"}
    assert wrong == {"provider.answer"}
    assert {"provider.redirect_uri", "site.database", "upstreams.photos"} <= set(found)


def test_everything_around_the_site_may_be_down(site: Site):
    nobody = f"{LOOPBACK}:{free_port()}"
    upstreams = {
        "plain": {"url": f"http://{nobody}/"},
        "tls": {"url": site.env["OIDC_OP_ISSUER"].replace("http:", "https:") + "/"},
    }
    with changed(
        site,
        CACHE_URL=f"redis://:cache-password@{nobody}/1",
        DATABASE_URL=f"postgres://bff:database-password@{nobody}/bff",
        OAUTHBFF_UPSTREAMS=json.dumps(upstreams),
    ):
        said = site.manage("oauthbff_doctor", expect=1)

    assert "Traceback" not in said
    assert "password" not in said
    assert "The database cannot be used" in said
    assert "The cache does not answer" in said
    assert "nothing listens there" in said
    assert "TLS handshake failed" in said
    assert "4 problems" in said


def test_misconfigured_settings_are_listed_and_nobody_is_asked(site: Site, provider: NodeProvider):
    wrong = {"OAUTHBFF_KEYS": "", "OIDC_OP_ISSUER": "https://me:hunter2@id.example.com"}
    with changed(site, **wrong):
        found = marks(site, expect=1)
        said = site.manage("oauthbff_doctor", expect=1)

    assert set(found) == {"settings.E006", "settings.E012"}
    assert "oauthbff.E012" in said
    assert "Traceback" not in said
    assert "hunter2" not in said
    assert provider.log() == []


@pytest.mark.parametrize("words", [(), ("--json",), ("--verbosity", "3")])
def test_no_secret_is_shown(site: Site, words: tuple[str, ...]):
    said = site.manage("oauthbff_doctor", *words)

    for secret in (CLIENT_SECRET, KEY, site.env["SECRET_KEY"]):
        assert secret not in said


def test_a_new_key_works_where_there_was_none(site: Site):
    with changed(site, OAUTHBFF_KEYS=""):
        first = site.manage("oauthbff_key", "--id", "2020-01").splitlines()
    other = site.manage("oauthbff_key").splitlines()

    key_id, _, key = first[0].partition(":")
    assert (key_id, len(base64.b64decode(key, validate=True))) == ("2020-01", 32)
    assert first[1] == f'"2020-01": "{key}",'
    assert key not in other[0]
    with changed(site, OAUTHBFF_KEYS=f"{other[0]},{first[0]}"):
        assert marks(site, expect=0)["settings.valid"]["mark"] == "ok"


def test_a_second_key_of_a_month_takes_nobodys_place(site: Site):
    """In the tutorial's `dict(…)` the later of two keys of one id replaces the other."""
    keys = []
    for _ in range(3):
        with changed(site, OAUTHBFF_KEYS=",".join(keys)):
            keys.append(site.manage("oauthbff_key").splitlines()[0])
    month, *others = [key.partition(":")[0] for key in keys]
    assert others == [f"{month}-2", f"{month}-3"]
    with changed(site, OAUTHBFF_KEYS=",".join(keys)):
        assert f"a key {month} already" in site.manage("oauthbff_key", "--id", month, expect=1)


def test_urls_that_do_not_load_are_no_traceback():
    with override_settings(ROOT_URLCONF="no.such.module"):
        assert our_addresses(ours()) is None
    assert our_addresses(ours()) is not None


def test_a_key_needs_a_usable_id(site: Site):
    assert "letters" in site.manage("oauthbff_key", "--id", "a:b", expect=1)
