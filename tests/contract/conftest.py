"""Fixtures of the contract tests: who calls, and through which door."""

from __future__ import annotations

import pytest

from tests.conftest import MakeSite
from tests.support.caller import DOORS, Caller, proxy_site, signed_in
from tests.support.upstream import RecordingUpstream


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest) -> str:
    """The name of each door in turn."""
    return str(request.param)


@pytest.fixture
def jane(door: str, make_site: MakeSite, upstream: RecordingUpstream) -> Caller:
    """Jane, signed in at the proxy tests' site, behind each door in turn."""
    return signed_in(proxy_site(make_site, upstream, door), upstream)
