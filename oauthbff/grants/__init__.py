"""Grants: what the provider gave us for one sign-in. The only room that changes one.

Every write is one conditional UPDATE on the row (its `version`, its lease, its
not being ended) and no lock is ever held while the provider is asked: it works
the same on SQLite and on three hosts with PostgreSQL. It does not know HTTP
requests, except to find a session's pointer in `current`.

    issue    a sign-in succeeded: store its tokens
    current  the standing grant of this request's session
    carrying the same for a call that goes on to an API: judged once for each word of the rows
    fresh    an access token with life left, refreshed once whoever asks
    end      make grants unusable here, then tell the provider
    order_end, carry_out   the same for very many, in steps that outlive who asked
    leave    the provider says that somebody has signed out there
    tell     ask the provider to revoke what has ended, until it confirms
    sweep    all that time and crashes leave to do
    rekey    seal every envelope with the first key
"""

from __future__ import annotations

from .counting import count_standing, count_untold
from .ending import end, end_in_batches
from .holding import AccessToken
from .issuing import issue
from .judging import HANDLE
from .leaving import judge_logged_out, leave
from .opening import Contents, id_token_hint, look_into, shown_claims
from .orders import carry_out, left_to_end, order_end, tell_again
from .refreshing import fresh, fresh_token
from .rekeying import keys_in_use, rekey
from .returning import give_back
from .rows import digest, note_viewed, spend
from .snapshot import Standing, judge
from .standing import (
    carrying,
    current,
    expires_in,
    forget_current,
    idle_expires_in,
    reread,
    standing_among,
    touch,
)
from .sweeping import sweep, tell_due
from .telling import tell, tell_many

__all__ = [
    "HANDLE",
    "AccessToken",
    "Contents",
    "Standing",
    "carry_out",
    "carrying",
    "count_standing",
    "count_untold",
    "current",
    "digest",
    "end",
    "end_in_batches",
    "expires_in",
    "forget_current",
    "fresh",
    "fresh_token",
    "give_back",
    "id_token_hint",
    "idle_expires_in",
    "issue",
    "judge",
    "judge_logged_out",
    "keys_in_use",
    "leave",
    "left_to_end",
    "rekey",
    "look_into",
    "reread",
    "shown_claims",
    "note_viewed",
    "order_end",
    "spend",
    "standing_among",
    "sweep",
    "tell",
    "tell_due",
    "tell_many",
    "tell_again",
    "touch",
]
