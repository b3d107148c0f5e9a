"""The page of a failed sign-in: under DEBUG it tells the developer where to look, else nobody."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

HINTS = [
    ("login_expired", "another name than http://localhost:8000"),
    ("token_rejected", "look for login_failed code=token_rejected"),
]


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize(("code", "hint"), HINTS)
def test_a_developer_is_told_where_to_look(
    settings: Any, code: str, hint: str, debug: bool
) -> None:
    settings.DEBUG = debug
    page = Client().get("/bff/error/", {"bff_error": code})
    text = page.content.decode()
    assert page.status_code == 400 and code in text
    assert (hint in text, "DEBUG" in text) == (debug, debug)
