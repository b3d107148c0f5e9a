"""WebSockets to an upstream, for routes that say `"websocket": true`.

A handshake has no preflight and can carry no header of ours, so the browser's own word on
who opens it comes before anything. What follows it no browser shows to the page: reasons
are in the log. When the grant ends, both sides are closed. RFC 6455 §10.2; RFC 10017.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from oauthbff import correlation, events, forwarding, grants, origin, telemetry
from oauthbff.bulkhead import bulkhead
from oauthbff.conf import Upstream, conf
from oauthbff.cookies import AmbiguousCookie
from oauthbff.errors import (
    BFFError,
    CSRFFailed,
    GrantEnded,
    LoginRequired,
    UpstreamTimeout,
)

from . import wire
from .asked import Asked
from .carrying import RawHeaders, Receive, Send, refuse
from .clock import clock
from .finding import session_key_of
from .threads import in_thread

#: What the page is told as `event.code` when the grant has ended: sign in again.
GRANT_ENDED = 4401
TOO_BIG, BROKEN, LEFT = 1009, 1011, 1001


@dataclass(frozen=True)
class _Opening:
    """A handshake that may go on to the upstream."""

    asked: Asked
    route: Upstream
    target: str
    handle: uuid.UUID | None
    token: str | None = field(repr=False)


class Socket:
    """One WebSocket, from the handshake to the end."""

    def __init__(self, asked: Asked, receive: Receive, send: Send) -> None:
        self._asked = asked
        self._receive = receive
        self._send = send
        self._fallen = asyncio.Event()
        self.handle: uuid.UUID | None = None

    async def carry(self, site_headers: RawHeaders) -> None:
        await self._receive()  # websocket.connect
        route: Upstream | None = None
        try:
            opening = await self._open()
            route, self.handle = opening.route, opening.handle
            place = bulkhead(route).enter()
            try:
                place.becomes_stream()
                with telemetry.calling(route.name, "GET", headers := self._headers(opening)):
                    upstream = await wire.dial(
                        route, place, opening.target, headers, self._asked.scope["subprotocols"]
                    )
                try:
                    await self._relay(upstream, route)
                finally:
                    upstream.transport.abort()
            finally:
                place.leave()
        except BFFError as exc:
            await self._deny(exc, site_headers, route)

    # ---------------------------------------------------------------------- the handshake

    async def _open(self) -> _Opening:
        """Raises what refuses the handshake."""
        asked = self._asked
        correlation.begin(asked.request_id)
        if not asked.came_as_it_should:
            raise CSRFFailed("the host is not ours, or the connection is not safe")
        origin.check_socket(asked.header, base_url=conf().base_url)
        route = forwarding.find_route(conf().upstreams, asked.rest)
        forwarding.check_socket(route)
        handle, token = await self._whose(route)
        forwarding.check_method(route, asked.method)
        return _Opening(asked, route, asked.target(route), handle, token)

    async def _whose(self, route: Upstream) -> tuple[uuid.UUID | None, str | None]:
        """Whose token goes along. A handshake is rare: Django's own code finds out."""
        try:
            session_key = session_key_of(self._asked)
        except AmbiguousCookie as exc:
            events.cookie_ambiguous(exc, ip=self._asked.address)
            session_key = None
        try:
            return await in_thread(_current, session_key, route)
        except GrantEnded:
            raise
        except LoginRequired:
            if route.token == "user":  # noqa: S105 - a mode, not a password
                raise
            return None, None

    def _headers(self, opening: _Opening) -> forwarding.Headers:
        token = opening.token
        return forwarding.request_headers(
            self._asked.header,
            opening.route,
            authorization=None if token is None else f"Bearer {token}",
            via=forwarding.via(conf().base_url),
            forwarded=forwarding.forwarded(self._asked.address, conf().base_url),
            request_id=correlation.current(),
        )

    async def _deny(self, exc: BFFError, site_headers: RawHeaders, route: Upstream | None) -> None:
        if "websocket.http.response" in self._asked.scope.get("extensions", {}):
            await refuse(self._asked, exc, self._as_websocket, site_headers, route)
        else:
            await refuse(self._asked, exc, _nowhere, site_headers, route)
            await self._send({"type": "websocket.close"})  # before `accept`: a 403

    async def _as_websocket(self, message: Any) -> None:
        await self._send({**message, "type": f"websocket.{message['type']}"})

    # ------------------------------------------------------------------------- both ways

    async def _relay(self, upstream: wire.Dialed, route: Upstream) -> None:
        await self._send({"type": "websocket.accept", "subprotocol": upstream.subprotocol})
        clock.add(self)
        ways = [
            asyncio.create_task(self._up(upstream, route)),
            asyncio.create_task(self._down(upstream)),
            asyncio.create_task(self._until_fallen(upstream)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            clock.remove(self)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _up(self, upstream: wire.Dialed, route: Upstream) -> None:
        """From the browser to the upstream, which must take one message before we take another."""
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                await upstream.close(wire.sendable(message.get("code"), otherwise=LEFT))
                return
            text = message.get("text")
            data: str | bytes = message["bytes"] if text is None else text
            if len(data) > route.max_body:
                await self._close(TOO_BIG, upstream)
                return
            if not await upstream.send(data):
                return  # `_down` says why

    async def _down(self, upstream: wire.Dialed) -> None:
        """From the upstream to the browser, at the browser's pace."""
        async for data in upstream:
            kind = "text" if isinstance(data, str) else "bytes"
            await self._send({"type": "websocket.send", kind: data})
        code, reason = upstream.closed_with
        code = wire.sendable(code, otherwise=BROKEN)
        await self._send({"type": "websocket.close", "code": code, "reason": reason})

    async def _until_fallen(self, upstream: wire.Dialed) -> None:
        await self._fallen.wait()
        await self._close(GRANT_ENDED, upstream)

    async def _close(self, code: int, upstream: wire.Dialed) -> None:
        await self._send({"type": "websocket.close", "code": code, "reason": ""})
        await upstream.close(LEFT if code == GRANT_ENDED else code)

    # --------------------------------------------------------------------- for the clock

    def is_late(self, now: float) -> bool:
        return False  # the connection to the upstream is pinged

    def fail_late(self, error: UpstreamTimeout) -> None: ...

    def look_for_the_browser(self) -> None: ...

    def cut(self) -> None:
        self._fallen.set()


def _current(session_key: str | None, route: Upstream) -> tuple[uuid.UUID, str | None]:
    """Handle and token, by Django's own session and with all of `grants`' rules."""
    if session_key is None:
        raise LoginRequired("there is no session cookie")
    request = HttpRequest()
    request.COOKIES = {settings.SESSION_COOKIE_NAME: session_key}
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    grant = grants.current(request)
    grants.touch(grant, session_key, upstream=route.name)
    if route.token == "none":  # noqa: S105 - a mode
        return grant.pk, None
    return grant.pk, grants.fresh(grant, resource=route.resource)


async def _nowhere(_: Any) -> None:
    """Where an answer goes that this server cannot send."""
