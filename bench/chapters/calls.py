"""Throughput, latency and processor time of calls: interleaved rounds over all targets."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import asdict, dataclass

from bench.load import Shot, fire
from bench.targets import Target
from bench.world import World

from . import Figures


@dataclass(frozen=True)
class Load:
    what: str
    connections: int
    seconds: float


#: 1 KB in the three crowds, then what is large, then what takes the upstream 200 ms.
LOADS = [
    *(Load("1k", connections, 1) for connections in (1, 16, 64)),
    Load("100k", 16, 1),
    Load("10m", 4, 1),
    Load("upload", 4, 1),
    # In a second there are only five waves of them.
    Load("slow", 256, 3),
]
MAIN = Load("1k", 16, 1)
QUICK = [MAIN]


def measure(
    world: World,
    targets: list[Target],
    *,
    loads: list[Load],
    rounds: int,
    progress: Callable[[str], None],
) -> Figures:
    """Return load → target → shots, one per round. A wrong answer ends that target's part of it."""
    figures: Figures = {}
    chance = random.Random(1)  # noqa: S311 - the order of a round
    for target in targets:
        progress(f"warm-up {target.key}")
        shot(world, target, MAIN)
    for load in loads:
        name = f"{load.what}/{load.connections}"
        figures[name] = {}
        runners = [
            t
            for t in targets
            if load == MAIN or (t.large and (t.carries or load.what == MAIN.what))
        ]
        for number in range(rounds):
            for target in chance.sample(runners, len(runners)):
                found = figures[name].setdefault(target.key, {"shots": []})
                if "failed" in found:
                    continue
                progress(f"{name} round {number + 1}/{rounds} {target.key}")
                result = shot(world, target, load)
                if result.failure:
                    found["failed"] = result.failure
                else:
                    found["shots"].append(asdict(result) | {"rps": result.per_second})
    return figures


def shot(world: World, target: Target, load: Load) -> Shot:
    return fire(
        target.request(world, load.what),
        connections=load.connections,
        seconds=load.seconds,
        groups=target.groups,
    )
