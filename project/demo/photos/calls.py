"""What has been asked of us: the demo shows it, to prove who carries the token.

A call is remembered under the subject of its token. A call without a good
token belongs to nobody and is shown to everybody; the demo's visitor may try
the API from a shell and see it refused.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .tokens import AccessToken

REMEMBERED = 60
NOT_REMEMBERED = ("/calls", "/health")


@dataclass(frozen=True, kw_only=True)
class Call:
    n: int
    at: datetime
    method: str
    path: str
    query: str
    status: int
    token: AccessToken | None
    headers: Headers

    def as_json(self) -> dict[str, Any]:
        return {
            "n": self.n,
            "at": self.at.isoformat(timespec="milliseconds"),
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "call_id": self.headers.get("x-call-id"),
            "status": self.status,
            "token": self.token and described(self.token),
            "cookie": "cookie" in self.headers,
            "headers": sorted(set(self.headers.keys())),
        }


def described(token: AccessToken) -> dict[str, Any]:
    return {
        "sub": token.subject,
        "scope": " ".join(token.scopes),
        "client_id": token.client_id,
        "expires_in": token.expires_in,
        "jti_tail": token.jti[-6:],
    }


class Ledger:
    """ASGI middleware that remembers each call when its answer begins."""

    def __init__(self, app: ASGIApp, calls: Calls) -> None:
        self.app = app
        self.calls = calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in NOT_REMEMBERED:
            await self.app(scope, receive, send)
            return
        at = datetime.now(UTC)
        state = scope.setdefault("state", {})

        async def note_and_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.calls.note(
                    at=at,
                    method=scope["method"],
                    path=scope["path"],
                    query=scope["query_string"].decode("latin-1"),
                    status=message["status"],
                    token=state.get("token"),
                    headers=Headers(scope=scope),
                )
            await send(message)

        await self.app(scope, receive, note_and_send)


class Calls:
    """The last calls of each subject; those of nobody under None."""

    def __init__(self) -> None:
        self._calls: dict[str | None, deque[Call]] = {}
        self._numbers = count(1)

    def note(self, *, token: AccessToken | None, **facts: Any) -> None:
        whose = token and token.subject
        calls = self._calls.setdefault(whose, deque(maxlen=REMEMBERED))
        calls.append(Call(n=next(self._numbers), token=token, **facts))

    def of(self, subject: str) -> list[Call]:
        """Return the last calls that this person may see, newest first."""
        seen = [*self._calls.get(subject, ()), *self._calls.get(None, ())]
        return sorted(seen, key=lambda call: call.n, reverse=True)[:REMEMBERED]
