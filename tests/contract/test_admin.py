"""The admin: who may see, who may end, and that ending works everywhere."""

from __future__ import annotations

import time

import pytest

from tests.conftest import MakeSite
from tests.support.browser import Browser
from tests.support.provider import NodeProvider
from tests.support.site import Site

GRANTS = "/admin/oauthbff/tokengrant/"


@pytest.fixture
def admin(site: Site) -> Browser:
    """A browser in which somebody of the staff is signed in, as `project.people` knows them."""
    browser = site.browser()
    browser.login("ada")
    site.sql("UPDATE auth_user SET is_staff = %s, is_superuser = %s", (True, True))
    return browser


def open_list(admin: Browser, query: str = "") -> str:
    page = admin.navigate(GRANTS + query, from_site=f"{admin.origin}/")
    assert page.status == 200, page
    return page.text


def end(admin: Browser, handle: str, note: str = "stolen laptop") -> str:
    """Choose one grant in the list, choose the action, confirm."""
    home = f"{admin.origin}{GRANTS}"
    token = admin.cookies["__Host-Http-csrf-token"].value
    form = {
        "csrfmiddlewaretoken": token,
        "action": "end_selected",
        "_selected_action": handle,
    }
    asked = admin.navigate(GRANTS, form=form, from_site=home)
    assert "1 grant of 1 person will end at once" in asked.text
    done = admin.navigate(GRANTS, form={**form, "confirmed": "yes", "note": note}, from_site=home)
    return done.text


def test_an_ended_grant_is_refused_on_the_next_call_and_revoked_at_the_provider(
    site: Site, admin: Browser, provider: NodeProvider
):
    jane = site.browser()
    jane.login("jane")
    handle = jane.session()["grant"]["handle"]
    assert jane.fetch("api/photos/1").status == 200
    alive = provider.live_refresh_tokens

    assert "jane" in open_list(admin)
    assert "1 grant has ended here." in end(admin, handle)

    refused = jane.fetch("api/photos/1")
    assert (refused.status, refused.code) == (401, "grant_ended")
    assert refused.json()["reason"] == "admin"
    assert jane.session() == {
        "authenticated": False,
        "login_url": "/bff/login/",
        "ended": "admin",
    }
    assert jane.session()["ended"] == "admin"  # it is still known on the second look
    assert provider.live_refresh_tokens == alive - 1
    [(note, by)] = site.sql(
        "SELECT end_note, ended_by_id FROM oauthbff_tokengrant WHERE end_reason = 'admin'"
    )
    assert (note, by is not None) == ("stolen laptop", True)
    assert site.sql("SELECT count(*) FROM django_admin_log") == [(1,)]
    jane.login("jane")
    assert jane.is_logged_in()


def test_the_detail_page_shows_facts_and_no_secret(site: Site, admin: Browser):
    jane = site.browser()
    jane.login("jane")
    handle = jane.session()["grant"]["handle"]
    page = admin.navigate(f"{GRANTS}{handle}/change/", from_site=f"{admin.origin}/").text
    assert "jane" in page
    assert "issued" in page
    [(sealed,)] = site.sql("SELECT envelope FROM oauthbff_tokengrant WHERE subject = 'jane'")
    assert sealed not in page
    assert jane.cookies["__Host-Http-bff-auth"].value not in page
    assert 'type="text"' not in page.partition('id="content"')[2]
    looked = "SELECT kind FROM oauthbff_grantevent WHERE kind = 'viewed'"
    assert site.sql(looked) == [("viewed",)]


def test_a_right_to_see_is_not_a_right_to_end(site: Site, admin: Browser):
    jane = site.browser()
    jane.login("jane")
    site.sql("UPDATE auth_user SET is_superuser = %s", (False,))
    site.sql(
        "INSERT INTO auth_user_user_permissions (user_id, permission_id) "
        "SELECT u.id, p.id FROM auth_user u, auth_permission p "
        "WHERE p.codename IN ('view_tokengrant', 'view_grantevent') AND u.is_staff = %s",
        (True,),
    )
    assert "end_selected" not in open_list(admin)
    form = {
        "csrfmiddlewaretoken": admin.cookies["__Host-Http-csrf-token"].value,
        "action": "end_selected",
        "_selected_action": jane.session()["grant"]["handle"],
        "confirmed": "yes",
    }
    admin.navigate(GRANTS, form=form, from_site=f"{admin.origin}{GRANTS}")
    assert jane.is_logged_in()


def test_nobody_else_gets_in(site: Site):
    jane = site.browser()
    jane.login("jane")
    site.sql("UPDATE auth_user SET is_staff = %s, is_superuser = %s", (False, False))
    page = jane.navigate(GRANTS, from_site=f"{site.base_url}/")
    assert page.status == 403


def test_claims_are_shown_as_text(site: Site, admin: Browser, provider: NodeProvider):
    jane = site.browser()
    jane.user_agent = "<script>alert(1)</script>"
    jane.login("<script>alert(2)<")
    for page in (open_list(admin), open_list(admin, "?q=script")):
        assert "<script>alert" not in page


def test_django_sign_out_ends_the_grant_too(site: Site, admin: Browser, provider: NodeProvider):
    token = admin.cookies["__Host-Http-csrf-token"].value
    admin.navigate(
        "/admin/logout/", form={"csrfmiddlewaretoken": token}, from_site=f"{admin.origin}/admin/"
    )
    assert site.sql("SELECT end_reason, revocation FROM oauthbff_tokengrant") == [
        ("logout", "done")
    ]
    assert provider.live_refresh_tokens == 0


def test_a_deleted_user_takes_the_grants_along(site: Site, provider: NodeProvider):
    jane = site.browser()
    jane.login("jane")
    said = site.manage(
        "shell",
        "-v0",
        "-c",
        "from django.contrib.auth.models import User; print(User.objects.all().delete())",
    )
    assert "auth.User" in said
    refused = jane.fetch("api/photos/1")
    assert (refused.status, refused.json().get("reason")) == (401, "user_disabled")
    assert provider.live_refresh_tokens == 0


def test_a_disabled_user_is_out_on_the_next_call(site: Site, provider: NodeProvider):
    jane = site.browser()
    jane.login("jane")
    site.sql("UPDATE auth_user SET is_active = %s", (False,))
    refused = jane.fetch("api/photos/1")
    assert (refused.status, refused.json().get("reason")) == (401, "user_disabled")
    assert provider.live_refresh_tokens == 0


def test_idle_and_absolute_timeouts_end_the_grant(make_site: MakeSite, provider: NodeProvider):
    site = make_site(env={"OAUTHBFF_IDLE_TIMEOUT": "2", "OAUTHBFF_ABSOLUTE_TIMEOUT": "5"})
    jane = site.browser()
    jane.login("jane")
    for _ in range(3):
        time.sleep(1)
        assert jane.fetch("session/").json()["authenticated"] is True
    time.sleep(2.1)
    assert jane.fetch("api/photos/1").json()["reason"] == "absolute"
    jane.login("jane")
    for _ in range(2):
        time.sleep(1.1)
        jane.session()  # ?slide=false is no activity
    assert jane.session()["ended"] == "idle"
    assert provider.live_refresh_tokens == 0
