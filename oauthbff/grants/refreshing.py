"""An access token with life left, refreshed once whoever asks.

A lease on the row, taken by compare-and-swap and committed; then the provider,
with no transaction, lock or connection held; then a conditional update. Zero rows
updated means that the grant ended or changed meanwhile: what was received is
revoked, never stored.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import secrets
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.core.cache import cache
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from oauthbff import events, provider, signals, telemetry
from oauthbff.claims import TokenResponse
from oauthbff.conf import conf
from oauthbff.dbtime import database_now
from oauthbff.errors import (
    BFFError,
    GrantEnded,
    GrantRefused,
    LoginRequired,
    ProviderError,
    ProviderNonsense,
    ProviderRefused,
    ProviderUnreachable,
    TokenRejected,
)
from oauthbff.models import EndReason, TokenGrant
from oauthbff.vault import Envelope

from .ending import end
from .opening import open_envelope
from .returning import give_back
from .rows import Kind, expiry, let_go_of_a_pooled_connection, let_go_of_the_database, record

POLL_SECONDS = 0.1
#: How long a database outage is sat out while rotated tokens are in hand: the slack that
#: `conf().lease_seconds` leaves beside the questions to the provider.
OUTAGE_SECONDS = 5.0


@dataclass(frozen=True)
class AccessToken:
    """An access token and how long it lives, as far as the provider has said."""

    value: str = field(repr=False)
    issued_at: datetime | None
    expires_at: datetime | None

    @property
    def authorization(self) -> str:
        """The value of the `Authorization` header. RFC 6750 §2.1."""
        return f"Bearer {self.value}"

    def usable(self, now: datetime, refused: str | None) -> bool:
        expired = self.expires_at is not None and now >= self.expires_at
        return bool(self.value) and self.value != refused and not expired

    def is_due(self, now: datetime) -> bool:
        due_at = self.due_at
        return due_at is not None and now >= due_at

    @property
    def due_at(self) -> datetime | None:
        """When to refresh: ahead of the end, but never for more than a quarter of the life."""
        if self.expires_at is None or self.issued_at is None:
            return None
        lead = min(timedelta(seconds=conf().refresh_leeway), (self.expires_at - self.issued_at) / 4)
        return self.expires_at - lead


def fresh(grant: TokenGrant, *, resource: str | None = None, refused: str | None = None) -> str:
    """Return the token alone of `fresh_token`."""
    return fresh_token(grant, resource=resource, refused=refused).value


def fresh_token(
    grant: TokenGrant, *, resource: str | None = None, refused: str | None = None
) -> AccessToken:
    """Return an access token with life left, for the grant's own audience or for `resource`.

    However many requests arrive together, on however many hosts, the provider
    is asked once. While the token at hand is valid nobody waits; otherwise the
    others wait for the row and take what the first one brought. `refused` is a
    token that an API would not take: it counts as expired. Call it outside any
    transaction: a rolled-back refresh loses a rotated token.

    Raises `GrantEnded`: the provider said no, or the grant ended meanwhile.
           `ProviderError`: nobody answered and the token is expired; the grant stands.

    RFC 6749 §6; RFC 9700 §4.14; RFC 8707 §2.2.
    """
    started = time.monotonic()
    give_up = started + conf().lease_seconds + 1
    waited = False
    while True:
        if grant.ended_at is not None:
            raise GrantEnded(grant.end_reason)
        envelope = open_envelope(grant)
        held = _held(grant, envelope, resource)
        now = timezone.now()
        usable = held.usable(now, refused)
        if usable and not held.is_due(now):
            if waited:
                telemetry.waited(time.monotonic() - started)
            return held
        if envelope.refresh_token is None:
            return _last_of(grant, held, now, refused)
        if resource is not None and cache.get(_refusal_key(grant, resource)):
            raise ProviderRefused("resource_refused_before")
        if grant.refresh_not_before is not None and now < grant.refresh_not_before:
            if usable:
                return held
            raise ProviderUnreachable(
                "a refresh failed a moment ago",
                retry_after=math.ceil((grant.refresh_not_before - now).total_seconds()),
            )
        try:
            provider.metadata()  # no discovery under the lease
            owner = _take_lease(grant)
            if owner is not None:
                token = _refresh(grant, envelope, owner, resource)
                telemetry.waited(time.monotonic() - started)
                return token
        except _Overtaken:
            grant = _reread(grant)
            continue
        except ProviderError as exc:
            if held.usable(timezone.now(), refused):
                events.old_token_serves(exc, grant=grant.pk)
                return held
            raise
        if usable:
            return held
        if time.monotonic() > give_up:
            raise ProviderUnreachable("another process did not finish its refresh")
        grant, waited = _wait(grant, give_up), True


def _last_of(
    grant: TokenGrant, held: AccessToken, now: datetime, refused: str | None
) -> AccessToken:
    """Without a refresh token: what is at hand as long as it lives, then the grant is over."""
    if held.usable(now, refused):
        return held
    if grant.access_expires_at is not None and now >= grant.access_expires_at:
        end(TokenGrant.objects.filter(pk=grant.pk), reason=EndReason.ABSOLUTE)
        raise GrantEnded(EndReason.ABSOLUTE)
    raise ProviderRefused("no_refresh_token")


class _Overtaken(Exception):
    """The row changed while we asked: look again."""


def tokens_at_hand(
    grant: TokenGrant, envelope: Envelope
) -> dict[str | None, tuple[str, datetime | None]]:
    """By resource, the access tokens that need no refresh yet, and until when they need none."""
    all_held = {name: _held(grant, envelope, name) for name in (None, *envelope.resources)}
    return {
        name: (held.value, held.due_at or held.expires_at)
        for name, held in all_held.items()
        if held.usable(timezone.now(), None)
    }


def _held(grant: TokenGrant, envelope: Envelope, resource: str | None) -> AccessToken:
    if resource is None:
        return AccessToken(envelope.access_token, grant.refreshed_at, grant.access_expires_at)
    kept = envelope.resources.get(resource, {})
    return AccessToken(
        kept.get("access_token", ""),
        _moment(kept.get("issued_at")),
        _moment(kept.get("expires_at")),
    )


def _take_lease(grant: TokenGrant) -> str | None:
    """Become the one who refreshes this very version, or None. Committed at once.

    Raises `RuntimeError` inside a transaction: what we are about to receive must
    not hang on somebody else's rollback.
    """
    owner = secrets.token_hex(16)
    with transaction.atomic(durable=True):
        taken = (
            TokenGrant.objects.filter(pk=grant.pk, version=grant.version, ended_at=None)
            .filter(refresh_failures=grant.refresh_failures)  # nobody has failed since we looked
            .filter(lease_is_free())
            .update(lease_owner=owner, lease_until=database_now(plus_seconds=conf().lease_seconds))
        )
    return owner if taken else None


def lease_is_free() -> Q:
    return Q(lease_until=None) | Q(lease_until__lt=database_now())


def _refresh(
    grant: TokenGrant, envelope: Envelope, owner: str, resource: str | None
) -> AccessToken:
    """Ask the provider under our lease and store what it says."""
    assert envelope.refresh_token is not None  # noqa: S101 - the caller has looked
    let_go_of_the_database()
    tokens: TokenResponse | None = None
    try:
        tokens = _ask_for_tokens(grant, owner, envelope.refresh_token, resource)
        tokens = _judge_identity(grant, owner, tokens, envelope.first)
    except _Overtaken:
        if tokens is not None:
            _give_back_if_ended(grant, tokens)
        raise
    except GrantRefused:
        if _ours(grant, owner).exists():
            events.refresh_refused(grant=grant.pk)
            end(TokenGrant.objects.filter(pk=grant.pk), reason=EndReason.INVALID_GRANT)
            raise GrantEnded(EndReason.INVALID_GRANT) from None
        raise _Overtaken from None
    except ProviderError as exc:
        _note_failure(grant, owner, exc, resource)
        raise
    except Exception as exc:
        if isinstance(exc, BFFError | _Overtaken):
            raise
        events.refresh_broke(grant=grant.pk, trace=True)
        nonsense = ProviderNonsense(f"refresh broke: {type(exc).__name__}")
        _note_failure(grant, owner, nonsense, resource)
        raise nonsense from None
    if _store(grant, envelope, owner, tokens, resource):
        events.grant_refreshed(grant=grant.pk, resource=resource)
        now = timezone.now()
        return AccessToken(tokens.access_token, now, expiry(tokens, now))
    _give_back_if_ended(grant, tokens)
    raise _Overtaken


def _give_back_if_ended(grant: TokenGrant, tokens: TokenResponse) -> None:
    if not TokenGrant.objects.filter(pk=grant.pk, ended_at=None).exists():
        events.refresh_outlived_grant(grant=grant.pk)
        give_back(tokens, ended=grant)


def _renew_lease(grant: TokenGrant, owner: str) -> None:
    """Hold the lease for another step. Raises `_Overtaken` when it is not ours any more."""
    until = database_now(plus_seconds=conf().lease_seconds)
    patience = time.monotonic() + OUTAGE_SECONDS
    while True:
        try:
            held = _ours(grant, owner).update(lease_until=until)
            break
        except (DatabaseError, InterfaceError):
            _sit_out(patience)
    if not held:
        raise _Overtaken
    let_go_of_the_database()


def _sit_out(patience: float) -> None:
    """The database is away: wait a little, or raise what it said when patience is over."""
    if time.monotonic() > patience or connection.in_atomic_block:
        raise  # noqa: PLE0704 - called from an except block
    connection.close()
    time.sleep(0.2)


def _ask_for_tokens(
    grant: TokenGrant, owner: str, refresh_token: str, resource: str | None
) -> TokenResponse:
    """Ask once; once more if the answer was lost, since the token may have been rotated."""
    try:
        return provider.refresh(refresh_token, resource=resource)
    except ProviderUnreachable as lost:
        if not lost.sent:
            raise
        events.refresh_answer_lost(grant=grant.pk)
        _renew_lease(grant, owner)
        return provider.refresh(refresh_token, resource=resource)


def _judge_identity(
    grant: TokenGrant, owner: str, tokens: TokenResponse, first: dict[str, Any]
) -> TokenResponse:
    """A refreshed ID token must be of the same person, or everything ends here.

    One that cannot be verified just now, because the keys are not to be had, is left
    out: the tokens came over our own connection to the provider and the old ones are
    spent, so to lose them would sign the user out. Raises `GrantEnded`, `_Overtaken`.
    """
    if tokens.id_token is None:
        return tokens
    _renew_lease(grant, owner)
    try:
        provider.judge_refreshed_id_token(tokens.id_token, subject=grant.subject, first=first)
        return tokens
    except TokenRejected as exc:
        if exc.reason != "unknown_key":
            events.refreshed_identity_refused(exc, grant=grant.pk)
            note = f"refreshed ID token: {exc.reason}"
            end(TokenGrant.objects.filter(pk=grant.pk), reason=EndReason.INVALID_GRANT, note=note)
            give_back(tokens, ended=grant)
            raise GrantEnded(EndReason.INVALID_GRANT) from None
    except ProviderError:
        pass
    events.refreshed_identity_unverified(grant=grant.pk)
    return dataclasses.replace(tokens, id_token=None)


def _store(
    grant: TokenGrant,
    envelope: Envelope,
    owner: str,
    tokens: TokenResponse,
    resource: str | None,
) -> bool:
    """Write the new tokens if the row is still ours. A short database outage is sat out."""
    now = timezone.now()
    expires_at = expiry(tokens, now)
    changes: dict[str, Any] = {
        "refresh_token": tokens.refresh_token or envelope.refresh_token,
        "id_token": tokens.id_token or envelope.id_token,
    }
    columns: dict[str, Any] = {}
    if resource is None:
        changes["access_token"] = tokens.access_token
        columns = {"access_expires_at": expires_at, "refreshed_at": now}
        if tokens.scopes is not None:
            columns["scopes"] = " ".join(tokens.scopes)
    else:
        changes["resources"] = {
            **envelope.resources,
            resource: {
                "access_token": tokens.access_token,
                "issued_at": now.timestamp(),
                "expires_at": expires_at.timestamp() if expires_at else None,
            },
        }
    sealed = dataclasses.replace(envelope, **changes).seal(grant.place, instead_of=grant.envelope)
    patience = time.monotonic() + OUTAGE_SECONDS
    while True:
        try:
            with transaction.atomic():
                stored = _ours(grant, owner).update(
                    envelope=sealed,
                    version=F("version") + 1,
                    lease_owner="",
                    lease_until=None,
                    refresh_not_before=None,
                    refresh_failures=0,
                    **columns,
                )
                if stored:
                    record(grant.pk, Kind.REFRESHED, note=resource or "")
                    transaction.on_commit(
                        partial(
                            signals.grant_refreshed.send_robust,
                            sender=TokenGrant,
                            grant_id=grant.pk,
                        )
                    )
            # A commit whose answer was lost looks like somebody else's write.
            return bool(stored) or (
                TokenGrant.objects.filter(pk=grant.pk, envelope=sealed, ended_at=None).exists()
            )
        except (DatabaseError, InterfaceError):
            _sit_out(patience)


def _refusal_key(grant: TokenGrant, resource: str) -> str:
    digest = hashlib.sha256(resource.encode()).hexdigest()[:32]
    return f"oauthbff.refused.{grant.pk}.{digest}"


def _note_failure(grant: TokenGrant, owner: str, exc: ProviderError, resource: str | None) -> None:
    """Release the lease and share the bad news: nobody asks again for a while.

    A resource that the provider does not grant is that route's trouble alone.
    """
    if resource is not None and isinstance(exc, ProviderRefused):
        _ours(grant, owner).update(lease_owner="", lease_until=None)
        cache.set(_refusal_key(grant, resource), True, exc.soon)
        return
    pause = max(exc.soon, min(2 ** min(grant.refresh_failures, 5), 30))
    with transaction.atomic():
        released = _ours(grant, owner).update(
            lease_owner="",
            lease_until=None,
            refresh_failures=F("refresh_failures") + 1,
            refresh_not_before=timezone.now() + timedelta(seconds=pause),
        )
        if released:
            record(grant.pk, Kind.REFRESH_FAILED, note=str(exc))
    events.refresh_failed(exc, grant=grant.pk, retry_in=pause)


def _ours(grant: TokenGrant, owner: str) -> QuerySet[TokenGrant]:
    return TokenGrant.objects.filter(
        pk=grant.pk, version=grant.version, lease_owner=owner, ended_at=None
    )


def _wait(grant: TokenGrant, give_up: float) -> TokenGrant:
    """Poll until the row changes or its lease is free, then return it anew."""
    while time.monotonic() < give_up:
        let_go_of_a_pooled_connection()
        time.sleep(POLL_SECONDS)
        unchanged = TokenGrant.objects.filter(
            pk=grant.pk,
            version=grant.version,
            ended_at=None,
            refresh_not_before=grant.refresh_not_before,
            lease_until__gte=database_now(),
        )
        try:
            if not unchanged.exists():
                break
        except (DatabaseError, InterfaceError):
            _sit_out(give_up)
    return _reread(grant)


def _reread(grant: TokenGrant) -> TokenGrant:
    found = TokenGrant.objects.select_related("user").filter(pk=grant.pk).first()
    if found is None:
        raise LoginRequired("the grant is gone")
    if found.ended_at is not None:
        raise GrantEnded(found.end_reason)
    return found


def _moment(timestamp: float | None) -> datetime | None:
    return (
        None if timestamp is None else datetime.fromtimestamp(timestamp, tz=timezone.now().tzinfo)
    )
