"""Keys change while the site runs: nobody is signed out, no token is lost.

Real processes refresh at a provider that revokes the family on any reuse, while the command seals
everything anew. REKEY_GRANTS=100000 REKEY_WORKERS=8 makes it the measurement of docs/keys.md, which
`pytest -s` prints. (tests/settings.py deletes variables named OAUTHBFF_*.)
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from oauthbff.testing.provider import StrictProvider
from tests.conftest import MakeSite
from tests.support.provider import CLIENT_ID, CLIENT_SECRET, NodeProvider
from tests.support.site import KEY, ROOT, Site

GRANTS = int(os.environ.get("REKEY_GRANTS", "300"))
WORKERS = int(os.environ.get("REKEY_WORKERS", "2"))
NEW = base64.b64encode(os.urandom(32)).decode()
OLD_FIRST = {"OAUTHBFF_KEYS": f"test:{KEY}"}
#: Every process can open both before any process seals with the new one.
BOTH_OLD_FIRST = {"OAUTHBFF_KEYS": f"test:{KEY},new:{NEW}"}
BOTH_NEW_FIRST = {"OAUTHBFF_KEYS": f"new:{NEW},test:{KEY}"}
NEW_ALONE = {"OAUTHBFF_KEYS": f"new:{NEW}"}


def program(site: Site, word: str, stdin: str = "") -> str:
    return subprocess.run(
        [sys.executable, "-m", "tests.support.refreshers", word],
        cwd=ROOT,
        env=site.env,
        input=stdin,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@contextlib.contextmanager
def refreshers(site: Site, keys: dict[str, str], saw: Counter[str]) -> Iterator[None]:
    """Processes that refresh at random as long as the block lasts; what they saw goes to `saw`."""
    command = [sys.executable, "-m", "tests.support.refreshers", "refresh"]
    running = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env={**site.env, **keys},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(WORKERS)
    ]
    try:
        yield
    finally:
        for child in running:
            said, _ = child.communicate("stop\n", timeout=60)
            saw.update(json.loads(said))


@pytest.mark.parametrize("database", ["sqlite", "postgresql", "mariadb"])
def test_no_token_is_lost_while_everything_is_sealed_anew(make_site: MakeSite, database: str):
    with StrictProvider(CLIENT_ID, CLIENT_SECRET) as strict:
        strict.configure(expires_in=1, id_token=False)  # each use after a second refreshes
        env = {"CONN_MAX_AGE": "60", "OIDC_TIMEOUT": "20", "LOG_LEVEL": "WARNING"}
        site = make_site(fresh=True, issuer=strict.issuer, database=database, env=env)
        people = strict.sign_in_many(GRANTS)
        program(site, "fill", "\n".join(map(json.dumps, people)))
        site.env.update(BOTH_NEW_FIRST)
        saw: Counter[str] = Counter()

        with refreshers(site, BOTH_NEW_FIRST, saw):
            started, before = time.monotonic(), strict.refreshes
            said, memory = rekey(site)
            took = time.monotonic() - started
            refreshed = strict.refreshes - before
        print(f"\n| {database} | {GRANTS} | {took:.1f} s | {memory} MB | {refreshed} |\n{said}")

        assert set(saw) == {"refreshed or fresh"}, saw
        assert strict.reuses == 0
        assert refreshed > 0
        assert re.search(rf"new: {GRANTS} grants .*test: 0 grants may be removed", said, re.S)
        site.env.update(NEW_ALONE)  # and the old key is indeed needed no more
        opened = [json.loads(line) for line in program(site, "open").splitlines()]
        assert {sub for sub, _, _ in opened} == {sub for sub, _ in people}
        assert {key_id for _, _, key_id in opened} == {"new"}
        for sub, refresh_token, _ in opened:
            token = strict.tokens[refresh_token]
            assert token.alive and token.sub == sub


def rekey(site: Site) -> tuple[str, int]:
    """Run the command; return what it said and the most memory that it was seen with, in MB."""
    command = [sys.executable, "-u", "manage.py", "rekeygrants"]
    said, most = "", 0
    with subprocess.Popen(
        command, cwd=ROOT, env=site.env, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            said += line
            # Not ru_maxrss: that begins with what the process that started it had.
            status = Path(f"/proc/{child.pid}/status").read_text()
            found = re.search(r"VmHWM:\s+(\d+) kB", status)  # none of one that is ending
            most = max(most, int(found[1]) // 1024 if found else 0)
    assert child.returncode == 0
    return said, most


def test_a_process_that_still_seals_with_the_old_key_is_noticed(make_site: MakeSite):
    with StrictProvider(CLIENT_ID, CLIENT_SECRET) as strict:
        strict.configure(expires_in=1, id_token=False)
        env = {"LOG_LEVEL": "WARNING"}
        site = make_site(fresh=True, issuer=strict.issuer, database="postgresql", env=env)
        program(site, "fill", "\n".join(map(json.dumps, strict.sign_in_many(60))))
        site.env.update(BOTH_NEW_FIRST)
        saw: Counter[str] = Counter()
        assert "may be removed" in site.manage("rekeygrants")
        before, deadline = strict.refreshes, time.monotonic() + 60
        with refreshers(site, BOTH_OLD_FIRST, saw):
            while strict.refreshes == before:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        said = site.manage("rekeygrants", "--dry-run")
        assert "has not the new first key yet" in said and "may be removed" not in said
        assert "may be removed" in site.manage("rekeygrants")
        assert set(saw) == {"refreshed or fresh"}
        assert strict.reuses == 0


def test_a_dry_run_says_how_many_and_changes_nothing(make_site: MakeSite):
    site = make_site(fresh=True)
    for name in ("jane", "joe"):
        site.browser().login(name)
    site.env.update(BOTH_NEW_FIRST)
    before = site.sql("SELECT id, envelope FROM oauthbff_tokengrant ORDER BY id")
    said = site.manage("rekeygrants", "--dry-run")
    assert "2 grants would be sealed with new anew" in said
    assert re.search(r"test: 2 grants\n", said)
    assert site.sql("SELECT id, envelope FROM oauthbff_tokengrant ORDER BY id") == before


def test_people_stay_signed_in_over_the_whole_change_of_keys(
    make_site: MakeSite, provider: NodeProvider
):
    site = make_site(fresh=True, workers=2)
    jane = site.browser()
    jane.login("jane")
    for keys in (BOTH_OLD_FIRST, BOTH_NEW_FIRST):
        site.restart(keys)
        assert jane.fetch("api/photos/1").status == 200
    assert "1 grants sealed with new anew" in site.manage("rekeygrants")
    site.restart(NEW_ALONE)
    assert jane.fetch("api/photos/1").status == 200
    assert jane.session()["user"]["sub"] == "jane"
    assert jane.fetch("logout/", "POST").status == 200
    assert provider.live_refresh_tokens == 0


def test_what_does_not_open_is_counted_and_left(make_site: MakeSite):
    site = make_site(fresh=True)
    for name in ("jane", "joe", "jim"):
        site.browser().login(name)
    [(one, _), (other, sealed), _] = site.sql(
        "SELECT id, envelope FROM oauthbff_tokengrant ORDER BY id"
    )
    site.sql("UPDATE oauthbff_tokengrant SET envelope = %s WHERE id = %s", (sealed, one))
    site.sql("UPDATE oauthbff_tokengrant SET envelope = 'v1.gone.AAAA' WHERE id = %s", (other,))
    site.env.update(BOTH_NEW_FIRST)
    said = site.manage("rekeygrants")
    assert "1 grants sealed with new anew" in said
    assert "1 grants do not open" in said
    assert "gone: 1 grants, and the key is gone" in said
    assert "may be removed" not in said
