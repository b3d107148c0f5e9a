"""Print orders. A print takes twelve seconds; how far it is follows from the clock alone."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from .problems import Problem

SIZES = ("10x15", "13x18", "20x30", "30x45")
COPIES_AT_MOST = 20

#: One step, and one event, every so many seconds.
STEP_SECONDS = 0.6
STEPS = 20
#: The percentage at which each stage begins.
STAGES = {0: "queued", 10: "rendering", 30: "printing", 75: "drying", 90: "packing", 100: "done"}


@dataclass(frozen=True)
class Print:
    id: str
    photo: str
    size: str
    copies: int
    ordered_at: float = field(default_factory=time.monotonic)

    @property
    def step(self) -> int:
        return min(STEPS, int((time.monotonic() - self.ordered_at) / STEP_SECONDS))

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "photo": self.photo,
            "size": self.size,
            "copies": self.copies,
            "status": stage_at(percent_at(self.step)),
            "percent": percent_at(self.step),
            "progress": f"prints/{self.id}/events",
        }

    async def events(self, after: int) -> AsyncIterator[str]:
        """Yield the progress from the step after `after`, each step when it is reached."""
        for step in range(after + 1, STEPS + 1):
            due = self.ordered_at + step * STEP_SECONDS
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            percent = percent_at(step)
            data = json.dumps({"percent": percent, "stage": stage_at(percent)})
            yield f"event: progress\nid: {step}\ndata: {data}\n\n"


def percent_at(step: int) -> int:
    return 100 * step // STEPS


def stage_at(percent: int) -> str:
    return [stage for begin, stage in STAGES.items() if begin <= percent][-1]


class Orders:
    """Every person's print orders, by `sub`."""

    def __init__(self) -> None:
        self._orders: dict[str, dict[str, Print]] = defaultdict(dict)
        self._numbers = count(1001)

    def of(self, subject: str) -> list[Print]:
        return list(self._orders[subject].values())

    def order(self, subject: str, photo: str, size: str, copies: int) -> Print:
        order = Print(str(next(self._numbers)), photo, size, copies)
        self._orders[subject][order.id] = order
        return order

    def find(self, subject: str, order_id: str) -> Print:
        try:
            return self._orders[subject][order_id]
        except KeyError:
            raise Problem(404, "There is no such order.") from None


def checked(wish: Any, photos: dict[str, Any]) -> tuple[str, str, int]:
    """Return photo, size and copies of an order, or refuse it with every mistake at once."""
    wish = wish if isinstance(wish, dict) else {}
    photo, size, copies = wish.get("photo"), wish.get("size"), wish.get("copies", 1)
    errors = {}
    if not isinstance(photo, str) or photo not in photos:
        errors["photo"] = "Choose one of your photos."
    if size not in SIZES:
        errors["size"] = f"Choose one of {', '.join(SIZES)}."
    if type(copies) is not int or not 1 <= copies <= COPIES_AT_MOST:
        errors["copies"] = f"Choose a number from 1 to {COPIES_AT_MOST}."
    if errors:
        raise Problem(422, "The order is not complete.", errors=errors)
    return photo, size, copies
