"""manage.py endgrants: sign people out from the command line, here and at the provider."""

from __future__ import annotations

import re
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.db.models import QuerySet

from oauthbff import grants
from oauthbff.models import EndReason, Revocation, TokenGrant


class Command(BaseCommand):
    help = (
        "End the grants of a user, of a subject at the provider, of a scope, or of everybody: "
        "the next call of each is refused, and the provider is told. Says how many, and asks."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        who = parser.add_mutually_exclusive_group(required=True)
        who.add_argument("--user", metavar="NAME", help="user name or e-mail address here")
        who.add_argument("--subject", metavar="SUB", help="`sub` at the provider")
        who.add_argument("--upstream-scope", metavar="SCOPE", help="every grant with this scope")
        who.add_argument("--all", action="store_true", help="everybody")
        parser.add_argument("--reason", required=True, help="why; kept in the history")
        parser.add_argument("--yes", action="store_true", help="do not ask")
        parser.add_argument("--dry-run", action="store_true", help="say how many, end none")

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = self.chosen(options)
        count = chosen.count()
        people = chosen.order_by().values("issuer", "subject").distinct().count()
        whose = "1 person" if people == 1 else f"{people} people"
        self.stdout.write(f"Standing grants: {count}, of {whose}.")
        if options["dry_run"] or not count:
            return
        if not options["yes"] and not self.confirmed():
            raise CommandError("Nothing was ended.")
        ended = self.end(chosen, options["reason"])
        self.stdout.write(f"{ended} ended. Telling the provider …")
        told = grants.tell_due(say=self.stdout.write)
        waiting = TokenGrant.objects.filter(revocation=Revocation.PENDING).count()
        self.stdout.write(
            f"{told} told to the provider, {waiting} waiting; sweepgrants goes on with those."
        )

    def confirmed(self) -> bool:
        try:
            return input("End them? [y/N] ").strip().lower() in ("y", "yes")
        except EOFError:  # cron, a pipeline
            raise CommandError("Nothing was ended: nobody is here to ask. Add --yes.") from None

    def end(self, chosen: QuerySet[TokenGrant], note: str) -> int:
        count = 0
        for ended in grants.end_in_batches(chosen, reason=EndReason.ADMIN, note=note):
            count += len(ended)
            self.stdout.write(f"{count} ended")
        return count

    def chosen(self, options: dict[str, Any]) -> QuerySet[TokenGrant]:
        standing = TokenGrant.objects.filter(ended_at=None)
        if options["user"]:
            return standing.filter(user__in=self.users(options["user"]))
        if options["subject"]:
            return standing.filter(subject=options["subject"])
        if options["upstream_scope"]:
            scope = re.escape(options["upstream_scope"])
            return standing.filter(scopes__regex=rf"(^| ){scope}( |$)")
        return standing

    def users(self, name: str) -> QuerySet[Any]:
        users = get_user_model()._default_manager.all()
        field = get_user_model().get_email_field_name()
        found = users.filter(**{get_user_model().USERNAME_FIELD: name})
        found = found or users.filter(**{f"{field}__iexact": name})
        if not found:
            raise CommandError(f"No user is called {name}.")
        return found
