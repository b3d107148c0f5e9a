"""api/<upstream>/<path>: the browser's call, made anew with the user's token.

What is decided before, and in which order, is in `calls`; the rules are in `forwarding` and
`grants`. This room carries: only a call that has passed them all reaches the upstream.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from typing import Any
from urllib.parse import quote

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import RFC3986_SUBDELIMS, escape_leading_slashes
from rest_framework.request import Request

from . import browser_socket, correlation, events, forwarding, telemetry, upstream
from .calls import CallDoor
from .conf import Upstream, conf
from .door import header_of
from .errors import BodyBroken, ProviderError
from .grants import AccessToken
from .streams import watch

#: What the upstream has judged; Django's middlewares would judge it again: `GZipMiddleware`
#: would change the bytes, `ConditionalGetMiddleware` make a 304 of a 206.
JUDGED = tuple(
    f"HTTP_{name}"
    for name in """ACCEPT_ENCODING IF_MATCH IF_NONE_MATCH IF_MODIFIED_SINCE
    IF_UNMODIFIED_SINCE""".split()
)


class ProxyDoor(CallDoor):
    def rest(self, **kwargs: Any) -> str:
        return str(kwargs["rest"])

    @cached_property
    def mount(self) -> str:
        """As `reverse` would write it, which costs more: the call's own address has it."""
        before = self.request.path.removesuffix(self.kwargs["rest"])
        before = escape_leading_slashes(quote(before, safe=RFC3986_SUBDELIMS + "/~:@"))
        return f"{before}{self.route.name}/"

    def raw_target(self, request: HttpRequest) -> tuple[str, str]:
        return raw_target(request, self.mount)

    def body_length(self, request: HttpRequest) -> int | None:
        browser_socket.be_brisk(browser_socket.of(request.META), self.route.timeouts.idle)
        return body_length(request)

    def forward(self, request: Request, **_: Any) -> HttpResponseBase:
        token = self.token()
        body = self.body(request._request)
        answer = self.send(request._request, token, body)
        if token is not None and forwarding.refuses_token(answer.status, answer.headers):
            retried = self.retry(request._request, answer, token, body)
            answer = retried or answer
        try:
            return self.relay(request._request, answer)
        except BaseException:
            answer.close()
            raise

    get = head = post = put = patch = delete = forward

    def send(
        self, request: HttpRequest, token: AccessToken | None, body: upstream.Body
    ) -> upstream.Answer:
        headers = forwarding.request_headers(
            header_of(request),
            self.route,
            authorization=None if token is None else token.authorization,
            via=forwarding.via(conf().base_url),
            forwarded=forwarding.forwarded(request.META.get("REMOTE_ADDR"), conf().base_url),
            request_id=correlation.current(),
        )
        length = None if body is None else self.length
        with telemetry.calling(self.route.name, str(request.method), headers) as call:
            answer = upstream.call(
                self.route, str(request.method), self.target, headers, body, length
            )
            call.status = answer.status
        return answer

    def retry(
        self,
        request: HttpRequest,
        refusal: upstream.Answer,
        token: AccessToken,
        body: upstream.Body,
    ) -> upstream.Answer | None:
        """Refresh once and ask once more; None when that is not possible.

        An upload that is gone cannot be sent again: the 401 passes on, and the
        next call has the new token. RFC 6750 §3.1.
        """
        try:
            newer = self.token(refused=token.value)
        except ProviderError as exc:
            events.token_refused_upstream(exc, grant=self.grant.pk if self.grant else None)
            return None
        if isinstance(body, Iterator):
            return None
        refusal.close()
        return self.send(request, newer, body)

    def body(self, request: HttpRequest) -> upstream.Body:
        """The browser's body: bytes if it is small, else to be read while it is sent."""
        if not forwarding.has_body(str(request.method), self.length):
            return None
        chunks = read_body(request, self.route, self.length)
        return b"".join(chunks) if forwarding.is_replayable(self.length) else chunks

    def relay(self, request: HttpRequest, answer: upstream.Answer) -> HttpResponseBase:
        for name in JUDGED:
            request.META.pop(name, None)
        headers = forwarding.response_headers(
            answer.status, answer.headers, self.route, self.mount, self.target
        )
        if not forwarding.is_event_stream(headers):
            answer.look_ahead()
        else:
            grant = None if self.grant is None else self.grant.pk
            watch.add(answer, grant, browser_socket.of(request.META))
        ends = answer.is_here or any(name == "Content-Length" for name, _ in headers)
        if not ends and not connection.in_atomic_block:
            connection.close()  # an event stream may last for hours
        parts = ToAsync(answer, self.route) if isinstance(request, ASGIRequest) else ToSync(answer)
        response = StreamingHttpResponse(parts, status=answer.status)
        del response.headers["Content-Type"]
        for name, value in headers:
            response.headers[name] = value
        return response


class ToSync:
    """An answer as WSGI wants it. `close` runs when the browser has left or everything was sent."""

    def __init__(self, answer: upstream.Answer) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self._answer.read():
            yield chunk

    def close(self) -> None:
        self._answer.close()


class ToAsync:
    """An answer as ASGI wants it. Waiting for the upstream happens in a thread of its own pool."""

    def __init__(self, answer: upstream.Answer, route: Upstream) -> None:
        self._answer = answer
        self._threads = _threads(route)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read: Callable[[], Any] = sync_to_async(
            self._answer.read, thread_sensitive=False, executor=self._threads
        )
        try:
            while chunk := self._answer.read() if self._answer.is_here else await read():
                yield chunk
        finally:
            self._answer.close()

    def close(self) -> None:
        self._answer.close()


def raw_target(request: HttpRequest, prefix: str) -> tuple[str, str]:
    """Return (path below `prefix`, query) as the browser wrote them, if the server tells."""
    meta = request.META
    return forwarding.raw_target(
        prefix,
        meta.get("QUERY_STRING", ""),
        asgi_path=getattr(request, "scope", {}).get("raw_path"),
        wsgi_target=meta.get("RAW_URI", meta.get("REQUEST_URI")),
        decoded=request.path,
    )


def body_length(request: HttpRequest) -> int | None:
    """Return the body's length in bytes, None for a chunked one that we can read."""
    if isinstance(request, ASGIRequest):
        return spooled_length(request)
    return forwarding.declared_length(
        request.META.get("CONTENT_LENGTH"),
        request.META.get("HTTP_TRANSFER_ENCODING"),
        reads_chunked=bool(request.META.get("wsgi.input_terminated")),
    )


def spooled_length(request: ASGIRequest) -> int:
    """Django has received the whole body before the view runs, and knows its length."""
    stream = request._stream
    here = stream.tell()
    length: int = stream.seek(0, 2)
    stream.seek(here)
    return length


def read_body(request: HttpRequest, route: Upstream, length: int | None) -> Iterator[bytes]:
    """Yield the body. Raises `BodyTooLarge` on a byte too many, `BodyBroken` if it is cut."""
    source = request.META["wsgi.input"] if length is None else request
    meter = forwarding.Meter(route, length)
    until = time.monotonic() + route.timeouts.total
    while wanted := meter.wanted:
        if time.monotonic() > until:
            raise BodyBroken("the body takes too long")
        try:
            chunk: bytes = source.read(wanted)
        except Exception as exc:  # each server has errors of its own for a malformed body
            if isinstance(exc.__cause__ or exc, TimeoutError):
                browser_socket.stop_listening(browser_socket.of(request.META))
            raise BodyBroken(f"the body could not be read: {type(exc).__name__}") from None
        if not chunk:
            break
        yield meter.count(chunk)
    meter.end()


@cache
def _threads(route: Upstream) -> ThreadPoolExecutor:
    """One waits for each answer's next bytes; each upstream has its own, as many as places."""
    count = route.max_calls + route.max_streams
    return ThreadPoolExecutor(count, thread_name_prefix=f"oauthbff-{route.name}")
