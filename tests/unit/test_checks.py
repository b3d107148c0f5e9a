"""`manage.py check` says what is wrong, each thing under an id of its own.

Checks of the settings themselves (E001 to E025) are in test_conf.py, whose table this file counts.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from rest_framework.throttling import UserRateThrottle

from oauthbff import checks
from oauthbff import conf as conf_room
from oauthbff.checks import AUTHENTICATION, BACKEND, GRANT, GUARD, SESSION
from tests.unit.test_conf import BAD

OTHER = "django.middleware.common.CommonMiddleware"


def ids(deploy: bool = True) -> list[str]:
    """What Django's own machinery reports of ours."""
    found = run_checks(tags=["security"], include_deployment_checks=deploy)
    return sorted(str(message.id) for message in found if str(message.id).startswith("oauthbff."))


def test_the_whole_good_configuration_passes() -> None:
    assert ids() == []


SITE = [
    pytest.param("MIDDLEWARE", [SESSION, AUTHENTICATION], "E031", id="E031 none"),
    pytest.param("MIDDLEWARE", [GUARD, SESSION, AUTHENTICATION], "E031", id="E031 no grant"),
    pytest.param("MIDDLEWARE", [SESSION, AUTHENTICATION, GRANT], "E031", id="E031 no guard"),
    pytest.param(
        "MIDDLEWARE", [SESSION, GUARD, AUTHENTICATION, GRANT], "E031", id="E031 guard too late"
    ),
    pytest.param(
        "MIDDLEWARE", [GUARD, SESSION, GRANT, AUTHENTICATION], "E031", id="E031 grant too early"
    ),
    pytest.param(
        "MIDDLEWARE", [GUARD, GUARD, SESSION, AUTHENTICATION, GRANT], "E031", id="E031 twice"
    ),
    pytest.param(
        "AUTHENTICATION_BACKENDS",
        ["django.contrib.auth.backends.ModelBackend"],
        "E032",
        id="E032 no backend",
    ),
    pytest.param("OIDC_STORE_ACCESS_TOKEN", True, "E033", id="E033 access token"),
    pytest.param("OIDC_STORE_ID_TOKEN", True, "E033", id="E033 ID token"),
    pytest.param("OIDC_ALLOW_UNSECURED_JWT", True, "E033", id="E033 unsecured"),
    pytest.param("OIDC_VERIFY_SSL", False, "E034", id="E034 off"),
    pytest.param("OIDC_VERIFY_SSL", "/ca.pem", "E034", id="E034 a path"),
    pytest.param(
        "MIDDLEWARE",
        [
            *(GUARD, SESSION, AUTHENTICATION, GRANT),
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
    pytest.param("SESSION_COOKIE_DOMAIN", ".example.com", "W042", id="W042 a Domain"),
    pytest.param("SESSION_COOKIE_PATH", "/app/", "W042", id="W042 a Path"),
    pytest.param("SESSION_SAVE_EVERY_REQUEST", True, "W043", id="W043 saves always"),
]


@pytest.mark.parametrize(("name", "value", "check"), SITE)
def test_a_site_put_together_wrongly_is_told_so(
    settings: Any, name: str, value: Any, check: str
) -> None:
    setattr(settings, name, value)
    assert ids() == [f"oauthbff.{check}"]


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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("MIDDLEWARE", [GUARD, SESSION, AUTHENTICATION, GRANT], id="E031 the four"),
        pytest.param(
            "MIDDLEWARE",
            [OTHER, GUARD, OTHER, SESSION, OTHER, AUTHENTICATION, OTHER, GRANT, OTHER],
            id="E031 with others between",
        ),
        pytest.param("AUTHENTICATION_BACKENDS", [BACKEND], id="E032 ours alone"),
        pytest.param("OIDC_STORE_ACCESS_TOKEN", False, id="E033 off"),
        pytest.param("OIDC_VERIFY_SSL", True, id="E034 on"),
        pytest.param("SESSION_COOKIE_SAMESITE", "Lax", id="E036 Lax"),
        pytest.param("SESSION_COOKIE_SAMESITE", "Strict", id="E036 Strict"),
        pytest.param("SESSION_COOKIE_NAME", "__Host-x", id="W041 __Host-"),
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


def said_in_checks() -> list[str]:
    with open(checks.__file__, encoding="utf-8") as source:
        return re.findall(r'id="oauthbff\.([EW][0-9]{3})"', source.read())


def test_no_id_means_two_things() -> None:
    assert len(said_in_checks()) == len(set(said_in_checks()))
    assert not set(said_in_conf()) & set(said_in_checks())
    elsewhere = {check for check, places in said_in_conf().items() if len(places) > 1}
    assert elsewhere <= IN_SEVERAL_PLACES


def test_every_id_has_a_test() -> None:
    tested = {row.values[1] for row in BAD} | {"E001"}
    assert set(said_in_conf()) == tested
    elsewhere = {"W044", "E037"}  # the database: tests/contract/test_endings.py; UNUSABLE
    assert set(said_in_checks()) == {row.values[2] for row in SITE} | elsewhere


def test_the_ids_are_within_the_ranges_that_are_drawn() -> None:
    text = checks.__doc__ or ""
    ranges = re.findall(r"^([EW])([0-9]{3})-[EW]([0-9]{3})", text, re.MULTILINE)
    drawn = {f"{kind}{n:03}" for kind, low, high in ranges for n in range(int(low), int(high) + 1)}
    assert {*said_in_conf(), *said_in_checks()} <= drawn
    assert {check for check in drawn if check.startswith("E")} == {
        check for check in (*said_in_conf(), *said_in_checks()) if check.startswith("E")
    }
