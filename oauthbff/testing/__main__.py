"""`python -m oauthbff.testing`: a provider and an API on this machine, to try things out with.

The provider signs everybody in without asking, so it listens on 127.0.0.1 and nowhere else.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import threading

from .loopback import Call, Loopback
from .provider import StrictProvider

CLIENT_ID, CLIENT_SECRET = "trying-it-out", "no-secret-at-all"


class TokenTaker(Loopback):
    """An API that takes the provider's tokens, and says what reached it."""

    def __init__(self, provider: StrictProvider, port: int) -> None:
        super().__init__(port)
        self.provider = provider

    def answer(self, call: Call) -> None:
        call.body()
        scheme, _, value = (call.headers.get("Authorization") or "").partition(" ")
        if scheme != "Bearer" or not self.provider.takes(value):
            return call.say(401, {"detail": "no token of ours"}, {"WWW-Authenticate": "Bearer"})
        token = self.provider.tokens[value]
        seen = {"method": call.command, "path": call.path, "cookie": "Cookie" in call.headers}
        call.say(200, {"token": {"sub": token.sub, "scope": token.scope}, **seen})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m oauthbff.testing", description=__doc__)
    parser.add_argument("--provider-port", type=int, default=9000)
    parser.add_argument("--api-port", type=int, default=9001)
    parser.add_argument("--sub", default="jane", help="who everybody is (default: jane)")
    options = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with contextlib.ExitStack() as running:
        provider = StrictProvider(CLIENT_ID, CLIENT_SECRET, port=options.provider_port)
        provider.login_as(options.sub)
        running.enter_context(provider)
        api = running.enter_context(TokenTaker(provider, options.api_port))
        print(f"provider  OIDC_OP_ISSUER = {provider.issuer!r}, signs in {options.sub}", flush=True)
        print(f"client    {CLIENT_ID!r}, secret {CLIENT_SECRET!r}", flush=True)
        print(f"API       {api.url}/, wants a token of the provider's", flush=True)
        print("Ctrl-C ends both.", flush=True)
        stop.wait()


if __name__ == "__main__":
    main()
