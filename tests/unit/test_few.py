"""Few things, many takers: in the order in which they came, and none is lost on the way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from oauthbff.lane.few import Few
from tests.support.loops import run


def makes(*things: str) -> Any:
    left = list(things)

    async def make() -> str:
        await asyncio.sleep(0)
        return left.pop(0)

    return make


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_no_more_than_a_few_are_made_and_who_waited_longest_is_next():
    async def go() -> None:
        few: Few[str] = Few(1)
        make, order = makes("one"), []

        async def taker(name: str, *, times: int = 1) -> None:
            for _ in range(times):
                thing = await few.take(make)
                order.append(name)
                await settle()
                few.give(thing)

        # Who gives it back and at once wants it again is behind those who wait.
        first = asyncio.create_task(taker("first", times=2))
        await settle()
        await asyncio.gather(first, *[taker(name) for name in ("second", "third")])
        assert order == ["first", "second", "third", "first"]

    run(go())


def test_who_gives_up_waiting_loses_nothing():
    async def go() -> None:
        few: Few[str] = Few(1)
        thing = await few.take(makes("one"))
        waits = asyncio.create_task(few.take(makes()))
        await settle()
        few.give(thing)  # it is in their hands, and they are cancelled before they run
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits
        assert await asyncio.wait_for(few.take(makes()), 1) == "one"

    run(go())


def test_another_may_be_made_for_one_that_is_lost_or_was_never_made():
    async def go() -> None:
        few: Few[str] = Few(1)

        async def breaks() -> str:
            raise OSError

        with pytest.raises(OSError):
            await few.take(breaks)
        assert await few.take(makes("one")) == "one"
        waits = asyncio.create_task(few.take(makes("two")))
        await settle()
        few.lose()
        assert await asyncio.wait_for(waits, 1) == "two"
        few.give("two")
        assert few.empty() == ["two"]
        assert await few.take(makes("three")) == "three"

    run(go())
