"""NodeProvider: npm oidc-provider, certified and strict, as a child process under test hooks.

Configuration names and defaults: the head of op/server.mjs. `configure` builds the provider
anew inside the same process in a millisecond, so one child serves all tests. It answers at
http://127.0.0.1:<port>: another site than the back end's http://localhost:<port>.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import os
import subprocess
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.support import components
from tests.support.ports import LOOPBACK
from tests.support.processes import Child

HOME = Path(__file__).parent / "op"
CLIENT_ID = "bff"
CLIENT_SECRET = "bff-secret-bff-secret-bff-secret-bff"
SCOPES = "openid profile email groups photos.read"


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request the provider got."""

    method: str
    path: str
    params: Mapping[str, str]  # of the form, else of the query
    headers: Mapping[str, str]  # names in lower case
    grant_type: str | None
    client_auth: str | None  # "Basic", "Bearer", "post" or None
    at: int  # milliseconds since 1970
    ms: int | None  # how long the answer took
    status: int | str | None  # None: not answered yet; "dropped": the client got nothing
    error: str | None
    reused: bool  # a spent refresh token was presented: the whole family is revoked
    fault: bool  # a scripted fault met it


class NodeProvider:
    def __init__(self, *, logs: Path, **config: str | int) -> None:
        components.require("node")
        install()
        self._config = {name: str(value) for name, value in config.items()}
        self._changes: dict[str, str] = {}  # by `configure`
        self._sites: list[str] = []  # by `serve`
        self._child = Child(
            "provider",
            [components.node() or "node", "server.mjs"],
            cwd=HOME,
            env={**os.environ, "PORT": "0", "HOST": LOOPBACK, **self._config},
            log=logs / "provider.log",
        )
        self.issuer = ""

    def start(self) -> Self:
        self._child.start(self._ready)
        return self

    def stop(self) -> None:
        self._child.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _ready(self) -> bool:
        for line in self._child.log().splitlines():
            if line.startswith("op: ready "):
                self.issuer = line.removeprefix("op: ready ").strip()
        return bool(self.issuer)

    # ------------------------------------------------------------------ configuration

    def configure(self, **config: str | int | bool) -> None:
        """Begin anew with these settings: no sessions, no tokens, no log, no faults.

        The issuer and its keys stay, and so do the sites made known with `serve`. A back end
        that has read the discovery document keeps what it read.
        """
        self._changes = {name: _text(value) for name, value in config.items()}
        self._post("configure", {**self._site_config(), **self._changes})

    def serve(self, base_url: str, *, mount: str = "/bff/") -> None:
        """Register a back end as the client. Its logout URI is where back-channel calls go.

        Several may be registered; then the last one gets the back-channel calls. What
        `configure` set stays set, but sessions and tokens are gone.
        """
        here = f"{base_url}{mount}"
        self._sites = [*(site for site in self._sites if site != here), here]
        self._post("configure", {**self._site_config(), **self._changes})

    def _site_config(self) -> dict[str, str]:
        if not self._sites:
            return {}
        # The provider's own fetch resolves localhost by itself; the address is certain.
        last = urllib.parse.urlsplit(self._sites[-1])
        return {
            "REDIRECT_URI": " ".join(f"{site}callback/" for site in self._sites),
            "POST_LOGOUT_URI": " ".join(f"{site}logged-out/" for site in self._sites),
            "BACKCHANNEL_LOGOUT_URI": f"http://localhost:{last.port}{last.path}backchannel-logout/",
        }

    def rotate_keys(self) -> None:
        """Sign with new keys from now on; the old ones leave the JWKS. Everything else stays."""
        self._post("rotate-keys")

    # ------------------------------------------------------------------------- people

    def login_as(self, sub: str | None) -> None:
        """Whoever comes to sign in is `sub`, without a form, also where somebody else is signed
        in at the provider. None: show the form to whom the provider does not know.
        """
        self._get(f"login-as/{urllib.parse.quote(sub or '', safe='')}")

    def refuse_login(self, error: str = "access_denied") -> None:
        """The next person to come is sent back with this error."""
        self._post("refuse-login", {"error": error})

    def end_session(self, sub: str) -> int:
        """End the person's sessions as an administrator would: tokens die, the client is told."""
        return int(self._post("end-session", {"sub": sub})["ended"])

    # ----------------------------------------------------------------------- its bad days

    def fault(
        self,
        path: str,
        *,
        grant_type: str | None = None,
        skip: int = 0,
        times: int = 1,
        delay: float = 0,
        status: int | None = None,
        body: str | Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        drop: str | None = None,
        patch: Mapping[str, Any] | None = None,
    ) -> None:
        """Let the next `times` requests for `path` go wrong (0: all, until `mend`).

        `status` answers without asking the provider; a `body` that is text is sent as HTML,
        a mapping as JSON. `drop="before"` closes the connection before the provider has seen
        the request, `drop="after"` when its work is done and only the answer is lost.
        `patch` changes members of the provider's own JSON answer (None removes one).
        `delay` is in seconds and comes first; a long one is a provider that hangs.
        """
        self._post(
            "fault",
            {
                "path": path,
                "grant_type": grant_type,
                "skip": skip,
                "times": times,
                "delayMs": int(delay * 1000),
                "status": status,
                "body": body,
                "headers": dict(headers or {}),
                "drop": drop,
                "patch": dict(patch) if patch else None,
            },
        )

    def fail_refreshes(self, *, times: int = 1, status: int = 503) -> None:
        self.fault("/token", grant_type="refresh_token", times=times, status=status, body="down")

    def mend(self) -> None:
        """End all faults."""
        self._call("DELETE", "fault")

    # ------------------------------------------------------------------- what it saw

    def log(self) -> list[Call]:
        return [Call(**entry) for entry in self._get("log")]

    def forget_log(self) -> None:
        self._call("DELETE", "log")

    def calls(self, path: str, **wanted: object) -> list[Call]:
        """Return the calls of a path, as `provider.calls("/token", grant_type="refresh_token")`."""
        return [
            call
            for call in self.log()
            if call.path == path
            and all(getattr(call, name) == value for name, value in wanted.items())
        ]

    @property
    def refreshes(self) -> int:
        """How often a refresh token was presented, whatever the answer."""
        return len(self.calls("/token", grant_type="refresh_token"))

    @property
    def reuses(self) -> int:
        """How often a spent refresh token was presented."""
        return len(self.calls("/token", reused=True))

    @property
    def exchanges(self) -> int:
        return len(self.calls("/token", grant_type="authorization_code"))

    @property
    def revocations(self) -> int:
        """How many revocation requests were answered 200."""
        return len(self.calls("/token/revocation", status=200))

    @property
    def live_refresh_tokens(self) -> int:
        return int(self._get("state")["refresh_tokens"])

    @property
    def live_access_tokens(self) -> int:
        return int(self._get("state")["access_tokens"])

    @property
    def sessions(self) -> int:
        return int(self._get("state")["sessions"])

    @property
    def logout_tokens_sent(self) -> list[int | None]:
        """The status each back-channel logout request got. None: no answer."""
        return [message["status"] for message in self._get("state")["messages"]]

    def active(self, token: str) -> bool:
        """Tell whether an opaque access token or a refresh token would be taken."""
        return bool(self._post("introspect", {"token": token})["active"])

    # -------------------------------------------------------------------------- hooks

    def _get(self, hook: str) -> Any:
        return self._call("GET", hook)

    def _post(self, hook: str, said: Mapping[str, Any] | None = None) -> Any:
        return self._call("POST", hook, said or {})

    def _call(self, method: str, hook: str, said: Mapping[str, Any] | None = None) -> Any:
        port = urllib.parse.urlsplit(self.issuer).port
        with contextlib.closing(http.client.HTTPConnection(LOOPBACK, port, timeout=20)) as line:
            line.request(method, f"/_test/{hook}", body=None if said is None else json.dumps(said))
            answer = line.getresponse()
            text = answer.read()
        if answer.status != 200:
            raise AssertionError(f"{method} /_test/{hook}: {answer.status} {text.decode()}")
        return json.loads(text)


def _text(value: str | int | bool) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


@functools.cache
def install() -> None:
    """Install op/node_modules if it is not what package.json asks for."""
    wanted = json.loads((HOME / "package.json").read_text())["dependencies"]
    if all(_version(name) == version for name, version in wanted.items()):
        return
    subprocess.run(
        [*components.npm(), "install", "--no-audit", "--no-fund", "--loglevel=error"],
        cwd=HOME,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # its errors go to stderr
        timeout=300,
        env=_with_node_on_path(),
    )


def _version(package: str) -> str:
    there = HOME / "node_modules" / package / "package.json"
    return str(json.loads(there.read_text())["version"]) if there.exists() else ""


def _with_node_on_path() -> dict[str, str]:
    node = components.node()
    path = os.environ.get("PATH", "")
    return {**os.environ, "PATH": f"{node.parent}{os.pathsep}{path}" if node else path}
