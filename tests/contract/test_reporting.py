"""Error pages and mails: what a crash shows, DEBUG on or off, to everybody or to the admins."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import RequestFactory
from django.utils import timezone
from django.views.debug import get_default_exception_reporter_filter, get_exception_reporter_class

import oauthbff
import oauthbff.conf
from oauthbff import grants, vault
from oauthbff.models import TokenGrant
from tests.contract.test_signals import SECRETS, issue
from tests.support import canary

CODE, STATE, COOKIE, EDGE = (os.urandom(16).hex() for _ in range(4))


def report(request: HttpRequest | None, act: Callable[[], object]) -> str:
    """The page and the mail that an exception of `act` makes."""
    try:
        act()
    except Exception:
        reporter = get_exception_reporter_class(request)(request, *sys.exc_info())
        return reporter.get_traceback_html() + reporter.get_traceback_text()
    raise AssertionError("nothing broke")


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.django_db(transaction=True)
def test_a_crash_shows_no_token_that_our_frames_hold(settings: Any, debug: bool):
    settings.DEBUG = debug
    grant = issue()
    envelope = vault.Envelope.open(grant.envelope, grant.place)
    assert envelope.access_token == SECRETS[0]
    TokenGrant.objects.update(access_expires_at=timezone.now() - timedelta(seconds=1))
    # Nobody answers: an error from deep inside.
    page = report(None, partial(oauthbff.access_token, grant))
    assert "refreshing.py" in page and "ProviderUnreachable" in page
    assert canary.find(dict(zip("ars", SECRETS, strict=True)), page) == []


@pytest.mark.parametrize("debug", [True, False])
def test_a_crash_in_a_view_shows_neither_code_nor_cookie(settings: Any, debug: bool):
    settings.DEBUG = debug
    address = f"/bff/callback/?code={CODE}&state={STATE}&page=7"
    headers = {
        "HTTP_COOKIE": f"{settings.SESSION_COOKIE_NAME}={COOKIE}",
        "HTTP_REFERER": f"https://app.example.com{address}",
        "HTTP_X_BFF_EDGE": EDGE,
        "RAW_URI": address,
        "REQUEST_URI": address,
    }
    request = RequestFactory().get(address, **headers)
    request.COOKIES = {settings.SESSION_COOKIE_NAME: COOKIE, "other": COOKIE}
    page = report(request, partial(broken_view, request))
    assert "the view broke" in page and "page=7" in page  # what is not ours is shown
    hidden = {"code": CODE, "state": STATE, "cookie": COOKIE, "edge": EDGE}
    assert canary.find(hidden, page) == []


def broken_view(request: HttpRequest) -> None:
    raise ValueError("the view broke")


def test_keys_and_client_secret_are_not_among_the_settings_that_are_shown(settings: Any):
    settings.OIDC_RP_CLIENT_SECRET = os.urandom(16).hex()
    shown = repr(get_default_exception_reporter_filter().get_safe_settings())
    secrets = {"client": settings.OIDC_RP_CLIENT_SECRET, "secret key": settings.SECRET_KEY}
    secrets |= settings.OAUTHBFF["KEYS"]
    assert canary.find(secrets, shown) == []


@pytest.mark.django_db(transaction=True)
def test_no_repr_of_ours_shows_a_secret():
    grant = issue()
    envelope = vault.Envelope.open(grant.envelope, grant.place)
    things = [grant, envelope, oauthbff.conf.conf(), grants.reread(grant)]
    assert (
        canary.find(dict(zip("ars", SECRETS, strict=True)), *(f"{one!r} {one}" for one in things))
        == []
    )
