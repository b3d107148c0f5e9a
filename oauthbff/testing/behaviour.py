"""How a `StrictProvider` behaves and what it remembers. Data, no verbs but `Hold`'s."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ABSENT: Any = object()
LIFETIME = 3600  # of an access token, where `expires_in` does not say


@dataclass
class Switches:
    """How the provider behaves, until the next `configure`."""

    rotation: str = "always"  # "grace": the old one works on; "never": no new one; "echo": the same
    expires_in: Any = LIFETIME  # as it is written into the answer; ABSENT: not at all
    refresh_tokens: bool = True  # False: none is ever issued
    id_token: bool = True  # whether a refresh brings one
    id_claims: Mapping[str, Any] = field(default_factory=dict)  # changed in a refreshed ID token
    signed_by: str = "us"  # refreshed ID token: "stranger" (our kid), "unknown" (a kid) or "none"
    refreshed_scope: str | None = None  # None: what was granted
    resources: frozenset[str] | None = None  # that may be asked for; None: any
    revocation: str = "family"  # what revoking a refresh token takes along; "token": nothing
    down: frozenset[str] = frozenset()  # of "token", "revocation" and "jwks": they answer 503


@dataclass(eq=False)
class Token:
    value: str = field(repr=False)
    kind: str  # "refresh" or "access"
    family: str
    sub: str
    scope: str
    resource: str | None
    expires_at: float
    spent: bool = False  # a refresh token that was exchanged, and works no more
    replaced: bool = False  # one that was exchanged and works on for a while: "grace"
    revoked: bool = False
    revoked_by: list[str] = field(default_factory=list)  # "request", "family" or "reuse"

    @property
    def alive(self) -> bool:
        return not (self.revoked or self.spent) and time.time() < self.expires_at


@dataclass(eq=False)
class Presentation:
    """A refresh token was shown to the token endpoint."""

    token: str = field(repr=False)
    form: Mapping[str, str] = field(repr=False)
    acted: bool = False  # the provider looked at it; False: it failed before it could
    reuse: bool = False
    delivered: bool = False  # the whole answer reached somebody, as far as can be known
    gave: tuple[str, ...] = field(default=(), repr=False)  # the tokens of the answer
    error: str | None = None


@dataclass
class Fault:
    after: bool = False  # when the work is done and the token has rotated
    delay: float = 0  # before the provider acts, or before it answers
    status: int | None = None
    body: Any = None  # text is sent as HTML, anything else as JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    patch: Mapping[str, Any] | None = None  # members of the true answer that change
    drop: bool = False  # not a byte of an answer
    half: bool = False  # half of the bytes announced


class Hold:
    """One refresh that waits at the provider until `release`."""

    def __init__(self, after: bool) -> None:
        self.after = after
        self._arrived = threading.Event()
        self._go = threading.Event()

    def wait(self, seconds: float = 10) -> None:
        """Return when a refresh has come to wait."""
        if not self._arrived.wait(seconds):
            raise AssertionError("no refresh arrived at the provider")

    def release(self) -> None:
        self._go.set()

    def stop_here(self) -> None:
        self._arrived.set()
        self._go.wait(30)
