"""The part of the upstream that has to think: uploads are hashed, event streams kept open.

    python bench/upstream.py PORT

nginx serves everything else. Each request without a Bearer token is refused.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import time

EVENT_SECONDS = 2.0
UNAUTHORIZED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
EVENTS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while await one(reader, writer):
            pass
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    body = hashlib.sha256()
    length = 0
    async for piece in body_of(reader, headers):
        body.update(piece)
        length += len(piece)
    if not headers.get("authorization", "").startswith("Bearer "):
        writer.write(UNAUTHORIZED)
        await writer.drain()
        return True
    path = first.split(" ")[1].partition("?")[0]
    if path.endswith("/events"):
        await events(reader, writer)
        return False
    if path.endswith("/slow"):
        await asyncio.sleep(0.2)
    said = json.dumps({"bytes": length, "sha256": body.hexdigest()}).encode()
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
        % (len(said), said)
    )
    await writer.drain()
    return True


async def body_of(reader: asyncio.StreamReader, headers: dict[str, str]):  # noqa: ANN201
    if headers.get("transfer-encoding", "").lower() == "chunked":
        while size := int((await reader.readline()).split(b";")[0], 16):
            yield await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
        return
    left = int(headers.get("content-length") or 0)
    while left:
        piece = await reader.read(min(left, 1 << 18))
        if not piece:
            raise ConnectionError
        left -= len(piece)
        yield piece


async def events(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Numbered events, each with the time it was sent, until the other side hangs up."""
    writer.write(EVENTS)
    gone = asyncio.ensure_future(reader.read(1))
    number = 0
    while not gone.done():
        event = f"id: {number}\ndata: {time.monotonic()}\n\n".encode()
        writer.write(b"%x\r\n%s\r\n" % (len(event), event))
        await writer.drain()
        number += 1
        await asyncio.wait([gone], timeout=EVENT_SECONDS)


async def main() -> None:
    server = await asyncio.start_server(
        serve, "127.0.0.1", int(sys.argv[1]), backlog=4096, limit=1 << 20
    )
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    try:
        import uvloop
    except ImportError:
        asyncio.run(main())
    else:
        uvloop.run(main())
