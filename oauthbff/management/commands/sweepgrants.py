"""manage.py sweepgrants: end what is over, tell the provider, purge what is old."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import close_old_connections

from oauthbff import grants


class Command(BaseCommand):
    help = (
        "End grants that are idle or too old, tell the provider of those that ended while it "
        "did not answer, and purge what is older than the retention setting. Run it every few "
        "minutes from cron, or once with --loop. Several hosts may run it at once."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say what would be done")
        parser.add_argument(
            "--loop", type=float, metavar="SECONDS", help="go on for ever, with this pause"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        while True:
            self.sweep(dry_run=options["dry_run"], verbose=options["verbosity"] > 1)
            if options["loop"] is None:
                return
            close_old_connections()
            time.sleep(options["loop"])

    def sweep(self, *, dry_run: bool, verbose: bool) -> None:
        def say(line: str) -> None:
            if verbose:
                self.stdout.write(line)

        did = grants.sweep(dry_run=dry_run, say=say)
        would = "would be " if dry_run else ""
        self.stdout.write(
            f"{did.idle + did.absolute} {would}ended ({did.idle} idle, {did.absolute} at their "
            f"greatest age); {did.told} {would}told to the provider, {did.still_waiting} still "
            f"waiting; {did.purged_grants} old grants and {did.purged_marks} spent marks "
            f"{would}purged"
        )
