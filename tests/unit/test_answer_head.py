"""The head of an upstream's answer is read in the one way there is, or not at all. RFC 9112."""

from __future__ import annotations

import io
from http.client import HTTPException, RemoteDisconnected
from typing import Any, cast

import pytest

from oauthbff.upstream import _Head


class Wire:
    """What has come over a connection, and that is all."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: Any) -> io.BufferedReader:
        return io.BufferedReader(cast(Any, io.BytesIO(self._data)))


def read(*lines: bytes, status: bytes = b"HTTP/1.1 200 OK", method: str = "GET") -> _Head:
    wire = b"\r\n".join([status, *lines, b"", b"whole"])
    head = _Head(cast(Any, Wire(wire)), method=method)
    head.begin()
    return head


CLEAR = {
    b'ETag: "x"': ("ETag", '"x"'),
    b'ETag:"x"': ("ETag", '"x"'),
    b'ETag: \t"x" \t': ("ETag", '"x"'),
    b"X-Empty:": ("X-Empty", ""),
    b"x-beyond: caf\xe9": ("x-beyond", "caf\xe9"),
    b"X: a: b": ("X", "a: b"),
    b"Content-Type: multipart/mixed": ("Content-Type", "multipart/mixed"),
}


@pytest.mark.parametrize("line", CLEAR)
def test_a_field_is_its_name_and_its_value(line: bytes):
    assert read(b"Content-Length: 5", line).fields == [("Content-Length", "5"), CLEAR[line]]


@pytest.mark.parametrize(
    "line",
    [
        *(b" folded", b"\tfolded", b"nameless", b": nameless", b"Before : colon", b"From me"),
        *(b"a: b\rc: d", b"Content-Length:", b"Content-Length: +5", b"Content-Length: -5"),
        *(b"Content-Length: 5, 5", b"Content-Length: 5 5", b"Content-Length: " + b"5" * 19),
        *(b"Content-Length: 6", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: gzip"),
        *(b"X: " + b"y" * 65536, b"\r\n".join([b"X: y"] * 101)),
    ],
)
def test_what_two_readers_read_in_two_ways_is_refused(line: bytes):
    with pytest.raises(HTTPException):
        read(b"Content-Length: 5", line)


@pytest.mark.parametrize(
    "status",
    [
        *(b"HTTP/1.1", b"HTTP/1.1 20", b"HTTP/1.1 099 Low", b"HTTP/1.1 1000 High", b"HTTP/2 200"),
        *(b"HTTP/1.1 2x0", b"ICY 200 OK", b" HTTP/1.1 200 OK", b"HTTP/1.1 101 Switch", b""),
        b"HTTP/1.1 200 \rOK",
    ],
)
def test_what_does_not_begin_like_an_answer_is_none(status: bytes):
    with pytest.raises(HTTPException):
        read(b"Content-Length: 5", status=status)


@pytest.mark.parametrize("length", range(1, 48))
def test_a_head_that_is_cut_off_is_none(length: int):
    wire = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: b\r\n\r\n"[:length]
    head = _Head(cast(Any, Wire(wire)), method="GET")
    if length >= 44:
        return head.begin()
    with pytest.raises(HTTPException):
        head.begin()


def test_nothing_at_all_is_no_answer():
    with pytest.raises(RemoteDisconnected):
        _Head(cast(Any, Wire(b"")), method="GET").begin()


def test_lines_may_end_with_a_line_feed_alone():
    head = _Head(cast(Any, Wire(b"HTTP/1.1 200 OK\nContent-Length: 5\n\nwhole")), method="GET")
    head.begin()
    assert (head.status, head.fields, head.read()) == (200, [("Content-Length", "5")], b"whole")


@pytest.mark.parametrize("status", [b"HTTP/1.1 200 OK", b"HTTP/1.1 200 ", b"HTTP/1.1 200"])
def test_the_reason_is_nobodys_business(status: bytes):
    assert read(b"Content-Length: 5", status=status).read() == b"whole"


def test_interim_answers_are_skipped_with_their_fields():
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    head = read(b"Content-Length: 5", status=hints + b"HTTP/1.1 200 OK")
    assert (head.status, head.fields) == (200, [("Content-Length", "5")])


CHUNKED, LENGTH = b"Transfer-Encoding: Chunked", b"Content-Length: 5"
#: Lines of the head, and: is the body chunked, how long is it, does the connection end with it?
FRAMED: list[tuple[bytes, str, list[bytes], tuple[bool, int | None, bool]]] = [
    (b"HTTP/1.1 200 OK", "GET", [LENGTH], (False, 5, False)),
    (b"HTTP/1.1 200 OK", "GET", [LENGTH, LENGTH], (False, 5, False)),
    (b"HTTP/1.1 200 OK", "GET", [CHUNKED], (True, None, False)),
    (b"HTTP/1.1 200 OK", "GET", [CHUNKED, LENGTH], (True, None, True)),
    (b"HTTP/1.1 200 OK", "GET", [], (False, None, True)),
    (b"HTTP/1.1 200 OK", "HEAD", [], (False, 0, False)),
    (b"HTTP/1.1 200 OK", "HEAD", [LENGTH], (False, 0, False)),
    (b"HTTP/1.1 204 None", "GET", [], (False, 0, False)),
    (b"HTTP/1.1 304 Same", "GET", [LENGTH], (False, 0, False)),
    (b"HTTP/1.1 200 OK", "GET", [LENGTH, b"Connection: close"], (False, 5, True)),
    (
        b"HTTP/1.1 200 OK",
        "GET",
        [LENGTH, b"Connection: a", b"connection: b, Close"],
        (False, 5, True),
    ),
    (b"HTTP/1.1 200 OK", "GET", [LENGTH, b"Connection: disclose"], (False, 5, False)),
    (b"HTTP/1.0 200 OK", "GET", [LENGTH], (False, 5, True)),
    (b"HTTP/1.0 200 OK", "GET", [LENGTH, b"Connection: Keep-Alive"], (False, 5, False)),
]


@pytest.mark.parametrize(("status", "method", "lines", "framing"), FRAMED)
def test_where_the_body_ends(status: bytes, method: str, lines: list[bytes], framing: Any):
    head = read(*lines, status=status, method=method)
    assert (head.chunked, head.length, head.will_close) == framing
    if framing[0]:
        assert "content-length" not in {name.lower() for name, _ in head.fields}
