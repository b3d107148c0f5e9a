"""Issue a grant: a sign-in succeeded."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from oauthbff import events, signals
from oauthbff.claims import TokenResponse
from oauthbff.conf import conf
from oauthbff.models import TokenGrant
from oauthbff.vault import Envelope

from .rows import Kind, digest, expiry, record


def issue(
    *,
    user: User,
    tokens: TokenResponse,
    subject: str,
    sid: str,
    authenticated_at: datetime,
    shown_claims: dict[str, Any],
    first: dict[str, Any] | None = None,
    session_key: str,
    ip: str | None,
    user_agent: str,
) -> TokenGrant:
    """Store what a sign-in brought. Call it after Django's `login()`, with its session key."""
    now = timezone.now()
    expires_at = now + timedelta(seconds=conf().absolute_timeout)
    access_expires_at = expiry(tokens, now)
    if tokens.refresh_token is None and access_expires_at is not None:
        # Nothing can follow this token: the sign-in lasts as long as it does.
        expires_at = min(expires_at, access_expires_at)
    grant = TokenGrant(
        id=uuid.uuid4(),
        user=user,
        issuer=conf().issuer,
        client_id=conf().client_id,
        subject=subject,
        sid=sid,
        scopes=" ".join(tokens.scopes or conf().scopes),
        session_digest=digest(session_key),
        created_at=now,
        authenticated_at=authenticated_at,
        last_used_at=now,
        expires_at=expires_at,
        access_expires_at=access_expires_at,
        refreshed_at=now,
        ip=ip,
        user_agent=user_agent[:400],
    )
    grant.envelope = Envelope(
        access_token=tokens.access_token,
        refresh_token=tokens.refresh_token,
        id_token=tokens.id_token,
        session_key=session_key,
        claims=shown_claims,
        first=first or {},
    ).seal(grant.place)
    with transaction.atomic():
        grant.save(force_insert=True)
        record(grant.pk, Kind.ISSUED, by_id=user.pk)
        transaction.on_commit(
            partial(
                signals.grant_issued.send_robust,
                sender=TokenGrant,
                grant_id=grant.pk,
                user_id=user.pk,
            )
        )
    events.grant_issued(grant=grant.pk, user=user.pk)
    return grant
