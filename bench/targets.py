"""Who is measured: how each is started, and how somebody signs in at it.

A target that is not there is missing, with the reason; it is never left out in silence.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from bench import machine
from bench.load import Request
from bench.world import World, nginx_user
from tests.support.browser import Browser
from tests.support.cookies import Trip
from tests.support.ports import LOOPBACK, free_port
from tests.support.processes import Child, ChildFailed
from tests.support.provider import CLIENT_ID, CLIENT_SECRET, NodeProvider

#: What the upstream says of a call without a body.
NOTHING_SENT = f'{{"bytes": 0, "sha256": "{hashlib.sha256().hexdigest()}"}}'.encode()
PEERS = Path(__file__).parent / "peers"
THREADS = 8
KEY = base64.b64encode(os.urandom(32)).decode()
EDGE_SECRET = base64.b64encode(os.urandom(32)).decode()
SECRET = "a-secret-key-of-the-benchmark-long-enough-for-django-50"  # noqa: S105
SCOPES = "openid profile email groups photos.read"


class Missing(Exception):
    """Why a target cannot be measured here."""


class Wrong(Exception):
    """A target does not do the work that it is measured for."""


@dataclass
class Target:
    """One who is measured. Subclasses say how it starts; `key` is its name on the command line."""

    key: str
    name: str
    #: Where its sessions are, and whether other hosts see them.
    store: str = "none"
    #: yardstick, peer or ours.
    kind: str = "peer"
    #: Whether it carries calls to the upstream at all.
    carries: bool = True
    signs_in: bool = True
    #: Whether an event stream can stay open without holding a thread of a small pool.
    streams: bool = True
    #: What it is compared with as "the cost of a view".
    view: str | None = None
    needs_postgres: bool = False
    needs_redis: bool = False
    #: How many people's sessions the calls are of, in turn.
    sessions: int = 1
    #: Whether it is asked for more than 1 KB over 16 connections: one of each kind is enough.
    large: bool = True

    #: Below it, the upstream's own paths; and where the provider sends people back to.
    mount = "/"
    callback = ""

    port: int = field(default=0, init=False)
    headers: dict[str, str] = field(default_factory=dict, init=False)
    cookies: list[str] = field(default_factory=list, init=False)
    child: Child | None = field(default=None, init=False)
    failures: list[str] = field(default_factory=list, init=False)

    # ----------------------------------------------------------------- for subclasses

    def require(self) -> None:
        """Raise `Missing` if this machine cannot start it."""

    def launch(self, world: World, provider: NodeProvider) -> Child:
        raise NotImplementedError

    def enter(self, browser: Browser) -> None:
        """Do what a person does to sign in."""
        browser.navigate(self.mount + "1k")

    def extra_headers(self, browser: Browser) -> dict[str, str]:
        """What this peer's own page would send along with a call."""
        return {}

    # --------------------------------------------------------------------- for others

    @property
    def base_url(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def groups(self) -> list[int]:
        return [self.child.pid] if self.child else []

    def prepare(self, world: World) -> str:
        """Take a port; return where the provider shall send people back to."""
        self.require()
        if self.needs_postgres and not world.postgres_port:
            raise Missing("PostgreSQL's programs are not installed (apt-get install postgresql)")
        if self.needs_redis and not world.redis_port:
            raise Missing("redis-server is not installed (apt-get install redis-server)")
        self.port = free_port()
        return self.base_url + self.callback if self.callback else ""

    def start(self, world: World, provider: NodeProvider) -> None:
        self.child = self.launch(world, provider)

    def sign_in(self, world: World, provider: NodeProvider) -> None:
        """Sign jane in, and see that her calls reach the upstream with her token."""
        self.headers = {"Host": f"localhost:{self.port}"}
        if not self.signs_in:
            self.verify(world, provider)
            return
        for _ in range(self.sessions):
            browser = Browser(self.base_url, provider)
            provider.login_as("jane")
            self.enter(browser)
            address = browser.url(self.mount + "1k")
            cookie = browser.cookies.header(Trip(url=address, through=(browser.origin,)))
            self.headers |= {"Cookie": cookie, **self.extra_headers(browser)}
            self.cookies.append(cookie)
            self.verify(world, provider)

    def verify(self, world: World, provider: NodeProvider) -> None:
        if not self.carries:
            return
        said = self.ask("whoami").decode("latin-1")
        token = said.removeprefix("Bearer ")
        if self.signs_in and not provider.active(token):
            raise Wrong(f"the upstream got no token of the provider's: {said[:60]!r}")
        if self.ask("1k") != world.contents["1k"]:
            raise Wrong("the answer is not the upstream's")
        if self.signs_in and self.ask("1k", cookie=False) == world.contents["1k"]:
            raise Wrong("it lets people in who have not signed in")

    def ask(self, name: str, *, cookie: bool = True) -> bytes:
        import http.client

        line = http.client.HTTPConnection(LOOPBACK, self.port, timeout=20)
        try:
            headers = {k: v for k, v in self.headers.items() if cookie or k != "Cookie"}
            line.request("GET", self.mount + name, headers=headers)
            return line.getresponse().read()
        finally:
            line.close()

    def request(self, world: World, name: str) -> Request:
        if name == "upload":
            return Request(
                self.port,
                self.mount + name,
                {**self.headers, "Content-Type": "application/octet-stream"},
                world.upload_answer,
                "POST",
                world.upload,
            )
        expected = {**world.contents, "slow": NOTHING_SENT}[name]
        several = tuple(self.cookies) if self.sessions > 1 else ()
        return Request(self.port, self.mount + name, self.headers, expected, cookies=several)

    def stop(self) -> None:
        if self.child:
            self.child.stop()
            self.child = None


# ------------------------------------------------------------------------------- yardsticks


class Direct(Target):
    """The upstream itself: what everybody's latency is counted from."""

    def prepare(self, world: World) -> str:
        self.port = world.upstream_port
        return ""

    def start(self, world: World, provider: NodeProvider) -> None:
        return None

    def sign_in(self, world: World, provider: NodeProvider) -> None:
        self.headers = {"Host": f"localhost:{self.port}", "Authorization": "Bearer " + "x" * 43}
        self.verify(world, provider)


class Nginx(Target):
    """nginx as it comes, attaching one fixed token to everybody's calls."""

    def require(self) -> None:
        if machine.program("nginx", "/usr/sbin/nginx") is None:
            raise Missing("nginx is not installed (apt-get install nginx-light)")

    def launch(self, world: World, provider: NodeProvider) -> Child:
        config = _filled("nginx.conf", world, self, upstream=f"127.0.0.1:{world.upstream_port}")
        nginx = str(machine.program("nginx", "/usr/sbin/nginx"))
        command = machine.pinned(machine.SERVER_CORE, [nginx, "-c", config, "-p", world.folder])
        return world.child(self.key, command, self.port)


# ------------------------------------------------------------------------------------ peers


@dataclass
class Apache(Target):
    cache: str = "shm"
    mount = "/api/"
    callback = "/api/callback"

    def require(self) -> None:
        if machine.program("apache2", "/usr/sbin/apache2") is None:
            raise Missing("Apache is not installed (apt-get install apache2)")
        if not Path("/usr/lib/apache2/modules/mod_auth_openidc.so").exists():
            raise Missing(
                "mod_auth_openidc is not installed (apt-get install libapache2-mod-auth-openidc)"
            )

    def launch(self, world: World, provider: NodeProvider) -> Child:
        lines = {
            "shm": "OIDCCacheType shm\nOIDCCacheShmMax 2000",
            "redis": f"OIDCCacheType redis\nOIDCRedisCacheServer 127.0.0.1:{world.redis_port}\n"
            "OIDCRedisCacheDatabase 20",
        }
        config = _filled(
            "apache.conf",
            world,
            self,
            upstream=world.upstream,
            issuer=provider.issuer,
            client=CLIENT_ID,
            secret=CLIENT_SECRET,
            cache=lines[self.cache],
        )
        apache = str(machine.program("apache2", "/usr/sbin/apache2"))
        command = machine.pinned(
            machine.SERVER_CORE, [apache, "-f", config, "-DFOREGROUND", "-d", world.folder]
        )
        return world.child(self.key, command, self.port)


@dataclass
class DjangoSite(Target):
    """bench/peers/site: `what` says what its views are made of."""

    server: str = "gunicorn"
    what: str = "naive"
    keep_connections: bool = False
    mount = "/api/"
    callback = "/oidc/callback/"

    def require(self) -> None:
        django_environment()

    def launch(self, world: World, provider: NodeProvider) -> Child:
        env = {
            **kept_environment(world),
            "DJANGO_SETTINGS_MODULE": "bench.peers.site.settings",
            "BENCH_WHAT": self.what,
            "BENCH_UPSTREAM": world.upstream,
            "BENCH_ISSUER": provider.issuer,
            "BENCH_CLIENT": CLIENT_ID,
            "BENCH_SECRET": CLIENT_SECRET,
            "BENCH_ANSWER": str(world.folder / "www" / "1k"),
            "BENCH_CONN_MAX_AGE": "60" if self.keep_connections else "0",
        }
        if self.needs_postgres:
            env["BENCH_DATABASE"] = migrated(world, "peers", env)
        asynchronous = self.server == "uvicorn"
        module = f"bench.peers.site.{'asgi' if asynchronous else 'wsgi'}"
        command = served(self, module, asynchronous=asynchronous)
        return world.child(self.key, command, self.port, env=env)

    def enter(self, browser: Browser) -> None:
        browser.navigate("/oidc/authenticate/?next=/hello")

    def extra_headers(self, browser: Browser) -> dict[str, str]:
        token = browser.cookies.get("csrftoken")
        return {"X-CSRFToken": token.value} if token else {}


class Trivial(DjangoSite):
    """A view that returns a constant through Django's default middleware."""

    def prepare(self, world: World) -> str:
        super().prepare(world)
        self.mount = "/async/" if self.server == "uvicorn" else "/api/"
        return ""

    def verify(self, world: World, provider: NodeProvider) -> None:
        if self.ask("1k") != world.contents["1k"]:
            raise Wrong("the answer is not the constant")


class Axmp(Target):
    mount = "/api/"
    callback = "/oauth2/callback"

    def require(self) -> None:
        axmp_environment()

    def launch(self, world: World, provider: NodeProvider) -> Child:
        env = {
            **kept_environment(world),
            "BENCH_UPSTREAM": world.upstream,
            "BENCH_ISSUER": provider.issuer,
            "BENCH_CLIENT": CLIENT_ID,
            "BENCH_SECRET": CLIENT_SECRET,
            "BENCH_BASE_URL": self.base_url,
            "BENCH_REDIS": world.redis_url(21),
        }
        words = f"-m uvicorn axmp:app --host {LOOPBACK} --port {self.port}"
        options = "--workers 1 --no-access-log --log-level warning"
        command = [axmp_environment(), *words.split(), *options.split()]
        return world.child(
            self.key, machine.pinned(machine.SERVER_CORE, command), self.port, env=env, cwd=PEERS
        )

    def enter(self, browser: Browser) -> None:
        browser.navigate("/oauth2/start?provider=bench&rd=/hello")

    def extra_headers(self, browser: Browser) -> dict[str, str]:
        token = browser.cookies.get("csrf_token")
        return {"X-CSRF-Token": token.value} if token else {}


# ------------------------------------------------------------------------------------- ours


@dataclass
class Door(Target):
    """The DRF door on the example site, as project/ ships it."""

    kind: str = "ours"
    server: str = "gunicorn"
    database: str = "postgresql"
    redis: bool = False
    module: str = "project.wsgi"
    changes: dict[str, str] = field(default_factory=dict)
    mount = "/bff/api/photos/"
    callback = "/bff/callback/"

    def require(self) -> None:
        django_environment()

    def environment(self, world: World, provider: NodeProvider) -> dict[str, str]:
        import json

        route = {"url": f"{world.upstream}/", "max_streams": 5000, "max_calls": 1000}
        env = {
            **kept_environment(world),
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "SECRET_KEY": SECRET,
            "ALLOWED_HOSTS": "localhost,127.0.0.1",
            "OIDC_OP_ISSUER": provider.issuer,
            "OIDC_RP_CLIENT_ID": CLIENT_ID,
            "OIDC_RP_CLIENT_SECRET": CLIENT_SECRET,
            "OIDC_RP_SCOPES": SCOPES,
            "OAUTHBFF_BASE_URL": self.base_url,
            "OAUTHBFF_UPSTREAMS": json.dumps({"photos": route}),
            "OAUTHBFF_KEYS": f"bench:{KEY}",
            "LOG_LEVEL": "WARNING",
        }
        if self.redis:
            env["CACHE_URL"] = world.redis_url(22)
            env["SESSION_ENGINE"] = "django.contrib.sessions.backends.cached_db"
        # As project/wsgi.py has it: kept connections; under ASGI the pool, where there is one.
        if self.database == "sqlite":
            env["DATABASE_URL"] = f"sqlite:///{world.folder}/{self.key}.sqlite3"
        elif self.asynchronous:
            env["DATABASE_POOL"] = "True"
        return {**env, **self.changes}

    @property
    def asynchronous(self) -> bool:
        return "asgi" in self.module or "lane" in self.module

    def launch(self, world: World, provider: NodeProvider) -> Child:
        env = self.environment(world, provider)
        if self.database == "sqlite":
            manage(env, "migrate", "--verbosity", "0", "--no-input")
        elif "DATABASE_URL" not in self.changes:
            env["DATABASE_URL"] = migrated(world, "ours", env)
        command = served(self, self.module, asynchronous=self.asynchronous)
        return world.child(self.key, command, self.port, env=env)

    def enter(self, browser: Browser) -> None:
        browser.login("jane")

    def extra_headers(self, browser: Browser) -> dict[str, str]:
        return {"X-BFF": "1", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}


class LaneTarget(Door):
    """The lane, in front of the same site; with Redis, with its shared store there."""

    def environment(self, world: World, provider: NodeProvider) -> dict[str, str]:
        env = super().environment(world, provider)
        return env | ({"OAUTHBFF_LANE_STORE": world.redis_url(23)} if self.redis else {})

    def require(self) -> None:
        super().require()
        if importlib.util.find_spec("oauthbff.lane") is None:
            raise Missing("this version has no oauthbff.lane")


class EdgeTarget(Door):
    """nginx carries and asks the DRF door's site; both on the same core."""

    inner: Child | None = None

    def require(self) -> None:
        super().require()
        if importlib.util.find_spec("oauthbff.management.commands.oauthbff_edge") is None:
            raise Missing("this version has no manage.py oauthbff_edge")
        if machine.program("nginx", "/usr/sbin/nginx") is None:
            raise Missing("nginx is not installed (apt-get install nginx-light)")

    @property
    def groups(self) -> list[int]:
        return [*super().groups, *([self.inner.pid] if self.inner else [])]

    def launch(self, world: World, provider: NodeProvider) -> Child:
        front, self.port = self.port, free_port()
        try:
            env = self.environment(world, provider)
            env |= {"OAUTHBFF_BASE_URL": f"http://localhost:{front}"}
            env |= {
                "OAUTHBFF_EDGE_SECRET": EDGE_SECRET,
                "DATABASE_URL": migrated(world, "ours", env),
            }
            django = f"{LOOPBACK}:{self.port}"
            command = served(self, self.module, asynchronous=False)
            self.inner = world.child(f"{self.key}-django", command, self.port, env=env)
        finally:
            self.port = front
        state = Path(tempfile.mkdtemp(prefix=f"{self.key}-", dir=world.folder))
        words = (
            f"nginx --whole --workers 1 --state {state} --django {django} --access-log /dev/null"
        )
        logs = f"--error-log {state}/error.log --output {state}/configuration"
        manage(env, "oauthbff_edge", *words.split(), *logs.split())
        nginx = str(machine.program("nginx", "/usr/sbin/nginx"))
        command = machine.pinned(machine.SERVER_CORE, [nginx, "-c", state / "configuration"])
        return world.child(self.key, command, self.port)

    def stop(self) -> None:
        super().stop()
        if self.inner:
            self.inner.stop()
            self.inner = None


# ---------------------------------------------------------------------------------- helpers


def served(target: Any, module: str, *, asynchronous: bool) -> list[str]:
    """The command of one worker on one core, with no access log."""
    python, port = django_environment(), target.port
    interface = "asgi" if asynchronous else f"wsgi --blocking-threads {THREADS}"
    words = {
        "gunicorn": f"gunicorn {module}:application --worker-class gthread --workers 1 "
        f"--threads {THREADS} --bind {LOOPBACK}:{port}",
        "granian": f"granian {module}:application --interface {interface} --host {LOOPBACK} "
        f"--port {port} --workers 1 --no-access-log --log-level warning",
        "uvicorn": f"uvicorn {module}:application --host {LOOPBACK} --port {port} --workers 1 "
        "--no-access-log --log-level warning --backlog 4096",
    }
    return machine.pinned(machine.SERVER_CORE, [python, "-m", *words[target.server].split()])


def kept_environment(world: World) -> dict[str, str]:
    kept = ("PATH", "LANG", "LC_ALL", "TMPDIR")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    return {**env, "HOME": str(world.folder), "PYTHONPATH": str(machine.ROOT)}


def manage(env: dict[str, str], *words: str) -> None:
    """Run a management command of the site that `env` describes."""
    command = [django_environment(), "-m", "django", *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=machine.ROOT)  # noqa: S603
    if done.returncode:
        raise ChildFailed(f"{' '.join(words)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def migrated(world: World, name: str, env: dict[str, str]) -> str:
    """The URL of a migrated database, made once for all targets of the same site."""
    if name not in world.databases:
        url = world.create_database(name)
        manage({**env, "DATABASE_URL": url, "BENCH_DATABASE": url}, "migrate", "-v0", "--no-input")
        world.databases[name] = url
    return world.databases[name]


@cache
def django_environment() -> Path:
    """Python with what a site installs, and no more: Django's peers, and what we stand on."""
    project = tomllib.loads((machine.ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["demo"], *extras.get("lane", [])]
    return environment("django", wanted)


@cache
def axmp_environment() -> Path:
    return environment("axmp", [])


def environment(name: str, also: list[str]) -> Path:
    """A virtual environment of our own, made when it is asked for. Raises `Missing`."""
    folder, stamp = machine.HOME / name, machine.HOME / name / "installed"
    python = folder / "bin" / "python"
    lines = (PEERS / f"{name}.txt").read_text().splitlines()
    wanted = [*also, *(line for line in lines if line and not line.startswith("#"))]
    said = "\n".join([sys.version, *wanted])
    if stamp.exists() and stamp.read_text() == said:
        return python
    print(f"set-up: {folder}", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    command = [python, "-m", "pip", "install", "--quiet", *wanted]
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        reasons = [line for line in done.stderr.splitlines() if "ERROR" in line]
        raise Missing(f"pip cannot install it: {(reasons or ['no reason given'])[-1]}")
    stamp.write_text(said)
    return python


def _filled(name: str, world: World, target: Target, **values: object) -> Path:
    """A configuration from peers/, with its names filled in."""
    text = (PEERS / name).read_text()
    values |= {"folder": world.folder, "port": target.port, "key": target.key}
    values |= {"base_url": target.base_url, "nginx_user": nginx_user()}
    for word, value in values.items():
        text = text.replace(f"@{word}@", str(value))
    path = world.folder / f"{target.key}.conf"
    path.write_text(text)
    return path


# ----------------------------------------------------------------------------------- the list


def everybody() -> list[Target]:
    """All who are measured, in the order of the report."""
    local, shared = "this host only", "shared: "
    return [
        Direct("direct", "the upstream, no proxy", kind="yardstick", signs_in=False),
        Nginx("nginx", "nginx `proxy_pass`", kind="yardstick", signs_in=False),
        *(
            Trivial(
                f"view-{server}",
                f"a Django view that returns a constant, {label}",
                kind="yardstick",
                carries=False,
                signs_in=False,
                server=server,
                what="trivial",
            )
            for server, label in SERVERS.items()
        ),
        *(
            DjangoSite(
                f"bare-{server}",
                f"a Django view of one statement and one call, no rules, {SERVERS[server]}",
                shared + "PostgreSQL",
                kind="yardstick",
                streams=False,
                view=f"view-{server}",
                needs_postgres=True,
                server=server,
                what="bare",
                keep_connections=True,
                large=False,
            )
            for server in ("gunicorn", "granian")
        ),
        Apache("apache-shm", "Apache, mod_auth_openidc", local),
        Apache(
            "apache-redis",
            "Apache, mod_auth_openidc, Redis",
            shared + "Redis",
            needs_redis=True,
            large=False,
            cache="redis",
        ),
        DjangoSite(
            "mozilla",
            "mozilla-django-oidc, `requests.get`, gunicorn",
            shared + "PostgreSQL",
            streams=False,
            view="view-gunicorn",
            needs_postgres=True,
        ),
        DjangoSite(
            "mozilla-tuned",
            "the same, `requests.Session`, kept connections",
            shared + "PostgreSQL",
            streams=False,
            view="view-gunicorn",
            needs_postgres=True,
            what="tuned",
            keep_connections=True,
            large=False,
        ),
        DjangoSite(
            "revproxy",
            "mozilla-django-oidc, django-revproxy, kept connections, gunicorn",
            shared + "PostgreSQL",
            streams=False,
            view="view-gunicorn",
            needs_postgres=True,
            what="revproxy",
            keep_connections=True,
            large=False,
        ),
        Axmp("axmp", "axmp-oidc-bff-provider, uvicorn", shared + "Redis", needs_redis=True),
        *(
            Door(
                f"door-{server}-{key}",
                f"oauthbff, DRF door, {label}, {stores}",
                local if key == "sqlite" else shared + stores,
                server=server,
                module="project.asgi" if server == "uvicorn" else "project.wsgi",
                database="sqlite" if key == "sqlite" else "postgresql",
                redis=key == "redis",
                streams=server == "uvicorn",
                view=f"view-{server}",
                needs_postgres=key != "sqlite",
                needs_redis=key == "redis",
                large=key == "pg",
            )
            for server, label in SERVERS.items()
            for key, stores in STORES.items()
            if (server, key) != ("uvicorn", "sqlite")
        ),
        *(
            LaneTarget(
                f"lane-{server}-{key}",
                f"oauthbff, lane, {SERVERS[server]}, {STORES[key]}",
                shared + STORES[key],
                server=server,
                module="bench.peers.lane",
                redis=key == "redis",
                view=f"view-{server}",
                needs_postgres=True,
                needs_redis=key == "redis",
                large=(server, key) == ("uvicorn", "pg"),
            )
            for server in ("uvicorn", "granian")
            for key in ("pg", "redis")
        ),
        LaneTarget(
            "lane-uvicorn-sessions",
            "oauthbff, lane, uvicorn, PostgreSQL, 16 people in turn",
            shared + "PostgreSQL",
            module="bench.peers.lane",
            server="uvicorn",
            view="view-uvicorn",
            needs_postgres=True,
            sessions=16,
            large=False,
        ),
        EdgeTarget(
            "edge",
            "oauthbff, edge, nginx and gunicorn, PostgreSQL",
            shared + "PostgreSQL, remembered a second",
            needs_postgres=True,
        ),
    ]


SERVERS = {"gunicorn": "gunicorn threads", "granian": "granian", "uvicorn": "uvicorn"}
STORES = {"sqlite": "SQLite", "pg": "PostgreSQL", "redis": "PostgreSQL and Redis"}


def chosen(keys: list[str], factory: Callable[[], list[Target]] = everybody) -> list[Target]:
    """The targets that were asked for; a name that ends in `*` means all that begin so."""
    targets = factory()
    if not keys:
        return targets
    names = [target.key for target in targets]
    picked = {n for k in keys for n in names if n == k or (k[-1] == "*" and n.startswith(k[:-1]))}
    unknown = [key for key in keys if not key.endswith("*") and key not in names]
    if unknown:
        raise SystemExit(f"no such target: {', '.join(unknown)}; there are {', '.join(names)}")
    return [target for target in targets if target.key in picked or target.key == "direct"]
