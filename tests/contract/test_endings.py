"""Endings that others begin: the provider, the user elsewhere, time."""

from __future__ import annotations

import concurrent.futures
import contextlib
import email.utils
import http.client
import subprocess
import sys
import time
import urllib.parse
import uuid
from pathlib import Path

import pytest

from tests.conftest import MakeSite
from tests.support.browser import Answer, Browser
from tests.support.provider import NodeProvider
from tests.support.site import Site
from tests.support.upstream import RecordingUpstream, events


def post_logout_token(browser: Browser, body: str, content_type: str | None = None) -> Answer:
    """What a provider does: no cookie, no header of ours."""
    kind = content_type or "application/x-www-form-urlencoded"
    head = (
        f"POST /bff/backchannel-logout/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return browser.raw((head + body).encode())


# --- back-channel logout ---


def test_signing_out_at_the_provider_ends_the_grant_here(site: Site, provider: NodeProvider):
    jane, bob = site.browser(), site.browser()
    jane.login("jane")
    bob.login("bob")
    provider.end_session("jane")
    assert provider.logout_tokens_sent == [200]
    refused = jane.fetch("api/photos/1")
    assert (refused.status, refused.json()["reason"]) == (401, "backchannel")
    assert jane.session()["ended"] == "backchannel"
    assert bob.is_logged_in()


def test_without_the_sites_cache_the_provider_is_told_to_try_again(make_site: MakeSite):
    """200 or 400 and nothing else, whatever comes."""
    site = make_site(env={"CACHE_URL": "redis://127.0.0.1:1/0"})
    said = post_logout_token(site.browser(), "logout_token=a.b.c")
    assert (said.status, said.json()["error_description"]) == (400, "try_again")
    assert said.get("Cache-Control") == "no-store"


def test_signing_in_again_after_a_logout_stands(site: Site, provider: NodeProvider):
    jane = site.browser()
    jane.login("jane")
    provider.end_session("jane")
    time.sleep(1.1)  # the provider's clock counts whole seconds
    jane.login("jane")
    assert jane.is_logged_in()


def test_a_sign_in_that_a_logout_overtakes_does_not_stand(site: Site, provider: NodeProvider):
    """The logout token is here before the grant is: it leaves a mark, and the grant finds it."""
    jane, bob = site.browser(), site.browser()
    bob.login("bob")
    provider.fault("/me", delay=1.5, status=200, body={"sub": "jane"})
    provider.login_as("jane")
    provider.forget_log()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        signing_in = pool.submit(jane.navigate, "login/", from_site=f"{site.base_url}/")
        while not provider.calls("/me"):
            time.sleep(0.05)
        provider.end_session("jane")
        assert provider.logout_tokens_sent == [200]
        assert not signing_in.done()
        assert signing_in.result().url.endswith("bff_error=logged_out")
    assert not jane.is_logged_in()
    assert bob.is_logged_in()
    rows = dict(site.sql("SELECT subject, end_reason FROM oauthbff_tokengrant"))
    assert rows == {"jane": "backchannel", "bob": ""}


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("", None),
        ("logout_token=", None),
        ("logout_token=abc", None),
        ("logout_token=a.b.c", None),
        ("logout_token=a.b.c&logout_token=a.b.c", None),
        ("logout_token=" + "a" * 300_000, None),
        ('{"logout_token": "a.b.c"}', "application/json"),
        ("\xff\xfe=%ff", None),
        ("logout_token=eyJhbGciOiJub25lIn0.e30.", None),
    ],
)
def test_anything_else_is_exactly_400_and_not_stored(
    site: Site, body: str, content_type: str | None
):
    answer = post_logout_token(site.browser(), body, content_type)
    assert answer.status == 400
    assert answer.get("Cache-Control") == "no-store"
    assert "Traceback" not in site.log()


def test_an_id_token_is_not_a_logout_token(site: Site):
    jane = site.browser()
    jane.login("jane")
    url = jane.fetch("logout/", "POST").json()["logout_url"]
    id_token = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)["id_token_hint"][0]
    jane.login("jane")
    assert post_logout_token(jane, f"logout_token={id_token}").status == 400
    assert jane.is_logged_in()


# --- self-service ---


def test_a_user_sees_where_they_are_signed_in_and_ends_one_or_all_others(
    site: Site, provider: NodeProvider
):
    here, there, third, bob = (site.browser() for _ in range(4))
    for browser in (here, there, third):
        browser.login("jane")
    bob.login("bob")
    listed = here.fetch("sessions/").json()["sessions"]
    assert len(listed) == 3
    assert [one["current"] for one in listed].count(True) == 1
    assert set(listed[0]) == {
        "handle",
        "current",
        "device",
        "ip",
        "created_at",
        "last_used_at",
    }
    assert listed[0]["device"] == "Chrome · Linux"

    handle = there.session()["grant"]["handle"]
    assert bob.fetch(f"sessions/{handle}/").status == 404
    assert bob.fetch(f"sessions/{handle}/", "DELETE").status == 404
    assert there.is_logged_in()
    assert here.fetch(f"sessions/{handle}/").json()["handle"] == handle
    gone = here.fetch(f"sessions/{handle}/", "DELETE")
    assert (gone.status, gone.body) == (204, b"")
    assert there.session()["ended"] == "logout"
    assert here.fetch("sessions/others/", "DELETE").json() == {"ended": 1}
    assert (here.is_logged_in(), third.is_logged_in(), bob.is_logged_in()) == (True, False, True)

    mine = here.session()["grant"]["handle"]
    assert here.fetch(f"sessions/{mine}/", "DELETE").status == 204
    assert not here.is_logged_in()
    assert provider.live_refresh_tokens == 1


def test_the_session_doors_refuse_strangers_and_foreign_pages(site: Site):
    browser = site.browser()
    anything = uuid.uuid4()
    for method, path in (
        ("GET", "sessions/"),
        ("DELETE", "sessions/others/"),
        ("GET", f"sessions/{anything}/"),
        ("DELETE", f"sessions/{anything}/"),
    ):
        assert browser.fetch(path, method).code == "login_required"
        assert browser.fetch(path, method, {"X-BFF": None}).code == "csrf_failed"


# --- time and crashes ---


def test_a_revocation_the_provider_missed_is_made_up_for_by_the_sweep(
    site: Site, provider: NodeProvider
):
    browser = site.browser()
    browser.login("jane")
    provider.fault("/token/revocation", status=503, times=9, headers={"Retry-After": "60"})
    browser.fetch("logout/", "POST")
    assert provider.live_refresh_tokens == 1
    [(sealed,)] = site.sql("SELECT envelope FROM oauthbff_tokengrant")
    assert sealed != ""
    provider.mend()
    assert "0 told" in site.manage("sweepgrants")  # not due yet
    site.sql("UPDATE oauthbff_tokengrant SET revocation_due_at = '2020-01-01 00:00:00'")
    assert "1 would be told" in site.manage("sweepgrants", "--dry-run")
    assert "1 told to the provider" in site.manage("sweepgrants")
    assert provider.live_refresh_tokens == 0
    assert site.sql("SELECT envelope, revocation FROM oauthbff_tokengrant") == [("", "done")]


def test_the_sweep_ends_what_is_over_and_purges_what_is_old(
    make_site: MakeSite, provider: NodeProvider
):
    site = make_site(workers=2)
    for sub in ("jane", "bob", "carol"):
        site.browser().login(sub)
    long_ago = "2020-01-01 00:00:00"
    for sub, column in (("jane", "last_used_at"), ("bob", "expires_at")):
        site.sql(
            f"UPDATE oauthbff_tokengrant SET {column} = %s WHERE subject = %s",  # noqa: S608
            (long_ago, sub),
        )
    said = site.manage("sweepgrants")
    assert "2 ended (1 idle, 1 at their greatest age, 0 of disabled users); 2 told" in said
    ended = dict(site.sql("SELECT subject, end_reason FROM oauthbff_tokengrant"))
    assert ended == {"jane": "idle", "bob": "absolute", "carol": ""}
    assert provider.live_refresh_tokens == 1
    assert site.sql("SELECT count(*) FROM django_session") == [(1,)]
    site.sql("UPDATE oauthbff_tokengrant SET ended_at = %s WHERE end_reason <> ''", (long_ago,))
    assert "2 old grants" in site.manage("sweepgrants")
    assert site.sql("SELECT subject FROM oauthbff_tokengrant") == [("carol",)]


def test_the_sweep_ends_the_grants_of_users_disabled_or_deleted_behind_djangos_back(
    site: Site, provider: NodeProvider
):
    jane, bob, carol = site.browser(), site.browser(), site.browser()
    jane.login("jane")
    bob.login("bob")
    carol.login("carol")
    site.sql("UPDATE oauthbff_tokengrant SET user_id = NULL WHERE subject = 'carol'")
    theirs = "id = (SELECT user_id FROM oauthbff_tokengrant WHERE subject = 'jane')"
    site.sql(f"UPDATE auth_user SET is_active = %s WHERE {theirs}", (False,))  # noqa: S608
    assert "2 would be ended" in site.manage("sweepgrants", "--dry-run")
    assert "2 of disabled users); 2 told" in site.manage("sweepgrants")
    assert jane.session()["ended"] == carol.session()["ended"] == "user_disabled"
    assert bob.is_logged_in()
    assert provider.live_refresh_tokens == 1


def days_ago(days: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() - days * 86400))


def end_quietly(site: Site, *, ended_at: str) -> None:
    """As a process leaves it that dies after its commit."""
    site.sql(
        "UPDATE oauthbff_tokengrant SET ended_at = %s, end_reason = 'logout',"
        " revocation = 'pending', revocation_due_at = %s",
        (ended_at, "2020-01-01 00:00:00"),
    )


def test_a_provider_that_is_down_does_not_hold_up_the_sweep(
    make_site: MakeSite, provider: NodeProvider
):
    site = make_site(workers=2)
    for number in range(12):
        site.browser().login(f"user{number}")
    end_quietly(site, ended_at=days_ago(0))
    provider.fault("/token/revocation", status=503, times=1000)
    provider.forget_log()
    said = site.manage("sweepgrants", "-v2")
    assert "the provider does not answer; the rest waits" in said
    assert "0 told to the provider, 12 still waiting, 0 given up" in said
    assert len(provider.calls("/token/revocation")) == 8  # one claim, then no more
    provider.mend()
    asked = "revocation_due_at = '2099-01-01 00:00:00' WHERE revocation_attempts > 0"
    site.sql(f"UPDATE oauthbff_tokengrant SET {asked}")  # not due again, however slow we are
    assert "4 told to the provider, 8 still waiting" in site.manage("sweepgrants")
    site.sql("UPDATE oauthbff_tokengrant SET revocation_due_at = '2020-01-01 00:00:00'")
    assert "8 told to the provider, 0 still waiting" in site.manage("sweepgrants")
    assert provider.live_refresh_tokens == 0


def test_a_revocation_is_given_up_after_days_and_its_secrets_go(
    make_site: MakeSite, provider: NodeProvider
):
    site = make_site(workers=2, env={"OAUTHBFF_REVOCATION_DAYS": "3"})
    for number in range(12):
        site.browser().login(f"user{number}")
    end_quietly(site, ended_at=days_ago(10))
    waits = "waits for the newer sign-in of the same provider session"
    site.sql(
        "UPDATE oauthbff_tokengrant SET end_reason = 'superseded', revocation_error = %s,"
        " revocation_due_at = %s WHERE subject = 'user0'",
        (waits, "2099-01-01 00:00:00"),
    )
    provider.fault("/token/revocation", status=503, times=1000)
    assert "0 told to the provider, 1 still waiting" in site.manage("sweepgrants")
    rows = site.sql(
        "SELECT revocation, envelope = '', count(*) FROM oauthbff_tokengrant GROUP BY 1, 2"
    )
    assert sorted((state, bool(gone), count) for state, gone, count in rows) == [
        ("failed", True, 11),
        ("pending", False, 1),
    ]
    failed = "SELECT count(*) FROM oauthbff_grantevent WHERE kind = 'revocation_failed'"
    assert site.sql(failed) == [(11,)]


def test_a_retry_after_is_honoured_as_seconds_and_as_a_date(
    make_site: MakeSite, provider: NodeProvider
):
    site = make_site(workers=2, database="postgresql")
    in_an_hour = email.utils.formatdate(time.time() + 3600, usegmt=True)
    for header, wait in (("1800", 1800), (in_an_hour, 3600), ("soon", 2), ("999999", 6 * 3600)):
        site.empty()
        jane = site.browser()
        jane.login("jane")
        provider.fault("/token/revocation", status=503, headers={"Retry-After": header})
        jane.fetch("logout/", "POST")
        [(due,)] = site.sql(
            "SELECT extract(epoch FROM revocation_due_at - now())::int FROM oauthbff_tokengrant"
        )
        assert wait - 30 <= due <= wait + 10, header


def test_the_history_of_a_long_lived_grant_does_not_grow_for_ever(site: Site):
    site.browser().login("jane")
    site.sql("UPDATE oauthbff_grantevent SET at = '2020-01-01 00:00:00'")
    assert "1 old events" in site.manage("sweepgrants")
    assert site.sql("SELECT count(*) FROM oauthbff_grantevent") == [(0,)]
    assert site.sql("SELECT count(*) FROM oauthbff_tokengrant") == [(1,)]


def test_a_sweep_that_loops_outlives_an_outage_of_the_database(tmp_path: Path, site: Site):
    empty = f"sqlite:///{tmp_path / 'no-tables.sqlite3'}"
    words = [sys.executable, "manage.py", "sweepgrants", "--loop", "0.1"]
    env = {**site.env, "DATABASE_URL": empty}
    with subprocess.Popen(words, env=env, stderr=subprocess.PIPE, text=True) as child:
        complaints = (line for line in child.stderr or () if "The database failed" in line)
        assert [next(complaints) for _ in range(2)]
        assert child.poll() is None
        child.kill()


def test_two_sweeps_at_once_do_nothing_twice(make_site: MakeSite, provider: NodeProvider):
    site = make_site(workers=2, database="postgresql")
    for number in range(6):
        site.browser().login(f"user{number}")
    site.sql("UPDATE oauthbff_tokengrant SET expires_at = '2020-01-01 00:00:00+00'")
    provider.forget_log()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        said = list(pool.map(lambda _: site.manage("sweepgrants"), range(2)))
    assert sum(int(line.split()[0]) for line in said) == 6
    assert site.sql("SELECT count(*) FROM oauthbff_grantevent WHERE kind = 'ended'") == [(6,)]
    assert len(provider.calls("/token/revocation")) == 12
    assert provider.live_refresh_tokens == 0


@pytest.mark.parametrize("engine", ["db", "cached_db", "cache", "file"])
def test_an_ended_grant_signs_the_sites_other_views_out_on_every_session_engine(
    make_site: MakeSite,
    provider: NodeProvider,
    engine: str,
    tmp_path_factory: pytest.TempPathFactory,
):
    site = make_site(
        workers=2,
        cache="redis",
        env={
            "SESSION_ENGINE": f"django.contrib.sessions.backends.{engine}",
            "TMPDIR": str(tmp_path_factory.mktemp("sessions")),
        },
    )
    browser = site.browser()
    browser.login("jane")
    inside = browser.navigate("/admin/", from_site=f"{site.base_url}/")
    assert inside.status == 200
    provider.end_session("jane")
    time.sleep(0.2)
    outside = browser.navigate("/admin/", from_site=f"{site.base_url}/", follow=False)
    assert outside.status == 302
    assert "/admin/login/" in str(outside.get("Location"))
    assert browser.session()["ended"] == "backchannel"


# --- by hand ---


def test_endgrants_counts_asks_ends_and_tells(site: Site, provider: NodeProvider):
    jane, bob = site.browser(), site.browser()
    jane.login("jane")
    bob.login("bob")
    name = site.sql("SELECT username FROM auth_user ORDER BY id")[0][0]
    said = site.manage("endgrants", "--subject", "jane", "--reason", "test", "--dry-run")
    assert "Standing grants: 1, of 1 person." in said
    assert jane.is_logged_in()
    refused = site.manage("endgrants", "--all", "--reason", "test", expect=1, stdin="n\n")
    assert "Nothing was ended" in refused
    nobody = site.manage("endgrants", "--all", "--reason", "test", expect=1)
    assert "Add --yes" in nobody
    assert "Traceback" not in nobody
    said = site.manage("endgrants", "--user", name, "--reason", "laptop stolen", "--yes")
    assert "1 ended" in said
    assert "1 told" in said
    assert jane.session()["ended"] == "admin"
    assert bob.is_logged_in()
    assert site.sql("SELECT end_note FROM oauthbff_tokengrant WHERE end_note <> ''") == [
        ("laptop stolen",)
    ]
    site.manage("endgrants", "--upstream-scope", "photos", "--reason", "x", "--yes")
    assert bob.is_logged_in()  # a scope is a whole word
    site.manage("endgrants", "--upstream-scope", "photos.read", "--reason", "x", "--yes")
    assert not bob.is_logged_in()
    assert provider.live_refresh_tokens == 0
    assert "No user" in site.manage("endgrants", "--user", "x", "--reason", "x", expect=1)


@pytest.mark.parametrize("model", ["User", "Person"])
def test_a_user_who_is_disabled_is_out_at_once_and_the_provider_knows(
    site: Site, provider: NodeProvider, model: str
):
    """Also through a proxy model: Django's signals then come from that."""
    jane = site.browser()
    jane.login("jane")
    code = (
        "from django.contrib.auth.models import User\n"
        "class Person(User):\n"
        "    class Meta: proxy, app_label = True, 'auth'\n"
        f"for user in {model}.objects.all(): user.is_active = False; user.save()"
    )
    site.manage("shell", "-v0", "-c", code)
    assert provider.live_refresh_tokens == 0
    assert jane.fetch("api/photos/1").json()["reason"] == "user_disabled"


def test_logout_clears_what_the_page_kept(site: Site):
    jane = site.browser()
    jane.login("jane")
    said = jane.fetch("logout/", "POST")
    assert said.get("Clear-Site-Data") == '"cache", "storage"'


def test_signing_out_of_what_has_ended_already_still_leads_to_the_provider(
    site: Site, provider: NodeProvider
):
    jane = site.browser()
    jane.login("jane")
    site.sql("UPDATE oauthbff_tokengrant SET last_used_at = '2020-01-01 00:00:00'")
    assert jane.session()["ended"] == "idle"
    said = jane.fetch("logout/", "POST")
    assert said.status == 200
    url = urllib.parse.urlsplit(said.json()["logout_url"])
    asked = urllib.parse.parse_qs(url.query)
    assert said.json()["logout_url"].startswith(provider.issuer)
    assert set(asked) == {"client_id", "post_logout_redirect_uri", "state"}
    assert jane.session()["ended"] is None  # it has been said
    assert jane.fetch("logout/", "POST").json() == {"logout_url": None}


def test_after_the_providers_own_logout_there_is_nothing_left_to_end_there(
    site: Site, provider: NodeProvider
):
    jane = site.browser()
    jane.login("jane")
    provider.end_session("jane")
    assert jane.fetch("logout/", "POST").json() == {"logout_url": None}


def test_a_call_that_the_page_makes_by_itself_is_no_activity(
    site: Site, upstream: RecordingUpstream
):
    jane = site.browser()
    jane.login("jane")
    for path in ("api/photos/1", "session/", "sessions/"):
        for slides, headers in ((False, {"X-BFF-Slide": "false"}), (True, {})):
            site.sql(
                "UPDATE oauthbff_tokengrant SET last_used_at = %s", (days_ago(600 / 86400),)
            )  # ten minutes
            [(before,)] = site.sql("SELECT last_used_at FROM oauthbff_tokengrant")
            assert jane.fetch(path, "GET", headers).status == 200
            [(after,)] = site.sql("SELECT last_used_at FROM oauthbff_tokengrant")
            assert (after != before) is slides, (path, headers)
    names = {name.lower() for name, _ in upstream.requests[0].headers}
    assert "x-bff-slide" not in names


def test_a_site_can_say_in_words_where_an_address_is(make_site: MakeSite):
    site = make_site(env={"OAUTHBFF_PLACE_HOOK": "tests.support.places.place_of"})
    jane = site.browser()
    jane.login("jane")
    [here] = jane.fetch("sessions/").json()["sessions"]
    assert here["place"] == "Loopback, right here"
    page = jane.navigate("devices/", from_site=f"{site.base_url}/")
    assert "Loopback, right here, 127.0.0.1" in page.text
    broken = make_site(env={"OAUTHBFF_PLACE_HOOK": "tests.support.places.broken"})
    jane = broken.browser()
    jane.login("jane")
    [here] = jane.fetch("sessions/").json()["sessions"]
    assert "place" not in here
    assert "place_hook_broke" in broken.log()


def test_the_devices_page_lists_and_ends(site: Site, provider: NodeProvider):
    here, there, third, bob = (site.browser() for _ in range(4))
    for browser in (here, there, third):
        browser.login("jane")
    bob.login("bob")
    home = f"{site.base_url}/"
    page = here.navigate("devices/", from_site=home)
    assert page.status == 200
    assert page.text.count("Chrome · Linux") >= 3
    token = here.cookies["__Host-Http-csrf-token"].value
    foreign = bob.session()["grant"]["handle"]
    for handle in (foreign, "junk", here.session()["grant"]["handle"]):
        form = {"csrfmiddlewaretoken": token, "handle": handle}
        assert here.navigate("devices/", form=form, from_site=f"{home}bff/devices/").status == 200
    assert here.is_logged_in()
    assert bob.is_logged_in()
    form = {"csrfmiddlewaretoken": token, "handle": there.session()["grant"]["handle"]}
    assert here.navigate("devices/", form={"handle": form["handle"]}, from_site=home).status == 403
    ended = here.navigate("devices/", form=form, from_site=f"{home}bff/devices/")
    assert "1 sign-in was ended" in ended.text
    assert not there.is_logged_in()
    form = {"csrfmiddlewaretoken": token, "others": "yes"}
    here.navigate("devices/", form=form, from_site=f"{home}bff/devices/")
    assert (here.is_logged_in(), third.is_logged_in()) == (True, False)
    stranger = site.browser().navigate("devices/", from_site=home, follow=False)
    assert stranger.status == 302


def test_the_check_complains_when_nobody_sweeps(site: Site, provider: NodeProvider):
    assert "W044" not in site.manage("check", "--deploy")
    site.browser().login("jane")
    site.sql("UPDATE oauthbff_tokengrant SET expires_at = '2020-01-01 00:00:00'")
    assert "W044" in site.manage("check", "--deploy")
    site.manage("sweepgrants")
    assert "W044" not in site.manage("check", "--deploy")


@pytest.mark.parametrize("server", ["gunicorn", "uvicorn"])
def test_an_event_stream_is_cut_when_its_grant_ends(
    make_site: MakeSite, upstream: RecordingUpstream, server: str
):
    site = make_site(server=server, workers=2)
    jane, bob = site.browser(), site.browser()
    jane.login("jane")
    bob.login("bob")
    upstream.on("/photos/live", events(*["tick"] * 60, pause=0.2))
    with jane.stream("api/photos/live") as hers, bob.stream("api/photos/live") as his:
        assert next(hers.chunks)
        assert next(his.chunks)
        site.browser(cookies_of=jane).fetch("logout/", "POST")
        ended_at = time.monotonic()
        with contextlib.suppress(http.client.HTTPException, OSError):
            for _ in hers.chunks:
                assert time.monotonic() - ended_at < 6
        assert time.monotonic() - ended_at < 6
        assert next(his.chunks)


@pytest.mark.parametrize(("setting", "stands"), [("True", False), ("False", True)])
def test_a_new_password_ends_all_grants_where_the_site_wants_it(
    make_site: MakeSite, provider: NodeProvider, setting: str, stands: bool
):
    site = make_site(env={"OAUTHBFF_END_ON_PASSWORD_CHANGE": setting})
    jane = site.browser()
    jane.login("jane")
    code = (
        "from django.contrib.auth.models import User\n"
        "user = User.objects.get(); user.set_password('new'); user.save()"
    )
    site.manage("shell", "-v0", "-c", code)
    assert (provider.live_refresh_tokens == 1) is stands
    assert jane.fetch("api/photos/1").json()["reason"] == "logout"  # Django's own rule
    assert provider.live_refresh_tokens == 0
