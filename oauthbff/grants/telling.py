"""Tell the provider which grants have ended, until it says that it has heard.

The intent is on the row since the transaction that ended the grant. Whoever
claims it by a conditional update asks; several hosts may work the queue at once
and nothing is asked twice. The secrets leave the envelope with the answer.
RFC 7009.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
import uuid
from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from importlib import import_module

from django.conf import settings
from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from oauthbff import provider, signals
from oauthbff.conf import conf
from oauthbff.errors import ProviderError, SealBroken
from oauthbff.models import EndReason, Revocation, TokenGrant
from oauthbff.vault import Envelope

from .rows import Kind, let_go_of_the_database, record

log = logging.getLogger("oauthbff.grants")

LONGEST_BACKOFF_SECONDS = 6 * 3600
WAITS = "waits for the newer sign-in of the same provider session"


def tell(pk: uuid.UUID, *, patience: float | None = None) -> str:
    """Tell the provider that a grant has ended, if it is due and nobody else is at it.

    Waits at most `patience` seconds for each answer (default: `OIDC_TIMEOUT`).
    Returns the state of the revocation afterwards. The refresh token goes first,
    because most providers drop the rest with it. RFC 7009 §2.1.
    """
    grant = TokenGrant.objects.get(pk=pk)
    if _lives_on(grant):
        return Revocation.PENDING
    claimed = TokenGrant.objects.filter(
        pk=pk, revocation=Revocation.PENDING, revocation_due_at__lte=timezone.now()
    ).update(
        revocation_due_at=timezone.now() + timedelta(seconds=3 * conf().lease_seconds),
        revocation_attempts=F("revocation_attempts") + 1,
    )
    if not claimed:
        return grant.revocation
    grant.revocation_attempts += 1
    try:
        envelope = Envelope.open(grant.envelope, grant.place)
    except SealBroken as exc:
        return _settle(grant, Revocation.FAILED, str(exc))
    _delete_session(envelope)  # once more: a crash may have come between end and session
    let_go_of_the_database()
    try:
        told = [
            provider.revoke(token, hint, patience=patience) for token, hint in _tokens_of(envelope)
        ]
    except ProviderError as exc:
        return _postpone(grant, exc)
    return _settle(grant, Revocation.DONE if all(told) else Revocation.UNSUPPORTED)


def _lives_on(grant: TokenGrant) -> bool:
    """Whether a newer sign-in of the same provider session has taken this grant's place.

    Many providers (node oidc-provider, Keycloak) keep one authorization per client and
    session of theirs: revoking the old tokens would take the new ones along. They are
    revoked when the last grant of that session ends; where the provider does not name
    its sessions, when the last grant of that person does. RFC 7009 §2.1.
    """
    if grant.end_reason != EndReason.SUPERSEDED:
        return False
    lives = _siblings(grant).filter(ended_at=None).exists()
    if lives:
        TokenGrant.objects.filter(pk=grant.pk, revocation=Revocation.PENDING).update(
            revocation_due_at=timezone.now() + timedelta(hours=1), revocation_error=WAITS
        )
    return lives


def tell_siblings(grant: TokenGrant, *, deadline: float, patience: float) -> None:
    """The last grant of a provider session has ended: now its predecessors can be revoked."""
    waiting = _siblings(grant).filter(revocation=Revocation.PENDING, revocation_error=WAITS)
    for sibling in list(waiting.values_list("pk", flat=True)):
        waiting.filter(pk=sibling).update(revocation_due_at=timezone.now(), revocation_error="")
        if time.monotonic() < deadline:
            tell(sibling, patience=patience)


def _siblings(grant: TokenGrant) -> QuerySet[TokenGrant]:
    return TokenGrant.objects.filter(
        issuer=grant.issuer, client_id=grant.client_id, sid=grant.sid, subject=grant.subject
    ).exclude(pk=grant.pk)


def delete_session(grant: TokenGrant) -> None:
    """Delete the Django session of a grant, so that the site's other views see nobody."""
    with contextlib.suppress(SealBroken):
        _delete_session(Envelope.open(grant.envelope, grant.place))


def _delete_session(envelope: Envelope) -> None:
    if envelope.session_key is not None:
        import_module(settings.SESSION_ENGINE).SessionStore().delete(envelope.session_key)


def _tokens_of(envelope: Envelope) -> Iterable[tuple[str, str]]:
    if envelope.refresh_token is not None:
        yield envelope.refresh_token, "refresh_token"
    yield envelope.access_token, "access_token"
    for kept in envelope.resources.values():
        yield kept["access_token"], "access_token"


def _settle(grant: TokenGrant, state: Revocation, error: str = "") -> str:
    """The revocation has come to its end: the secrets go."""
    with transaction.atomic():
        TokenGrant.objects.filter(pk=grant.pk).update(
            revocation=state, revocation_error=error[:255], revocation_due_at=None, envelope=""
        )
        failed = state == Revocation.FAILED
        record(grant.pk, Kind.REVOCATION_FAILED if failed else Kind.REVOKED, note=error or state)
        if state == Revocation.DONE:
            transaction.on_commit(
                partial(
                    signals.grant_revoked_at_provider.send_robust,
                    sender=TokenGrant,
                    grant_id=grant.pk,
                )
            )
    log.info("grant %s revocation: %s", grant.pk, state)
    return state


def _postpone(grant: TokenGrant, exc: ProviderError) -> str:
    ended_at = grant.ended_at or timezone.now()
    if timezone.now() > ended_at + timedelta(days=conf().revocation_days):
        return _settle(grant, Revocation.FAILED, str(exc))
    pause = min(2 ** min(grant.revocation_attempts, 20), LONGEST_BACKOFF_SECONDS)
    pause = max(exc.retry_after, pause * random.uniform(0.75, 1.25))  # noqa: S311 - jitter
    with transaction.atomic():
        TokenGrant.objects.filter(pk=grant.pk).update(
            revocation_due_at=timezone.now() + timedelta(seconds=pause),
            revocation_error=str(exc)[:255],
        )
        record(grant.pk, Kind.REVOCATION_FAILED, note=str(exc))
    log.warning("grant %s: the provider was not told, next try in %.0f s", grant.pk, pause)
    return Revocation.PENDING
