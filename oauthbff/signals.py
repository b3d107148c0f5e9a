"""What happened to grants, past tense, sent after commit. For the site to listen to.

Each carries `grant_id` and facts, never a token:

    grant_issued               user_id
    grant_refreshed
    grant_ended                reason, by_id, note
    grant_revoked_at_provider
"""

from __future__ import annotations

from django.dispatch import Signal

grant_issued = Signal()
grant_refreshed = Signal()
grant_ended = Signal()
grant_revoked_at_provider = Signal()
