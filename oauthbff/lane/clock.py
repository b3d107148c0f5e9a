"""What time does to calls under way: late upstreams, browsers that left, grants that ended.

One task per process looks at all of them every tenth of a second, and is there only while
there are any. So an ordinary call costs no timer, no task and no query of its own.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
import uuid
from collections.abc import Coroutine
from typing import Any, Protocol

from django.db import DatabaseError

from oauthbff import events, grants
from oauthbff.errors import UpstreamTimeout

from .threads import in_thread

TICK_SECONDS = 0.1
#: How often the database is asked which grants of the calls under way still stand.
LOOK_SECONDS = 0.5


class UnderWay(Protocol):
    """A call under way, or a WebSocket."""

    #: Whose token goes along; None without.
    handle: uuid.UUID | None

    def is_late(self, now: float) -> bool:
        """Whether the upstream has kept us waiting for too long."""

    def fail_late(self, error: UpstreamTimeout) -> None: ...

    def look_for_the_browser(self) -> None:
        """Begin to notice that the browser leaves. Called once, for calls that take a while."""

    def cut(self) -> None:
        """The grant has ended."""


class Clock:
    def __init__(self) -> None:
        self._calls: dict[UnderWay, float] = {}
        self._watched: set[UnderWay] = set()
        self._ticking: asyncio.Task[None] | None = None

    def add(self, call: UnderWay) -> None:
        self._calls[call] = time.monotonic()
        if self._ticking is None:
            self._ticking = _spawn(self._tick())

    def remove(self, call: UnderWay) -> None:
        self._calls.pop(call, None)
        self._watched.discard(call)

    async def _tick(self) -> None:
        next_look = time.monotonic() + LOOK_SECONDS
        looking: asyncio.Task[None] | None = None
        try:
            while self._calls:
                await asyncio.sleep(TICK_SECONDS)
                now = time.monotonic()
                for call, since in list(self._calls.items()):
                    if call.is_late(now):
                        call.fail_late(UpstreamTimeout("the upstream fell silent"))
                    elif call not in self._watched and now - since > TICK_SECONDS:
                        self._watched.add(call)
                        call.look_for_the_browser()
                if now >= next_look and (looking is None or looking.done()):
                    next_look = now + LOOK_SECONDS
                    if any(call.handle is not None for call in self._watched):
                        looking = _spawn(self._look())
        finally:
            self._ticking = None

    async def _look(self) -> None:
        """Cut what belongs to a grant that has ended; one query for all."""
        held = {call: call.handle for call in self._watched if call.handle is not None}
        try:
            standing = await in_thread(grants.standing_among, set(held.values()))
        except DatabaseError:
            events.streams_unwatched(count=len(held))
            return
        fallen = [call for call, handle in held.items() if handle not in standing]
        for call in fallen:
            call.cut()
        if fallen:
            events.streams_cut(count=len(fallen))


def _spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Of no call's context: the clock is not part of the request that happened to wind it."""
    return asyncio.get_running_loop().create_task(work, context=contextvars.Context())


clock = Clock()
