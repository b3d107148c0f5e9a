"""A site with tenants overrides `get_queryset`, in an admin site of its own: nobody gets across.

Not by a page, a count, a picture or a search, and not by an address or a form made by hand.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin import AdminSite
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Permission, User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.test import Client
from django.urls import include, path
from django.utils import timezone

from oauthbff import grants
from oauthbff.admin import GrantsOfUser, TokenGrantAdmin
from oauthbff.models import EndOrder, GrantEvent, TokenGrant
from tests.support.rows import ISSUER, grants_of, person

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("tests.contract.test_admin_tenants"),
]

HOME = "/staff/oauthbff/tokengrant/"
OURS, THEIRS = 2, 3


class TenantGrantAdmin(TokenGrantAdmin):
    """Each tenant's staff sees the grants of that tenant's people."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[TokenGrant]:
        tenant = request.user.email.partition("@")[2]  # type: ignore[union-attr]
        seen: QuerySet[TokenGrant] = super().get_queryset(request)
        return seen.filter(user__email__endswith=f"@{tenant}")


class TenantUserAdmin(GrantsOfUser, UserAdmin):  # type: ignore[type-arg]
    pass


staff = AdminSite(name="staff")
staff.register(TokenGrant, TenantGrantAdmin)
staff.register(User, TenantUserAdmin)
urlpatterns = [path("staff/", staff.urls), path("bff/", include("oauthbff.urls"))]


class Tenants:
    def __init__(self) -> None:
        self.jane = person("jane")
        self.mallory = person("mallory")
        User.objects.filter(pk=self.jane.pk).update(email="jane@ours.example")
        User.objects.filter(pk=self.mallory.pk).update(email="mallory@theirs.example")
        self.ours = grants_of(self.jane, OURS, subject="s-ours")
        self.theirs = grants_of(self.mallory, THEIRS, subject="s-theirs", ip="203.0.113.9")
        self.ada = User.objects.create(username="ada", email="ada@ours.example", is_staff=True)
        rights = "view_tokengrant view_claims end_tokengrant end_every_tokengrant change_user"
        self.ada.user_permissions.set(Permission.objects.filter(codename__in=rights.split()))
        self.client = Client()
        self.client.force_login(self.ada, backend="django.contrib.auth.backends.ModelBackend")

    def standing(self) -> tuple[int, int]:
        rows = TokenGrant.objects.filter(ended_at=None)
        return rows.filter(user=self.jane).count(), rows.filter(user=self.mallory).count()


@pytest.fixture
def tenants() -> Tenants:
    return Tenants()


def test_every_page_works_in_another_admin_site(tenants: Tenants):
    jane, ours = tenants.jane, tenants.ours[0]
    order = grants.order_end(TokenGrant.objects.none(), scope="user", by=tenants.ada, note="why")
    for address in (
        *("", "dashboard/", "orders/", f"orders/{order.pk}/", f"{ours.pk}/change/"),
        *(f"{ours.pk}/history/", f"end/?grant={ours.pk}", f"end/?provider={ISSUER}"),
        f"/staff/auth/user/{jane.pk}/change/",
    ):
        page = tenants.client.get(address if address.startswith("/") else HOME + address)
        assert page.status_code == 200, address
        assert 'href="/admin/' not in page.text, address


def test_pages_show_ones_own(tenants: Tenants):
    get = tenants.client.get
    page = get(HOME).text
    assert "jane@" in page and "mallory" not in page
    assert "<dt>active now</dt><dd>2</dd>" in page
    for question in ("mallory", "s-theirs", "203.0.113.9", str(tenants.theirs[0].pk)):
        assert "No grant matches." in get(HOME, {"q": question}).text
    assert "203.0.113" not in get(HOME, {"user": tenants.mallory.pk}).text
    user = get(f"/staff/auth/user/{tenants.mallory.pk}/change/").text
    assert "This user is signed in nowhere." in user and "203.0.113" not in user


def test_pictures_count_ones_own(tenants: Tenants):
    for grant in (*tenants.ours, *tenants.theirs):
        GrantEvent.objects.create(grant=grant, at=timezone.now(), kind="refreshed")
    page = tenants.client.get(f"{HOME}dashboard/?span=hour").text
    assert "sign-ins 2" in page and "refreshed 2" in page
    assert "sign-ins 5" not in page and "refreshed 5" not in page


def test_the_grants_of_others_are_not_there(tenants: Tenants):
    other = tenants.theirs[0]
    for door in ("change", "history", "delete"):
        assert tenants.client.get(f"{HOME}{other.pk}/{door}/").status_code in (302, 403)
    assert tenants.client.post(f"{HOME}{other.pk}/again/").status_code == 404
    order = grants.order_end(
        TokenGrant.objects.filter(user=tenants.mallory), scope="user", by=tenants.mallory, note="x"
    )
    for method in (tenants.client.get, tenants.client.post):
        assert method(f"{HOME}orders/{order.pk}/").status_code == 404
    assert str(order.pk) not in tenants.client.get(f"{HOME}orders/").text
    assert tenants.standing() == (OURS, THEIRS)
    assert not GrantEvent.objects.filter(kind="viewed").exists()


def forms(tenants: Tenants) -> list[tuple[str, dict[str, Any], int]]:
    """Where it is sent, what, and how many of ours it ends."""
    theirs, ours = tenants.theirs, tenants.ours
    action = {"action": "end_selected"}
    return [
        ("end/", {"grant": theirs[0].pk}, 0),
        ("end/", {"user": tenants.mallory.pk}, 0),
        ("end/", {"user": tenants.mallory.pk, "keep": theirs[0].pk}, 0),
        ("end/", {"user": tenants.jane.pk, "keep": theirs[0].pk}, 0),
        ("end/", {"user": tenants.jane.pk, "keep": ours[0].pk}, 1),
        ("end/", {"provider": ISSUER}, 2),
        ("", {**action, "_selected_action": [each.pk for each in (*ours, *theirs)]}, 2),
        ("", {**action, "_selected_action": ours[0].pk, "select_across": "1"}, 2),
        ("?q=mallory", {**action, "_selected_action": ours[0].pk, "select_across": "1"}, 0),
        ("", {"action": "tell_selected", "_selected_action": theirs[0].pk}, 0),
    ]


@pytest.mark.parametrize("number", range(10))
def test_no_form_made_by_hand_ends_the_grants_of_others(tenants: Tenants, number: int):
    path, form, ended = forms(tenants)[number]
    confirmed = {**form, "confirmed": "yes", "note": "by hand", "own": "yes"}
    for said in (form, confirmed):
        answer = tenants.client.post(HOME + path, said)
        assert answer.status_code in (200, 302, 404)
    assert tenants.standing() == (OURS - ended, THEIRS)
    for order in EndOrder.objects.all():
        assert order.total == ended


def test_an_order_says_nothing_of_others_even_if_it_ended_them(tenants: Tenants):
    """Somebody who saw everything yesterday, and only their tenant today."""
    everything = TokenGrant.objects.all()
    order = grants.order_end(everything, scope="list", by=tenants.ada, note="yesterday")
    grants.carry_out(order, seconds=0)
    page = tenants.client.get(f"{HOME}orders/{order.pk}/").text
    assert "jane@" in page and "mallory" not in page and "203.0.113" not in page
