"""The views of the peers: what a site writes that has no back end for frontends."""

from __future__ import annotations

import os
import threading
from functools import lru_cache
from http.client import HTTPConnection
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

import requests
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.db import connection
from django.http import HttpRequest, HttpResponse

with open(os.environ["BENCH_ANSWER"], "rb") as _file:
    _ANSWER = _file.read()
_of_thread = threading.local()
STATEMENT = """
    SELECT session_data FROM django_session WHERE session_key = %s AND expire_date > now()
"""


def trivial(request: HttpRequest) -> HttpResponse:
    return HttpResponse(_ANSWER, content_type="application/json")


async def trivial_async(request: HttpRequest) -> HttpResponse:
    return HttpResponse(_ANSWER, content_type="application/json")


def hello(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


def _call(client: Any, request: HttpRequest, path: str) -> HttpResponse:
    answer = client.request(
        request.method,
        f"{settings.UPSTREAM}/{path}",
        data=request.body or None,
        headers={"Authorization": f"Bearer {request.session['oidc_access_token']}"},
        timeout=20,
    )
    kind = answer.headers.get("Content-Type")
    return HttpResponse(answer.content, status=answer.status_code, content_type=kind)


def bare(request: HttpRequest, path: str) -> HttpResponse:
    """The least that does the work: one statement, a kept connection, none of the rules."""
    with connection.cursor() as cursor:
        cursor.execute(STATEMENT, [request.COOKIES.get(settings.SESSION_COOKIE_NAME)])
        row = cursor.fetchone()
    if row is None:
        return HttpResponse(status=401)
    if not hasattr(_of_thread, "line"):
        _of_thread.line = HTTPConnection(urlsplit(settings.UPSTREAM).netloc, timeout=20)
    headers = {"Authorization": f"Bearer {_token(row[0])}"}
    _of_thread.line.request("GET", f"/{path}", headers=headers)
    answer = _of_thread.line.getresponse()
    kind = answer.getheader("Content-Type")
    return HttpResponse(answer.read(), status=answer.status, content_type=kind)


@lru_cache
def _token(session_data: str) -> str:
    session = import_module(settings.SESSION_ENGINE).SessionStore().decode(session_data)
    return str(session["oidc_access_token"])


@login_required
def naive(request: HttpRequest, path: str) -> HttpResponse:
    """As the answers to "how do I use the access token" have it."""
    return _call(requests, request, path)


@login_required
def tuned(request: HttpRequest, path: str) -> HttpResponse:
    """The same with a kept `requests.Session` per thread that does not read .netrc."""
    if not hasattr(_of_thread, "client"):
        _of_thread.client = requests.Session()
        _of_thread.client.trust_env = False
    return _call(_of_thread.client, request, path)


@login_required
def through_revproxy(request: HttpRequest, path: str) -> HttpResponse:
    return _proxy(request, path=path)


def _proxy_view() -> Any:
    from revproxy.views import ProxyView

    class WithToken(ProxyView):
        upstream = settings.UPSTREAM

        def get_request_headers(self) -> dict[str, str]:
            headers: dict[str, str] = super().get_request_headers()
            headers.pop("Cookie", None)
            token = self.request.session["oidc_access_token"]
            return {**headers, "Authorization": f"Bearer {token}"}

    return WithToken.as_view()


_proxy = _proxy_view()
