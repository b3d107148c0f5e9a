"""manage.py rekeygrants: seal every grant with the first key of OAUTHBFF["KEYS"]."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from oauthbff import grants
from oauthbff.conf import conf
from oauthbff.errors import KeyStoreUnavailable

SAY_SECONDS = 2


class Command(BaseCommand):
    help = (
        'Seal every grant with the first key of OAUTHBFF["KEYS"], while the site runs, and say '
        "which older keys may be removed. Start it when every process of the site has the new "
        "first key. It can be stopped and started again at any time; several may run at once."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say how many, seal none")

    def handle(self, *args: Any, **options: Any) -> None:
        first, *others = conf().keys
        in_use = grants.keys_in_use()
        total = sum(in_use.get(key_id, 0) for key_id in others)
        if options["dry_run"]:
            self.stdout.write(f"{total} grants would be sealed with {first} anew.")
        else:
            self.rekey(first, total)
        self.report(grants.keys_in_use())

    def rekey(self, first: str, total: int) -> None:
        started = said = time.monotonic()

        def say(count: int) -> None:
            nonlocal said
            if time.monotonic() > said + SAY_SECONDS:
                said = time.monotonic()
                self.stdout.write(f"{count} of {total} …")

        try:
            did = grants.rekey(say=say)
        except KeyboardInterrupt:
            raise CommandError(
                "Stopped. What is done stays done; start it again to go on."
            ) from None
        except KeyStoreUnavailable as exc:
            raise CommandError(f"{exc}. What is done is done; start it again to go on.") from None
        took = time.monotonic() - started
        self.stdout.write(f"{did.resealed} grants sealed with {first} anew, in {took:.1f} s.")
        if did.broken:
            self.stderr.write(
                f"{did.broken} grants do not open: their envelopes were changed or moved. "
                "They end with key_lost when they are used."
            )

    def report(self, in_use: dict[str, int]) -> None:
        """How many rows need which key, and which keys nobody needs."""
        first, *others = conf().keys
        for key_id in [first, *others]:
            rows = in_use.get(key_id, 0)
            note = " (the first: seals)" if key_id == first else ""
            if key_id != first and not rows:
                note = " may be removed, ten minutes after the new key came first"
            self.stdout.write(f"  {key_id}: {rows} grants{note}")
        for key_id in sorted(set(in_use) - set(conf().keys)):
            self.stderr.write(
                f"  {key_id}: {in_use[key_id]} grants, and the key is gone: they end with key_lost "
                "when they are used. Put it back if you have it."
            )
        if any(in_use.get(key_id) for key_id in others):
            self.stdout.write(
                "Older keys are still needed. If that stays so after another run, a process of "
                "the site has not the new first key yet."
            )
