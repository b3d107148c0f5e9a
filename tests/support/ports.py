"""Ports nobody listens on, all on 127.0.0.1.

Each run of the tests has a block of ports to itself, below those that the system gives to
outgoing connections: nobody can take a port between `free_port` and the server it is for.
"""

from __future__ import annotations

import fcntl
import functools
import itertools
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

LOOPBACK = "127.0.0.1"
BLOCK = 1000
BLOCKS = range(12_000, 32_000, BLOCK)


def free_port() -> int:
    """Return a port of this process's block that is free now; one just given out comes last."""
    for port in itertools.islice(_ports(), BLOCK):
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise OSError("all ports of this run's block are taken")


@functools.cache
def _ports() -> Iterator[int]:
    for start in BLOCKS:
        if _claimed(Path(tempfile.gettempdir(), f"oauthbff-test-ports-{start}")):
            return itertools.cycle(range(start, start + BLOCK))
    raise OSError(
        f"all blocks of ports are claimed ({tempfile.gettempdir()}/oauthbff-test-ports-*)"
    )


def _claimed(file: Path) -> bool:
    """Lock the file for as long as this process lives; False: it is another's."""
    try:
        lock = os.open(file, os.O_CREAT | os.O_RDWR)
    except PermissionError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return False
    return True


def is_listening(port: int) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1):
            return True
    except OSError:
        return False


def wait_for_port(port: int, *, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not is_listening(port):
        if time.monotonic() > end:
            raise TimeoutError(f"nobody listens on {LOOPBACK}:{port} after {seconds:g} s")
        time.sleep(0.05)
