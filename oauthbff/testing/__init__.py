"""For the tests of a site that uses oauthbff: sign in without a provider, or with a bad one.

    signing_in  bff_login(client, sub=…, scopes=…) and let_access_token_expire(client)
    provider    StrictProvider: a provider in this process that rotates, refuses, hangs and lies
    upstream    RecordingUpstream: an API in this process that keeps what reached it
    fixtures    the same as pytest fixtures: `pytest_plugins = ["oauthbff.testing.fixtures"]`
    behaviour   the switches and the memory of the provider
    loopback    the HTTP server that both stand on

`python -m oauthbff.testing` runs such a provider and an API for trying things out by hand.
No room of the app imports this one.
"""

from __future__ import annotations

from .behaviour import ABSENT
from .provider import StrictProvider
from .signing_in import bff_login, let_access_token_expire
from .upstream import RecordingUpstream

__all__ = [
    "ABSENT",
    "RecordingUpstream",
    "StrictProvider",
    "bff_login",
    "let_access_token_expire",
]
