"""Bodies of any size pass in constant memory, both ways. RB-1.

SIZE=1073741824 pytest -s tests/contract/test_proxy_memory.py     the run of docs/proxy.md
"""

from __future__ import annotations

import hashlib
import os
import socket
import time
from pathlib import Path

import pytest

from tests.conftest import MakeSite
from tests.support.caller import signed_in
from tests.support.ports import LOOPBACK
from tests.support.site import Site
from tests.support.upstream import RecordingUpstream, huge, huge_sha256

SIZE = int(os.environ.get("SIZE", 100_000_000))
MOST_GROWTH = 50_000_000
BLOCK = bytes(range(256)) * 256


class Memory:
    """Resident memory of a server and its workers: before, and at its peak since."""

    def __init__(self, site: Site) -> None:
        assert site._child
        leader = site._child.pid
        every = (path for path in Path("/proc").iterdir() if path.name.isdigit())
        self._processes = [path for path in every if _group(path) == leader]
        for process in self._processes:
            (process / "clear_refs").write_text("5")  # the peak begins anew
        self.before = self._sum("VmRSS")

    @property
    def growth(self) -> int:
        return self._sum("VmHWM") - self.before

    def _sum(self, name: str) -> int:
        lines = [
            line for one in self._processes for line in (one / "status").read_text().splitlines()
        ]
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def _group(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(") ")[2].split()[2])
    except OSError:  # it has just ended
        return 0


@pytest.mark.parametrize("server", ["gunicorn", "uvicorn"])
def test_rb1_a_body_of_any_size_passes_in_constant_memory(
    make_site: MakeSite, upstream: RecordingUpstream, server: str
):
    routes = {"big": {"url": f"{upstream.url}/big/", "max_body": 2 * SIZE}}
    site = make_site(server=server, upstreams=routes)
    jane = signed_in(site, upstream)
    upstream.on("/big/down", huge(SIZE))
    assert jane.ask("PUT", "big/up", f"Content-Length: {len(BLOCK)}", body=BLOCK).status == 200
    upstream.requests.clear()

    memory, begin, digest = Memory(site), time.monotonic(), hashlib.sha256()
    with socket.create_connection((LOOPBACK, site.port), timeout=300) as line:
        line.sendall(jane.head("PUT", "/bff/api/big/up", f"Content-Length: {SIZE}"))
        for start in range(0, SIZE, len(BLOCK)):
            piece = BLOCK[: SIZE - start]
            line.sendall(piece)
            digest.update(piece)
        assert line.recv(65536).startswith(b"HTTP/1.1 200 ")
    up, up_seconds = memory.growth, time.monotonic() - begin
    [call] = upstream.requests
    assert (call.length, call.sha256) == (SIZE, digest.hexdigest())

    memory, begin, digest = Memory(site), time.monotonic(), hashlib.sha256()
    with socket.create_connection((LOOPBACK, site.port), timeout=300) as line:
        line.sendall(jane.head("GET", "/bff/api/big/down"))
        got, count = b"", 0
        while b"\r\n\r\n" not in got:
            got += line.recv(65536)
        piece = got.partition(b"\r\n\r\n")[2]
        while count < SIZE:
            piece = piece or line.recv(1_000_000)
            assert piece, count
            digest.update(piece)
            count += len(piece)
            piece = b""
    down, down_seconds = memory.growth, time.monotonic() - begin
    assert (count, digest.hexdigest()) == (SIZE, huge_sha256(SIZE))

    print(
        f"\n{server}: {SIZE / 2**20:.0f} MiB up in {up_seconds:.1f} s, peak +{up / 2**20:.1f} MiB;"
        f" down in {down_seconds:.1f} s, peak +{down / 2**20:.1f} MiB;"
        f" {memory.before / 2**20:.0f} MiB before"
    )
    assert max(up, down) < MOST_GROWTH
