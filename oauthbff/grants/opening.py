"""Open a grant's envelope; a grant whose key is gone ends here."""

from __future__ import annotations

from typing import Any

from oauthbff.errors import GrantEnded, KeyLost, SealBroken
from oauthbff.models import EndReason, TokenGrant
from oauthbff.vault import Envelope

from .ending import end


def open_envelope(grant: TokenGrant) -> Envelope:
    """Open the envelope; a grant whose key is gone ends. Raises `GrantEnded`."""
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
    """The newest ID token: what the provider's own logout wants to see."""
    return open_envelope(grant).id_token
