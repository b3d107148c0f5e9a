"""`oauthbff.access_token` for the site's own code: only what stands gets a token."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction
from django.test import RequestFactory
from django.utils import timezone

import oauthbff
from oauthbff import grants
from oauthbff.errors import GrantEnded, LoginRequired, ProviderError
from oauthbff.models import EndReason, TokenGrant
from tests.contract.test_signals import SECRETS, issue

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_standing_grant_gives_its_token_as_long_as_it_lives():
    assert oauthbff.access_token(issue()) == SECRETS[0]
    assert oauthbff.access_token(TokenGrant.objects.get(), None) == SECRETS[0]


@pytest.mark.parametrize("reason", ["admin", "idle", "absolute", "user_disabled", "gone"])
def test_a_grant_that_does_not_stand_gives_none_even_to_who_read_it_before(reason: str):
    grant = issue()
    row = TokenGrant.objects.filter(pk=grant.pk)
    long_ago = timezone.now() - timedelta(days=1)
    if reason == "admin":
        grants.end(row, reason=EndReason.ADMIN, tell_now=False)
    elif reason == "idle":
        row.update(last_used_at=long_ago)
    elif reason == "absolute":
        row.update(expires_at=long_ago)
    elif reason == "user_disabled":
        assert grant.user is not None
        type(grant.user).objects.update(is_active=False)
    else:
        row.delete()
    with pytest.raises(LoginRequired) as refused:
        oauthbff.access_token(grant)
    if reason == "gone":
        assert not isinstance(refused.value, GrantEnded)
    else:
        assert isinstance(refused.value, GrantEnded)
        assert refused.value.reason == reason


def test_a_refresh_that_nobody_answers_is_an_error_that_says_when_to_try_again():
    grant = issue()
    TokenGrant.objects.update(access_expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(ProviderError) as down:  # tests/settings.py names a dead provider
        oauthbff.access_token(grant)
    assert down.value.retry_after >= 1
    assert TokenGrant.objects.get().ended_at is None


def test_a_request_without_a_session_gives_a_typed_refusal(rf: RequestFactory):
    from django.contrib.sessions.backends.db import SessionStore

    request = rf.get("/")
    request.session = SessionStore()
    with pytest.raises(LoginRequired):
        oauthbff.access_token(request)


def test_a_young_token_is_handed_out_inside_a_transaction_too():
    grant = issue()
    with transaction.atomic():
        assert oauthbff.access_token(grant) == SECRETS[0]
