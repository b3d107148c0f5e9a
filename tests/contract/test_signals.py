"""What a site hears of its grants: facts, after commit, and never a token."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from oauthbff import grants, signals
from oauthbff.claims import TokenResponse
from oauthbff.models import EndReason, GrantEvent, TokenGrant

SECRETS = ("the-access-token", "the-refresh-token", "the-session-key")


@pytest.fixture
def heard() -> Any:
    told: list[tuple[str, dict[str, Any]]] = []
    receivers = []
    for name in ("grant_issued", "grant_refreshed", "grant_ended", "grant_revoked_at_provider"):

        def receive(name: str = name, **facts: Any) -> None:
            told.append((name, facts))

        getattr(signals, name).connect(receive, weak=False)
        receivers.append((getattr(signals, name), receive))
    yield told
    for signal, receive in receivers:
        signal.disconnect(receive)


def issue() -> TokenGrant:
    user = User.objects.create_user("jane")
    return grants.issue(
        user=user,
        tokens=TokenResponse(
            access_token=SECRETS[0], expires_in=60, refresh_token=SECRETS[1], scopes=("openid",)
        ),
        subject="jane",
        sid="",
        authenticated_at=datetime.now(tz=UTC),
        shown_claims={"sub": "jane"},
        session_key=SECRETS[2],
        ip="127.0.0.1",
        user_agent="",
    )


@pytest.mark.django_db(transaction=True)
def test_issuing_and_ending_are_told_with_facts_and_without_secrets(heard: Any):
    grant = issue()
    theirs = TokenGrant.objects.filter(pk=grant.pk)
    assert grants.end(theirs, reason=EndReason.ADMIN, note="why", tell_now=False) == 1
    assert grants.end(theirs, reason=EndReason.LOGOUT, tell_now=False) == 0
    assert [name for name, _ in heard] == ["grant_issued", "grant_ended"]
    ended = heard[1][1]
    assert (ended["grant_id"], ended["reason"], ended["note"]) == (grant.pk, "admin", "why")
    assert not any(secret in repr(heard) for secret in SECRETS)
    assert [event.kind for event in GrantEvent.objects.order_by("id")] == ["issued", "ended"]


@pytest.mark.django_db(transaction=True)
def test_nothing_is_told_of_what_was_rolled_back(heard: Any):
    grant = issue()
    heard.clear()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        grants.end(TokenGrant.objects.filter(pk=grant.pk), reason=EndReason.ADMIN)
        _ = 1 / 0
    assert heard == []
    assert TokenGrant.objects.get().ended_at is None


@pytest.mark.django_db(transaction=True)
def test_a_receiver_that_breaks_breaks_nothing(heard: Any):
    def break_it(**_: Any) -> None:
        raise RuntimeError("a site's mistake")

    signals.grant_ended.connect(break_it, weak=False)
    try:
        grant = issue()
        grants.end(TokenGrant.objects.filter(pk=grant.pk), reason=EndReason.ADMIN, tell_now=False)
    finally:
        signals.grant_ended.disconnect(break_it)
    assert TokenGrant.objects.get().end_reason == "admin"


@pytest.mark.django_db(transaction=True)
def test_everyone_must_be_said_and_not_forgotten():
    with pytest.raises(ValueError, match="refusing"):
        grants.end(TokenGrant.objects.all(), reason=EndReason.ADMIN)


@pytest.mark.django_db(transaction=True)
def test_no_repr_or_str_of_a_grant_shows_a_secret():
    grant = issue()
    for text in (repr(grant), str(grant), repr(grant.__dict__), str(vars(grant))):
        assert not any(secret in text for secret in SECRETS)
