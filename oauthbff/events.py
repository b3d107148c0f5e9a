"""What happens, each thing declared once: its name, level, fields and meaning.

    events.grant_ended(grant=pk, reason="logout", by=user_id)

writes one line on the logger `oauthbff.<room>`, `grant_ended grant=… reason=logout …`, with
the same fields as `extra` for formatters that know structure. Beside its fields each has
`event` and, inside a request, `request_id`. No token, code, cookie or body is ever a field,
and whatever a stranger wrote is escaped and cut. ASVS 16.2, 16.3.
"""

from __future__ import annotations

import json
import logging
import re
import traceback
from dataclasses import dataclass
from logging import ERROR, INFO, WARNING
from typing import Any

from . import correlation, telemetry

LONGEST = 300  # characters of one field
_BARE = re.compile(r"[\w.:/@+,-]+", re.ASCII)


@dataclass(frozen=True)
class Event:
    """Call it to say that it has happened. `why`, if it has one, is the first argument."""

    room: str
    level: int
    name: str
    fields: tuple[str, ...]
    #: What it means, for the reader of the catalogue.
    sentence: str

    def __call__(self, why: object = None, *, trace: bool = False, **fields: object) -> None:
        """Write it down; with `trace` the traceback follows, as text.

        Never as `exc_info`: what mails errors to admins shows the variables of each frame.
        """
        telemetry.count(self.name, fields)
        logger = logging.getLogger(f"oauthbff.{self.room}")
        if not logger.isEnabledFor(self.level):
            return
        said: dict[str, Any] = {} if why is None else {"why": _shown(why)}
        said |= {key: _shown(value) for key, value in fields.items() if value is not None}
        if correlation.current():
            said["request_id"] = correlation.current()
        text = " ".join([self.name, *(f"{key}={_quoted(value)}" for key, value in said.items())])
        if trace:
            text += f"\n{traceback.format_exc()}"
        logger.log(self.level, "%s", text, extra={"event": self.name, **said})


def _shown(value: object) -> Any:
    return value if isinstance(value, bool | int | float) else str(value)[:LONGEST]


def _quoted(value: Any) -> str:
    text = str(value)
    return text if _BARE.fullmatch(text) else json.dumps(text)


CATALOGUE: dict[str, Event] = {}


def _declare(room: str, level: int, name: str, fields: str, sentence: str) -> Event:
    event = CATALOGUE[name] = Event(room, level, name, tuple(fields.split()), sentence)
    return event


# --- signing in and out ---

login_succeeded = _declare(
    "login", INFO, "login_succeeded", "user grant ip", "Somebody has signed in."
)
login_failed = _declare(
    "login",
    WARNING,
    "login_failed",
    "why code ip",
    "A sign-in came to nothing; `code` is what the browser was told.",
)
login_broke = _declare(
    "login", ERROR, "login_broke", "", "A sign-in ended in an error of ours. With a traceback."
)
user_claims_conflict = _declare(
    "login",
    WARNING,
    "user_claims_conflict",
    "user",
    "A returning user's claims collide with another user's; they were left as they are.",
)
identity_linked = _declare(
    "login",
    INFO,
    "identity_linked",
    "user how",
    "A user of old was tied to a person at the provider: by verified e-mail, or by linkuser.",
)
provider_session_stays = _declare(
    "login",
    WARNING,
    "provider_session_stays",
    "why",
    "Signed out here; where to end the provider's own session could not be found out.",
)
backchannel_logout = _declare(
    "security", INFO, "backchannel_logout", "ended", "The provider has signed somebody out."
)
logout_token_refused = _declare(
    "security",
    WARNING,
    "logout_token_refused",
    "why ip",
    "A logout token was refused: forged, replayed, or its keys could not be had.",
)

# --- grants ---

grant_issued = _declare("grants", INFO, "grant_issued", "grant user", "A grant was stored.")
grant_ended = _declare(
    "grants",
    INFO,
    "grant_ended",
    "grant reason by note",
    "A grant has ended, why, and by whom if a person did it.",
)
grant_refreshed = _declare(
    "grants", INFO, "grant_refreshed", "grant resource", "New tokens were stored."
)
refresh_failed = _declare(
    "grants",
    WARNING,
    "refresh_failed",
    "why grant retry_in",
    "The provider did not give new tokens; the grant stands and is tried again.",
)
refresh_refused = _declare(
    "grants",
    WARNING,
    "refresh_refused",
    "grant",
    "The provider said invalid_grant: revoked or expired there, or the token was used by "
    "somebody else. The grant ends.",
)
refresh_answer_lost = _declare(
    "grants",
    WARNING,
    "refresh_answer_lost",
    "grant",
    "The answer to a refresh was lost on its way; it is asked for once more.",
)
refresh_outlived_grant = _declare(
    "grants",
    WARNING,
    "refresh_outlived_grant",
    "grant",
    "A grant ended while it was refreshed; the new tokens are given back.",
)
refresh_broke = _declare(
    "grants", ERROR, "refresh_broke", "grant", "A refresh ended in an error of ours."
)
old_token_serves = _declare(
    "grants",
    WARNING,
    "old_token_serves",
    "why grant",
    "A refresh failed while the old token was still valid: nobody noticed.",
)
refreshed_identity_refused = _declare(
    "grants",
    WARNING,
    "refreshed_identity_refused",
    "why grant",
    "A refresh brought an ID token that breaks a rule, such as another person's. The grant ends.",
)
refreshed_identity_unverified = _declare(
    "grants",
    WARNING,
    "refreshed_identity_unverified",
    "grant",
    "A refreshed ID token was left out: the provider's keys could not be had.",
)
token_not_given_back = _declare(
    "grants",
    WARNING,
    "token_not_given_back",
    "why grant",
    "A token that was not kept could not be revoked just now.",
)
ending_unfinished = _declare(
    "grants",
    ERROR,
    "ending_unfinished",
    "count",
    "Grants have ended, and what follows broke; `sweepgrants` does the rest.",
)
provider_told = _declare(
    "grants", INFO, "provider_told", "grant state", "The revocation of a grant has come to its end."
)
provider_not_told = _declare(
    "grants",
    WARNING,
    "provider_not_told",
    "why grant retry_in",
    "The provider did not confirm a revocation; it is told again later.",
)
grant_viewed = _declare(
    "grants", INFO, "grant_viewed", "grant by", "Somebody of the staff has looked at a grant."
)
grants_rekeyed = _declare(
    "grants",
    INFO,
    "grants_rekeyed",
    "key resealed broken",
    "`rekeygrants` has sealed grants with the first key.",
)

# --- calls ---

csrf_failed = _declare(
    "security",
    WARNING,
    "csrf_failed",
    "why method path ip",
    "A call was not made by our own page. Nothing was looked up.",
)
call_refused = _declare(
    "security",
    WARNING,
    "call_refused",
    "why code method path ip",
    "A call was not forwarded: its path, method, body or permission. Nothing was sent.",
)
view_broke = _declare(
    "security",
    ERROR,
    "view_broke",
    "method path ip",
    "A door ended in an error that nobody foresaw: ours, or of a permission of the site's.",
)
cookie_ambiguous = _declare(
    "security",
    WARNING,
    "cookie_ambiguous",
    "why ip",
    "The Cookie header can be read in two ways: treated as no session.",
)
token_refused_upstream = _declare(
    "proxy",
    WARNING,
    "token_refused_upstream",
    "why grant",
    "An API refused a token, and no new one was to be had.",
)
upstream_failed = _declare(
    "proxy", WARNING, "upstream_failed", "why code upstream", "An API could not be reached in time."
)
upstream_full = _declare(
    "proxy",
    WARNING,
    "upstream_full",
    "upstream kind",
    "All places of an API are taken; further calls are refused until one is free.",
)
circuit_opened = _declare(
    "proxy",
    WARNING,
    "circuit_opened",
    "upstream retry_in",
    "An API does not answer: calls to it are refused at once for a while.",
)
circuit_tried = _declare(
    "proxy", INFO, "circuit_tried", "upstream", "One call tries whether an API answers again."
)
circuit_closed = _declare("proxy", INFO, "circuit_closed", "upstream", "An API answers again.")
place_hook_broke = _declare(
    "login", ERROR, "place_hook_broke", "", "The site's PLACE_HOOK broke. With a traceback."
)
streams_cut = _declare(
    "proxy", INFO, "streams_cut", "count", "Open streams were cut: their grants have ended."
)
streams_unwatched = _declare(
    "proxy",
    WARNING,
    "streams_unwatched",
    "count",
    "Whether the grants of open streams still stand could not be asked.",
)
lane_serves = _declare(
    "lane", INFO, "lane_serves", "of", "Where the lane of this process finds sessions and grants."
)
lane_database_away = _declare(
    "lane",
    WARNING,
    "lane_database_away",
    "why",
    "The lane could not ask the database; Django serves meanwhile.",
)
lane_store_away = _declare(
    "lane",
    WARNING,
    "lane_store_away",
    "why",
    "The lane's shared store did not answer; the database is asked meanwhile, and endings wait.",
)
