"""How often one call asks PostgreSQL and Redis, counted by these themselves."""

from __future__ import annotations

from collections.abc import Callable

from bench.targets import Target
from bench.world import World

from . import Figures

CALLS = 100


def measure(world: World, targets: list[Target], progress: Callable[[str], None]) -> Figures:
    figures: Figures = {}
    for target in targets:
        if not (target.needs_postgres or target.needs_redis):
            continue
        progress(f"statements {target.key}")
        for _ in range(10):
            target.ask("1k")
        statements, commands = world.statements(), world.redis_commands()
        for _ in range(CALLS):
            target.ask("1k")
        figures[target.key] = {
            "postgresql": (world.statements() - statements) / CALLS,
            "redis": (world.redis_commands() - commands) / CALLS,
        }
    return figures
