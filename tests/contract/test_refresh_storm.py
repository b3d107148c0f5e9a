"""200 calls at once on an expired token, over 8 workers, again and again, on each database.

A real gunicorn of 8 workers with 8 threads each, and a provider that revokes the family on reuse.
STORM_ROUNDS=20 makes it the measurement of docs/refresh.md, which `pytest -s` prints.
(tests/settings.py deletes variables named OAUTHBFF_*.)
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from tests.conftest import MakeSite
from tests.support.browser import Browser
from tests.support.provider import NodeProvider

ROUNDS = int(os.environ.get("STORM_ROUNDS", "2"))
CALLS = 200
WORKERS = 8
TTL = 8  # seconds, in which a round must be over, on a slow machine too
# Connections are kept, as any busy site does: PyMySQL needs 20 ms for a new one. And no refresh
# ahead of the end, so that a round has the token's whole life.
ENV = {"CONN_MAX_AGE": "60", "OAUTHBFF_REFRESH_LEEWAY": "0"}


@dataclass
class Storm:
    """What all calls of all rounds saw."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)  # of each call, its waiting included
    rounds: list[float] = field(default_factory=list)

    def blow(self, browser: Browser, pool: ThreadPoolExecutor) -> None:
        barrier = threading.Barrier(CALLS)

        def one(_: int) -> tuple[int, float]:
            barrier.wait()
            started = time.monotonic()
            status = browser.fetch("api/photos/1").status
            return status, time.monotonic() - started

        started = time.monotonic()
        for status, seconds in pool.map(one, range(CALLS)):
            self.statuses[status] += 1
            self.seconds.append(seconds)
        self.rounds.append(time.monotonic() - started)

    def __str__(self) -> str:
        hundredths = statistics.quantiles(self.seconds, n=100)
        numbers = (hundredths[49], hundredths[94], max(self.seconds), max(self.rounds))
        return " | ".join(f"{seconds:.2f}" for seconds in numbers)


@pytest.mark.parametrize("database", ["sqlite", "postgresql", "mariadb"])
def test_a_storm_on_an_expired_token_asks_the_provider_once_a_round(
    make_site: MakeSite, provider: NodeProvider, database: str
):
    provider.configure(ACCESS_TTL=TTL)
    site = make_site(fresh=True, workers=WORKERS, database=database, env=ENV)
    browser = site.browser()
    browser.login("jane")
    expired_at = time.time() + TTL
    storm = Storm()
    with ThreadPoolExecutor(CALLS) as pool:
        for _ in range(ROUNDS):
            time.sleep(max(0, expired_at + 0.2 - time.time()))
            storm.blow(browser, pool)
            expired_at = _answered_at(provider) + 0.3 + TTL
    print(
        f"\n| {database} | {sum(storm.statuses.values())} | {storm.statuses[200]}"
        f" | {provider.refreshes} | {provider.reuses} | {storm} |"
    )
    assert storm.statuses == {200: CALLS * ROUNDS}
    assert (provider.refreshes, provider.reuses) == (ROUNDS, 0)


def _answered_at(provider: NodeProvider) -> float:
    """When the provider gave its last refresh away; its storing is milliseconds later."""
    last = provider.calls("/token", grant_type="refresh_token")[-1]
    return (last.at + (last.ms or 0)) / 1000
