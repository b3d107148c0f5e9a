"""What a carrier of calls needs to know of a grant, and until when it is true.

For who reads the row by other means than Django's: the judgement is the same. None means
no judgement at all: Django's own way is to be gone, which knows what to answer.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils import timezone

from oauthbff import vault
from oauthbff.errors import KeyStoreUnavailable, SealBroken
from oauthbff.models import TokenGrant
from oauthbff.vault import Envelope

from .holding import tokens_at_hand
from .judging import HANDLE, due_at, is_their_session, touch_due_at, why_due
from .reading import Seen
from .rows import digest


@dataclass(frozen=True, slots=True)
class Standing:
    """A grant that stands, as far as a call is concerned. Times are Unix times."""

    handle: uuid.UUID
    #: When the grant ends if nothing happens until then.
    until: float
    #: From when on a call must be written down as activity.
    touch_at: float
    #: Names of the upstreams that were called with it: another one is to be written down as well.
    upstreams: frozenset[str]
    #: Resource, or "" → access token, and until when it needs no refresh; None: for ever.
    tokens: Mapping[str, tuple[str, float | None]] = field(repr=False)

    @property
    def grant(self) -> TokenGrant:
        """Its row, not read yet: for `reread`."""
        return TokenGrant(pk=self.handle)

    def as_entry(self) -> dict[str, Any]:
        """For a store that lives shorter than anything it says."""
        return {
            "handle": self.handle.hex,
            "until": self.until,
            "touch_at": self.touch_at,
            "upstreams": sorted(self.upstreams),
            "tokens": dict(self.tokens),
        }

    @classmethod
    def of_entry(cls, entry: Mapping[str, Any], now: float) -> Standing | None:
        """What `as_entry` wrote down; None when it is over."""
        if now >= entry["until"]:
            return None
        tokens = {name: (token, until) for name, (token, until) in entry["tokens"].items()}
        return cls(
            handle=uuid.UUID(entry["handle"]),
            until=entry["until"],
            touch_at=entry["touch_at"],
            upstreams=frozenset(entry["upstreams"]),
            tokens=tokens,
        )

    def token(self, resource: str | None, now: float) -> str | None:
        """The access token to send now; None: `grants.fresh` must be asked."""
        token, until = self.tokens.get(resource or "", ("", None))
        return token if token and (until is None or now < until) else None


def judge(seen: Seen, session: Mapping[str, Any], session_key: str) -> Standing | None:
    """Judge a row and the session that points at it. Asks no database and no key store."""
    grant = seen.grant
    if (
        grant.ended_at is not None
        or session.get(HANDLE) != str(grant.pk)
        or grant.session_digest != digest(session_key)
        or why_due(grant, seen.user, timezone.now()) is not None
        or seen.user is None
        or not is_their_session(session, seen.user)
        or not vault.opens_at_once(grant.envelope, grant.place)
    ):
        return None
    try:
        envelope = Envelope.open(grant.envelope, grant.place)
    except (SealBroken, KeyStoreUnavailable):
        return None
    return Standing(
        handle=grant.pk,
        until=due_at(grant).timestamp(),
        touch_at=touch_due_at(grant).timestamp(),
        upstreams=frozenset(grant.upstreams.split()),
        tokens={
            resource or "": (token, until.timestamp() if until else None)
            for resource, (token, until) in tokens_at_hand(grant, envelope).items()
        },
    )
