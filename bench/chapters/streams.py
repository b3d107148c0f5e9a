"""Event streams that say little: how many stay open, and what memory each takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from bench import machine
from bench.targets import Target
from bench.upstream import EVENT_SECONDS
from bench.world import World
from tests.support.ports import LOOPBACK

from . import Figures

SIZES = (100, 1000)
#: Opened and closed before memory is looked at, so that first uses are not counted as streams.
WARM = 10
#: Whoever has not begun to answer by then is waiting for a place.
PATIENCE = 12.0


def measure(
    world: World, targets: list[Target], *, sizes: tuple[int, ...], progress: Callable[[str], None]
) -> Figures:
    """Return target → size → streams that got events, memory of each, threads, event latency."""
    figures: Figures = {}
    for target in targets:
        if not target.carries or target.key == "direct":
            continue
        figures[target.key] = {}
        for size in sizes:
            progress(f"{size} event streams {target.key}")
            found = asyncio.run(_measure(target, size))
            figures[target.key][str(size)] = found
            if found["alive"] < size:
                break  # more of them would not fit either
    return figures


async def _measure(target: Target, size: int) -> Figures:
    await _open(target, min(WARM, size), lambda: None, seconds=EVENT_SECONDS + 1)
    await asyncio.sleep(1)
    before, busy = machine.memory_bytes(target.groups), machine.threads(target.groups)
    after: list[tuple[int, int]] = []

    def look() -> None:
        after.append((machine.memory_bytes(target.groups), machine.threads(target.groups)))

    events = await _open(target, size, look, seconds=PATIENCE)
    alive = sum(len(seen) > 1 for seen in events)
    late = sorted(delay for seen in events for delay in seen)
    return {
        "alive": alive,
        "bytes": (after[0][0] - before) / max(1, alive),
        "threads": [busy, after[0][1]],
        "latency": late[len(late) // 2] if late else None,
    }


async def _open(
    target: Target, size: int, look: Callable[[], None], *, seconds: float
) -> list[list[float]]:
    """Hold streams open for a while; return how late each stream's events came."""
    events: list[list[float]] = [[] for _ in range(size)]
    gate = asyncio.Semaphore(50)  # as many are being opened at a time
    tasks = [asyncio.ensure_future(_stream(target, seen, gate)) for seen in events]
    end = time.monotonic() + seconds
    while time.monotonic() < end and not all(len(seen) > 1 for seen in events):
        await asyncio.sleep(0.2)
    look()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return events


async def _stream(target: Target, seen: list[float], gate: asyncio.Semaphore) -> None:
    head = [f"GET {target.mount}events HTTP/1.1", "Accept: text/event-stream"]
    head += [f"{name}: {value}" for name, value in target.headers.items()]
    async with gate:
        reader, writer = await asyncio.open_connection(LOOPBACK, target.port)
        writer.write("\r\n".join(head).encode() + b"\r\n\r\n")
        status = await reader.readline()
    try:
        while b" 200 " in status and (line := await reader.readline()):
            if line.startswith(b"data: "):
                seen.append(time.monotonic() - float(line[6:]))
    finally:
        writer.close()
