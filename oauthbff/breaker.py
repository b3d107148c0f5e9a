"""A circuit breaker: an upstream that does not answer is left alone for a while. Pure.

    closed     calls go through; failures in a row are counted
    open       calls are refused at once, until the cooldown is over
    half-open  one call tries; the others are refused until it is known how it went

A failure is a connection that could not be made, or an answer that did not begin in
time: what makes a caller wait. Whatever the upstream answers, 5xx included, is an
answer. Time is passed in, in seconds of a clock that never goes back.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .conf import Breaking


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True)
class Circuit:
    """Where the breaker of one upstream stands. Each step returns the next value."""

    rule: Breaking
    #: In a row, while closed.
    failures: int = 0
    #: When the next call may try; None while closed.
    retry_at: float | None = None
    #: Half-open, and the one call is under way.
    trying: bool = False

    def state(self, now: float) -> State:
        if self.retry_at is None:
            return State.CLOSED
        return State.HALF_OPEN if self.trying or now >= self.retry_at else State.OPEN

    def wait(self, now: float) -> float:
        """Return the seconds until a call may go; 0: at once."""
        if self.retry_at is None:
            return 0.0
        return self.rule.cooldown if self.trying else max(0.0, self.retry_at - now)

    def entered(self) -> Circuit:
        """A call goes. While half-open it is the trial."""
        return self if self.retry_at is None else Circuit(self.rule, 0, self.retry_at, True)

    def reached(self) -> Circuit:
        """A call was answered, whenever it began."""
        return Circuit(self.rule) if self.failures or self.retry_at is not None else self

    def failed(self, now: float, *, trial: bool) -> Circuit:
        """A call failed. While open, only the trial's failure means anything new."""
        if self.retry_at is not None:
            return Circuit(self.rule, 0, now + self.rule.cooldown) if trial else self
        if self.rule.failures and self.failures + 1 >= self.rule.failures:
            return Circuit(self.rule, 0, now + self.rule.cooldown)
        return Circuit(self.rule, self.failures + 1)

    def came_to_nothing(self, *, trial: bool) -> Circuit:
        """A call was given up for reasons of our side: the next one may try."""
        if trial and self.retry_at is not None:
            return Circuit(self.rule, 0, self.retry_at)
        return self
