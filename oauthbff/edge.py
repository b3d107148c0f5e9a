"""authorize/<upstream>/: may this call pass, and with which token?

For a proxy in front of Django that carries the traffic itself: nginx, Caddy, Envoy, Traefik. It
shows `OAUTHBFF["EDGE_SECRET"]` in `X-BFF-Edge` and says what the browser asks for; the answer is
200 with the headers to attach, or the refusal that the browser gets. Nobody else is answered:
without the secret this door does not exist.

The call is judged as if the browser had knocked at `api/<upstream>/<path>` itself, by `calls`.
This room only translates what the proxy says, and how long its answer may be remembered.
"""

from __future__ import annotations

import ipaddress
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from rest_framework.request import Request

from . import forwarding, grants, origin
from .calls import CallDoor
from .conf import conf
from .door import harden, header_of

#: What the proxy says, each time. `X-Forwarded-Method` and `-Uri` are Caddy's and Traefik's names.
SECRET, ADDRESS, LENGTH = "X-BFF-Edge", "X-BFF-Edge-Address", "X-BFF-Edge-Length"
METHOD, TARGET = "X-Forwarded-Method", "X-Forwarded-Uri"
#: A proxy that drops the body of a refusal (nginx) asks with this header, and gets body and status
#: in headers as well.
PROBLEM, STATUS = "X-BFF-Problem", "X-BFF-Status"
#: Whole seconds for which an answer may be remembered.
REMEMBER = "X-BFF-Remember"
#: The same for nginx, which counts in ticks of its clock and keeps an answer for up to one more
#: than it is told; unless it says that it forgets at each tick of a second anyway.
NGINX_REMEMBER, TICKS = "X-Accel-Expires", "X-BFF-Edge-Ticks"


class AuthorizeDoor(CallDoor):
    @transaction.non_atomic_requests
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        secret, header = conf().edge_secret, header_of(request)
        if secret is None or not constant_time_compare(header(SECRET) or "", secret):
            raise Http404
        tells_problem = header(PROBLEM) is not None
        self.asked = original(request, str(kwargs["upstream"]))
        response = super().dispatch(request, *args, **kwargs)
        if tells_problem and response.status_code != 200:
            response[PROBLEM] = response.content.decode("ascii")  # type: ignore[attr-defined]
            response[STATUS] = str(response.status_code)
        return response

    def check_fetch(self, request: HttpRequest) -> None:
        """A WebSocket's handshake has the rules that the lane has for it."""
        header = header_of(request)
        self.opens_socket = origin.is_handshake(str(request.method), header)
        if self.opens_socket:
            origin.check_socket(header, base_url=conf().base_url)
        else:
            super().check_fetch(request)

    def rest(self, **kwargs: Any) -> str:
        return f"{kwargs['upstream']}/"

    def raw_target(self, request: HttpRequest) -> tuple[str, str]:
        return forwarding.split_target(self.asked, self.mount)

    def body_length(self, request: HttpRequest) -> int | None:
        """By the head alone: the proxy counts what passes."""
        declared = header_of(request)(LENGTH)
        return forwarding.declared_length(declared, None, reads_chunked=True) if declared else None

    def answer(self, request: Request, **_: Any) -> HttpResponse:
        token = self.token()
        response = harden(HttpResponse())
        del response["Content-Type"]
        if token is not None:
            response["Authorization"] = token.authorization
        seconds = self.remembered(token, timezone.now())
        if seconds > 0:
            response[REMEMBER] = str(seconds)
            response[NGINX_REMEMBER] = str(seconds - 1 if header_of(request)(TICKS) is None else 1)
        return response

    get = head = post = put = patch = delete = answer

    def remembered(self, token: grants.AccessToken | None, now: datetime) -> int:
        """Whole seconds for which the same question has the same answer.

        Never longer than the token or the grant lives; not at all where a permission or
        throttle of the site is asked each time.
        """
        if self.route.permissions or self.route.throttles:
            return 0
        ends = [token.expires_at if token else None, self.grant.expires_at if self.grant else None]
        lives = [int((end - now).total_seconds()) for end in ends if end is not None]
        return max(0, min([conf().edge_remember, *lives]))


def original(request: HttpRequest, upstream: str) -> str:
    """Make `request` what the browser sent to the proxy; return its raw target.

    A proxy that sends no `X-Forwarded-Uri` (Envoy) has written the target behind our address.
    """
    meta, header = request.META, header_of(request)
    target = header(TARGET)
    if target is None:
        scope = getattr(request, "scope", {})
        raw = scope.get("raw_path")
        path = raw.decode("latin-1") if raw is not None else meta.get("RAW_URI", request.path)
        path = path.partition("?")[0]
        query = meta.get("QUERY_STRING", "")
        target = path.partition(f"/authorize/{upstream}")[2] + (f"?{query}" if query else "")
    path, _, query = target.partition("?")
    request.method = meta["REQUEST_METHOD"] = header(METHOD) or request.method
    request.path = unquote(path)
    meta["QUERY_STRING"] = query
    meta["REMOTE_ADDR"] = address(header(ADDRESS)) or meta.get("REMOTE_ADDR")
    return target


def address(said: str | None) -> str | None:
    try:
        return str(ipaddress.ip_address(said or ""))
    except ValueError:
        return None
