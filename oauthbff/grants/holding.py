"""The access tokens that a grant holds, and until when they need no refresh. No query, no write."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.utils import timezone

from oauthbff.conf import conf
from oauthbff.models import TokenGrant
from oauthbff.vault import Envelope


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
        """When to refresh: ahead of the end; of a life that is no longer, in the last quarter."""
        if self.expires_at is None or self.issued_at is None:
            return None
        leeway, life = timedelta(seconds=conf().refresh_leeway), self.expires_at - self.issued_at
        return self.expires_at - (leeway if leeway < life else life / 4)


def held(grant: TokenGrant, envelope: Envelope, resource: str | None) -> AccessToken:
    """The token for `resource`, or for the grant's own audience; an empty one if there is none."""
    if resource is None:
        return AccessToken(envelope.access_token, grant.refreshed_at, grant.access_expires_at)
    kept = envelope.resources.get(resource, {})
    return AccessToken(
        kept.get("access_token", ""),
        _moment(kept.get("issued_at")),
        _moment(kept.get("expires_at")),
    )


def tokens_at_hand(
    grant: TokenGrant, envelope: Envelope
) -> dict[str | None, tuple[str, datetime | None]]:
    """By resource, the access tokens that need no refresh yet, and until when they need none."""
    all_held = {name: held(grant, envelope, name) for name in (None, *envelope.resources)}
    return {
        name: (token.value, token.due_at or token.expires_at)
        for name, token in all_held.items()
        if token.usable(timezone.now(), None)
    }


def _moment(timestamp: float | None) -> datetime | None:
    """Aware or naive, as Django's own times are."""
    if timestamp is None:
        return None
    return datetime.fromtimestamp(timestamp, tz=timezone.now().tzinfo)
