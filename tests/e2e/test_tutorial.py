"""The tutorial, word by word, from the wheel, far from the repository, to its end in Chromium."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.support.pages import FENCE, Desk, outside_the_repository
from tests.support.ports import free_port, is_listening
from tests.support.site import ROOT

PAGE = ROOT / "docs/tutorial.md"


def test_every_command_and_file_of_the_tutorial(
    page: Page, wheel: Path, tmp_path: Path, record_property
):
    site, provider, api = free_port(), free_port(), free_port()
    instead = {
        "8000": str(site),
        "-m oauthbff.testing": f"-m oauthbff.testing --provider-port {provider} --api-port {api}",
        ":9000": f":{provider}",
        ":9001": f":{api}",
    }
    # pip finds `oauthbff` in the wheel's folder, as it would at PyPI.
    env = outside_the_repository(PIP_FIND_LINKS=str(wheel.parent))
    desk = Desk(tmp_path, env, instead)
    fences = FENCE.findall(PAGE.read_text())
    started = time.monotonic()

    with ExitStack() as running:
        for command in desk.follow(PAGE):
            port = site if "runserver" in command else provider
            child = running.enter_context(desk.server(command))
            child.start(lambda port=port: is_listening(port), seconds=60)
        seconds = time.monotonic() - started

        assert str(ROOT) not in desk.shell("python -c 'import oauthbff; print(oauthbff.__file__)'")
        page.goto(f"http://localhost:{site}/")
        expect(page.locator("#who")).to_have_text("Signed out (never in)")
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("#who")).to_have_text("Signed in as jane")
        page.get_by_role("button", name="Call the API").click()
        expect(page.locator("#said")).to_contain_text("sub")
        said = json.loads(page.locator("#said").inner_text())
        assert [said] == [json.loads(text) for kind, text in fences if kind == "json"]
        page.get_by_role("button", name="Sign out").click()
        expect(page.locator("#who")).to_contain_text("Signed out")

    record_property("seconds", round(seconds, 1))
    print(f"the tutorial's commands took {seconds:.1f} s")
