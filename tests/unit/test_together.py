"""Many askers, few questions: each gets an answer to what was asked after they came."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from oauthbff.lane.together import PATIENCE_SECONDS, Together
from tests.support.loops import run


class Store:
    """Answers when it is let, with what it held when it was asked."""

    def __init__(self) -> None:
        self.held: dict[str, int] = {}
        self.asked: list[list[str]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.broken: BaseException | None = None

    async def ask(self, questions: list[str]) -> dict[str, int]:
        self.asked.append(questions)
        seen = {each: self.held[each] for each in questions if each in self.held}
        await self.open.wait()
        if self.broken is not None:
            raise self.broken
        return seen


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_who_comes_at_the_same_moment_asks_together_and_each_thing_once():
    async def go() -> None:
        store = Store()
        store.held = {"a": 1, "b": 2}
        together = Together(store.ask, most=8)
        answers = await asyncio.gather(*(together.ask(each) for each in ("a", "b", "a", "c")))
        assert answers == [1, 2, 1, None]
        assert store.asked == [["a", "b", "c"]]

    run(go())


def test_nobody_is_answered_from_what_was_asked_before_they_came():
    async def go() -> None:
        store = Store()
        store.held = {"grant": 1}
        store.open.clear()
        together = Together(store.ask, most=2)
        first = asyncio.create_task(together.ask("grant"))
        await settle()
        del store.held["grant"]  # it has ended
        second = asyncio.create_task(together.ask("grant"))
        await asyncio.sleep(5 * PATIENCE_SECONDS)
        assert store.asked == [["grant"], ["grant"]]
        store.open.set()
        assert (await first, await second) == (1, None)

    run(go())


def test_an_answer_that_takes_long_holds_up_nobody():
    async def go() -> None:
        store = Store()
        store.open.clear()
        together = Together(store.ask, most=3)
        asking = []
        for name in ("first", "second", "third", "fourth", "fifth"):
            asking.append(asyncio.create_task(together.ask(name)))
            await asyncio.sleep(5 * PATIENCE_SECONDS)
        assert store.asked == [["first"], ["second"], ["third"]]
        store.open.set()
        await asyncio.wait_for(asyncio.gather(*asking), 1)
        assert store.asked[3:] == [["fourth", "fifth"]]

    run(go())


@pytest.mark.parametrize(("most", "patience"), [(1, 0.0), (8, 60.0)])
def test_no_more_than_so_many_at_once_and_who_waits_goes_next_all_together(
    most: int, patience: float
):
    async def go() -> None:
        store = Store()
        store.open.clear()
        together = Together(store.ask, most=most, patience=patience)
        asking = [asyncio.create_task(together.ask("first"))]
        await settle()
        for name in ("second", "third"):
            asking.append(asyncio.create_task(together.ask(name)))
            await settle()
        assert store.asked == [["first"]]
        store.open.set()
        await asyncio.wait_for(asyncio.gather(*asking), 1)
        assert store.asked == [["first"], ["second", "third"]]

    run(go())


@pytest.mark.parametrize("broken", [OSError("down"), asyncio.CancelledError()])
def test_what_goes_wrong_is_told_to_each_who_asked_and_to_nobody_else(broken: BaseException):
    async def go() -> None:
        store = Store()
        store.broken = broken
        together = Together(store.ask, most=1)
        both: list[Any] = await asyncio.wait_for(
            asyncio.gather(together.ask("a"), together.ask("b"), return_exceptions=True), 1
        )
        assert [type(each) for each in both] == [type(broken)] * 2
        store.broken = None
        assert await asyncio.wait_for(together.ask("a"), 1) is None

    run(go())


def test_who_gives_up_waiting_takes_nothing_from_the_others():
    async def go() -> None:
        store = Store()
        store.held = {"a": 1}
        store.open.clear()
        together = Together(store.ask, most=1)
        leaves, stays = (asyncio.create_task(together.ask("a")) for _ in range(2))
        await settle()
        leaves.cancel()
        await settle()
        store.open.set()
        assert await asyncio.wait_for(stays, 1) == 1
        assert leaves.cancelled()

    run(go())
