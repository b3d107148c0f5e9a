"""A sweep of very many grants: everything is done, and memory does not grow with the rows.

    SWEEP_GRANTS=1000000 pytest -s tests/contract/test_sweep_scale.py

prints the rows of docs/endings.md; it then takes some minutes and 10 GB of PostgreSQL's disk.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from subprocess import DEVNULL, PIPE
from typing import Any

import psycopg
import pytest

from oauthbff.vault import Envelope
from tests.conftest import MakeSite
from tests.support.provider import CLIENT_ID, NodeProvider
from tests.support.site import KEY, ROOT, Site

GRANTS = int(os.environ.get("SWEEP_GRANTS", "4000"))
FEW = 500
COLUMNS = """
    id user_id issuer client_id subject sid scopes envelope session_digest created_at
    authenticated_at last_used_at expires_at refreshed_at version lease_owner refresh_failures
    user_agent end_reason end_note revocation revocation_attempts revocation_error
""".split()


def idle_grants(count: int, issuer: str, user: int) -> Iterator[tuple[str, list[Any]]]:
    """Yield (session key, row): as a site has them whose users went home an hour ago."""
    now = datetime.now(tz=UTC)
    used, over = now - timedelta(hours=1), now + timedelta(hours=7)
    for number in range(count):
        pk, key = uuid.uuid4(), f"session{number:025}"
        envelope = Envelope(
            access_token=f"at-{number:0900}",  # as long as a JWT
            refresh_token=f"rt-{number:040}",
            id_token=f"id-{number:0900}",
            session_key=key,
            claims={"sub": f"user{number}", "name": "Jane", "email": "jane@example.com"},
        )
        row = [pk, user, issuer, CLIENT_ID, f"user{number}", "", "openid photos.read"]
        row += [envelope.seal(f"grant:{pk}"), f"{number:064}", used, used, used, over, used]
        yield key, [*row, 1, "", 0, "Mozilla/5.0 (X11; Linux x86_64)", "", "", "none", 0, ""]


def fill(site: Site, count: int) -> None:
    """Put `count` idle grants with their sessions into an empty database."""
    assert site.provider
    with psycopg.connect(site.database.url) as db:
        user = "INSERT INTO auth_user (password, is_superuser, username, first_name, last_name,"
        user += " email, is_staff, is_active, date_joined) VALUES ('', false, 'jane', '', '', '',"
        [user_id] = db.execute(user + " false, true, now()) RETURNING id").fetchone() or []
        sessions = []
        copy_grants = f"COPY oauthbff_tokengrant ({', '.join(COLUMNS)}) FROM STDIN"
        with db.cursor() as cursor, cursor.copy(copy_grants) as copy:
            for key, row in idle_grants(count, site.provider.issuer, user_id):
                copy.write_row(row)
                sessions.append(key)
        in_a_day = datetime.now(tz=UTC) + timedelta(days=1)
        copy_sessions = "COPY django_session (session_key, session_data, expire_date) FROM STDIN"
        with db.cursor() as cursor, cursor.copy(copy_sessions) as copy:
            for key in sessions:
                copy.write_row([key, "x" * 200, in_a_day])
    with psycopg.connect(site.database.url, autocommit=True) as db:
        db.execute("ANALYZE")


@dataclass(frozen=True)
class Run:
    said: str
    seconds: float
    peak_mb: float


def sweep(site: Site) -> Run:
    started = time.monotonic()
    words = [sys.executable, ROOT / "manage.py", "sweepgrants"]
    with subprocess.Popen(words, env=site.env, cwd=ROOT, stdout=PIPE, stderr=DEVNULL) as run:
        said = run.stdout.read().decode() if run.stdout else ""
        _, status, usage = os.wait4(run.pid, 0)
        run.returncode = os.waitstatus_to_exitcode(status)
    assert run.returncode == 0, said
    return Run(said, time.monotonic() - started, usage.ru_maxrss / 1024)


@pytest.fixture(params=[True, False], ids=["revocation", "no revocation endpoint"])
def big_site(
    request: pytest.FixtureRequest, make_site: MakeSite, provider: NodeProvider, settings: Any
) -> Site:
    settings.OAUTHBFF = {**settings.OAUTHBFF, "KEYS": {"test": KEY}}
    provider.configure(REVOCATION="1" if request.param else "0")
    site = make_site(database="postgresql", fresh=True)
    provider.configure(REVOCATION="1" if request.param else "0")
    return site


def test_memory_does_not_grow_with_the_number_of_grants(big_site: Site, provider: NodeProvider):
    peaks = []
    for count in (FEW, GRANTS):
        big_site.empty()
        provider.forget_log()
        fill(big_site, count)
        ended = sweep(big_site)
        assert f"{count} ended ({count} idle" in ended.said
        assert f"{count} told to the provider, 0 still waiting" in ended.said
        assert big_site.sql("SELECT count(*) FROM django_session") == [(0,)]
        left = "SELECT DISTINCT end_reason, envelope FROM oauthbff_tokengrant"
        assert big_site.sql(left) == [("idle", "")]
        big_site.sql("UPDATE oauthbff_tokengrant SET ended_at = '2020-01-01'")
        purged = sweep(big_site)
        assert f"{count} old grants" in purged.said
        assert big_site.sql("SELECT count(*) FROM oauthbff_tokengrant") == [(0,)]
        peaks.append(max(ended.peak_mb, purged.peak_mb))
        print(
            f"| {count:,} | {ended.seconds:.0f} s | {purged.seconds:.0f} s | {peaks[-1]:.0f} MB |"
        )
    assert peaks[1] < peaks[0] + 20
