"""Which calls the lane carries, and which it passes on to Django untouched.

What it does not know for certain Django answers. What may pass is decided where the other
door asks as well, so no rule is written twice.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string

from oauthbff import correlation, forwarding, origin
from oauthbff.conf import METHODS, conf
from oauthbff.cookies import AmbiguousCookie
from oauthbff.door import counts_as_activity
from oauthbff.errors import BFFError, LoginRequired

from .asked import Asked, Scope, mount_of
from .carrying import Call, Plan, RawHeaders, Receive, Send, refuse
from .finding import Finder, session_key_of, token_of
from .sockets import Socket

#: Middleware whose headers are on every answer of the site. The rest of it sees no carried call.
HEADERS_OF = (
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
)


class Serving:
    def __init__(self, application: Any) -> None:
        self._application = application
        self._finder = Finder()
        self._site_headers = {secure: _site_headers(secure) for secure in (False, True)}
        conf()  # a server with unusable settings does not start

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan" and isinstance(self._application, ASGIHandler):
            await self._live(receive, send)  # Django does not know of it
            return
        if kind in ("http", "websocket") and scope["path"].startswith(mount := mount_of(scope)):
            asked = Asked(scope, mount)
            site_headers = self._site_headers[asked.is_secure]
            if kind == "websocket":
                await Socket(asked, receive, send).carry(site_headers)
                return
            try:
                plan = await self._plan(asked)
            except BFFError as exc:
                await refuse(asked, exc, send, site_headers)
                return
            if plan is not None:
                await Call(plan, receive, send, site_headers).carry()
                return
        await self._application(scope, receive, send)

    async def _plan(self, asked: Asked) -> Plan | None:
        """What to carry; None: this one is Django's. Raises what refuses the call for certain."""
        if asked.method not in METHODS or not asked.came_as_it_should:
            return None
        correlation.begin(asked.request_id)
        rest, upstreams = asked.rest, conf().upstreams
        origin.check_fetch(
            asked.method,
            asked.header,
            name=conf().header,
            base_url=conf().base_url,
            embed=forwarding.embeds(upstreams, rest),
        )
        route = forwarding.find_route(upstreams, rest)
        if route.permissions or route.throttles:
            return None
        try:
            session_key = session_key_of(asked)
        except AmbiguousCookie:
            return None
        if session_key is None and route.token == "user":  # noqa: S105 - a mode
            raise LoginRequired("there is no session cookie")
        found = None if session_key is None else await self._finder.find(session_key)
        if session_key is not None and found is None:
            return None
        forwarding.check_method(route, asked.method)
        target = asked.target(route)
        length = forwarding.declared_length(
            asked.header("content-length"),
            asked.header("transfer-encoding"),
            reads_chunked=True,
        )
        forwarding.check_length(route, length)
        token = None
        if found is not None and session_key is not None:
            try:
                token = await token_of(
                    found, session_key, route, active=counts_as_activity(asked.header)
                )
            except BFFError:
                return None  # the session's fate may hang on it
        return Plan(asked, route, target, length, found, token)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                await self._finder.close()
                return


def _site_headers(secure: bool) -> RawHeaders:
    """What the site's middleware adds to an answer, by its own word."""

    class Nobodys(HttpRequest):
        def is_secure(self) -> bool:
            return secure

    response = HttpResponse()
    del response["Content-Type"]
    for name in settings.MIDDLEWARE:
        if name in HEADERS_OF:
            response = import_string(name)(bool).process_response(Nobodys(), response)
    return [(n.lower().encode(), v.encode("latin-1")) for n, v in response.items()]
