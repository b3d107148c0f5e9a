"""This site, and the APIs that it calls. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from oauthbff.conf import Upstream, is_loopback

from .finding import Finding, count, ok, plain, problem, warning


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
