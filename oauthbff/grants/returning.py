"""Give back tokens that were received and cannot be kept."""

from __future__ import annotations

import dataclasses

from django.db.models import F
from django.utils import timezone

from oauthbff import events, provider
from oauthbff.claims import TokenResponse
from oauthbff.errors import KeyStoreUnavailable, ProviderError, SealBroken
from oauthbff.models import Revocation, TokenGrant
from oauthbff.vault import Envelope


def give_back(tokens: TokenResponse, *, ended: TokenGrant | None = None) -> None:
    """Revoke tokens that were received and cannot be kept. RFC 7009.

    `ended` is the grant they came for, if there is one: what the provider does not
    confirm now joins its revocation, and `sweepgrants` goes on asking.
    """
    late: list[tuple[str, str]] = []
    for token, hint in (
        (tokens.refresh_token, "refresh_token"),
        (tokens.access_token, "access_token"),
    ):
        if token is None:
            continue
        try:
            provider.revoke(token, hint)
        except ProviderError as exc:
            events.token_not_given_back(exc, grant=ended.pk if ended else None)
            late.append((token, hint))
    if late and ended is not None:
        try:
            _add_to_revocation(ended, late)
        except KeyStoreUnavailable as exc:
            events.token_not_given_back(exc, grant=ended.pk)


def _add_to_revocation(grant: TokenGrant, late: list[tuple[str, str]]) -> None:
    """Reopen the revocation of an ended grant for more tokens; who is just asking asks again."""
    while True:
        found = TokenGrant.objects.filter(pk=grant.pk).exclude(ended_at=None).first()
        if found is None:
            return
        envelope = dataclasses.replace(_what_is_left(found), late=late)
        if TokenGrant.objects.filter(pk=found.pk, version=found.version).update(
            envelope=envelope.seal(found.place, instead_of=found.envelope),
            version=F("version") + 1,
            lease_owner="",
            revocation=Revocation.PENDING,
            revocation_due_at=timezone.now(),
        ):
            return


def _what_is_left(grant: TokenGrant) -> Envelope:
    try:
        return Envelope.open(grant.envelope, grant.place)
    except SealBroken:  # the secrets have gone already
        return Envelope(access_token="")
