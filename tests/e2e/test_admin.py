"""The admin as somebody of the staff meets it, while Jane's tab is open in another browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.conftest import MakeSite
from tests.e2e.conftest import TIMEOUT_MS
from tests.support.provider import HOME as NODE_MODULES_OF
from tests.support.provider import NodeProvider
from tests.support.site import Site

GRANTS = "/admin/oauthbff/tokengrant/"
CALL = """async () => {
  const answer = await fetch("/bff/api/photos/1", { headers: { "X-BFF": "1" } });
  return { status: answer.status, reason: (await answer.json()).reason };
}"""
#: What is wider than its place: a page that scrolls sideways, a table with columns out of sight.
TOO_WIDE = """() => [document.documentElement, ...document.querySelectorAll(".results")]
  .filter((one) => one.scrollWidth > one.clientWidth + 1)
  .map((one) => `${one.tagName}.${one.className}: ${one.scrollWidth} of ${one.clientWidth}`)"""
AXE = NODE_MODULES_OF / "node_modules" / "axe-core" / "axe.min.js"


@pytest.fixture
def shop(make_site: MakeSite) -> Site:
    return make_site(workers=2)


@pytest.fixture
def janes(chromium: Browser, shop: Site, provider: NodeProvider) -> Iterator[Page]:
    """Jane's tab: the single-page app, signed in."""
    context = chromium.new_context(locale="en")
    context.set_default_timeout(TIMEOUT_MS)
    yield sign_in(context, shop, provider, "jane", "/")
    context.close()


@pytest.fixture
def admin(context: BrowserContext, shop: Site, provider: NodeProvider, janes: Page) -> Page:
    """Ada's tab: the list of grants. Jane signed in before her."""
    return sign_in(context, shop, provider, "ada", GRANTS)


def sign_in(
    context: BrowserContext, shop: Site, provider: NodeProvider, person: str, then: str
) -> Page:
    provider.login_as(person)
    page = context.new_page()
    page.goto(f"{shop.base_url}/bff/login/?return_to={then}")
    page.wait_for_url(f"{shop.base_url}{then}*")
    return page


def find(admin: Page, question: str) -> None:
    admin.get_by_role("textbox", name="Search").fill(question)
    admin.get_by_role("button", name="Search").click()


def end_all_of_jane(admin: Page) -> None:
    """From the list: find her, open her grant, end all of hers, say why."""
    find(admin, "jane@example.com")
    admin.locator("#result_list tbody th a").click()
    admin.get_by_role("link", name="End all of this user…").click()
    admin.get_by_label("Why?").fill("laptop stolen")
    admin.get_by_role("button", name="End and revoke").click()
    expect(admin.locator(".grant-effect")).to_contain_text("1 grant has ended here.")


def told(admin: Page) -> Any:
    """What the outcome says of the provider, in the row of the grant."""
    return admin.locator(".grant-table tbody td").last


# --- the twenty seconds ---


def test_an_admin_ends_somebodys_sessions_and_sees_that_it_worked(
    admin: Page, janes: Page, provider: NodeProvider
) -> None:
    before = provider.live_refresh_tokens
    assert janes.evaluate(CALL)["status"] == 200
    end_all_of_jane(admin)

    expect(told(admin)).to_have_text("revoked at the provider")
    assert janes.evaluate(CALL) == {"status": 401, "reason": "admin"}
    assert provider.revocations >= 1
    assert provider.live_refresh_tokens == before - 1
    janes.reload()
    expect(janes.locator("#notice")).to_contain_text("An administrator ended your sign-in")


def test_with_the_provider_down_it_ends_here_at_once_and_there_when_it_is_back(
    admin: Page, janes: Page, provider: NodeProvider
) -> None:
    before = provider.live_refresh_tokens
    provider.fault("/token/revocation", times=0, status=503, body="down")
    end_all_of_jane(admin)

    assert janes.evaluate(CALL) == {"status": 401, "reason": "admin"}
    expect(told(admin)).to_contain_text(re.compile("will be retried at|not told yet"))
    expect(told(admin)).to_contain_text("503")
    assert provider.live_refresh_tokens == before

    provider.mend()
    admin.get_by_role("button", name="Try the provider again now").click()
    expect(told(admin)).to_have_text("revoked at the provider")
    assert provider.live_refresh_tokens == before - 1
    expect(admin.get_by_role("button", name="Try the provider again now")).to_have_count(0)


def test_the_page_of_an_outage_learns_by_itself_that_it_is_over(
    admin: Page, provider: NodeProvider
) -> None:
    provider.fault("/token/revocation", times=0, status=503, body="down")
    end_all_of_jane(admin)
    provider.mend()
    expect(told(admin)).to_have_text("revoked at the provider", timeout=40_000)


def test_one_grant_can_be_told_again_from_its_own_page(admin: Page, provider: NodeProvider) -> None:
    provider.fault("/token/revocation", times=0, status=503, body="down")
    end_all_of_jane(admin)
    admin.locator(".grant-table tbody th a").click()
    again = admin.get_by_role("button", name="Try the provider again now")
    again.click()
    expect(admin.locator(".messagelist .warning")).to_be_visible()
    provider.mend()
    again.click()
    expect(admin.locator(".messagelist .success")).to_have_text(
        re.compile("revoked at the provider", re.I)
    )
    expect(admin.locator(".field-told")).to_contain_text("revoked at the provider")


def test_it_can_all_be_done_from_the_keyboard(admin: Page, janes: Page) -> None:
    search = admin.get_by_role("textbox", name="Search")
    search.focus()
    admin.keyboard.type("jane")
    admin.keyboard.press("Enter")
    admin.locator("#result_list tbody th a").focus()
    admin.keyboard.press("Enter")
    admin.wait_for_url("**/change/**")
    tabs = 0
    while not admin.evaluate("document.activeElement.classList.contains('grant-end')"):
        admin.keyboard.press("Tab")
        tabs += 1
        assert tabs < 40
    admin.keyboard.press("Enter")
    admin.wait_for_url("**/end/**")
    admin.keyboard.type("by keyboard")  # the field has the focus already
    admin.keyboard.press("Enter")
    expect(admin.locator(".grant-effect")).to_contain_text("1 grant has ended here.")
    assert janes.evaluate(CALL)["reason"] == "admin"


# --- very many ---

ORDER = """
from oauthbff import grants
from oauthbff.models import *
from tests.support.rows import grants_of, person
grants_of(person("crowd"), 450)
ada = User.objects.get(email="ada@example.com")
crowd = TokenGrant.objects.filter(user__username="crowd")
print("order", grants.order_end(crowd, scope="list", by=ada, note="a break-in").pk)
"""


def give_order(shop: Site) -> str:
    """An order for a crowd, given and not begun: as after a closed tab."""
    said = shop.manage("shell", "-v0", "-c", "from django.contrib.auth.models import User" + ORDER)
    return said.rpartition("order ")[2].strip()


def standing(shop: Site) -> int:
    [(count,)] = shop.sql("SELECT count(*) FROM oauthbff_tokengrant WHERE ended_at IS NULL")
    return int(count)


def test_an_order_goes_on_when_its_page_is_opened_again(
    admin: Page, shop: Site, janes: Page
) -> None:
    admin.goto(f"{shop.base_url}{GRANTS}orders/{give_order(shop)}/")
    expect(admin.locator(".grant-effect")).to_contain_text("450 grants have ended here.")
    expect(admin.locator(".grant-figures")).to_contain_text("revoked at the provider")
    assert standing(shop) == 2  # Jane and Ada are not in it
    assert janes.evaluate(CALL)["status"] == 200


def test_without_a_script_it_goes_on_by_a_button(
    chromium: Browser, admin: Page, shop: Site
) -> None:
    address = f"{shop.base_url}{GRANTS}orders/{give_order(shop)}/"
    plain = chromium.new_context(
        locale="en", java_script_enabled=False, storage_state=admin.context.storage_state()
    )
    page = plain.new_page()
    page.goto(address)
    expect(page.locator(".grant-effect")).to_contain_text("0 of 450 have ended")
    for _ in range(20):
        if "0 of 450" not in page.locator(".grant-effect").inner_text() and standing(shop) == 2:
            break
        page.get_by_role("button", name="Go on").click()
    expect(page.locator(".grant-effect")).to_contain_text("450 grants have ended here.")
    plain.close()


def test_everyone_is_logged_out_but_who_asks(
    admin: Page, janes: Page, shop: Site, provider: NodeProvider
) -> None:
    admin.get_by_role("link", name="Log everyone out…").click()
    expect(admin.get_by_text("1 grant of 1 person will end at once.")).to_be_visible()
    expect(admin.get_by_label("End your own session too.")).not_to_be_checked()
    admin.get_by_label("Why?").fill("a break-in")
    admin.get_by_role("button", name="End and revoke").click()
    expect(admin.locator(".grant-effect")).to_contain_text("1 grant has ended here.")
    assert janes.evaluate(CALL)["reason"] == "admin"
    assert standing(shop) == 1


def test_ones_own_session_can_be_ended_as_well(admin: Page, shop: Site) -> None:
    admin.get_by_role("link", name="Log everyone out…").click()
    admin.get_by_label("End your own session too.").check()
    admin.get_by_label("Why?").fill("a break-in")
    admin.get_by_role("button", name="End and revoke").click()
    # Signed out, and in again: the provider still knows her. So she sees what became of it.
    expect(admin.locator(".grant-effect")).to_contain_text("2 grants have ended here.")
    ended = "SELECT count(*) FROM oauthbff_tokengrant WHERE end_reason = 'admin'"
    assert shop.sql(ended) == [(2,)]


# --- for everybody ---


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_on_any_page_and_nothing_runs_out_of_it(
    chromium: Browser, admin: Page, shop: Site, provider: NodeProvider, scheme: Any, width: int
) -> None:
    provider.fault("/token/revocation", times=0, status=503, body="down")
    end_all_of_jane(admin)
    outcome = admin.url
    admin.locator(".grant-table tbody th a").click()
    ended = admin.url
    context = chromium.new_context(
        locale="en",
        color_scheme=scheme,
        viewport={"width": width, "height": 900},
        storage_state=admin.context.storage_state(),
    )
    page = context.new_page()
    [(ada,)] = shop.sql("SELECT id FROM auth_user WHERE email = 'ada@example.com'")
    [(own,)] = shop.sql("SELECT id FROM oauthbff_tokengrant WHERE subject = 'ada'")
    addresses = [
        *(GRANTS, f"{GRANTS}?state=active&q=ada", f"{GRANTS}dashboard/", f"{GRANTS}orders/"),
        *(f"{GRANTS}{own}/change/", f"{GRANTS}end/?user={ada}", outcome, ended),
        f"/admin/auth/user/{ada}/change/",
    ]
    wrong = {}
    for address in addresses:
        page.goto(address if address.startswith("http") else shop.base_url + address)
        page.add_script_tag(path=AXE)
        # Of a user's page only the panel is ours.
        ours = ["#oauth-sessions", ".grant-panel"] if "/auth/user/" in address else ["#content"]
        found = page.evaluate(
            "async (ours) => (await axe.run({ include: [ours.at(-1)] })).violations.map("
            "(v) => [v.id, ...v.nodes.map((n) => n.html + ' ' + n.failureSummary)])",
            ours,
        )
        if found := found + page.evaluate(TOO_WIDE):
            wrong[address] = found
    context.close()
    assert wrong == {}
