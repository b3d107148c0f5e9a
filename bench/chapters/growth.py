"""How the cost of a call grows with the number of grants: four databases, four servers, in turn."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import asdict

from bench import admin
from bench.load import fire
from bench.targets import Door, LaneTarget, migrated
from bench.world import World, register

from . import Figures

SIZES = (1_000, 10_000, 100_000, 1_000_000)
SESSIONS = """
INSERT INTO django_session (session_key, session_data, expire_date)
SELECT md5(n::text), repeat('x', 300), now() + interval '8 hours' FROM generate_series(1, {rows}) n
ON CONFLICT DO NOTHING
"""


def measure(
    world: World, *, sizes: tuple[int, ...], rounds: int, progress: Callable[[str], None]
) -> Figures:
    """Return who, and number of grants → shots of the DRF door and the lane."""
    targets: dict[str, Door] = {}
    figures: Figures = {}
    callbacks = []
    for size in sizes:
        for key, target in who(size).items():
            callbacks.append(target.prepare(world))
            targets[key] = target
            figures[key] = {"who": target.name, "grants": size, "shots": []}
    register(world.provider, callbacks)
    try:
        for size in sizes:
            progress(f"{size:,} grants are written")
            name = f"grown_{size}"
            here = [target for key, target in targets.items() if figures[key]["grants"] == size]
            migrated(world, "ours", here[0].environment(world, world.provider))
            database = world.create_database(name, "ours")
            fill(world, name, size)
            for target in here:
                target.changes["DATABASE_URL"] = database
                target.start(world, world.provider)
                target.sign_in(world, world.provider)
                fire(target.request(world, "1k"), connections=16, seconds=1, groups=target.groups)
        chance = random.Random(2)  # noqa: S311 - the order of a round
        for number in range(rounds):
            for key, target in chance.sample(list(targets.items()), len(targets)):
                progress(f"growth round {number + 1}/{rounds} {key}")
                shot = fire(
                    target.request(world, "1k"), connections=16, seconds=1, groups=target.groups
                )
                if shot.failure:
                    figures[key]["failed"] = shot.failure
                else:
                    figures[key]["shots"].append(asdict(shot) | {"rps": shot.per_second})
    finally:
        for target in targets.values():
            target.stop()
    return figures


def who(size: int) -> dict[str, Door]:
    """One of each kind."""
    options = {"server": "granian", "needs_postgres": True}
    return {
        f"door-{size}": Door(f"door-{size}", "DRF door", **options),
        f"lane-{size}": LaneTarget(f"lane-{size}", "lane", module="bench.peers.lane", **options),
    }


def fill(world: World, database: str, rows: int) -> None:
    """As `bench/admin.py` does it: one in ten stands, ten are one person's; and sessions."""
    facts = {"rows": rows, "users": max(1, rows // 10)}
    indexes = world.sql(admin.INDEXES, database=database)
    for name, _definition in indexes:
        world.sql(f"DROP INDEX {name}", database=database)
    for statement in (admin.USERS, admin.GRANTS):
        world.sql(statement % facts, database=database)
    world.sql(SESSIONS.format(rows=rows // 10), database=database)
    for _name, definition in indexes:
        world.sql(definition, database=database)
    for table in ("oauthbff_tokengrant", "django_session", "auth_user"):
        world.sql(f"VACUUM ANALYZE {table}", database=database)
