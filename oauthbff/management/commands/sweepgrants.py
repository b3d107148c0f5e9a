"""manage.py sweepgrants: end what is over, tell the provider, purge what is old."""

from __future__ import annotations

import time
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand
from django.db import DatabaseError, InterfaceError, close_old_connections

from oauthbff import grants

#: A line of progress is printed at most this often.
SAY_SECONDS = 5.0


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < 86400:
        raise ArgumentTypeError(f"{text!r} is no number of seconds, more than 0 and under a day")
    return value


class Command(BaseCommand):
    help = (
        "End grants that are idle or too old, or whose user was disabled; tell the provider of "
        "those that ended while it did not answer; purge what is older than the retention "
        "setting. Run it every few minutes from cron, or once with --loop. Several hosts may "
        "run it at once. -v2 prints each step."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say what would be done")
        parser.add_argument(
            "--loop", type=seconds, metavar="SECONDS", help="go on for ever, with this pause"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        pause = options["loop"]
        while True:
            try:
                self.sweep(dry_run=options["dry_run"], every=options["verbosity"] > 1)
            except (DatabaseError, InterfaceError) as exc:
                if pause is None:
                    raise
                self.stderr.write(f"The database failed ({type(exc).__name__}); on to the next.")
            if pause is None:
                return
            close_old_connections()
            time.sleep(pause)

    def sweep(self, *, dry_run: bool, every: bool) -> None:
        said_at = time.monotonic()

        def say(line: str) -> None:
            nonlocal said_at
            if every or time.monotonic() > said_at + SAY_SECONDS:
                self.stdout.write(line)
                self.stdout.flush()
                said_at = time.monotonic()

        did = grants.sweep(dry_run=dry_run, say=say)
        would = "would be " if dry_run else ""
        ordered = f", {did.ordered} by order of an administrator" if did.ordered else ""
        self.stdout.write(
            f"{did.ended} {would}ended ({did.idle} idle, {did.absolute} at their greatest age, "
            f"{did.disabled} of disabled users{ordered}); {did.told} {would}told to the provider, "
            f"{did.still_waiting} still waiting, {did.given_up} given up; {did.purged_grants} old "
            f"grants, {did.purged_events} old events and {did.purged_marks} spent marks {would}"
            f"purged"
        )
        self.stdout.flush()
