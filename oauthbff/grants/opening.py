"""Open a grant's envelope; a grant whose key is gone ends here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from oauthbff.errors import GrantEnded, KeyLost, KeyStoreUnavailable, SealBroken
from oauthbff.models import EndReason, TokenGrant
from oauthbff.vault import Envelope

from .ending import end


def open_envelope(grant: TokenGrant) -> Envelope:
    """Open the envelope; a grant whose key is gone ends.

    Raises `GrantEnded`, and `KeyStoreUnavailable` when the key is not to be had just now.
    """
    try:
        return Envelope.open(grant.envelope, grant.place)
    except KeyLost:
        reason = EndReason.KEY_LOST
    except SealBroken:
        found = TokenGrant.objects.filter(pk=grant.pk).values_list("ended_at", "end_reason").first()
        reason = EndReason(found[1]) if found and found[0] else EndReason.KEY_LOST
    end(TokenGrant.objects.filter(pk=grant.pk), reason=reason)
    raise GrantEnded(reason)


def shown_claims(grant: TokenGrant) -> dict[str, Any]:
    """The claims that session/ may show."""
    return open_envelope(grant).claims


def id_token_hint(grant: TokenGrant) -> str | None:
    """The newest ID token: what the provider's own logout wants to see. It can do without."""
    try:
        return open_envelope(grant).id_token
    except KeyStoreUnavailable:
        return None


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What may be told of an envelope: no secret, and nothing a secret could be made from."""

    claims: Mapping[str, Any]
    #: The first half of SHA-256 of the access token, to compare with the provider's log.
    fingerprint: str
    refreshable: bool
    #: RFC 8707: the resources that tokens are held for, and when these expire.
    resources: Mapping[str, datetime | None]


def look_into(grant: TokenGrant) -> Contents | None:
    """What an envelope holds, for somebody who only looks: unlike the others, this never
    ends the grant. None: it is empty, or its key is not here.
    """
    try:
        envelope = Envelope.open(grant.envelope, grant.place)
    except (SealBroken, KeyStoreUnavailable):
        return None
    return Contents(
        claims=envelope.claims,
        fingerprint=hashlib.sha256(envelope.access_token.encode()).hexdigest()[:32],
        refreshable=envelope.refresh_token is not None,
        resources={
            name: None
            if kept["expires_at"] is None
            else datetime.fromtimestamp(kept["expires_at"], UTC)
            for name, kept in envelope.resources.items()
        },
    )
