"""Keys that stay in a KMS: asked seldom, bound to the row, and its outage signs nobody out."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.conftest import MakeSite
from tests.support.browser import Browser
from tests.support.kms import KMS
from tests.support.provider import NodeProvider
from tests.support.site import KEY, Site

TTL = 2
KEY_SECONDS = 1


@pytest.fixture(scope="module")
def kms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KMS]:
    with KMS(tmp_path_factory.mktemp("kms")) as running:
        yield running


@pytest.fixture(scope="module")
def entry(kms: KMS) -> str:
    return kms.key("kms-1")


def envelopes(site: Site) -> list[str]:
    return [text for (text,) in site.sql("SELECT envelope FROM oauthbff_tokengrant ORDER BY id")]


def test_a_whole_life_with_few_questions_to_the_kms(
    make_site: MakeSite, provider: NodeProvider, kms: KMS, entry: str
):
    provider.configure(ACCESS_TTL=TTL)
    env = {**kms.env, "OAUTHBFF_KEYS": entry, "LOG_LEVEL": "DEBUG"}
    site = make_site(fresh=True, workers=1, env=env)
    jane = site.browser()
    before = kms.calls
    jane.login("jane")
    assert envelopes(site)[0].startswith("v2.kms-1.")
    assert kms.calls - before == 2  # the cookie's data key, the grant's
    for _ in range(20):
        assert jane.fetch("api/photos/1").status == 200
    time.sleep(TTL + 0.2)
    assert jane.fetch("api/photos/1").status == 200  # refreshed, sealed again
    assert provider.refreshes == 1
    for _ in range(5):
        site.browser().navigate("login/", follow=False)
    assert kms.calls - before == 2
    assert site.sql("SELECT DISTINCT key_id FROM oauthbff_tokengrant") == [("kms-1",)]
    assert jane.fetch("logout/", "POST").status == 200
    assert provider.live_refresh_tokens == 0
    assert "Plaintext" not in site.log()  # botocore's own DEBUG lines hold data keys


def test_while_the_kms_hangs_everybody_waits_and_nobody_is_signed_out(
    make_site: MakeSite, provider: NodeProvider, kms: KMS, entry: str
):
    provider.configure(ACCESS_TTL=TTL)
    env = {**kms.env, "OAUTHBFF_KEYS": entry, "OAUTHBFF_DATA_KEY_SECONDS": str(KEY_SECONDS)}
    site = make_site(fresh=True, workers=1, env=env)
    jane = site.browser()
    jane.login("jane")
    time.sleep(KEY_SECONDS + 0.1)
    with kms.hanging():
        refused = jane.fetch("api/photos/1")
        assert (refused.status, refused.code) == (503, "provider_unavailable")
        assert int(refused.get("Retry-After") or 0) > 0
        started = time.monotonic()
        assert jane.fetch("session/").status == 503
        assert time.monotonic() - started < 1  # not each call waits for a dead store
        failed = site.browser().navigate("login/", follow=False)
        assert (failed.status, str(failed.get("Location")).partition("?")[2]) == (
            303,
            "bff_error=provider_unavailable",
        )
        assert site.browser().fetch("session/").status == 200  # a stranger needs no key
    assert _soon(jane, "api/photos/1") == 200
    assert site.sql("SELECT ended_at FROM oauthbff_tokengrant") == [(None,)]
    assert "Traceback" not in site.log()


def test_a_logout_while_the_kms_hangs_is_a_logout_and_the_provider_hears_later(
    make_site: MakeSite, provider: NodeProvider, kms: KMS, entry: str
):
    env = {**kms.env, "OAUTHBFF_KEYS": entry, "OAUTHBFF_DATA_KEY_SECONDS": str(KEY_SECONDS)}
    site = make_site(fresh=True, workers=1, env=env)
    joe = site.browser()
    joe.login("joe")
    time.sleep(KEY_SECONDS + 0.1)
    with kms.hanging():
        assert joe.fetch("logout/", "POST").status == 200
    assert joe.session()["authenticated"] is False
    assert site.sql("SELECT revocation FROM oauthbff_tokengrant") == [("pending",)]
    assert provider.live_refresh_tokens == 1
    site.sql("UPDATE oauthbff_tokengrant SET revocation_due_at = created_at")
    site.manage("sweepgrants")
    assert provider.live_refresh_tokens == 0
    assert "Traceback" not in site.log()


def test_grants_move_into_the_kms_and_out_again(make_site: MakeSite, kms: KMS, entry: str):
    site = make_site(fresh=True, workers=1, env=kms.env)
    jane = site.browser()
    jane.login("jane")
    local = f"test:{KEY}"
    for first, other in ((entry, local), (local, entry)):
        site.restart({"OAUTHBFF_KEYS": f"{first},{other}"})
        said = site.manage("rekeygrants")
        assert "1 grants sealed with" in said and "may be removed" in said
        site.restart({"OAUTHBFF_KEYS": first})
        assert jane.fetch("api/photos/1").status == 200
        assert envelopes(site)[0].split(".")[1] == first.partition(":")[0]


def test_an_envelope_that_was_moved_opens_neither_here_nor_in_the_kms(
    make_site: MakeSite, kms: KMS, entry: str
):
    site = make_site(fresh=True, workers=1, env={**kms.env, "OAUTHBFF_KEYS": entry})
    jane, joe = site.browser(), site.browser()
    jane.login("jane")
    joe.login("joe")
    handles = {one: one.session()["grant"]["handle"] for one in (jane, joe)}
    column = {
        str(pk).replace("-", ""): text
        for pk, text in site.sql("SELECT id, envelope FROM oauthbff_tokengrant")
    }
    stolen = column[handles[jane].replace("-", "")]
    pk = handles[joe].replace("-", "")
    site.sql("UPDATE oauthbff_tokengrant SET envelope = %s WHERE id = %s", (stolen, pk))
    refused = joe.fetch("api/photos/1")
    assert (refused.status, refused.json()["reason"]) == (401, "key_lost")
    assert jane.fetch("api/photos/1").status == 200


def _soon(browser: Browser, path: str) -> int:
    """The status when the store's pause is over."""
    deadline = time.monotonic() + 10
    while (status := browser.fetch(path).status) == 503 and time.monotonic() < deadline:
        time.sleep(0.2)
    return status
