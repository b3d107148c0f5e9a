"""What all targets share, started here and pinned beside the load: provider, upstream, stores."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from bench import machine
from tests.support import components
from tests.support.ports import LOOPBACK, free_port, is_listening
from tests.support.processes import Child
from tests.support.provider import CLIENT_ID, CLIENT_SECRET, NodeProvider

KIB = 1024
#: What the upstream serves: name → bytes.
ANSWERS = {"1k": KIB, "100k": 100 * KIB, "10m": 10 * KIB * KIB}
UPLOAD_BYTES = KIB * KIB

NGINX_UPSTREAM = """
worker_processes 1;
daemon off;
pid {folder}/upstream.pid;
error_log {folder}/upstream-error.log;
{user}
events {{ worker_connections 8192; }}
http {{
  access_log off;
  default_type application/json;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  keepalive_timeout 300;
  client_body_temp_path {folder}/up-body; proxy_temp_path {folder}/up-proxy;
  fastcgi_temp_path {folder}/up-f; uwsgi_temp_path {folder}/up-u; scgi_temp_path {folder}/up-s;
  client_max_body_size 0;
  map $http_authorization $signed_in {{ "~^Bearer [!-~]{{20,}}$" 1; default 0; }}
  upstream thinker {{ server 127.0.0.1:{thinker}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    if ($signed_in = 0) {{ return 401 '{{"error": "no token"}}'; }}
    location = /whoami {{ return 200 $http_authorization; }}
    location ~ ^/(upload|events|slow)$ {{
      proxy_pass http://thinker; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_request_buffering off; proxy_buffering off; proxy_read_timeout 600s;
    }}
    location / {{ root {folder}/www; }}
  }}
}}
"""


class World:
    """Use it as a context: everything in it ends with it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="oauthbff-bench-"))
        self.folder.chmod(0o755)
        self._closing = contextlib.ExitStack()
        self._closing.callback(shutil.rmtree, self.folder, ignore_errors=True)
        #: Migrated databases, by site.
        self.databases: dict[str, str] = {}
        self.redis_port = 0
        self.postgres_port = 0

    def __enter__(self) -> Self:
        cores = os.sched_getaffinity(0)
        self._closing.callback(os.sched_setaffinity, 0, cores)
        os.sched_setaffinity(0, {machine.LOAD_CORE})  # and all children that are not pinned
        try:
            self._start_upstream()
            self.provider = self._start_provider(ACCESS_TTL=7200)
            self._start_redis()
            self._start_postgres()
        except BaseException:
            self._closing.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    # ------------------------------------------------------------------------- children

    def child(
        self,
        name: str,
        command: Sequence[str | Path],
        port: int,
        *,
        env: dict[str, str] | None = None,
        cwd: Path = machine.ROOT,
        ready: Callable[[], bool] | None = None,
    ) -> Child:
        """A program that listens on a port, ended with the world."""
        log = self.folder / f"{name}.log"
        child = Child(name, command, env=env, cwd=cwd, log=log)
        child.start(ready or (lambda: is_listening(port)), seconds=60)
        self._closing.callback(child.stop)
        return child

    # ------------------------------------------------------------------------- upstream

    def _start_upstream(self) -> None:
        www = self.folder / "www"
        www.mkdir()
        self.contents = {name: _json_of(size) for name, size in ANSWERS.items()}
        for name, content in self.contents.items():
            (www / name).write_bytes(content)
            (www / name).chmod(0o644)
        self.upload = os.urandom(UPLOAD_BYTES)
        digest = hashlib.sha256(self.upload).hexdigest()
        self.upload_answer = f'{{"bytes": {UPLOAD_BYTES}, "sha256": "{digest}"}}'.encode()
        thinker, self.upstream_port = free_port(), free_port()
        words = [sys.executable, machine.ROOT / "bench" / "upstream.py", str(thinker)]
        self.child("thinker", words, thinker)
        config = self.folder / "upstream.conf"
        config.write_text(
            NGINX_UPSTREAM.format(
                folder=self.folder, port=self.upstream_port, thinker=thinker, user=nginx_user()
            )
        )
        nginx = machine.program("nginx", "/usr/sbin/nginx")
        if nginx is None:
            raise SystemExit("nginx is the upstream of all targets: apt-get install nginx-light")
        self.child("upstream", [nginx, "-c", config, "-p", self.folder], self.upstream_port)
        self.upstream = f"http://{LOOPBACK}:{self.upstream_port}"

    # ------------------------------------------------------------------------- provider

    def _start_provider(self, **config: int | str) -> NodeProvider:
        if not (components.node() and components.npm()):
            raise SystemExit("the provider is a node program: `make test` puts node into the venv")
        logs = self.folder / f"provider-{free_port()}"
        logs.mkdir()
        provider = NodeProvider(logs=logs, **config).start()
        self._closing.callback(provider.stop)
        return provider

    def hasty_provider(self, seconds: int) -> NodeProvider:
        """Another provider, whose tokens live a few seconds."""
        return self._start_provider(ACCESS_TTL=seconds)

    # --------------------------------------------------------------------------- stores

    def _start_redis(self) -> None:
        server = machine.program("redis-server")
        if server is None:
            return
        port = free_port()
        options = f"--port {port} --bind 127.0.0.1 --save --appendonly no --databases 64"
        self.child("redis", [server, *options.split(), "--dir", self.folder], port)
        self.redis_port = port

    def redis_url(self, number: int) -> str:
        return f"redis://{LOOPBACK}:{self.redis_port}/{number}"

    def redis_commands(self) -> int:
        """How many commands Redis has been asked so far, its own INFO left out."""
        if not self.redis_port:
            return 0
        import redis

        with redis.Redis.from_url(self.redis_url(0)) as client:
            stats: Any = client.info("commandstats")
        skipped = ("cmdstat_info", "cmdstat_client", "cmdstat_select", "cmdstat_hello")
        return sum(s["calls"] for n, s in stats.items() if not n.startswith(skipped))

    def _start_postgres(self) -> None:
        """A PostgreSQL of our own: password by SCRAM, as its default is, and statements counted."""
        programs = machine.postgresql()
        if programs is None:
            return
        port, home = free_port(), self.folder / "pg"
        home.mkdir()
        secret = home / "secret"
        secret.write_text("bench")
        as_who: list[str] = []
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            as_who = ["runuser", "-u", "postgres", "--"]
            for path in (home, secret):
                shutil.chown(path, "postgres")
        data = home / "data"
        words = f"-D {data} -U bench -A scram-sha-256 --pwfile {secret} -N -E UTF8 --locale=C"
        subprocess.run(  # noqa: S603
            [*as_who, programs / "initdb", *words.split()],
            check=True,
            capture_output=True,
            cwd=home,
        )
        options = (
            f"-D {data} -p {port} -h 127.0.0.1 -k {home} -c max_connections=400 "
            "-c shared_buffers=512MB -c shared_preload_libraries=pg_stat_statements"
        )
        asked = [programs / "pg_isready", "-q", "-h", LOOPBACK, "-p", str(port)]
        self.child(
            "postgres",
            [*as_who, programs / "postgres", *options.split()],
            port,
            cwd=home,
            ready=lambda: subprocess.run(asked).returncode == 0,  # noqa: S603
        )
        self.postgres_port = port
        self.sql("CREATE EXTENSION pg_stat_statements")

    def postgres_url(self, database: str = "postgres") -> str:
        return f"postgres://bench:bench@{LOOPBACK}:{self.postgres_port}/{database}"

    def sql(self, query: str, *, database: str = "postgres") -> list[tuple[Any, ...]]:
        import psycopg

        with psycopg.connect(self.postgres_url(database), autocommit=True) as connection:
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else []

    def create_database(self, name: str, template: str = "template1") -> str:
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.postgres_url(name)

    def statements(self) -> int:
        """How many statements PostgreSQL has run so far, for everybody but us."""
        found = self.sql(
            "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements s JOIN pg_database d "
            "ON d.oid = s.dbid WHERE d.datname <> 'postgres'"
        )
        return int(found[0][0])


def register(provider: NodeProvider, callbacks: Sequence[str]) -> None:
    """Let the provider know where all targets want people sent back. Ends its sessions."""
    provider.configure(
        ACCESS_TTL=provider._config.get("ACCESS_TTL", "60"),
        REDIRECT_URI=" ".join(callbacks),
        PKCE_REQUIRED=0,
        CLIENT_ID=CLIENT_ID,
        CLIENT_SECRET=CLIENT_SECRET,
    )


def nginx_user() -> str:
    return "user root;" if os.geteuid() == 0 else ""


def _json_of(size: int) -> bytes:
    """JSON of exactly that many bytes, which is not all the same."""
    start, end = b'{"items": "', b'"}'
    filling = hashlib.sha256(b"bench").hexdigest().encode() * (size // 64 + 1)
    return start + filling[: size - len(start) - len(end)] + end
