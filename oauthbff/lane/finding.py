"""Whose call is it? Found on the shortest way that this site has; None is Django's matter."""

from __future__ import annotations

import contextlib
import time
import uuid
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING

from django.conf import settings

from oauthbff import events, grants
from oauthbff.conf import Upstream, conf
from oauthbff.cookies import exact_cookie
from oauthbff.errors import StoreAway
from oauthbff.grants import reading

from .asked import Asked
from .database import Away, Reader, Unreadable
from .threads import in_thread

if TYPE_CHECKING:
    from .shared import Shared


class Finder:
    """One per process."""

    @cached_property
    def _reader(self) -> Reader | None:
        try:
            reader = Reader()
        except Unreadable as why:
            events.lane_serves(of=f"nothing read directly: {why}")
            return None
        events.lane_serves(of="PostgreSQL")
        return reader

    @cached_property
    def _shared(self) -> Shared | None:
        if not conf().lane_store:
            return None
        from .shared import Shared  # needs redis, which not every site has

        events.lane_serves(of="the shared store")
        return Shared(conf().lane_store)

    async def find(self, session_key: str) -> grants.Standing | None:
        """The grant of a session, if it stands at this moment."""
        # Sliding a session along is SessionMiddleware's work, on each request.
        if settings.SESSION_SAVE_EVERY_REQUEST:
            return None
        if self._shared is None:
            return await self._read(session_key)
        digest = grants.digest(session_key)
        try:
            found = await self._shared.find(digest)
            if found is not None:
                return found
            lease = await self._shared.lease(digest)
        except StoreAway:
            return await self._read(session_key)
        found = await (self._read(session_key) if self._reader else in_thread(_look, session_key))
        if found is not None and lease is not None:
            with contextlib.suppress(StoreAway):
                await self._shared.confirm(digest, lease, found)
        return found

    async def _read(self, session_key: str) -> grants.Standing | None:
        try:
            return await self._reader.read(session_key) if self._reader else None
        except Away:
            return None

    async def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        if self._shared is not None:
            await self._shared.close()


def _look(session_key: str) -> grants.Standing | None:
    """The same by Django's own means, on any database and session engine. Changes nothing."""
    session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    handle = session.get(grants.HANDLE)
    seen = None if handle is None else reading.read(uuid.UUID(str(handle)))
    return None if seen is None else grants.judge(seen, session, session_key)


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
    touch = (active and now > found.touch_at) or route.name not in found.upstreams
    needed = route.token != "none"  # noqa: S105 - a mode, not a password
    held = found.token(route.resource, now) if needed else None
    if not touch and (held is not None or not needed):
        return held
    return await in_thread(_renew, found, session_key, route, active, needed)


async def newer_token(found: grants.Standing, resource: str | None, refused: str) -> str:
    """Another token than the one that an API would not take. Raises what `grants.fresh` does."""
    grant = await in_thread(grants.reread, found.grant)
    return await in_thread(lambda: grants.fresh(grant, resource=resource, refused=refused))


def _renew(
    found: grants.Standing, session_key: str, route: Upstream, active: bool, needed: bool
) -> str | None:
    grant = grants.reread(found.grant)
    grants.touch(grant, session_key, upstream=route.name, active=active)
    token = grants.fresh(grant, resource=route.resource) if needed else None
    if conf().lane_store:
        from oauthbff import primed  # needs redis, which not every site has

        # What it holds says that this is due: until it is gone each call would come here.
        primed.forgot([grants.digest(session_key)])
    return token
