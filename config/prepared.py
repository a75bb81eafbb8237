# SPDX-License-Identifier: Apache-2.0
"""Statements that are made often: compiled once from the ORM's terms, prepared once in each session of PostgreSQL.

Most of the time of a small query by the ORM goes into building it and turning it into SQL, and on PostgreSQL again
into planning it (measured: nine tenths of reading one task with its run). Both depend on its shape alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Generic, TypeVar

import psycopg
from django.db import connection, models
from django.db.models.query import get_related_populators
from psycopg.adapt import Loader

M = TypeVar("M", bound=models.Model)


class _Moment(Loader):
    """Reads a moment in a tenth of the time that Django's loader needs, which is written in Python."""

    def load(self, data: Any) -> datetime:
        return datetime.fromisoformat(bytes(data).decode()).astimezone(UTC)


class _PreparedCursor(psycopg.RawCursor[Any]):
    """Binds on the server, and asks it to keep the plan; Django's own cursor writes the values into the text.

    It takes PostgreSQL's own placeholders: to find `%s` anew in a long text, with each call, costs as much as a
    small statement.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.adapters.register_loader("timestamptz", _Moment)

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        result = super().execute(query, params, **{**options, "prepare": True})
        # Django's log of queries reads it here; psycopg leaves it out once a statement is prepared.
        told: Any = self._query or SimpleNamespace(query=str(query).encode())
        self._query = told
        return result


@contextmanager
def prepared_cursor() -> Iterator[Any]:
    """A cursor of Django's connection whose statements, written by `placed`, are prepared (on PostgreSQL)."""
    if connection.vendor != "postgresql":
        with connection.cursor() as cursor:
            yield cursor
        return
    django: Any = connection
    django.close_if_health_check_failed()
    django.ensure_connection()
    with django._prepare_cursor(_PreparedCursor(django.connection)) as cursor:
        yield cursor


def placed(sql: str) -> str:
    """The text with `%s` for its values, as a `prepared_cursor` wants it here."""
    if connection.vendor != "postgresql":
        return sql
    first, *others = sql.split("%s")
    return (first + "".join(f"${number}{text}" for number, text in enumerate(others, 1))).replace("%%", "%")


class Param(models.Expression):
    """Stands, in the query of a `Reading`, for a value that is given with each call."""

    def __init__(self, name: str, output_field: models.Field[Any, Any]) -> None:
        super().__init__(output_field=output_field)
        self.name = name

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        return "%s", [self]


class Reading(Generic[M]):
    """A query compiled at its first call. `make` builds the queryset, with a `Param` for whatever changes.

    A value that must be new with each call (the time moved by a test) is given as a function without arguments.
    """

    def __init__(self, make: Callable[[], models.QuerySet[M]]) -> None:
        self._make = make
        self._compiled: _Compiled | None = None

    def __call__(self, **given: Any) -> list[M]:
        if self._compiled is None or self._compiled.vendor != connection.vendor:
            self._compiled = _Compiled(self._make())
        return self._compiled.read(given)


class _Compiled:
    """The SQL of a queryset, and how its rows become instances, as the ORM's own `ModelIterable` makes them."""

    def __init__(self, queryset: models.QuerySet[Any]) -> None:
        compiler: Any = queryset.query.get_compiler(connection.alias)
        sql, params = compiler.as_sql()
        related: Any = get_related_populators
        self.vendor = connection.vendor
        self.sql, self.params = placed(sql), tuple(params)
        self.compiler = compiler
        self.converters = compiler.get_converters([column[0] for column in compiler.select])
        self.populators = related(compiler.klass_info, compiler.select, connection.alias)
        chosen = compiler.klass_info["select_fields"]
        self.first, self.end = chosen[0], chosen[-1] + 1
        self.model = compiler.klass_info["model"]
        self.names = [column[0].target.attname for column in compiler.select[self.first : self.end]]
        self.annotations = tuple(compiler.annotation_col_map.items())

    def read(self, given: Mapping[str, Any]) -> list[Any]:
        with prepared_cursor() as cursor:
            cursor.execute(self.sql, [self._value(param, given) for param in self.params])
            rows = cursor.fetchall()
        return [self._instance(row) for row in self.compiler.apply_converters(rows, self.converters)]

    @staticmethod
    def _value(param: Any, given: Mapping[str, Any]) -> Any:
        if isinstance(param, Param):
            return param.output_field.get_db_prep_value(given[param.name], connection)
        return param() if callable(param) else param

    def _instance(self, row: Sequence[Any]) -> Any:
        instance = self.model.from_db(connection.alias, self.names, row[self.first : self.end])
        for populator in self.populators:
            populator.populate(row, instance)
        for name, position in self.annotations:
            setattr(instance, name, row[position])
        return instance
