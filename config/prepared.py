# SPDX-License-Identifier: Apache-2.0
"""Statements that are made often: compiled once from the ORM's terms, prepared once in each session of PostgreSQL.

Most of the time of a small query by the ORM goes into building it and turning it into SQL, and on PostgreSQL again
into planning it (measured: nine tenths of reading one task with its run). Both depend on its shape alone.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Generic, TypeVar

import psycopg
from django.db import connection, models
from django.db.models.query import get_related_populators

M = TypeVar("M", bound=models.Model)


class _PreparedCursor(psycopg.Cursor[Any]):
    """Binds on the server, and asks it to keep the plan; Django's own cursor writes the values into the text."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        result = super().execute(query, params, **{**options, "prepare": True})
        # Django's log of queries reads it here; psycopg leaves it out once a statement is prepared.
        told: Any = self._query or SimpleNamespace(query=str(query).encode())
        self._query = told
        return result


@contextmanager
def prepared_cursor() -> Iterator[Any]:
    """A cursor of Django's connection whose statements are prepared; elsewhere than on PostgreSQL a plain one."""
    if connection.vendor != "postgresql":
        with connection.cursor() as cursor:
            yield cursor
        return
    django: Any = connection
    django.close_if_health_check_failed()
    django.ensure_connection()
    with django._prepare_cursor(_PreparedCursor(django.connection)) as cursor:
        yield cursor


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
        self._compiled: dict[str, tuple[Any, str, tuple[Any, ...], Any]] = {}

    def __call__(self, **given: Any) -> list[M]:
        if connection.vendor not in self._compiled:
            self._compiled[connection.vendor] = self._compile()
        compiler, sql, params, populators = self._compiled[connection.vendor]
        with prepared_cursor() as cursor:
            cursor.execute(sql, [self._value(param, given) for param in params])
            rows = cursor.fetchall()
        return list(self._instances(compiler, populators, rows))

    def _compile(self) -> tuple[Any, str, tuple[Any, ...], Any]:
        compiler = self._make().query.get_compiler(connection.alias)
        sql, params = compiler.as_sql()
        related: Any = get_related_populators
        populators = related(compiler.klass_info, compiler.select, connection.alias)
        return compiler, sql, tuple(params), populators

    @staticmethod
    def _value(param: Any, given: Mapping[str, Any]) -> Any:
        if isinstance(param, Param):
            return param.output_field.get_db_prep_value(given[param.name], connection)
        return param() if callable(param) else param

    @staticmethod
    def _instances(compiler: Any, populators: Any, rows: list[Any]) -> Iterator[Any]:
        """As the ORM's own `ModelIterable` makes them."""
        found = compiler.klass_info
        chosen = found["select_fields"]
        first, end = chosen[0], chosen[-1] + 1
        names = [column[0].target.attname for column in compiler.select[first:end]]
        for row in copy.copy(compiler).results_iter([rows]):
            instance = found["model"].from_db(connection.alias, names, row[first:end])
            for populator in populators:
                populator.populate(row, instance)
            for name, position in compiler.annotation_col_map.items():
                setattr(instance, name, row[position])
            yield instance
