"""The demo as a person meets it: two sites, two names, one Chromium.

The print shop is at `localhost`, its provider at `127.0.0.1`: different sites to a browser, so
that cookies behave as they would in production.
"""

from __future__ import annotations

import base64
import io
import json
import re
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import urllib3
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.e2e.conftest import TIMEOUT_MS, Demo
from tests.support import canary
from tests.support.ports import free_port

expect.set_options(timeout=TIMEOUT_MS)

NAMES = {"alice": "Alice Moreau", "bob": "Bob Okafor", "admin": "Ada Admin"}
SUBJECTS = {"alice": 24400320, "bob": 24400417, "admin": 24400589}
SESSION_COOKIE = "__Host-Http-bff-auth"
LOGIN_COOKIE = "__Host-Http-bff-login-auth-"
PRINT_MS = 40_000  # a print takes twelve seconds, and machines are busy
HINT = re.compile(rb"id_token_hint=[\w.-]+")
JWT = re.compile(rb"eyJ[\w-]{8,}\.[\w-]{8,}")

CALL = """async (path) => {
  const response = await fetch(path, { headers: { "X-BFF": "1" }, cache: "no-store" });
  return { status: response.status, body: await response.json() };
}"""

LOG_OUT = """async () => {
  const response = await fetch("/bff/logout/", { method: "POST", headers: { "X-BFF": "1" } });
  return (await response.json()).logout_url;
}"""


# --- what a person does ---


def choose(page: Page, person: str) -> None:
    """At the provider's page: sign in as one of its people."""
    page.locator(f"button.person[value={person}]").click()


def sign_in(page: Page, demo: Demo, person: str = "alice") -> None:
    page.goto(f"{demo.bff}/")
    page.get_by_role("button", name="Sign in with Lumen").click()
    choose(page, person)
    expect_signed_in(page, demo, person)


def expect_signed_in(page: Page, demo: Demo, person: str = "alice") -> None:
    page.wait_for_url(re.compile(re.escape(f"{demo.bff}/") + r"(\?.*)?$"))
    expect(page.locator("#user-name")).to_have_text(NAMES[person])
    expect(page.locator("#user-name")).to_be_visible()


def expect_photos(page: Page) -> list[str]:
    """Wait until every photo is a picture; return their addresses."""
    expect(page.locator("#photo-grid img").first).to_be_visible()
    page.evaluate(
        "Promise.all([...document.querySelectorAll('#photo-grid img')].map((i) => i.decode()))"
    )
    assert page.evaluate(
        "[...document.querySelectorAll('#photo-grid img')].every((i) => i.naturalWidth > 0)"
    )
    return [str(img.get_attribute("src")) for img in page.locator("#photo-grid img").all()]


def sign_out(page: Page, demo: Demo) -> None:
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url(f"{demo.bff}/bff/logged-out/**")


def call(page: Page, path: str = "/bff/api/photos/photos") -> dict[str, Any]:
    """Call as the SPA does, and return `status` and `body`."""
    answer: dict[str, Any] = page.evaluate(CALL, path)
    return answer


def order_print(page: Page) -> None:
    expect_photos(page)
    page.locator("#photo-grid label").first.click()
    page.get_by_role("button", name="Order print").click()


# --- what we look at from outside ---


class Wire:
    """What a tab really sends: each request's address, its Cookie header, cookies held back."""

    def __init__(self, page: Page) -> None:
        self._addresses: dict[str, list[str]] = defaultdict(list)
        self._sent: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._statuses: dict[str, list[int]] = defaultdict(list)
        session = page.context.new_cdp_session(page)
        session.on("Network.requestWillBeSent", self._left)
        session.on("Network.requestWillBeSentExtraInfo", self._carried)
        session.on("Network.responseReceivedExtraInfo", self._answered)
        session.send("Network.enable")

    def _left(self, event: dict[str, Any]) -> None:
        self._addresses[event["requestId"]].append(event["request"]["url"])

    def _carried(self, event: dict[str, Any]) -> None:
        self._sent[event["requestId"]].append(event)

    def _answered(self, event: dict[str, Any]) -> None:
        self._statuses[event["requestId"]].append(event["statusCode"])

    def statuses(self, address: str) -> list[int]:
        """What the server answered, also where the browser keeps it from the page."""
        return [
            status
            for id, urls in self._addresses.items()
            for url, status in zip(urls, self._statuses[id], strict=False)
            if url.startswith(address)
        ]

    def last(self, address: str) -> tuple[set[str], dict[str, list[str]]]:
        """Return the names of the cookies sent with the last request for an address that
        starts so, and of those held back, with the browser's reasons."""
        events = [
            event
            for id, urls in self._addresses.items()
            # The hops of a redirect share an id and come in order.
            for url, event in zip(urls, self._sent[id], strict=False)
            if url.startswith(address)
        ]
        assert events, f"nothing was sent to {address}"
        headers = {name.lower(): value for name, value in events[-1]["headers"].items()}
        sent = {pair.partition("=")[0] for pair in headers.get("cookie", "").split("; ")} - {""}
        held = {
            one["cookie"]["name"]: one["blockedReasons"]
            for one in events[-1]["associatedCookies"]
            if one["blockedReasons"]
        }
        return sent, held


def jar(context: BrowserContext, demo: Demo) -> dict[str, str]:
    return {c["name"]: c["value"] for c in context.cookies(demo.bff)}


def tokens_of(demo: Demo, person: str) -> dict[str, str]:
    """Every token that the provider has ever given out for a person."""
    found = {}
    for table in ("accesstoken", "refreshtoken"):
        rows = ask_provider(
            demo,
            f"SELECT id, token FROM oauth2_provider_{table} WHERE user_id = ?",
            SUBJECTS[person],
        )
        found.update({f"{table} {id}": token for id, token in rows})
    assert found
    return found


def replay(demo: Demo, session_cookie: str) -> tuple[int, str | None]:
    """Call with a stolen cookie and no browser; return the status and the refusal's code."""
    answer = urllib3.request(
        "GET",
        f"{demo.bff}/bff/api/photos/photos",
        headers={"Cookie": f"{SESSION_COOKIE}={session_cookie}", "X-BFF": "1"},
        retries=False,
        timeout=TIMEOUT_MS / 1000,
    )
    return answer.status, answer.headers.get("X-BFF-Error")


def ask_provider(demo: Demo, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    path = demo.folder / "data" / "provider.sqlite3"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)) as database:
        return database.execute(sql, values).fetchall()


@pytest.fixture
def other(chromium: Browser) -> Iterator[BrowserContext]:
    """Another person's browser."""
    context = chromium.new_context(locale="en", viewport={"width": 1280, "height": 900})
    context.set_default_timeout(TIMEOUT_MS)
    yield context
    context.close()


# --- signing in ---


def test_alice_signs_in_and_sees_her_photos_without_one_complaint_in_the_console(
    page: Page, demo: Demo
) -> None:
    complaints: list[str] = []
    page.on(
        "console",
        lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None,
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"{request.url} failed"))

    sign_in(page, demo)

    assert len(expect_photos(page)) >= 3
    assert complaints == []


def test_a_name_and_a_password_typed_at_the_provider_sign_in_as_well(
    page: Page, demo: Demo
) -> None:
    page.goto(f"{demo.bff}/")
    page.get_by_role("button", name="Sign in with Lumen").click()
    page.get_by_label("Username").fill("bob")
    page.get_by_label("Password").fill("demo")
    page.get_by_role("button", name="Sign in", exact=True).click()

    expect_signed_in(page, demo, "bob")


def test_the_callback_gets_the_lax_cookie_of_the_login_and_the_page_is_signed_in(
    page: Page, context: BrowserContext, demo: Demo
) -> None:
    wire = Wire(page)

    sign_in(page, demo)

    sent, _ = wire.last(f"{demo.bff}/bff/callback/")
    assert len(sent) == 1
    assert sent.pop().startswith(LOGIN_COOKIE)
    assert not [name for name in jar(context, demo) if name.startswith(LOGIN_COOKIE)]


def test_the_strict_session_cookie_stays_away_from_the_callback_and_the_page_is_signed_in(
    page: Page, demo: Demo
) -> None:
    sign_in(page, demo)
    wire = Wire(page)

    page.goto(f"{demo.bff}/bff/login/?return_to=/&prompt=login")
    choose(page, "alice")
    expect_signed_in(page, demo)

    sent, held = wire.last(f"{demo.bff}/bff/callback/")
    assert SESSION_COOKIE not in sent
    [reason] = held[SESSION_COOKIE]
    assert reason.endswith("SameSiteStrict")
    sent, _ = wire.last(f"{demo.bff}/bff/session/")
    assert SESSION_COOKIE in sent


def test_signing_in_again_ends_the_sign_in_that_it_replaces(page: Page, demo: Demo) -> None:
    sign_in(page, demo)
    before = call(page, "/bff/session/")["body"]["grant"]["handle"]
    old = jar(page.context, demo)[SESSION_COOKIE]

    page.goto(f"{demo.bff}/bff/login/?return_to=/")
    expect_signed_in(page, demo)

    assert call(page, "/bff/session/")["body"]["grant"]["handle"] != before
    assert replay(demo, old) == (401, "grant_ended")


def test_each_tab_lands_where_it_wanted_to_go(context: BrowserContext, demo: Demo) -> None:
    tabs = {name: context.new_page() for name in ("one", "two")}
    for name, tab in tabs.items():
        tab.goto(f"{demo.bff}/?tab={name}")
        tab.get_by_role("button", name="Sign in with Lumen").click()
        expect(tab.get_by_role("heading", name="Sign in")).to_be_visible()

    choose(tabs["two"], "alice")
    expect_signed_in(tabs["two"], demo)
    with tabs["one"].expect_navigation():
        choose(tabs["one"], "alice")  # her sign-in has made this form too old: it comes anew
    choose(tabs["one"], "alice")
    expect_signed_in(tabs["one"], demo)

    assert [tab.url for tab in tabs.values()] == [f"{demo.bff}/?tab={name}" for name in tabs]
    assert [call(tab)["status"] for tab in tabs.values()] == [200, 200]


def test_alice_and_bob_see_their_own_photos(page: Page, other: BrowserContext, demo: Demo) -> None:
    bobs_page = other.new_page()
    sign_in(page, demo, "alice")
    sign_in(bobs_page, demo, "bob")

    alices, bobs = expect_photos(page), expect_photos(bobs_page)

    assert alices
    assert bobs
    assert not set(alices) & set(bobs)
    assert call(bobs_page, alices[0])["status"] == 404


def test_the_back_button_leads_to_the_login_form_which_still_leads_to_a_friendly_end(
    page: Page, demo: Demo
) -> None:
    sign_in(page, demo)

    page.go_back()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    choose(page, "alice")  # the provider answers the same login a second time

    page.wait_for_url(f"{demo.bff}/")  # by way of the error page, which sees the session
    expect_signed_in(page, demo)


def test_the_callback_opened_a_second_time_leads_home(page: Page, demo: Demo) -> None:
    address = callback_of(page, lambda: sign_in(page, demo))

    page.goto(address)

    assert page.url == f"{demo.bff}/"
    expect_signed_in(page, demo)


def test_the_callback_opened_in_another_browser_gives_a_friendly_page(
    page: Page, other: BrowserContext, demo: Demo
) -> None:
    address = callback_of(page, lambda: sign_in(page, demo))
    stranger = other.new_page()

    response = stranger.goto(address)

    assert response is not None
    assert response.status == 400
    assert stranger.url == f"{demo.bff}/bff/error/?bff_error=login_expired"
    expect(stranger.get_by_role("link", name="Try again")).to_be_visible()
    assert SESSION_COOKIE not in jar(other, demo)


def test_a_link_on_another_site_cannot_start_a_sign_in_by_itself(
    page: Page, elsewhere: Elsewhere, demo: Demo
) -> None:
    page.goto(elsewhere.at("127.0.0.1"))

    page.evaluate("(url) => location.assign(url)", f"{demo.bff}/bff/login/")

    expect(page.get_by_role("heading", name="Do you want to sign in?")).to_be_visible()
    page.get_by_role("link", name="Continue to sign in").click()
    choose(page, "bob")
    expect_signed_in(page, demo, "bob")


def callback_of(page: Page, signing_in: Callable[[], None]) -> str:
    """Sign in; return the address, with code and state, at which the browser came back."""
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    signing_in()
    [address] = [url for url in seen if "/bff/callback/?" in url]
    assert "code" in parse_qs(urlsplit(address).query)
    return address


# --- photos and prints ---


def test_a_print_is_followed_live_to_its_end(page: Page, demo: Demo) -> None:
    sign_in(page, demo)
    page.evaluate("""() => {
      window.seen = [];
      const look = () => {
        const bar = document.querySelector(".print progress");
        if (bar && window.seen.at(-1)?.percent !== bar.value)
          window.seen.push({ percent: bar.value, at: performance.now() });
      };
      new MutationObserver(look).observe(document.querySelector("#prints"),
        { subtree: true, childList: true, attributes: true, characterData: true });
    }""")

    order_print(page)

    expect(page.locator(".print.finished .percent")).to_have_text("100 %", timeout=PRINT_MS)
    seen = page.evaluate("window.seen")
    percents = [each["percent"] for each in seen]
    assert percents == sorted(percents)
    assert len(percents) >= 10
    assert seen[-1]["at"] - seen[0]["at"] > 6_000, "it all came at once"


def test_an_uploaded_photo_appears_among_the_others(page: Page, demo: Demo) -> None:
    sign_in(page, demo, "bob")
    before = len(expect_photos(page))

    upload(page, "Grandmother's garden.png")

    tile = page.locator(".tile").filter(has_text="Grandmother's garden")
    expect(tile).to_have_count(1)
    assert len(expect_photos(page)) == before + 1
    delete(page, "Grandmother's garden")


def test_a_photo_is_deleted_after_one_more_question(page: Page, demo: Demo) -> None:
    sign_in(page, demo, "bob")
    expect_photos(page)
    upload(page, "Thumb over the lens.png")

    delete(page, "Thumb over the lens")

    photos = call(page)["body"]["photos"]
    assert "Thumb over the lens" not in [photo["title"] for photo in photos]


def upload(page: Page, name: str) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (640, 480), "#3a7a5b").save(picture, "PNG")
    file = {"name": name, "mimeType": "image/png", "buffer": picture.getvalue()}
    page.locator("#upload").set_input_files(files=[file])
    expect(page.locator(".tile").filter(has_text=name.removesuffix(".png"))).to_have_count(1)
    expect_photos(page)


def delete(page: Page, title: str) -> None:
    page.get_by_role("button", name=f"Delete {title}").click()
    page.get_by_role("button", name=f"Really delete {title}?").click()
    expect(page.locator(".tile").filter(has_text=title)).to_have_count(0)


# --- tokens ---


def test_the_token_expires_and_is_refreshed_and_alice_notices_nothing(
    page: Page, demo: Demo
) -> None:
    refused: list[str] = []
    page.on("response", lambda r: refused.append(f"{r.status} {r.url}") if not r.ok else None)
    sign_in(page, demo)
    expect_photos(page)

    call_until_refreshed(page)

    expect(page.locator(".refreshed").first).to_contain_text("token refreshed")
    expect(page.locator("#calls .status.bad")).to_have_count(0)
    assert [line for line in refused if not line.startswith("30")] == []
    expect(page.locator("#user-name")).to_be_visible()


def call_until_refreshed(page: Page) -> None:
    for _ in range(30):  # a token lives eight seconds
        page.get_by_role("button", name="Try a call").click()
        page.wait_for_timeout(1000)
        if page.locator("#refreshes").inner_text() != "0":
            break
    expect(page.locator("#refreshes")).not_to_have_text("0")


def test_no_script_can_read_anything(page: Page, demo: Demo) -> None:
    sign_in(page, demo)
    expect_photos(page)

    readable = page.evaluate(
        """async () => [document.cookie, Object.keys(localStorage), Object.keys(sessionStorage),
                         (await indexedDB.databases()).length, (await caches.keys()).length]"""
    )

    assert readable == ["", [], [], 0, 0]


def test_no_token_ever_reaches_the_browser(chromium: Browser, demo: Demo, tmp_path: Path) -> None:
    recording = tmp_path / "everything.har"
    context = chromium.new_context(record_har_path=recording, record_har_content="embed")
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()

    sign_in(page, demo)
    order_print(page)
    call_until_refreshed(page)
    # Not by its button: what the browser is told just before it leaves is not recorded.
    logout_url = page.evaluate(LOG_OUT)
    page.goto(logout_url)
    expect(page.get_by_role("heading", name="You are signed out")).to_be_visible()
    context.close()

    everything = heard(recording)
    assert [address for address, text in everything if HINT.search(text)] == [
        f"{demo.bff}/bff/logout/",
        logout_url,
    ]
    # The ID token goes to the provider that made it, to say whose session is to end.
    said = [without_hint(text) for _, text in everything]
    assert len(said) > 30
    assert [text for text in said if JWT.search(text)] == []
    assert canary.find(tokens_of(demo, "alice"), *said) == []


def heard(recording: Path) -> list[tuple[str, bytes]]:
    """Return the address of each answer and all that it said, pictures left out."""
    return [
        (entry["request"]["url"], said_in(entry))
        for entry in json.loads(recording.read_text())["log"]["entries"]
    ]


def said_in(entry: dict[str, Any]) -> bytes:
    response = entry["response"]
    lines = [entry["request"]["url"], response["redirectURL"]]
    lines += [f"{h['name']}: {h['value']}" for h in entry["request"]["headers"]]
    lines += [f"{h['name']}: {h['value']}" for h in response["headers"]]
    content = response["content"]
    text: str = content.get("text", "")
    body = base64.b64decode(text) if content.get("encoding") == "base64" else text.encode()
    if content["mimeType"].startswith("image/jpeg"):
        body = b""
    return "\n".join(lines).encode() + b"\n\n" + body


def without_hint(text: bytes) -> bytes:
    return HINT.sub(b"", text)


# --- signing out ---


def test_after_signing_out_the_next_call_is_refused(page: Page, demo: Demo) -> None:
    sign_in(page, demo)
    assert call(page)["status"] == 200

    sign_out(page, demo)
    page.goto(f"{demo.bff}/")

    refusal = call(page)
    assert refusal["status"] == 401
    assert refusal["body"]["code"] == "login_required"
    expect(page.get_by_role("button", name="Sign in with Lumen")).to_be_visible()


def test_after_signing_out_the_cookie_is_gone_and_worthless(
    page: Page, context: BrowserContext, demo: Demo
) -> None:
    sign_in(page, demo)
    kept = jar(context, demo)[SESSION_COOKIE]
    assert replay(demo, kept) == (200, None)

    sign_out(page, demo)

    assert SESSION_COOKIE not in jar(context, demo)
    assert replay(demo, kept) == (401, "grant_ended")


def test_after_signing_out_the_provider_asks_anew_who_it_is(page: Page, demo: Demo) -> None:
    sign_in(page, demo)

    sign_out(page, demo)
    page.get_by_role("link", name="Sign in again").click()

    choose(page, "bob")
    expect_signed_in(page, demo, "bob")


def test_signing_out_in_one_tab_signs_out_the_other(
    page: Page, context: BrowserContext, demo: Demo
) -> None:
    sign_in(page, demo)
    second = context.new_page()
    second.goto(f"{demo.bff}/")
    expect_signed_in(second, demo)

    sign_out(second, demo)

    expect(page.get_by_role("button", name="Sign in with Lumen")).to_be_visible()
    expect(page.locator("#notice")).to_have_text("You signed out. See you soon.")
    expect(page.locator("#photo-grid img")).to_have_count(0)


def test_signing_in_in_one_tab_signs_in_the_other(
    page: Page, context: BrowserContext, demo: Demo
) -> None:
    page.goto(f"{demo.bff}/")
    expect(page.get_by_role("button", name="Sign in with Lumen")).to_be_visible()
    second = context.new_page()

    sign_in(second, demo, "bob")
    expect_signed_in(page, demo, "bob")
    expect_photos(page)


# --- the admin ---


def test_the_admin_ends_alices_grant_and_her_next_call_is_refused(
    page: Page, other: BrowserContext, demo: Demo
) -> None:
    sign_in(page, demo)
    kept = jar(page.context, demo)[SESSION_COOKIE]
    handle = call(page, "/bff/session/")["body"]["grant"]["handle"]
    admin = open_grants(other, demo)

    end_grant(admin, handle, "She lost her laptop.")
    with page.expect_response("**/bff/api/photos/prints") as refused:
        page.get_by_role("button", name="Try a call").click()

    assert refused.value.status == 401
    assert refused.value.json()["reason"] == "admin"
    expect(page.locator("#notice")).to_contain_text("An administrator ended your sign-in")
    expect(page.locator("#photo-grid img")).to_have_count(0)
    assert replay(demo, kept) == (401, "grant_ended")


def test_the_provider_revokes_what_the_admin_ended(
    page: Page, other: BrowserContext, demo: Demo
) -> None:
    sign_in(page, demo)
    [[family]] = ask_provider(
        demo,
        "SELECT token_family FROM oauth2_provider_refreshtoken"
        " WHERE user_id = ? ORDER BY id DESC LIMIT 1",
        SUBJECTS["alice"],
    )
    handle = call(page, "/bff/session/")["body"]["grant"]["handle"]

    end_grant(open_grants(other, demo), handle, "Told by phone.")

    alive = ask_provider(
        demo,
        "SELECT id FROM oauth2_provider_refreshtoken WHERE token_family = ? AND revoked IS NULL",
        family,
    )
    assert alive == []
    assert "POST /o/revoke_token/ 200" in (demo.folder / "data" / "provider.log").read_text()


def test_the_admin_keeps_who_ended_a_grant_and_why(
    page: Page, other: BrowserContext, demo: Demo
) -> None:
    sign_in(page, demo)
    handle = call(page, "/bff/session/")["body"]["grant"]["handle"]
    admin = open_grants(other, demo)

    end_grant(admin, handle, "She lost her laptop.")
    admin.goto(f"{demo.bff}/admin/oauthbff/tokengrant/{handle}/change/")

    main = admin.locator("#content")
    expect(main.locator(".field-end_reason")).to_contain_text("ended by an administrator")
    expect(main.locator(".field-end_note")).to_contain_text("She lost her laptop.")
    expect(main.locator(".field-ended_by_name .readonly")).not_to_have_text("-")


def test_the_admin_shows_no_secret(page: Page, other: BrowserContext, demo: Demo) -> None:
    sign_in(page, demo)
    secrets = {"session cookie": jar(page.context, demo)[SESSION_COOKIE]}
    handle = call(page, "/bff/session/")["body"]["grant"]["handle"]
    admin = open_grants(other, demo)

    listed = admin.content()
    admin.goto(f"{demo.bff}/admin/oauthbff/tokengrant/{handle}/change/")
    shown = admin.content()

    assert handle in listed
    assert handle in shown
    assert canary.find(tokens_of(demo, "alice") | secrets, listed, shown) == []
    assert not JWT.search((listed + shown).encode())


def test_bob_is_told_that_the_admin_is_not_for_him(page: Page, demo: Demo) -> None:
    sign_in(page, demo, "bob")

    response = page.goto(f"{demo.bff}/admin/")

    assert response is not None
    assert response.status == 403
    expect(page.get_by_role("heading", name="This part is for the people")).to_be_visible()


def open_grants(context: BrowserContext, demo: Demo) -> Page:
    """Sign in as the admin, from the admin's own address, and go to the grants."""
    page = context.new_page()
    page.goto(f"{demo.bff}/admin/")
    choose(page, "admin")
    page.wait_for_url(f"{demo.bff}/admin/")
    page.get_by_role("link", name="Grants", exact=True).first.click()
    expect(page.get_by_role("heading", name="Select grant")).to_be_visible()
    return page


def end_grant(admin: Page, handle: str, note: str) -> None:
    admin.locator(f"input.action-select[value='{handle}']").check()
    admin.get_by_label("Action:").select_option(value="end_selected")
    admin.get_by_role("button", name="Go").click()
    expect(admin.get_by_role("heading", name="End these grants?")).to_be_visible()
    admin.get_by_label("Why?").fill(note)
    admin.get_by_role("button", name="End and revoke").click()
    expect(admin.get_by_text("1 grant has ended here.").last).to_be_visible()


# --- other sites ---


class Elsewhere:
    """A server of somebody else's: an empty page at every address, under two names."""

    def __init__(self, port: int) -> None:
        self._port = port

    def at(self, host: str) -> str:
        return f"http://{host}:{self._port}/"


class EmptyPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><title>Free prints!</title><link rel=icon href='data:,'>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Elsewhere]:
    port = free_port()
    with ThreadingHTTPServer(("127.0.0.1", port), EmptyPage) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Elsewhere(port)
        server.shutdown()


# The second shares our site, so that even a Strict cookie comes along.
FOREIGNERS = pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost"], ids=["cross-site", "same-site"]
)


@FOREIGNERS
def test_a_fetch_from_another_page_achieves_nothing(victim: Victim, host: str) -> None:
    attacker = victim.visit(host)
    doors = [
        ("GET", "/bff/session/"),
        ("GET", "/bff/api/photos/photos"),
        ("POST", "/bff/api/photos/photos"),
        ("POST", "/bff/logout/"),
    ]

    for method, path in doors:
        attacker.evaluate(
            """([url, method]) =>
                 fetch(url, { method, mode: "no-cors", credentials: "include" })""",
            [victim.demo.bff + path, method],
        )

    assert victim.answers(len(doors)) == [403] * len(doors)
    assert victim.is_unharmed()


@FOREIGNERS
def test_a_picture_on_another_page_stays_empty(victim: Victim, host: str) -> None:
    attacker = victim.visit(host)

    came = attacker.evaluate(
        """(url) => new Promise((done) => {
          const image = new Image();
          image.onload = () => done(true);
          image.onerror = () => done(false);
          image.src = url;
        })""",
        victim.demo.bff + victim.photos[0],
    )

    assert came is False
    assert victim.answers() == [403]


@FOREIGNERS
def test_a_form_on_another_page_cannot_sign_alice_out(victim: Victim, host: str) -> None:
    attacker = victim.visit(host)

    with attacker.expect_navigation():
        attacker.evaluate(
            """(url) => {
              const form = Object.assign(document.createElement("form"),
                { method: "post", action: url });
              document.body.append(form);
              form.submit();
            }""",
            f"{victim.demo.bff}/bff/logout/",
        )

    assert victim.answers() == [403]
    assert victim.is_unharmed()


class Victim:
    """Alice, signed in, in whose browser another page is opened."""

    def __init__(self, page: Page, demo: Demo, elsewhere: Elsewhere) -> None:
        self.page, self.demo, self.elsewhere = page, demo, elsewhere
        sign_in(page, demo)
        self.photos = expect_photos(page)

    def visit(self, host: str) -> Page:
        attacker = self.page.context.new_page()
        self._wire = Wire(attacker)
        attacker.goto(self.elsewhere.at(host))
        return attacker

    def answers(self, count: int = 1) -> list[int]:
        """What our site answered to the other page, once it has."""
        for _ in range(TIMEOUT_MS // 50):
            if len(self._wire.statuses(f"{self.demo.bff}/bff/")) >= count:
                break
            self.page.wait_for_timeout(50)
        return self._wire.statuses(f"{self.demo.bff}/bff/")

    def is_unharmed(self) -> bool:
        answer = call(self.page)
        return answer["status"] == 200 and len(answer["body"]["photos"]) == len(self.photos)


@pytest.fixture
def victim(page: Page, demo: Demo, elsewhere: Elsewhere) -> Victim:
    return Victim(page, demo, elsewhere)
