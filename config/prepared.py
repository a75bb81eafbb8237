# SPDX-License-Identifier: Apache-2.0
"""Statements that are made often: compiled once from the ORM's terms, prepared once in each session of PostgreSQL.

Most of the time of a small query by the ORM goes into building it and turning it into SQL, and on PostgreSQL again
into planning it (measured: nine tenths of reading one task with its run). Both depend on its shape alone.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, Generic, TypeVar

import psycopg
from django.db import DEFAULT_DB_ALIAS, connection, connections, models
from django.db.models.base import ModelState
from django.db.models.query import RelatedPopulator, get_related_populators
from psycopg.types.datetime import TimestamptzLoader

M = TypeVar("M", bound=models.Model)


class _PreparedCursor(psycopg.RawCursor[Any]):
    """Binds on the server, and asks it to keep the plan; Django's own cursor writes the values into the text.

    It takes PostgreSQL's own placeholders: to find `%s` anew in a long text, with each call, costs as much as a
    small statement.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # psycopg's own, written in C. Django's is written in Python; both give UTC, the time zone of our connections.
        self.adapters.register_loader("timestamptz", TimestamptzLoader)

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        return super().execute(query, params, **{**options, "prepare": True})

    def _convert_query(self, *args: Any, **options: Any) -> Any:
        # Django's log of queries reads it here; psycopg leaves it out once a statement is prepared.
        self._query = super()._convert_query(*args, **options)
        return self._query


def rows_of(sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """What a statement answers that was written by `placed`. On PostgreSQL it is prepared once in each session."""
    django: Any = connections[DEFAULT_DB_ALIAS]
    if django.vendor != "postgresql":
        with django.cursor() as cursor:
            cursor.execute(sql, values)
            return list(cursor.fetchall())
    if django.connection is not None and _is_quiet(django.connection):
        django.health_check_done = True
    django.close_if_health_check_failed()
    django.ensure_connection()
    cursor = django._prepare_cursor(_cursor_of(django.connection))
    cursor.execute(sql, values)
    return list(cursor.fetchall())


def _is_quiet(session: Any) -> bool:
    """Whether the server has said nothing unasked. It does when it ends a session; so one that is quiet is there, and
    need not be asked by a statement of its own whether it is, as Django does at the beginning of each request."""
    if session.closed:
        return False
    poll = select.poll()
    poll.register(session.fileno(), select.POLLIN)
    return not poll.poll(0)


def _cursor_of(session: Any) -> _PreparedCursor:
    """One for each session: to make a cursor takes as long as to send a small statement."""
    if not hasattr(session, "act_cursor"):
        session.act_cursor = _PreparedCursor(session)
    found: _PreparedCursor = session.act_cursor
    return found


def placed(sql: str) -> str:
    """The text with `%s` for its values, as a `prepared_cursor` wants it here."""
    if connection.vendor != "postgresql":
        return sql
    first, *others = sql.split("%s")
    return (first + "".join(f"${number}{text}" for number, text in enumerate(others, 1))).replace("%%", "%")


def with_constants(sql: str, params: Sequence[Any]) -> tuple[str, tuple[Any, ...]]:
    """(the text as `rows_of` wants it, the values that change). Words and numbers that do not change stand in it:
    to use an index of some rows alone, PostgreSQL has to see which, and can then keep the plan."""
    first, *others = sql.split("%s")
    text, changing = first, []
    for param, following in zip(params, others, strict=True):
        if isinstance(param, str | int):
            text += _literal(param) + following
        else:
            text += "%s" + following
            changing.append(param)
    return placed(text), tuple(changing)


def _literal(value: str | int) -> str:
    """Only of our own words and numbers."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int):
        return str(int(value))
    assert not set(value) & set("'\\%"), value
    return f"'{value!s}'"


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
        compiler: Any = queryset.query.get_compiler(DEFAULT_DB_ALIAS)
        sql, params = compiler.as_sql()
        related: Any = get_related_populators
        info, chosen = compiler.klass_info, compiler.klass_info["select_fields"]
        self.vendor = connection.vendor
        self.sql, self.params = with_constants(sql, params)
        self.converters = _converters(compiler)
        self.first, self.end = chosen[0], chosen[-1] + 1
        self.model = _plain(info["model"])
        self.names = [column[0].target.attname for column in compiler.select[self.first : self.end]]
        self.related = [_Related(one) for one in related(info, compiler.select, DEFAULT_DB_ALIAS)]
        self.annotations = tuple(compiler.annotation_col_map.items())

    def read(self, given: Mapping[str, Any]) -> list[Any]:
        rows = rows_of(self.sql, [self._value(param, given) for param in self.params])
        return [self._instance(row) for row in rows]

    @staticmethod
    def _value(param: Any, given: Mapping[str, Any]) -> Any:
        if isinstance(param, Param):
            return param.output_field.get_db_prep_value(given[param.name], connection)
        return param() if callable(param) else param

    def _instance(self, raw: Sequence[Any]) -> Any:
        row = list(raw)
        for position, converter, expression in self.converters:
            row[position] = converter(row[position], expression, connection)
        instance = _made(self.model, self.names, row[self.first : self.end])
        for one in self.related:
            one.populate(row, instance)
        for name, position in self.annotations:
            instance.__dict__[name] = row[position]
        return instance


def _converters(compiler: Any) -> list[tuple[int, Any, Any]]:
    """(position, converter, expression), in their order."""
    expressions = [column[0] for column in compiler.select]
    found = []
    for position, (converters, expression) in compiler.get_converters(expressions).items():
        if connection.vendor == "sqlite" and isinstance(expression.output_field, models.DateTimeField):
            converters = [moment]
        found += [(position, converter, expression) for converter in converters]
    return found


def moment(found: datetime | str | None, *_: Any) -> datetime | None:
    """A moment as `rows_of` answers it: of SQLite's, sqlite3 knows it in a column, and not in an expression."""
    if isinstance(found, str):
        found = datetime.fromisoformat(found)
    return None if found is None else found.replace(tzinfo=UTC)


class _Related:
    """A row that is read together with another, as Django's `RelatedPopulator` says."""

    def __init__(self, said: RelatedPopulator) -> None:
        told: Any = said
        assert told.reorder_for_init is None, "a model that inherits from another with a table is not read here"
        self.model, self.names = _plain(told.model_cls), told.init_list
        self.first, self.end, self.key = told.cols_start, told.cols_end, told.cols_start + told.pk_idx
        self.related = [_Related(one) for one in told.related_populators]
        self.keep, self.keep_there = told.local_setter, told.remote_setter

    def populate(self, row: Sequence[Any], owner: Any) -> None:
        if row[self.key] is None:
            self.keep(owner, None)
            return
        instance = _made(self.model, self.names, row[self.first : self.end])
        for one in self.related:
            one.populate(row, instance)
        self.keep(owner, instance)
        self.keep_there(instance, owner)


def _plain(model: type[models.Model]) -> type[models.Model]:
    """The model, if an instance of it is what its columns say and nothing more."""
    assert model.__init__ is models.Model.__init__, model
    assert not any(signal.has_listeners(model) for signal in (models.signals.pre_init, models.signals.post_init)), model
    return model


def fresh(model: type[M], **given: Any) -> M:
    """A new instance, not saved: `model(**given)`, in a third of the time. A row that it refers to is given by the
    field's name, or its key alone by the field's attribute."""
    instance = model.__new__(model)
    state = instance._state = ModelState()
    known, made, relations = _defaults(model)
    held = instance.__dict__
    held.update(known)
    for name, default in made:
        if name not in given:
            held[name] = default()
    for name, value in given.items():
        if name in relations:
            attribute, key = relations[name]
            held[attribute] = None if value is None else getattr(value, key)
            state.fields_cache[name] = value
        else:
            held[name] = value
    return instance


@cache
def _defaults(
    model: type[models.Model],
) -> tuple[dict[str, Any], list[tuple[str, Callable[[], Any]]], dict[str, tuple[str, str]]]:
    """({attribute: value}, [(attribute, what makes its value)], {relation: (attribute, the other row's key)})."""
    fields = _plain(model)._meta.concrete_fields
    known = {field.attname: field.get_default() for field in fields if not callable(field.default)}
    assert not any(isinstance(value, dict | list) for value in known.values()), "it would be everybody's"
    made = [(field.attname, field.get_default) for field in fields if callable(field.default)]
    keys = [field for field in fields if isinstance(field, models.ForeignKey)]
    relations = {field.name: (field.attname, field.target_field.attname) for field in keys}
    return known, made, relations


def _made(model: type[models.Model], names: Sequence[str], values: Sequence[Any]) -> Any:
    """An instance read from the database, in a fifth of the time of `from_db`, which sets each field by itself."""
    instance = model.__new__(model)
    state = instance._state = ModelState()
    state.adding, state.db = False, DEFAULT_DB_ALIAS
    instance.__dict__.update(zip(names, values, strict=True))
    return instance
