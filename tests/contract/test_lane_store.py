"""The lane's shared store: ended means ended, whatever Redis does. Real Redis processes."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings

from oauthbff import grants, primed
from oauthbff.errors import StoreAway
from oauthbff.lane.shared import Shared
from tests.conftest import MakeSite
from tests.support.caller import Caller, signed_in
from tests.support.loops import run
from tests.support.redis_server import RedisServer
from tests.support.site import default_upstreams
from tests.support.upstream import RecordingUpstream

ENTRY: dict[str, Any] = {
    "handle": "0" * 32,
    "until": 9e9,
    "touch_at": 9e9,
    "upstreams": [],
    "tokens": {},
}


@pytest.fixture(scope="module")
def one_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def used(one_redis: RedisServer) -> Iterator[RedisServer]:
    """Redis, empty, and named in this process's settings."""
    with one_redis.client as client:
        client.flushall()
    with override_settings(OAUTHBFF={**settings.OAUTHBFF, "LANE_STORE": one_redis.url}):
        yield one_redis


# ------------------------------------------------------------------------- the order of things


class Plain(primed.Store):
    """What one would write first: the entry is set, whatever happened meanwhile."""

    async def confirm(self, digest: str, lease: str, entry: dict[str, Any]) -> bool:
        sealed = primed.vault.seal(
            primed.json.dumps({**entry, "run": lease.partition("@")[2]}).encode(), f"lane:{digest}"
        )
        await self._ask("SET", f"oauthbff.lane.{digest}", sealed, "PX", 4000)
        return True


async def known(store: primed.Store, digest: str) -> dict[str, Any] | None:
    found = await store.look([digest])
    return await store.open(digest, found[digest]) if digest in found else None


class World:
    """Two primers, one who ends the grant, and a Redis that loses its content once."""

    def __init__(self, store: primed.Store, digest: str, forget: Callable[[], None]) -> None:
        self.store = store
        self.digest = digest
        self.ended = self.forgotten = False
        self.leases: dict[str, str | None] = {}
        self.saw: dict[str, bool] = {}
        self._forget = forget

    async def step(self, who: str, number: int) -> bool:
        """Take a step; True: an entry came to stand."""
        if who == "ender":
            if number == 0:
                self.ended = True  # committed
            else:
                self._forget()
                self.forgotten = True
        elif who == "loss":
            await self.store._ask("DEL", f"oauthbff.lane.{self.digest}")
        elif number == 0:
            self.leases[who] = await self.store.lease(self.digest)
        elif number == 1:
            self.saw[who] = not self.ended  # the database is asked
        elif (lease := self.leases[who]) is not None and self.saw[who]:
            return await self.store.confirm(self.digest, lease, ENTRY)
        return False


STEPS = {"one": 3, "other": 3, "ender": 2, "loss": 1}


def orders() -> Iterator[tuple[str, ...]]:
    """Every order in which the steps can happen; those of one actor stay in theirs.

    The two primers are alike, so `one` begins.
    """
    places = range(sum(STEPS.values()))
    for loss in places:
        left = [place for place in places if place != loss]
        for ender in itertools.combinations(left, STEPS["ender"]):
            free = [place for place in left if place not in ender]
            for rest in itertools.combinations(free[1:], STEPS["one"] - 1):
                order = dict.fromkeys(free, "other") | dict.fromkeys((free[0], *rest), "one")
                order |= dict.fromkeys(ender, "ender") | {loss: "loss"}
                yield tuple(order[place] for place in places)


async def first_wrong(store: primed.Store) -> tuple[int, tuple[str, ...] | None]:
    """How often an entry was confirmed, until an order let the store serve after the end."""
    confirmed = 0
    try:
        for number, order in enumerate(orders()):
            digest = f"digest-{number}"
            world = World(store, digest, lambda d=digest: primed.forget([d]))  # type: ignore[misc]
            taken = dict.fromkeys(STEPS, 0)
            for who in order:
                confirmed += await world.step(who, taken[who])
                taken[who] += 1
                if world.forgotten and await known(store, digest) is not None:
                    return confirmed, order
    finally:
        await store.close()
    return confirmed, None


def test_no_order_of_steps_brings_an_ended_grant_back(used: RedisServer):
    async def go() -> tuple[int, tuple[str, ...] | None]:
        return await first_wrong(primed.Store(used.url))

    confirmed, wrong = run(go())
    assert wrong is None
    assert confirmed > 200  # it is of use


def test_the_plain_way_would_bring_it_back(used: RedisServer):
    """So the test above can fail."""

    async def go() -> tuple[int, tuple[str, ...] | None]:
        return await first_wrong(Plain(used.url))

    assert run(go())[1] is not None


# ---------------------------------------------------------------------------- a Redis that fails


async def primed_entry(store: primed.Store, digest: str = "d") -> None:
    lease = await store.lease(digest)
    assert lease is not None
    assert await store.confirm(digest, lease, ENTRY)
    assert await known(store, digest) is not None


def test_a_redis_that_comes_back_with_old_content_is_not_believed(
    used: RedisServer, tmp_path: Path
):
    with RedisServer(tmp_path) as server:

        async def go() -> None:
            store = primed.Store(server.url)
            await primed_entry(store)
            with server.client as client:
                client.save()
                client.delete("oauthbff.lane.d")
            server.kill()
            server.start()
            with server.client as client:
                assert client.exists("oauthbff.lane.d")  # back from the dead
            with pytest.raises(StoreAway):
                await known(store, "d")
            await asyncio.sleep(primed.PAUSE_SECONDS)
            with server.client as client:
                assert client.exists("oauthbff.lane.d")
            assert await known(store, "d") is None
            await store.close()

        run(go())


@pytest.mark.parametrize("how", ["kill", "freeze"])
def test_who_cannot_be_told_that_an_entry_is_gone_waits_until_it_is(tmp_path: Path, how: str):
    with RedisServer(tmp_path) as server:
        named = {**settings.OAUTHBFF, "LANE_STORE": server.url}

        async def go() -> None:
            store = primed.Store(server.url)
            await primed_entry(store)
            getattr(server, how)()
            begin = time.monotonic()
            await asyncio.to_thread(primed.forget, ["d"])
            assert primed.LIFE_SECONDS < time.monotonic() - begin < primed.LIFE_SECONDS + 2
            with pytest.raises(StoreAway):
                await known(store, "d")
            if how == "freeze":
                server.go_on()
                await asyncio.sleep(primed.PAUSE_SECONDS)
                assert await known(store, "d") is None
            await store.close()

        with override_settings(OAUTHBFF=named):
            run(go())


def test_an_entry_is_sealed_short_lived_and_of_one_session(used: RedisServer):
    async def go() -> None:
        store = primed.Store(used.url)
        lease = await store.lease("d")
        assert lease is not None
        assert await store.lease("d") is None  # one at a time
        assert await known(store, "d") is None
        entry = {**ENTRY, "tokens": {"": ["a-secret-token", None]}}
        assert await store.confirm("d", lease, entry)
        assert not await store.confirm("d", lease, entry)  # a mark serves once
        with used.client as client:
            assert b"secret" not in client.get("oauthbff.lane.d")
            assert 0 < client.pttl("oauthbff.lane.d") <= 1000 * primed.LIFE_SECONDS
            client.copy("oauthbff.lane.d", "oauthbff.lane.other")
            client.set("oauthbff.lane.junk", "v1.x.junk")
        assert await known(store, "d") is not None
        assert await known(store, "other") is None
        assert await known(store, "junk") is None
        await store.close()

    run(go())


def test_who_looks_for_several_gets_each_their_own(used: RedisServer):
    async def go() -> None:
        store = primed.Store(used.url)
        for digest in ("d", "e"):
            await primed_entry(store, digest)
        assert await store.lease("mark") is not None
        found = await store.look(["e", "nothing", "mark", "d"])
        assert set(found) == {"d", "e"}
        assert await store.open("d", found["d"]) is not None
        assert await store.open("d", found["e"]) is None  # sealed to its place
        await store.close()

    run(go())


def test_what_was_opened_a_moment_ago_counts_only_while_the_store_has_it(used: RedisServer):
    async def go() -> None:
        lane, digest = Shared(used.url), "d"
        found = grants.Standing.of_entry(ENTRY, time.time())
        assert found is not None
        for _ in range(2):
            assert await lane.find(digest) is None
            lease = await lane.lease(digest)
            assert lease is not None and await lane.confirm(digest, lease, found)
            first, again = await asyncio.gather(lane.find(digest), lane.find(digest))
            assert first is again is await lane.find(digest)
            assert first == found
            await asyncio.to_thread(primed.forget, [digest])
        with used.client as client:
            client.set(f"oauthbff.lane.{digest}", "v1.x.junk")
        assert await lane.find(digest) is None
        await lane.close()

    run(go())


# ------------------------------------------------------------------------------------- on a site


@pytest.fixture
def redis_of_site(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


def hits(server: RedisServer) -> int:
    with server.client as client:
        return int(client.info("stats")["keyspace_hits"])


@pytest.mark.parametrize(("engine", "fails"), [("db", True), ("cache", False)])
def test_ended_means_ended_on_every_host_whatever_the_store_does(
    make_site: MakeSite,
    upstream: RecordingUpstream,
    redis_of_site: RedisServer,
    engine: str,
    fails: bool,
):
    """SQLite, and sessions in the database or in Redis: the store is what makes a lane there."""
    server = redis_of_site
    options: dict[str, Any] = {
        "server": "uvicorn",
        "cache": "redis",
        "upstreams": default_upstreams(upstream.url),
        "env": {
            "LANE": "1",
            "OAUTHBFF_LANE_STORE": server.url,
            "SESSION_ENGINE": f"django.contrib.sessions.backends.{engine}",
        },
    }
    here = make_site(fresh=True, **options)
    there = make_site(share=here, **options)

    def person(name: str) -> tuple[Caller, Caller]:
        """The same person on both hosts, with a primed entry."""
        one = signed_in(here, upstream, name)
        other = Caller(there, there.browser(cookies_of=one.browser), upstream)
        before = hits(server)
        for caller in (one, other, one, other):
            assert caller.ask("GET", "photos/1").status == 200
            token = upstream.requests[-1].token
        assert hits(server) - before >= 3
        with server.client as client:
            assert client.keys("oauthbff.lane.*")
            assert token
            assert not [k for k in client.keys("*") if token.encode() in (client.get(k) or b"")]
        return one, other

    def ended(one: Caller, other: Caller) -> float:
        cookie, begin = one.cookie, time.monotonic()
        assert one.browser.fetch("logout/", "POST").status == 200
        seconds = time.monotonic() - begin
        for caller in (one, other):
            said = caller.ask("GET", "photos/1", cookie=cookie)
            assert (said.status, said.code) == (401, "grant_ended")
        return seconds

    ended(*person("jane"))
    pair = person("bob")
    with server.client as client:
        client.flushall()
    assert pair[0].ask("GET", "photos/1").status == 200
    ended(*pair)
    if not fails:
        return

    pair = person("jane")
    server.freeze()
    assert pair[0].ask("GET", "photos/1").status == 200  # Django serves
    assert ended(*pair) > primed.LIFE_SECONDS - 1
    server.go_on()
    time.sleep(primed.PAUSE_SECONDS + 0.3)

    pair = person("bob")
    server.kill()
    assert pair[1].ask("GET", "photos/1").status == 200
    assert ended(*pair) > primed.LIFE_SECONDS - 1
    assert "Traceback" not in here.log() + there.log()


def test_what_was_due_is_done_once_and_the_entry_made_anew(
    make_site: MakeSite, upstream: RecordingUpstream, redis_of_site: RedisServer
):
    """Else each call would go to the database until the entry runs out."""
    server = redis_of_site
    env = {"LANE": "1", "OAUTHBFF_LANE_STORE": server.url}
    upstreams = default_upstreams(upstream.url)
    site = make_site(fresh=True, server="uvicorn", cache="redis", upstreams=upstreams, env=env)
    jane = signed_in(site, upstream)
    assert jane.ask("GET", "photos/1").status == 200
    site.sql(
        "UPDATE oauthbff_tokengrant SET last_used_at = %s",
        (str(datetime.now(UTC) - timedelta(minutes=5)).removesuffix("+00:00"),),
    )
    seen = []
    with server.client as client:
        for name in client.keys("oauthbff.lane.*"):
            client.delete(name)
        for _ in range(4):
            assert jane.ask("GET", "photos/1").status == 200
            seen.append([client.get(name) for name in client.keys("oauthbff.lane.*")])
    assert seen[0] == []  # the last use was written down, and what was known before is gone
    assert len(seen[1]) == 1 and seen[1] == seen[2] == seen[3]
