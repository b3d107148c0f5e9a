"""Our own side: public origin, header of our calls, sessions, users, the lane's store.

E010, E011, E027, E028, E056.
"""

from __future__ import annotations

from datetime import date, datetime
from importlib.util import find_spec

from django.conf import settings

from .reading import HEADER_NAME, Reading, is_loopback, origin_of, split_url

#: What a foreign page can send without a preflight, and what no page can send.
#: Fetch Standard §2.2.2, "CORS-safelisted request-header" and "forbidden request-header".
NO_PROOF = frozenset(
    """
    accept accept-charset accept-encoding accept-language connection content-language
    content-length content-type cookie cookie2 date dnt expect host keep-alive origin range
    referer set-cookie te trailer transfer-encoding upgrade via
    """.split()
)
NO_PROOF_PREFIXES = ("access-control-request-", "proxy-", "sec-")
STORES = ("redis://", "rediss://", "unix://")
SIGNED_COOKIES = "django.contrib.sessions.backends.signed_cookies"


def base_url(read: Reading) -> str:
    value = read.given.get("BASE_URL")
    hint = 'Set it to the site\'s public origin, such as "https://app.example.com".'
    if not isinstance(value, str) or not value:
        read.say("E010", 'OAUTHBFF["BASE_URL"] is not set.', hint)
        return ""
    value = value.rstrip("/")
    parts = split_url(value)
    if (
        parts is None
        or parts.scheme not in ("https", "http")
        or not parts.hostname
        or parts.path
        or "?" in value
        or "#" in value
        or parts.username is not None
        or not value.isascii()  # browsers write xn--… into `Origin`
    ):
        read.say("E010", f'OAUTHBFF["BASE_URL"] is {value!r}: not an origin.', hint)
    elif parts.scheme == "http" and not is_loopback(parts.hostname):
        hint = "Cookies and pages would cross the network in clear. Use https."
        read.say("E011", f'OAUTHBFF["BASE_URL"] is {value!r}: http is for loopback.', hint)
    return origin_of(parts) if parts is not None else ""


def header(read: Reading) -> str:
    value = read.given.get("HEADER", read.default("header"))
    if not isinstance(value, str) or not HEADER_NAME.fullmatch(value) or "_" in value:
        read.say(
            "E002",
            'OAUTHBFF["HEADER"] is not a header name.',
            f"Use letters, digits and -, not {value!r}.",
        )
        return str(read.default("header"))
    if value.lower() in NO_PROOF or value.lower().startswith(NO_PROOF_PREFIXES):
        hint = (
            "Only what a page must ask leave for proves that it is ours: a name of your own, X-…."
        )
        read.say("E002", f'OAUTHBFF["HEADER"] is {value!r}, which proves nothing.', hint)
    return value


def lane_store(read: Reading) -> str:
    value = read.given.get("LANE_STORE", "")
    if value == "":
        return ""
    if not isinstance(value, str) or not value.startswith(STORES):
        hint = 'The address of a Redis, as "redis://redis.internal:6379/1".'
        read.say("E056", 'OAUTHBFF["LANE_STORE"] is not an address of a Redis.', hint)
        return ""
    if find_spec("redis") is None:
        read.say("E056", 'OAUTHBFF["LANE_STORE"] needs redis.', "pip install oauthbff[lane]")
    return value


def match_email_until(read: Reading) -> date | None:
    value = read.given.get("MATCH_EMAIL_UNTIL")
    if value is None or (isinstance(value, date) and not isinstance(value, datetime)):
        return value
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        hint = f'Write the last day of the move, as "2027-01-31", not {value!r}.'
        read.say("E028", 'OAUTHBFF["MATCH_EMAIL_UNTIL"] is not a day.', hint)
        return None


def check_session_engine(read: Reading) -> None:
    """Sessions must be on the server, where they can be ended."""
    if settings.SESSION_ENGINE == SIGNED_COOKIES:
        sentence = "SESSION_ENGINE keeps sessions in the cookie: they could not be ended here."
        read.say("E027", sentence, "Use the db, cached_db, cache or file engine.")
