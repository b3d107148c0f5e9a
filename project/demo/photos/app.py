"""The API's doors: `uvicorn project.demo.photos.app:app`.

Told by the environment: `PHOTOS_ISSUER` and `PHOTOS_AUDIENCE`, what a token
must say; `PHOTOS_SUBJECTS`, whose albums to paint before the doors open.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import HTTP
from functools import wraps

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from .albums import Albums
from .calls import Calls, Ledger
from .prints import STEPS, Orders, checked
from .problems import Problem, ScopeMissing, http_exception_response, problem_response
from .tokens import Issuer

UPLOAD_BYTES = 20 * 1024 * 1024
ORDER_BYTES = 64 * 1024

Endpoint = Callable[[Request], Awaitable[Response]]

issuer = Issuer(os.environ["PHOTOS_ISSUER"], os.environ["PHOTOS_AUDIENCE"])
albums = Albums()
orders = Orders()
calls = Calls()


def requires(scope: str) -> Callable[[Endpoint], Endpoint]:
    """Let only calls pass whose token carries `scope`; `request.state.token` is then set."""

    def guard(endpoint: Endpoint) -> Endpoint:
        @wraps(endpoint)
        async def guarded(request: Request) -> Response:
            token = await run_in_threadpool(issuer.judge, request.headers)
            request.state.token = token
            if scope not in token.scopes:
                raise ScopeMissing(scope)
            return await endpoint(request)

        return guarded

    return guard


@requires("photos.read")
async def list_photos(request: Request) -> Response:
    album = await run_in_threadpool(albums.of, request.state.token.subject)
    return JSONResponse({"photos": [photo.as_json() for photo in album.values()]})


@requires("photos.write")
async def add_photo(request: Request) -> Response:
    body = await body_up_to(UPLOAD_BYTES, request)
    filename, data = uploaded(request, body)
    subject = request.state.token.subject
    photo = await run_in_threadpool(albums.add, subject, data, filename)
    return JSONResponse(photo.as_json(), 201)


@requires("photos.write")
async def remove_photo(request: Request) -> Response:
    subject = request.state.token.subject
    await run_in_threadpool(albums.remove, subject, request.path_params["photo"])
    return Response(status_code=204)


@requires("photos.read")
async def show_image(request: Request) -> Response:
    subject = request.state.token.subject
    photo = await run_in_threadpool(albums.photo, subject, request.path_params["photo"])
    # A browser may keep the picture, but has to ask us each time whether it may show it.
    headers = {"ETag": photo.etag, "Cache-Control": "private, no-cache"}
    if photo.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(photo.jpeg, headers=headers, media_type="image/jpeg")


@requires("prints.order")
async def order_print(request: Request) -> Response:
    subject = request.state.token.subject
    try:
        wish = json.loads(await body_up_to(ORDER_BYTES, request))
    except ValueError as exc:
        raise Problem(400, "The body is not JSON.") from exc
    album = await run_in_threadpool(albums.of, subject)
    order = orders.order(subject, *checked(wish, album))
    return JSONResponse(order.as_json(), 201)


@requires("prints.order")
async def list_prints(request: Request) -> Response:
    mine = orders.of(request.state.token.subject)
    return JSONResponse({"prints": [order.as_json() for order in mine]})


@requires("prints.order")
async def follow_print(request: Request) -> Response:
    """Server-sent events. A follower who has seen the end gets 204, and stops asking."""
    order = orders.find(request.state.token.subject, request.path_params["print"])
    last = request.headers.get("last-event-id", "")
    seen = int(last) if last.isdecimal() else -1
    if seen >= STEPS:
        return Response(status_code=204)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(order.events(seen), headers=headers, media_type="text/event-stream")


@requires("photos.read")
async def list_calls(request: Request) -> Response:
    seen = calls.of(request.state.token.subject)
    return JSONResponse({"calls": [call.as_json() for call in seen]})


async def health(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def body_up_to(limit: int, request: Request) -> bytes:
    """Return the body; stop reading, and refuse it, where it passes `limit` bytes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise Problem(413, f"The body is larger than {limit} bytes.")
    return bytes(body)


def uploaded(request: Request, body: bytes) -> tuple[str, bytes]:
    """Return name and bytes of the file in `body`: a form's `file` field, or the body itself."""
    form = EmailMessage()
    form["Content-Type"] = request.headers.get("content-type", "application/octet-stream")
    if form.get_content_type() != "multipart/form-data":
        return request.query_params.get("title", ""), body
    delimiter = f"\r\n--{form.get_boundary('')}".encode()
    for part in (b"\r\n" + body).split(delimiter)[1:-1]:
        head, _, data = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        field = message_from_bytes(head, policy=HTTP)
        if field.get_param("name", header="content-disposition") == "file":
            return field.get_filename(""), data
    raise Problem(422, "The form has no field named file.")


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    await run_in_threadpool(albums.paint, os.environ.get("PHOTOS_SUBJECTS", "").split())
    yield


app = Starlette(
    routes=[
        Route("/photos", list_photos),
        Route("/photos", add_photo, methods=["POST"]),
        Route("/photos/{photo}", remove_photo, methods=["DELETE"]),
        Route("/photos/{photo}/image", show_image),
        Route("/prints", list_prints),
        Route("/prints", order_print, methods=["POST"]),
        Route("/prints/{print}/events", follow_print),
        Route("/calls", list_calls),
        Route("/health", health),
    ],
    middleware=[Middleware(Ledger, calls=calls)],
    exception_handlers={Problem: problem_response, HTTPException: http_exception_response},
    lifespan=lifespan,
)
