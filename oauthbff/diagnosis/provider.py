"""How the provider behaves, and what it has to know of us. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

from oauthbff import claims
from oauthbff.conf import SIGNATURE_ALGORITHMS, Conf, is_loopback

from .finding import Finding, count, ok, problem, warning
from .metadata import split

CLOCK_WARNING_SECONDS = 5
#: As much as the judging of tokens forgives.
CLOCK_PROBLEM_SECONDS = claims.LEEWAY_SECONDS


def judge_answer(issuer: str, milliseconds: float, settings: Conf) -> Finding:
    fact = f"{issuer} answered in {milliseconds:.0f} ms."
    if milliseconds > settings.provider_timeout * 500:
        advice = f"OIDC_TIMEOUT is {settings.provider_timeout:g} s: it will be missed now and then."
        return warning("provider.answer", fact, advice)
    return ok("provider.answer", fact)


def judge_keys(keys: Sequence[Mapping[str, Any]], settings: Conf) -> Finding:
    """Say how many of the provider's keys can verify our tokens."""
    ours = settings.sign_algorithm
    usable = len(_usable(keys, ours))
    if usable:
        return ok("provider.keys", f"{usable} of its {count(len(keys), 'key')} can verify {ours}.")
    others = [name for name in SIGNATURE_ALGORITHMS if _usable(keys, name)]
    advice = "Every sign-in will fail. "
    advice += f"Its keys fit {', '.join(others)}." if others else "None fits any algorithm we take."
    return problem(
        "provider.keys", f"None of its {count(len(keys), 'key')} can verify {ours}.", advice
    )


def judge_clock(headers: Mapping[str, str], now: float) -> Finding:
    """Compare our clock with the provider's `Date`. `now` is Unix time. RFC 9110 §6.6.1."""
    check = "provider.clock"
    advice = "Run NTP on both hosts."
    try:
        there = parsedate_to_datetime(headers.get("date", "")).timestamp()
    except (ValueError, TypeError, OverflowError):
        return warning(check, "The provider sends no Date: the clocks are not compared.", advice)
    age = headers.get("age", "")  # a copy from a cache on the way. RFC 9111 §5.1
    ours = now - there - (int(age[:9]) if age.isascii() and age.isdigit() else 0)
    difference = abs(ours)
    if difference <= CLOCK_WARNING_SECONDS:
        return ok(check, "Our clock and the provider's agree to within a few seconds.")
    fact = f"Our clock is {difference:.0f} s {'ahead of' if ours > 0 else 'behind'} the provider's."
    if difference <= CLOCK_PROBLEM_SECONDS:
        return warning(check, fact, f"{CLOCK_PROBLEM_SECONDS} s are forgiven. {advice}")
    refused = f"More than {CLOCK_PROBLEM_SECONDS} s: good tokens are refused as too old or too new."
    return problem(check, fact, f"{refused} {advice}")


def judge_backchannel(document: Mapping[str, Any], settings: Conf, url: str) -> Finding:
    """Say whether the provider will tell us of logouts. OIDC Back-Channel Logout 1.0 §2.1."""
    check = "provider.backchannel_logout"
    register = f"Register {url} as backchannel_logout_uri"
    if document.get("backchannel_logout_supported") is not True:
        fact = "It does not tell of logouts: a session that ends there stands here for a while."
        return warning(check, fact, "We notice when a refresh is refused, or at a timeout.")
    ours, theirs = split(settings.base_url), split(settings.issuer)
    if ours and theirs and is_loopback(ours.hostname) and not is_loopback(theirs.hostname):
        fact = f"It tells of logouts, but cannot reach {url} from where it is."
        return warning(check, fact, "Nothing to do while this is a machine for development.")
    if document.get("backchannel_logout_session_supported") is not True:
        fact = "It tells of logouts, but not of which session: all of a person's end."
        return warning(check, fact, f"{register}.")
    advice = f"{register}, with backchannel_logout_session_required."
    return ok(check, "It tells of logouts, session by session.", advice)


def judge_addresses(redirect_uri: str, post_logout_redirect_uri: str) -> list[Finding]:
    """Say what the provider's registration of this client must contain, to the letter."""
    return [
        ok(
            "provider.redirect_uri",
            f"Our redirect URI is {redirect_uri}",
            "Register exactly this. Providers compare it letter by letter.",
        ),
        ok(
            "provider.post_logout_redirect_uri",
            f"Our post-logout redirect URI is {post_logout_redirect_uri}",
            "Register exactly this, so that people come back after signing out.",
        ),
    ]


def _usable(keys: Iterable[Mapping[str, Any]], algorithm: str) -> list[Mapping[str, Any]]:
    return [key for key in keys if claims.fits(key, algorithm, None)]
