"""A few things that many need one after another. Whoever has waited longest is next. Pure."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Few(Generic[T]):
    """At most `most` of them, each made when it is first needed."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._made = 0
        self._free: list[T] = []
        self._waiting: deque[asyncio.Future[T | None]] = deque()

    async def take(self, make: Callable[[], Awaitable[T]]) -> T:
        """Take one that is free, or make one, or wait for one. Raises what `make` raises."""
        while not self._free:
            if self._made < self._most:
                self._made += 1
                try:
                    return await make()
                except BaseException:
                    self.lose()
                    raise
            handed = await self._wait()
            if handed is not None:
                return handed
        return self._free.pop()

    def give(self, thing: T) -> None:
        """Give one back, into the hands of who waits: nobody who comes now is before them."""
        if not self._hand(thing):
            self._free.append(thing)

    def lose(self) -> None:
        """One that was taken is no more: another may be made."""
        self._made -= 1
        self._hand(None)

    def empty(self) -> list[T]:
        """All that are free; they are no longer ours."""
        free, self._free = self._free, []
        self._made -= len(free)
        return free

    async def _wait(self) -> T | None:
        turn: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it came, but nobody is there to take it
                handed = turn.result()
                if handed is not None:
                    self.give(handed)
                else:
                    self._hand(None)
            raise

    def _hand(self, thing: T | None) -> bool:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(thing)
                return True
        return False
