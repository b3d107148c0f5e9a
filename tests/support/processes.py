"""Child processes: started with a log file, waited for, and always stopped.

Each child leads its own process group, so that a server's workers die with it. Children that
are still there when Python ends (a test failed, Ctrl-C) are killed then.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_running: set[Child] = set()


class ChildFailed(AssertionError):
    """A child did not start, or ended when it should not. Its log is in the message."""


class Child:
    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self.command = [str(word) for word in command]
        self.log_path = log
        self.env = dict(os.environ if env is None else env)
        self.cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, ready: Callable[[], bool], *, seconds: float = 30) -> Self:
        """Start it and return when `ready()` says so. Raises `ChildFailed` if it never does."""
        assert not self.alive, f"{self.name} runs already"
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.env,
                cwd=self.cwd,
                start_new_session=True,
            )
        _running.add(self)
        end = time.monotonic() + seconds
        try:
            while not ready():
                if self._process.poll() is not None:
                    raise ChildFailed(f"{self.name} ended with {self._process.returncode}{self}")
                if time.monotonic() > end:
                    raise ChildFailed(f"{self.name} is not ready after {seconds:g} s{self}")
                time.sleep(0.03)
        except BaseException:
            self.stop()
            raise
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def stop(self, *, seconds: float = 5) -> None:
        """Ask it to end, then make it. Does nothing to a child that has ended."""
        if self._process is None:
            return
        if self.alive:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        self._signal(signal.SIGKILL)  # also the workers of a leader that is gone
        self._process.wait()
        _running.discard(self)

    def kill(self) -> None:
        """End it as a power cut would: no signal handler runs."""
        if self._process is None:
            return
        self._signal(signal.SIGKILL)
        self._process.wait()
        _running.discard(self)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def __str__(self) -> str:
        tail = "\n".join(self.log().splitlines()[-40:])
        return f"\n--- {' '.join(self.command)}\n--- {self.log_path}, its end:\n{tail}\n---"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


@atexit.register
def stop_all() -> None:
    for child in list(_running):
        child.stop(seconds=1)
