"""The database's clock: one clock for all hosts, used where they must agree."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import DateTimeField, Expression, ExpressionWrapper, F, Func, Value


class DatabaseNow(Func):
    """The time at the database, in UTC, to the microsecond where it can."""

    template = "CURRENT_TIMESTAMP"
    output_field = DateTimeField()

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(compiler, connection, template="CLOCK_TIMESTAMP()", **extra)

    def as_mysql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(compiler, connection, template="UTC_TIMESTAMP(6)", **extra)

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        template = "STRFTIME('%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f', 'NOW')"
        return self.as_sql(compiler, connection, template=template, **extra)


def database_now(*, plus_seconds: float = 0) -> Expression | F:
    """An expression for now, or some seconds from now, by the database's clock."""
    if not plus_seconds:
        return DatabaseNow()
    return ExpressionWrapper(
        DatabaseNow() + Value(timedelta(seconds=plus_seconds)), output_field=DateTimeField()
    )
