"""One upstream's share of this process: how many calls at once, and whether any at all.

A ship's bulkhead: an upstream that is slow or gone fills its own compartment and
no other. Nobody queues: who finds no place is told at once to come back later.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from functools import cache

from . import events
from .breaker import Circuit, State
from .conf import Upstream
from .errors import UpstreamUnreachable


class Bulkhead:
    """The places of one upstream, and its breaker."""

    def __init__(self, upstream: Upstream) -> None:
        self._name = upstream.name
        self._free = {"calls": upstream.max_calls, "streams": upstream.max_streams}
        self._said_full = False
        self._circuit = Circuit(upstream.breaker)
        self._lock = threading.Lock()

    @property
    def state(self) -> State:
        return self._circuit.state(time.monotonic())

    def enter(self) -> Place:
        """Take a place for one call. Leave it, whatever happens.

        Raises `UpstreamUnreachable`, with the seconds after which to ask again, when
        all places are taken or the breaker is open. Nothing is sent then.
        """
        with self._lock:
            circuit, now = self._circuit, time.monotonic()
            wait = circuit.wait(now)
            if wait:
                raise UpstreamUnreachable(
                    f"the circuit to {self._name} is open", retry_after=math.ceil(wait)
                )
            self._take("calls")
            trial = circuit.state(now) is State.HALF_OPEN
            self._step(circuit.entered())
        return Place(self, trial)

    def _take(self, kind: str) -> None:
        if not self._free[kind]:
            if not self._said_full:
                events.upstream_full(upstream=self._name, kind=kind)
            self._said_full = True
            raise UpstreamUnreachable(f"all {kind} to {self._name} are taken", retry_after=1)
        self._free[kind] -= 1

    def _give(self, kind: str) -> None:
        self._free[kind] += 1
        self._said_full = False

    def _step(self, new: Circuit) -> None:
        old, self._circuit = self._circuit, new
        if new is old:
            return
        if new.trying and not old.trying:
            events.circuit_tried(upstream=self._name)
        elif new.retry_at is not None and new.retry_at != old.retry_at:
            events.circuit_opened(
                upstream=self._name, retry_in=round(new.retry_at - time.monotonic())
            )
        elif new.retry_at is None and old.retry_at is not None:
            events.circuit_closed(upstream=self._name)


class Place:
    """One call's place: as a call until it is answered, then perhaps as an event stream."""

    def __init__(self, bulkhead: Bulkhead, trial: bool) -> None:
        self._bulkhead = bulkhead
        self._trial = trial
        self._kind: str | None = "calls"
        self._judged = False

    def reached(self) -> None:
        """The upstream answered, whatever it said."""
        self._judge(lambda circuit: circuit.reached())

    def failed(self) -> None:
        """No connection could be made, or no answer began in time."""
        self._judge(lambda circuit: circuit.failed(time.monotonic(), trial=self._trial))

    def becomes_stream(self) -> None:
        """Take a stream's place instead. Raises `UpstreamUnreachable` when there is none."""
        with self._bulkhead._lock:
            self._bulkhead._take("streams")
            self._bulkhead._give("calls")
            self._kind = "streams"

    def leave(self) -> None:
        """Give the place back. May be called twice."""
        self._judge(lambda circuit: circuit.came_to_nothing(trial=self._trial))
        with self._bulkhead._lock:
            if self._kind is not None:
                self._bulkhead._give(self._kind)
                self._kind = None

    def _judge(self, step: Callable[[Circuit], Circuit]) -> None:
        with self._bulkhead._lock:
            if not self._judged:
                self._judged = True
                self._bulkhead._step(step(self._bulkhead._circuit))


@cache
def bulkhead(upstream: Upstream) -> Bulkhead:
    """The bulkhead of this upstream in this process."""
    return Bulkhead(upstream)
