"""docs/dev-servers.md in the tutorial's site: a real Vite before Django, and Django before Vite."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.support import components
from tests.support.pages import Desk, outside_the_repository
from tests.support.ports import free_port, is_listening
from tests.support.site import ROOT

DJANGO, VITE, PROVIDER, API = (free_port() for _ in range(4))
WAYS = {"Vite in front": VITE, "Django in front": DJANGO}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The tutorial's site with the front end of the page; its provider runs, its site does not."""
    components.require("node")
    instead = {
        "python3 -m venv .venv": "true",
        ". .venv/bin/activate": "true",
        "pip install oauthbff": "true",  # it is there; the tutorial's own test installs the wheel
        "python manage.py oauthbff_doctor": "true",
        "--save-dev vite": "--save-dev vite@8.4.0",  # a newer one is not our news
        "-m oauthbff.testing": f"-m oauthbff.testing --provider-port {PROVIDER} --api-port {API}",
        ":9000": f":{PROVIDER}",
        ":9001": f":{API}",
        "8000": str(DJANGO),
        "5173": str(VITE),
    }
    node = components.node()
    path = f"{Path(sys.executable).parent}:{node.parent if node else ''}:/usr/bin:/bin"
    env = outside_the_repository(PATH=path, PYTHONPATH=str(ROOT))
    env |= {"npm_config_audit": "false", "npm_config_fund": "false", "npm_config_loglevel": "error"}
    desk = Desk(tmp_path_factory.mktemp("shop"), env, instead)
    with ExitStack() as running:
        for command in desk.follow(ROOT / "docs/tutorial.md"):
            if "testing" in command:
                child = running.enter_context(desk.server(command))
                child.start(lambda: is_listening(PROVIDER) and is_listening(API), seconds=60)
        assert not [*desk.follow(part(desk, "The front end"))]
        yield desk


def part(desk: Desk, title: str) -> Path:
    """The page's part under a heading, as a page of its own."""
    text = (ROOT / "docs/dev-servers.md").read_text()
    [found] = re.findall(rf"^## {title}\n(.*?)(?=^## )", text, re.S | re.M)
    page = desk.folder / f"{title}.md"
    page.write_text(found)
    return page


@pytest.mark.parametrize("way", WAYS)
def test_one_origin_however_the_two_servers_stand(desk: Desk, context: BrowserContext, way: str):
    page = context.new_page()
    with ExitStack() as running:
        for command in desk.follow(part(desk, way)):
            port = DJANGO if "runserver" in command else VITE
            child = running.enter_context(desk.server(command))
            child.start(lambda port=port: is_listening(port), seconds=60)

        page.goto(f"http://localhost:{WAYS[way]}/")
        expect(page.locator("#who")).to_have_text("Signed out (never in)")
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("#who")).to_have_text("Signed in as jane")
        assert page.url == f"http://localhost:{WAYS[way]}/"
        page.get_by_role("button", name="Call the API").click()
        expect(page.locator("#said")).to_contain_text('"sub":"jane"')

        # A developer saves a file, and sees it at once.
        script = desk.folder / "src/main.js"
        before = script.read_text()
        script.write_text(before.replace("Signed in as", "Hello,"))
        expect(page.locator("#who")).to_have_text("Hello, jane")
        script.write_text(before)
        expect(page.locator("#who")).to_have_text("Signed in as jane")
