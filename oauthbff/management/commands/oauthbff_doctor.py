"""manage.py oauthbff_doctor: does this site fit its provider, and what is to be done?

Asks; `oauthbff.diagnosis` judges. Sends nothing to an API, changes nothing, signs
nobody in, and shows no secret.
"""

from __future__ import annotations

import json
import ssl
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.core.management.base import BaseCommand
from django.db import connections, router
from django.db.migrations.executor import MigrationExecutor
from django.urls import reverse
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
)

from oauthbff import checks, diagnosis, provider, upstream
from oauthbff.conf import Conf, Upstream, conf
from oauthbff.diagnosis import Finding, Mark
from oauthbff.errors import Misconfigured, ProviderError, ProviderNonsense
from oauthbff.models import TokenGrant

HEADINGS = {
    "settings": "Settings",
    "provider": "Provider",
    "site": "This site",
    "upstreams": "Upstreams",
}
REACH = (
    "See OIDC_OP_ISSUER, DNS, the firewall, and whether this host trusts the provider's "
    "certificate. Redirects and proxies are not followed."
)


class Command(BaseCommand):
    help = (
        "Ask the provider and the APIs whether they fit the settings, and say what fits, what is "
        "missing and what to set. Changes nothing and shows no secret. Status 0: nothing worse "
        "than warnings; 1: problems."
    )
    #: It has to work where the settings do not.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--json",
            action="store_true",
            help="print a list of {check, mark, fact, advice}; mark is ok, warning or problem",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        findings: list[Finding] = []
        for finding in examine():
            if not options["json"]:
                self.say(finding, findings[-1] if findings else None)
            findings.append(finding)
        problems = sum(one.mark is Mark.PROBLEM for one in findings)
        warnings = sum(one.mark is Mark.WARNING for one in findings)
        if options["json"]:
            self.stdout.write(json.dumps([asdict(one) for one in findings], indent=2))
        else:
            sums = diagnosis.count(problems, "problem"), diagnosis.count(warnings, "warning")
            self.stdout.write(f"\n{', '.join(sums)}.")
        if problems:
            sys.exit(1)

    def say(self, finding: Finding, before: Finding | None) -> None:
        section = finding.check.partition(".")[0]
        if before is None or before.check.partition(".")[0] != section:
            self.stdout.write(("\n" if before else "") + HEADINGS[section])
        style = {
            Mark.OK: self.style.SUCCESS,
            Mark.WARNING: self.style.WARNING,
            Mark.PROBLEM: self.style.ERROR,
        }[finding.mark]
        self.stdout.write(f"  {style(f'{finding.mark:<8}')} {finding.fact}")
        if finding.advice:
            self.stdout.write(f"  {'':8} {finding.advice}")
        self.stdout.flush()


def examine() -> Iterator[Finding]:
    """Yield every finding, without secrets, as soon as it is known."""
    hidden = secrets()
    for finding in _examine():
        yield Finding(
            check=finding.check,
            mark=finding.mark,
            fact=diagnosis.redact(finding.fact, hidden),
            advice=diagnosis.redact(finding.advice, hidden),
        )


def _examine() -> Iterator[Finding]:
    try:
        current = conf()
        wrong = [
            (str(one.id), str(one.msg), str(one.hint or ""))
            for one in checks.check_site(None)
            if one.is_serious()
        ]
    except Misconfigured as exc:
        yield from diagnosis.judge_misconfigured(exc.problems)
        return
    except Exception as exc:  # an empty SECRET_KEY, say: Django refuses to give it
        fact = f"Django's settings cannot be read: {type(exc).__name__}."
        yield diagnosis.problem("settings.django", fact, "See what `manage.py check` says.")
        return
    yield from diagnosis.judge_misconfigured(wrong)
    if not wrong:
        yield diagnosis.ok("settings.valid", "The settings are valid.")
    yield from look_at_provider(current)
    yield from look_at_site()
    if not current.upstreams:
        fact = "No API is configured: nothing can be called through api/."
        yield diagnosis.warning("upstreams.none", fact, 'Add one to OAUTHBFF["UPSTREAMS"].')
    for row in current.upstreams.values():
        yield from look_at_upstream(row)


# --- the provider ---


def look_at_provider(current: Conf) -> Iterator[Finding]:
    addresses = our_addresses(current)
    yield from ask_provider(current, addresses)
    if addresses is None:
        fact = "The site's URLs do not lead to oauthbff's doors."
        advice = 'Add path("bff/", include("oauthbff.urls")) to urls.py, and see that it loads.'
        yield diagnosis.problem("provider.redirect_uri", fact, advice)
    else:
        yield from diagnosis.judge_addresses(addresses["callback"], addresses["logged-out"])


def ask_provider(current: Conf, addresses: Mapping[str, str] | None) -> Iterator[Finding]:
    """Ask afresh: what the site remembers may be an hour old."""
    issuer = current.issuer
    started = time.monotonic()
    try:
        document, headers = fetch(issuer.rstrip("/") + provider.WELL_KNOWN)
    except ProviderError as exc:
        fact = f"{issuer} gave no metadata: {exc}."
        yield diagnosis.problem("provider.answer", fact, REACH)
        return
    yield diagnosis.judge_answer(issuer, (time.monotonic() - started) * 1000, current)
    yield diagnosis.judge_clock(headers, time.time())
    if "revocation_endpoint" not in document:
        document = {**provider.oauth_metadata(issuer), **document}
    yield from diagnosis.judge_metadata(document, current, method=auth_method())
    yield look_at_keys(document, current)
    if addresses is not None:
        yield diagnosis.judge_backchannel(document, current, addresses["backchannel-logout"])


def look_at_keys(document: Mapping[str, Any], current: Conf) -> Finding:
    address = diagnosis.usable_endpoint(document, "jwks_uri", current)
    if address is None:
        return diagnosis.problem("provider.keys", "There is no usable address to get keys from.")
    try:
        keys = provider.keys_now(address)
    except ProviderError as exc:
        fact = f"Its keys could not be had: {exc}."
        return diagnosis.problem("provider.keys", fact, "Every sign-in will fail.")
    return diagnosis.judge_keys(keys, current)


def fetch(url: str) -> tuple[dict[str, Any], Mapping[str, str]]:
    """Return a JSON document and the headers it came with, past every cache of ours."""
    answer = provider.look(url)
    if answer.status != 200:
        raise ProviderNonsense(f"status {answer.status} instead of a document")
    document = answer.json()
    if not isinstance(document, dict):
        raise ProviderNonsense("the document is not a JSON object")
    return document, answer.headers


def auth_method() -> str | None:
    try:
        return provider.auth_method()
    except Exception:  # ProviderError, or whatever a cache raises that is down
        return None


def our_addresses(current: Conf) -> dict[str, str] | None:
    """Our URLs for the provider's registration; None where urls.py does not have them."""
    try:
        return {
            name: current.base_url + reverse(f"oauthbff:{name}")
            for name in ("callback", "logged-out", "backchannel-logout")
        }
    except Exception:  # whatever a broken urls.py raises
        return None


# --- this site ---


def look_at_site() -> Iterator[Finding]:
    database = look_at_database()
    yield database
    caches = settings.CACHES
    yield look_at_cache(caches.get("default", {}).get("BACKEND", ""))
    sessions = caches.get(settings.SESSION_CACHE_ALIAS, {}).get("BACKEND", "")
    yield from diagnosis.judge_sessions(settings.SESSION_ENGINE, sessions)
    if database.mark is not Mark.PROBLEM:
        yield diagnosis.judge_sweeping(checks.sweeping_is_overdue())


def look_at_database() -> Finding:
    try:
        connection = connections[router.db_for_read(TokenGrant)]
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except Exception as exc:  # a missing driver, a wrong password, a server that is down
        fact = f"The database cannot be used: {type(exc).__name__}."
        return diagnosis.problem("site.database", fact, "See DATABASES, and whether it is running.")
    unapplied = [f"{migration.app_label}.{migration.name}" for migration, _ in plan]
    return diagnosis.judge_database(connection.vendor, unapplied)


def look_at_cache(backend: str) -> Finding:
    try:
        cache.get("oauthbff.doctor")
    except Exception as exc:  # each cache has its own errors
        fact = f"The cache does not answer: {type(exc).__name__}."
        advice = "Nobody can sign in meanwhile. See CACHES, and whether it is running."
        return diagnosis.problem("site.cache", fact, advice)
    return diagnosis.judge_cache(backend)


# --- the APIs ---


def look_at_upstream(row: Upstream) -> list[Finding]:
    """Connect as the proxy would, TLS and all, and hang up."""
    started = time.monotonic()
    try:
        upstream.reach(row)
    except (HTTPError, OSError, ValueError) as exc:
        return diagnosis.judge_upstream(row, None, why_not(exc))
    return diagnosis.judge_upstream(row, (time.monotonic() - started) * 1000)


def why_not(exc: Exception) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted ({exc.verify_message})"
    if isinstance(exc, ssl.SSLError):
        return "the TLS handshake failed"
    if isinstance(exc, NameResolutionError):
        return "its name is not known"
    if isinstance(exc, NewConnectionError):  # before its parent, which it is in some versions
        return "nothing listens there, or there is no way to it"
    if isinstance(exc, ConnectTimeoutError | TimeoutError):
        return "nobody answered in time"
    return f"no connection ({type(exc).__name__})"


# --- what must not be shown ---


def secrets() -> list[str]:
    """Every secret the settings hold. None should come near the output; none gets through."""
    given = getattr(settings, "OAUTHBFF", None)
    ours = given if isinstance(given, Mapping) else {}
    keys = ours.get("KEYS")
    found: list[object] = [
        getattr(settings, "OIDC_RP_CLIENT_SECRET", None),
        ours.get("CLIENT_KEY"),
        *(keys.values() if isinstance(keys, Mapping) else ()),
        *(database.get("PASSWORD") for database in settings.DATABASES.values()),
    ]
    try:
        found.append(settings.SECRET_KEY)
    except Exception:  # empty: Django refuses to give it
        found.append(None)
    return [secret for secret in found if isinstance(secret, str)]
