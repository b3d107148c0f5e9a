"""Every reason to end, on every session engine: refused, explained, told."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.conftest import MakeSite
from tests.support.browser import Browser
from tests.support.provider import NodeProvider
from tests.support.site import Site

LONG_AGO = "2020-01-01 00:00:00"
SESSION_COOKIE = "__Host-Http-bff-auth"


def twin_of(site: Site, jane: Browser) -> Browser:
    """A browser with the same session and a jar of its own: what it is told, Jane's is not."""
    twin = site.browser()
    twin.cookies.plant(SESSION_COOKIE, jane.cookies[SESSION_COOKIE].value)
    return twin


def by_logout_elsewhere(site: Site, jane: Browser, provider: NodeProvider) -> None:
    twin_of(site, jane).fetch("logout/", "POST")


def by_the_provider(site: Site, jane: Browser, provider: NodeProvider) -> None:
    provider.end_session("jane")


def by_an_operator(site: Site, jane: Browser, provider: NodeProvider) -> None:
    site.manage("endgrants", "--subject", "jane", "--reason", "test", "--yes")


def by_herself_from_another_browser(site: Site, jane: Browser, provider: NodeProvider) -> None:
    other = site.browser()
    other.login("jane")
    assert other.fetch("sessions/others/", "DELETE").json() == {"ended": 1}
    other.fetch("logout/", "POST")


def by_disabling(site: Site, jane: Browser, provider: NodeProvider) -> None:
    site.sql("UPDATE auth_user SET is_active = %s", (False,))


def by_deleting(site: Site, jane: Browser, provider: NodeProvider) -> None:
    code = "from django.contrib.auth.models import User; User.objects.all().delete()"
    site.manage("shell", "-v0", "-c", code)


def by_idling(site: Site, jane: Browser, provider: NodeProvider) -> None:
    site.sql("UPDATE oauthbff_tokengrant SET last_used_at = %s", (LONG_AGO,))


def by_age(site: Site, jane: Browser, provider: NodeProvider) -> None:
    site.sql("UPDATE oauthbff_tokengrant SET expires_at = %s", (LONG_AGO,))


def by_a_refused_refresh(site: Site, jane: Browser, provider: NodeProvider) -> None:
    site.sql("UPDATE oauthbff_tokengrant SET access_expires_at = %s", (LONG_AGO,))
    refusal = {"error": "invalid_grant"}
    provider.fault("/token", grant_type="refresh_token", status=400, body=refusal)


def by_signing_in_again(site: Site, jane: Browser, provider: NodeProvider) -> None:
    twin = twin_of(site, jane)
    twin.login("jane")
    twin.fetch("logout/", "POST")


def by_a_new_password(site: Site, jane: Browser, provider: NodeProvider) -> None:
    code = (
        "from django.contrib.auth.models import User\n"
        "user = User.objects.get(); user.set_password('new'); user.save()"
    )
    site.manage("shell", "-v0", "-c", code)


def by_losing_the_key(site: Site, jane: Browser, provider: NodeProvider) -> None:
    """Its key id is one that nobody knows; where the key went the provider cannot be told."""
    site.sql("UPDATE oauthbff_tokengrant SET envelope = replace(envelope, 'v1.test.', 'v1.gone.')")


REASONS: dict[str, tuple[Callable[[Site, Browser, NodeProvider], None], str]] = {
    "logout elsewhere": (by_logout_elsewhere, "logout"),
    "back-channel": (by_the_provider, "backchannel"),
    "operator": (by_an_operator, "admin"),
    "herself": (by_herself_from_another_browser, "logout"),
    "disabled": (by_disabling, "user_disabled"),
    "deleted": (by_deleting, "user_disabled"),
    "idle": (by_idling, "idle"),
    "absolute": (by_age, "absolute"),
    "refused refresh": (by_a_refused_refresh, "invalid_grant"),
    "superseded": (by_signing_in_again, "superseded"),
    "password": (by_a_new_password, "logout"),
    "key lost": (by_losing_the_key, "key_lost"),
}


@pytest.fixture(params=["db", "cached_db", "cache", "file"])
def engine_site(request: pytest.FixtureRequest, make_site: MakeSite, _session_folder: Path) -> Site:
    engine = f"django.contrib.sessions.backends.{request.param}"
    env = {
        "SESSION_ENGINE": engine,
        "TMPDIR": str(_session_folder),
        "OAUTHBFF_END_ON_PASSWORD_CHANGE": "True",
    }
    return make_site(workers=2, cache="redis", env=env)


@pytest.fixture(scope="session")
def _session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("session-files")


@pytest.mark.parametrize("how", REASONS)
def test_an_ending_is_final_explained_and_told(engine_site: Site, provider: NodeProvider, how: str):
    site, (act, reason) = engine_site, REASONS[how]
    jane = site.browser()
    jane.login("jane")
    assert jane.fetch("api/photos/1").status == 200
    act(site, jane, provider)
    ended_at = time.monotonic()
    calls = jane.together(4, "api/photos/1")  # both workers
    assert time.monotonic() - ended_at < 5
    assert {(one.status, one.code) for one in calls} == {(401, "grant_ended")}
    assert {one.json()["reason"] for one in calls} == {reason}
    inside = jane.navigate("/admin/", from_site=f"{site.base_url}/", follow=False)
    assert inside.status == 302
    assert jane.session()["ended"] == reason  # still, after the site's own view
    told = site.sql("SELECT DISTINCT revocation, envelope FROM oauthbff_tokengrant")
    assert told == [("failed" if how == "key lost" else "done", "")]
    assert provider.live_refresh_tokens == (how == "key lost")
    if how not in ("deleted", "disabled"):
        jane.login("jane")


KNOCKS = {
    "api/photos/1": ("GET", {401}),
    "session/": ("GET", {200}),
    "sessions/": ("GET", {200}),
    "sessions/others/": ("DELETE", {200}),
    "logout/": ("POST", {200}),
}


def test_a_lost_key_is_an_error_at_no_door(make_site: MakeSite, provider: NodeProvider):
    site = make_site(fresh=True)
    people = {path: site.browser() for path in (*KNOCKS, "devices/", "login/", "admin/")}
    for number, browser in enumerate(people.values()):
        browser.login(f"person{number}")
    site.sql("UPDATE auth_user SET is_staff = %s, is_superuser = %s", (True, True))
    [(handle,)] = site.sql("SELECT id FROM oauthbff_tokengrant ORDER BY id LIMIT 1")
    site.restart({"OAUTHBFF_KEYS": "new:" + base64.b64encode(os.urandom(32)).decode()})
    for path, (method, statuses) in KNOCKS.items():
        assert people[path].fetch(path, method).status in statuses, path
    here = f"{site.base_url}/"
    assert people["devices/"].navigate("devices/", from_site=here).status == 200
    admin = people["admin/"]
    for page in ("", f"{handle}/change/"):
        shown = admin.navigate(f"/admin/oauthbff/tokengrant/{page}", from_site=here)
        assert shown.status == 200
    people["login/"].login("person0")
    site.manage("sweepgrants")
    site.manage("rekeygrants")
    assert "Traceback" not in site.log()


def test_a_lost_key_ends_the_grant_and_is_no_error(make_site: MakeSite, provider: NodeProvider):
    site = make_site(fresh=True)
    jane = site.browser()
    jane.login("jane")
    site.restart({"OAUTHBFF_KEYS": "new:" + base64.b64encode(os.urandom(32)).decode()})
    refused = jane.fetch("api/photos/1")
    assert (refused.status, refused.json()["reason"]) == (401, "key_lost")
    assert jane.session()["ended"] == "key_lost"
    assert site.sql("SELECT revocation FROM oauthbff_tokengrant") == [("failed",)]
    assert jane.fetch("logout/", "POST").status == 200
    jane.login("jane")
    assert "Traceback" not in site.log()


def test_a_rotated_key_signs_nobody_out(make_site: MakeSite, provider: NodeProvider):
    old, new = (base64.b64encode(os.urandom(32)).decode() for _ in range(2))
    provider.configure(ACCESS_TTL=2)
    site = make_site(fresh=True, env={"OAUTHBFF_KEYS": f"old:{old}"})
    provider.configure(ACCESS_TTL=2)
    jane = site.browser()
    jane.login("jane")
    site.restart({"OAUTHBFF_KEYS": f"new:{new},old:{old}"})
    time.sleep(2)
    assert jane.fetch("api/photos/1").status == 200
    [(sealed,)] = site.sql("SELECT envelope FROM oauthbff_tokengrant")
    assert sealed.startswith("v1.new.")


def test_the_provider_is_told_although_it_was_down_three_times(
    make_site: MakeSite, provider: NodeProvider
):
    site = make_site(workers=2)
    jane = site.browser()
    jane.login("jane")
    provider.fault("/token/revocation", status=503, times=3)
    jane.fetch("logout/", "POST")
    for attempt in (1, 2, 3):
        assert site.sql("SELECT revocation, revocation_attempts FROM oauthbff_tokengrant") == [
            ("pending", attempt)
        ]
        site.sql("UPDATE oauthbff_tokengrant SET revocation_due_at = %s", (LONG_AGO,))
        site.manage("sweepgrants")
    assert site.sql("SELECT revocation, envelope FROM oauthbff_tokengrant") == [("done", "")]
    assert provider.live_refresh_tokens == 0
    kinds = [kind for (kind,) in site.sql("SELECT kind FROM oauthbff_grantevent ORDER BY id")]
    assert kinds == ["issued", "ended", *["revocation_failed"] * 3, "revoked"]


def test_a_provider_without_the_endpoint_is_no_error(make_site: MakeSite, provider: NodeProvider):
    provider.configure(REVOCATION="0")
    site = make_site(fresh=True)
    provider.configure(REVOCATION="0")
    jane = site.browser()
    jane.login("jane")
    assert jane.fetch("logout/", "POST").status == 200
    assert site.sql("SELECT revocation, envelope FROM oauthbff_tokengrant") == [("unsupported", "")]


def test_the_sweep_asks_nothing_of_a_provider_without_the_endpoint(
    make_site: MakeSite, provider: NodeProvider
):
    """Also of a grant whose ending crashed before its session was deleted."""
    provider.configure(REVOCATION="0")
    site = make_site(fresh=True)
    provider.configure(REVOCATION="0")
    site.browser().login("jane")
    crashed = "ended_at = %s, end_reason = 'admin', revocation = 'pending', revocation_due_at = %s"
    just_now = f"{datetime.now(UTC) - timedelta(minutes=1):%F %T}"
    site.sql(f"UPDATE oauthbff_tokengrant SET {crashed}", (just_now, just_now))
    assert site.sql("SELECT count(*) FROM django_session") == [(1,)]
    assert "1 told to the provider, 0 still waiting" in site.manage("sweepgrants")
    facts = "SELECT revocation, revocation_attempts, envelope FROM oauthbff_tokengrant"
    assert site.sql(facts) == [("unsupported", 0, "")]
    assert site.sql("SELECT count(*) FROM django_session") == [(0,)]
