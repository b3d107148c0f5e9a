"""Orders: an administrator ends many grants, and closes the tab.

Which grants is written down when the order is given, so that somebody who signs in
afterwards is not hit, and so that nothing of it depends on the browser that gave it. A
batch's row is deleted in the transaction that ends its grants: what a crash leaves is
still a row, and whoever comes next, the page or `sweepgrants`, goes on there. Two who
work at the same order do no harm: each grant is ended once.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from itertools import chain, islice

from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import QuerySet, Sum
from django.utils import timezone

from oauthbff.conf import conf
from oauthbff.models import EndBatch, EndOrder, EndReason, Revocation, TokenGrant

from .ending import end_in_batches
from .telling import tell_while

#: Grants of a batch: one transaction, one step of progress.
BATCH = 200
#: The provider is told of at most so many in one step.
MOST_TOLD = 500
#: How long one answer of the provider is waited for while somebody looks on.
ANSWER_SECONDS = 3.0


def order_end(
    grants: QuerySet[TokenGrant], *, scope: str, label: str = "", by: User, note: str
) -> EndOrder:
    """Write down that the standing grants of a queryset are to end. Ends none yet.

    Follow with `carry_out`; whatever is not carried out by then, `sweep` does.
    """
    with transaction.atomic():
        order = EndOrder.objects.create(
            scope=scope,
            label=label[:255],
            requested_by=by,
            requested_at=timezone.now(),
            note=note[:255],
        )
        handles = grants.filter(ended_at=None).order_by().values_list("pk", flat=True)
        for batch in _batches(handles.iterator(chunk_size=2000)):
            EndBatch.objects.create(order=order, handles=" ".join(batch), size=len(batch))
            order.total += len(batch)
        order.save(update_fields=["total"])
    return order


def carry_out(order: EndOrder, *, seconds: float) -> bool:
    """End what an order still has to end, for about so many seconds. True: all have ended.

    Ending comes first, for all; what time is left goes to telling the provider.
    """
    deadline = time.monotonic() + seconds
    for batch in _batches_of(order):
        _carry_out_batch(order, batch)
        if time.monotonic() > deadline:
            break
    if left_to_end(order):
        return False
    _tell_due(TokenGrant.objects.filter(end_order=order), deadline)
    return True


def carry_out_all(say: Callable[[str], None] = lambda _: None) -> int:
    """Finish every order that was left unfinished. Returns how many grants that ended."""
    ended = 0
    for order in list(EndOrder.objects.filter(batches__isnull=False).distinct()):
        for batch in _batches_of(order):
            ended += _carry_out_batch(order, batch)
            say(f"ended {ended} by order of an administrator")
    return ended


def left_to_end(order: EndOrder | None = None) -> int:
    """How many grants an order, or all orders together, have not come to yet."""
    batches = EndBatch.objects.all() if order is None else order.batches.all()
    return int(batches.aggregate(left=Sum("size"))["left"] or 0)


def tell_again(grants: QuerySet[TokenGrant], *, seconds: float) -> None:
    """Tell the provider now, for about so many seconds, and not when the next attempt is due.

    Some may be asked about twice at the same time, which to a provider is the same as once.
    """
    grants.filter(revocation=Revocation.PENDING).update(revocation_due_at=timezone.now())
    _tell_due(grants, time.monotonic() + seconds)


def _tell_due(grants: QuerySet[TokenGrant], deadline: float) -> None:
    """Not inside a transaction: a rollback would forget what the provider was told."""
    if connection.in_atomic_block:
        return
    due = grants.filter(revocation=Revocation.PENDING, revocation_due_at__lte=timezone.now())
    pks = list(due.order_by("revocation_due_at").values_list("pk", flat=True)[:MOST_TOLD])
    tell_while(pks, deadline=deadline, patience=ANSWER_SECONDS)


def purge_orders() -> int:
    """Forget orders that were carried out longer ago than grants are kept."""
    old = timezone.now() - timedelta(days=conf().retention_days)
    return EndOrder.objects.filter(
        requested_at__lte=old, batches__isnull=True, grants__isnull=True
    ).delete()[0]


def _batches(handles: Iterable[uuid.UUID]) -> Iterator[list[str]]:
    handles = iter(handles)
    while batch := [str(handle) for handle in islice(handles, BATCH)]:
        yield batch


def _batches_of(order: EndOrder) -> Iterator[EndBatch]:
    while batch := order.batches.order_by("pk").first():
        yield batch


def _carry_out_batch(order: EndOrder, batch: EndBatch) -> int:
    """End the grants of one batch, note each in the admin's log, and cross the batch out."""
    chosen = TokenGrant.objects.filter(pk__in=batch.handles.split())
    with transaction.atomic():
        steps = end_in_batches(
            chosen, reason=EndReason.ADMIN, by=order.requested_by, note=order.note, order=order
        )
        ended = list(chain.from_iterable(steps))
        _log(order, TokenGrant.objects.filter(pk__in=ended))
        batch.delete()
    return len(ended)


def _log(order: EndOrder, ended: QuerySet[TokenGrant]) -> None:
    """The admin's own log, where a site has the admin: who ended which grant, and why."""
    if order.requested_by is None or not apps.is_installed("django.contrib.admin"):
        return
    from django.contrib.admin.models import CHANGE, LogEntry
    from django.contrib.contenttypes.models import ContentType

    model = ContentType.objects.get_for_model(TokenGrant)
    LogEntry.objects.bulk_create(
        LogEntry(
            user_id=order.requested_by.pk,
            content_type=model,
            object_id=str(grant.pk),
            object_repr=str(grant)[:200],
            action_flag=CHANGE,
            change_message=f"Ended. {order.note}",
        )
        for grant in ended.select_related("user")
    )
