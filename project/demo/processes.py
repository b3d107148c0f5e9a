"""Child processes that never outlive us.

Each part of the demo runs in a session of its own, so that Ctrl-C reaches only
the command, which then ends the parts in good order. Should the command itself
be killed, Linux ends them for it (prctl PR_SET_PDEATHSIG); elsewhere they stay.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import urllib3

READY_SECONDS = 60
POLL_SECONDS = 0.1
#: Time to end politely; event streams may be open.
GRACE_SECONDS = 6
TAIL_LINES = 15
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, kw_only=True)
class Part:
    """A program to run: how, with what environment, and where it writes."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    directory: Path
    log: Path
    #: It is ready when this answers 200.
    ready_url: str = ""
    ready_headers: Mapping[str, str] = field(default_factory=dict)


class PartFailed(Exception):
    """A part ended when it should not have, or never became ready."""

    def __init__(self, part: Part, what: str) -> None:
        lines = part.log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        tail = "\n".join(f"    {line}" for line in lines)
        super().__init__(f"{part.name} {what}. The end of {part.log}:\n\n{tail}\n")


class Troupe:
    """The parts that are running. Leaving the `with` block ends them all."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[Part, subprocess.Popen[bytes]]] = {}

    def __enter__(self) -> Troupe:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    def start(self, part: Part) -> None:
        with part.log.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - our own command lines
                part.command,
                env=dict(part.environment),
                cwd=part.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with(os.getpid()),
            )
        self._running[part.name] = part, process

    def finish(self, part: Part) -> None:
        """Wait for a part that has something to do and then ends. Raises `PartFailed`."""
        _, process = self._running[part.name]
        if process.wait() != 0:
            raise PartFailed(part, f"failed ({ending(process)})")
        del self._running[part.name]

    def wait_until_ready(self, part: Part) -> None:
        """Return when the part answers. Raises `PartFailed` if it ends or takes too long."""
        give_up_at = time.monotonic() + READY_SECONDS
        while not is_ready(part):
            self.check()
            if time.monotonic() > give_up_at:
                raise PartFailed(part, f"did not answer within {READY_SECONDS} seconds")
            time.sleep(POLL_SECONDS)

    def watch(self) -> None:
        """Block for as long as every part runs. Raises `PartFailed` when one has ended."""
        while True:
            self.check()
            time.sleep(POLL_SECONDS)

    def check(self) -> None:
        for part, process in self._running.values():
            if process.poll() is not None:
                raise PartFailed(part, f"has ended ({ending(process)})")

    def end(self) -> None:
        """Ask every part to end, the last one first; kill what is left after a while."""
        processes = [process for _, process in reversed(self._running.values())]
        try:
            for process in processes:
                signal_group(process, signal.SIGTERM)
            give_up_at = time.monotonic() + GRACE_SECONDS
            for process in processes:
                process.wait(max(0.0, give_up_at - time.monotonic()))
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            pass  # The second Ctrl-C of somebody in a hurry.
        finally:
            for process in processes:
                signal_group(process, signal.SIGKILL)
                process.wait()
            self._running.clear()


def is_ready(part: Part) -> bool:
    try:
        answer = urllib3.request(
            "GET", part.ready_url, headers=part.ready_headers, timeout=2, retries=False
        )
    except urllib3.exceptions.HTTPError:
        return False
    return answer.status == 200


def is_taken(port: int) -> bool:
    """Does anything listen on this port of our own host, by IPv4 or IPv6?"""
    for address in ("127.0.0.1", "::1"):
        try:
            socket.create_connection((address, port), timeout=1).close()
        except OSError:
            continue
        return True
    return False


def signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal a part and its workers, which may have survived it."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def ending(process: subprocess.Popen[bytes]) -> str:
    code = process.returncode
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def die_with(parent: int) -> Callable[[], None] | None:
    """Return what a child runs before its program, to be ended when `parent` ends."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)

    def tie() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it has ended already
            os._exit(1)

    return tie
