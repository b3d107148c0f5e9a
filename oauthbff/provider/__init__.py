"""Asking the provider. The only room that talks to it.

Every question is one HTTP request, authenticated as our client where the
specification says so, with a bound on time and size, without redirects,
proxies or cookies. The answers are judged in `claims`; what comes out is a
value or one of the four `ProviderError`s, and no text of the provider's.

    discovery  what it says of itself: endpoints and keys, remembered
    tokens     exchange, refresh, revoke
    judging    ID tokens, logout tokens and UserInfo, judged with its keys
    asking     the I/O of one question
"""

from __future__ import annotations

from .asking import MOST_PATIENT_SECONDS, pool, retry_after
from .discovery import (
    WELL_KNOWN,
    Metadata,
    end_session_url,
    keys_now,
    look,
    metadata,
    oauth_metadata,
)
from .judging import judge_id_token, judge_logout_token, judge_refreshed_id_token, userinfo
from .tokens import auth_method, exchange, may_revoke, push, refresh, revoke, safe_code

__all__ = [
    "MOST_PATIENT_SECONDS",
    "WELL_KNOWN",
    "Metadata",
    "auth_method",
    "end_session_url",
    "exchange",
    "judge_id_token",
    "judge_logout_token",
    "judge_refreshed_id_token",
    "keys_now",
    "look",
    "may_revoke",
    "metadata",
    "oauth_metadata",
    "pool",
    "push",
    "refresh",
    "retry_after",
    "revoke",
    "safe_code",
    "userinfo",
]
