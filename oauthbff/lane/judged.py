"""What was read a moment ago and has not changed need not be opened and judged again.

The row is read on each call all the same: a grant that has ended is another row. Only the work
that follows from the row alone is spared: building objects, opening the envelope, the hash
that holds the session to the user's password.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from oauthbff import grants

#: An access token is kept in memory for so long at most.
LIFE_SECONDS = 60.0
#: Sessions, per process. Further ones are judged on each call.
MOST = 1024


class Judged:
    """Judgements by the digest of the session's key."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Any, grants.Standing]] = {}

    def get(self, digest: str, row: Any) -> grants.Standing | None:
        """The judgement of this very row, if it still holds."""
        known = self._known.get(digest)
        if known is None or known[0] != row or time.time() >= known[1].until:
            return None
        return known[1]

    def keep(self, digest: str, row: Any, found: grants.Standing) -> None:
        if len(self._known) < MOST or digest in self._known:
            self._known[digest] = row, found
            asyncio.get_running_loop().call_later(LIFE_SECONDS, self._forget, digest, found)

    def _forget(self, digest: str, found: grants.Standing) -> None:
        if self._known.get(digest, (None, None))[1] is found:
            del self._known[digest]

    def clear(self) -> None:
        self._known.clear()
