"""The provider says that somebody has left: end what they had here, and what is about to be.

A logout token may overtake a sign-in that is under way. So it leaves a mark
first, and each new grant looks for one after it is stored: whichever of the two
comes second sees the other. Compared are the provider's own times, so that a
sign-in after the logout stands. OIDC Back-Channel Logout 1.0 §2.7.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from oauthbff.conf import conf
from oauthbff.errors import GrantEnded, TokenRejected
from oauthbff.models import EndReason, SpentToken, TokenGrant

from .ending import end
from .rows import spend

#: How long a mark is kept: longer than any sign-in may take.
MARK_SECONDS = 3600


def leave(claims: dict[str, Any]) -> int:
    """End the grants that a judged logout token is about; return how many stood.

    Raises `TokenRejected` for a token that was used before. If ending fails the
    token is not spent, so that the provider's next try works.
    """
    left_at = datetime.fromtimestamp(claims["iat"], tz=UTC)
    _mark(claims, left_at)
    theirs = TokenGrant.objects.filter(issuer=conf().issuer, authenticated_at__lte=left_at)
    if "sid" in claims:
        theirs = theirs.filter(sid=claims["sid"])
    if "sub" in claims:
        theirs = theirs.filter(subject=claims["sub"])
    with transaction.atomic():
        if not spend("jti", claims["jti"], seconds=claims["exp"] - left_at.timestamp() + 3600):
            raise TokenRejected("jti_spent", "this logout token was used before")
        return end(theirs, reason=EndReason.BACKCHANNEL)


def judge_logged_out(grant: TokenGrant) -> None:
    """End a grant that was just issued if the provider signed it out meanwhile.

    Raises `GrantEnded`.
    """
    marks = SpentToken.objects.filter(
        issuer=grant.issuer, expires_at__gte=grant.authenticated_at + _kept()
    )
    both = json.dumps([grant.subject, grant.sid])
    for kind, value in (("sid", grant.sid), ("sub", grant.subject), ("both", both)):
        if value and marks.filter(kind=kind, digest=_digest(value)).exists():
            end(TokenGrant.objects.filter(pk=grant.pk), reason=EndReason.BACKCHANNEL)
            raise GrantEnded(EndReason.BACKCHANNEL)


def _mark(claims: dict[str, Any], left_at: datetime) -> None:
    """Remember who left and when: all that the token names must be met later."""
    kind, value = "sub", claims.get("sub")
    if "sid" in claims:
        kind, value = "sid", claims["sid"]
    if "sub" in claims and "sid" in claims:
        kind, value = "both", json.dumps([claims["sub"], claims["sid"]])
    SpentToken.objects.update_or_create(
        kind=kind,
        issuer=conf().issuer,
        digest=_digest(str(value)),
        defaults={"expires_at": max(left_at, timezone.now() - _kept()) + _kept()},
    )


def _kept() -> timedelta:
    return timedelta(seconds=MARK_SECONDS)


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()
