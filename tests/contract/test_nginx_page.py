"""docs/nginx.md before a recorder: what it says is what nginx does."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import components
from tests.support.ports import free_port, is_listening
from tests.support.processes import Child
from tests.support.site import ROOT
from tests.support.upstream import RecordingUpstream


@pytest.fixture
def nginx(upstream: RecordingUpstream, tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """nginx with the page's configuration, without TLS; its port, and its access log."""
    components.require("nginx")
    text = (ROOT / "docs/nginx.md").read_text()
    [page] = re.findall(r"^```nginx\n(.*?)^```$", text, re.S | re.M)
    port, log = free_port(), tmp_path / "access.log"
    for old, new in (
        ("listen 443 ssl;", f"listen 127.0.0.1:{port};"),
        ("http://127.0.0.1:8000", upstream.url),
        ("/var/log/nginx/access.log", str(log)),
    ):
        assert old in page
        page = page.replace(old, new)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {tmp_path / kind};" for kind in kinds)
    head = f"daemon off; pid {tmp_path / 'pid'}; events {{}}"
    (tmp_path / "nginx.conf").write_text(f"{head}\nhttp {{ {paths}\n{page}\n}}\n")
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    words = [program, "-e", tmp_path / "error.log", "-c", tmp_path / "nginx.conf"]
    with Child("nginx", words, log=tmp_path / "said.log") as child:
        child.start(lambda: is_listening(port))
        yield port, log


def ask(port: int, target: str) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        line.sendall(
            f"GET {target} HTTP/1.1\r\nHost: app.example.com\r\nX-Request-ID: theirs\r\n"
            "X-Forwarded-Proto: gopher\r\nConnection: close\r\n\r\n".encode()
        )
        return b"".join(iter(lambda: line.recv(65536), b""))


def test_the_path_arrives_as_it_was_sent_and_the_headers_are_nginxs_own(
    nginx: tuple[int, Path], upstream: RecordingUpstream
):
    port, _ = nginx
    target = "/bff/api/photos/a%2Fb//%C3%BC/%2e?x=1%2F2"
    assert b"200" in ask(port, target).split(b"\r\n")[0]

    [call] = upstream.requests
    assert call.target == target
    assert (call.get("Host"), call.get("X-Forwarded-Proto")) == ("app.example.com", "http")
    assert re.fullmatch("[0-9a-f]{32}", call.get("X-Request-ID") or "")


def test_its_log_has_no_code(nginx: tuple[int, Path]):
    port, log = nginx
    ask(port, "/bff/callback/?code=SECRET&state=s")
    assert "/bff/callback/" in log.read_text()
    assert "SECRET" not in log.read_text()
