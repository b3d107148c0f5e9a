"""People who were here before: tied to their identity at the provider, once.

A site that moves over has users and no identities. Somebody who signs in for the first
time is taken for one of them if `MATCH_EMAIL_UNTIL` allows it, the provider vouches for
the address, and it is one person's. From then on (issuer, subject) decides.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import transaction

from oauthbff import events
from oauthbff.claims import is_text
from oauthbff.conf import conf
from oauthbff.errors import LoginFailed
from oauthbff.models import Identity


def match(claims: dict[str, Any]) -> Any:
    """Return the user of old with this address, tied to the identity; None: there is none.

    Raises `LoginFailed` where there is one and it is not certain whose the account is: a
    second account beside it would help nobody.
    """
    until, email = conf().match_email_until, claims.get("email")
    if until is None or datetime.now(tz=UTC).date() > until or not is_text(email):
        return None
    with transaction.atomic():
        candidates = users_of_old(str(email))
        if not candidates:
            return None
        if claims.get("email_verified") is not True:
            raise _refused("the provider does not vouch for the address")
        if len(candidates) > 1:
            raise _refused(f"{len(candidates)} users have the address")
        [user] = candidates
        if not user.is_active:
            raise LoginFailed("user_disabled", f"user {user.pk} is disabled")
        if getattr(user, "is_staff", False) or getattr(user, "is_superuser", False):
            raise _refused(f"user {user.pk} is of the staff: link them by manage.py linkuser")
        link(user, claims["sub"], how="email")
    return user


def users_of_old(email: str) -> list[Any]:
    """Users with this address whom no identity at this provider is tied to, locked."""
    model = get_user_model()
    field = model.get_email_field_name()
    found = (
        model._default_manager.select_for_update()
        .filter(**{f"{field}__iexact": email})
        .exclude(pk__in=Identity.objects.filter(issuer=conf().issuer).values("user"))
    )
    return [user for user in found if _same(getattr(user, field), email)]


def _same(one: str, other: str) -> bool:
    """Databases fold more than ASCII: "ı" is not "i" in an address. CVE-2019-19844."""
    return one == other or (one.isascii() and other.isascii() and one.lower() == other.lower())


def _refused(why: str) -> LoginFailed:
    return LoginFailed("email_conflict", why)


def link(user: Any, subject: str, *, how: str) -> None:
    """Tie a user to a subject at our provider, and write down that it was done.

    Raises `LoginFailed` if another one was tied to them at this very moment.
    """
    with transaction.atomic():
        Identity.objects.create(issuer=conf().issuer, subject=subject, user=user)
        if Identity.objects.filter(issuer=conf().issuer, user=user).count() > 1:
            raise _refused(f"user {user.pk} has an identity already")
        _note(user, subject, how)
    events.identity_linked(user=user.pk, how=how)


def _note(user: Any, subject: str, how: str) -> None:
    """The user's history in the admin, where a site has the admin."""
    if not apps.is_installed("django.contrib.admin"):
        return
    from django.contrib.admin.models import CHANGE, LogEntry
    from django.contrib.contenttypes.models import ContentType

    LogEntry.objects.create(
        user_id=user.pk,
        content_type=ContentType.objects.get_for_model(user),
        object_id=str(user.pk),
        object_repr=str(user)[:200],
        action_flag=CHANGE,
        change_message=f"Linked to {subject} at {conf().issuer}, by {how}.",
    )
