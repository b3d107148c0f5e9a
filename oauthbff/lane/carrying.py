"""One call, carried: request up, answer down, both as they come.

What the rules are is in `forwarding`, whose token it is has been found. Up to the first
byte of the answer a failure is a problem document, as Django's door writes it; after it
the browser's answer is cut off like the upstream's.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpResponse

from oauthbff import correlation, door, events, forwarding, grants, telemetry
from oauthbff.bulkhead import Place, bulkhead
from oauthbff.conf import Upstream, conf
from oauthbff.errors import (
    BFFError,
    ProviderError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from oauthbff.upstream import REPEATABLE

from . import wire
from .asked import Asked
from .clock import clock
from .finding import newer_token
from .threads import in_thread

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
RawHeaders = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Plan:
    """What the lane has decided to do."""

    asked: Asked
    route: Upstream
    target: str
    #: The body's length; None for a chunked one.
    length: int | None
    found: grants.Standing | None
    token: str | None = field(repr=False)


class BrowserLeft(Exception):
    """Nobody waits for the answer any more."""


class Cut(Exception):
    """The grant has ended while the answer was under way."""


class Call:
    """A call under way."""

    def __init__(self, plan: Plan, receive: Receive, send: Send, site_headers: RawHeaders) -> None:
        self._plan = plan
        #: What the site's middleware adds to each answer.
        self._site_headers = site_headers
        self._receive = receive
        self._send = send
        self._line: wire.Line | None = None
        self._place: Place | None = None
        self._pump: asyncio.Task[None] | None = None
        self._begun = self._streams = False
        self._over: BaseException | None = None
        #: When the call must have ended; event streams have no such end.
        self._until = time.monotonic() + plan.route.timeouts.total
        self._room = plan.route.max_answer
        self.handle: uuid.UUID | None = plan.found.handle if plan.found else None

    async def carry(self) -> None:
        clock.add(self)
        try:
            await self._carry()
        except BrowserLeft:
            pass  # an answer that began is left without its end
        except Cut:
            await self._end_cut()
        except BFFError as exc:
            if not self._begun:
                await self._refuse(exc)
        except Exception:
            if self._over is None:
                events.view_broke(trace=True, **self._plan.asked.where)
                if not self._begun:
                    broken = door.problem(500, "error", "Something went wrong.")
                    await answer(self._send, broken, self._site_headers)
        finally:
            clock.remove(self)
            if self._pump is not None:
                self._pump.cancel()
            self._let_go()

    async def _end_cut(self) -> None:
        """An event stream has no end of its own to look whole at: it simply ends."""
        if self._begun and self._streams:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        elif not self._begun and self._plan.found is not None:
            try:
                await in_thread(grants.reread, self._plan.found.grant)
            except BFFError as exc:
                await self._refuse(exc)

    async def _refuse(self, exc: BFFError) -> None:
        plan = self._plan
        await refuse(plan.asked, exc, self._send, self._site_headers, plan.route)

    async def _carry(self) -> None:
        plan = self._plan
        body = await self._small_body()
        line = await self._ask(plan.token, body)
        if plan.token is not None and forwarding.refuses_token(line.status, line.headers):
            line = await self._retry(plan.token, body) or line
        await self._relay(line)

    # ----------------------------------------------------------------------------- asking

    async def _ask(self, token: str | None, body: bytes | None) -> wire.Line:
        """Send the request and wait for the answer's head."""
        plan = self._plan
        headers = forwarding.request_headers(
            plan.asked.header,
            plan.route,
            authorization=None if token is None else f"Bearer {token}",
            via=forwarding.via(conf().base_url),
            forwarded=forwarding.forwarded(plan.asked.address, conf().base_url),
            request_id=correlation.current(),
        )
        with telemetry.calling(plan.route.name, plan.asked.method, headers) as call:
            place = self._place = bulkhead(plan.route).enter()
            line = await self._exchange(place, headers, body)
            place.reached()
            call.status = line.status
        self._streams = forwarding.is_event_stream(line.headers)
        if self._streams:
            place.becomes_stream()
            self._until, self._room = wire.NEVER, None
        return line

    async def _exchange(
        self, place: Place, headers: forwarding.Headers, body: bytes | None
    ) -> wire.Line:
        """Ask once, and once more if a kept connection turns out to have been dead."""
        plan, pool = self._plan, wire.pool(self._plan.route)
        streams = body is None and forwarding.has_body(plan.asked.method, plan.length)
        head = forwarding.request_head(
            plan.asked.method,
            plan.target,
            headers,
            has_body=streams or body is not None,
            length=plan.length,
        )
        repeatable = plan.asked.method in REPEATABLE and not streams
        line = pool.take() or await pool.connect(place)
        while True:
            self._check()
            self._line = line
            line.begin(plan.asked.method, head + (body or b""))
            if streams:
                line.sent = False
                self._pump = asyncio.create_task(self._upload(line))
            else:
                line.deadline = time.monotonic() + plan.route.timeouts.first_byte
            try:
                await line.answer()
            except wire.NoAnswer:
                self._check()
                if not (line.used and repeatable):
                    raise
            except BFFError as exc:
                self._check()
                if isinstance(exc, UpstreamTimeout):
                    place.failed()
                raise
            else:
                line.deadline = wire.NEVER
                return line
            line.drop()
            line = await pool.connect(place)

    async def _retry(self, token: str, body: bytes | None) -> wire.Line | None:
        """Refresh once and ask once more; None when that is not possible. As `ProxyDoor.retry`."""
        plan = self._plan
        assert plan.found is not None  # noqa: S101 - there is a token
        try:
            newer = await newer_token(plan.found, plan.route.resource, token)
        except ProviderError as exc:
            events.token_refused_upstream(exc, grant=plan.found.handle)
            return None
        if body is None and forwarding.has_body(plan.asked.method, plan.length):
            return None
        self._let_go()
        return await self._ask(newer, body)

    # --------------------------------------------------------------------- the request's body

    async def _small_body(self) -> bytes | None:
        """A small body, held so that it can be sent again; None: there is none, or it streams."""
        plan = self._plan
        if not forwarding.has_body(plan.asked.method, plan.length):
            return None
        if not forwarding.is_replayable(plan.length):
            return None
        meter, chunks = forwarding.Meter(plan.route, plan.length), []
        more = True
        while more:
            chunk, more = await self._next_chunk()
            chunks.append(meter.count(chunk))
        meter.end()
        return b"".join(chunks)

    async def _next_chunk(self) -> tuple[bytes, bool]:
        """The next bytes of the browser's body, and whether more will come."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise BrowserLeft
        return message.get("body", b""), message.get("more_body", False)

    async def _upload(self, line: wire.Line) -> None:
        """Send the body while it comes, then go on listening: the browser may leave."""
        plan = self._plan
        meter, more = forwarding.Meter(plan.route, plan.length), True
        try:
            while more:
                chunk, more = await self._next_chunk()
                meter.count(chunk)
                if chunk:
                    line.write(chunk if plan.length is not None else _chunked(chunk))
                    line.deadline = time.monotonic() + plan.route.timeouts.first_byte
                    await line.drained()
                    line.deadline = wire.NEVER
            meter.end()
        except BrowserLeft as exc:
            self._stop(exc)
            return
        except BFFError as exc:
            line.fail(exc)  # half a request is never taken for a whole one
            return
        if plan.length is None:
            line.write(b"0\r\n\r\n")
        line.sent = True
        if not line.status:
            line.deadline = time.monotonic() + plan.route.timeouts.first_byte
        await self._listen()

    # -------------------------------------------------------------------------- the answer

    async def _relay(self, line: wire.Line) -> None:
        plan = self._plan
        mount = plan.asked.mount_of(plan.route)
        headers = forwarding.response_headers(
            line.status, line.headers, plan.route, mount, plan.target
        )
        length = dict(headers).get("Content-Length", "0")
        if self._room is not None and not line.at_end and int(length) > self._room:
            raise UpstreamUnreachable(f"the answer has {length} bytes, at most {self._room}")
        # The first bytes now, so that an answer that breaks before them can be a 502.
        chunk = b"" if self._streams else await self._read(line)
        self._check()
        self._begun = True
        raw = [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in headers]
        said = {name for name, _ in raw}
        raw += [pair for pair in self._site_headers if pair[0] not in said]
        await self._send({"type": "http.response.start", "status": line.status, "headers": raw})
        while chunk or self._streams:
            last = line.at_end
            if chunk:
                await self._send(
                    {"type": "http.response.body", "body": chunk, "more_body": not last}
                )
                if last:
                    return
            chunk = await self._read(line)
            if not chunk:
                break
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _read(self, line: wire.Line) -> bytes:
        line.deadline = time.monotonic() + self._plan.route.timeouts.idle
        try:
            chunk = await line.read()
        except BFFError:
            self._check()
            raise
        line.deadline = wire.NEVER
        if self._room is not None:
            self._room -= len(chunk)
            if self._room < 0:
                raise UpstreamUnreachable("the answer is too large")
        return chunk

    # -------------------------------------------------------------------- for the clock

    def is_late(self, now: float) -> bool:
        return self._line is not None and now > min(self._line.deadline, self._until)

    def fail_late(self, error: BFFError) -> None:
        if self._line is not None:
            self._line.fail(error)

    def look_for_the_browser(self) -> None:
        if self._pump is None:
            self._pump = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._stop(BrowserLeft())

    def cut(self) -> None:
        self._stop(Cut())

    def _stop(self, why: BaseException) -> None:
        self._over = why
        if self._line is not None:
            self._line.fail(UpstreamUnreachable("given up"))

    def _check(self) -> None:
        if self._over is not None:
            raise self._over

    def _let_go(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None
        if self._place is not None:
            self._place.leave()
            self._place = None


def _chunked(chunk: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(chunk), chunk)


async def answer(send: Send, response: HttpResponse, site_headers: RawHeaders) -> None:
    """Send an answer of ours."""
    raw = [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in response.items()]
    raw.append((b"content-length", str(len(response.content)).encode()))
    said = {name for name, _ in raw}
    raw += [pair for pair in site_headers if pair[0] not in said]
    await send({"type": "http.response.start", "status": response.status_code, "headers": raw})
    await send({"type": "http.response.body", "body": response.content})


async def refuse(
    asked: Asked,
    exc: BFFError,
    send: Send,
    site_headers: RawHeaders,
    route: Upstream | None = None,
) -> None:
    """Refuse, in the words and with the log line of Django's doors."""
    response = door.problem_of(exc)
    door.note(exc, response["X-BFF-Error"], upstream=route.name if route else "", **asked.where)
    await answer(send, response, site_headers)
