"""Every address of our admin by each of the roles, and what each role may do there.

The table is complete: a test compares it with the addresses that there are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.test import Client

from oauthbff import grants
from oauthbff.models import EndOrder, TokenGrant
from tests.support.rows import ISSUER, grants_of, person

pytestmark = pytest.mark.django_db

HOME = "/admin/oauthbff/tokengrant/"
VIEW, CLAIMS, END, EVERY = (
    "view_tokengrant",
    "view_claims",
    "end_tokengrant",
    "end_every_tokengrant",
)

#: Role → its rights. `anonymous` is not signed in, `superuser` is one.
ROLES: dict[str, tuple[str, ...]] = {
    "anonymous": (),
    "staff": (),
    "viewer": (VIEW,),
    "claims": (VIEW, CLAIMS),
    "ender": (VIEW, END),
    "blind ender": (END, EVERY),
    "everything": (VIEW, EVERY),
    "superuser": (),
}


@dataclass
class Scene:
    """Jane's grant, Bob's grant, and a browser in the role."""

    client: Client
    me: User | None
    jane: TokenGrant
    bob: TokenGrant
    orders: dict[str, EndOrder] = field(default_factory=dict)

    @property
    def own_order(self) -> EndOrder | None:
        return EndOrder.objects.filter(requested_by=self.me).first()


def client_of(role: str) -> tuple[Client, User | None]:
    client = Client(raise_request_exception=True)
    if role == "anonymous":
        return client, None
    me = person(role.replace(" ", "-"), is_staff=True, is_superuser=role == "superuser")
    me.user_permissions.set(Permission.objects.filter(codename__in=ROLES[role]))
    client.force_login(me, backend="django.contrib.auth.backends.ModelBackend")
    return client, me


@pytest.fixture
def scene(role: str) -> Scene:
    [jane] = grants_of(person("jane"), 1, claims={"name": "Jane Claimed"})
    [bob] = grants_of(person("bob"), 1)
    client, me = client_of(role)
    return Scene(client, me, jane, bob)


def an_order(scene: Scene) -> str:
    """An order of the role itself, where it can have one."""
    by = scene.me or person("somebody")
    order = grants.order_end(TokenGrant.objects.none(), scope="chosen", by=by, note="why")
    return f"{HOME}orders/{order.pk}/"


def a_foreign_order(scene: Scene) -> str:
    other = person("somebody-else", is_staff=True)
    order = grants.order_end(TokenGrant.objects.none(), scope="chosen", by=other, note="why")
    return f"{HOME}orders/{order.pk}/"


def at(path: str) -> Any:
    return lambda scene: HOME + path.format(jane=scene.jane, bob=scene.bob, issuer=ISSUER)


SEES = {"viewer", "claims", "ender", "everything", "superuser"}
ENDS = {"ender", "superuser"}
ENDS_ALL = {"everything", "superuser"}
NOBODY: set[str] = set()

#: (name, method, address, form, who gets in). The others: 302 to the login page, or 403.
DOORS: list[tuple[str, str, Any, dict[str, str], set[str]]] = [
    ("changelist", "GET", at(""), {}, SEES),
    ("changelist", "POST", at(""), {"action": "end_selected", "index": "0"}, SEES),
    ("dashboard", "GET", at("dashboard/"), {}, SEES),
    ("change", "GET", at("{jane.pk}/change/"), {}, SEES),
    ("change", "POST", at("{jane.pk}/change/"), {"subject": "mallory"}, NOBODY),
    ("history", "GET", at("{jane.pk}/history/"), {}, SEES),
    ("add", "GET", at("add/"), {}, NOBODY),
    ("add", "POST", at("add/"), {"subject": "mallory"}, NOBODY),
    ("delete", "GET", at("{jane.pk}/delete/"), {}, NOBODY),
    ("delete", "POST", at("{jane.pk}/delete/"), {"post": "yes"}, NOBODY),
    ("end", "GET", at("end/?grant={jane.pk}"), {}, ENDS),
    ("end", "GET", at("end/?user={jane.user_id}"), {}, ENDS),
    ("end", "GET", at("end/?user={jane.user_id}&keep={jane.pk}"), {}, ENDS),
    ("end", "GET", at("end/?provider={issuer}"), {}, ENDS_ALL),
    ("orders", "GET", at("orders/"), {}, ENDS | ENDS_ALL),
    ("order", "GET", an_order, {}, ENDS | ENDS_ALL),
    ("order", "POST", an_order, {"step": "yes"}, ENDS | ENDS_ALL),
    ("order", "POST", an_order, {"again": "yes"}, ENDS | ENDS_ALL),
    ("order", "GET", a_foreign_order, {}, {"superuser"}),
    ("order", "POST", a_foreign_order, {"again": "yes"}, {"superuser"}),
    ("again", "POST", at("{jane.pk}/again/"), {}, ENDS),
]


def names_of_doors() -> set[str]:
    pages = admin.site.get_model_admin(TokenGrant)
    patterns = pages.get_urls()
    # Django's own way from an old address to `change`; without a name, as the only one.
    assert [str(each.pattern) for each in patterns if not each.name] == ["<path:object_id>/"]
    names = {pattern.name for pattern in patterns if pattern.name}
    return {name.removeprefix("oauthbff_tokengrant_") for name in names}


def test_the_table_names_every_address_there_is():
    assert {name for name, *_rest in DOORS} == names_of_doors()


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("door", DOORS, ids=lambda door: f"{door[0]}-{door[1]}-{DOORS.index(door)}")
def test_who_gets_in(scene: Scene, role: str, door: Any):
    _name, method, address, form, let_in = door
    url = address(scene)
    answer = scene.client.generic(
        method, url, "&".join(f"{k}={v}" for k, v in form.items()),
        content_type="application/x-www-form-urlencoded",
    )  # fmt: skip
    if role == "anonymous":
        assert (answer.status_code, "/admin/login/" in answer["Location"]) == (302, True)
    elif role in let_in:
        assert answer.status_code in (200, 302), url
        assert "/admin/login/" not in answer.get("Location", "")
        if method == "GET":
            assert answer.status_code == 200
    else:
        refused = answer.status_code in (403, 404) or (
            # Single grants without that right, or all without that: back to the list, with a word.
            answer.status_code == 302 and answer["Location"] == HOME
        )
        assert refused, (url, answer.status_code)
    assert TokenGrant.objects.filter(ended_at=None).count() == 2
    assert TokenGrant.objects.filter(subject="mallory").count() == 0


#: What is asked for, the form, and who is heard.
ENDINGS: list[tuple[str, str, dict[str, str], set[str], int]] = [
    ("one", "end/", {"grant": "{jane.pk}"}, ENDS, 1),
    ("user", "end/", {"user": "{jane.user_id}"}, ENDS, 1),
    ("others", "end/", {"user": "{jane.user_id}", "keep": "{jane.pk}"}, ENDS, 0),
    ("provider", "end/", {"provider": "{issuer}"}, ENDS_ALL, 2),
    ("chosen", "", {"action": "end_selected", "_selected_action": "{jane.pk}"}, ENDS, 1),
    (
        "list",
        "",
        {"action": "end_selected", "_selected_action": "{jane.pk}", "select_across": "1"},
        ENDS_ALL,
        2,
    ),
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending[0])
def test_who_can_end_what(scene: Scene, role: str, ending: Any):
    _name, path, said, heard, ended = ending
    form = {k: v.format(jane=scene.jane, issuer=ISSUER) for k, v in said.items()}
    scene.client.post(HOME + path, {**form, "confirmed": "yes", "note": "stolen laptop"})
    gone = TokenGrant.objects.exclude(ended_at=None)
    assert gone.count() == (ended if role in heard else 0)
    for grant in gone:
        assert (grant.end_note, grant.ended_by) == ("stolen laptop", scene.me)


@pytest.mark.parametrize("role", ["superuser"])
@pytest.mark.parametrize("note", [None, "", "   ", "\0"])
def test_nothing_ends_without_a_reason(scene: Scene, note: str | None):
    form = {"grant": str(scene.jane.pk), "confirmed": "yes"}
    answer = scene.client.post(f"{HOME}end/", form if note is None else {**form, "note": note})
    assert (answer.status_code, "Please say why." in answer.text) == (200, True)
    assert EndOrder.objects.count() == 0


@pytest.mark.parametrize("role", ["superuser"])
@pytest.mark.parametrize("method", ["get", "head", "put", "delete", "options"])
def test_nothing_ends_by_a_link(scene: Scene, method: str):
    query = f"grant={scene.jane.pk}&confirmed=yes&note=x"
    getattr(scene.client, method)(f"{HOME}end/?{query}")
    getattr(scene.client, method)(f"{HOME}{scene.jane.pk}/again/")
    assert EndOrder.objects.count() == 0


@pytest.mark.parametrize("role", ROLES)
def test_claims_are_for_who_may_see_claims(scene: Scene, role: str):
    page = scene.client.get(f"{HOME}{scene.jane.pk}/change/").text
    assert ("Jane Claimed" in page) is (role in ("claims", "superuser"))


@pytest.mark.parametrize("role", sorted(SEES))
def test_each_look_at_a_grant_is_on_record(scene: Scene, role: str):
    scene.client.get(f"{HOME}{scene.jane.pk}/change/")
    [event] = scene.jane.events.filter(kind="viewed")
    with_claims = role in ("claims", "superuser")
    assert (event.by, event.note) == (scene.me, "with claims" if with_claims else "")
    [logged] = admin.models.LogEntry.objects.filter(user=scene.me)
    assert logged.object_id == str(scene.jane.pk)
    assert logged.change_message == ("Viewed with claims." if with_claims else "Viewed.")


@pytest.mark.parametrize("role", ["viewer"])
def test_who_may_only_see_is_offered_nothing_else(scene: Scene):
    pages = [scene.client.get(HOME).text, scene.client.get(f"{HOME}{scene.jane.pk}/change/").text]
    for page in pages:
        assert not re.search(r"end_selected|tokengrant/end/|again/|/delete/|/add/", page)
