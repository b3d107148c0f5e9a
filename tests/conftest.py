"""Fixtures: one provider, one upstream and a few sites for the whole run, clean for each test.

Starting a site takes seconds, cleaning it milliseconds. So `provider`, `upstream` and `site` are
started once and handed to each test empty; `make_site(...)` starts one site per set of options
and gives the same one to whoever asks for the same options later. Unit tests use none of this.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import Browser
from tests.support.provider import NodeProvider
from tests.support.site import Site, default_upstreams, drop_templates
from tests.support.upstream import RecordingUpstream
from tests.support.wheel import build

# Playwright's sync API keeps an event loop in this thread, at which Django's ORM takes fright.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")

MOST_SITES = 8  # idle ones kept alive; a site is some 150 MB, and five doors have one each

MakeSite = Callable[..., Site]


@pytest.fixture(scope="session")
def node_provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProvider]:
    with NodeProvider(logs=tmp_path_factory.mktemp("provider")) as provider:
        yield provider


@pytest.fixture(scope="session")
def recording_upstream() -> Iterator[RecordingUpstream]:
    with RecordingUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as `pip install` gets it."""
    return build(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def provider(node_provider: NodeProvider) -> NodeProvider:
    """The provider, knowing nobody. Change it with `provider.configure(ACCESS_TTL=2)`."""
    node_provider.configure()
    return node_provider


@pytest.fixture
def upstream(recording_upstream: RecordingUpstream) -> RecordingUpstream:
    """The upstream, with no script and no request yet."""
    recording_upstream.clear()
    return recording_upstream


class _Sites:
    """The sites of this run, by their options; the one used longest ago goes first."""

    def __init__(self, provider: NodeProvider, upstream: RecordingUpstream) -> None:
        self._provider = provider
        self._upstream = upstream
        self._running: dict[str, Site] = {}

    def new(self, **options: Any) -> Site:
        if "share" not in options and "provider" not in options and "issuer" not in options:
            options["provider"] = self._provider
        elif options.get("share"):
            options.setdefault("provider", options["share"].provider)
        options.setdefault("upstreams", default_upstreams(self._upstream.url))
        return Site(**options).start()

    def like(self, **options: Any) -> Site:
        key = repr(sorted(options.items()))
        site = self._running.pop(key, None)
        if site is None:
            while len(self._running) >= MOST_SITES:
                self._running.pop(next(iter(self._running))).stop()
            site = self.new(**options)
        else:
            if site.provider:
                site.empty()
                site.provider.serve(site.base_url)
            site.forget_log()  # what met the emptying, a page that still asked, is said by now
        self._running[key] = site
        return site

    def stop(self) -> None:
        while self._running:
            self._running.popitem()[1].stop()
        drop_templates()


@pytest.fixture(scope="session")
def _sites(node_provider: NodeProvider, recording_upstream: RecordingUpstream) -> Iterator[_Sites]:
    sites = _Sites(node_provider, recording_upstream)
    yield sites
    sites.stop()


@pytest.fixture
def make_site(
    _sites: _Sites, provider: NodeProvider, upstream: RecordingUpstream
) -> Iterator[MakeSite]:
    """Start a site: `make_site(database="postgresql", workers=2, env={...})`.

    The options are Site's. Without `upstreams` it has photos, weather and news, see
    site.DEFAULT_UPSTREAMS. `fresh=True`: no test has used it, none will; needed where the test
    stops it, or where the site must read the provider's discovery document anew.
    """
    mine: list[Site] = []

    def make(*, fresh: bool = False, **options: Any) -> Site:
        if not fresh and "share" not in options:
            return _sites.like(**options)
        mine.append(_sites.new(**options))
        return mine[-1]

    yield make
    for site in reversed(mine):
        site.stop()


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """A site on gunicorn, two workers, SQLite, no shared cache."""
    return make_site(workers=2)


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def site_on_each_database(request: pytest.FixtureRequest, make_site: MakeSite) -> Site:
    return make_site(workers=2, database=request.param)


@pytest.fixture
def browser(site: Site) -> Browser:
    """A browser that has never been anywhere."""
    return site.browser()


def pytest_configure(config: pytest.Config) -> None:
    for room, says in _ROOMS.items():
        config.addinivalue_line("markers", f"{room}: {says}")
    config.addinivalue_line("markers", "alone: measures time; CI runs nothing beside it")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark by folder: `pytest -m unit` needs no program but Python. And what measures time."""
    for item in items:
        room = item.path.parent.name
        if room in _ROOMS:
            item.add_marker(room)
        if item.path.stem in _ALONE:
            item.add_marker("alone")


_ROOMS: Mapping[str, str] = {
    "unit": "pure, no database, no network",
    "contract": "one edge against something real",
    "e2e": "with a real browser",
}
#: Files whose tests bear nothing beside them: a load of their own, or a limit of a second or less.
_ALONE = ("test_bench", "test_edge", "test_lane", "test_refresh_kill", "test_refresh_storm")
