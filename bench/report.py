"""docs/benchmark.md and its pictures, made of the figures alone.

Each ratio is one of two shots of the same round; what is printed is the median of these, with the
smallest and the largest. A failed target keeps its row and says why.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from bench import pictures
from bench.chapters import Figures

TRIED = Path(__file__).parent / "tried.md"
BASES = ("apache-shm", "nginx", "direct")
WHAT = {"1k": "1 KB", "100k": "100 KB", "10m": "10 MB", "upload": "1 MB up"}


class Ratio(NamedTuple):
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"**{self.value:.3g}** ({self.low:.3g}–{self.high:.3g})"


def write(figures: Figures, folder: Path) -> None:
    """Write benchmark.md, benchmark/*.svg and benchmark/figures.json into `folder`."""
    own = folder / "benchmark"
    own.mkdir(parents=True, exist_ok=True)
    (own / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    sections = [head(figures)]
    for chapter, section in SECTIONS.items():
        if figures.get(chapter):
            sections.append(section(figures, own))
    sections.append(absent(figures))
    sections.append(of_flames(own))
    if TRIED.exists():
        sections.append(TRIED.read_text().strip())
    (folder / "benchmark.md").write_text("\n\n".join(filter(None, sections)) + "\n")


# -------------------------------------------------------------------------------- arithmetic


def base_of(figures: Figures, load: str) -> str | None:
    """What everybody is divided by."""
    there = figures["calls"].get(load, {})
    return next((key for key in BASES if there.get(key, {}).get("shots")), None)


def ratio(
    figures: Figures, load: str, key: str, base: str, value: Callable[[dict[str, Any]], float]
) -> Ratio | None:
    """`key` divided by `base`, round by round."""
    there = figures["calls"].get(load, {})
    ours, theirs = (there.get(each, {}).get("shots", []) for each in (key, base))
    pairs = [
        value(mine) / value(other)
        for mine, other in zip(ours, theirs, strict=False)
        if value(other)
    ]
    return Ratio(median(pairs), min(pairs), max(pairs)) if pairs else None


def rps(shot: dict[str, Any]) -> float:
    return float(shot["rps"])


def cpu(shot: dict[str, Any]) -> float:
    return float(shot["cpu"]) / shot["good"]


def middle(figures: Figures, load: str, key: str, name: str) -> float | None:
    shots = figures["calls"].get(load, {}).get(key, {}).get("shots", [])
    return median(shot[name] for shot in shots) if shots else None


# ---------------------------------------------------------------------------------- sections


def head(figures: Figures) -> str:
    facts = table(["", ""], [*figures["machine"], *sorted(figures["versions"].items())])
    return f"""# The benchmark

How fast a browser's call gets through oauthbff to an API and back, beside what else does that
work. Measured on {figures["date"]} by `{figures["command"]}`, which took
{figures.get("minutes", "?")} minutes.

Everybody is signed in through a real OpenID Provider, holds a session, and for each call looks it
up, attaches its access token and hands the answer on. Every answer's status and every byte of its
body is compared; one wrong answer and the target is reported as failed. One worker on one core;
load, upstream and databases on another. Rounds: {figures["rounds"]}, each target once in each
and in another order each time; a figure is the **median** of the rounds' ratios, with the smallest
and the largest. Absolute numbers hold for one machine and one hour, so there are none here; they
are in [figures.json](benchmark/figures.json).

{facts}"""


def of_calls(figures: Figures, own: Path) -> str:
    parts = []
    crowds = [load for load in figures["calls"] if load.startswith("1k/")]
    main = "1k/16" if "1k/16" in crowds else crowds[0]
    base = base_of(figures, main)
    if base is None:
        return "## Throughput\n\nNo target gave a figure to divide by; see below who failed."
    names = figures["targets"]
    keys = [key for key in names if key in figures["calls"][main] and key != "direct"]
    rows = []
    for key in keys:
        cells = [shown(figures, load, key, base, rps) for load in crowds]
        rows.append([name_of(figures, key), names[key]["store"], *cells])
    heads = ["1 KB answers", "sessions", *(f"{load[3:]} connections" for load in crowds)]
    parts.append(
        f"## Throughput\n\n{names[base]['name']} is 1.\n\n"
        "![Throughput](benchmark/throughput.svg)\n\n" + table(heads, rows)
    )
    draw_throughput(figures, own, main, base, keys)
    parts.append(of_cost(figures, main, keys))
    parts.append(of_latency(figures, crowds, base, keys))
    large = [load for load in figures["calls"] if not load.startswith(("1k/", "slow/"))]
    if large:
        parts.append(of_large(figures, large, keys))
    if "slow/256" in figures["calls"]:
        parts.append(of_slow(figures, keys))
    parts.append(of_goals(figures))
    return "\n\n".join(parts)


def of_cost(figures: Figures, main: str, keys: list[str]) -> str:
    """Processor time, in views."""
    rows = []
    for key in keys:
        view = figures["targets"][key]["view"]
        if view is None:
            continue
        cells = [shown(figures, main, key, view, cpu)]
        cells += [shown(figures, main, key, each, rps) for each in ("mozilla", "mozilla-tuned")]
        rows.append([name_of(figures, key), *cells])
    heads = [
        *("", "processor time, in trivial views of the same server"),
        *("throughput, in `requests.get`", "in `requests.Session`"),
    ]
    return f"""## What a call costs

Processor time of the server's processes per call, 1 KB, 16 connections, divided by that of a Django
view that returns a constant through Django's default middleware on the same server; and throughput
divided by that of mozilla-django-oidc's site, as its users write it and tuned.

{table(heads, rows)}"""


def of_latency(figures: Figures, crowds: list[str], base: str, keys: list[str]) -> str:
    rows = []
    for key in keys:
        cells: list[str] = []
        for load in crowds:
            for name in ("p50", "p99"):
                mine, theirs = added(figures, load, key, name), added(figures, load, base, "p50")
                cells.append(f"{mine / theirs:.3g}" if mine and theirs else "–")
        rows.append([name_of(figures, key), *cells])
    heads = [
        "1 KB answers",
        *(f"{name}, {load[3:]}" for load in crowds for name in ("p50", "p99")),
    ]
    return f"""## Added latency

What a call takes longer than one to the upstream itself, half of the calls (p50) and all but one in
a hundred (p99), at 1, 16 and 64 connections that never pause. 1 is the p50 of
{figures["targets"][base]["name"]} at as many connections.

{table(heads, rows)}"""


def added(figures: Figures, load: str, key: str, name: str) -> float | None:
    mine, direct = (middle(figures, load, each, name) for each in (key, "direct"))
    return None if mine is None else max(mine - (direct or 0), 1.0)


def of_large(figures: Figures, large: list[str], keys: list[str]) -> str:
    rows = []
    keys = [key for key in keys if any(key in figures["calls"][load] for load in large)]
    for key in keys:
        cells = []
        for load in large:
            base = base_of(figures, load)
            cells.append(shown(figures, load, key, base, rps) if base else "–")
        rows.append([name_of(figures, key), *cells])
    heads = [
        "",
        *(f"{WHAT[load.split('/')[0]]}, {load.split('/')[1]} connections" for load in large),
    ]
    base = base_of(figures, large[0]) or "direct"
    return (
        f"## Large answers and uploads\n\nThroughput; {figures['targets'][base]['name']} is 1.\n\n"
        + table(heads, rows)
    )


def of_slow(figures: Figures, keys: list[str]) -> str:
    rows = [
        [name_of(figures, key), shown(figures, "slow/256", key, "direct", rps)]
        for key in keys
        if key in figures["calls"]["slow/256"]
    ]
    return f"""## Slow upstreams

256 calls at once to an API that takes 200 ms, one process: throughput, where 1 is that of the API
without anybody in between. Eight threads cannot have more than eight calls under way.

{table(["", "of the ideal"], rows)}"""


class Goal(NamedTuple):
    """What is aimed at: `key` divided by `base`, at least or at most."""

    words: str
    key: str
    base: str
    value: Callable[[dict[str, Any]], float]
    sign: str
    bound: float
    load: str = "1k/16"

    def found(self, figures: Figures) -> Ratio | None:
        return ratio(figures, self.load, self.key, self.base, self.value)


GOALS = (
    Goal("DRF door, granian: views' worth", "door-granian-pg", "view-granian", cpu, "≤", 2.5),
    Goal("DRF door, gunicorn: views' worth", "door-gunicorn-pg", "view-gunicorn", cpu, "≤", 2),
    Goal("… against `requests.get`", "door-gunicorn-pg", "mozilla", rps, "≥", 10),
    Goal("… against `requests.Session`", "door-gunicorn-pg", "mozilla-tuned", rps, "≥", 4),
    Goal("lane, uvicorn, against mod_auth_openidc", "lane-uvicorn-pg", "apache-shm", rps, "≥", 0.6),
    Goal("… on granian", "lane-granian-pg", "apache-shm", rps, "≥", 0.6),
    Goal("… against mod_auth_openidc with Redis", "lane-uvicorn-pg", "apache-redis", rps, "≥", 1.5),
    Goal("… on granian", "lane-granian-pg", "apache-redis", rps, "≥", 1.5),
    Goal("… on granian, both with Redis", "lane-granian-redis", "apache-redis", rps, "≥", 1.5),
    Goal("lane, uvicorn, against `requests.get`", "lane-uvicorn-pg", "mozilla", rps, "≥", 30),
    Goal("… 256 calls of 200 ms", "lane-uvicorn-pg", "direct", rps, "≥", 0.9, "slow/256"),
    Goal("edge against mod_auth_openidc", "edge", "apache-shm", rps, "≥", 3),
    Goal("… against `proxy_pass`", "edge", "nginx", rps, "≥", 0.65),
)


def of_goals(figures: Figures) -> str:
    rows = []
    for goal in GOALS:
        rows.append(judged(goal.words, goal.sign, goal.bound, goal.found(figures)))
    lane, door = "lane-uvicorn-pg", "door-gunicorn-pg"
    p99, p50 = added(figures, "1k/64", lane, "p99"), added(figures, "1k/64", door, "p50")
    share = p99 / p50 if p99 and p50 else None
    rows.append(judged("lane's added p99 by the DRF door's p50, 64 connections", "≤", 1, share))
    streams = figures.get("streams", {}).get(lane, {}).get("1000")
    kib = streams["bytes"] / 1024 if streams and streams["alive"] == 1000 else None
    rows.append(judged("lane, KiB each of 1,000 idle event streams", "≤", 24.4, kib))
    heads = ["1 KB, 16 connections, where nothing else is said", "goal", "measured", ""]
    return "## Goals\n\n" + table(heads, rows)


def judged(words: str, sign: str, bound: float, found: Ratio | float | None) -> list[str]:
    if found is None:
        return [words, f"{sign} {bound:g}", "–", "not measured"]
    value = found.value if isinstance(found, Ratio) else found
    met = value <= bound if sign == "≤" else value >= bound
    said = str(found) if isinstance(found, Ratio) else f"**{found:.3g}**"
    return [words, f"{sign} {bound:g}", said, "met" if met else "**not met**"]


def of_statements(figures: Figures, own: Path) -> str:
    rows = [
        [name_of(figures, key), f"{found['postgresql']:.2f}", f"{found['redis']:.2f}"]
        for key, found in figures["statements"].items()
    ]
    return (
        "## Questions per call\n\nStatements and commands, counted by the stores themselves over a "
        "hundred calls of one session.\n\n" + table(["", "PostgreSQL", "Redis"], rows)
    )


def of_streams(figures: Figures, own: Path) -> str:
    sizes = sorted({size for found in figures["streams"].values() for size in found}, key=int)
    rows = []
    for key, found in figures["streams"].items():
        cells = []
        for size in sizes:
            one = found.get(size)
            if one is None:
                cells += ["–", "–", "–"]
            else:
                kib = f"{one['bytes'] / 1024:.0f}" if one["alive"] > 1 else "–"
                cells += [str(one["alive"]), kib, str(one["threads"][1])]
        rows.append([name_of(figures, key), *cells])
    heads = ["", *(f"{what} of {s}" for s in sizes for what in ("alive", "KiB each", "threads"))]
    return f"""## Event streams

Streams of one event each two seconds: how many of them were alive, that is, had got events; what
memory each of these took (proportional set size of the server's processes, above that after a few
streams); and how many threads there were. Who cannot keep a hundred is not asked for a thousand.

{table(heads, rows)}"""


def of_storms(figures: Figures, own: Path) -> str:
    rows = []
    for key, one in figures["storms"].items():
        if "failed" in one:
            rows.append([name_of(figures, key), "failed", "–", "–"])
            continue
        total = one["rounds"] * one["calls"]
        rows.append(
            [
                name_of(figures, key),
                f"{one['asked'] / one['rounds']:.3g}",
                f"{one['spent']}",
                f"{one['right']} of {total}",
            ]
        )
    heads = ["", "questions to the provider per expiry", "spent tokens shown", "calls answered"]
    return f"""## Refresh storms

64 calls at once meet a token that has expired, twice over, at a provider that rotates refresh
tokens and ends a session whose spent token is shown again. One question per expiry is right.
mozilla-django-oidc keeps no refresh token: its users are sent to the provider again.

{table(heads, rows)}"""


def of_growth(figures: Figures, own: Path) -> str:
    found = [one for one in figures["growth"].values() if one["shots"]]
    first = min(one["grants"] for one in found)
    bases = {one["who"]: one["shots"] for one in found if one["grants"] == first}
    rows: list[list[str]] = []
    curves: dict[str, dict[int, float]] = {who: {} for who in bases}
    for one in sorted(found, key=lambda one: (one["who"], one["grants"])):
        pairs = [
            (mine["rps"] / base["rps"], cpu(mine) / cpu(base), mine["p50"] / base["p50"])
            for mine, base in zip(one["shots"], bases[one["who"]], strict=False)
        ]
        cells = [
            str(Ratio(median(column), min(column), max(column)))
            for column in zip(*pairs, strict=True)
        ]
        curves[one["who"]][one["grants"]] = median(pair[0] for pair in pairs)
        rows.append([one["who"], f"{one['grants']:,}", *cells])
    points = sorted({one["grants"] for one in found})
    whole = {
        who: [curve[p] for p in points]
        for who, curve in curves.items()
        if len(curve) == len(points)
    }
    (own / "growth.svg").write_text(
        pictures.lines(
            "Throughput by number of grants",
            f"calls per second, {first:,} grants are 1",
            points,
            whole,
        )
    )
    heads = ["", "grants", "throughput", "processor time per call", "p50"]
    return f"""## Growth

On granian and PostgreSQL, 1 KB, 16 connections, with that many grants (one in ten stands) and a
tenth as many sessions; {first:,} is 1.

![Growth](benchmark/growth.svg)

{table(heads, rows)}"""


def absent(figures: Figures) -> str:
    lines = [
        f"- {name_of(figures, key)}: **missing**, {reason}"
        for key, reason in figures["missing"].items()
    ]
    lines += [f"- {who}: **failed**, {reason}" for who, reason in failures(figures)]
    return "## Who is missing, and who failed\n\n" + ("\n".join(lines) or "Nobody.")


#: Taken by hand with py-spy, drawn by bench/flames.py: picture, what it shows.
FLAMES = {
    "flame-door-before": "The DRF door on gunicorn, before",
    "flame-door-after": "The DRF door on gunicorn, after",
    "flame-lane-before": "The lane on uvicorn, before",
    "flame-lane-after": "The lane on uvicorn, after",
}


def of_flames(own: Path) -> str:
    found = [
        f"![{words}](benchmark/{name}.svg)"
        for name, words in FLAMES.items()
        if (own / f"{name}.svg").exists()
    ]
    return "\n\n".join(["## Where the time goes", *found]) if found else ""


def failures(figures: Figures) -> list[tuple[str, str]]:
    """Who did not do the work, at which of it, and what they did instead."""
    found = [
        (name_of(figures, key), reason.strip().splitlines()[0][:300])
        for key, reason in figures["failed"].items()
    ]
    for load, there in figures.get("calls", {}).items():
        found += [
            (f"{name_of(figures, key)}, {load}", each["failed"][:300])
            for key, each in there.items()
            if "failed" in each
        ]
    for chapter in ("storms", "growth"):
        found += [
            (f"{figures['targets'].get(key, {}).get('name', key)}, {chapter}", one["failed"][:300])
            for key, one in figures.get(chapter, {}).items()
            if "failed" in one
        ]
    return found


SECTIONS: dict[str, Callable[[Figures, Path], str]] = {
    "calls": of_calls,
    "statements": of_statements,
    "streams": of_streams,
    "storms": of_storms,
    "growth": of_growth,
}


# ------------------------------------------------------------------------------------ helpers


def draw_throughput(figures: Figures, own: Path, load: str, base: str, keys: list[str]) -> None:
    rows = []
    for key in keys:
        found = ratio(figures, load, key, base, rps)
        if found:
            name, kind = figures["targets"][key]["name"], figures["targets"][key]["kind"]
            rows.append(
                pictures.Bar(name.replace("`", ""), found.value, (found.low, found.high), kind)
            )
    rows.sort(key=lambda bar: -bar.value)
    unit = f"calls per second, {figures['targets'][base]['name']} is 1; one core, logarithmic"
    (own / "throughput.svg").write_text(
        pictures.bars("Throughput, 1 KB answers, 16 connections", unit, rows)
    )


def shown(
    figures: Figures, load: str, key: str, base: str, value: Callable[[dict[str, Any]], float]
) -> str:
    if "failed" in figures["calls"].get(load, {}).get(key, {}):
        return "failed"
    found = ratio(figures, load, key, base, value)
    return str(found) if found else "–"


def name_of(figures: Figures, key: str) -> str:
    return str(figures["targets"][key]["name"])


def table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    heads = list(heads)
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|--:" * (len(heads) - 1) + "|"]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)
