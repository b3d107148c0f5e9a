"""Grants as rows, for tests that need many and no sign-in. In this process's database."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from oauthbff.models import TokenGrant
from oauthbff.vault import Envelope

ISSUER = "http://127.0.0.1:9/op"  # of tests.settings; nobody answers there


def person(name: str, **facts: Any) -> User:
    return User.objects.create(username=name, email=f"{name}@example.com", **facts)


def grant_of(
    user: User | None, *, claims: dict[str, Any] | None = None, **facts: Any
) -> TokenGrant:
    """A grant that is not saved, with an envelope that opens and tokens that nobody knows."""
    now = timezone.now()
    grant = TokenGrant(
        **{
            "id": uuid.uuid4(),
            "user": user,
            "issuer": ISSUER,
            "client_id": "client",
            "subject": user.username if user else "nobody",
            "scopes": "openid profile",
            "created_at": now,
            "authenticated_at": now,
            "last_used_at": now,
            "expires_at": now + timedelta(hours=8),
            "access_expires_at": now + timedelta(minutes=5),
            "refreshed_at": now,
            "ip": "192.0.2.7",
            "user_agent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/130.0.0.0 Safari/537.36",
        }
        | facts
    )
    grant.envelope = Envelope(
        access_token=f"access-{grant.pk.hex}",
        refresh_token=f"refresh-{grant.pk.hex}",
        session_key=None,
        claims=claims or {},
    ).seal(grant.place)
    return grant


def grants_of(user: User | None, count: int, **facts: Any) -> list[TokenGrant]:
    """So many grants, saved."""
    return TokenGrant.objects.bulk_create(grant_of(user, **facts) for _ in range(count))
