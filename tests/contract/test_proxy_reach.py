"""Whatever is asked, nothing but the configured host, port and prefix is reached. RP rows, A.13."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import json
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.conftest import MakeSite
from tests.support.caller import Caller, signed_in
from tests.support.ports import LOOPBACK, free_port
from tests.support.upstream import RecordingUpstream, answer

# ---------------------------------------------------------------- whatever is asked: the property

PIECES = [
    *(
        "a",
        "b1",
        "..",
        ".",
        "/",
        "//",
        "\\",
        "%2e",
        "%2E%2e",
        "%2f",
        "%5c",
        "%252e",
        "%00",
        "%0d%0a",
    ),
    *("@", ":", ";", "?", "#", "&", "=", "evil.test", "http://", "https:", "127.0.0.1:1", "%40"),
    *(
        "photos2",
        "v1",
        "caf%C3%A9",
        "%0d%0a",
        "\u00fc",
        "\t",
        "~",
        "!",
        "*",
        "'",
        "(",
        ")",
        "|",
        "[",
        "]",
    ),
]
TARGET = st.sampled_from(["1", "a/b?c=/..", ""]) | st.lists(
    st.sampled_from(PIECES) | st.text(max_size=3), max_size=8
).map("".join)
NAMES = """Host X-Forwarded-Host X-Forwarded-Proto X-Forwarded-Prefix X-Forwarded-Uri Forwarded
    X-Original-URL X-Rewrite-URL X-Original-Host X-Host X-HTTP-Method-Override X-Upstream Via
    Connection Cookie Authorization Proxy-Authorization Proxy-Connection Upgrade Expect TE Trailer
    Referer Range X-Tenant X-Real-IP Destination Max-Forwards Accept-Encoding Content-Type
    """.split()
VALUES = st.sampled_from(
    ["evil.test", "http://evil.test/photos2/1", "localhost:1", "photos2", "DELETE", "close", "Host"]
    + ["Authorization", "X-Tenant", "/bff/api/photos2/1", "host=evil.test;proto=https", "upgrade"]
)
#: What the route lets through, and ours.
MAY_PASS = {"host", "accept-encoding", "authorization", "via", "forwarded", "user-agent"}
MAY_PASS |= {"range", "x-tenant", "content-type", "x-request-id"}
LINES = st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=4)


@pytest.mark.parametrize("door", ["gunicorn", "uvicorn"])
def test_rp2_rp3_no_path_query_or_header_reaches_another_host_port_or_prefix(jane: Caller):
    """Through raw sockets, with hypothesis. What arrives is byte-identical and of the route."""
    up = jane.upstream
    ours = f"{LOOPBACK}:{up.port}"
    passed = refused = 0

    @settings(
        max_examples=150,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(target=TARGET, lines=LINES)
    @example(target="@evil.test/", lines=[])
    @example(target="../photos2/1", lines=[])
    @example(target="/evil.test/", lines=[("X-Forwarded-Host", "evil.test")])
    @example(target="1", lines=[(name, "evil.test") for name in NAMES if name[:2] == "X-"])
    @example(target="1", lines=[("Connection", "Host"), ("X-Forwarded-Prefix", "evil.test")])
    def ask(target: str, lines: list[tuple[str, str]]) -> None:
        nonlocal passed, refused
        up.requests.clear()
        written = target.encode("utf-8", "surrogatepass").split(b" ")[0].translate(None, b"\r\n")
        said = jane.ask(
            "GET", b"extra/" + written, *[f"{name}: {value}" for name, value in lines if value]
        )
        assert said.status < 500 or said.status in (501, 505), (written, lines, said.wire[:200])
        for call in up.requests:
            path = written.partition(b"#")[0] if not jane.sees_the_raw_target else written
            assert call.target.encode() == b"/extra/" + path.removesuffix(b"?") or (
                call.target.encode() == b"/extra/" + written
            )
            assert call.all("Host") == [ours]
            assert call.method == "GET"
            assert (call.token or "evil") != "evil"
            assert len(call.all("Authorization")) == 1
            assert call.get("Cookie") is None
            assert {name.lower() for name, _ in call.headers} <= MAY_PASS
            [word] = call.all("Via") + call.all("Forwarded")[1:]
            assert word == f"1.1 localhost:{jane.site.port}"
            assert "evil" not in call.all("Forwarded")[0]
        passed, refused = passed + bool(up.requests), refused + (not up.requests)

    ask()
    assert passed and refused  # it asked both kinds of questions
    jane.still_works()


# -------------------------------------------------------------------------- names and certificates


ALLOWED = ("right", "wrong")


@dataclass
class Https:
    port: int
    heard: list[bytes]


@contextmanager
def https_upstream(pem: Path, name: x509.GeneralName) -> Iterator[Https]:
    """An API over TLS whose certificate, written to `pem`, is for `name`."""
    key = ec.generate_private_key(ec.SECP256R1())
    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "oauthbff test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(own)
        .issuer_name(own)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    heard: list[bytes] = []
    listener = socket.create_server((LOOPBACK, 0))

    def serve() -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(line, server_side=True) as safe:
                    heard.append(safe.recv(65536))
                    safe.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsafe")
            except OSError:
                line.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield Https(listener.getsockname()[1], heard)
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


@contextmanager
def relay(port: int, to: int) -> Iterator[list[int]]:
    """Bytes go through, from one port to another. Yields one item per connection."""
    seen: list[int] = []

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def carry(line: socket.socket) -> None:
        with line, socket.create_connection((LOOPBACK, to)) as onward:
            back = threading.Thread(target=pump, args=(onward, line))
            back.start()
            pump(line, onward)
            back.join()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = listener.accept()
                seen.append(1)
                threading.Thread(target=carry, args=(line,)).start()

    with socket.create_server((LOOPBACK, port)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield seen
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.mark.parametrize("server", ["gunicorn", "uvicorn"])
def test_rp5_rp6_who_cannot_prove_its_name_gets_no_token_and_no_call_goes_round(
    make_site: MakeSite, upstream: RecordingUpstream, tmp_path: Path, server: str
):
    """DNS may lead anywhere: to another host, or back to us.

    The certificate must be for the configured name, and a new request has neither our header
    nor our cookie, so that our own door refuses it.
    """
    own = x509.IPAddress(ipaddress.ip_address(LOOPBACK))
    other = x509.DNSName("photos.example.com")
    again = free_port()
    with (
        https_upstream(tmp_path / "right.pem", own) as right,
        https_upstream(tmp_path / "wrong.pem", other) as wrong,
        https_upstream(tmp_path / "unknown.pem", own) as unknown,
    ):
        believed = tmp_path / "believed.pem"
        believed.write_bytes(b"".join((tmp_path / f"{n}.pem").read_bytes() for n in ALLOWED))
        urls = {
            name: f"https://{LOOPBACK}:{one.port}/"
            for name, one in {"right": right, "wrong": wrong, "unknown": unknown}.items()
        }
        urls["loop"] = f"http://{LOOPBACK}:{again}/bff/api/loop/"
        site = make_site(
            fresh=True,
            server=server,
            upstreams={name: {"url": url} for name, url in urls.items()},
            env={"SSL_CERT_FILE": str(believed)},
        )
        jane = signed_in(site, upstream)
        said = jane.ask("GET", "right/1")
        assert (said.status, said.body) == (200, b"safe")
        assert b"Authorization: Bearer " in right.heard[0]
        for name in ("wrong", "unknown"):
            said = jane.ask("GET", f"{name}/1")
            assert (said.status, said.code) == (502, "upstream_unreachable"), name
        assert wrong.heard == unknown.heard == []
        with relay(again, site.port) as connections:
            said = jane.ask("GET", "loop/1")
        assert (said.status, said.code) == (403, None)  # the second door's, passed on as theirs
        assert b"csrf_failed" in said.body
        assert len(connections) == 1


# ------------------------------------------------------------------------- ourselves, the provider


def test_rp4_rp6_rp7_a_server_does_not_start_with_routes_like_these(
    make_site: MakeSite, upstream: RecordingUpstream
):
    site = make_site()
    issuer = site.env["OIDC_OP_ISSUER"].rstrip("/")
    wrong = {
        "http": ("http://photos.example.com/", "E021"),
        "user": ("https://jane:secret@photos.example.com/", "E020"),
        "query": ("https://photos.example.com/?key=secret", "E020"),
        "ourselves": (f"{site.base_url}/bff/api/", "E022"),
        "by-another-name": (f"{site.base_url.replace('localhost', LOOPBACK)}/", "E022"),
        "provider": (f"{issuer}/me/", "E053"),
    }
    routes = json.dumps({name: {"url": url} for name, (url, _) in wrong.items()})
    before, site.env = site.env, {**site.env, "OAUTHBFF_UPSTREAMS": routes}
    try:
        said = site.manage("check", expect=1)
    finally:
        site.env = before
    for name, (_, check) in wrong.items():
        assert re.search(rf'oauthbff\.{check}\) OAUTHBFF\["UPSTREAMS"\]\["{name}"\]', said), said
    assert "secret" not in said


@pytest.mark.parametrize("door", ["gunicorn", "uvicorn"])
def test_a13_nothing_that_is_said_to_us_is_fetched(jane: Caller, make_site: MakeSite):
    """Addresses in a query, a header, a redirect or a body: none is ever connected to."""
    with socket.create_server((LOOPBACK, 0)) as trap:
        trap.settimeout(0.2)
        here = f"http://{LOOPBACK}:{trap.getsockname()[1]}/"
        for status in (301, 302, 303, 307, 308):
            jane.upstream.on("/photos/leads", answer(status=status, headers=[("Location", here)]))
            assert jane.ask("GET", "photos/leads").code == "upstream_unreachable"
        for path in ("login/?return_to=", "login/?request_uri=", "login/?iss=", "session/?next="):
            jane.browser.navigate(f"/bff/{path}{here}", follow=False)
        lines = [f"X-Forwarded-Host: {here}", f"X-Original-URL: {here}", f"Referer: {here}"]
        assert jane.ask("GET", f"photos/1?url={here}", *lines).status == 200
        with pytest.raises(TimeoutError):
            trap.accept()
