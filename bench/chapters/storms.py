"""Refresh storms: many calls at once meet a token that has just expired.

A provider that rotates refresh tokens takes a spent one for a thief's and ends the session: one
question too many, and everybody is signed out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from bench.targets import Missing, Target, Wrong
from bench.world import World, register
from tests.support.processes import ChildFailed

from . import Figures

CALLS = 64
ROUNDS = 2
TOKEN_SECONDS = 4


def measure(world: World, targets: list[Target], progress: Callable[[str], None]) -> Figures:
    """`targets` are new ones: they sign in at a provider whose tokens live a few seconds."""
    provider = world.hasty_provider(TOKEN_SECONDS)
    figures: Figures = {}
    callbacks = []
    for target in targets:
        try:
            target.require()
            callbacks.append(target.prepare(world))
        except Missing:
            continue
    register(provider, [each for each in callbacks if each])
    for target in targets:
        if not target.port:
            continue
        progress(f"refresh storm {target.key}")
        try:
            target.start(world, provider)
            figures[target.key] = _storms(world, target, provider)
        except (Wrong, ChildFailed, OSError, AssertionError) as reason:
            figures[target.key] = {"failed": str(reason).strip().splitlines()[0]}
        finally:
            target.stop()
    return figures


def _storms(world: World, target: Target, provider: object) -> Figures:
    target.sign_in(world, provider)  # type: ignore[arg-type]
    asked = spent = right = 0
    for _ in range(ROUNDS):
        time.sleep(TOKEN_SECONDS + 0.5)
        provider.forget_log()  # type: ignore[attr-defined]
        with ThreadPoolExecutor(CALLS) as pool:
            answers = list(pool.map(lambda _: _call(target), range(CALLS)))
        right += sum(body == world.contents["1k"] for body in answers)
        asked += provider.refreshes  # type: ignore[attr-defined]
        spent += provider.reuses  # type: ignore[attr-defined]
    return {"rounds": ROUNDS, "calls": CALLS, "asked": asked, "spent": spent, "right": right}


def _call(target: Target) -> bytes:
    try:
        return target.ask("1k")
    except OSError:
        return b""
