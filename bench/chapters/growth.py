"""How the cost of a call grows with the number of grants: four databases, four servers, in turn."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import asdict

from bench import admin
from bench.load import fire
from bench.targets import Door, migrated
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
    """Return number of grants → shots of the DRF door on granian."""
    doors = {}
    callbacks = []
    for size in sizes:
        door = Door(f"door-{size}", f"{size} grants", server="granian", needs_postgres=True)
        callbacks.append(door.prepare(world))
        doors[size] = door
    register(world.provider, callbacks)
    figures: Figures = {str(size): {"shots": []} for size in sizes}
    try:
        for size, door in doors.items():
            progress(f"{size:,} grants are written")
            name = f"grown_{size}"
            migrated(world, "ours", door.environment(world, world.provider))
            door.changes["DATABASE_URL"] = world.create_database(name, "ours")
            fill(world, name, size)
            door.start(world, world.provider)
            door.sign_in(world, world.provider)
            fire(door.request(world, "1k"), connections=16, seconds=1, groups=door.groups)
        chance = random.Random(2)  # noqa: S311 - the order of a round
        for number in range(rounds):
            for size, door in chance.sample(list(doors.items()), len(doors)):
                progress(f"growth round {number + 1}/{rounds} {size:,} grants")
                shot = fire(
                    door.request(world, "1k"), connections=16, seconds=1, groups=door.groups
                )
                if shot.failure:
                    figures[str(size)]["failed"] = shot.failure
                else:
                    figures[str(size)]["shots"].append(asdict(shot) | {"rps": shot.per_second})
    finally:
        for door in doors.values():
            door.stop()
    return figures


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
