"""Site: the example site `project/` as a child process, set up through its environment alone.

    with Site(provider=provider, upstreams={"photos": {"url": upstream.url + "/v1/"}}) as site:
        browser = site.browser()
        browser.login("jane")
        assert browser.fetch("api/photos/1").status == 200

The back end is http://localhost:<port>, listening on 127.0.0.1; the provider is
http://127.0.0.1:<port>, which to a browser is another site.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.support import components
from tests.support.browser import Browser
from tests.support.databases import Database
from tests.support.ports import LOOPBACK, free_port
from tests.support.processes import Child, ChildFailed
from tests.support.provider import CLIENT_ID, CLIENT_SECRET, SCOPES, NodeProvider

ROOT = Path(__file__).parents[2]
THREADS = 8
SERVERS = ("gunicorn", "uvicorn", "runserver")
#: How each proxy in front is told to stay in the foreground.
FRONTS = {
    "nginx": ["-c", "{file}"],
    "caddy": ["run", "--adapter", "caddyfile", "--config", "{file}"],
}
EDGE_SECRET = "edge-secret-of-the-tests.0123456789/abcdef"
KEY = base64.b64encode(os.urandom(32)).decode()  # one for the whole run

# What a test gets that does not say otherwise. `{upstream}` is the upstream's URL.
DEFAULT_UPSTREAMS: dict[str, dict[str, Any]] = {
    "photos": {
        "url": "{upstream}/photos/",
        "methods": ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
    },
    "weather": {"url": "{upstream}/weather/", "token": "none", "methods": ["GET"]},
    "news": {"url": "{upstream}/news/", "token": "user-or-none", "methods": ["GET"]},
}

_migrated: dict[str, Database] = {}  # one migrated database of each kind, to be copied


class Site:
    """A running site.

    `env` has the last word on any variable; None removes one. `share` makes it a second host of
    another site's deployment: the same origin, database and cache, a server of its own. `front`
    puts a proxy before it, with the configuration that `oauthbff_edge` writes, and behind it there
    may be several `servers`. With `lane_routes`, empty or not, a lane behind it as well, which
    carries WebSockets and these upstreams.
    """

    def __init__(
        self,
        *,
        provider: NodeProvider | None = None,
        issuer: str = "",
        upstreams: Mapping[str, Mapping[str, Any]] | None = None,
        server: str = "gunicorn",
        front: str = "",
        front_include: Path | None = None,
        servers: int = 1,
        lane_routes: Sequence[str] | None = None,
        workers: int = 1,
        database: str = "sqlite",
        cache: str = "locmem",
        share: Site | None = None,
        env: Mapping[str, str | None] | None = None,
    ) -> None:
        assert server in SERVERS, server
        self.provider = provider
        self.server = server
        assert front in ("", *FRONTS), front
        self.front = front
        self.front_include = front_include
        self.workers = workers
        self.folder = Path(tempfile.mkdtemp(prefix="oauthbff-site-"))
        self.port = free_port()
        #: Where Django listens; behind a front nobody but that knows it.
        self.django_port = free_port() if front else self.port
        self._others = [free_port() for _ in range(servers - 1)]
        self._companions: list[Child] = []
        self._lane_routes = lane_routes
        self._lane_port = free_port() if lane_routes is not None else 0
        self._lane: Child | None = None
        self.base_url: str = share.base_url if share else f"http://localhost:{self.port}"
        self._closing = contextlib.ExitStack()
        self._closing.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.database: Database = share.database if share else self._own_database(database)
        self.cache_url: str = share.cache_url if share else self._own_cache(cache)
        self.env = self._environment(issuer, upstreams or {}, env or {})
        self._fresh = share is None
        self._child: Child | None = None
        self._log_from = 0
        self._proxy: Child | None = None

    # --------------------------------------------------------------------------- its life

    def start(self) -> Self:
        """Migrate its database and serve. The provider, if given, learns of this client."""
        try:
            if self._fresh:
                self._migrate()
                self._fresh = False
            if self.provider:
                self.provider.serve(self.base_url)
            self._child = Child(
                f"site on {self.server}",
                self._command(),
                env=self.env,
                cwd=ROOT,
                log=self.folder / "server.log",
            ).start(self._answers, seconds=60)
            for port in self._others:
                self._companions.append(
                    Child(
                        f"another {self.server}",
                        self._command(port),
                        env=self.env,
                        cwd=ROOT,
                        log=self.folder / f"server-{port}.log",
                    ).start(lambda port=port: self._answers(port), seconds=60)  # type: ignore[misc]
                )
            if self._lane_port:
                self._lane = Child(
                    "the lane behind the front",
                    self._uvicorn(self._lane_port),
                    env={**self.env, "LANE": "1"},
                    cwd=ROOT,
                    log=self.folder / "lane.log",
                ).start(lambda: self._answers(self._lane_port), seconds=60)
            if self.front:
                self._start_front()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the server, which nobody needs to do in good order, and drop what is its alone."""
        for child in (self._proxy, self._lane, *self._companions, self._child):
            if child:
                child.kill()
        self._closing.close()

    def halt(self) -> None:
        """Stop the server, keep database and cache: what a deployment does. See `restart`."""
        if self._child:
            self._child.stop()

    def halt_lane(self) -> None:
        """Stop the lane behind the front."""
        if self._lane:
            self._lane.stop()

    def kill(self) -> None:
        """Stop the server as a power cut would."""
        if self._child:
            self._child.kill()

    def restart(self, env: Mapping[str, str | None] | None = None) -> None:
        """Start the server again on the same port, database and cache, with changed variables."""
        self.halt()
        self._change(env or {})
        if self._child:
            self._child.env = self.env
            self._child.start(self._answers, seconds=60)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # ------------------------------------------------------------------ what the tests ask

    def browser(self, *, cookies_of: Browser | None = None) -> Browser:
        """Return a new browser, or a window of another one: the same cookies, this host."""
        browser = Browser(self.base_url, self.provider, port=self.port)
        if cookies_of:
            browser.cookies = cookies_of.cookies
        return browser

    def log(self) -> str:
        """Return what the server wrote so far, all workers; for this test."""
        return self._child.log()[self._log_from :] if self._child else ""

    def forget_log(self) -> None:
        """Begin the log anew for the next test: what others did on purpose is none of its own."""
        self._log_from += len(self.log())

    def manage(self, *words: str, expect: int | None = 0, stdin: str = "") -> str:
        """Run a management command in the site's environment; return what it printed.

        `expect` is the exit status it must have; None: any.
        """
        done = subprocess.run(
            [sys.executable, ROOT / "manage.py", *words],
            cwd=ROOT,
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
        )
        said = done.stdout + done.stderr
        if expect is not None and done.returncode != expect:
            raise ChildFailed(f"manage.py {' '.join(words)}: status {done.returncode}\n{said}")
        return said

    def sql(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Ask the database directly. Placeholders are %s, on every database."""
        return self.database.sql(query, values)

    def dump(self) -> bytes:
        """Return all values of all tables, for the canary search."""
        return self.database.dump()

    def empty(self) -> None:
        """Forget all users, sessions and grants, and what a Redis cache holds."""
        self.database.empty()
        if self.cache_url.startswith("redis"):
            import redis

            with redis.Redis.from_url(self.cache_url) as client:
                client.flushdb()

    # -------------------------------------------------------------------------- its parts

    def _own_database(self, kind: str) -> Database:
        database = Database(kind, self.folder)
        self._closing.callback(database.drop)
        return database

    def _own_cache(self, kind: str) -> str:
        if kind == "locmem":
            return "locmemcache://"
        assert kind == "redis", kind
        components.require("redis")
        url, release = _claim_redis()
        self._closing.callback(release)
        return url

    def _migrate(self) -> None:
        kind = self.database.kind
        template = _migrated.get(kind)
        if template is not None and self.database.copy_from(template):
            return
        self.manage("migrate", "--verbosity", "0", "--no-input")
        if template is None and kind != "mariadb":
            # Kept until the session ends; dropped by `drop_templates`.
            _migrated[kind] = Database(kind, Path(tempfile.mkdtemp(prefix="oauthbff-migrated-")))
            _migrated[kind].copy_from(self.database)

    def _environment(
        self,
        issuer: str,
        upstreams: Mapping[str, Mapping[str, Any]],
        changes: Mapping[str, str | None],
    ) -> dict[str, str]:
        kept = ("PATH", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "PYTHONDEVMODE")
        self.env = {name: os.environ[name] for name in kept if name in os.environ}
        self._change(
            {
                "DJANGO_SETTINGS_MODULE": "project.settings",
                "PYTHONUNBUFFERED": "1",
                "HOME": str(self.folder),  # gunicorn keeps a control socket there
                "SECRET_KEY": "a-secret-key-of-the-tests-that-is-long-enough-for-django-50",
                "DEBUG": "False",
                "ALLOWED_HOSTS": "localhost,127.0.0.1",
                "DATABASE_URL": self.database.url,
                "CACHE_URL": self.cache_url,
                "OIDC_OP_ISSUER": self.provider.issuer if self.provider else issuer,
                "OIDC_RP_CLIENT_ID": CLIENT_ID,
                "OIDC_RP_CLIENT_SECRET": CLIENT_SECRET,
                "OIDC_RP_SCOPES": SCOPES,
                "OIDC_RP_SIGN_ALGO": "RS256",
                "OIDC_TIMEOUT": "5",
                "OAUTHBFF_BASE_URL": self.base_url,
                "OAUTHBFF_UPSTREAMS": json.dumps({k: dict(v) for k, v in upstreams.items()}),
                "OAUTHBFF_KEYS": f"test:{KEY}",
                "OAUTHBFF_EDGE_SECRET": EDGE_SECRET if self.front else None,
            }
        )
        self._change(changes)
        return self.env

    def _start_front(self) -> None:
        """The proxy in front, as its command writes it: a process and a folder of its own."""
        components.require(self.front)
        state = self.folder / "edge"
        state.mkdir(exist_ok=True)
        file = state / "configuration"
        logs = ["--access-log", state / "access.log", "--error-log", state / "error.log"]
        options = ["--whole", "--state", state]
        for port in (self.django_port, *self._others):
            options += ["--django", f"{LOOPBACK}:{port}"]
        if self._lane_port:
            options += ["--lane", f"{LOOPBACK}:{self._lane_port}"]
            for name in self._lane_routes or ():
                options += ["--lane-route", name]
        if self.front_include:
            options += ["--include", self.front_include]
        told = ["oauthbff_edge", self.front, *options, *logs, "--output", file, "--check"]
        self.manage(*map(str, told))
        self._proxy = Child(
            f"{self.front} in front of the site",
            [
                components.front(self.front) or self.front,
                *(word.format(file=file) for word in FRONTS[self.front]),
            ],
            env=self.env,
            log=self.folder / "front.log",
        ).start(lambda: self._answers(self.port), seconds=20)

    def _change(self, changes: Mapping[str, str | None]) -> None:
        for name, value in changes.items():
            if value is None:
                self.env.pop(name, None)
            else:
                self.env[name] = value

    def _command(self, port: int = 0) -> list[str]:
        port = port or self.django_port
        python, address = sys.executable, f"{LOOPBACK}:{port}"
        if self.server == "gunicorn":
            words = "-m gunicorn project.wsgi:application --worker-class gthread --bind"
            options = f"--workers {self.workers} --threads {THREADS} --graceful-timeout 3"
            return [python, *words.split(), address, *options.split()]
        if self.server == "uvicorn":
            return self._uvicorn(port)
        return [python, "manage.py", "runserver", "--noreload", address]

    def _uvicorn(self, port: int) -> list[str]:
        words = f"-m uvicorn project.asgi:application --host {LOOPBACK} --port {port}"
        options = f"--workers {self.workers} --timeout-graceful-shutdown 3"
        return [sys.executable, *words.split(), *options.split()]

    def _answers(self, port: int = 0) -> bool:
        line = http.client.HTTPConnection(LOOPBACK, port or self.django_port, timeout=10)
        with contextlib.closing(line):
            try:
                line.request("GET", "/", headers={"Host": self.base_url.removeprefix("http://")})
                return line.getresponse().status > 0
            except (OSError, http.client.HTTPException):
                return False


def default_upstreams(url: str) -> dict[str, dict[str, Any]]:
    """Return DEFAULT_UPSTREAMS at a real address."""
    filled: dict[str, dict[str, Any]] = json.loads(
        json.dumps(DEFAULT_UPSTREAMS).replace("{upstream}", url)
    )
    return filled


def drop_templates() -> None:
    """Drop the migrated databases that new sites were copied from."""
    while _migrated:
        _, database = _migrated.popitem()
        database.drop()
        shutil.rmtree(database.folder, ignore_errors=True)


def _claim_redis() -> tuple[str, Any]:
    """Return the URL of an empty Redis database that no other test run uses, and its release."""
    import redis

    with redis.Redis.from_url(f"{components.REDIS}/0") as client:
        for number in range(1, 16):
            if client.set(f"oauthbff-test:{number}", os.getpid(), nx=True, ex=3600):
                break
        else:
            raise ChildFailed("all 15 Redis databases are claimed (oauthbff-test:* in db 0)")
    url = f"{components.REDIS}/{number}"

    def release() -> None:
        with redis.Redis.from_url(url) as mine:
            mine.flushdb()
        with redis.Redis.from_url(f"{components.REDIS}/0") as client:
            client.delete(f"oauthbff-test:{number}")

    with redis.Redis.from_url(url) as mine:
        mine.flushdb()
    return url, release
