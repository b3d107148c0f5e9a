"""manage.py oauthbff_key: a new key to seal tokens with."""

from __future__ import annotations

import base64
import secrets
from argparse import ArgumentParser
from collections.abc import Collection, Mapping
from itertools import chain, count
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from oauthbff.conf import KEY_BYTES, KEY_ID


class Command(BaseCommand):
    help = (
        "Print a new random key for OAUTHBFF_KEYS, and the same as a line for "
        'OAUTHBFF["KEYS"]. Nothing is stored. The first key seals and every key opens: put a '
        "new one first, and keep the old ones until no grant needs them."
    )
    #: It has to work where the keys are still missing.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--id",
            metavar="ID",
            help="default: year and month, as 2026-11, and a number from the second one on",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        taken = configured_ids()
        key_id = options["id"] if options["id"] is not None else free_id(taken)
        if not KEY_ID.fullmatch(key_id):
            raise CommandError("An id has letters, digits, - and _; at most 40.")
        if key_id in taken:
            raise CommandError(f"There is a key {key_id} already; what it seals would be lost.")
        key = base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()
        self.stdout.write(f"{key_id}:{key}")
        self.stdout.write(f'"{key_id}": "{key}",')


def configured_ids() -> frozenset[str]:
    """The ids in use, as the settings have them, be they usable or not."""
    keys = getattr(settings, "OAUTHBFF", {}).get("KEYS")
    return frozenset(keys) if isinstance(keys, Mapping) else frozenset()


def free_id(taken: Collection[str]) -> str:
    """This month, and from the second key of a month on a number behind it."""
    month = f"{timezone.now():%Y-%m}"
    names = chain([month], (f"{month}-{number}" for number in count(2)))
    return next(name for name in names if name not in taken)
