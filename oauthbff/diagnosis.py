"""What a doctor makes of the provider and of this site. Pure.

No I/O and no clock: metadata, keys, headers, settings and measurements are passed
in, `Finding`s come out. Asking is the work of `manage.py oauthbff_doctor`. Every
text of the provider's goes through `plain` before it reaches a terminal.

OIDC Discovery 1.0 §3; RFC 8414 §2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any
from urllib.parse import SplitResult, urlsplit

from . import claims, client_auth
from .conf import SIGNATURE_ALGORITHMS, Conf, Upstream, is_loopback

CLOCK_WARNING_SECONDS = 5
#: As much as the judging of tokens forgives.
CLOCK_PROBLEM_SECONDS = claims.LEEWAY_SECONDS
SHORTEST_SECRET = 8
LONGEST_QUOTE = 200
ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
MORE_ENDPOINTS = (
    "userinfo_endpoint",
    "revocation_endpoint",
    "end_session_endpoint",
    "pushed_authorization_request_endpoint",
)


class Mark(StrEnum):
    OK = "ok"
    #: It works, but less well or less safely than it could.
    WARNING = "warning"
    #: Somebody cannot sign in, or something cannot be called.
    PROBLEM = "problem"


@dataclass(frozen=True, kw_only=True)
class Finding:
    #: Where and what: `provider.pkce`. Stable, for programs that read `--json`.
    check: str
    mark: Mark
    #: What is so, in a sentence.
    fact: str
    #: What to do, where that helps.
    advice: str = ""


def ok(check: str, fact: str, advice: str = "") -> Finding:
    return Finding(check=check, mark=Mark.OK, fact=fact, advice=advice)


def warning(check: str, fact: str, advice: str = "") -> Finding:
    return Finding(check=check, mark=Mark.WARNING, fact=fact, advice=advice)


def problem(check: str, fact: str, advice: str = "") -> Finding:
    return Finding(check=check, mark=Mark.PROBLEM, fact=fact, advice=advice)


def plain(value: Any) -> str:
    """Return foreign text as it may be shown: short, on one line, no control characters."""
    text = "".join(char if char.isprintable() else "?" for char in str(value))
    return text if len(text) <= LONGEST_QUOTE else text[: LONGEST_QUOTE - 1] + "…"


def count(number: int, name: str) -> str:
    return f"{number} {name}" + ("" if number == 1 else "s")


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return the text without any of the secrets, and without users and passwords in URLs."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, "…")
    return re.sub(r"//[^/\s'\"]*@", "//…@", text)


# --- the provider ---


def judge_answer(issuer: str, milliseconds: float, settings: Conf) -> Finding:
    fact = f"{issuer} answered in {milliseconds:.0f} ms."
    if milliseconds > settings.provider_timeout * 500:
        advice = f"OIDC_TIMEOUT is {settings.provider_timeout:g} s: it will be missed now and then."
        return warning("provider.answer", fact, advice)
    return ok("provider.answer", fact)


def judge_metadata(
    document: Mapping[str, Any], settings: Conf, *, method: str | None
) -> list[Finding]:
    """Return what there is to say of the metadata.

    `method` is how the client will authenticate, None when that could not be found out.
    """
    return [
        _issuer(document, settings),
        *_endpoints(document, settings),
        _code_flow(document),
        _pkce(document),
        _algorithm(document, settings),
        _scopes(document, settings),
        _refresh(document),
        *_offline_access(document, settings),
        _client_auth(document, settings, method),
        _par(document, settings),
        _names_itself(document),
        _userinfo(document, settings),
        _revocation(document, method),
        _end_session(document),
    ]


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
    ours, theirs = _split(settings.base_url), _split(settings.issuer)
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


def usable_endpoint(document: Mapping[str, Any], name: str, settings: Conf) -> str | None:
    """Return an endpoint that may be asked: https, or loopback with a loopback issuer."""
    url = document.get(name)
    parts = _split(url) if isinstance(url, str) else None
    if parts is None or not parts.hostname or parts.fragment:
        return None
    here = is_loopback(parts.hostname) and settings.issuer.startswith("http:")
    return str(url) if parts.scheme == "https" or (parts.scheme == "http" and here) else None


def _issuer(document: Mapping[str, Any], settings: Conf) -> Finding:
    said = document.get("issuer")
    if said == settings.issuer:
        return ok("provider.issuer", "It names itself exactly as OIDC_OP_ISSUER does.")
    advice = "Every sign-in will fail. If this is your provider, set OIDC_OP_ISSUER to that."
    fact = f"It names itself {plain(said)!r}, and OIDC_OP_ISSUER is {settings.issuer!r}."
    return problem("provider.issuer", fact, advice)


def _endpoints(document: Mapping[str, Any], settings: Conf) -> Iterator[Finding]:
    check = "provider.endpoints"
    good = True
    for name in (*ENDPOINTS, *MORE_ENDPOINTS):
        url = document.get(name)
        if url is None and name in MORE_ENDPOINTS:
            continue
        if usable_endpoint(document, name, settings) is None:
            good = False
            fact = f"Its {name} is {plain(url)!r}." if url is not None else f"It has no {name}."
            yield problem(check, fact, "It must be an https URL; correct it at the provider.")
    if good:
        kind = "https" if settings.issuer.startswith("https:") else "https or loopback"
        yield ok(check, f"Its endpoints are {kind}.")


def _code_flow(document: Mapping[str, Any]) -> Finding:
    check = "provider.code_flow"
    types = _listed(document, "response_types_supported")
    modes = _listed(document, "response_modes_supported")
    grants = _listed(document, "grant_types_supported")
    if types is not None and "code" not in types:
        fact = f"It does not offer the code flow (response types: {_join(types)})."
    elif grants is not None and "authorization_code" not in grants:
        fact = f"It does not offer the code flow (grant types: {_join(grants)})."
    elif modes is not None and "query" not in modes:
        fact = f"It does not answer in the query (response modes: {_join(modes)})."
    elif types is None:
        return warning(check, "It does not say whether it offers the code flow.")
    else:
        return ok(check, "It offers the code flow.")
    return problem(check, fact, "It is the only flow we use; allow it at the provider.")


def _pkce(document: Mapping[str, Any]) -> Finding:
    check = "provider.pkce"
    methods = _listed(document, "code_challenge_methods_supported")
    if methods is None:
        fact = "It does not advertise PKCE. We send S256 all the same."
        advice = "If it ignores that, state and nonce still protect the code. RFC 9700 §2.1.1."
        return warning(check, fact, advice)
    if "S256" in methods:
        return ok(check, "It supports PKCE with S256.")
    fact = f"Its PKCE has no S256 (methods: {_join(methods)}), and we use no other."
    return problem(check, fact, "It may refuse every sign-in; allow S256 at the provider.")


def _algorithm(document: Mapping[str, Any], settings: Conf) -> Finding:
    check = "provider.algorithm"
    ours = settings.sign_algorithm
    signs = _listed(document, "id_token_signing_alg_values_supported")
    if signs is None:
        fact = "It does not say how it signs ID tokens."
        return warning(check, fact, f"We accept {ours} only (OIDC_RP_SIGN_ALGO).")
    possible = [name for name in SIGNATURE_ALGORITHMS if name in signs]
    if not any(claims.same_algorithm(one, ours) for one in signs):
        fact = f"It does not sign ID tokens with {ours} (it does with: {_join(signs)})."
        if not possible:
            return problem(check, fact, "Every sign-in will fail, and we take none of these.")
        choice = f"Set OIDC_RP_SIGN_ALGO to {' or '.join(possible)}"
        return problem(check, fact, f"Every sign-in will fail. {choice}, as the client has it.")
    advice = ""
    if len(signs) > 1:
        advice = f"The client's id_token_signed_response_alg there must be {ours}, too."
    return ok(check, f"It can sign ID tokens with {ours}.", advice)


def _scopes(document: Mapping[str, Any], settings: Conf) -> Finding:
    check = "provider.scopes"
    ours = ", ".join(settings.scopes)
    known = _listed(document, "scopes_supported")
    if known is None:
        return ok(check, f"It does not list its scopes, and need not. We ask for {ours}.")
    missing = [scope for scope in settings.scopes if scope not in known]
    if missing:
        fact = f"It does not list {_join(missing)} among its scopes."
        advice = "It need not list all. If sign-in fails with invalid_scope, see OIDC_RP_SCOPES."
        return warning(check, fact, advice)
    return ok(check, f"It knows the scopes we ask for: {ours}.")


def _refresh(document: Mapping[str, Any]) -> Finding:
    check = "provider.refresh"
    grants = _listed(document, "grant_types_supported")
    if grants is None:
        fact = "It does not say whether it gives refresh tokens."
        return warning(check, fact, "Without them a sign-in lasts as long as one access token.")
    if "refresh_token" in grants:
        return ok(check, "It supports the refresh_token grant.")
    fact = "It does not support the refresh_token grant."
    return warning(check, fact, "A sign-in lasts as long as one access token; allow it there.")


def _offline_access(document: Mapping[str, Any], settings: Conf) -> Iterator[Finding]:
    check = "provider.offline_access"
    if "offline_access" in settings.scopes:
        fact = "We ask for offline_access, so refresh tokens may outlive the provider's session."
        yield ok(check, fact)
    elif "offline_access" in (_listed(document, "scopes_supported") or ()):
        fact = "There may be no refresh token: it knows offline_access, and we do not ask for it."
        advice = "If people are signed out when an access token expires, add it to OIDC_RP_SCOPES."
        yield warning(check, fact, advice)


def _client_auth(document: Mapping[str, Any], settings: Conf, method: str | None) -> Finding:
    check = "provider.client_auth"
    if method is None:
        fact = "How we would authenticate could not be found out."
        return warning(check, fact, "Ask again when the other problems are solved.")
    known = _listed(document, "token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    if method not in known:
        fact = f"It does not take {method}, which we would use (it takes: {_join(known)})."
        possible = [name for name in client_auth.METHODS if name in known]
        choice = f'Set OAUTHBFF["CLIENT_AUTH"] to {" or ".join(possible)}.' if possible else ""
        return problem(check, fact, f"No code can be exchanged. {choice}".strip())
    if method == "private_key_jwt" and settings.client_key is not None:
        ours = client_auth.algorithm_of(settings.client_key)
        takes = _listed(document, "token_endpoint_auth_signing_alg_values_supported")
        if takes is not None and not any(claims.same_algorithm(one, ours) for one in takes):
            fact = f"It takes no assertion signed with {ours} (it takes: {_join(takes)})."
            return problem(check, fact, 'Set another kind of key as OAUTHBFF["CLIENT_KEY"].')
        return ok(check, f"We authenticate by private_key_jwt, signed with {ours}.")
    return ok(check, f"We authenticate by {method}.", "Its registration must say the same.")


def _par(document: Mapping[str, Any], settings: Conf) -> Finding:
    check = "provider.par"
    offered = document.get("pushed_authorization_request_endpoint") is not None
    required = document.get("require_pushed_authorization_requests") is True
    if required and not offered:
        fact = "It requires pushed authorization requests (PAR) and says not where to push them."
        return problem(check, fact, "Every sign-in will fail; correct its metadata.")
    if settings.par and not offered:
        fact = "It does not offer pushed authorization requests (PAR), which we are to use."
        return problem(check, fact, 'Every sign-in will fail; set OAUTHBFF["PAR"] to False.')
    if required:
        return ok(check, "It requires pushed authorization requests (PAR): we push them.")
    if settings.par:
        return ok(check, 'We push authorization requests (PAR), as OAUTHBFF["PAR"] says.')
    if offered:
        advice = 'OAUTHBFF["PAR"] = True keeps them out of the browser.'
        return ok(check, "It offers pushed authorization requests (PAR).", advice)
    return ok(check, "It does not offer pushed authorization requests (PAR), and need not.")


def _names_itself(document: Mapping[str, Any]) -> Finding:
    check = "provider.iss"
    if document.get("authorization_response_iss_parameter_supported") is True:
        return ok(check, "It names itself in each answer (iss, RFC 9207): we insist on it.")
    return ok(
        check,
        "It does not name itself in its answers (RFC 9207), and need not while it is the only one.",
    )


def _userinfo(document: Mapping[str, Any], settings: Conf) -> Finding:
    check = "provider.userinfo"
    offered = document.get("userinfo_endpoint") is not None
    if settings.userinfo and not offered:
        fact = "It has no UserInfo: what we know of people is what the ID token says."
        return warning(check, fact, 'If that is enough, set OAUTHBFF["USERINFO"] to False.')
    if settings.userinfo:
        return ok(check, "It has UserInfo, which we ask at each sign-in.")
    return ok(check, 'UserInfo is not asked, as OAUTHBFF["USERINFO"] says.')


def _revocation(document: Mapping[str, Any], method: str | None) -> Finding:
    check = "provider.revocation"
    if document.get("revocation_endpoint") is None:
        fact = "It has no revocation endpoint: endings are local only."
        advice = "A refresh token stays good there until it expires; give it a short life."
        return warning(check, fact, advice)
    methods = _listed(document, "revocation_endpoint_auth_methods_supported")
    if methods is not None and method is not None and method not in methods:
        fact = f"Its revocation endpoint does not list {method} (it lists: {_join(methods)})."
        return warning(check, fact, "Endings may remain local only.")
    return ok(check, "It revokes tokens when a grant ends here.")


def _end_session(document: Mapping[str, Any]) -> Finding:
    check = "provider.end_session"
    if document.get("end_session_endpoint") is None:
        fact = "It has no end_session endpoint: signing out ends our session, not the provider's."
        return warning(check, fact, "The next sign-in may pass without a password.")
    return ok(check, "Signing out here can sign people out there, too (end_session).")


# --- this site ---


def judge_misconfigured(problems: Sequence[tuple[str, str, str]]) -> list[Finding]:
    """Pass on what `Misconfigured` or `manage.py check` says: (check id, sentence, hint)."""
    return [
        problem(f"settings.{check.rpartition('.')[2]}", f"{fact} ({check})", hint)
        for check, fact, hint in problems
    ]


def judge_database(vendor: str, unapplied: Sequence[str]) -> Finding:
    """Say whether the tables are there. `unapplied` are migrations as `app.0001_name`."""
    if not unapplied:
        return ok("site.database", f"The database ({vendor}) answers, and is migrated.")
    named = ", ".join(unapplied[:3]) + (" …" if len(unapplied) > 3 else "")
    missing = f"{count(len(unapplied), 'migration')}: {named}"
    fact = f"The database ({vendor}) answers, but misses {missing}."
    advice = "Run `manage.py migrate`."
    if any(one.startswith("oauthbff.") for one in unapplied):
        return problem("site.database", fact, advice)
    return warning("site.database", fact, advice)


def judge_cache(backend: str) -> Finding:
    """Say what the default cache means for several workers. `backend` is its dotted class."""
    kind = backend.rpartition(".")[2]
    if kind == "LocMemCache":
        fact = "The cache is this process's own (LocMemCache)."
        advice = (
            "Correct, but each worker then asks the provider for its metadata and keys by itself, "
            "and throttles count for each worker alone. With several, share one (Redis, say)."
        )
        return warning("site.cache", fact, advice)
    if kind == "DummyCache":
        fact = "The cache keeps nothing (DummyCache)."
        advice = "Metadata and keys are fetched again every few seconds, and throttles never count."
        return warning("site.cache", fact, advice)
    if kind == "FileBasedCache":
        fact = "The cache is shared by the workers of one host (FileBasedCache)."
        return ok("site.cache", fact)
    return ok("site.cache", f"The cache is shared by all workers ({plain(kind)}).")


def judge_sessions(engine: str, backend: str) -> list[Finding]:
    """Say what is wrong when sessions are only in a cache that workers do not share."""
    kind = backend.rpartition(".")[2]
    if engine != "django.contrib.sessions.backends.cache":
        return []
    if kind not in ("LocMemCache", "DummyCache"):
        return []
    fact = f"Sessions are kept in {kind} alone: no other worker sees them."
    advice = "People will be signed in and out by turns. Use a shared cache, or the db engine."
    return [problem("site.sessions", fact, advice)]


def judge_sweeping(overdue: bool) -> Finding:
    if overdue:
        fact = "sweepgrants has not run for a day: there is work that was due before that."
        advice = "Run `manage.py sweepgrants` every few minutes, or with --loop."
        return warning("site.sweeping", fact, advice)
    return ok("site.sweeping", "Nothing waits for sweepgrants for more than a day.")


# --- the APIs ---


def judge_upstream(upstream: Upstream, milliseconds: float | None, why: str = "") -> list[Finding]:
    """Say whether an API can be reached, and how safely.

    `milliseconds` is how long connecting took, None when it failed, then `why`.
    """
    check = f"upstreams.{upstream.name}"
    place = f"{upstream.name} ({upstream.parts.scheme}://{upstream.parts.netloc})"
    found = []
    if milliseconds is None:
        advice = "Calls get 502 or 504. See its url, DNS, the firewall, and whether it is running."
        found.append(problem(check, f"{place} cannot be reached: {why}.", advice))
    else:
        fact = f"{place} takes connections, after {milliseconds:.0f} ms. Nothing was sent."
        found.append(ok(check, fact))
    if upstream.parts.scheme != "https" and not is_loopback(upstream.parts.hostname):
        carries = "Tokens and answers cross" if upstream.token != "none" else "Answers cross"  # noqa: S105
        fact = f"{carries} the network to {upstream.name} in clear (allow_insecure_http)."
        found.append(warning(check, fact, "Use https unless that network is yours alone."))
    return found


# --- small change ---


def _usable(keys: Iterable[Mapping[str, Any]], algorithm: str) -> list[Mapping[str, Any]]:
    return [key for key in keys if claims.fits(key, algorithm, None)]


def _listed(document: Mapping[str, Any], name: str) -> list[str] | None:
    """The strings of a list; None where the provider says nothing, or nonsense."""
    found = document.get(name)
    if not isinstance(found, list):
        return None
    return [one for one in found if isinstance(one, str)]


def _join(words: Sequence[str]) -> str:
    return plain(", ".join(words)) or "nothing"


def _split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url)
    except ValueError:
        return None
