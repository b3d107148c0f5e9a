"""WebSockets to upstreams, by the protocol of `websockets`."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from oauthbff.bulkhead import Place
from oauthbff.conf import Upstream
from oauthbff.errors import UpstreamTimeout, UpstreamUnreachable
from oauthbff.forwarding import Headers

#: The largest message of an upstream, where the route does not say `max_answer`.
MOST_MESSAGE_BYTES = 16 * 1024 * 1024
#: How long a WebSocket may take to say goodbye.
CLOSE_SECONDS = 2.0
#: Of a WebSocket's handshake only `websockets` itself says these, or they are of no meaning.
OF_HANDSHAKE = frozenset(
    """host connection upgrade content-type content-encoding content-language content-disposition
    accept-encoding range if-range if-match if-none-match if-modified-since if-unmodified-since
    idempotency-key""".split()
)
#: Close codes that an endpoint may send. RFC 6455 §7.4.1.
SENDABLE = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015)})


class Dialed:
    """An open WebSocket to an upstream."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    @property
    def subprotocol(self) -> str | None:
        return self._connection.subprotocol

    @property
    def transport(self) -> asyncio.Transport:
        return self._connection.transport

    @property
    def closed_with(self) -> tuple[int | None, str]:
        return self._connection.close_code, self._connection.close_reason or ""

    async def send(self, data: str | bytes) -> bool:
        """Wait until the upstream has taken most of it. False: it is closed."""
        try:
            await self._connection.send(data)
        except ConnectionClosed:
            return False
        return True

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        with contextlib.suppress(ConnectionClosed):
            while True:
                yield await self._connection.recv()

    async def close(self, code: int) -> None:
        await self._connection.close(code)


async def dial(
    upstream: Upstream, place: Place, target: str, headers: Headers, subprotocols: list[str]
) -> Dialed:
    """Open a WebSocket to an upstream. Raises `UpstreamTimeout`, `UpstreamUnreachable`.

    Below `websockets.connect` on purpose: that one follows redirects and proxies of the
    environment.
    """
    parts = upstream.parts
    secure = parts.scheme == "https"
    path, _, query = target.partition("?")
    port = parts.port or (443 if secure else 80)
    protocol = ClientProtocol(
        WebSocketURI(secure, str(parts.hostname), port, path, query),
        subprotocols=[Subprotocol(name) for name in subprotocols] or None,
        max_size=upstream.max_answer or MOST_MESSAGE_BYTES,
    )
    passed = [pair for pair in headers if pair[0].lower() not in OF_HANDSHAKE and pair[1].isascii()]
    connected = False
    try:
        async with asyncio.timeout(upstream.timeouts.connect):
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: ClientConnection(protocol, close_timeout=CLOSE_SECONDS),
                *(str(parts.hostname), port),
                ssl=ssl.create_default_context() if secure else None,
            )
        connected = True
        try:
            async with asyncio.timeout(upstream.timeouts.first_byte):
                await connection.handshake(passed, user_agent_header=None)
        except BaseException:
            connection.transport.abort()
            raise
    except TimeoutError as exc:
        place.failed()
        raise UpstreamTimeout(type(exc).__name__) from None
    except (OSError, WebSocketException, ValueError) as exc:
        if not connected:
            place.failed()
        raise UpstreamUnreachable(f"no WebSocket: {type(exc).__name__}") from None
    place.reached()
    return Dialed(connection)


def sendable(code: int | None, *, otherwise: int) -> int:
    """A close code that may be sent; 1005 and 1006 only say that none came. RFC 6455 §7.4."""
    if code == 1005:
        return 1000
    if code is not None and (code in SENDABLE or 3000 <= code < 5000):
        return code
    return otherwise
