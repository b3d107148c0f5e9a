"""How a person, a moment and a state are written. Everything that came from outside is escaped."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.translation import gettext as _

from oauthbff.conf import conf
from oauthbff.devices import UNKNOWN, device_of
from oauthbff.models import EndReason, Revocation, TokenGrant, full_name

DASH = "–"
#: A grant that has used up so much of its idle time is shown as "idle soon".
IDLE_SOON = 0.75
#: What `grants.telling` writes where a newer sign-in stands in the way.
WAITS_FOR_NEWER = "waits for the newer sign-in"


def name_of(user: Any) -> str:
    """How a person is called here; a dash for nobody.

    The e-mail address comes before the user name, which is often made of a hash.
    """
    return DASH if user is None else full_name(user) or mail_of(user) or str(user.get_username())


def mail_of(user: Any) -> str:
    return str(getattr(user, user.get_email_field_name(), "") or "")


def person_of(grant: TokenGrant) -> str:
    return grant.subject if grant.user is None else name_of(grant.user)


def device_in(grant: TokenGrant) -> str:
    device = device_of(grant.user_agent)
    return device if device != UNKNOWN else _("unknown device")


def where(grant: TokenGrant) -> str:
    """Device and address in one line."""
    return ", ".join(filter(None, (device_in(grant), grant.ip)))


def moment(at: datetime | None) -> SafeString | str:
    """A moment in one short line: the time today, else day and time; in full when pointed at."""
    if at is None:
        return DASH
    local = timezone.localtime(at)
    today = local.date() == timezone.localdate()
    text = date_format(local, "TIME_FORMAT" if today else "SHORT_DATETIME_FORMAT")
    full = date_format(local, "DATETIME_FORMAT")
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), full, text)


def ago(at: datetime, now: datetime) -> SafeString:
    text = _("just now")
    if now - at >= timedelta(minutes=1):
        text = _("%(time)s ago") % {"time": timesince(at, now, depth=1)}
    full = date_format(timezone.localtime(at), "DATETIME_FORMAT")
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), full, text)


def ends_at(grant: TokenGrant) -> datetime:
    """When a standing grant ends if nobody uses it."""
    idle = grant.last_used_at + timedelta(seconds=conf().idle_timeout)
    return min(idle, grant.expires_at)


def left_of(grant: TokenGrant, now: datetime) -> str:
    """How long a grant stands yet if nobody uses it; empty if it does not."""
    if grant.ended_at is not None or ends_at(grant) <= now:
        return ""
    left = ends_at(grant) - now
    return (
        _("under a minute") if left < timedelta(minutes=1) else timesince(now, now + left, depth=1)
    )


@dataclass(frozen=True, kw_only=True)
class State:
    """A state of a grant: active, idling, over (its next call ends it) or ended."""

    kind: str
    label: str
    #: Why, where it stands no more.
    why: str = ""

    @property
    def badge(self) -> SafeString:
        return badge(self.kind, self.label)


def state_of(grant: TokenGrant, now: datetime) -> State:
    if grant.ended_at is not None:
        return State(kind="ended", label=_("ended"), why=reason(grant.end_reason))
    if now >= grant.expires_at:
        return State(kind="over", label=_("time is up"), why=reason(EndReason.ABSOLUTE))
    if now >= ends_at(grant):
        return State(kind="over", label=_("time is up"), why=reason(EndReason.IDLE))
    used = now - grant.last_used_at
    if used.total_seconds() >= conf().idle_timeout * IDLE_SOON:
        return State(kind="idling", label=_("idle soon"))
    return State(kind="active", label=_("active"))


def reason(value: str) -> str:
    return str(EndReason(value).label)


def outcome_of(grant: TokenGrant) -> tuple[str, str]:
    """What the provider knows of an ending, as (kind, words)."""
    if grant.revocation != Revocation.PENDING:
        words = {
            Revocation.NONE: DASH,
            Revocation.DONE: _("revoked at the provider"),
            Revocation.UNSUPPORTED: _("provider has no revocation endpoint"),
            Revocation.FAILED: _("given up"),
        }
        return grant.revocation, words[Revocation(grant.revocation)]
    if grant.revocation_error.startswith(WAITS_FOR_NEWER):
        return "waiting", _("waits for a newer sign-in of the same provider session")
    if grant.revocation_due_at is None or grant.revocation_due_at <= timezone.now():
        return "pending", _("provider not told yet")
    due = timezone.localtime(grant.revocation_due_at)
    return "pending", _("will be retried at %(time)s") % {"time": date_format(due, "TIME_FORMAT")}


def host_of(issuer: str) -> str:
    return urlsplit(issuer).netloc or issuer


def badge(kind: str, words: str) -> SafeString:
    return format_html('<span class="grant-badge grant-{}">{}</span>', kind, words)


def two_lines(first: Any, second: Any) -> SafeString:
    """A cell with a quiet second line."""
    if not second:
        return format_html("{}", first)
    return format_html('{}<br><span class="grant-quiet">{}</span>', first, second)


def named(name: Any, value: Any) -> SafeString:
    """A value whose name is in the head of its column; where there is no head, beside it."""
    return format_html('<span class="grant-narrow">{} </span>{}', name, value)
