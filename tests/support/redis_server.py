"""RedisServer: a Redis of one test's own, to flush, stop, freeze and start again."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from tests.support.ports import LOOPBACK, free_port
from tests.support.processes import Child


class RedisServer:
    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://{LOOPBACK}:{self.port}/0"
        program = shutil.which("redis-server")
        assert program, "no redis-server on the PATH (apt-get install redis-server)"
        words = [program, "--port", str(self.port), "--bind", LOOPBACK, "--dir", str(folder)]
        self._child = Child("redis", [*words, "--save", ""], log=folder / "redis.log")
        self._frozen = False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.go_on()
        self._child.stop()

    @property
    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)

    def start(self) -> None:
        self._child.start(self._answers)

    def kill(self) -> None:
        self._child.kill()

    def freeze(self) -> None:
        """Let it answer nobody and lose nothing: slower than anybody waits."""
        os.kill(self._child.pid, signal.SIGSTOP)
        self._frozen = True

    def go_on(self) -> None:
        if self._frozen:
            os.kill(self._child.pid, signal.SIGCONT)
            self._frozen = False

    def _answers(self) -> bool:
        try:
            with self.client as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
