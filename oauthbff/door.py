"""What every fetched door has in common: who may knock, and how a refusal reads.

A `Door` is a DRF view without DRF's opinions on bodies, formats and OPTIONS.
It asks `origin` first, then looks at the session. Every error of ours is
`application/problem+json` with a stable `code`, also in `X-BFF-Error`, and
never a redirect. RFC 9457.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.request import HttpHeaders
from django.http.response import HttpResponseBase
from django.views.generic import View
from rest_framework import exceptions
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from . import correlation, events, origin, telemetry
from .conf import conf
from .errors import (
    BFFError,
    CSRFFailed,
    LoginRequired,
    MethodRefused,
    UpstreamTimeout,
    UpstreamUnreachable,
)


def problem(
    status: int,
    code: str,
    title: str,
    *,
    extra: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> HttpResponse:
    """A refusal that a program can read."""
    body = {"type": "about:blank", "title": title, "status": status, "code": code, **(extra or {})}
    response = HttpResponse(
        json.dumps(body), status=status, content_type="application/problem+json"
    )
    for name, value in (headers or {}).items():
        response[name] = value
    response["X-BFF-Error"] = code
    if correlation.current():
        response["X-Request-ID"] = correlation.current()
    return harden(response)


def problem_of(error: BFFError) -> HttpResponse:
    return problem(error.status, error.code, error.title, extra=error.extra, headers=error.headers)


def problem_of_drf(error: exceptions.APIException) -> HttpResponse:
    """What a permission or throttle of the site said, in our words and with its reason."""
    if isinstance(error, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        return problem_of(LoginRequired())
    extra: dict[str, Any] = {}
    if isinstance(error.detail, list | dict):
        extra["errors"] = error.detail
    elif error.detail != error.default_detail and not isinstance(error, exceptions.Throttled):
        extra["detail"] = str(error.detail)
    wait = getattr(error, "wait", None)
    headers = {} if wait is None else {"Retry-After": f"{math.ceil(wait)}"}
    code, title = {
        403: ("not_allowed", "You may not do this."),
        429: ("throttled", "Too many calls."),
    }.get(error.status_code, (error.default_code, "This call was refused."))
    return problem(error.status_code, code, title, extra=extra, headers=headers)


def answer(body: Any, status: int = 200) -> HttpResponse:
    """A JSON answer of ours."""
    return harden(JsonResponse(body, status=status, safe=False))


#: The content security policy of our few pages: no script, no frame, nothing from elsewhere.
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)


def harden(response: HttpResponse) -> HttpResponse:
    """Nothing that a door says may be stored, sniffed or framed."""
    response["Cache-Control"] = "no-store"
    response["X-Content-Type-Options"] = "nosniff"
    response.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
    response.setdefault("Referrer-Policy", "no-referrer")
    return response


class PlainDoor(View):
    """Base class of the doors that are no DRF views: they refuse a wrong method as those do."""

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        """Open to everybody, as DRF's views are: no login is in front of the login."""
        return login_not_required(super().as_view(**initkwargs))

    def http_method_not_allowed(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        allowed = tuple(self._allowed_methods())  # type: ignore[attr-defined]
        error = MethodRefused(str(request.method), allowed)
        note_refusal(error, error.code, request)
        return problem_of(error)


class AsAsked(BaseContentNegotiation):
    """What an answer looks like is the door's business, not the Accept header's."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return None

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


class Door(APIView):
    """Base class of the doors that the SPA fetches.

    Outside ATOMIC_REQUESTS: what a door has ended or refreshed stays so, whatever it answers.
    """

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    parser_classes = ()
    renderer_classes = (JSONRenderer,)
    content_negotiation_class = AsAsked
    #: Not for DRF's guesses: `openapi` describes the doors.
    schema = None
    #: `Sec-Fetch-Dest` values for which the browser's word is enough; see `origin`.
    embed: tuple[str, ...] = ()

    @transaction.non_atomic_requests
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        self.format_kwarg = None
        request.accepted_renderer, request.accepted_media_type = self.perform_content_negotiation(
            request
        )
        self.check_fetch(request._request)

    def check_fetch(self, request: HttpRequest) -> None:
        origin.check_fetch(
            str(request.method),
            header_of(request),
            name=conf().header,
            base_url=conf().base_url,
            embed=self.embed,
        )

    def http_method_not_allowed(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        raise MethodRefused(str(request.method), tuple(self.allowed_methods))

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """No preflight is ever granted; DRF's self-description is not ours to give."""
        return self.http_method_not_allowed(request)

    @property
    def allowed_methods(self) -> list[str]:
        return [name for name in super().allowed_methods if name != "OPTIONS"]

    @property
    def default_response_headers(self) -> dict[str, str]:
        return {}

    def handle_exception(self, exc: Exception) -> Any:
        refusal = refusal_of(exc)
        if refusal is None:
            # Told here and as text: what handles it further up shows the variables of each
            # frame, in a page or a mail, and a token is among them.
            events.view_broke(trace=True, **where(self.request))
            refusal = problem(500, "error", "Something went wrong.")
        else:
            note_refusal(exc, refusal["X-BFF-Error"], self.request)
        return refusal


def refusal_of(exc: Exception) -> HttpResponse | None:
    """What the browser is told; None: this is no refusal, it is a bug."""
    if isinstance(exc, BFFError):
        return problem_of(exc)
    if isinstance(exc, Http404):
        exc = exceptions.NotFound()
    elif isinstance(exc, PermissionDenied):
        exc = exceptions.PermissionDenied()
    elif isinstance(exc, SuspiciousOperation | BadRequest):  # a query of 1,001 fields, say
        exc = exceptions.ParseError()
    return problem_of_drf(exc) if isinstance(exc, exceptions.APIException) else None


#: Refusals that people meet every day: counted, not worth a line each.
EVERYDAY = frozenset({"login_required", "grant_ended", "provider_unavailable"})


def note_refusal(exc: Exception, code: str, request: Request | HttpRequest) -> None:
    """Count a refusal, and write down one that may be an attack or an outage."""
    match = request.resolver_match
    name = str(match.kwargs.get("rest", "")).partition("/")[0] if match else ""
    note(exc, code, upstream=name, **where(request))


def note(exc: Exception, code: str, *, upstream: str, **where: Any) -> None:
    """The same for who has no request of Django's."""
    telemetry.refused(code)
    if isinstance(exc, CSRFFailed):
        events.csrf_failed(exc, **where)
    elif isinstance(exc, UpstreamUnreachable | UpstreamTimeout):
        events.upstream_failed(exc, code=code, upstream=upstream)
    elif code not in EVERYDAY:
        events.call_refused(exc, code=code, **where)


def header_of(request: HttpRequest) -> origin.Header:
    """Look a header up where the server has put it.

    `request.headers` is a copy of all of them, under other names, for the few we ask for.
    """
    meta = request.META
    return lambda name: meta.get(_key_of(name))


@lru_cache
def _key_of(name: str) -> str:
    return str(HttpHeaders.to_wsgi_name(name))


def counts_as_activity(header: origin.Header) -> bool:
    """Whether this call keeps an idle grant alive.

    One that the page makes by itself says `X-BFF-Slide: false`, after the name of our
    header. ASVS 5.0 §7.3.1.
    """
    return (header(f"{conf().header}-Slide") or "").lower() != "false"


def where(request: Request | HttpRequest) -> dict[str, Any]:
    """The method, path and address of a request, for an event."""
    address = request.META.get("REMOTE_ADDR")
    return {"method": str(request.method), "path": request.path, "ip": address}
