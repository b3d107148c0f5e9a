"""How long we wait when the provider says so."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from oauthbff.provider import MOST_PATIENT_SECONDS, retry_after

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 5),
        ("120", 120),
        ("0", 1),
        (formatdate(NOW + 90, usegmt=True), 90),
        (formatdate(NOW - 90, usegmt=True), 1),
        ("9" * 400, MOST_PATIENT_SECONDS),
        (formatdate(NOW + 10**8, usegmt=True), MOST_PATIENT_SECONDS),
        ("soon", 5),
        ("-1", 5),
        ("1.5", 5),
        ("²", 5),
        ("", 5),
        ("Fri, 99 Foo 99999 99:99:99 GMT", 5),
    ],
)
def test_seconds_a_date_or_nonsense(value: str | None, seconds: int):
    assert retry_after(value, NOW) == seconds
