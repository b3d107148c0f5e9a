"""RecordingUpstream: an API in this process that keeps what reached it and answers as told."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .loopback import Call, Loopback


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A request that reached the API."""

    method: str
    path: str  # with its query, as it came
    headers: Mapping[str, str]  # names in lower case
    body: bytes = field(repr=False)

    @property
    def token(self) -> str | None:
        """The bearer token, None without one."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme == "Bearer" else None


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    body: Any
    headers: Mapping[str, str]
    delay: float


class RecordingUpstream(Loopback):
    """Answers `{}` to everything until it is told better.

    upstream.on("/photos/albums", {"albums": []})
    upstream.on("/photos/slow", delay=40)
    ...
    assert upstream.calls[0].token is not None
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Forget what came, and what to answer."""
        with self._lock:
            self.calls: list[Arrival] = []
            self._answers: dict[str, Answer] = {}

    def on(
        self,
        path: str,
        body: Any = None,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        delay: float = 0,
    ) -> None:
        """Answer so to `path`, without its query. `body`: JSON or bytes; `delay`: seconds."""
        with self._lock:
            self._answers[path] = Answer(
                status=status,
                body={} if body is None else body,
                headers=headers or {},
                delay=delay,
            )

    def answer(self, call: Call) -> None:
        arrival = Arrival(
            method=call.command,
            path=call.path,
            headers={name.lower(): value for name, value in call.headers.items()},
            body=call.body(),
        )
        with self._lock:
            self.calls.append(arrival)
            found = self._answers.get(call.path.partition("?")[0])
        if found is None:
            return call.say(200, {})
        self.stopping.wait(found.delay)
        call.say(found.status, found.body, found.headers)
