"""Settings for tests that run in this process. Sites of the contract tests have their own."""

from __future__ import annotations

import base64
import os

_EMBEDDED = {
    "SECRET_KEY": "only-for-tests-" + "x" * 40,
    "OIDC_OP_ISSUER": "http://127.0.0.1:9/op",
    "OIDC_RP_CLIENT_ID": "client",
    "OIDC_RP_CLIENT_SECRET": "secret",
    "OAUTHBFF_KEYS": "test:" + base64.b64encode(os.urandom(32)).decode(),
    "OAUTHBFF_UPSTREAMS": '{"photos": {"url": "http://127.0.0.1:9/photos/"}}',
    "DATABASE_URL": "sqlite:///:memory:",
}
for _name in list(os.environ):
    if _name.startswith(("OIDC_", "OAUTHBFF_")) and _name != "OAUTHBFF_TEST_REQUIRE_ALL":
        del os.environ[_name]
os.environ.update(_EMBEDDED)

from project.settings import *  # noqa: E402, F403

# A test's `Client` is a handler of its own, for which each static file would be looked up anew.
WHITENOISE_AUTOREFRESH = True
