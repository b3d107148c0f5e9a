"""The lease: of all processes that want to refresh a grant, the one that may.

Taken by compare-and-swap on the row and committed, so it holds on every host while no
transaction and no lock is open. It is of one version of the row: whoever changes that, or
ends the grant, has taken the lease away. It runs out by the database's clock.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.models import Q, QuerySet

from oauthbff.conf import conf
from oauthbff.dbtime import database_now
from oauthbff.errors import GrantEnded, LoginRequired
from oauthbff.models import TokenGrant

from .rows import let_go_of_a_pooled_connection, let_go_of_the_database

POLL_SECONDS = 0.1
#: How long a database outage is sat out while rotated tokens are in hand: the slack that
#: `conf().lease_seconds` leaves beside the questions to the provider.
OUTAGE_SECONDS = 5.0


class Overtaken(Exception):
    """The row changed while we asked: look again."""


@dataclass(frozen=True)
class Lease:
    """Ours on a grant, as we read it."""

    grant: TokenGrant
    owner: str

    def row(self) -> QuerySet[TokenGrant]:
        """The row, as long as the lease is ours; else none."""
        return TokenGrant.objects.filter(
            pk=self.grant.pk, version=self.grant.version, lease_owner=self.owner, ended_at=None
        )

    def renew(self) -> None:
        """Hold it for another step. Raises `Overtaken` when it is not ours any more."""
        until = database_now(plus_seconds=conf().lease_seconds)
        patience = time.monotonic() + OUTAGE_SECONDS
        while True:
            try:
                held = self.row().update(lease_until=until)
                break
            except (DatabaseError, InterfaceError):
                sit_out(patience)
        if not held:
            raise Overtaken
        let_go_of_the_database()


def take_lease(grant: TokenGrant) -> Lease | None:
    """Become the one who refreshes this very version, or None. Committed at once.

    Raises `RuntimeError` inside a transaction: what we are about to receive must
    not hang on somebody else's rollback.
    """
    owner = secrets.token_hex(16)
    with transaction.atomic(durable=True):
        taken = (
            TokenGrant.objects.filter(pk=grant.pk, version=grant.version, ended_at=None)
            .filter(refresh_failures=grant.refresh_failures)  # nobody has failed since we looked
            .filter(lease_is_free())
            .update(lease_owner=owner, lease_until=database_now(plus_seconds=conf().lease_seconds))
        )
    return Lease(grant, owner) if taken else None


def lease_is_free() -> Q:
    return Q(lease_until=None) | Q(lease_until__lt=database_now())


def wait_for_lease(grant: TokenGrant, give_up: float) -> TokenGrant:
    """Poll until the row changes or its lease is free, then return it anew."""
    while time.monotonic() < give_up:
        let_go_of_a_pooled_connection()
        time.sleep(POLL_SECONDS)
        unchanged = TokenGrant.objects.filter(
            pk=grant.pk,
            version=grant.version,
            ended_at=None,
            refresh_not_before=grant.refresh_not_before,
            lease_until__gte=database_now(),
        )
        try:
            if not unchanged.exists():
                break
        except (DatabaseError, InterfaceError):
            sit_out(give_up)
    return look_again(grant)


def look_again(grant: TokenGrant) -> TokenGrant:
    """The row as it is now. Raises `LoginRequired` when it is gone, `GrantEnded`."""
    found = TokenGrant.objects.select_related("user").filter(pk=grant.pk).first()
    if found is None:
        raise LoginRequired("the grant is gone")
    if found.ended_at is not None:
        raise GrantEnded(found.end_reason)
    return found


def sit_out(patience: float) -> None:
    """The database is away: wait a little, or raise what it said when patience is over."""
    if time.monotonic() > patience or connection.in_atomic_block:
        raise  # noqa: PLE0704 - called from an except block
    connection.close()
    time.sleep(0.2)
