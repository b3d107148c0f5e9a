"""The admin's pages: whatever is in the rows, in the address bar and in the search box."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from oauthbff import grants
from oauthbff.admin import counting, finding
from oauthbff.models import EndOrder, EndReason, GrantEvent, Revocation, TokenGrant
from oauthbff.vault import Envelope
from tests.support import canary
from tests.support.rows import grant_of, grants_of, person

pytestmark = pytest.mark.django_db

HOME = "/admin/oauthbff/tokengrant/"
NASTY = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7*7 }}"


@pytest.fixture
def ada() -> User:
    return person("ada", is_staff=True, is_superuser=True)


@pytest.fixture
def client(ada: User) -> Client:
    client = Client()
    client.force_login(ada, backend="django.contrib.auth.backends.ModelBackend")
    return client


def shown(client: Client, address: str = "") -> str:
    answer = client.get(HOME + address)
    assert answer.status_code == 200, (address, answer.status_code)
    return answer.text


def people_in(page: str) -> set[str]:
    return set(re.findall(r"([a-z]+)@example\.com", page.partition("result_list")[2]))


def filters_in(page: str) -> str:
    filters = page.partition('id="grant-filters"')[2].partition("</nav>")[0]
    assert "Scope" in filters
    return filters


# --- search ---


@pytest.fixture
def three() -> dict[str, TokenGrant]:
    jane = person("jane", first_name="Jane", last_name="Doe")
    found = {
        "jane": grant_of(jane, subject="2440", sid="s-1", ip="192.0.2.1"),
        "bob": grant_of(person("bob"), subject="Jane", sid="s-2", ip="2001:db8::1"),
        "eve": grant_of(person("eve"), subject="2441", sid="s-3", ip="192.0.2.3"),
    }  # fmt: skip
    TokenGrant.objects.bulk_create(found.values())
    return found


@pytest.mark.parametrize(
    ("question", "people"),
    [
        ("jane", {"jane"}),
        ("JANE", {"jane"}),
        ("doe jane", {"jane"}),
        ("jane bob", set()),
        ("example.com", {"jane", "bob", "eve"}),
        ("2440", {"jane"}),
        ("244", set()),
        ("s-2", {"bob"}),
        ("192.0.2.3", {"eve"}),
        ("2001:DB8:0::1", {"bob"}),
        ("192.0.2.99", set()),
        ("  jane  ", {"jane"}),
        ("", {"jane", "bob", "eve"}),
        ("{handle}", {"jane"}),
        ("%", set()),
        ("_", set()),
    ],
)
def test_search_finds(client: Client, three: Any, question: str, people: set[str]):
    question = question.format(handle=three["jane"].pk)
    answer = client.get(HOME, {"q": question})
    assert people_in(answer.text) == people


def test_a_subject_to_the_letter_is_found_beside_people_of_that_name(client: Client, three: Any):
    assert people_in(client.get(HOME, {"q": "Jane"}).text) == {"jane", "bob"}


def test_more_people_than_can_be_named_are_all_found(client: Client):
    everybody = [person(f"smith{number}") for number in range(finding.MOST_PEOPLE + 1)]
    TokenGrant.objects.bulk_create(grant_of(user) for user in everybody)
    assert f"{len(everybody)} grants" in shown(client, "?q=smith")


ODD = [
    "%00", "a%00b", "%ff%fe", "%ed%a0%80", "x" * 5000, "%25", "'", '"', "\\", "%0a", "{handle}",
    "99999999999999999999999", "1.2.3.4.5", "::", "fe80::1%25eth0", "urn:uuid:1", "not-a-uuid",
    "%F0%9F%98%80", "';DROP TABLE x--", "${7*7}", "%E2%80%AE",
]  # fmt: skip
FIELDS = ["q", "p", "o", "e", "state", "used", "reason", "revocation", "provider", "scope", "user"]
FIELDS += ["created_at__year", "created_at__month", "created_at__day", "_facets", "all", "_popup"]
FIELDS += ["upstream"]


@pytest.mark.parametrize("field", FIELDS)
def test_odd_words_in_the_address_are_no_failure(client: Client, three: Any, field: str):
    for odd in [*ODD, "", "-1", "0", "9999", "1"]:
        assert client.get(f"{HOME}?{field}={odd}").status_code in (200, 302), odd


def test_odd_dates_are_no_failure(client: Client, three: Any):
    for odd in [*ODD, "", "-1", "0", "13", "9999"]:
        for query in ("year={0}", "year=2026&{1}month={0}", "year=2026&{1}month=2&{1}day={0}"):
            query = query.format(odd, "created_at__")
            assert client.get(f"{HOME}?created_at__{query}").status_code in (200, 302), query


@pytest.mark.parametrize("field", ["grant", "user", "keep", "provider"])
def test_odd_words_where_an_ending_begins_are_not_found(client: Client, three: Any, field: str):
    for odd in ODD:
        query = f"{field}={odd}" if field != "keep" else f"user={three['jane'].user_id}&keep={odd}"
        assert client.get(f"{HOME}end/?{query}").status_code == 404, odd
    for odd in ("0", "-1", "x", "%00", "null", "1e9", str(2**70)):
        assert client.get(f"{HOME}end/?user={odd}").status_code == 404, odd


@pytest.mark.parametrize("handle", ["x", "%00", str(uuid.UUID(int=1)), "1%0a", "x" * 300])
@pytest.mark.parametrize("door", ["change", "history"])
def test_a_grant_that_there_is_not_is_said_to_be_none(client: Client, handle: str, door: str):
    assert client.get(f"{HOME}{handle}/{door}/").status_code in (302, 404)


@pytest.mark.parametrize(
    "lookup",
    "envelope__startswith session_digest__startswith lease_owner__gt user__password__startswith "
    "user__email__contains version__gt id__gt events__note__contains end_order__note".split(),
)
def test_no_column_can_be_asked_about_letter_by_letter(client: Client, three: Any, lookup: str):
    answer = client.get(f"{HOME}?{lookup}=v1")
    assert answer.status_code == 400
    assert "jane" not in answer.text


# --- filters ---


def every_choice() -> Iterator[tuple[str, str]]:
    pages = admin.site.get_model_admin(TokenGrant)
    for each in pages.list_filter:
        if each not in (finding.UserFilter, finding.ProviderFilter):
            for value, _label in each(None, {}, TokenGrant, pages).lookup_choices:
                yield each.parameter_name, str(value)


@pytest.mark.parametrize(("name", "value"), list(every_choice()))
def test_each_choice_of_each_filter_shows_those_and_no_others(
    client: Client, name: str, value: str
):
    now, long_ago = timezone.now(), timezone.now() - timedelta(days=2)
    ended: dict[str, Any] = {"ended_at": now, "end_reason": "logout", "revocation": "done"}
    kinds: dict[str, dict[str, Any]] = {
        "active": {},
        "idling": {"last_used_at": now - timedelta(seconds=1500)},
        "unused": {"last_used_at": now - timedelta(seconds=4000), "upstreams": "photos-of-old"},
        "old": {"expires_at": now},
        "scoped": {"scopes": "openid email", "last_used_at": now - timedelta(seconds=1500)},
        "called": {"upstreams": "weather photos news", "last_used_at": long_ago},
        **{f"r{n}": ended | {"end_reason": reason} for n, reason in enumerate(EndReason)},
        **{f"t{n}": ended | {"revocation": told} for n, told in enumerate(Revocation) if n},
    }
    letters = dict(zip(kinds, "abcdefghijklmnopqrstuvwxyz", strict=False))
    for kind, facts in kinds.items():
        usual = {"created_at": long_ago, "scopes": "openid profile"}
        grants_of(person(letters[kind] * 3), 1, **(usual | facts))

    def of(*chosen: str) -> set[str]:
        return {letters[kind] * 3 for kind in chosen}

    endings = of(*(kind for kind in kinds if kind[0] in "rt" and kind[1:].isdigit()))
    expected = {
        ("state", "active"): of("active", "idling", "scoped"),
        ("state", "idle-soon"): of("idling", "scoped"),
        ("state", "over"): of("unused", "old", "called"),
        ("state", "ended"): endings,
        ("used", "5m"): of("active", "old"),
        ("used", "1h"): of("active", "old", "idling", "scoped"),
        ("used", "1d"): of("active", "old", "idling", "scoped", "unused"),
        ("scope", "openid"): of(*kinds),
        ("scope", "profile"): of(*kinds) - of("scoped"),
        ("scope", "email"): of("scoped"),
        ("upstream", "photos"): of("called"),
        **{("reason", reason): of(f"r{n}") for n, reason in enumerate(EndReason)},
        **{("revocation", told): of(f"t{n}") for n, told in enumerate(Revocation) if n},
    }
    expected["reason", "logout"] |= of(*(kind for kind in kinds if kind[0] == "t"))
    expected["revocation", "done"] |= of(*(kind for kind in kinds if kind[0] == "r"))
    assert people_in(shown(client, f"?{name}={value}")) == expected[name, value]


def test_a_provider_can_be_chosen_where_there_are_several(client: Client, three: Any):
    assert "provider=" not in filters_in(shown(client))
    grants_of(person("zoe"), 1, issuer="https://other.example.org")
    page = shown(client)
    assert "provider=https%3A%2F%2Fother.example.org" in filters_in(page)
    assert people_in(shown(client, "?provider=https://other.example.org")) == {"zoe"}


def test_a_users_grants_can_be_listed_and_the_filter_taken_away(client: Client, three: Any):
    page = shown(client, f"?user={three['bob'].user_id}")
    assert people_in(page) == {"bob"}
    assert "User: <strong>bob@example.com</strong>" in filters_in(page)


def test_days_are_offered_from_the_first_to_the_last_and_only_those(client: Client):
    jane = person("jane")
    for day in ("2026-02-27", "2026-03-02"):
        grants_of(jane, 1, created_at=f"{day}T12:00:00Z")
    page = shown(client)
    assert "February 2026" in page and "March 2026" in page and "April 2026" not in page
    page = shown(client, "?created_at__year=2026&created_at__month=2&state=ended")
    assert "created_at__day=27&amp;" in page and "created_at__day=26&amp;" not in page
    assert "state=ended" in page.partition("created_at__day=27")[2][:100]
    assert "1 grant" in shown(client, "?created_at__year=2026&created_at__month=2")


# --- what it costs ---


def queries(client: Client, address: str) -> int:
    client.get(HOME + address)  # the content types are remembered from now on
    with CaptureQueriesContext(connection) as captured:
        shown(client, address)
    return len(captured)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "?state=active",
        "?q=jane",
        "dashboard/",
        "orders/",
        "end/?user={user}",
        "orders/{order}/",
    ],
)
def test_the_number_of_queries_is_the_same_whatever_the_rows(
    client: Client, ada: User, address: str
):
    jane = person("jane")
    facts = {"end_reason": "admin", "revocation": "pending", "ended_at": timezone.now()}
    none = TokenGrant.objects.none()
    order = grants.order_end(none, scope="chosen", by=ada, note="why")
    address = address.format(user=jane.pk, order=order.pk)
    for few in range(2):
        grants_of(jane, 1)
        grants_of(person(f"few{few}"), 1, **facts, end_order=order)
    before = queries(client, address)
    everybody = [person(f"user{number}") for number in range(60)]
    TokenGrant.objects.bulk_create(grant_of(user) for user in everybody)
    TokenGrant.objects.bulk_create(grant_of(user, **facts, end_order=order) for user in everybody)
    grants_of(jane, 60)
    assert queries(client, address) == before


def test_the_list_counts_no_further_than_its_limit(client: Client):
    grants_of(person("jane"), 3)
    counted = counting.count_up_to(2, TokenGrant.objects.all())
    assert (counted, counted.stopped, counted.text) == (2, True, "2+")
    exact = counting.count_up_to(3, TokenGrant.objects.all())
    assert (exact, exact.stopped, exact.text) == (3, False, "3")
    with CaptureQueriesContext(connection) as captured:
        shown(client)
    counts = [each["sql"] for each in captured if "COUNT(" in each["sql"].upper()]
    assert counts and all("LIMIT" in sql for sql in counts), counts


def test_the_line_of_counts(client: Client):
    now = timezone.now()
    jane = person("jane")
    grants_of(jane, 2)
    grants_of(jane, 1, last_used_at=now - timedelta(days=1))  # its time is up
    ended: dict[str, Any] = {"end_reason": "idle", "revocation": "pending"}
    grants_of(jane, 3, ended_at=now, **ended)
    grants_of(jane, 1, ended_at=now - timedelta(days=3, hours=2), **ended)
    figures = re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)</dd>", shown(client))
    assert [(what, number.replace("\xa0", " ")) for what, number in figures] == [
        ("active now", "2"),
        ("ended today", "3"),
        ("revocations waiting", "4"),
        ("the oldest waits for", "3 days"),
    ]


def test_the_only_reason_of_a_day_is_named_below_its_picture(client: Client):
    now = timezone.now()
    grants_of(person("jane"), 2, ended_at=now, end_reason=EndReason.IDLE)
    after = shown(client, "dashboard/").partition("chart-endings-head")[2]
    endings = after.partition("<details")[0]
    assert re.findall(r"</span>([^<]+)</li>", endings) == ["unused for too long"]


# --- what must never be in a page ---


@pytest.mark.django_db(transaction=True)
def test_what_outsiders_wrote_is_text_everywhere(client: Client, ada: User):
    jane = person("jane", first_name=NASTY[:150], last_name="<b>Doe</b>")
    [grant] = grants_of(
        jane, 1, user_agent=NASTY, subject=NASTY, sid=NASTY, scopes=NASTY,
        issuer=f"https://{NASTY}", claims={"sub": NASTY, NASTY: NASTY, "deep": {"a": [NASTY]}},
    )  # fmt: skip
    order = grants.order_end(
        TokenGrant.objects.all(), scope="list", label=NASTY, by=ada, note=NASTY
    )
    grants.carry_out(order, seconds=0)
    TokenGrant.objects.update(revocation_error=NASTY[:255])
    for kind in GrantEvent.Kind:
        GrantEvent.objects.create(grant=grant, at=timezone.now(), kind=kind, note=NASTY, by=jane)
    [standing] = grants_of(jane, 1, subject=NASTY, user_agent=NASTY, issuer=f"https://{NASTY}")
    ways = ["", "?q=%3Cscript%3E", "dashboard/", "orders/", f"orders/{order.pk}/"]
    ways += [f"{grant.pk}/{door}/" for door in ("change", "history")]
    ways += [f"end/?grant={standing.pk}", f"end/?user={jane.pk}", f"?user={jane.pk}"]
    ways += [f"end/?provider={quote(standing.issuer)}", f"?provider={quote(standing.issuer)}"]
    pages = [shown(client, way) for way in ways]
    pages.append(client.get(f"/admin/auth/user/{jane.pk}/change/").text)
    pages.append(client.post(f"{HOME}orders/{order.pk}/", {"step": "1"}, follow=True).text)
    for way, page in zip([*ways, "user", "step"], pages, strict=True):
        assert "<script>alert" not in page, way
        assert "<img src=x" not in page, way
        assert "<b>Doe" not in page, way
        assert ">49<" not in page, way
    assert "&lt;script&gt;alert(1)" in pages[5]


def test_half_a_character_in_a_claim_hides_no_grant(client: Client):
    [grant] = grants_of(person("jane"), 1, claims={"name": "J\ud800", "\ud800": ["\ud800"]})
    assert "<dd>J?</dd>" in shown(client, f"{grant.pk}/change/")


SECRETS = {
    "access token": "access-token-7f3a91c2e8",
    "refresh token": "refresh-token-0b51d7f4aa",
    "ID token": "id-token-5599aa22ee11",
    "session key": "sessionkeysessionkey0123456789ab",
    "token for a resource": "resource-token-66bbccdd00",
    "nonce": "nonce-of-the-sign-in-31337",
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("ended", [False, True])
def test_no_page_holds_a_secret(client: Client, ada: User, ended: bool):
    jane = person("jane")
    grant = grant_of(jane, session_digest="d1" * 32, lease_owner="lease-owner-of-somebody")
    grant.envelope = Envelope(
        access_token=SECRETS["access token"],
        refresh_token=SECRETS["refresh token"],
        id_token=SECRETS["ID token"],
        session_key=SECRETS["session key"],
        claims={"sub": "jane"},
        first={"nonce": SECRETS["nonce"]},
        resources={
            "https://api.example.com": {
                "access_token": SECRETS["token for a resource"],
                "expires_at": 1893456000.0,
            }
        },
    ).seal(grant.place)
    grant.save()
    sealed = {"envelope": grant.envelope, "digest": "d1" * 32, "lease": "lease-owner-of-somebody"}
    order = grants.order_end(TokenGrant.objects.all(), scope="chosen", by=ada, note="why")
    if ended:
        grants.carry_out(order, seconds=0)
    ways = ["", f"?q={grant.pk}", f"?q={SECRETS['access token']}", "dashboard/", "orders/"]
    ways += [f"orders/{order.pk}/", f"{grant.pk}/change/", f"{grant.pk}/history/"]
    ways += [f"end/?grant={grant.pk}", f"end/?user={jane.pk}"]
    pages = [shown(client, way) for way in ways]
    pages.append(client.post(f"{HOME}{grant.pk}/again/", follow=True).text)
    pages.append(client.get(f"/admin/auth/user/{jane.pk}/change/").text)
    asked = {name: secret for name, secret in SECRETS.items() if name != "access token"}
    pages[2] = pages[2].replace(SECRETS["access token"], "")  # what was typed is shown again
    assert canary.find(SECRETS | sealed, *pages) == []
    assert canary.find(asked, repr(grant), str(grant), repr(grants.look_into(grant))) == []
    if not ended:
        assert "https://api.example.com" in pages[6]
        assert grants.look_into(grant).fingerprint in pages[6]  # type: ignore[union-attr]


def test_all_that_wait_can_be_told_again_and_the_count_is_of_all(client: Client):
    """Nobody answers at this provider; the grants of the list that were told are none of it."""
    facts: dict[str, Any] = {"ended_at": timezone.now(), "end_reason": "admin"}
    later = timezone.now() + timedelta(hours=1)
    waiting = grants_of(person("jane"), 60, revocation="pending", revocation_due_at=later, **facts)
    grants_of(person("bob"), 2, revocation="done", **facts)
    form = {"action": "tell_selected", "_selected_action": waiting[0].pk, "select_across": "1"}
    said = client.post(HOME, form, follow=True).text
    assert "The provider was told of 0; 60 still wait." in said
    assert TokenGrant.objects.filter(revocation_due_at__lt=later).count() == 60


def test_the_history_says_codes_in_words_and_all_else_to_the_letter(client: Client):
    [grant] = grants_of(person("jane"), 1)
    now = timezone.now()
    notes = {
        "ended": ["invalid_grant", "laptop stolen"],
        "revoked": ["done", "unsupported"],
        "viewed": ["with claims"],
        "refresh_failed": ["idle"],
    }
    for kind, texts in notes.items():
        for note in texts:
            GrantEvent.objects.create(grant=grant, at=now, kind=kind, note=note)
    page = shown(client, f"{grant.pk}/change/").partition('id="grant-timeline"')[2]
    told = re.findall(r"<strong>([^<]+)</strong>\s*(?:<span[^>]*>([^<]*)</span>)?", page)
    assert sorted(told) == [
        ("ended", "laptop stolen"),
        ("ended", "refused by the provider"),
        ("refresh failed", "idle"),
        ("revoked at the provider", ""),
        ("revoked at the provider", "provider has no revocation endpoint"),
        ("viewed by an administrator", "with claims"),
    ]


def test_looking_never_ends_a_grant_whose_key_is_gone(client: Client):
    [grant] = grants_of(person("jane"), 1)
    TokenGrant.objects.update(envelope=grant.envelope.replace("v1.test.", "v1.gone."))
    assert "its key is not configured" in shown(client, f"{grant.pk}/change/")
    grant.refresh_from_db()
    assert grant.ended_at is None


def test_nothing_of_it_can_be_changed_by_saving_the_page(client: Client):
    [grant] = grants_of(person("jane"), 1)
    answer = client.post(f"{HOME}{grant.pk}/change/", {"subject": "mallory", "_save": "Save"})
    assert answer.status_code == 403
    assert TokenGrant.objects.get().subject == "jane"


def test_orders_are_found_again(client: Client, ada: User):
    grants_of(person("jane"), 3)
    standing = TokenGrant.objects.filter(ended_at=None)
    order = grants.order_end(standing, scope="user", label="Jane", by=ada, note="ticket 4711")
    page = shown(client, "orders/")
    assert str(order.pk) in page and "ticket 4711" in page and "3 still to end" in page
    assert EndOrder.objects.count() == 1


# --- in other languages ---


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("de", ["Anmeldungen", "Alle abmelden…", "jetzt aktiv", "Was geschah", "Beenden und"]),
        ("fr", ["Tableau de bord", "actives maintenant", "Ce qui s’est passé", "Terminer et"]),
    ],
)
def test_the_pages_speak_german_and_french(
    client: Client, settings: Any, language: str, words: list[str]
):
    settings.LANGUAGE_CODE = language
    [grant] = grants_of(person("jane"), 1)
    ways = (
        "",
        "dashboard/",
        f"{grant.pk}/change/",
        f"end/?grant={grant.pk}",
        "?q=jane&state=ended",
    )
    pages = "".join(shown(client, way) for way in ways)
    for word in words:
        assert word in pages, word
    for english in ("End this grant", "active now", "What happened", "Why?", "search or filter"):
        assert english not in pages, english
