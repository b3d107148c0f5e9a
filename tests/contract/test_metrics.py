"""What OpenTelemetry is told, read from its SDK's own memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from oauthbff import events, grants, provider, telemetry
from oauthbff.claims import judge_token_response
from oauthbff.models import EndReason, TokenGrant
from oauthbff.testing.provider import StrictProvider
from tests.support.upstream import RecordingUpstream, answer

pytestmark = pytest.mark.django_db(transaction=True)
OURS = {"HTTP_X_BFF": "1", "HTTP_SEC_FETCH_SITE": "same-origin"}


@pytest.fixture(scope="module")
def otel() -> Iterator[tuple[InMemoryMetricReader, InMemorySpanExporter]]:
    """The SDK, set up once for this process as a site would."""
    reader, spans = InMemoryMetricReader(), InMemorySpanExporter()
    metrics.set_meter_provider(MeterProvider([reader]))
    tracing = TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(tracing)
    yield reader, spans


def points(reader: InMemoryMetricReader) -> dict[str, list[tuple[dict[str, Any], Any]]]:
    """Metric → (attributes, value or count) of each of its points."""
    found: dict[str, list[tuple[dict[str, Any], Any]]] = {}
    data = reader.get_metrics_data()
    for resource in data.resource_metrics if data else ():
        for metric in (one for scope in resource.scope_metrics for one in scope.metrics):
            found[metric.name] = [
                (dict(point.attributes), getattr(point, "value", getattr(point, "count", None)))
                for point in metric.data.data_points
            ]
    return found


def sign_in(strict: StrictProvider) -> tuple[Client, TokenGrant]:
    client, user = Client(), User.objects.create_user("jane")
    client.force_login(user)
    grant = grants.issue(
        user=user,
        tokens=judge_token_response(strict.sign_in("jane")),
        subject="jane",
        sid="",
        authenticated_at=timezone.now(),
        shown_claims={},
        session_key=str(client.session.session_key),
        ip=None,
        user_agent="",
    )
    session = client.session
    session[grants.HANDLE] = str(grant.pk)
    session.save()
    return client, grant


def call(client: Client) -> int:
    """Call an API and read the answer to its end."""
    response = client.get("/bff/api/photos/1", **OURS)
    b"".join(response.streaming_content)
    response.close()
    return response.status_code


def test_a_life_in_numbers(
    otel: tuple[InMemoryMetricReader, InMemorySpanExporter],
    upstream: RecordingUpstream,
    settings: Any,
):
    reader, spans = otel
    with StrictProvider("client", "secret") as strict:
        settings.OIDC_OP_ISSUER = strict.issuer
        route = {"photos": {"url": f"{upstream.url}/photos/"}}
        settings.OAUTHBFF = settings.OAUTHBFF | {"UPSTREAMS": route}
        client, grant = sign_in(strict)
        cache.clear()
        spans.clear()
        upstream.on("/photos/1", answer(b"{}", headers=[("Connection", "close")]))
        assert call(client) == 200
        TokenGrant.objects.update(access_expires_at=timezone.now() - timedelta(seconds=1))
        assert call(client) == 200
        assert client.get("/bff/api/nowhere/1", **OURS).status_code == 404
        assert client.get("/bff/api/photos/1").status_code == 403
        events.login_failed("why", code="access_denied", ip=None)
        before = points(reader)
        grants.end(TokenGrant.objects.filter(pk=grant.pk), reason=EndReason.LOGOUT)
        after = points(reader)
        provider.pool().clear()

    assert before["oauthbff.refreshes"] == [({"result": "ok"}, 1)]
    assert before["oauthbff.refresh.wait"] == [({}, 1)]
    assert before["oauthbff.upstream.duration"] == [({"upstream": "photos", "status": 200}, 2)]
    assert ({"code": "no_such_upstream"}, 1) in before["oauthbff.refusals"]
    assert ({"code": "csrf_failed"}, 1) in before["oauthbff.refusals"]
    assert before["oauthbff.sign_ins"] == [({"result": "failed", "code": "access_denied"}, 1)]
    assert before["oauthbff.grants.active"] == [({}, 1)]
    assert before["oauthbff.revocation.backlog"] == [({}, 0)]
    assert after["oauthbff.endings"] == [({"reason": "logout"}, 1)]
    assert after["oauthbff.grants.active"] == [({}, 1)]  # counted once a minute
    assert set(after) <= set(telemetry.METRICS)
    named = [span.name for span in spans.get_finished_spans()]
    assert named.count("oauthbff.upstream") == 2 and "oauthbff.provider" in named
    sent = upstream.requests[0].all("traceparent")
    upstream_spans = [one for one in spans.get_finished_spans() if one.name == "oauthbff.upstream"]
    assert sent[0].split("-")[2] == f"{upstream_spans[0].context.span_id:016x}"


def test_the_gauges_ask_the_database_once_a_minute(
    otel: tuple[InMemoryMetricReader, InMemorySpanExporter], django_assert_num_queries: Any
):
    reader, _ = otel
    cache.clear()
    with django_assert_num_queries(2):
        for _ in range(5):
            points(reader)


def test_without_the_package_nothing_is_imported_and_everything_works():
    code = """
import sys
sys.modules["opentelemetry"] = None
from oauthbff import telemetry
assert not telemetry.AVAILABLE
telemetry.count("grant_ended", {"reason": "logout"})
telemetry.refused("x"); telemetry.waited(1.0); telemetry.observe("oauthbff.grants.active", int)
with telemetry.span("s"), telemetry.calling("photos", "GET", []) as call:
    call.status = 200
print("fine")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "fine\n"
