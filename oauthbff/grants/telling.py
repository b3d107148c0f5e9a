"""Tell the provider which grants have ended, until it says that it has heard.

The intent is on the row since the transaction that ended the grant. Whoever claims
it by a conditional update asks; several hosts may work the queue at once and nothing
is asked twice. A claim runs out, so that what a dead process had claimed is due again.
The secrets leave the envelope with the answer. RFC 7009.
"""

from __future__ import annotations

import math
import random
import secrets
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from oauthbff import events, provider, signals
from oauthbff.conf import conf
from oauthbff.errors import KeyStoreUnavailable, ProviderError, SealBroken
from oauthbff.models import EndReason, Revocation, TokenGrant
from oauthbff.vault import Envelope

from .rows import Kind, let_go_of_the_database, record, record_many
from .sessions import delete_sessions, delete_sessions_of

#: How many grants the provider is told of at the same time.
AT_ONCE = 8
LONGEST_BACKOFF_SECONDS = provider.MOST_PATIENT_SECONDS
WAITS = "waits for the newer sign-in of the same provider session"


@dataclass(frozen=True)
class Outcome:
    """What became of telling the provider of one grant. `PENDING`: to be tried again."""

    state: Revocation
    error: str = ""
    #: Seconds that the provider asked us to wait.
    retry_after: int = 0


def tell(pk: uuid.UUID, *, patience: float | None = None) -> str:
    """Tell the provider that one grant has ended, see `tell_many`. Returns the state afterwards."""
    tell_many([pk], patience=patience)
    return TokenGrant.objects.values_list("revocation", flat=True).get(pk=pk)


def tell_many(
    pks: Collection[uuid.UUID], *, patience: float | None = None
) -> dict[uuid.UUID, Outcome]:
    """Tell the provider of grants that have ended, those that are due and nobody else is at.

    Waits at most `patience` seconds for each answer (default: `OIDC_TIMEOUT`). Returns
    what became of each that was asked about.
    """
    mark, claimed = _claim(_without_living(pks))
    outcomes: dict[uuid.UUID, Outcome] = {}
    questions: dict[uuid.UUID, list[tuple[str, str]]] = {}
    sessions = []
    for grant in claimed:
        try:
            envelope = Envelope.open(grant.envelope, grant.place)
        except SealBroken as exc:
            outcomes[grant.pk] = Outcome(Revocation.FAILED, str(exc))
            continue
        except KeyStoreUnavailable as exc:
            outcomes[grant.pk] = Outcome(Revocation.PENDING, str(exc), exc.retry_after)
            continue
        questions[grant.pk] = list(_tokens_of(envelope))
        if envelope.session_key is not None:
            sessions.append(envelope.session_key)
    delete_sessions(sessions)  # once more: a crash may have come between end and session
    let_go_of_the_database()
    outcomes |= _ask(questions, patience)
    _settle(mark, claimed, outcomes)
    return outcomes


def tell_while(pks: Sequence[uuid.UUID], *, deadline: float, patience: float) -> None:
    """Tell the provider as long as there is time, also of those that waited for these to end."""
    for start in range(0, len(pks), AT_ONCE):
        if time.monotonic() > deadline:
            return
        some = pks[start : start + AT_ONCE]
        tell_many(some, patience=patience)
        predecessors = _predecessors(some)
        if time.monotonic() < deadline:
            tell_many(predecessors, patience=patience)


def _predecessors(pks: Collection[uuid.UUID]) -> list[uuid.UUID]:
    """Make those due that waited for the end of these: the last of a provider session has gone."""
    found: list[uuid.UUID] = []
    for grant in TokenGrant.objects.filter(pk__in=pks).exclude(end_reason=EndReason.SUPERSEDED):
        waiting = _siblings(grant).filter(revocation=Revocation.PENDING, revocation_error=WAITS)
        if due := list(waiting.values_list("pk", flat=True)):
            waiting.filter(pk__in=due).update(revocation_due_at=timezone.now(), revocation_error="")
            found += due
    return found


def _without_living(pks: Collection[uuid.UUID]) -> list[uuid.UUID]:
    """Leave out those whose place a newer sign-in of the same provider session has taken.

    Many providers (node oidc-provider, Keycloak) keep one authorization per client and
    session of theirs: revoking the old tokens would take the new ones along. They are
    revoked when the last grant of that session ends; where the provider does not name
    its sessions, when the last grant of that person does. RFC 7009 §2.1.
    """
    superseded = TokenGrant.objects.filter(pk__in=pks, end_reason=EndReason.SUPERSEDED)
    alive = {one.pk for one in superseded if _siblings(one).filter(ended_at=None).exists()}
    if alive:
        TokenGrant.objects.filter(pk__in=alive, revocation=Revocation.PENDING).update(
            revocation_due_at=timezone.now() + timedelta(hours=1), revocation_error=WAITS
        )
    return [pk for pk in pks if pk not in alive]


def _siblings(grant: TokenGrant) -> QuerySet[TokenGrant]:
    return TokenGrant.objects.filter(
        issuer=grant.issuer, client_id=grant.client_id, sid=grant.sid, subject=grant.subject
    ).exclude(pk=grant.pk)


def _claim(pks: Collection[uuid.UUID]) -> tuple[str, list[TokenGrant]]:
    """Make due intents ours for as long as asking can take; return our mark and what is ours."""
    now, mark = timezone.now(), secrets.token_hex(16)
    rounds = math.ceil(len(pks) / AT_ONCE)
    until = now + timedelta(seconds=(rounds + 1) * conf().lease_seconds)
    claimed = TokenGrant.objects.filter(
        pk__in=pks, revocation=Revocation.PENDING, revocation_due_at__lte=now
    ).update(
        revocation_due_at=until,
        revocation_attempts=F("revocation_attempts") + 1,
        lease_owner=mark,
    )
    ours = TokenGrant.objects.filter(pk__in=pks, lease_owner=mark)
    needed = ours.only("envelope", "ended_at", "revocation_attempts")
    return mark, list(needed) if claimed else []


def _tokens_of(envelope: Envelope) -> Iterator[tuple[str, str]]:
    """The tokens the provider is to forget, the refresh token first. RFC 7009 §2.1."""
    if envelope.refresh_token is not None:
        yield envelope.refresh_token, "refresh_token"
    if envelope.access_token:
        yield envelope.access_token, "access_token"
    for kept in envelope.resources.values():
        yield kept["access_token"], "access_token"
    yield from envelope.late


def _ask(
    questions: Mapping[uuid.UUID, list[tuple[str, str]]], patience: float | None
) -> dict[uuid.UUID, Outcome]:
    """Ask about several grants at the same time. No database here: these are other threads."""
    ask = partial(_ask_about, patience=patience)
    if len(questions) == 1:
        return {pk: ask(tokens) for pk, tokens in questions.items()}
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="oauthbff-tell") as threads:
        return dict(zip(questions, threads.map(ask, questions.values()), strict=True))


def _ask_about(tokens: list[tuple[str, str]], *, patience: float | None) -> Outcome:
    try:
        told = [provider.revoke(token, hint, patience=patience) for token, hint in tokens]
    except ProviderError as exc:
        return Outcome(Revocation.PENDING, str(exc), exc.retry_after)
    return Outcome(Revocation.DONE if all(told) else Revocation.UNSUPPORTED)


def _settle(
    mark: str, claimed: Collection[TokenGrant], outcomes: Mapping[uuid.UUID, Outcome]
) -> None:
    """Write down what became of a claim. Where it came to its end, the secrets go."""
    for grant in claimed:
        outcome = outcomes[grant.pk]
        if outcome.state == Revocation.PENDING and _is_given_up(grant):
            outcome = Outcome(Revocation.FAILED, outcome.error)
        if outcome.state == Revocation.PENDING:
            _postpone(mark, grant, outcome)
        elif outcome.error:
            close(_ours(mark).filter(pk=grant.pk), outcome.state, outcome.error)
    for state in (Revocation.DONE, Revocation.UNSUPPORTED):
        ended = [pk for pk, one in outcomes.items() if one.state == state]
        close(_ours(mark).filter(pk__in=ended), state)


def _ours(mark: str) -> QuerySet[TokenGrant]:
    """What is still as we claimed it. Tokens that came late have taken the mark away."""
    return TokenGrant.objects.filter(lease_owner=mark, revocation=Revocation.PENDING)


def _is_given_up(grant: TokenGrant) -> bool:
    return grant.ended_at is not None and grant.ended_at < given_up_before()


def given_up_before() -> datetime:
    """Revocations of grants that ended before this are tried no more."""
    return timezone.now() - timedelta(days=conf().revocation_days)


def close(pending: QuerySet[TokenGrant], state: Revocation, error: str = "") -> int:
    """End some revocations: nobody asks again, and the secrets go. Returns how many."""
    mark = secrets.token_hex(16)
    pks = list(pending.values_list("pk", flat=True))
    if not pks:
        return 0
    with transaction.atomic():
        pending.filter(pk__in=pks).update(
            revocation=state,
            revocation_error=error[:255],
            revocation_due_at=None,
            envelope="",
            lease_owner=mark,
        )
        ours = TokenGrant.objects.filter(pk__in=pks, lease_owner=mark)
        closed = list(ours.values_list("pk", flat=True))
        kind = Kind.REVOCATION_FAILED if state == Revocation.FAILED else Kind.REVOKED
        record_many(closed, kind, note=error or state)
        transaction.on_commit(partial(_tell_site, closed, state))
    return len(closed)


def close_unsupported(pks: Collection[uuid.UUID]) -> int:
    """End revocations that a provider without an endpoint for them can never confirm.

    What `tell_many` would find of each, without a claim and a question. Returns how many.
    Raises `KeyStoreUnavailable`, and closes none, while their sessions cannot be known.
    """
    ended = TokenGrant.objects.filter(pk__in=pks, revocation=Revocation.PENDING)
    # Once more: a crash may have come between end and session.
    delete_sessions_of(ended.only("envelope"))
    return close(ended.filter(revocation_due_at__lte=timezone.now()), Revocation.UNSUPPORTED)


def _tell_site(pks: list[uuid.UUID], state: Revocation) -> None:
    for pk in pks:
        events.provider_told(grant=pk, state=str(state))
        if state == Revocation.DONE:
            signals.grant_revoked_at_provider.send_robust(sender=TokenGrant, grant_id=pk)


def _postpone(mark: str, grant: TokenGrant, outcome: Outcome) -> None:
    pause = min(2 ** min(grant.revocation_attempts, 20), LONGEST_BACKOFF_SECONDS)
    pause = max(outcome.retry_after, pause * random.uniform(0.75, 1.25))  # noqa: S311 - jitter
    due_at = timezone.now() + timedelta(seconds=pause)
    with transaction.atomic():
        ours = _ours(mark).filter(pk=grant.pk)
        if ours.update(revocation_due_at=due_at, revocation_error=outcome.error[:255]):
            record(grant.pk, Kind.REVOCATION_FAILED, note=outcome.error)
    events.provider_not_told(outcome.error, grant=grant.pk, retry_in=round(pause))
