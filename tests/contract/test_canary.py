"""Nothing leaks: over a whole run, no secret is found anywhere but where it belongs."""

from __future__ import annotations

import time
import urllib.parse

import pytest

from tests.conftest import MakeSite
from tests.support import canary
from tests.support.provider import CLIENT_SECRET, NodeProvider
from tests.support.site import Site
from tests.support.upstream import RecordingUpstream, answer

TTL = 2
SESSION_COOKIE = "__Host-Http-bff-auth"


@pytest.mark.parametrize("debug", ["False", "True"])
@pytest.mark.parametrize("server", ["gunicorn", "uvicorn"])
def test_no_secret_reaches_the_browser_the_log_or_the_database_in_clear(
    make_site: MakeSite,
    provider: NodeProvider,
    upstream: RecordingUpstream,
    server: str,
    debug: str,
):
    env = {"DEBUG": debug, "LOG_LEVEL": "DEBUG"}
    site = make_site(fresh=True, server=server, workers=2, env=env)
    provider.configure(ACCESS_TTL=TTL)
    browser = site.browser()
    keys: list[str] = []
    dumps: list[bytes] = []

    def remember() -> None:
        keys.append(browser.cookies[SESSION_COOKIE].value)
        dumps.append(site.dump())

    # A whole life: calls, a refresh, a refusal, failed sign-ins, a logout, a refused refresh.
    browser.login("jane")
    assert browser.fetch("api/photos/1").status == 200
    time.sleep(TTL + 0.2)
    assert browser.fetch("api/photos/1", "POST", body={"a": 1}).status == 200
    upstream.on("/photos/dead", answer(b"", status=401))
    browser.fetch("api/photos/dead")
    browser.navigate("callback/?code=abcdefgh&state=ijklmnop")
    for wrong in ({"id_token": "a.b.c"}, {"access_token": None}, {"token_type": "mac"}):
        provider.fault("/token", patch=wrong)
        browser.navigate("login/", from_site=f"{site.base_url}/")
    remember()
    logout_url = browser.fetch("logout/", "POST").json()["logout_url"]
    browser.login("jane")
    time.sleep(TTL + 0.2)
    refusal = {"error": "invalid_grant"}
    provider.fault("/token", grant_type="refresh_token", status=400, body=refusal)
    remember()
    browser.fetch("api/photos/1")
    dumps.append(site.dump())

    secrets = secrets_of(provider, upstream, logout_url)
    kinds = {name.partition("-")[0] for name in secrets}
    assert kinds == {"access", "refresh", "code", "verifier", "hint", "client"}
    sessions = {f"session-{number}": key for number, key in enumerate(keys)}

    # The provider's redirect carries the code through the browser, the logout URL the hint.
    heard = browser.received.replace(logout_url.encode(), b"")
    told = {name: value for name, value in secrets.items() if not name.startswith("code")}
    assert canary.find(told, heard) == []
    assert canary.find({**secrets, **sessions}, site.log()) == []
    assert canary.find(secrets, *dumps) == []
    assert canary.find(sessions, *our_tables(site)) == []
    assert "Traceback" not in site.log()


def secrets_of(
    provider: NodeProvider, upstream: RecordingUpstream, logout_url: str
) -> dict[str, str]:
    """Every secret that crossed a wire on the far side of us, by what it is."""
    found = {"client-secret": CLIENT_SECRET}
    hint = urllib.parse.parse_qs(urllib.parse.urlsplit(logout_url).query)["id_token_hint"][0]
    found["hint-signature"] = hint.rpartition(".")[2]
    names = {"code": "code", "code_verifier": "verifier", "refresh_token": "refresh"}
    for number, call in enumerate(provider.log()):
        for parameter, kind in names.items():
            if call.method == "POST" and parameter in call.params:
                found[f"{kind}-{number}"] = call.params[parameter]
        if "token" in call.params:
            kind = call.params["token_type_hint"].removesuffix("_token")
            found[f"{kind}-{number}"] = call.params["token"]
    for number, request in enumerate(upstream.requests):
        if request.token:
            found[f"access-u{number}"] = request.token
    return found


def our_tables(site: Site) -> list[bytes]:
    """What our own tables hold; Django's session table has the keys by its nature."""
    tables = ("tokengrant", "grantevent", "identity", "spenttoken")
    return [
        repr(row).encode()
        for table in tables
        for row in site.sql(f"SELECT * FROM oauthbff_{table}")
    ]
