"""Killed with -9 at each step of an ending or of a sweep: what is left, what the next sweep does.

`pytest -s` prints the table of docs/endings.md.
"""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.contract.test_refresh_kill import LethalSite, Point
from tests.support.provider import NodeProvider
from tests.support.site import default_upstreams
from tests.support.upstream import RecordingUpstream

LONG_AGO = "2020-01-01 00:00:00"


@dataclass(frozen=True)
class Step:
    name: str
    where: str  # for tests/support/lethal.py
    ended: bool  # whether the grant has ended nevertheless
    session_left: bool  # whether the Django session row is still there
    live: int  # refresh tokens that the provider still honours


STEPS = (
    Step("before it begins", "oauthbff.grants.ending end call", False, True, 1),
    Step("inside the transaction", "oauthbff.grants.ending _mark_ended return", False, True, 1),
    Step("after the commit", "oauthbff.grants.ending _after_end call", True, True, 1),
    Step("session deleted", "oauthbff.grants.sessions delete_sessions_of return", True, False, 1),
    Step("revocation claimed", "oauthbff.provider.tokens revoke call", True, False, 1),
    Step("provider told, not noted", "oauthbff.grants.telling _settle call", True, False, 0),
)


@pytest.fixture(scope="module")
def lethal_site(
    node_provider: NodeProvider, recording_upstream: RecordingUpstream
) -> Iterator[LethalSite]:
    site = LethalSite(
        provider=node_provider,
        upstreams=default_upstreams(recording_upstream.url),
        workers=1,
        database="sqlite",
    )
    with site:
        yield site


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_a_crash_between_any_two_steps_loses_nothing(
    lethal_site: LethalSite, provider: NodeProvider, step: Step
):
    site = lethal_site
    site.empty()
    provider.serve(site.base_url)
    jane = site.browser()
    jane.login("jane")
    site.die_at(Point(name=step.name, where=(step.where,), asked=0, waits=False, outcome=""))
    with pytest.raises((OSError, http.client.HTTPException)):
        jane.fetch("logout/", "POST")
    site.wait_until_it_serves()

    assert provider.live_refresh_tokens == step.live
    assert (site.sql("SELECT count(*) FROM django_session") == [(1,)]) is step.session_left
    call = jane.fetch("api/photos/1")
    inside = jane.navigate("/admin/", from_site=f"{site.base_url}/", follow=False).status
    if not step.ended:
        assert (call.status, inside) == (200, 200)
        seen = "still signed in; signing out again works"
        assert jane.fetch("logout/", "POST").status == 200
    else:
        assert (call.status, call.json()["reason"], inside) == (401, "logout", 302)
        seen = "refused: grant_ended, logout"
        site.sql("UPDATE oauthbff_tokengrant SET revocation_due_at = %s", (LONG_AGO,))
        assert "1 told to the provider" in site.manage("sweepgrants")
    assert provider.live_refresh_tokens == 0
    assert site.sql("SELECT revocation, envelope FROM oauthbff_tokengrant") == [("done", "")]
    assert site.sql("SELECT count(*) FROM django_session") == [(0,)]
    told = "no" if step.live else "yes"
    print(f"| {step.name} | {seen} | {told} | told, secrets gone |")


SWEEP_STEPS = {
    "inside the transaction": "oauthbff.grants.ending _mark_ended return",
    "after the commit": "oauthbff.grants.ending _after_end call",
    "sessions deleted": "oauthbff.grants.sessions delete_sessions_of return",
    "revocations claimed": "oauthbff.grants.telling _ask call",
    "provider asked, in one of eight threads": "oauthbff.provider.tokens revoke return",
    "provider told, not noted": "oauthbff.grants.telling _settle call",
    "noted, not committed": "oauthbff.grants.rows record_many return",
}


@pytest.mark.parametrize("step", SWEEP_STEPS)
def test_a_sweep_that_is_killed_is_finished_by_the_next(
    lethal_site: LethalSite, provider: NodeProvider, step: str
):
    site = lethal_site
    site.empty()
    provider.serve(site.base_url)
    for number in range(3):
        site.browser().login(f"user{number}")
    site.sql("UPDATE oauthbff_tokengrant SET last_used_at = %s", (LONG_AGO,))
    steps = [SWEEP_STEPS[step]]
    if step == "noted, not committed":
        steps.insert(0, "oauthbff.grants.telling close call")
    site.die_at(Point(name=step, where=tuple(steps), asked=0, waits=False, outcome=""))
    killed = subprocess.run(
        [sys.executable, "-m", "tests.support.lethal", "sweepgrants"], env=site.env, timeout=60
    )
    assert killed.returncode == -9
    left = site.sql("SELECT end_reason, revocation FROM oauthbff_tokengrant")
    # A claim of a dead process runs out by itself; here nobody waits for that.
    site.sql("UPDATE oauthbff_tokengrant SET revocation_due_at = %s", (LONG_AGO,))
    site.manage("sweepgrants")
    assert set(site.sql("SELECT end_reason, revocation, envelope FROM oauthbff_tokengrant")) == {
        ("idle", "done", "")
    }
    assert provider.live_refresh_tokens == 0
    assert site.sql("SELECT count(*) FROM django_session") == [(0,)]
    kinds = [kind for (kind,) in site.sql("SELECT kind FROM oauthbff_grantevent ORDER BY kind")]
    assert kinds == ["ended"] * 3 + ["issued"] * 3 + ["revoked"] * 3
    print(f"| {step} | {', '.join(sorted({' '.join(row).strip() for row in left}))} | all told |")
