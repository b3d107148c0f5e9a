"""The one read of each call: the columns that a call needs, by a statement compiled once.

To build such a query through the ORM costs six times what it costs to run it. So the
ORM builds it once per database, and it is run through the connection's own cursor.
All other columns of the grant are deferred; the user's row is fetched when somebody
asks for `grant.user`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from functools import cache, partial
from typing import Any, NamedTuple, cast

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.db import SessionStore
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet
from django.utils import timezone

from oauthbff.models import TokenGrant

from .rows import digest

_OF_GRANT = {
    *("id", "user_id", "subject", "scopes", "upstreams", "envelope", "session_digest", "version"),
    *("created_at", "last_used_at", "expires_at", "access_expires_at", "refreshed_at"),
    *("refresh_not_before", "refresh_failures", "ended_at", "end_reason"),
}
#: In the order in which `from_db` takes them.
GRANT_COLUMNS = [f.attname for f in TokenGrant._meta.concrete_fields if f.attname in _OF_GRANT]


class Seen(NamedTuple):
    """A grant as it stands now, and what it takes to judge whose it is."""

    grant: TokenGrant
    #: With its key, password hash and `is_active`; what a site's own user class asks
    #: beyond these is fetched on demand. None: the user was deleted.
    user: AbstractBaseUser | None


def read(pk: uuid.UUID) -> Seen | None:
    """Read one grant by its key, in one query."""
    using = router.db_for_read(TokenGrant)
    connection = connections[using]
    statement, converters = _compiled(using, connection.vendor)
    key = TokenGrant._meta.pk.get_db_prep_value(pk, connection)
    with connection.cursor() as cursor:
        cursor.execute(statement, [key])
        row = cursor.fetchone()
    if row is None:
        return None
    return seen(_converted(list(row), converters, connection), using)


class Along(NamedTuple):
    """What the database says of a session and the grants last used with its key, as it says it."""

    rows: list[tuple[Any, ...]]
    converters: dict[int, Any]
    connection: BaseDatabaseWrapper

    def seen(self) -> list[Seen]:
        """The grants, and whose they are. The one the session points at may not be there."""
        return [seen(values, self.connection.alias) for values in self._values()]

    def grant(self, pk: uuid.UUID) -> TokenGrant | None:
        """One of the grants alone, where nobody asks whose it is."""
        grants = (_grant(values, self.connection.alias) for values in self._values())
        return next((grant for grant in grants if grant.pk == pk), None)

    def _values(self) -> Iterator[list[Any]]:
        for row in self.rows:
            if row[_ID]:
                yield _converted(list(row[1:]), self.converters, self.connection)


#: Where a grant's key is, behind the session's content.
_ID = 1 + GRANT_COLUMNS.index("id")


def read_along(session: SessionBase) -> Along | None:
    """Read a session and the grants that were last used with its key, in one query.

    None unless Django's own database engine holds the session, beside the grants, and has
    not read it yet.
    """
    if type(session) is not SessionStore or "_session_cache" in vars(session):
        return None
    key, using = session.session_key, router.db_for_read(TokenGrant)
    if key is None or router.db_for_read(SessionStore.get_model_class()) != using:
        return None
    connection = connections[using]
    statement, converters = _compiled_along(using, connection.vendor)
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    with connection.cursor() as cursor:
        cursor.execute(statement, [digest(key), key, now])
        rows = cursor.fetchall()
    if rows:
        # Who asks for its content has it from this row, and most calls ask for none of it.
        session.load = partial(session.decode, rows[0][0])  # type: ignore[method-assign]
    return Along(rows, converters, connection)


def _converted(values: list[Any], converters: dict[int, Any], connection: Any) -> list[Any]:
    for position, (functions, expression) in converters.items():
        for function in functions:
            values[position] = function(values[position], expression, connection)
    return values


def seen(values: list[Any], using: str) -> Seen:
    """Make objects of one row of `rows_to_read`."""
    grant = _grant(values, using)
    if grant.user_id is None:
        return Seen(grant, None)
    user_class = cast(type[AbstractBaseUser], get_user_model())
    return Seen(grant, user_class.from_db(using, _user_columns(), values[len(GRANT_COLUMNS) :]))


def _grant(values: list[Any], using: str) -> TokenGrant:
    return TokenGrant.from_db(using, _OF_GRANT, values[: len(GRANT_COLUMNS)])


def rows_to_read(
    *, of: Mapping[str, Any] | None = None, **conditions: Any
) -> QuerySet[TokenGrant, tuple[Any, ...]]:
    """The rows that `seen` understands; what `of` asks for besides comes before."""
    of_user = [f"user__{name}" for name in _user_columns()]
    rows = TokenGrant.objects.filter(**conditions).annotate(**(of or {})).order_by()
    return rows.values_list(*(of or {}), *GRANT_COLUMNS, *of_user)


@cache
def _compiled(using: str, vendor: str) -> tuple[str, dict[int, Any]]:
    """The statement in this database's dialect, and the converters of its columns."""
    compiler = rows_to_read(pk=uuid.UUID(int=0)).query.get_compiler(using)
    statement, _ = compiler.as_sql()
    return statement, compiler.get_converters([column for column, _, _ in compiler.select])


@cache
def _compiled_along(using: str, vendor: str) -> tuple[str, dict[int, Any]]:
    """The session's row, and beside it those of `_compiled` whose digest is that of its key."""
    compiler = rows_to_read(session_digest="").query.get_compiler(using)
    compiler.as_sql()
    tables, _ = compiler.get_from_clause()
    columns = ", ".join(sql for _, (sql, _), _ in compiler.select)
    quote = connections[using].ops.quote_name
    session = SessionStore.get_model_class()._meta
    field = {f.name: f"s.{quote(str(f.column))}" for f in session.concrete_fields}
    grant = f"{quote(TokenGrant._meta.db_table)}.{quote('session_digest')}"
    statement = (
        f"SELECT {field['session_data']}, {columns} FROM {quote(session.db_table)} s "  # noqa: S608
        f"LEFT OUTER JOIN ({' '.join(tables)}) ON ({grant} = %s) "
        f"WHERE {field['session_key']} = %s AND {field['expire_date']} > %s"
    )
    return statement, compiler.get_converters([column for column, _, _ in compiler.select])


@cache
def _user_columns() -> list[str]:
    """Of the user: what Django's own check of a session looks at.

    `is_active` may be a constant of the site's user class.
    """
    fields = get_user_model()._meta.concrete_fields
    return [f.attname for f in fields if f.primary_key or f.name in ("password", "is_active")]
