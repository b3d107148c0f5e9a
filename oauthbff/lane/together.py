"""Questions of one moment, asked together. Pure.

Calls come in crowds: whenever the event loop turns, several want to know something of the same
store. To put one question for all of them costs little more than to put one for one. Nobody
is answered from what was asked before they came, and nobody waits for others to come: only,
and briefly, for the answer that is on its way, since those who come meanwhile ask as one.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")

#: How long a question that is under way holds up the next one: a store that answers slowly is
#: asked several at once.
PATIENCE_SECONDS = 0.002


class Together(Generic[Q, A]):
    """Asks `ask` for the answers to several questions; one that it leaves out has none.

    One question at a time, and up to `most` where answers take longer than `patience` seconds:
    who comes meanwhile waits for the next turn, all together.
    What `ask` raises, each of those whose question it was gets.
    """

    def __init__(
        self,
        ask: Callable[[list[Q]], Awaitable[Mapping[Q, A]]],
        most: int,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._ask = ask
        self._most = most
        self._patience = patience
        self._under_way: set[asyncio.Task[None]] = set()
        self._patient_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: dict[Q, list[asyncio.Future[A | None]]] = {}

    async def ask(self, question: Q) -> A | None:
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._turn)  # when all who are here by now have asked
        turn: asyncio.Future[A | None] = loop.create_future()
        self._waiting.setdefault(question, []).append(turn)
        return await turn

    def _turn(self) -> None:
        if not self._waiting or len(self._under_way) >= self._most:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._under_way and now < self._patient_until:
            if self._timer is None:
                self._timer = loop.call_at(self._patient_until, self._impatient)
            return
        self._patient_until = now + self._patience
        asked, self._waiting = self._waiting, {}
        # Of no call's context: it is asked for several.
        task = loop.create_task(self._answer(asked), context=contextvars.Context())
        self._under_way.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._turn()

    def _impatient(self) -> None:
        self._timer = None
        self._turn()

    async def _answer(self, asked: Mapping[Q, list[asyncio.Future[A | None]]]) -> None:
        try:
            answers = await self._ask(list(asked))
        except BaseException as exc:
            for turn in _still_waiting(*asked.values()):
                turn.set_exception(exc)
            if not isinstance(exc, Exception):
                raise
            return
        for question, turns in asked.items():
            for turn in _still_waiting(turns):
                turn.set_result(answers.get(question))


def _still_waiting(*groups: Iterable[asyncio.Future[A | None]]) -> list[asyncio.Future[A | None]]:
    """Without those who were cancelled meanwhile."""
    return [turn for group in groups for turn in group if not turn.done()]
