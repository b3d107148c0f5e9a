"""What was judged is remembered for the very rows it was judged by, while it holds."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import User

from oauthbff.grants.judged import Judged
from oauthbff.grants.judging import is_judged_by_row

ROWS = [("session", 1, None), ("session", 2, b"sealed")]
GRANT = uuid.UUID(int=1)
NOW = datetime(2026, 11, 28, tzinfo=UTC)
HOUR = timedelta(hours=1)


def known() -> Judged:
    found = Judged(2)
    found.keep("key", ROWS, GRANT, since=NOW, until=NOW + HOUR)
    return found


def test_the_same_rows_are_judged_once():
    assert known().get("key", [*ROWS], NOW) == GRANT


@pytest.mark.parametrize(
    ("key", "rows"),
    [
        ("another", ROWS),
        ("key", []),
        ("key", ROWS[:1]),
        ("key", ROWS[::-1]),
        ("key", [("session", 1, None), ("session", 2, b"Sealed")]),
        ("key", [("session", 1, NOW), ("session", 2, b"sealed")]),
    ],
)
def test_any_others_are_judged_anew(key: str, rows: list[tuple[object, ...]]):
    assert known().get(key, rows, NOW) is None


@pytest.mark.parametrize(
    ("when", "holds"),
    [(-HOUR, False), (0 * HOUR, True), (0.9 * HOUR, True), (HOUR, False)],
)
def test_time_judges_as_well(when: timedelta, holds: bool):
    """Also one that went back."""
    assert (known().get("key", ROWS, NOW + when) == GRANT) is holds


def test_the_oldest_makes_room():
    found = Judged(2)
    for key in ("a", "b", "a", "c"):
        found.keep(key, ROWS, GRANT, since=NOW, until=NOW + HOUR)
    assert [key for key in "abc" if found.get(key, ROWS, NOW)] == ["a", "c"]


def test_nothing_is_left_of_what_is_cleared():
    found = known()
    found.clear()
    assert found.get("key", ROWS, NOW) is None


class ByAnotherHash(AbstractBaseUser):
    class Meta:
        abstract = True

    def get_session_auth_hash(self) -> str:
        return "of more than the password"


class ActiveBySomethingElse(AbstractBaseUser):
    class Meta:
        abstract = True

    @property
    def is_active(self) -> bool:  # type: ignore[override]
        return True


def test_a_users_class_that_looks_further_is_asked_each_time():
    judged_by_row = [is_judged_by_row(c) for c in (User, ByAnotherHash, ActiveBySomethingElse)]
    assert judged_by_row == [True, False, False]
