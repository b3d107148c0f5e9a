"""The example site, in a process that dies with SIGKILL at a named point of its own code.

    gunicorn tests.support.lethal:application           with LETHAL_FILE=/a/path
    python -m tests.support.lethal sweepgrants          a management command

The file says where: lines of `module function call|return`, to be met one after the other, in
whatever thread; the last one kills. The first request to come reads the file and removes it, so
that it happens once. It works by Python's profile hook: the site's code has no seam for it and
nothing is replaced. Without the file this is project.wsgi, a little slower.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any

from django.core.management import execute_from_command_line

from project.wsgi import application as site

FILE = Path(os.environ.get("LETHAL_FILE", "/nonexistent/lethal"))

_to_come: list[list[str]] = []


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    _arm()
    return site(environ, start_response)


def _arm() -> None:
    mine = FILE.with_suffix(f".{os.getpid()}")
    try:
        FILE.rename(mine)
    except FileNotFoundError:
        return
    _to_come[:] = [line.split() for line in mine.read_text().splitlines()]
    mine.unlink()


def _watch(frame: FrameType, event: str, _: object) -> None:
    if not _to_come:
        return
    module, function, moment = _to_come[0]
    code = frame.f_code
    if event != moment or code.co_qualname != function or frame.f_globals["__name__"] != module:
        return
    if len(_to_come) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    _to_come.pop(0)


threading.setprofile(_watch)  # for the threads to come: the server's and the provider's

if __name__ == "__main__":
    _arm()
    sys.setprofile(_watch)
    execute_from_command_line(sys.argv)
