"""An order to end many grants outlives who gave it: in steps, each whole or not at all."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.utils import timezone

from oauthbff import grants
from oauthbff.grants import orders
from oauthbff.models import EndBatch, EndOrder, GrantEvent, TokenGrant
from tests.support.rows import grants_of, person

pytestmark = pytest.mark.django_db(transaction=True)

MANY = orders.BATCH + 50


@pytest.fixture
def ada() -> User:
    return person("ada", is_staff=True)


def everything(by: User) -> EndOrder:
    standing = TokenGrant.objects.filter(ended_at=None)
    return grants.order_end(standing, scope=EndOrder.Scope.PROVIDER, by=by, note="a break-in")


def standing() -> int:
    return TokenGrant.objects.filter(ended_at=None).count()


def test_giving_an_order_ends_nothing_yet_and_carrying_it_out_ends_all(ada: User):
    grants_of(person("jane"), MANY)
    order = everything(ada)
    assert (order.total, grants.left_to_end(order), standing()) == (MANY, MANY, MANY)
    assert grants.carry_out(order, seconds=60)
    assert (grants.left_to_end(order), standing()) == (0, 0)
    facts = {"end_reason": "admin", "end_note": "a break-in", "ended_by": ada, "end_order": order}
    assert TokenGrant.objects.filter(**facts).count() == MANY


def test_whoever_signs_in_after_the_order_is_not_hit(ada: User):
    jane = person("jane")
    grants_of(jane, 3)
    order = everything(ada)
    [later] = grants_of(jane, 1)
    assert grants.carry_out(order, seconds=60)
    assert [grant.pk for grant in TokenGrant.objects.filter(ended_at=None)] == [later.pk]


def test_time_runs_out_between_batches_and_the_sweep_finishes(ada: User):
    grants_of(person("jane"), MANY)
    order = everything(ada)
    assert not grants.carry_out(order, seconds=0)
    assert grants.left_to_end(order) == MANY - orders.BATCH == standing()
    assert grants.sweep(dry_run=True).ordered == MANY - orders.BATCH
    # Nobody listens where these are to be revoked, so the sweep has no more to do with them.
    TokenGrant.objects.update(revocation_due_at=timezone.now() + timedelta(hours=1))
    assert orders.carry_out_all() == MANY - orders.BATCH
    assert (standing(), EndBatch.objects.count()) == (0, 0)


def test_each_ending_is_in_the_history_and_in_the_admins_log_once(ada: User):
    grants_of(person("jane"), MANY)
    order = everything(ada)
    grants.carry_out(order, seconds=0)
    grants.carry_out(order, seconds=60)
    orders.carry_out_all()
    events = GrantEvent.objects.filter(kind="ended", by=ada, note="a break-in")
    assert (events.count(), events.values("grant").distinct().count()) == (MANY, MANY)
    logged = LogEntry.objects.filter(user=ada, change_message="Ended. a break-in")
    assert (logged.count(), logged.values("object_id").distinct().count()) == (MANY, MANY)


def test_what_another_had_ended_is_left_to_them(ada: User):
    mine, theirs = grants_of(person("jane"), 2)
    order = everything(ada)
    grants.end(TokenGrant.objects.filter(pk=theirs.pk), reason="logout", tell_now=False)
    grants.carry_out(order, seconds=60)
    assert [grant.pk for grant in order.grants.all()] == [mine.pk]
    theirs.refresh_from_db()
    assert (theirs.end_reason, theirs.end_order) == ("logout", None)
    assert LogEntry.objects.count() == 1


def test_a_batch_that_fails_is_still_to_do(ada: User):
    """Whole or not at all: the end of the grants and the end of the batch are one transaction."""
    grants_of(person("jane"), 5)
    order = everything(ada)
    ghost = EndOrder.objects.get(pk=order.pk)
    ghost.requested_by = User(pk=999_999, username="ghost")  # a foreign key that cannot be
    with pytest.raises(Exception, match="(?i)foreign key|constraint"):
        grants.carry_out(ghost, seconds=60)
    assert (standing(), grants.left_to_end(order)) == (5, 5)
    assert GrantEvent.objects.filter(kind="ended").count() == 0


def test_try_again_does_not_wait_for_the_next_attempt(ada: User):
    grants_of(person("jane"), 2)
    order = everything(ada)
    grants.carry_out(order, seconds=60)
    waiting = order.grants.filter(revocation="pending", revocation_due_at__gt=timezone.now())
    assert waiting.count() == 2
    grants.tell_again(order.grants.all(), seconds=60)
    assert [grant.revocation_attempts for grant in order.grants.all()] == [2, 2]


def test_old_orders_are_forgotten_with_their_grants_and_unfinished_ones_are_not(ada: User):
    grants_of(person("jane"), 1)
    done, left = everything(ada), everything(ada)
    grants.carry_out(done, seconds=60)
    EndOrder.objects.update(requested_at="2020-01-01T00:00:00Z")
    assert orders.purge_orders() == 0
    TokenGrant.objects.all().delete()
    orders.purge_orders()
    assert list(EndOrder.objects.all()) == [left]
