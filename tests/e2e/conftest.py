"""Fixtures with a real Chromium, driven by playwright's own API.

Not pytest-playwright: its session-wide `base_url` fixture warns under pytest 9, and warnings
are errors here.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.support import components
from tests.support.ports import free_port, is_listening
from tests.support.processes import Child
from tests.support.site import ROOT

QUIET = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]
TIMEOUT_MS = 15_000
ACCESS_TOKEN_LIFETIME = 8  # seconds, in the demo of these tests


@dataclass(frozen=True)
class Demo:
    """`manage.py demo`, running."""

    bff: str  # http://localhost:<port>
    provider: str  # http://127.0.0.1:<port>
    api: str
    folder: Path
    child: Child

    def log(self) -> str:
        return self.child.log()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Chromium, started once. Tests take a `page` or a `context`."""
    components.require("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=components.chromium(), args=QUIET, timeout=60_000
        )
        yield browser
        browser.close()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """A browser profile of this test alone: no cookies, no storage."""
    context = chromium.new_context(locale="en", viewport={"width": 1280, "height": 900})
    context.set_default_timeout(TIMEOUT_MS)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Page]:
    """A tab. If the test fails, its console and a picture are in the test's output folder."""
    page = context.new_page()
    console: list[str] = []
    page.on("console", lambda message: console.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: console.append(f"error: {error}"))
    yield page
    report = request.node.stash.get(_REPORT, None)
    if report is not None and report.failed:
        folder = tmp_path
        page.screenshot(path=folder / "page.png", full_page=True)
        (folder / "page.html").write_text(page.content())
        print(f"at {page.url}; picture and source in {folder}")
        print("console:", *console, sep="\n  ")


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The demo as a newcomer starts it, on ports of its own."""
    folder = tmp_path_factory.mktemp("demo")
    bff, provider, api = free_port(), free_port(), free_port()
    options = {
        "--bff-port": bff,
        "--provider-port": provider,
        "--api-port": api,
        "--data-dir": folder / "data",
        "--access-token-lifetime": ACCESS_TOKEN_LIFETIME,
    }
    words = [str(word) for option in options.items() for word in option]
    child = Child(
        "demo",
        [sys.executable, "manage.py", "demo", *words],
        cwd=ROOT,
        log=folder / "demo.log",
    )
    with child:
        child.start(lambda: all(map(is_listening, (bff, provider, api))), seconds=120)
        yield Demo(
            f"http://localhost:{bff}",
            f"http://127.0.0.1:{provider}",
            f"http://127.0.0.1:{api}",
            folder,
            child,
        )


_REPORT = pytest.StashKey[pytest.TestReport]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the report where the `page` fixture finds it."""
    report = yield
    if report.when == "call":
        item.stash[_REPORT] = report
    return report
