"""Does a grant stand, and is a session its own? Pure: no query, no write.

Every way to carry a call asks here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.base_user import AbstractBaseUser
from django.utils.crypto import constant_time_compare

from oauthbff.conf import conf
from oauthbff.models import EndReason, TokenGrant

#: The key under which the Django session holds the handle.
HANDLE = "_oauthbff_grant"


def why_due(grant: TokenGrant, user: AbstractBaseUser | None, now: datetime) -> EndReason | None:
    """Why a grant that has not ended must end now; None: it stands."""
    if user is None or not user.is_active:
        return EndReason.USER_DISABLED
    if now >= grant.expires_at:
        return EndReason.ABSOLUTE
    if now >= grant.last_used_at + timedelta(seconds=conf().idle_timeout):
        return EndReason.IDLE
    return None


def due_at(grant: TokenGrant) -> datetime:
    """When a standing grant must end if nothing happens until then."""
    return min(grant.expires_at, grant.last_used_at + timedelta(seconds=conf().idle_timeout))


def touch_due_at(grant: TokenGrant) -> datetime:
    """From when on the next use of a grant must be written down."""
    return grant.last_used_at + timedelta(seconds=conf().touch_seconds)


def touch_is_due(grant: TokenGrant, now: datetime) -> bool:
    """Whether the next use of a grant must be written down."""
    return touch_due_at(grant) < now


def is_their_session(session: Mapping[str, Any], user: AbstractBaseUser) -> bool:
    """Whether a session is of this user, under the user's present password.

    What `django.contrib.auth.get_user` checks.
    """
    shown = session.get(HASH_SESSION_KEY, "")
    if session.get(SESSION_KEY) != user._meta.pk.value_to_string(user):
        return False
    return constant_time_compare(shown, user.get_session_auth_hash()) or any(
        constant_time_compare(shown, known) for known in user.get_session_auth_fallback_hash()
    )


def is_judged_by_row(user_class: type[AbstractBaseUser]) -> bool:
    """Whether these columns are all that judges a user: a site's own class may look further."""
    return (
        user_class.get_session_auth_hash is AbstractBaseUser.get_session_auth_hash
        and not isinstance(getattr(user_class, "is_active", True), property)
    )
