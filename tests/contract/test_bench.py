"""The benchmark runs and does not flatter: who answers wrongly is named, and counts for nothing.

One second of load each; no figure is judged.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench import load, report, run, targets
from bench.world import World
from tests.support import components
from tests.support.processes import Child
from tests.support.provider import NodeProvider
from tests.support.upstream import RecordingUpstream, answer


class Liar(targets.Nginx):
    """Answers faster than the upstream, and something else."""

    def launch(self, world: World, provider: NodeProvider) -> Child:
        child = super().launch(world, provider)
        child.stop()
        config = world.folder / f"{self.key}.conf"
        lie = 'location = /1k { return 200 "a short answer"; }\n    location / {'
        config.write_text(config.read_text().replace("location / {", lie))
        return world.child(f"{self.key}-again", child.command, self.port)


class Smooth(Liar):
    """A liar whom nobody has looked at before the load."""

    def verify(self, world: World, provider: NodeProvider) -> None:
        return None


class Absent(targets.Nginx):
    def require(self) -> None:
        raise targets.Missing("not for this machine")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    for name in ("node", "nginx", "wrk", "redis", "postgresql"):
        components.require(name)
    folder = tmp_path_factory.mktemp("bench")
    everybody = [
        targets.Direct("direct", "direct", kind="yardstick", signs_in=False),
        targets.Nginx("nginx", "honest", kind="yardstick", signs_in=False),
        Liar("liar", "a liar", signs_in=False),
        Smooth("smooth", "a smooth liar", signs_in=False),
        Absent("absent", "an absent one", signs_in=False),
    ]
    words = f"--quick --rounds 1 --chapters calls statements --output {folder}"
    figures: dict[str, Any] = {}
    run.run(everybody, run.parsed(words.split()), figures)
    report.write(figures, folder)
    return folder, figures


def test_it_writes_a_report_with_a_picture(written):
    folder, figures = written
    said = (folder / "benchmark.md").read_text()
    assert re.search(r"\| honest \| none \| \*\*1\*\* \(1–1\) \|", said), said
    picture = (folder / "benchmark" / "throughput.svg").read_text()
    assert "honest" in picture and "http" not in picture.replace("http://www.w3.org/2000/svg", "")
    assert figures["calls"]["1k/16"]["nginx"]["shots"][0]["good"] > 100


def test_who_answers_wrongly_fails_before_the_load_or_under_it(written):
    folder, figures = written
    said = (folder / "benchmark.md").read_text()
    assert "a liar: **failed**, Wrong: the answer is not the upstream's" in said
    assert "liar" not in figures["calls"]["1k/16"]
    assert re.search(r"a smooth liar, 1k/16: \*\*failed\*\*, \d+ of \d+ answers wrong: 200 a", said)
    assert figures["calls"]["1k/16"]["smooth"]["shots"] == []
    assert "| a smooth liar | none | failed |" in said
    assert "smooth" not in (folder / "benchmark" / "throughput.svg").read_text()
    assert len(report.failures(figures)) == 2


def test_who_cannot_be_started_is_named(written):
    folder, _ = written
    assert (
        "an absent one: **missing**, not for this machine" in (folder / "benchmark.md").read_text()
    )


def test_several_sessions_take_turns(recording_upstream: RecordingUpstream):
    components.require("wrk")
    recording_upstream.clear()
    recording_upstream.on("/1k", answer(b"{}"))
    people = tuple(f"s={number}" for number in range(3))
    headers = {"Host": "localhost", "Cookie": "s=nobody"}
    request = load.Request(recording_upstream.port, "/1k", headers, b"{}", cookies=people)
    shot = load.fire(request, connections=2, seconds=1, groups=[])
    assert shot.failure is None
    seen = Counter(value for each in recording_upstream.requests for value in each.all("Cookie"))
    assert set(seen) == set(people)
    assert max(seen.values()) - min(seen.values()) <= 2


def test_a_shot_without_answers_or_with_lost_ones_does_not_count():
    whole = {"microseconds": 1, "p50": 1, "p99": 1, "sample": ""}
    assert load.Shot(good=99, wrong=0, broken=0, timeouts=0, **whole).failure is None
    for good, wrong, broken, timeouts in [
        (0, 0, 0, 0),
        (99, 1, 0, 0),
        (99, 0, 5, 0),
        (99, 0, 0, 5),
    ]:
        shot = load.Shot(good=good, wrong=wrong, broken=broken, timeouts=timeouts, **whole)
        assert shot.failure
