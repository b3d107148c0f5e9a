"""Pytest fixtures: `pytest_plugins = ["oauthbff.testing.fixtures"]` in the site's conftest.

They change settings for one test and put them back. Nothing here needs more than pytest.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.conf import settings
from django.test import Client, override_settings

from .provider import StrictProvider
from .upstream import RecordingUpstream

CLIENT_ID, CLIENT_SECRET = "site-under-test", "secret-of-the-site-under-test"


@pytest.fixture(scope="session")
def _bff_provider() -> Iterator[StrictProvider]:
    with StrictProvider(CLIENT_ID, CLIENT_SECRET) as provider:
        yield provider


@pytest.fixture
def bff_provider(_bff_provider: StrictProvider) -> Iterator[StrictProvider]:
    """A provider that knows nobody and does nothing wrong yet; the settings point at it."""
    _bff_provider.configure()
    ours = {
        key: value
        for key, value in settings.OAUTHBFF.items()
        if key not in ("CLIENT_AUTH", "CLIENT_KEY", "PAR")
    }
    with override_settings(
        OIDC_OP_ISSUER=_bff_provider.issuer,
        OIDC_RP_CLIENT_ID=CLIENT_ID,
        OIDC_RP_CLIENT_SECRET=CLIENT_SECRET,
        OIDC_RP_SIGN_ALGO="RS256",
        OIDC_TOKEN_USE_BASIC_AUTH=True,
        OAUTHBFF=ours,
    ):
        yield _bff_provider
    _bff_provider.mend()


@pytest.fixture(scope="session")
def _bff_upstream() -> Iterator[RecordingUpstream]:
    with RecordingUpstream() as upstream:
        yield upstream


@pytest.fixture
def bff_upstream(_bff_upstream: RecordingUpstream) -> Iterator[RecordingUpstream]:
    """An API that has seen nothing yet. Each route of the settings leads to it, below its name."""
    _bff_upstream.clear()
    routes = {
        name: {**route, "url": f"{_bff_upstream.url}/{name}/"}
        for name, route in settings.OAUTHBFF.get("UPSTREAMS", {}).items()
    }
    with override_settings(OAUTHBFF={**settings.OAUTHBFF, "UPSTREAMS": routes}):
        yield _bff_upstream


@pytest.fixture
def bff_client() -> Client:
    """A browser of nobody's yet; hand it to `bff_login`."""
    return Client()
