"""The standing grant of a request's session, if there is one.

The session points, the row is the truth, and it is proved on each request: a
session that cannot prove itself is signed out on its next step.
"""

from __future__ import annotations

import dataclasses
import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.signals import setting_changed
from django.db.models import F
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone

from oauthbff.conf import conf
from oauthbff.errors import GrantEnded, KeyStoreUnavailable, LoginRequired
from oauthbff.models import EndReason, TokenGrant

from .ending import end
from .judged import Judged
from .judging import HANDLE, due_at, is_judged_by_row, is_their_session, touch_is_due, why_due
from .leasing import lease_is_free
from .opening import open_envelope
from .reading import Seen, read, read_along
from .rows import digest, seconds_until

#: Sessions, per process.
MOST_JUDGED = 1024
_judged = Judged(MOST_JUDGED)


@receiver(setting_changed)
def _forget(**_: object) -> None:
    """What was judged under other settings was not judged."""
    _judged.clear()


def current(request: HttpRequest) -> TokenGrant:
    """Return the standing grant of this request's session.

    One query, remembered for the request; its `user` is another, if somebody asks.
    Raises `LoginRequired` when the session points at none, `GrantEnded` when it
    pointed at one that has ended; the session is then signed out, so that the
    site's other views see nobody.
    """
    memory: TokenGrant | LoginRequired | None = getattr(request, "_oauthbff_current", None)
    if memory is None:
        try:
            memory = _find(request)
        except LoginRequired as exc:
            memory = exc.with_traceback(None)
        request._oauthbff_current = memory  # type: ignore[attr-defined]
    if isinstance(memory, LoginRequired):
        raise memory
    return memory


def carrying(request: HttpRequest) -> TokenGrant:
    """The same for a call that needs nothing of its session but the grant.

    What the database said a moment ago and says again, word for word, is not judged again, and
    the session's content not looked at.
    """
    session, key = request.session, request.session.session_key
    if key is None or hasattr(request, "_oauthbff_current"):
        return current(request)
    along = request._oauthbff_along = read_along(session)  # type: ignore[attr-defined]
    if along is None:
        return current(request)
    now = timezone.now()
    pk = _judged.get(key, along.rows, now)
    # One that was found elsewhere may end while these rows stay the same.
    known = None if pk is None else along.grant(pk)
    if known is not None:
        session.accessed = True  # as it is: `SessionMiddleware` then says Vary: Cookie
        request._oauthbff_current = known  # type: ignore[attr-defined]
        return known
    grant = current(request)
    if is_judged_by_row(get_user_model()):
        _judged.keep(key, along.rows, grant.pk, since=now, until=due_at(grant))
    return grant


def reread(grant: TokenGrant) -> TokenGrant:
    """Return the grant as it stands now, for code without a request.

    Raises `LoginRequired` when it is gone, `GrantEnded` when it has ended or must end now.
    """
    seen = read(grant.pk)
    if seen is None:
        raise LoginRequired("the grant is gone")
    _judge_standing(seen)
    return seen.grant


def forget_current(request: HttpRequest) -> None:
    """Make `current` look again: the session was changed."""
    for name in ("_oauthbff_along", "_oauthbff_current"):
        request.__dict__.pop(name, None)


def touch(
    grant: TokenGrant, session_key: str | None, *, upstream: str = "", active: bool = True
) -> None:
    """Count this request as activity. Writes at most once a minute, and once per upstream.

    Not `active`: nobody was there, so the grant lives no longer for it. That its token went to
    another upstream is written down all the same.
    """
    if session_key is not None and digest(session_key) != grant.session_digest:
        _follow_session(grant, session_key)
    is_new = upstream != "" and upstream not in grant.upstreams.split()
    facts: dict[str, Any] = {}
    if is_new:
        # Of two first calls at once one may be forgotten here; the next such call is a first again.
        facts["upstreams"] = f"{grant.upstreams} {upstream}".strip()
    now = timezone.now()
    if active and (is_new or touch_is_due(grant, now)):
        facts["last_used_at"] = now
    if facts:
        TokenGrant.objects.filter(
            pk=grant.pk, last_used_at__lte=grant.last_used_at, ended_at=None
        ).update(**facts)
        for name, value in facts.items():
            setattr(grant, name, value)


def standing_among(pks: set[uuid.UUID]) -> set[uuid.UUID]:
    """Those of some grants that still stand, in one query."""
    return set(
        TokenGrant.objects.filter(
            pk__in=pks, ended_at=None, expires_at__gt=timezone.now()
        ).values_list("pk", flat=True)
    )


def idle_expires_in(grant: TokenGrant) -> int:
    """Whole seconds until the grant ends if nobody uses it."""
    return seconds_until(grant.last_used_at + timedelta(seconds=conf().idle_timeout))


def expires_in(grant: TokenGrant) -> int:
    """Whole seconds until the grant ends whatever happens."""
    return seconds_until(grant.expires_at)


def _find(request: HttpRequest) -> TokenGrant:
    presented = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    along = request.__dict__.pop("_oauthbff_along", None) or read_along(request.session)
    found = along.seen() if along else []
    handle = request.session.get(HANDLE)
    if handle is None:
        reason = _fallen(presented) if presented and not request.session.session_key else None
        if reason is None:
            raise LoginRequired("the session points at no grant")
        _keep_cookie(request)
        raise GrantEnded(reason)
    pk = uuid.UUID(str(handle))
    seen = next((one for one in found if one.grant.pk == pk), None) or read(pk)
    if seen is None:
        request.session.flush()
        raise LoginRequired("the grant is gone")
    try:
        _judge_standing(seen)
        _judge_session(seen, request)
    except GrantEnded:
        request.session.flush()
        _keep_cookie(request)
        raise
    return seen.grant


def _judge_session(seen: Seen, request: HttpRequest) -> None:
    """End a grant whose session is not its user's any more. Raises `GrantEnded`."""
    assert seen.user is not None  # noqa: S101 - `_judge_standing` has looked
    if not is_their_session(request.session, seen.user):
        end(TokenGrant.objects.filter(pk=seen.grant.pk), reason=EndReason.LOGOUT)
        raise GrantEnded(EndReason.LOGOUT)


def _judge_standing(seen: Seen) -> None:
    """Raise `GrantEnded` if the grant has ended or must end now."""
    if seen.grant.ended_at is not None:
        raise GrantEnded(seen.grant.end_reason)
    reason = why_due(seen.grant, seen.user, timezone.now())
    if reason is not None:
        end(TokenGrant.objects.filter(pk=seen.grant.pk), reason=reason)
        raise GrantEnded(reason)


def _fallen(session_key: str) -> str | None:
    """Why the grant of a session that is gone has ended, if there was one."""
    found = TokenGrant.objects.filter(session_digest=digest(session_key))
    pk = found.values_list("pk", flat=True).first()
    seen = read(pk) if pk is not None else None
    if seen is None:
        return None
    try:
        _judge_standing(seen)
    except GrantEnded as ended:
        return ended.reason
    return None


def _keep_cookie(request: HttpRequest) -> None:
    """Let the dead cookie stay in the browser: it is how the SPA learns why, until it signs in."""
    request.COOKIES.pop(settings.SESSION_COOKIE_NAME, None)


def _follow_session(grant: TokenGrant, session_key: str) -> None:
    """Django changed the session key under us (a new password): remember the new one."""
    try:
        envelope = dataclasses.replace(open_envelope(grant), session_key=session_key)
        sealed = envelope.seal(grant.place, instead_of=grant.envelope)
    except (GrantEnded, KeyStoreUnavailable):
        return  # the next call tries again
    found = digest(session_key)
    if conf().lane_store:
        from oauthbff import primed  # needs redis, which not every site has

        if not primed.forgot([grant.session_digest]):
            return  # an ending would look for what the lane knows under the new key only
    if (
        TokenGrant.objects.filter(pk=grant.pk, version=grant.version, ended_at=None)
        .filter(lease_is_free())
        .update(envelope=sealed, session_digest=found, version=F("version") + 1)
    ):
        grant.envelope, grant.session_digest = sealed, found
        grant.version += 1
