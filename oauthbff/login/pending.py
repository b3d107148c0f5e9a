"""A login in progress: one sealed cookie per `state`.

The session cookie may be Strict and is then absent when the provider sends the
browser back; and an anonymous visitor must not cost a database row.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import asdict, dataclass, field

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from oauthbff import vault
from oauthbff.cookies import AmbiguousCookie, exact_cookie
from oauthbff.errors import SealBroken
from oauthbff.middleware import cookie_header

COOKIE_PREFIX = "__Host-Http-bff-login-auth-"
COOKIE_NAME = re.compile(re.escape(COOKIE_PREFIX) + "[0-9a-f]{24}")
TRANSACTION_SECONDS = 600
#: Clocks of several hosts may differ by so much.
SKEW_SECONDS = 60
TRANSACTIONS_AT_MOST = 5
#: What they may take of a request's head together: gunicorn and nginx refuse one of more than 8 kB.
ROOM_BYTES = 4096
#: To read one is to search the whole header. A browser brings six at times; hundreds are made up.
MOST_READ = 2 * TRANSACTIONS_AT_MOST


@dataclass(frozen=True, kw_only=True)
class Transaction:
    """What we remember of one login between leaving and coming back."""

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    code_verifier: str = field(repr=False)
    issuer: str
    return_to: str
    started_at: int
    max_age: int | None = None
    #: The grant this browser had when it left: the new one supersedes it.
    replaces: str | None = None

    @property
    def cookie(self) -> str:
        return COOKIE_PREFIX + hashlib.sha256(self.state.encode()).hexdigest()[:24]

    @property
    def is_over(self) -> bool:
        return not -SKEW_SECONDS <= time.time() - self.started_at < TRANSACTION_SECONDS

    def save(self, response: HttpResponse) -> None:
        sealed = vault.seal(json.dumps(asdict(self)).encode(), f"login:{self.cookie}")
        response.set_cookie(
            self.cookie,
            sealed,
            max_age=TRANSACTION_SECONDS,
            path="/",
            secure=True,
            httponly=True,
            samesite="Lax",
        )

    @classmethod
    def load(cls, request: HttpRequest, cookie: str) -> Transaction | None:
        """Return the transaction that a cookie holds; None when it holds none of ours."""
        try:
            sealed = exact_cookie(cookie_header(request), cookie)
            if sealed is None:
                return None
            return cls(**json.loads(vault.unseal(sealed, f"login:{cookie}")))
        except (AmbiguousCookie, SealBroken, ValueError, TypeError):
            return None

    @classmethod
    def of(cls, request: HttpRequest, state: str) -> Transaction | None:
        cookie = COOKIE_PREFIX + hashlib.sha256(state.encode()).hexdigest()[:24]
        found = cls.load(request, cookie)
        return found if found is not None and found.state == state else None


def drop(response: HttpResponseBase, cookie: str) -> None:
    """Delete a transaction cookie; a `__Host-` name wants its attributes again."""
    response.set_cookie(cookie, "", max_age=0, path="/", secure=True, httponly=True, samesite="Lax")


def make_room(request: HttpRequest, response: HttpResponse, current: Transaction) -> None:
    """Keep few logins in progress beside the one that was just saved: drop the dead, then the old.

    At most five, and no more than a request has room for: what is too much is refused by the
    server in front, on every page of the site, until the cookies expire.
    """
    alive = []
    named = [name for name in request.COOKIES if COOKIE_NAME.fullmatch(name)]
    for name in named[:MOST_READ]:
        found = Transaction.load(request, name)
        if found is None or found.is_over:
            drop(response, name)
        else:
            alive.append(found)
    alive.sort(key=lambda one: one.started_at)
    room = ROOM_BYTES - _size(current.cookie, response.cookies[current.cookie].value)
    for count, one in enumerate(reversed(alive), 2):
        room -= _size(one.cookie, request.COOKIES[one.cookie])
        if count > TRANSACTIONS_AT_MOST or room < 0:
            drop(response, one.cookie)


def _size(name: str, value: str) -> int:
    return len(f"{name}={value}; ")
