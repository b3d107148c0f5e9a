"""An access token with life left, refreshed once whoever asks.

Under a lease the provider is asked, with no transaction, lock or connection held; then a
conditional update. Zero rows updated means that the grant ended or changed meanwhile:
what was received is revoked, never stored.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import time
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.core.cache import cache
from django.db import DatabaseError, InterfaceError, transaction
from django.db.models import F
from django.utils import timezone

from oauthbff import events, provider, signals, telemetry
from oauthbff.claims import TokenResponse
from oauthbff.conf import conf
from oauthbff.errors import (
    BFFError,
    GrantEnded,
    GrantRefused,
    ProviderError,
    ProviderNonsense,
    ProviderRefused,
    ProviderUnreachable,
    TokenRejected,
)
from oauthbff.models import EndReason, TokenGrant
from oauthbff.vault import Envelope

from .ending import end
from .holding import AccessToken, held
from .leasing import (
    OUTAGE_SECONDS,
    Lease,
    Overtaken,
    look_again,
    sit_out,
    take_lease,
    wait_for_lease,
)
from .opening import open_envelope
from .returning import give_back
from .rows import Kind, expiry, let_go_of_the_database, record


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
        token = held(grant, envelope, resource)
        now = timezone.now()
        usable = token.usable(now, refused)
        if usable and not token.is_due(now):
            if waited:
                telemetry.waited(time.monotonic() - started)
            return token
        if envelope.refresh_token is None:
            return _last_of(grant, token, now, refused)
        if resource is not None and cache.get(_refusal_key(grant, resource)):
            raise ProviderRefused("resource_refused_before")
        if grant.refresh_not_before is not None and now < grant.refresh_not_before:
            if usable:
                return token
            raise ProviderUnreachable(
                "a refresh failed a moment ago",
                retry_after=math.ceil((grant.refresh_not_before - now).total_seconds()),
            )
        try:
            provider.metadata()  # no discovery under the lease
            lease = take_lease(grant)
            if lease is not None:
                newer = _refresh(lease, envelope, resource)
                telemetry.waited(time.monotonic() - started)
                return newer
        except Overtaken:
            grant = look_again(grant)
            continue
        except ProviderError as exc:
            if token.usable(timezone.now(), refused):
                events.old_token_serves(exc, grant=grant.pk)
                return token
            raise
        if usable:
            return token
        if time.monotonic() > give_up:
            raise ProviderUnreachable("another process did not finish its refresh")
        grant, waited = wait_for_lease(grant, give_up), True


def _last_of(
    grant: TokenGrant, token: AccessToken, now: datetime, refused: str | None
) -> AccessToken:
    """Without a refresh token: what is at hand as long as it lives, then the grant is over."""
    if token.usable(now, refused):
        return token
    if grant.access_expires_at is not None and now >= grant.access_expires_at:
        end(TokenGrant.objects.filter(pk=grant.pk), reason=EndReason.ABSOLUTE)
        raise GrantEnded(EndReason.ABSOLUTE)
    raise ProviderRefused("no_refresh_token")


def _refresh(lease: Lease, envelope: Envelope, resource: str | None) -> AccessToken:
    """Ask the provider under our lease and store what it says."""
    grant = lease.grant
    assert envelope.refresh_token is not None  # noqa: S101 - the caller has looked
    let_go_of_the_database()
    tokens: TokenResponse | None = None
    try:
        tokens = _ask_for_tokens(lease, envelope.refresh_token, resource)
        tokens = _judge_identity(lease, tokens, envelope.first)
    except Overtaken:
        if tokens is not None:
            _give_back_if_ended(grant, tokens)
        raise
    except GrantRefused:
        if lease.row().exists():
            events.refresh_refused(grant=grant.pk)
            end(TokenGrant.objects.filter(pk=grant.pk), reason=EndReason.INVALID_GRANT)
            raise GrantEnded(EndReason.INVALID_GRANT) from None
        raise Overtaken from None
    except ProviderError as exc:
        _note_failure(lease, exc, resource)
        raise
    except Exception as exc:
        if isinstance(exc, BFFError | Overtaken):
            raise
        events.refresh_broke(grant=grant.pk, trace=True)
        nonsense = ProviderNonsense(f"refresh broke: {type(exc).__name__}")
        _note_failure(lease, nonsense, resource)
        raise nonsense from None
    if _store(lease, envelope, tokens, resource):
        events.grant_refreshed(grant=grant.pk, resource=resource)
        now = timezone.now()
        return AccessToken(tokens.access_token, now, expiry(tokens, now))
    _give_back_if_ended(grant, tokens)
    raise Overtaken


def _give_back_if_ended(grant: TokenGrant, tokens: TokenResponse) -> None:
    if not TokenGrant.objects.filter(pk=grant.pk, ended_at=None).exists():
        events.refresh_outlived_grant(grant=grant.pk)
        give_back(tokens, ended=grant)


def _ask_for_tokens(lease: Lease, refresh_token: str, resource: str | None) -> TokenResponse:
    """Ask once; once more if the answer was lost, since the token may have been rotated."""
    try:
        return provider.refresh(refresh_token, resource=resource)
    except ProviderUnreachable as lost:
        if not lost.sent:
            raise
        events.refresh_answer_lost(grant=lease.grant.pk)
        lease.renew()
        return provider.refresh(refresh_token, resource=resource)


def _judge_identity(lease: Lease, tokens: TokenResponse, first: dict[str, Any]) -> TokenResponse:
    """A refreshed ID token must be of the same person, or everything ends here.

    One that cannot be verified just now, because the keys are not to be had, is left
    out: the tokens came over our own connection to the provider and the old ones are
    spent, so to lose them would sign the user out. Raises `GrantEnded`, `Overtaken`.
    """
    if tokens.id_token is None:
        return tokens
    grant = lease.grant
    lease.renew()
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


def _store(lease: Lease, envelope: Envelope, tokens: TokenResponse, resource: str | None) -> bool:
    """Write the new tokens if the row is still ours. A short database outage is sat out."""
    grant, now = lease.grant, timezone.now()
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
                stored = lease.row().update(
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
            sit_out(patience)


def _refusal_key(grant: TokenGrant, resource: str) -> str:
    digest = hashlib.sha256(resource.encode()).hexdigest()[:32]
    return f"oauthbff.refused.{grant.pk}.{digest}"


def _note_failure(lease: Lease, exc: ProviderError, resource: str | None) -> None:
    """Release the lease and share the bad news: nobody asks again for a while.

    A resource that the provider does not grant is that route's trouble alone.
    """
    grant = lease.grant
    if resource is not None and isinstance(exc, ProviderRefused):
        lease.row().update(lease_owner="", lease_until=None)
        cache.set(_refusal_key(grant, resource), True, exc.soon)
        return
    pause = max(exc.soon, min(2 ** min(grant.refresh_failures, 5), 30))
    with transaction.atomic():
        released = lease.row().update(
            lease_owner="",
            lease_until=None,
            refresh_failures=F("refresh_failures") + 1,
            refresh_not_before=timezone.now() + timedelta(seconds=pause),
        )
        if released:
            record(grant.pk, Kind.REFRESH_FAILED, note=str(exc))
    events.refresh_failed(exc, grant=grant.pk, retry_in=pause)
