"""api/<upstream>/<path>: the browser's call, made anew with the user's token.

The order is the contract: our own page? which upstream? whose grant? method,
path and size; permission; a token with life left; then, and only then, the
upstream. The decisions are in `forwarding` and `grants`, this room carries.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.module_loading import import_string
from rest_framework.request import Request

from . import forwarding, grants, upstream
from .conf import METHODS, Upstream, conf
from .door import Door
from .errors import (
    BodyBroken,
    BodyTooLarge,
    LengthRequired,
    LoginRequired,
    NoSuchUpstream,
    PathRefused,
    ProviderError,
)
from .models import TokenGrant
from .streams import watch

log = logging.getLogger("oauthbff.proxy")

CHUNK_BYTES = 64 * 1024
#: A body up to this size is held, so that it can be sent again after a refused token.
REPLAYABLE_BYTES = 64 * 1024
#: Threads for event streams under ASGI: one waits for each upstream's next bytes.
STREAM_THREADS = 512
#: A Bearer challenge, alone or among others, whose `error` is invalid_token. RFC 9110 §11.6.1.
INVALID_TOKEN = re.compile(
    r"""(?ix) (?:^|,) \s* Bearer \s+ (?: [a-z_]+ \s*=\s* (?:"[^"]*"|[^\s,"]+) \s*,\s* )*
    error \s*=\s* "?invalid_token"? \s* (?:,|$)"""
)


class ProxyDoor(Door):
    http_method_names = [name.lower() for name in (*METHODS, "OPTIONS")]

    route: Upstream
    grant: TokenGrant | None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        name, _, self.path = kwargs["rest"].partition("/")
        route = conf().upstreams.get(name)
        self.embed = route.embed if route else ()
        super().initial(request, *args, **kwargs)
        if route is None or "/" not in kwargs["rest"]:
            raise NoSuchUpstream(f"no upstream is called {name[:40]!r}")
        self.route = route
        self.grant = self.find_grant(request._request)
        user: Any = self.grant.user if self.grant else request._request.user
        request.user, request.auth = user, self.grant
        forwarding.check_method(route, str(request.method))
        self.target = forwarding.upstream_target(route, *raw_path(request._request, route))
        self.length = body_length(request._request, route)
        self.check_permissions(request)
        self.check_throttles(request)

    def find_grant(self, request: HttpRequest) -> TokenGrant | None:
        """The grant whose token goes along; None on a route that does without."""
        try:
            grant = grants.current(request)
        except LoginRequired:
            if self.route.token == "user":  # noqa: S105 - a mode, not a password
                raise
            return None
        grants.touch(grant, request.session.session_key)
        return grant

    def get_permissions(self) -> Any:
        return [import_string(name)() for name in self.route.permissions]

    def get_throttles(self) -> Any:
        return [import_string(name)() for name in self.route.throttles]

    def forward(self, request: Request, **_: Any) -> HttpResponseBase:
        token = self.token()
        body = self.body(request._request)
        answer = self.send(request._request, token, body)
        if token is not None and answer.status == 401 and refuses_token(answer):
            retried = self.retry(request._request, answer, token, body)
            answer = retried or answer
        try:
            return self.relay(request._request, answer)
        except BaseException:
            answer.close()
            raise

    get = head = post = put = patch = delete = forward

    def token(self, *, refused: str | None = None) -> str | None:
        if self.grant is None or self.route.token == "none":  # noqa: S105 - a mode
            return None
        return grants.fresh(self.grant, resource=self.route.resource, refused=refused)

    def send(self, request: HttpRequest, token: str | None, body: upstream.Body) -> upstream.Answer:
        headers = forwarding.request_headers(
            request.headers.get,
            self.route,
            authorization=None if token is None else f"Bearer {token}",
            via=f"1.1 {conf().base_url.partition('//')[2]}",
            forwarded=forwarded(request),
        )
        length = None if body is None else self.length
        return upstream.call(self.route, str(request.method), self.target, headers, body, length)

    def retry(
        self, request: HttpRequest, refusal: upstream.Answer, token: str, body: upstream.Body
    ) -> upstream.Answer | None:
        """Refresh once and ask once more; None when that is not possible.

        An upload that is gone cannot be sent again: the 401 passes on, and the
        next call has the new token. RFC 6750 §3.1.
        """
        try:
            newer = self.token(refused=token)
        except ProviderError as exc:
            log.warning("an API refused the token and no new one is to be had: %s", exc)
            return None
        if isinstance(body, Iterator):
            return None
        refusal.close()
        return self.send(request, newer, body)

    def body(self, request: HttpRequest) -> upstream.Body:
        """The browser's body: bytes if it is small, else to be read while it is sent."""
        if self.length == 0:
            return b"" if request.method in ("POST", "PUT", "PATCH") else None
        chunks = read_body(request, self.length, self.route.max_body)
        if self.length is not None and self.length <= REPLAYABLE_BYTES:
            return b"".join(chunks)
        return chunks

    def relay(self, request: HttpRequest, answer: upstream.Answer) -> HttpResponseBase:
        mount = f"{reverse('oauthbff:api', kwargs={'rest': self.route.name})}/"
        headers = forwarding.response_headers(
            answer.status, answer.headers, self.route, mount, self.target
        )
        if not any(value.startswith("text/event-stream") for _, value in headers):
            answer.look_ahead()
        elif self.grant is not None:
            watch.add(answer, self.grant.pk)
        if not connection.in_atomic_block and not any(n == "Content-Length" for n, _ in headers):
            connection.close()  # an event stream may last for hours
        streams = ToAsync if isinstance(request, ASGIRequest) else ToSync
        response = StreamingHttpResponse(streams(answer), status=answer.status)
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

    def __init__(self, answer: upstream.Answer) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read: Callable[[], Any] = sync_to_async(
            self._answer.read, thread_sensitive=False, executor=_threads()
        )
        try:
            while chunk := await read():
                yield chunk
        finally:
            self._answer.close()

    def close(self) -> None:
        self._answer.close()


def raw_path(request: HttpRequest, route: Upstream) -> tuple[str, str]:
    """Return (path below the route, query) as the browser wrote them.

    gunicorn, uWSGI and ASGI servers hand over the raw target. Where a server
    does not, the decoded path is written anew, or refused if it is ambiguous.
    """
    prefix = f"{reverse('oauthbff:api', kwargs={'rest': route.name})}/"
    raw: bytes | None = getattr(request, "scope", {}).get("raw_path")
    query = request.META.get("QUERY_STRING", "")
    if raw is not None:
        target = raw.decode("latin-1").partition("?")[0] + (f"?{query}" if query else "")
        return forwarding.split_target(target, prefix)
    for name in ("RAW_URI", "REQUEST_URI"):
        if name in request.META:
            return forwarding.split_target(str(request.META[name]), prefix)
    if not request.path.startswith(prefix):
        raise PathRefused("the path is not under its route")
    path = forwarding.requote(request.path[len(prefix) :])
    return path, f"?{query}" if query else ""


def body_length(request: HttpRequest, route: Upstream) -> int | None:
    """Return the body's length in bytes, None for a chunked one that we can read.

    Raises `LengthRequired`, `BodyTooLarge`, `BodyBroken`.
    """
    declared = request.META.get("CONTENT_LENGTH") or ""
    chunked = "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower()
    if isinstance(request, ASGIRequest):
        length = spooled_length(request)
    elif chunked:
        if declared or not request.META.get("wsgi.input_terminated"):
            raise LengthRequired("this server cannot hand over a chunked body")
        return None
    elif not declared:
        return 0
    elif not (declared.isascii() and declared.isdigit()):
        raise BodyBroken("the Content-Length is not a number")
    else:
        length = int(declared)
    if length > route.max_body:
        raise BodyTooLarge(f"{length} bytes, at most {route.max_body}")
    return length


def spooled_length(request: ASGIRequest) -> int:
    """Django has received the whole body before the view runs, and knows its length."""
    stream = request._stream
    here = stream.tell()
    length: int = stream.seek(0, 2)
    stream.seek(here)
    return length


def read_body(request: HttpRequest, length: int | None, limit: int) -> Iterator[bytes]:
    """Yield the body. Raises `BodyTooLarge` on a byte too many, `BodyBroken` if it is cut."""
    source = request.META["wsgi.input"] if length is None else request
    seen = 0
    while length is None or seen < length:
        wanted = CHUNK_BYTES if length is None else min(CHUNK_BYTES, length - seen)
        try:
            chunk: bytes = source.read(wanted)
        except Exception as exc:  # each server has errors of its own for a malformed body
            raise BodyBroken(f"the body could not be read: {type(exc).__name__}") from None
        if not chunk:
            break
        seen += len(chunk)
        if seen > limit:
            raise BodyTooLarge(f"more than {limit} bytes")
        yield chunk
    if length is not None and seen < length:
        raise BodyBroken(f"{seen} of {length} bytes came")


def refuses_token(answer: upstream.Answer) -> bool:
    """Whether a 401 says that it is the token that it does not like. RFC 6750 §3.1."""
    challenges = [value for name, value in answer.headers if name.lower() == "www-authenticate"]
    return any(INVALID_TOKEN.search(challenge) for challenge in challenges)


def forwarded(request: HttpRequest) -> str:
    """Who asked, by our own knowledge. RFC 7239."""
    try:
        address = ipaddress.ip_address(request.META.get("REMOTE_ADDR", ""))
        node = f'"[{address}]"' if address.version == 6 else str(address)
    except ValueError:
        node = "unknown"
    scheme, _, host = conf().base_url.partition("://")
    return f'for={node};host="{host}";proto={scheme}'


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(STREAM_THREADS, thread_name_prefix="oauthbff-stream")
