"""The one read of each call: the columns that a call needs, by a statement compiled once.

To build such a query through the ORM costs six times what it costs to run it. So the
ORM builds it once per database, and it is run through the connection's own cursor.
All other columns of the grant are deferred; the user's row is fetched when somebody
asks for `grant.user`.
"""

from __future__ import annotations

import uuid
from functools import cache
from typing import Any, NamedTuple, cast

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import connections, router
from django.db.models import QuerySet

from oauthbff.models import TokenGrant

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
    values = list(row)
    for position, (functions, expression) in converters.items():
        for function in functions:
            values[position] = function(values[position], expression, connection)
    return seen(values, using)


def seen(values: list[Any], using: str) -> Seen:
    """Make objects of one row of `rows_to_read`."""
    split = len(GRANT_COLUMNS)
    grant = TokenGrant.from_db(using, GRANT_COLUMNS, values[:split])
    if grant.user_id is None:
        return Seen(grant, None)
    user_class = cast(type[AbstractBaseUser], get_user_model())
    return Seen(grant, user_class.from_db(using, _user_columns(), values[split:]))


def rows_to_read(**conditions: Any) -> QuerySet[TokenGrant, tuple[Any, ...]]:
    """The rows that `seen` understands."""
    of_user = [f"user__{name}" for name in _user_columns()]
    return TokenGrant.objects.filter(**conditions).values_list(*GRANT_COLUMNS, *of_user)


@cache
def _compiled(using: str, vendor: str) -> tuple[str, dict[int, Any]]:
    """The statement in this database's dialect, and the converters of its columns."""
    compiler = rows_to_read(pk=uuid.UUID(int=0)).query.get_compiler(using)
    statement, _ = compiler.as_sql()
    return statement, compiler.get_converters([column for column, _, _ in compiler.select])


@cache
def _user_columns() -> list[str]:
    """Of the user: what Django's own check of a session looks at.

    `is_active` may be a constant of the site's user class.
    """
    fields = get_user_model()._meta.concrete_fields
    return [f.attname for f in fields if f.primary_key or f.name in ("password", "is_active")]
