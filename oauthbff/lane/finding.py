"""Whose call is it? Found on the shortest way that this site has; None is Django's matter."""

from __future__ import annotations

import time
from functools import cached_property

from django.conf import settings

from oauthbff import events, grants
from oauthbff.conf import Upstream
from oauthbff.cookies import exact_cookie

from .asked import Asked
from .database import Away, Reader, Unreadable
from .threads import in_thread


class Finder:
    """One per process."""

    @cached_property
    def _reader(self) -> Reader | None:
        try:
            reader = Reader()
        except Unreadable as why:
            events.lane_serves(of=f"nothing: {why}")
            return None
        events.lane_serves(of="PostgreSQL")
        return reader

    async def find(self, session_key: str) -> grants.Standing | None:
        """The grant of a session, if it stands at this moment."""
        # Sliding a session along is SessionMiddleware's work, on each request.
        if self._reader is None or settings.SESSION_SAVE_EVERY_REQUEST:
            return None
        try:
            return await self._reader.read(session_key)
        except Away:
            return None

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()


def session_key_of(asked: Asked) -> str | None:
    """The one session cookie. Raises `AmbiguousCookie`."""
    return exact_cookie(asked.cookies, settings.SESSION_COOKIE_NAME)


async def token_of(
    found: grants.Standing, session_key: str, route: Upstream, *, active: bool
) -> str | None:
    """A token with life left, and the call written down as activity where that is due.

    Where the row must be changed, Django does it, in a thread. Raises what `grants.fresh` does.
    """
    now = time.time()
    touch = active and (now > found.touch_at or route.name not in found.upstreams)
    needed = route.token != "none"  # noqa: S105 - a mode, not a password
    held = found.token(route.resource, now) if needed else None
    if not touch and (held is not None or not needed):
        return held
    return await in_thread(_renew, found, session_key, route, touch, needed)


async def newer_token(found: grants.Standing, resource: str | None, refused: str) -> str:
    """Another token than the one that an API would not take. Raises what `grants.fresh` does."""
    grant = await in_thread(grants.reread, found.grant)
    return await in_thread(lambda: grants.fresh(grant, resource=resource, refused=refused))


def _renew(
    found: grants.Standing, session_key: str, route: Upstream, touch: bool, needed: bool
) -> str | None:
    grant = grants.reread(found.grant)
    if touch:
        grants.touch(grant, session_key, upstream=route.name)
    return grants.fresh(grant, resource=route.resource) if needed else None
