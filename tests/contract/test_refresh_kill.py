"""A refresh that is killed, or that loses its database, at the worst moment.

Real processes and a real SIGKILL, see tests/support/lethal.py; a strict provider that revokes the
family on reuse. `pytest -s` prints the table of docs/refresh.md; KILL_DATABASES names other
databases than PostgreSQL, with commas. (tests/settings.py deletes variables named OAUTHBFF_*.)
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import os
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.conftest import MakeSite
from tests.support import components
from tests.support.browser import Browser
from tests.support.caller import eventually
from tests.support.provider import Call, NodeProvider
from tests.support.site import Site, default_upstreams
from tests.support.upstream import RecordingUpstream

DATABASES = os.environ.get("KILL_DATABASES", "postgresql").split(",")
TTL = 3  # seconds
TIMEOUT = 1  # OIDC_TIMEOUT
LEASE = 2 * TIMEOUT + 5

OK = "200"
GONE = "no answer"  # the connection was reset
ENDED = "401 grant_ended invalid_grant"

LEASING = "oauthbff.grants.leasing"
REFRESHING = "oauthbff.grants.refreshing"
CONNECTION = "urllib3.connection HTTPConnection"


@dataclass(frozen=True, kw_only=True)
class Point:
    name: str
    where: tuple[str, ...]  # the steps for lethal.py
    asked: int  # how often the provider is asked, by the dead and by who takes over
    waits: bool  # whether the others wait for the end of the lease
    outcome: str  # what they get


POINTS = (
    Point(
        name="before the lease",
        where=(f"{LEASING} take_lease call",),
        asked=1,
        waits=False,
        outcome=OK,
    ),
    Point(
        name="lease committed",
        where=(f"{LEASING} take_lease return",),
        asked=1,
        waits=True,
        outcome=OK,
    ),
    Point(
        name="request about to be sent",
        where=("oauthbff.provider.tokens _post call", f"{CONNECTION}.request call"),
        asked=1,
        waits=True,
        outcome=OK,
    ),
    Point(
        name="request sent, its answer under way",
        where=("oauthbff.provider.tokens _post call", f"{CONNECTION}.getresponse call"),
        asked=2,
        waits=True,
        outcome=ENDED,
    ),
    Point(
        name="answer arrived, not stored",
        where=("oauthbff.provider.tokens refresh return",),
        asked=2,
        waits=True,
        outcome=ENDED,
    ),
    Point(
        name="inside the store transaction",
        where=(f"{REFRESHING} _store call", "oauthbff.grants.rows record return"),
        asked=2,
        waits=True,
        outcome=ENDED,
    ),
    Point(
        name="after the commit, before the answer",
        where=(f"{REFRESHING} _store return",),
        asked=1,
        waits=False,
        outcome=OK,
    ),
)


class LethalSite(Site):
    """One worker, and threads enough for all who wait."""

    def _command(self) -> list[str]:
        self.env["LETHAL_FILE"] = str(self.folder / "lethal")
        words = super()._command()
        words[words.index("project.wsgi:application")] = "tests.support.lethal:application"
        words[words.index("--threads") + 1] = "40"
        return words

    def die_at(self, point: Point) -> None:
        """Let the worker die when the next request has come to this point."""
        half = self.folder / "half-written"
        half.write_text("\n".join(point.where))
        half.rename(self.folder / "lethal")

    def wait_until_it_serves(self) -> None:
        """The master starts a new worker; meanwhile the kernel lets connections queue."""
        assert self._answers()


@dataclass(frozen=True)
class Seen:
    """What a browser saw, and after how many seconds."""

    what: str
    after: float


def call(browser: Browser) -> Seen:
    started = time.monotonic()
    try:
        answer = browser.fetch("api/photos/1")
        what = str(answer.status)
        if answer.code:
            what += f" {answer.code} {answer.json().get('reason', '')}".rstrip()
    except (OSError, http.client.HTTPException):
        what = GONE
    return Seen(what, time.monotonic() - started)


@pytest.fixture
def short_lived(provider: NodeProvider) -> NodeProvider:
    provider.configure(ACCESS_TTL=TTL)
    return provider


@pytest.fixture(params=DATABASES)
def hosts(
    request: pytest.FixtureRequest, short_lived: NodeProvider, upstream: RecordingUpstream
) -> Iterator[tuple[LethalSite, LethalSite]]:
    """Two hosts of one deployment; the workers of the first are going to die."""
    env = {"OIDC_TIMEOUT": str(TIMEOUT)}
    options = {"provider": short_lived, "upstreams": default_upstreams(upstream.url), "env": env}
    with (
        LethalSite(database=request.param, **options) as first,  # type: ignore[arg-type]
        LethalSite(share=first, **options) as second,  # type: ignore[arg-type]
    ):
        yield first, second


@dataclass(kw_only=True)
class Trial:
    """One user whose refresh is killed at one point."""

    point: Point
    browser: Browser  # at the host whose worker dies
    elsewhere: Browser  # the same browser, at the other host
    killed: Seen | None = None
    waiting: list[Future[Seen]]  # calls that came while the lease of the dead was held
    presented: str | None = None  # the refresh token that the dead one sent, if it did

    @property
    def waited(self) -> list[Seen]:
        return [one.result(timeout=30) for one in self.waiting]


def test_a_worker_killed_at_any_point_leaves_no_loop_no_500_and_no_stuck_grant(
    hosts: tuple[LethalSite, LethalSite], short_lived: NodeProvider
):
    first, second = hosts
    trials = []
    for number, point in enumerate(POINTS):
        browser = first.browser()
        browser.login(f"user-{number}")
        elsewhere = second.browser(cookies_of=browser)
        trials.append(Trial(point=point, browser=browser, elsewhere=elsewhere, waiting=[]))
    time.sleep(TTL + 0.2)

    with ThreadPoolExecutor(64) as pool:
        for trial in trials:  # each one's waiting goes on while the next one is killed
            first.wait_until_it_serves()
            before = len(short_lived.log())
            first.die_at(trial.point)
            trial.killed = call(trial.browser)
            if trial.point.asked == 2:
                trial.presented = _refresh_token_of_the_dead(short_lived, before)
            # On the other host: this one is killed again while they wait.
            trial.waiting = [pool.submit(call, trial.elsewhere) for _ in range(4)]
            if not trial.point.waits:
                concurrent.futures.wait(trial.waiting)
        for trial in trials:
            concurrent.futures.wait(trial.waiting)

    _print(first, trials)
    for trial in trials:
        point = trial.point
        assert trial.killed is not None and trial.killed.what == GONE, point.name
        assert {one.what for one in trial.waited} == {point.outcome}, point.name
        longest = max(one.after for one in trial.waited)
        assert longest < LEASE + 4, point.name
        assert (longest > LEASE - 4) is point.waits, point.name

    assert first.log().count("was sent SIGKILL") == len(POINTS)
    # Asked twice with one token only where the answer died with the worker.
    lost = [trial.presented for trial in trials if trial.presented]
    asked = [one.params["refresh_token"] for one in _refreshes(short_lived)]
    assert sorted(asked.count(token) for token in lost) == [2, 2, 2]
    assert len(asked) == sum(point.asked for point in POINTS)
    assert short_lived.reuses == len(lost)

    before = len(asked)
    for trial in trials:  # it stays so, on both hosts, without asking again
        for browser in (trial.browser, trial.elsewhere):
            if trial.point.outcome == ENDED:
                assert call(browser).what == ENDED
        if trial.point.outcome == ENDED:
            trial.browser.login(f"{trial.point.name} once more")
        assert call(trial.elsewhere).what == OK  # refreshed once more if it is due
    later = [one.reused for one in _refreshes(short_lived)[before:]]
    assert not any(later) and len(later) <= len(POINTS)
    assert first.sql(
        "SELECT count(*) FROM oauthbff_tokengrant"
        " WHERE ended_at IS NULL AND (lease_owner <> '' OR lease_until IS NOT NULL)"
    ) == [(0,)]


def _refreshes(provider: NodeProvider) -> list[Call]:
    return provider.calls("/token", grant_type="refresh_token")


def _refresh_token_of_the_dead(provider: NodeProvider, before: int) -> str:
    end = time.monotonic() + 2
    while time.monotonic() < end:  # it may have died before the provider has read
        for one in provider.log()[before:]:
            if one.grant_type == "refresh_token" and one.status is not None:
                return one.params["refresh_token"]
        time.sleep(0.05)
    raise AssertionError("the provider was not asked")


def _print(site: Site, trials: list[Trial]) -> None:
    print(f"\n\n{site.database.kind}, OIDC_TIMEOUT = {TIMEOUT}, so a lease of {LEASE} s\n")
    print("| killed | its own call | the calls that waited | seconds | provider asked | reuse |")
    print("|---|---|---|---|---|---|")
    for trial in trials:
        assert trial.killed is not None
        seconds = [one.after for one in trial.waited]
        print(
            f"| {trial.point.name} | {trial.killed.what}, {trial.killed.after:.1f} s"
            f" | {', '.join(sorted({one.what for one in trial.waited}))}"
            f" | {min(seconds):.1f} to {max(seconds):.1f}"
            f" | {trial.point.asked} | {trial.point.asked - 1} |"
        )


# ------------------------------------------------------------------ the database is gone


@contextlib.contextmanager
def no_connections(site: Site) -> Iterator[None]:
    """PostgreSQL ends all connections to the site's database and takes no new ones."""
    import psycopg

    name = site.database.name
    with psycopg.connect(f"{components.POSTGRESQL}/postgres", autocommit=True) as admin:
        try:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            yield
        finally:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


def test_a_database_lost_while_the_answer_is_on_its_way_loses_no_rotated_token(
    make_site: MakeSite, short_lived: NodeProvider
):
    site = make_site(workers=2, database="postgresql", env={"OIDC_TIMEOUT": str(TIMEOUT)})
    browser = site.browser()
    browser.login("jane")
    time.sleep(TTL + 0.2)
    short_lived.fault("/token", grant_type="refresh_token", delay=0.7)
    with ThreadPoolExecutor() as pool:
        refreshing = pool.submit(call, browser)
        time.sleep(0.2)
        waiting = [pool.submit(call, browser) for _ in range(3)]
        time.sleep(0.3)
        with no_connections(site):
            time.sleep(1)
        refreshed = refreshing.result(timeout=30)
        waited = sorted(one.result(timeout=30).what for one in waiting)
    then = call(browser)
    print(f"\n\ndatabase lost for a second: {refreshed.what} after {refreshed.after:.1f} s")
    print(f"three that waited: {', '.join(waited)}; the next call: {then.what}\n")
    assert (refreshed.what, then.what) == (OK, OK)
    assert set(waited) <= {OK, "500"}  # who asks a database that is not there
    assert (short_lived.refreshes, short_lived.reuses) == (1, 0)
    # Each thread that kept a connection finds out by a 500 of its own that it is dead.
    eventually(lambda: browser.fetch("session/?slide=false").json().get("authenticated"))
    eventually(lambda: call(browser).what == OK)
    assert short_lived.reuses == 0
