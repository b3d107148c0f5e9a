"""The page of a failed sign-in: under DEBUG it tells the developer where to look, else nobody."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

HINTS = [
    ("login_expired", "127.0.0.1:8000", "Open http://localhost:8000."),
    ("login_expired", "localhost:8000", "the browser did not keep the cookie"),
    ("token_rejected", "localhost:8000", "look for login_failed code=token_rejected"),
]


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize(("code", "host", "hint"), HINTS)
def test_a_developer_is_told_where_to_look(
    settings: Any, code: str, host: str, hint: str, debug: bool
) -> None:
    settings.DEBUG = debug
    page = Client().get("/bff/error/", {"bff_error": code}, headers={"host": host})
    text = page.content.decode()
    assert page.status_code == 400 and code in text
    assert (hint in text, "DEBUG" in text) == (debug, debug)
