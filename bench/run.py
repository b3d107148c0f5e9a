"""Measure oauthbff beside its peers, and write docs/benchmark.md.

    make bench                          everything; under twenty minutes on two quiet cores
    make bench ARGS=--quick             a few minutes: 1 KB answers, 16 connections, two rounds
    make bench ARGS="--only door-* nginx --chapters calls --output /tmp/try"
    make bench ARGS=--list              who can be measured, and who is missing here; this also
                                        installs the peers that come from PyPI

What it starts is ended with it. Programs that it does not find are named in the report; on Debian:
apt-get install wrk nginx-light apache2 libapache2-mod-auth-openidc postgresql redis-server
"""

from __future__ import annotations

import argparse
import fnmatch
import signal
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench import machine, report  # noqa: E402
from bench.chapters import Figures, calls, growth, statements, storms, streams  # noqa: E402
from bench.targets import Missing, Target, Wrong, chosen, django_environment  # noqa: E402
from bench.world import World, register  # noqa: E402
from tests.support.processes import ChildFailed  # noqa: E402

CHAPTERS = ("calls", "statements", "streams", "storms", "growth")
#: Who is asked to keep event streams open, and who meets an expired token: one of each kind.
STREAMS = (
    "nginx",
    "apache-shm",
    "axmp",
    "door-gunicorn-redis",
    "door-uvicorn-redis",
    "lane-*-pg",
    "lane-*-redis",
    "edge",
)
STORMS = ("apache-redis", "axmp", "door-gunicorn-pg", "door-uvicorn-pg", "lane-uvicorn-pg", "edge")


def main(arguments: list[str] | None = None) -> int:
    options = parsed(arguments)
    targets = chosen(options.only)
    if options.list:
        return listed(targets)
    if machine.program("wrk") is None:
        raise SystemExit("wrk makes the load: apt-get install wrk")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))  # and end what was started
    begun = time.monotonic()
    figures: Figures = {}
    try:
        run(targets, options, figures)
    finally:  # who is interrupted keeps the chapters that are done
        figures["minutes"] = round((time.monotonic() - begun) / 60, 1)
        if "calls" in figures:
            options.output.mkdir(parents=True, exist_ok=True)
            report.write(figures, options.output)
            print(f"\n{options.output}/benchmark.md", file=sys.stderr)
    return 1 if report.failures(figures) else 0


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench/run.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--list", action="store_true", help="who can be measured, and who is missing here")
    add("--quick", action="store_true", help="1 KB, 16 connections, two rounds")
    add("--only", nargs="+", default=[], metavar="TARGET", help="only these; door-* is a group")
    add("--chapters", nargs="+", default=CHAPTERS, choices=CHAPTERS, help="only these chapters")
    add("--rounds", type=int, help="interleaved rounds (default: 5; --quick: 2)")
    add("--output", type=Path, default=ROOT / "docs", help="where benchmark.md goes")
    return parser.parse_args(arguments)


def listed(targets: list[Target]) -> int:
    for target in targets:
        try:
            target.require()
        except Missing as reason:
            print(f"{target.key:24} missing: {reason}")
        else:
            print(f"{target.key:24} {target.name}")
    return 0


def run(targets: list[Target], options: argparse.Namespace, figures: Figures) -> None:
    """Measure, and put what was measured into `figures`, chapter by chapter."""
    rounds = options.rounds or (2 if options.quick else 5)
    figures |= {
        "command": "bench/run.py " + " ".join(sys.argv[1:]),
        "date": time.strftime("%Y-%m-%d"),
        "rounds": rounds,
        "machine": machine.described(),
        "missing": {},
        "failed": {},
        "targets": {
            t.key: {"name": t.name, "store": t.store, "kind": t.kind, "view": t.view}
            for t in targets
        },
    }
    started: list[Target] = []
    with World() as world:
        figures["versions"] = versions()
        try:
            started = start(world, targets, figures)
            if "calls" in options.chapters:
                loads = calls.QUICK if options.quick else calls.LOADS
                figures["calls"] = calls.measure(
                    world, started, loads=loads, rounds=rounds, progress=progress
                )
            if "statements" in options.chapters:
                figures["statements"] = statements.measure(world, started, progress)
            stop(started)
            if "streams" in options.chapters:
                # Started anew: what a process took for other calls would be free for streams.
                started = start(world, among(chosen(options.only), STREAMS), figures)
                sizes = streams.SIZES[:1] if options.quick else streams.SIZES
                figures["streams"] = streams.measure(world, started, sizes=sizes, progress=progress)
                stop(started)
            if "storms" in options.chapters:
                again = among(chosen(options.only), STORMS)
                figures["storms"] = storms.measure(world, again, progress)
            if "growth" in options.chapters and world.postgres_port:
                sizes = growth.SIZES[:2] if options.quick else growth.SIZES
                figures["growth"] = growth.measure(
                    world, sizes=sizes, rounds=rounds, progress=progress
                )
        finally:
            stop(started)


def stop(targets: list[Target]) -> None:
    for target in targets:
        target.stop()


def among(targets: list[Target], patterns: tuple[str, ...]) -> list[Target]:
    return [t for t in targets if any(fnmatch.fnmatch(t.key, each) for each in patterns)]


def start(world: World, targets: list[Target], figures: Figures) -> list[Target]:
    """Start all, sign in at all, and keep those that do the work they are measured for."""
    there, callbacks = [], []
    for target in targets:
        try:
            callbacks.append(target.prepare(world))
            there.append(target)
        except Missing as reason:
            figures["missing"][target.key] = str(reason)
    register(world.provider, [each for each in callbacks if each])
    ready = []
    for target in there:
        progress(f"start {target.key}")
        try:
            target.start(world, world.provider)
            target.sign_in(world, world.provider)
            ready.append(target)
        except (Wrong, ChildFailed, OSError, AssertionError) as reason:
            figures["failed"][target.key] = f"{type(reason).__name__}: {reason}"
            print(f"\n{target.key} failed: {reason}", file=sys.stderr)
            target.stop()
    return ready


def versions() -> dict[str, str]:
    """Of the programs that take part, in their own words."""
    found = {
        "wrk": machine.said("wrk", "-v").partition(" Copyright")[0],
        "nginx": machine.said(str(machine.program("nginx", "/usr/sbin/nginx")), "-v"),
        "Apache": machine.said(str(machine.program("apache2", "/usr/sbin/apache2")), "-v"),
        "PostgreSQL": machine.said(f"{machine.postgresql()}/postgres", "--version"),
        "Redis": machine.said("redis-server", "--version"),
    }
    try:
        python = django_environment()
    except Missing:
        return found
    return {**found, "Django's peers and we": machine.said(python, "-c", PACKAGES)}


PACKAGES = """
import sys
from importlib.metadata import version
names = (
    "django djangorestframework granian gunicorn uvicorn psycopg urllib3 mozilla-django-oidc "
    "requests django-revproxy"
)
print(f"Python {sys.version.split()[0]},", ", ".join(f"{n} {version(n)}" for n in names.split()))
"""

_began = time.monotonic()


def progress(what: str) -> None:
    """One line that changes, or a line each where nobody watches."""
    seconds = int(time.monotonic() - _began)
    line = f"{seconds // 60:2}:{seconds % 60:02} {what}"
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
    else:
        print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
