"""Counters, histograms and spans, through OpenTelemetry's API where it is installed.

Without it (`pip install oauthbff[otel]`) each function here returns at once. Knows
nothing of the house: names and numbers come in, docs/metrics.md lists them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

try:
    from opentelemetry import metrics, propagate, trace
except ImportError:  # zero cost: no meter, no tracer, no call
    AVAILABLE = False
else:
    AVAILABLE = True
    _meter = metrics.get_meter("oauthbff")
    _tracer = trace.get_tracer("oauthbff")

#: Metric → (kind, unit, what it says, its attributes).
METRICS: dict[str, tuple[str, str, str, str]] = {
    "oauthbff.sign_ins": ("counter", "1", "Sign-ins that came to an end.", "result, code"),
    "oauthbff.refreshes": ("counter", "1", "Questions for new tokens, by what came.", "result"),
    "oauthbff.refresh.wait": (
        "histogram",
        "s",
        "How long calls waited for a token that was due, whoever fetched it.",
        "",
    ),
    "oauthbff.upstream.duration": (
        "histogram",
        "s",
        "From sending a call until the head of the answer. `status` 0: none came.",
        "upstream, status",
    ),
    "oauthbff.refusals": ("counter", "1", "Calls that we refused, by our own code.", "code"),
    "oauthbff.endings": ("counter", "1", "Grants that ended.", "reason"),
    "oauthbff.revocations": ("counter", "1", "Answers to telling the provider.", "state"),
    "oauthbff.grants.active": ("gauge", "1", "Grants that stand; counted once a minute.", ""),
    "oauthbff.revocation.backlog": (
        "gauge",
        "1",
        "Ended grants whose provider was not told yet; counted once a minute.",
        "",
    ),
}
#: Event → (counter, fixed attributes, fields that become attributes).
COUNTED: dict[str, tuple[str, dict[str, str], tuple[str, ...]]] = {
    "login_succeeded": ("oauthbff.sign_ins", {"result": "ok"}, ()),
    "login_failed": ("oauthbff.sign_ins", {"result": "failed"}, ("code",)),
    "grant_refreshed": ("oauthbff.refreshes", {"result": "ok"}, ()),
    "refresh_failed": ("oauthbff.refreshes", {"result": "unavailable"}, ()),
    "refresh_refused": ("oauthbff.refreshes", {"result": "refused"}, ()),
    "refreshed_identity_refused": ("oauthbff.refreshes", {"result": "wrong_identity"}, ()),
    "refresh_broke": ("oauthbff.refreshes", {"result": "broke"}, ()),
    "grant_ended": ("oauthbff.endings", {}, ("reason",)),
    "provider_told": ("oauthbff.revocations", {}, ("state",)),
    "provider_not_told": ("oauthbff.revocations", {"state": "pending"}, ()),
}
#: Spans: one for each question to the provider and each call of an upstream.
SPANS = {
    "oauthbff.provider": "One question to the provider: `http.request.method`, `url.path`.",
    "oauthbff.upstream": "One call of an API: `http.request.method`, `oauthbff.upstream`. The "
    "path is not told: it may hold personal data.",
}


def _instruments() -> dict[str, Any]:
    if not AVAILABLE:
        return {}
    make: dict[str, Any] = {"counter": _meter.create_counter, "histogram": _meter.create_histogram}
    return {
        name: make[kind](name, unit=unit, description=says)
        for name, (kind, unit, says, _) in METRICS.items()
        if kind in make
    }


_made = _instruments()


def count(event: str, fields: Mapping[str, object]) -> None:
    """Count an event that has a counter."""
    if AVAILABLE and event in COUNTED:
        name, fixed, labels = COUNTED[event]
        told = {label: str(fields[label]) for label in labels if label in fields}
        _made[name].add(1, {**fixed, **told})


def refused(code: str) -> None:
    if AVAILABLE:
        _made["oauthbff.refusals"].add(1, {"code": code})


def waited(seconds: float) -> None:
    """A call has waited for a token that was due."""
    if AVAILABLE:
        _made["oauthbff.refresh.wait"].record(seconds)


@dataclass
class Call:
    """One call of an upstream; `status` stays 0 if no answer comes."""

    status: int = 0


@contextlib.contextmanager
def calling(upstream: str, method: str, headers: list[tuple[str, str]]) -> Iterator[Call]:
    """Time a call of an upstream until the head of its answer, in a span of its own.

    In a trace, `traceparent` in `headers` becomes that of the span.
    """
    call = Call()
    if not AVAILABLE:
        yield call
        return
    started = time.monotonic()
    asked = {"http.request.method": method, "oauthbff.upstream": upstream}
    try:
        with span("oauthbff.upstream", **asked):
            carried: dict[str, str] = {}
            propagate.inject(carried)
            headers[:] = [pair for pair in headers if pair[0].lower() not in carried]
            headers += carried.items()
            yield call
    finally:
        attributes = {"upstream": upstream, "status": call.status}
        _made["oauthbff.upstream.duration"].record(time.monotonic() - started, attributes)


def span(name: str, **attributes: str) -> AbstractContextManager[Any]:
    """A client span around what follows."""
    if not AVAILABLE:
        return contextlib.nullcontext()
    return _tracer.start_as_current_span(name, kind=trace.SpanKind.CLIENT, attributes=attributes)


def observe(name: str, ask: Callable[[], int | None]) -> None:
    """Let a gauge be asked whenever metrics are collected; None: not known just now."""
    if not AVAILABLE:
        return

    def look(_: Any) -> Iterable[Any]:
        value = ask()
        return [] if value is None else [metrics.Observation(value)]

    _, unit, says, _ = METRICS[name]
    _meter.create_observable_gauge(name, callbacks=[look], unit=unit, description=says)
