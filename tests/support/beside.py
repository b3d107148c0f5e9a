"""Two runs of the tests side by side, a plugin: whoever is free takes the next file.

    python -m pytest -p tests.support.beside --taken=FOLDER --randomly-seed=7

in each of them, with the same words. A file is taken by a mark in the folder, which is empty at
first, and belongs wholly to who made the mark. A run that fails or dies takes nothing away from
the other, and says so by its status: together they have run every test, or one of them fails.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import chain, groupby, pairwise
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--taken", type=Path, metavar="FOLDER", required=True)


def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """As pytest's own, over what is ours to run."""
    if session.testsfailed or session.config.option.collectonly:
        return None  # pytest's own says why nothing is run
    taken = _take(session.items, session.config.option.taken)
    for item, following in pairwise(chain(taken, [None])):
        assert item is not None
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
    return True


def _take(items: list[pytest.Item], folder: Path) -> Iterator[pytest.Item]:
    """Yield the tests of one file after the other that nobody else has taken.

    pytest-django sorts by what a test does to the database, so that a file may come in parts.
    """
    parts = [list(part) for _, part in groupby(items, lambda item: item.path)]
    # Who has collected something else must not believe the other's marks.
    plan = hashlib.sha256(repr([(part[0].path, len(part)) for part in parts]).encode()).hexdigest()
    for number, part in enumerate(parts):
        try:
            (folder / f"{plan[:8]}-{number}").touch(exist_ok=False)
        except FileExistsError:
            continue
        yield from part
