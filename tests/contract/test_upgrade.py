"""A site that used plain mozilla-django-oidc, changed by the steps of docs/upgrade.md.

Its people are found again: by (issuer, sub), and once, if the site says so, by verified e-mail.
"""

from __future__ import annotations

import datetime
import json
import shutil
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from oauthbff.errors import LoginFailed
from oauthbff.login.matching import match
from oauthbff.models import Identity
from oauthbff.testing import StrictProvider
from tests.support.browser import Browser
from tests.support.pages import Desk, outside_the_repository
from tests.support.ports import free_port, is_listening
from tests.support.site import ROOT

PAGE = ROOT / "docs/upgrade.md"
OLD = ROOT / "tests/support/old_site"
ISSUER = "http://127.0.0.1:9/op"  # tests.settings


# --- the page, step by step ---


@pytest.fixture
def strict() -> Iterator[StrictProvider]:
    with StrictProvider("old-site", "old-secret-old-secret") as provider:
        yield provider


def test_every_step_of_the_page_and_everybody_is_found_again(
    strict: StrictProvider, tmp_path: Path
):
    port = free_port()
    home = f"http://localhost:{port}"
    shutil.copytree(OLD, tmp_path / "site")
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    env = outside_the_repository(PATH=path, PYTHONPATH=str(ROOT), OP=strict.issuer)
    instead = {
        "pip install oauthbff": "true",  # it is there; the tutorial installs the wheel
        "2027-01-31": str(tomorrow()),
        "https://id.example.com": strict.issuer,
        "https://app.example.com": home,
        "https://photos.example.com/v1/": f"http://127.0.0.1:{free_port()}/",
        "python manage.py oauthbff_doctor": "python manage.py oauthbff_doctor || true",  # no API
    }
    desk = Desk(tmp_path / "site", env, instead)
    desk.shell("python manage.py migrate -v0")

    def hello(sub: str, email: str, *, verified: bool) -> str:
        """What the site says to somebody whose browser has never been there."""
        strict.login_as(sub, email=email, email_verified=verified)
        came = Browser(home, strict).navigate("/")
        return came.query.get("bff_error", came.text)

    with desk.server(f"python manage.py runserver --noreload {port}") as old:
        old.start(lambda: is_listening(port), seconds=60)
        for sub, verified in (("jane", True), ("bob", False)):
            mail = f"{sub}@example.com"
            assert hello(sub, mail, verified=verified) == f"Hello {mail}"
    before = people(desk)
    assert before == [(1, "jane@example.com"), (2, "bob@example.com")]

    for _ in desk.follow(PAGE):
        raise AssertionError("the page starts no server")

    with desk.server(f"python manage.py runserver --noreload {port}") as new:
        new.start(lambda: is_listening(port), seconds=60)
        assert hello("jane", "jane@example.com", verified=True) == "Hello jane@example.com"
        assert hello("jane", "jo@example.com", verified=False) == "Hello jo@example.com"
        assert hello("bob", "bob@example.com", verified=False) == "email_conflict"
        desk.shell("python manage.py linkuser --user $(python manage.py who bob) --subject bob")
        assert hello("bob", "bob@example.com", verified=False) == "Hello bob@example.com"
        log = new.log()

    assert [pk for pk, _ in people(desk)] == [1, 2]
    assert "the provider does not vouch for the address" in log


def tomorrow() -> datetime.date:
    return datetime.datetime.now(tz=datetime.UTC).date() + datetime.timedelta(days=1)


def people(desk: Desk) -> list[tuple[int, str]]:
    return [(pk, mail) for pk, mail in json.loads(desk.shell("python manage.py people"))]


# --- the match, rule by rule ---


@pytest.fixture
def until_tomorrow(settings: Any) -> None:
    settings.OAUTHBFF = {**settings.OAUTHBFF, "MATCH_EMAIL_UNTIL": tomorrow().isoformat()}


@pytest.fixture
def jane() -> User:
    return User.objects.create_user("old-jane", "Jane@example.com")


def claims(**more: Any) -> dict[str, Any]:
    return {"sub": "24400320", "email": "jane@example.com", "email_verified": True, **more}


pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.usefixtures("until_tomorrow")
def test_a_verified_address_of_one_user_matches_once_and_is_written_down(jane: User):
    assert match(claims()) == jane

    identity = Identity.objects.get()
    assert (identity.issuer, identity.subject, identity.user) == (ISSUER, "24400320", jane)
    [line] = LogEntry.objects.filter(object_id=str(jane.pk))
    assert line.change_message == f"Linked to 24400320 at {ISSUER}, by email."
    # The address changes hands: whoever has it now is somebody new.
    assert match(claims(sub="another")) is None
    assert Identity.objects.count() == 1


@pytest.mark.parametrize("until", [None, "2020-01-01"])
def test_nobody_is_matched_unless_the_site_says_so_and_not_after_that_day(
    settings: Any, jane: User, until: str | None
):
    if until:
        settings.OAUTHBFF = {**settings.OAUTHBFF, "MATCH_EMAIL_UNTIL": until}
    assert match(claims()) is None
    assert not Identity.objects.exists()


@pytest.mark.usefixtures("until_tomorrow", "jane")
@pytest.mark.parametrize("said", [False, None, "true", 1, "yes"])
def test_an_address_that_nobody_vouches_for_is_refused(said: Any):
    with pytest.raises(LoginFailed, match="email_conflict: the provider does not vouch"):
        match(claims(email_verified=said))
    assert not Identity.objects.exists()


@pytest.mark.usefixtures("until_tomorrow", "jane")
def test_an_address_of_two_users_is_refused():
    User.objects.create_user("other-jane", "jane@example.com")
    with pytest.raises(LoginFailed, match="email_conflict: 2 users"):
        match(claims())
    assert not Identity.objects.exists()


@pytest.mark.usefixtures("until_tomorrow")
@pytest.mark.parametrize("field", ["is_staff", "is_superuser"])
def test_the_staff_is_matched_by_nothing_but_the_command(jane: User, field: str):
    setattr(jane, field, True)
    jane.save()
    with pytest.raises(LoginFailed, match="of the staff"):
        match(claims())

    said = StringIO()
    call_command("linkuser", user="old-jane", subject="24400320", stdout=said)

    assert "24400320" in said.getvalue()
    assert Identity.objects.get().user == jane
    assert LogEntry.objects.get().change_message.endswith("by command.")


@pytest.mark.usefixtures("until_tomorrow")
def test_who_is_disabled_stays_out(jane: User):
    jane.is_active = False
    jane.save()
    with pytest.raises(LoginFailed, match="user_disabled"):
        match(claims())


@pytest.mark.usefixtures("until_tomorrow")
@pytest.mark.parametrize("email", ["jane@example.com", "", None, 5, ["jane@example.com"]])
def test_who_has_no_user_here_is_new(email: Any):
    assert match(claims(email=email)) is None


@pytest.mark.usefixtures("until_tomorrow")
def test_letters_that_only_look_alike_are_others():
    User.objects.create_user("a", "mıke@example.com")
    assert match(claims(email="MIKE@example.com")) is None
    assert match(claims(email="mıKE@example.com")) is None


@pytest.mark.usefixtures("jane")
def test_the_command_ties_nobody_twice():
    call_command("linkuser", user="old-jane", subject="1", stdout=StringIO())
    User.objects.create_user("bob")
    for name, subject, said in (
        ("bob", "1", "1 is old-jane already"),
        ("old-jane", "2", "tied to another subject"),
        ("nobody", "3", "No user is called nobody"),
    ):
        with pytest.raises(CommandError, match=said):
            call_command("linkuser", user=name, subject=subject, stdout=StringIO())
    assert Identity.objects.count() == 1
