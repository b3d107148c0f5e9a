"""manage.py linkuser: say which user a person at the provider is."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError

from oauthbff.conf import conf
from oauthbff.errors import LoginFailed
from oauthbff.login.matching import link
from oauthbff.models import Identity


class Command(BaseCommand):
    help = (
        "Tie a user who was here before to a person at the provider: whoever signs in there as "
        "this subject is this user here, from the first time on. For staff, whom no e-mail "
        "address is enough for, and wherever you know better than an address."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--user", metavar="NAME", required=True, help="user name here")
        parser.add_argument(
            "--subject", metavar="SUB", required=True, help="`sub` at the provider, to the letter"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        name, subject = options["user"], options["subject"]
        model = get_user_model()
        user = model._default_manager.filter(**{model.USERNAME_FIELD: name}).first()
        if user is None:
            raise CommandError(f"No user is called {name}.")
        try:
            link(user, subject, how="command")
        except IntegrityError:
            owner = Identity.objects.get(issuer=conf().issuer, subject=subject).user
            raise CommandError(
                f"{subject} is {owner.get_username()} already. Nothing was changed. If that is a "
                "second account of the same person, delete its identity first."
            ) from None
        except LoginFailed:
            raise CommandError(f"{name} is tied to another subject already.") from None
        self.stdout.write(f"{subject} at {conf().issuer} is {name} from now on.")
