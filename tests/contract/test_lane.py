"""What only the lane does: when it serves, what it cuts, what many calls cost.

`LANE_SCALE=1` makes the numbers of docs/lane.md: 450 event streams, a gigabyte.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeSite
from tests.support.caller import Caller, eventually, parse, signed_in, two_feeds
from tests.support.ports import LOOPBACK
from tests.support.site import Site
from tests.support.upstream import (
    RecordingUpstream,
    Reply,
    answer,
    events,
    huge,
    huge_sha256,
)

WHOLE = os.environ.get("LANE_SCALE") == "1"
STREAMS = 450 if WHOLE else 150
CALLS = 64
BYTES = 2**30 if WHOLE else 150_000_000
MIB = 1024 * 1024


@pytest.fixture
def jane(make_site: MakeSite, upstream: RecordingUpstream) -> Caller:
    more = {"max_calls": 1200, "max_streams": 1200, "max_body": 2**31}
    site = make_site(
        server="uvicorn",
        database="postgresql",
        env={"LANE": "1", "LOG_LEVEL": "WARNING", "PYTHONDEVMODE": None},
        upstreams={
            "photos": {"url": f"{upstream.url}/photos/", **more},
            "second": {"url": f"{upstream.url}/second/"},
            "guarded": {
                "url": f"{upstream.url}/guarded/",
                "permissions": ["tests.support.guards.AsAsked"],
            },
        },
    )
    return signed_in(site, upstream)


def rss(site: Site) -> int:
    """Bytes in memory of the one process."""
    assert site._child is not None
    pages = int(Path(f"/proc/{site._child.pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


# ------------------------------------------------------------------------- when it is the lane


def lane_connections(jane: Caller) -> set[int]:
    """The lane's own connections: only its statement is about several sessions."""
    rows = jane.site.sql(
        "SELECT pid, query FROM pg_stat_activity WHERE datname = current_database()"
    )
    return {pid for pid, query in rows if query.startswith("SELECT found.* FROM unnest(")}


def test_it_reads_session_and_grant_by_one_statement(jane: Caller):
    assert jane.ask("GET", "photos/1").status == 200
    assert lane_connections(jane)


def test_a_refresh_that_is_due_and_the_last_use_are_written_and_the_call_goes_on(
    jane: Caller,
):
    jane.ask("GET", "photos/1")
    first = jane.upstream.requests[-1].token
    jane.site.sql(
        "UPDATE oauthbff_tokengrant SET last_used_at = last_used_at - interval '5 minutes',"
        " access_expires_at = now()"
    )
    assert jane.ask("GET", "photos/1").status == 200
    second = jane.upstream.requests[-1].token
    assert second not in (None, first)
    [(idle,)] = jane.site.sql("SELECT now() - last_used_at FROM oauthbff_tokengrant")
    assert idle.total_seconds() < 30
    assert jane.ask("GET", "photos/1", "X-BFF-Slide: false").status == 200


def test_which_apis_were_called_is_written_down_at_the_first_call_of_each(jane: Caller):
    """However little time the last use is ago."""
    for name in ("photos", "second", "photos"):
        assert jane.ask("GET", f"{name}/1").status == 200
    [(called,)] = jane.site.sql("SELECT upstreams FROM oauthbff_tokengrant")
    assert called.split() == ["photos", "second"]


def test_a_call_that_the_page_makes_by_itself_is_no_activity(jane: Caller):
    jane.site.sql(
        "UPDATE oauthbff_tokengrant SET last_used_at = last_used_at - interval '5 minutes'"
    )
    assert jane.ask("GET", "photos/1", "X-BFF-Slide: false").status == 200
    [(idle,)] = jane.site.sql("SELECT now() - last_used_at FROM oauthbff_tokengrant")
    assert idle.total_seconds() > 200
    assert jane.ask("GET", "photos/1").status == 200
    [(idle,)] = jane.site.sql("SELECT now() - last_used_at FROM oauthbff_tokengrant")
    assert idle.total_seconds() < 30


ENDS = {
    "ended": "UPDATE oauthbff_tokengrant SET ended_at = now(), end_reason = 'admin'",
    "too-old": "UPDATE oauthbff_tokengrant SET expires_at = now()",
    "idle": "UPDATE oauthbff_tokengrant SET last_used_at = now() - interval '1 day'",
    "disabled": "UPDATE auth_user SET is_active = false",
    "password": "UPDATE auth_user SET password = 'another'",
    "session": "DELETE FROM django_session",
    "session-expired": "UPDATE django_session SET expire_date = now()",
}


@pytest.mark.parametrize("row", ENDS)
def test_what_does_not_stand_any_more_is_refused_at_once(jane: Caller, row: str):
    for _ in range(3):  # the first is written down, the third finds the row as the second did
        assert jane.ask("GET", "photos/1").status == 200
    jane.site.sql(ENDS[row])
    said = jane.ask("GET", "photos/2")
    assert said.status == 401
    assert jane.reached() == ["GET /photos/1"] * 3


@pytest.mark.parametrize(
    "column", ["expires_at = now()", "last_used_at = now() - interval '30 minutes'"]
)
def test_a_row_that_has_not_changed_still_ends_when_its_time_has_come(jane: Caller, column: str):
    jane.site.sql(f"UPDATE oauthbff_tokengrant SET {column} + interval '2 seconds'")
    for _ in range(2):
        assert jane.ask("GET", "photos/1", "X-BFF-Slide: false").status == 200
    time.sleep(2)
    assert jane.ask("GET", "photos/1", "X-BFF-Slide: false").status == 401


def test_when_the_lane_cannot_ask_its_database_django_serves(jane: Caller):
    """Its connections are cut; the call that notices is Django's, later ones are the lane's."""
    assert jane.ask("GET", "photos/1").status == 200
    for pid in lane_connections(jane):
        jane.site.sql("SELECT pg_terminate_backend(%s)", [pid])
    assert {jane.ask("GET", "photos/1").status for _ in range(3)} == {200}

    def carried_again() -> bool:
        assert jane.ask("GET", "photos/1").status == 200
        return bool(lane_connections(jane))

    eventually(carried_again)


# ------------------------------------------------------------------------------- what is cut


def end(jane: Caller) -> float:
    assert jane.browser.fetch("logout/", "POST").status == 200
    return time.monotonic()


def test_an_event_stream_is_cut_within_a_second_of_its_grants_end(jane: Caller):
    bob = signed_in(jane.site, jane.upstream, "bob")
    with two_feeds(jane, bob) as (stream, others):
        ended = end(jane)
        assert list(stream.chunks) == []
        assert time.monotonic() - ended < 1.5  # and the slack of a busy machine
        eventually(lambda: jane.upstream.requests[0].client_gone, seconds=2)
        assert not jane.upstream.requests[1].client_gone
        assert b"".join(others.chunks) == b"data: never\n\n"  # the positive twin


def test_a_download_is_cut_and_looks_cut(jane: Caller):
    reply: Any = Reply(pieces=lambda: [b"x" * 1000] * 200, length=200_000, pause=0.1)
    jane.upstream.on("/photos/slow", reply)
    said: list[Any] = []
    asking = threading.Thread(target=lambda: said.append(jane.ask("GET", "photos/slow")))
    asking.start()
    jane.upstream.wait_for(1)
    time.sleep(0.5)
    ended = end(jane)
    asking.join(5)
    assert time.monotonic() - ended < 2
    assert (said[0].status, said[0].whole) == (200, False)
    assert "Traceback" not in jane.site.log()


def test_an_upload_is_cut_and_never_taken_for_whole(jane: Caller):
    lines = ("Content-Length: 2000000",)
    with socket.create_connection((LOOPBACK, jane.site.port), timeout=10) as line:
        line.sendall(jane.head("PUT", "/bff/api/photos/1", *lines) + b"a" * 1_000_000)
        eventually(lambda: jane.upstream.requests and jane.upstream.requests[0].length > 500_000)
        ended, got = end(jane), b""
        while more := line.recv(65536):
            got += more
        assert time.monotonic() - ended < 2
    said = parse(got)
    assert (said.status, said.code) == (401, "grant_ended")
    assert not jane.upstream.requests[0].complete


# ----------------------------------------------------------------------------- what many cost


@contextlib.contextmanager
def raw_streams(jane: Caller, count: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        lines = []
        for _ in range(count):
            line = stack.enter_context(socket.create_connection((LOOPBACK, jane.site.port)))
            line.sendall(jane.head("GET", "/bff/api/photos/idle"))
            lines.append(line)
        for line in lines:
            line.settimeout(30)
            got = b""
            while b"hello" not in got:
                got += line.recv(4096)
        yield lines


def test_idle_event_streams_cost_little_and_no_thread(jane: Caller):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    try:
        jane.upstream.on("/photos/idle", events("hello", "never", pause=300))
        assert jane.site._child is not None
        tasks = Path(f"/proc/{jane.site._child.pid}/task")
        with raw_streams(jane, 50):  # first-use allocations
            time.sleep(1)
        time.sleep(1)
        before, threads = rss(jane.site), len(list(tasks.iterdir()))
        with raw_streams(jane, STREAMS):
            time.sleep(1.5)
            each = (rss(jane.site) - before) / STREAMS
            grown = len(list(tasks.iterdir())) - threads
            print(f"{STREAMS} event streams: {each / 1024:.1f} KiB each, {grown} more threads")
            assert each < 25_000
            assert grown <= 4
            jane.still_works()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_many_slow_calls_are_under_way_at_once(jane: Caller):
    jane.upstream.on("/photos/slow", answer(b"slow", delay=0.2))
    with concurrent.futures.ThreadPoolExecutor(CALLS) as pool:
        list(pool.map(lambda _: jane.ask("GET", "photos/slow"), range(CALLS)))
        begin = time.monotonic()
        said = list(pool.map(lambda _: jane.ask("GET", "photos/slow"), range(2 * CALLS)))
        seconds = time.monotonic() - begin
    assert {one.status for one in said} == {200}
    print(f"{CALLS} calls of 200 ms in flight: {0.4 / seconds:.0%} of the ideal")
    assert seconds < 10  # one after the other they would take far longer


def test_a_long_body_passes_in_constant_memory_both_ways(jane: Caller):
    jane.upstream.on("/photos/long", huge(BYTES))
    jane.ask("GET", "photos/1")
    before, most = rss(jane.site), 0
    got, seen = hashlib.sha256(), 0
    with jane.browser.stream("api/photos/long") as stream:
        for chunk in stream.chunks:
            got.update(chunk)
            seen += len(chunk)
            most = max(most, rss(jane.site))
    assert (seen, got.hexdigest()) == (BYTES, huge_sha256(BYTES))
    down = most - before

    done = threading.Event()
    piece = b"x" * MIB

    def watch() -> None:
        nonlocal most
        while not done.wait(0.02):
            most = max(most, rss(jane.site))

    watching = threading.Thread(target=watch)
    watching.start()
    said = jane.browser.fetch(
        "api/photos/up", "PUT", body=(piece for _ in range(BYTES // MIB)), timeout=300
    )
    done.set()
    watching.join()
    assert said.status == 200
    assert jane.upstream.requests[-1].length == BYTES // MIB * MIB
    print(f"{BYTES / MIB:.0f} MiB: {down / MIB:.1f} MiB more down, {(most - before) / MIB:.1f} up")
    assert most - before < 16 * MIB
