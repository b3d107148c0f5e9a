"""The example site with everything turned up that could give a secret away.

What a site would add: receivers of our signals that write down what they get, mails to the
admins with the whole error page, a crash after any view. And, for the test's sake, the repr of
every object of ours that any of our functions takes, holds or returns.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from django.core.exceptions import SynchronousOnlyOperation
from django.http import HttpRequest, HttpResponse

from oauthbff import signals
from project.settings import *  # noqa: F403
from project.settings import LOGGING, MIDDLEWARE

MIDDLEWARE = [f"{__name__}.CrashWhereAsked", *MIDDLEWARE]
ADMINS = [("Ada", "ada@example.com")]
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = os.environ["CANARY_MAILS"]
LOGGING["handlers"]["mail"] = {
    "class": "django.utils.log.AdminEmailHandler",
    "level": "ERROR",
    "include_html": True,
}
LOGGING["root"]["handlers"].append("mail")

CRASH = "X-Crash"


class CrashWhereAsked:
    """Outermost: whatever was done and known by the views is in the request by then."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if CRASH in request.headers:
            raise RuntimeError("a middleware of the site broke")
        return response


def break_for_eve(user: Any, claims: dict[str, Any]) -> None:
    """A CLAIMS_HOOK: with tokens in hand, something breaks in the middle of the callback."""
    if claims["sub"] == "eve":
        raise RuntimeError("a hook of the site broke")


_seen: set[str] = set()


def _write(text: str) -> None:
    if text not in _seen:
        _seen.add(text)
        with open(os.environ["CANARY_REPRS"], "a") as file:
            file.write(f"{text}\n")


def _receive(sender: Any, **facts: Any) -> None:
    _write(f"signal: {sender!r} {facts!r}")


def _enter(frame: FrameType, event: str, value: Any) -> Callable[..., Any] | None:
    """Called for each function that begins; see sys.settrace."""
    if not frame.f_globals.get("__name__", "").startswith("oauthbff."):
        return None
    frame.f_trace_lines = False
    return _watch


def _watch(frame: FrameType, event: str, value: Any) -> None:
    if event != "return":
        return
    for thing in {id(thing): thing for thing in (value, *frame.f_locals.values())}.values():
        if type(thing).__module__.startswith("oauthbff."):
            try:
                _write(f"{type(thing).__name__}: {thing!r} {thing}")
            except (AttributeError, TypeError, SynchronousOnlyOperation):
                continue  # not whole yet, or a row that would have to be read first


for _signal in vars(signals).values():
    if isinstance(_signal, signals.Signal):
        _signal.connect(_receive, weak=False)
threading.settrace(_enter)
sys.settrace(_enter)
