"""The panel on the site's own user page, and what disabling a user there does."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from oauthbff.models import GrantEvent, TokenGrant
from tests.support.rows import grants_of, person

pytestmark = pytest.mark.django_db(transaction=True)


def staff(*rights: str) -> Client:
    ada = person("ada", is_staff=True)
    ada.user_permissions.set(Permission.objects.filter(codename__in=("change_user", *rights)))
    client = Client()
    client.force_login(ada, backend="django.contrib.auth.backends.ModelBackend")
    return client


def panel(client: Client, user: User) -> str:
    answer = client.get(f"/admin/auth/user/{user.pk}/change/")
    assert answer.status_code == 200
    return answer.text.partition('id="oauth-sessions"')[2]


def test_it_shows_where_somebody_is_signed_in_and_offers_to_end_it():
    jane = person("jane")
    [one, ended] = grants_of(jane, 2)
    TokenGrant.objects.filter(pk=ended.pk).update(ended_at="2026-01-01T00:00:00Z")
    grants_of(person("bob"), 1, ip="203.0.113.4")
    shown = panel(staff("view_tokengrant", "end_tokengrant"), jane)
    assert f"tokengrant/{one.pk}/change/" in shown and str(ended.pk) not in shown
    assert "203.0.113.4" not in shown
    assert f"tokengrant/end/?user={jane.pk}" in shown
    assert f"tokengrant/?user={jane.pk}" in shown


def test_rights_hold_there_as_well():
    jane = person("jane")
    grants_of(jane, 1)
    client = staff()
    assert panel(client, jane) == ""
    ada = User.objects.get(username="ada")
    ada.user_permissions.add(Permission.objects.get(codename="view_tokengrant"))
    shown = panel(client, jane)
    assert shown and "tokengrant/end/" not in shown


def test_a_new_user_has_no_panel():
    client = staff("view_tokengrant", "add_user")
    answer = client.get("/admin/auth/user/add/")
    assert (answer.status_code, "oauth-sessions" in answer.text) == (200, False)


def save(client: Client, user: User, **changed: str) -> None:
    form = {
        "username": user.username,
        "email": user.email,
        "is_active": "on",
        "date_joined_0": "2026-01-01",
        "date_joined_1": "12:00:00",
        **changed,
    }
    answer = client.post(
        f"/admin/auth/user/{user.pk}/change/", {k: v for k, v in form.items() if v}
    )
    assert answer.status_code == 302, answer.text


def test_disabling_a_user_there_ends_their_grants_and_says_by_whom():
    jane = person("jane")
    grants_of(jane, 2)
    grants_of(person("bob"), 1)
    client = staff()
    save(client, jane, email="new@example.com")
    assert TokenGrant.objects.exclude(ended_at=None).count() == 0
    save(client, jane, is_active="")
    ada = User.objects.get(username="ada")
    ended = TokenGrant.objects.exclude(ended_at=None)
    facts = [(each.user, each.end_reason, each.ended_by) for each in ended]
    assert facts == [(jane, "user_disabled", ada)] * 2
    assert GrantEvent.objects.filter(kind="ended", by=ada).count() == 2


def test_a_grant_that_ends_while_the_page_is_open_does_not_keep_it_from_being_saved():
    jane = person("jane")
    grants_of(jane, 3)
    client = staff("view_tokengrant")
    panel(client, jane)
    TokenGrant.objects.all().delete()
    save(client, jane, email="new@example.com")
    jane.refresh_from_db()
    assert jane.email == "new@example.com"
