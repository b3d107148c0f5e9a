"""Nothing leaks: over a whole run, no secret is found anywhere but where it belongs.

Every door of `urls.py`, every page of the admin, every management command; then everything that
was said, shown, written down, mailed, stored or signalled is searched for every secret, in clear
and in all spellings of `tests.support.canary`. A door or command that is new is in it by itself.
"""

from __future__ import annotations

import html
import os
import pkgutil
import re
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from django.contrib import admin
from django.urls import resolve, reverse

from oauthbff import urls
from oauthbff.management import commands
from oauthbff.models import TokenGrant
from tests.conftest import MakeSite
from tests.support import canary
from tests.support.browser import Browser
from tests.support.caller import DOORS, site_behind
from tests.support.provider import CLIENT_SECRET, NodeProvider
from tests.support.site import EDGE_SECRET, KEY, Site, default_upstreams
from tests.support.upstream import RecordingUpstream, answer

TTL = 2
SESSION_COOKIE = "__Host-Http-bff-auth"
CRASH = {"X-Crash": "1"}
#: What a browser sends and no log, mail or table may keep.
STRAY = {name: os.urandom(12).hex() for name in ("bearer", "cookie", "body", "code", "state")}
#: What stands in the variable parts of doors' paths.
PARTS = {"rest": "photos/1", "upstream": "photos", "path": "1"}
#: The words our commands are run with; one that is not named here is run without any.
WORDS = {
    "endgrants": ["--all --reason over --yes -v 3"],
    "oauthbff_doctor": ["-v 3", "--json"],
    "rekeygrants": ["-v 3"],
    "sweepgrants": ["-v 3"],
}
# Django keeps session keys in clear in its own table.
OF_DJANGO = [
    "dumpdata --exclude sessions",
    "check --deploy",
    "migrate oauthbff 0001 -v 3",
    "migrate -v 3",
]


def leaks(secrets: dict[str, str | bytes], places: dict[str, str | bytes]) -> dict[str, list[str]]:
    found = {name: canary.find(secrets, place) for name, place in places.items()}
    return {name: lines for name, lines in found.items() if lines}


def canary_site(
    make_site: MakeSite, upstream: RecordingUpstream, folder: Path, door: str, debug: str
) -> Site:
    (folder / "mails").mkdir()
    guarded = {
        "url": f"{upstream.url}/guarded/",
        "permissions": ["tests.support.guards.AsAsked"],
    }
    env = {
        "DJANGO_SETTINGS_MODULE": "tests.support.canary_settings",
        "CANARY_MAILS": str(folder / "mails"),
        "CANARY_REPRS": str(folder / "reprs"),
        "DEBUG": debug,
        "LOG_LEVEL": "DEBUG",
        "SESSION_ENGINE": "django.contrib.sessions.backends.cached_db",
        "OAUTHBFF_EDGE_SECRET": EDGE_SECRET,
        "OAUTHBFF_CLAIMS_HOOK": "tests.support.canary_settings.break_for_eve",
    }
    routes = {**default_upstreams(upstream.url), "guarded": guarded}
    return site_behind(door, make_site, routes, env, fresh=True, cache="redis")


class Run:
    """One browser's life, and what it saw."""

    def __init__(self, site: Site, provider: NodeProvider) -> None:
        self.site = site
        self.provider = provider
        self.browser = site.browser()
        self.staff = site.browser()
        self.sessions: dict[str, str | bytes] = {}
        self.dumps: list[bytes] = []
        #: By commands.
        self.said: list[str] = []

    def remember(self, browser: Browser) -> None:
        key = browser.cookies[SESSION_COOKIE].value
        self.sessions[f"session-{len(self.sessions)}"] = key

    def signed_in(self) -> Browser:
        if not self.browser.cookies.get(SESSION_COOKIE) or not self.browser.is_logged_in():
            self.browser.login("jane")
            self.remember(self.browser)
            self.browser.fetch("api/photos/1")  # an access token is known once it is used
        return self.browser

    @property
    def received(self) -> str:
        received = self.browser.received + b"\n" + self.staff.received
        return received.decode("utf-8", "replace")

    @property
    def heard(self) -> str:
        """All that browsers got, but for the two things that travel through them by design: the
        code in the provider's redirect, and the ID token as hint in the logout URL.
        """
        heard = re.sub(r"(?m)^Redirecting to \S+/callback/.*", "", self.received)  # the provider's
        heard = re.sub(r"(?m)^(location: \S+/callback/)\?\S*", r"\1", heard, flags=re.I)
        return re.sub(r"(?<=id_token_hint=)[\w.-]+", "", heard)

    def secrets(self, upstream: RecordingUpstream) -> dict[str, str | bytes]:
        """Every secret that crossed a wire on the far side of us, by what it is; and our own."""
        found: dict[str, str | bytes] = {
            "client-secret": CLIENT_SECRET,
            "key-text": KEY,
            "edge-secret": EDGE_SECRET,
            "django-key": self.site.env["SECRET_KEY"],
        }
        hints = dict.fromkeys(re.findall(r"id_token_hint=([\w.-]+)", self.received))
        found |= {f"hint-{n}": hint.rpartition(".")[2] for n, hint in enumerate(hints)}
        crossed: dict[str, str] = {}  # value → what it is: a token is sent many times
        names = {"code": "code", "code_verifier": "verifier", "refresh_token": "refresh"}
        for call in self.provider.log():
            for parameter, kind in names.items():
                if call.method == "POST" and parameter in call.params:
                    crossed[call.params[parameter]] = kind
            if "token" in call.params:
                kind = call.params["token_type_hint"].removesuffix("_token")
                crossed[call.params["token"]] = kind
        crossed |= {request.token: "access" for request in upstream.requests if request.token}
        return found | {f"{kind}-{n}": value for n, (value, kind) in enumerate(crossed.items())}


def a_whole_life(run: Run, upstream: RecordingUpstream) -> None:
    """Calls, a refresh, refusals, failed sign-ins, crashes, a refused refresh."""
    browser, provider = run.signed_in(), run.provider
    assert browser.fetch("api/photos/1").status == 200
    time.sleep(TTL + 0.2)
    assert browser.fetch("api/photos/1", "POST", body={"a": 1}).status == 200
    upstream.on("/photos/dead", answer(b"", status=401))
    browser.fetch("api/photos/dead")
    assert browser.fetch("api/guarded/1?raise=ZeroDivisionError").status == 500
    assert browser.fetch("session/", headers=CRASH).status == 500
    break_what_a_proxy_asks(run)
    for wrong in ({"id_token": "a.b.c"}, {"access_token": None}, {"token_type": "mac"}):
        provider.fault("/token", patch=wrong)
        browser.navigate("login/", from_site=f"{run.site.base_url}/")
    provider.login_as("eve")
    browser.navigate("login/", from_site=f"{run.site.base_url}/")
    run.dumps.append(run.site.dump())
    assert run.signed_in().fetch("logout/", "POST").status == 200
    run.signed_in()
    time.sleep(TTL + 0.2)
    refusal = {"error": "invalid_grant"}
    provider.fault("/token", grant_type="refresh_token", status=400, body=refusal)
    browser.fetch("api/photos/1")
    run.dumps.append(run.site.dump())


def break_what_a_proxy_asks(run: Run) -> None:
    """The site breaks over a question of a proxy in front, which shows EDGE_SECRET."""
    if run.site.front:  # on this route the proxy tells all headers
        said = run.browser.fetch("api/guarded/1", headers=CRASH)
        assert (said.status, said.get("X-BFF-Error")) == (503, "bff_unavailable")
    else:
        shown = {**CRASH, "X-BFF-Edge": EDGE_SECRET}
        assert run.browser.fetch("authorize/photos/", headers=shown).status == 500


def doors() -> Iterator[tuple[str, set[str]]]:
    """The name of each door, and the variable parts of its path."""
    for pattern in urls.urlpatterns:
        yield str(pattern.name), set(pattern.pattern.regex.groupindex)


def knock_at_every_door(run: Run) -> None:
    """In every way a browser can, signed in; then once more, and the site breaks."""
    headers = {"Authorization": f"Bearer {STRAY['bearer']}"}
    form = {"logout_token": STRAY["body"], "token": STRAY["body"]}
    query = urllib.parse.urlencode({"code": STRAY["code"], "state": STRAY["state"]})
    typed = {**headers, "Content-Type": "application/x-www-form-urlencoded"}
    for name, variable in doors():
        browser = run.signed_in()
        parts = {"handle": browser.session()["grant"]["handle"], **PARTS}
        # A part that is unknown here needs a value in PARTS.
        path = reverse(f"oauthbff:{name}", kwargs={part: parts[part] for part in variable})
        path += f"?{query}" if name == "callback" else ""
        cookies = f"{browser.cookie_header(path)}; other={STRAY['cookie']}"
        said = [
            browser.navigate(path, headers={**CRASH, "Cookie": cookies}, follow=False),
            browser.fetch(path, "POST", {**typed, **CRASH}, urllib.parse.urlencode(form)),
        ]
        # Proxy and lane carry calls of APIs past the site's middleware; the proxy hides the door
        # that it asks.
        around = (run.site.front and name in ("api", "authorize")) or (
            "LANE" in run.site.env and name == "api"
        )
        assert around or [one.status for one in said] == [500, 500], (name, said)
        browser = run.signed_in()
        browser.fetch(path, headers={**headers, "Cookie": cookies})
        browser.fetch(path, "POST", {**typed, "Cookie": cookies}, urllib.parse.urlencode(form))
        browser.fetch(path, "DELETE", headers)


def walk_through_the_admin(run: Run) -> None:
    """Every link from the first page on, and every address of ours, got and posted."""
    jane, ada = run.signed_in(), run.staff
    run.provider.login_as("ada")
    ada.login("ada")
    run.remember(ada)
    run.site.sql("UPDATE auth_user SET is_staff = %s, is_superuser = %s", (True, True))
    handle = jane.session()["grant"]["handle"]
    home = f"{ada.origin}/admin/"
    assert jane.fetch("api/photos/1").status == 200
    for headers in ({}, CRASH):
        for page in ("change", "history"):
            detail = f"/admin/oauthbff/tokengrant/{handle}/{page}/"
            ada.navigate(detail, from_site=home, headers=headers)

    def post(path: str, **fields: str) -> str:
        token = ada.cookies["__Host-Http-csrf-token"].value
        return ada.navigate(
            path, form={"csrfmiddlewaretoken": token, **fields}, from_site=home
        ).text

    waiting, seen = ["/admin/"], set()
    while waiting:
        path = waiting.pop(0)
        kind = re.sub(r"[0-9a-f-]{36}|\d+", "…", path)
        if kind in seen or "logout" in path or "delete" in path or len(seen) > 150:
            continue
        seen.add(kind)
        page = ada.navigate(path, from_site=home)
        assert page.status == 200, page
        for link in re.findall(r'href="([^"#]*)"', page.text):
            target = urllib.parse.urljoin(page.url, html.unescape(link))
            if target.startswith(f"{ada.origin}/admin/"):
                waiting.append(target.removeprefix(ada.origin))
    [(pk,)] = run.site.sql("SELECT id FROM auth_user WHERE email LIKE 'jane@%'")
    post("/admin/oauthbff/tokengrant/end/", user=str(pk), note="stolen", confirmed="yes")
    [(order,)] = run.site.sql("SELECT id FROM oauthbff_endorder")
    values = {"handle": handle, "object_id": handle, "order_id": uuid.UUID(str(order))}
    ours = admin.site.get_model_admin(TokenGrant).get_urls()
    for pattern in ours:
        name = pattern.name
        if name is None:
            continue
        variable = pattern.pattern.regex.groupindex
        path = reverse(f"admin:{name}", kwargs={part: values[part] for part in variable})
        seen.add(path)
        for headers in ({}, CRASH):
            ada.navigate(path, from_site=home, headers=headers)
        post(path)
    names = {resolve(path.partition("?")[0].replace("…", "1")).url_name for path in seen}
    assert len(seen) > 20 and "oauthbff_tokengrant_dashboard" in names, seen


def give_every_command(run: Run) -> None:
    """Ours by what is in their folder, and Django's that show or move rows."""
    run.signed_in()
    said = run.said
    for found in pkgutil.iter_modules(commands.__path__):
        for words in WORDS.get(found.name, [""]):
            said.append(run.site.manage(found.name, *words.split(), expect=None))
            run.signed_in()
    for line in OF_DJANGO:
        said.append(run.site.manage(*line.split()))
    assert run.browser.is_logged_in()  # a migration there and back took nothing


Tour = Callable[[Run], None]
CASES: list[tuple[str, str, tuple[Tour, ...]]] = [
    *((door, "True", (knock_at_every_door,)) for door in DOORS if door != "gunicorn"),
    ("gunicorn", "True", (walk_through_the_admin,)),
    ("gunicorn", "False", (give_every_command,)),
]


def our_tables(site: Site) -> str:
    """What our own tables hold; Django's session table has the keys by its nature."""
    tables = [name for name in site.database.tables() if name.startswith("oauthbff_")]
    assert "oauthbff_tokengrant" in tables
    return "\n".join(repr(row) for table in tables for row in site.sql(f"SELECT * FROM {table}"))


def texts(files: set[Path]) -> dict[str, str | bytes]:
    return {str(file): file.read_bytes() for file in files}


def of_the_proxy(site: Site) -> tuple[dict[str, str | bytes], dict[str, str | bytes]]:
    """What a proxy in front has written: its logs, and what it remembers (sessions and tokens,
    by design). Its configuration must hold the secret, and is left out.
    """
    if not site.front:
        return {}, {}
    folder = site.folder / "edge"
    configuration = folder / "configuration"
    assert EDGE_SECRET in configuration.read_text()
    assert configuration.stat().st_mode & 0o777 == 0o600
    logs = {site.folder / "front.log", *folder.glob("*.log")}
    kept = {file for file in folder.rglob("*") if file.is_file()} - logs - {configuration}
    assert (folder / "access.log") in logs
    assert bool(kept) == (site.front == "nginx")  # Caddy remembers nothing
    return texts(logs), texts(kept)


def in_redis(site: Site) -> bytes:
    with redis.Redis.from_url(site.cache_url) as cache:
        keys = list(cache.scan_iter())
        assert keys
        return b"\n".join(part for key in keys for part in (key, cache.get(key) or b""))


@pytest.mark.parametrize(("door", "debug", "tour"), CASES)
def test_no_secret_reaches_the_browser_the_log_or_the_database_in_clear(
    make_site: MakeSite,
    provider: NodeProvider,
    upstream: RecordingUpstream,
    tmp_path: Path,
    door: str,
    debug: str,
    tour: tuple[Tour, ...],
):
    site = canary_site(make_site, upstream, tmp_path, door, debug)
    provider.configure(ACCESS_TTL=TTL)
    run = Run(site, provider)

    a_whole_life(run, upstream)
    for visit in tour:
        visit(run)

    secrets = run.secrets(upstream)
    kinds = {name.partition("-")[0] for name in secrets}
    assert kinds == {
        "access",
        "refresh",
        "code",
        "verifier",
        "hint",
        "client",
        "key",
        "django",
        "edge",
    }
    mails = "".join(mail.read_text() for mail in (tmp_path / "mails").iterdir())
    reprs = (tmp_path / "reprs").read_text()
    assert "signal: " in reprs and "TokenGrant: " in reprs and "Envelope: " in reprs
    assert "a hook of the site broke" in mails and "ZeroDivisionError" in mails
    assert "a middleware of the site broke" in (mails if debug == "False" else run.heard)

    written = {"log": site.log(), "mails": mails, "reprs": reprs, "commands": "".join(run.said)}
    logs, remembered = of_the_proxy(site)
    written |= logs
    assert leaks({"edge-secret": EDGE_SECRET}, remembered) == {}
    places = {**written, "answers": run.heard}
    places |= {f"dump {number}": dump for number, dump in enumerate([*run.dumps, site.dump()])}
    places["cache"] = in_redis(site)
    assert leaks(secrets, places) == {}
    pages = re.sub(r"(?im)^set-cookie:.*", "", run.heard)
    assert leaks(run.sessions, {**written, "pages": pages, "our tables": our_tables(site)}) == {}
    assert leaks(STRAY, {**written, "database": site.dump(), "cache": places["cache"]}) == {}
