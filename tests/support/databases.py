"""A database of its own for each Site, on SQLite, PostgreSQL or MariaDB.

It is made empty, asked in plain SQL, and dropped. Placeholders are %s everywhere.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.support import components

KINDS = ("sqlite", "postgresql", "mariadb")

# Rows that `migrate` writes and that a site cannot live without.
KEPT = ("django_migrations", "django_content_type", "auth_permission", "sqlite_sequence")

_LETS_REFERENCES_DANGLE = {
    "sqlite": "PRAGMA foreign_keys = OFF",
    "postgresql": "SET session_replication_role = replica",
    "mariadb": "SET foreign_key_checks = 0",
}
_RESTART = """
    SELECT setval(pg_get_serial_sequence(attrelid::regclass::text, attname), 1, false)
    FROM pg_attribute WHERE attidentity <> '' AND attrelid = ANY(%s::regclass[])
"""

_numbers = itertools.count(1)


class Database:
    url: str

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.folder = folder  # for SQLite's file
        self.name = f"oauthbff_test_{os.getpid()}_{next(_numbers)}"
        self._file = folder / f"{self.name}.sqlite3"
        if kind == "sqlite":
            self.url = f"sqlite:///{self._file}"
        elif kind == "postgresql":
            components.require("postgresql")
            self._administer(f"CREATE DATABASE {self.name}")
            self.url = f"{components.POSTGRESQL}/{self.name}"
        elif kind == "mariadb":
            components.require("mariadb")
            self._administer(f"CREATE DATABASE {self.name} CHARACTER SET utf8mb4")
            self.url = f"{components.MARIADB}/{self.name}"
        else:
            raise ValueError(f"{kind!r} is none of {KINDS}")

    def drop(self) -> None:
        if self.kind == "sqlite":
            for file in self._file.parent.glob(f"{self._file.name}*"):
                file.unlink()
        elif self.kind == "postgresql":
            self._administer(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")
        else:
            self._administer(f"DROP DATABASE IF EXISTS {self.name}")

    def copy_from(self, template: Database) -> bool:
        """Become a copy of another database of the same kind, if that is possible here."""
        if self.kind == "sqlite":
            shutil.copyfile(template._file, self._file)
        elif self.kind == "postgresql":
            self.drop()
            self._administer(f"CREATE DATABASE {self.name} TEMPLATE {template.name}")
        return self.kind != "mariadb"

    def sql(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement, committed. Return its rows, if it has any."""
        with self._connection() as connection, contextlib.closing(connection.cursor()) as cursor:
            if self.kind == "sqlite":
                query = query.replace("%s", "?")
            cursor.execute(query, tuple(values))
            rows = list(cursor.fetchall()) if cursor.description else []
            connection.commit()
            return rows

    def tables(self) -> list[str]:
        query = {
            "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
            "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
            "mariadb": "SELECT table_name FROM information_schema.tables"
            " WHERE table_schema = database()",
        }[self.kind]
        return sorted(name for (name,) in self.sql(query))

    def dump(self) -> bytes:
        """Return every value of every table: text as UTF-8, bytes as they are."""
        return b"\n".join(self._values())

    def empty(self) -> None:
        """Delete all rows but those of `migrate`."""
        tables = [f'"{name}"' for name in self.tables() if name not in KEPT]
        with self._connection() as connection, contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(_LETS_REFERENCES_DANGLE[self.kind])
            for table in tables:
                cursor.execute(f"DELETE FROM {table}")
            if self.kind == "postgresql":
                # TRUNCATE would do both, and takes ten times as long for tables so small.
                cursor.execute(_RESTART, [tables])
            connection.commit()

    def _values(self) -> Iterator[bytes]:
        for table in self.tables():
            for row in self.sql(f'SELECT * FROM "{table}"'):
                yield from map(_as_bytes, row)

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Any]:
        connection: Any
        if self.kind == "sqlite":
            connection = sqlite3.connect(self._file, timeout=20)
        elif self.kind == "postgresql":
            import psycopg

            connection = psycopg.connect(self.url)
        else:
            connection = _mariadb(database=self.name, sql_mode="ANSI_QUOTES")
        with contextlib.closing(connection):
            yield connection

    def _administer(self, statement: str) -> None:
        connection: Any
        if self.kind == "postgresql":
            import psycopg

            connection = psycopg.connect(f"{components.POSTGRESQL}/postgres", autocommit=True)
        else:
            connection = _mariadb()
        with contextlib.closing(connection), contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(statement)


def _mariadb(**options: Any) -> Any:
    import pymysql

    return pymysql.connect(host="127.0.0.1", port=3306, user="root", **options)


def _as_bytes(value: object) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return repr(value).encode()
    return str(value).encode()
