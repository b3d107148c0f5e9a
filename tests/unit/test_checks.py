"""`manage.py check` says what is wrong, each thing under an id of its own.

Checks of the settings themselves (E001 to E025) are in test_conf.py, whose table this file counts.
"""

from __future__ import annotations

import ast
import logging
import random
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from django.contrib.sessions.backends import signed_cookies
from django.core.checks import run_checks
from django.db.models import Model
from rest_framework.throttling import UserRateThrottle

from oauthbff import checks
from oauthbff import conf as conf_room
from oauthbff.checks.rules import RULES, rule
from oauthbff.checks.site import AUTHENTICATION, BACKEND, CSRF, GRANT, GUARD, SESSION
from tests.support.generated_docs import check_page
from tests.unit.test_conf import BAD

OTHER = "django.middleware.common.CommonMiddleware"


def ids(deploy: bool = True) -> list[str]:
    """What Django's own machinery reports of ours."""
    found = run_checks(tags=["security"], include_deployment_checks=deploy)
    return sorted(str(message.id) for message in found if str(message.id).startswith("oauthbff."))


def test_the_whole_good_configuration_passes() -> None:
    assert ids() == []


SITE = [
    pytest.param("MIDDLEWARE", [SESSION, CSRF, AUTHENTICATION], "E031", id="E031 none"),
    pytest.param("MIDDLEWARE", [GUARD, SESSION, CSRF, AUTHENTICATION], "E031", id="E031 no grant"),
    pytest.param("MIDDLEWARE", [SESSION, CSRF, AUTHENTICATION, GRANT], "E031", id="E031 no guard"),
    pytest.param(
        "MIDDLEWARE",
        [SESSION, GUARD, CSRF, AUTHENTICATION, GRANT],
        "E031",
        id="E031 late guard",
    ),
    pytest.param(
        "MIDDLEWARE",
        [GUARD, SESSION, CSRF, GRANT, AUTHENTICATION],
        "E031",
        id="E031 early grant",
    ),
    pytest.param(
        "MIDDLEWARE", [GUARD, GUARD, SESSION, CSRF, AUTHENTICATION, GRANT], "E031", id="E031 twice"
    ),
    pytest.param(
        "AUTHENTICATION_BACKENDS",
        ["django.contrib.auth.backends.ModelBackend"],
        "E032",
        id="E032 no backend",
    ),
    pytest.param("USE_TZ", False, "E045", id="E045 off"),
    pytest.param("OIDC_STORE_ACCESS_TOKEN", True, "E033", id="E033 access token"),
    pytest.param("OIDC_STORE_ID_TOKEN", True, "E033", id="E033 ID token"),
    pytest.param("OIDC_ALLOW_UNSECURED_JWT", True, "E033", id="E033 unsecured"),
    pytest.param("OIDC_VERIFY_SSL", False, "E034", id="E034 off"),
    pytest.param("OIDC_VERIFY_SSL", "/ca.pem", "E034", id="E034 a path"),
    pytest.param(
        "MIDDLEWARE",
        [
            *(GUARD, SESSION, CSRF, AUTHENTICATION, GRANT),
            "mozilla_django_oidc.middleware.SessionRefresh",
        ],
        "E035",
        id="E035 SessionRefresh",
    ),
    pytest.param("SESSION_COOKIE_SAMESITE", "None", "E036", id="E036 None"),
    pytest.param("SESSION_COOKIE_SAMESITE", None, "E036", id="E036 absent"),
    pytest.param("SESSION_COOKIE_SAMESITE", False, "E036", id="E036 False"),
    pytest.param("SESSION_COOKIE_SECURE", False, "W040", id="W040 not Secure"),
    pytest.param("SESSION_COOKIE_HTTPONLY", False, "W040", id="W040 not HttpOnly"),
    pytest.param("SESSION_COOKIE_NAME", "sessionid", "W041", id="W041 a plain name"),
    pytest.param("SESSION_COOKIE_NAME", "__Secure-x", "W041", id="W041 a weak prefix"),
    pytest.param("SESSION_COOKIE_DOMAIN", ".example.com", "E044", id="E044 a Domain"),
    pytest.param("SESSION_COOKIE_PATH", "/app/", "E044", id="E044 a Path"),
    pytest.param("CSRF_COOKIE_PATH", "/app/", "E044", id="E044 a Path for CSRF"),
    pytest.param("CSRF_COOKIE_HTTPONLY", False, "E044", id="E044 a script"),
    pytest.param("ROOT_URLCONF", "tests.unit.test_checks", "W053", id="W053 no doors"),
    pytest.param("SESSION_SAVE_EVERY_REQUEST", True, "W043", id="W043 saves always"),
    pytest.param("OIDC_USE_PKCE", False, "E039", id="E039 off"),
    pytest.param("OIDC_PKCE_CODE_CHALLENGE_METHOD", "plain", "E039", id="E039 plain"),
    pytest.param("MIDDLEWARE", [GUARD, SESSION, AUTHENTICATION, GRANT], "E040", id="E040 none"),
    pytest.param("CSRF_TRUSTED_ORIGINS", ["https://*.example.com"], "E041", id="E041 wildcard"),
    pytest.param("CSRF_COOKIE_SECURE", False, "W045", id="W045 not Secure"),
    pytest.param("CSRF_COOKIE_DOMAIN", ".example.com", "W045", id="W045 a Domain"),
    pytest.param(
        "DEFAULT_EXCEPTION_REPORTER", "django.views.debug.ExceptionReporter", "W051", id="W051"
    ),
    pytest.param(
        "DEFAULT_EXCEPTION_REPORTER_FILTER",
        "django.views.debug.SafeExceptionReporterFilter",
        "W051",
        id="W051 the filter",
    ),
    pytest.param("DEFAULT_EXCEPTION_REPORTER", "no.such.Reporter", "W051", id="W051 no such"),
    pytest.param("OIDC_USERNAME_ALGO", "project.people.nobody", "E042", id="E042 username"),
    pytest.param("SESSION_ENGINE", "no.such.engine", "E043", id="E043 no such"),
    pytest.param("TEMPLATES", [], "E046", id="E046"),
    pytest.param("SESSION_ENGINE", "os.path", "E043", id="E043 no engine"),
    pytest.param("SESSION_ENGINE", "tests.unit.test_checks", "E043", id="E043 in the cookie"),
]


class SessionStore(signed_cookies.SessionStore):
    """Makes this module a session engine that keeps sessions in the cookie after all."""


PUBLIC = {"BASE_URL": "https://app.example.com"}
REDIS = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache"}}
ALONE = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
TOGETHER: list[Any] = [
    pytest.param(
        {"CORS_ALLOW_CREDENTIALS": True},
        ["corsheaders.middleware.CorsMiddleware"],
        "E038",
        id="E038 with credentials",
    ),
    pytest.param(
        {"CACHES": {"default": {"BACKEND": "x.locmem.LocMemCache"}}}, [], "W047", id="W047"
    ),
    pytest.param({"DEBUG": True, "CACHES": REDIS}, [], "W048", id="W048"),
    pytest.param(
        {"SECURE_SSL_REDIRECT": True, "SECURE_PROXY_SSL_HEADER": None, "CACHES": REDIS},
        [],
        "W049",
        id="W049",
    ),
]


@pytest.mark.parametrize(("changes", "middleware", "check"), TOGETHER)
def test_what_is_wrong_only_together(
    settings: Any, changes: dict[str, Any], middleware: list[str], check: str
) -> None:
    settings.OAUTHBFF = settings.OAUTHBFF | PUBLIC
    settings.CACHES, settings.SECURE_SSL_REDIRECT = REDIS, False
    assert ids() == []
    settings.MIDDLEWARE = [*middleware, *settings.MIDDLEWARE]
    for name, value in changes.items():
        setattr(settings, name, value)
    assert ids() == [f"oauthbff.{check}"]


class Replicas:
    """A router as Django's documentation has it."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        return random.choice(["default", "replica"]) if is_ours(model) else None


class Elsewhere:
    def db_for_write(self, model: type[Model], **hints: Any) -> str | None:
        return "elsewhere" if is_ours(model) else None


class Others:
    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        return None if is_ours(model) else "replica"


def is_ours(model: type[Model]) -> bool:
    return model._meta.app_label == "oauthbff"


@pytest.mark.parametrize(
    ("router", "found"), [(Replicas, True), (Elsewhere, True), (Others, False)]
)
def test_grants_are_in_the_default_database(settings: Any, router: type, found: bool) -> None:
    settings.DATABASE_ROUTERS = [router()]
    assert ids() == ["oauthbff.E047"] * found


def test_a_lonely_cache_or_debug_is_nobodys_business_on_this_very_machine(settings: Any) -> None:
    settings.DEBUG, settings.SECURE_SSL_REDIRECT = True, True
    assert ids() == []


def test_cors_without_credentials_or_middleware_is_left_in_peace(settings: Any) -> None:
    settings.CORS_ALLOW_CREDENTIALS = True
    assert ids() == []


def test_a_secret_in_the_settings_file_is_found(settings: Any, tmp_path: Path) -> None:
    key = next(iter(settings.OAUTHBFF["KEYS"].values()))
    (tmp_path / "leaky_settings.py").write_text(f'KEYS = {{"a": "{key}"}}\n')
    sys.path.insert(0, str(tmp_path))
    try:
        settings.SETTINGS_MODULE = "leaky_settings"
        assert ids() == ["oauthbff.W050"]
        settings.SETTINGS_MODULE = "no_such_settings"
        assert ids() == []
    finally:
        sys.path.remove(str(tmp_path))


def test_the_edges_secret_in_the_settings_file_is_found(settings: Any, tmp_path: Path) -> None:
    secret = "an-edge-secret.that/is+long~enough=01"
    (tmp_path / "edgy_settings.py").write_text(f'EDGE_SECRET = "{secret}"\n')
    settings.OAUTHBFF = settings.OAUTHBFF | {"EDGE_SECRET": secret}
    assert ids() == []
    sys.path.insert(0, str(tmp_path))
    try:
        settings.SETTINGS_MODULE = "edgy_settings"
        assert ids() == ["oauthbff.W050"]
    finally:
        sys.path.remove(str(tmp_path))


def test_an_edge_that_remembers_for_long_is_found(settings: Any) -> None:
    settings.OAUTHBFF = settings.OAUTHBFF | {"EDGE_REMEMBER": 6}
    assert ids() == []
    settings.OAUTHBFF = settings.OAUTHBFF | {"EDGE_SECRET": "0123456789abcdef" * 3}
    assert ids() == ["oauthbff.W060"]


def test_atomic_requests_are_found(settings: Any) -> None:
    database = settings.DATABASES["default"]
    try:
        database["ATOMIC_REQUESTS"] = True
        assert ids() == ["oauthbff.W046"]
    finally:
        database["ATOMIC_REQUESTS"] = False


def test_a_loud_library_is_found() -> None:
    logger = logging.getLogger("botocore")
    before = logger.level
    try:
        logger.setLevel(logging.DEBUG)
        assert ids() == ["oauthbff.W052"]
    finally:
        logger.setLevel(before)


@pytest.mark.parametrize(("name", "value", "check"), SITE)
def test_a_site_put_together_wrongly_is_told_so(
    settings: Any, name: str, value: Any, check: str
) -> None:
    setattr(settings, name, value)
    assert ids() == [*(f"oauthbff.{also}" for also in ALONG.get(check, ())), f"oauthbff.{check}"]


#: What goes along with it: the names of the example site's cookies promise more than it then holds.
ALONG = {"W040": ["E044"], "W045": ["E044"]}
urlpatterns: list[Any] = []


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("SESSION", {"NAME": "sid", "DOMAIN": "example.org"}),
        ("SESSION", {"NAME": "sid", "DOMAIN": "pp.example.com"}),
        ("SESSION", {"NAME": "sid", "PATH": "/other/"}),
        ("SESSION", {"NAME": "__Secure-sid", "SECURE": False}),
        ("CSRF", {"NAME": "__Http-csrf", "HTTPONLY": False}),
    ],
)
def test_a_cookie_that_cannot_arrive_is_found_before_anybody_signs_in(
    settings: Any, kind: str, changes: dict[str, Any]
) -> None:
    settings.OAUTHBFF = settings.OAUTHBFF | {"BASE_URL": "https://app.example.com"}
    for name, value in changes.items():
        setattr(settings, f"{kind}_COOKIE_{name}", value)
    assert ids(deploy=False) == ["oauthbff.E044"]


@pytest.mark.parametrize("domain", ["app.example.com", ".example.com", "example.com"])
def test_a_cookie_for_the_site_or_above_it_is_left_in_peace(settings: Any, domain: str) -> None:
    settings.OAUTHBFF = settings.OAUTHBFF | {"BASE_URL": "https://app.example.com"}
    settings.SESSION_COOKIE_NAME, settings.SESSION_COOKIE_DOMAIN = "sid", domain
    assert ids(deploy=False) == []


#: Permissions and throttles of a route that would be a 500 on each call.
UNUSABLE = [
    pytest.param("permissions", "rest_framework.permissions.IsAuthentic", id="E037 no such class"),
    pytest.param("permissions", "nowhere.to.be.found", id="E037 no such module"),
    pytest.param("permissions", "IsAuthenticated", id="E037 not dotted"),
    pytest.param("permissions", "rest_framework.throttling.AnonRateThrottle", id="E037 a throttle"),
    pytest.param("throttles", "rest_framework.permissions.AllowAny", id="E037 a permission"),
    pytest.param("throttles", "rest_framework.throttling.UserRateThrottle", id="E037 no rate"),
    pytest.param("throttles", "rest_framework.throttling.ScopedRateThrottle", id="E037 scoped"),
    pytest.param("throttles", "os.getcwd", id="E037 no class"),
]


@pytest.mark.parametrize(("key", "dotted"), UNUSABLE)
def test_a_routes_permission_or_throttle_must_be_usable(
    settings: Any, key: str, dotted: str
) -> None:
    route = {"url": "https://photos.example.com/", key: [dotted]}
    settings.OAUTHBFF = settings.OAUTHBFF | {"UPSTREAMS": {"photos": route}}
    assert ids() == ["oauthbff.E037"]


def test_a_routes_permission_and_throttle_that_can_be_used_are_left_in_peace(settings: Any) -> None:
    route = {
        "url": "https://photos.example.com/",
        "permissions": ["rest_framework.permissions.IsAuthenticated"],
        "throttles": ["tests.unit.test_checks.Slow"],
    }
    settings.OAUTHBFF = settings.OAUTHBFF | {"UPSTREAMS": {"photos": route}}
    assert ids() == []


class Slow(UserRateThrottle):
    rate = "1/min"


@pytest.mark.parametrize("key", ["CLAIMS_HOOK", "PLACE_HOOK"])
@pytest.mark.parametrize(
    "dotted", ["nowhere.to.be.found", "project.people.nobody", "oneword", "oauthbff.__version__"]
)
def test_a_hook_must_be_there_and_callable(settings: Any, key: str, dotted: str) -> None:
    settings.OAUTHBFF = settings.OAUTHBFF | {key: dotted}
    assert ids() == ["oauthbff.E042"]


def test_a_key_store_must_be_callable(settings: Any) -> None:
    settings.OAUTHBFF = settings.OAUTHBFF | {"KEY_STORES": {"x": "oauthbff.__version__"}}
    assert ids() == ["oauthbff.E042"]


def test_what_is_there_and_callable_is_left_in_peace(settings: Any) -> None:
    settings.OAUTHBFF = settings.OAUTHBFF | {
        "CLAIMS_HOOK": "project.people.staff_by_group",
        "PLACE_HOOK": "tests.support.places.place_of",
        "KEY_STORES": {"x": "oauthbff.aws_kms.KeyStore"},
    }
    settings.OIDC_USERNAME_ALGO = "mozilla_django_oidc.auth.default_username_algo"
    assert ids() == []
    settings.OIDC_USERNAME_ALGO = str.lower
    assert ids() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("MIDDLEWARE", [GUARD, SESSION, CSRF, AUTHENTICATION, GRANT], id="E031 four"),
        pytest.param(
            "MIDDLEWARE",
            [OTHER, GUARD, OTHER, SESSION, CSRF, OTHER, AUTHENTICATION, OTHER, GRANT, OTHER],
            id="E031 with others between",
        ),
        pytest.param("AUTHENTICATION_BACKENDS", [BACKEND], id="E032 ours alone"),
        pytest.param("OIDC_STORE_ACCESS_TOKEN", False, id="E033 off"),
        pytest.param("OIDC_VERIFY_SSL", True, id="E034 on"),
        pytest.param("SESSION_COOKIE_SAMESITE", "Lax", id="E036 Lax"),
        pytest.param("SESSION_COOKIE_SAMESITE", "Strict", id="E036 Strict"),
        pytest.param("SESSION_COOKIE_NAME", "__Host-x", id="W041 __Host-"),
        *(
            pytest.param("SESSION_ENGINE", f"django.contrib.sessions.backends.{name}", id=name)
            for name in ("db", "cached_db", "cache", "file")
        ),
    ],
)
def test_a_site_put_together_well_is_left_in_peace(settings: Any, name: str, value: Any) -> None:
    setattr(settings, name, value)
    assert ids() == []


def test_what_should_not_be_deployed_is_said_on_deployment_only(settings: Any) -> None:
    settings.SESSION_COOKIE_NAME = "sessionid"
    assert ids(deploy=False) == []
    assert ids(deploy=True) == ["oauthbff.W041"]


def test_a_mistake_in_the_settings_is_shown_by_check(settings: Any) -> None:
    settings.OAUTHBFF = settings.OAUTHBFF | {"BASE_URL": "http://app.example.com", "KEYS": {}}
    assert ids() == ["oauthbff.E011", "oauthbff.E012"]


def test_every_message_says_what_to_do(settings: Any) -> None:
    settings.MIDDLEWARE = [SESSION]
    settings.OAUTHBFF = {}
    for message in run_checks(tags=["security"]):
        if str(message.id).startswith("oauthbff."):
            assert message.msg.endswith(".") and message.hint


# --- the ids themselves -----------------------------------------------------------------------

#: One id for one thing, though it is found in several places: a value of the wrong type.
IN_SEVERAL_PLACES = {"E002"}


def said_in_conf() -> dict[str, set[str]]:
    """id → the functions of conf/ that say it."""
    places: dict[str, set[str]] = defaultdict(set)
    rooms = [ast.parse(file.read_text()) for file in Path(conf_room.__file__).parent.glob("*.py")]
    for function in (node for room in rooms for node in ast.walk(room)):
        if not isinstance(function, ast.FunctionDef):
            continue
        for call in ast.walk(function):
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr == "say"
                and isinstance(call.args[0], ast.Constant)
            ):
                places[str(call.args[0].value)].add(function.name)
    return places


def test_no_id_means_two_things() -> None:
    assert not set(said_in_conf()) & set(RULES)
    with pytest.raises(ValueError, match="E031 is taken"):
        rule("E031")(lambda: iter(()))
    elsewhere = {check for check, places in said_in_conf().items() if len(places) > 1}
    assert elsewhere <= IN_SEVERAL_PLACES


def test_every_id_has_a_test() -> None:
    tested = {row.values[1] for row in BAD} | {"E001"}
    assert set(said_in_conf()) == tested
    # The database: tests/contract/test_endings.py. UNUSABLE, and tests of their own.
    elsewhere = {"W044", "E037", "E047", "W046", "W050", "W052", "W060"}
    assert set(RULES) == {row.values[2] for row in (*SITE, *TOGETHER)} | elsewhere


def test_the_ids_are_within_the_ranges_that_are_drawn() -> None:
    text = checks.__doc__ or ""
    ranges = re.findall(r"^([EW])([0-9]{3})-[EW]([0-9]{3})", text, re.MULTILINE)
    drawn = {f"{kind}{n:03}" for kind, low, high in ranges for n in range(int(low), int(high) + 1)}
    assert {*said_in_conf(), *RULES} <= drawn
    assert {check for check in drawn if check.startswith("E")} == {
        check for check in (*said_in_conf(), *RULES) if check.startswith("E")
    }


# --- the page that is made from the code; WRITE_DOCS=1 writes it ---------------------------------


def sentences_in_conf() -> dict[str, set[str]]:
    """id → what conf/ says under it, with an ellipsis for what differs."""
    found: dict[str, set[str]] = defaultdict(set)
    for file in Path(conf_room.__file__).parent.glob("*.py"):
        for function in ast.walk(ast.parse(file.read_text())):
            if not isinstance(function, ast.FunctionDef):
                continue
            named = {
                target.id: node.value
                for node in ast.walk(function)
                if isinstance(node, ast.Assign)
                for target in node.targets
                if isinstance(target, ast.Name)
            }
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "say":
                    sentence = call.args[1]
                    if isinstance(sentence, ast.Name):
                        sentence = named[sentence.id]
                    found[ast.literal_eval(call.args[0])].add(text_of(sentence))
    return found


def text_of(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    assert isinstance(node, ast.JoinedStr), ast.dump(node)
    parts = [str(one.value) if isinstance(one, ast.Constant) else "…" for one in node.values]
    return "".join(parts)


def test_every_id_is_in_the_docs() -> None:
    rows = ["| id | says | |", "|---|---|---|"]
    for check, said in sorted(sentences_in_conf().items()):
        rows.append(f"| `oauthbff.{check}` | at start | {'<br>'.join(sorted(said))} |")
    for check, found in sorted(RULES.items()):
        when = "`check --deploy`" if found.deploy else "`check`"
        rows.append(f"| `oauthbff.{check}` | {when} | {found.look.__doc__} |")
    check_page("checks.md", "\n".join(rows) + "\n")
