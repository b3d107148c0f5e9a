"""Ports for the servers of the tests: no two runs on one machine ever give out the same."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

from tests.support.ports import BLOCK, LOOPBACK, free_port
from tests.support.site import ROOT

SAYS = """
import sys
from tests.support.ports import free_port
print(free_port(), flush=True)
sys.stdin.read()
"""


def test_each_process_has_a_block_of_its_own_below_what_outgoing_connections_get():
    ports = [free_port()]
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            other = stack.enter_context(
                subprocess.Popen([sys.executable, "-c", SAYS], cwd=ROOT, stdin=PIPE, stdout=PIPE)
            )
            assert other.stdout is not None
            ports.append(int(other.stdout.readline()))
    assert len({port // BLOCK for port in ports}) == 3
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert max(ports) < first


def test_a_port_that_is_taken_is_not_given_out():
    with socket.socket() as taken:
        port = free_port()
        taken.bind((LOOPBACK, port))
        assert port not in {free_port() for _ in range(BLOCK)}
