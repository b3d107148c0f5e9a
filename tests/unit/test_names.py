"""What a person is called where the site's user model is not Django's."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import AbstractBaseUser

from oauthbff.admin.words import name_of
from oauthbff.models import full_name


class Bare:
    """No more than `AbstractBaseUser` asks for."""

    USERNAME_FIELD = "phone"
    phone = "+49 30 1234"
    get_username = AbstractBaseUser.get_username
    get_email_field_name = classmethod(AbstractBaseUser.get_email_field_name.__func__)  # type: ignore[attr-defined]


class WithMail(Bare):
    email = "jane@example.com"


class Named(WithMail):
    def get_full_name(self) -> str:
        return "Jane Doe"


@pytest.mark.parametrize(
    ("user", "full", "shown"),
    [
        (None, "", "–"),
        (Bare(), "", "+49 30 1234"),
        (WithMail(), "", "jane@example.com"),
        (Named(), "Jane Doe", "Jane Doe"),
    ],
)
def test_a_person_has_a_name_whatever_their_model_knows(user: Any, full: str, shown: str) -> None:
    assert full_name(user) == full
    assert name_of(user) == shown
