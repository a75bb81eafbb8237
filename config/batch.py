# SPDX-License-Identifier: Apache-2.0
"""Rows that are written together or not at all: guarded updates first, then new rows.

An act reads, decides, changes its rows in memory, and hands them to a `Batch`. On PostgreSQL `write()` sends one
statement, which is a transaction of its own where none is open: one round trip in place of one for each table and
two for BEGIN and COMMIT (measured: more than twice the acts in a second). Elsewhere it sends one statement for each
update and each kind of new row, within the transaction that the caller has open. Both forms leave the same rows.

A guard names what the row held when it was read. If any update misses its row, nothing at all is written and
`Moved` is raised. Updates are made in the order given, so rows are locked in that order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.db import DataError, connection, models

from config.guard import Moved
from config.prepared import prepared_cursor

DIVISION_BY_ZERO = "22012"  # SQLSTATE

_portable: ContextVar[bool] = ContextVar("portable", default=False)


@dataclass(frozen=True, slots=True)
class Update:
    """Write these fields of the row, if it still holds what `guard` says."""

    row: models.Model
    fields: tuple[str, ...]
    guard: Mapping[str, Any]


@dataclass(slots=True)
class Batch:
    updates: list[Update] = field(default_factory=list)
    rows: list[models.Model] = field(default_factory=list)
    beside: list[tuple[models.Model, models.Model]] = field(default_factory=list)

    def update(self, row: models.Model, *fields: str, **guard: Any) -> None:
        """Change this row; the values are read from it when the batch is written."""
        self.updates.append(Update(row, fields, guard))

    def insert(self, *rows: models.Model) -> None:
        """Add these rows. A row that others name needs its number beforehand (`numbers`)."""
        self.rows.extend(rows)

    def insert_beside(self, row: models.Model, owner: models.Model) -> None:
        """Add a row whose key is that of `owner`, a new row without a number yet, known by its `entry_hash`."""
        self.beside.append((row, owner))

    def write(self) -> None:
        """Raises Moved, with nothing written, if a guard missed."""
        if connection.vendor == "postgresql" and not _portable.get():
            _write_at_once(self)
        else:
            _write_in_turn(self)


@contextmanager
def in_turn() -> Iterator[None]:
    """Use the form of other databases on PostgreSQL as well (to compare the two)."""
    token = _portable.set(True)
    try:
        yield
    finally:
        _portable.reset(token)


def at_once() -> bool:
    """Whether a batch is written as one statement here, which needs no transaction around it."""
    return connection.vendor == "postgresql" and not _portable.get()


# Numbers of rows to come ----------------------------------------------------------------------------------


class NextNumber(models.Func):
    """The number of the next row of a model, for a reading statement that has to be made anyway.

    Numbers that are drawn and not used leave a gap. On SQLite it holds for as long as the transaction, which is
    the only one that writes.
    """

    output_field = models.BigIntegerField()

    def __init__(self, model: type[models.Model]) -> None:
        super().__init__()
        self.table = model._meta.db_table

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> tuple[str, tuple[str, ...]]:
        return "nextval(%s)", (_sequence(self.table),)

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> tuple[str, tuple[str, ...]]:
        return "(SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = %s)", (self.table,)


def numbers(model: type[models.Model], count: int) -> list[int]:
    """Numbers for so many new rows, in one statement."""
    table = model._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT nextval(%s) FROM generate_series(1, %s)", [_sequence(table), count])
            return sorted(number for (number,) in cursor.fetchall())
        cursor.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = %s", [table])
        (last,) = cursor.fetchone()
        return list(range(last + 1, last + 1 + count))


def _sequence(table: str) -> str:
    return f'"{table}_id_seq"'


# One statement --------------------------------------------------------------------------------------------


def _write_at_once(batch: Batch) -> None:
    """Each update reads the one before it, which fixes their order and stops at the first miss; the main SELECT
    counts the hits, and divides by zero if one is missing, which undoes the whole statement. New rows nobody
    reads are inserted after the main SELECT, so a miss is told before any of their constraints."""
    parts: list[str] = []
    values: list[Any] = []
    for number, update in enumerate(batch.updates):
        kind = type(update.row)
        shape = tuple((name, value is None) for name, value in update.guard.items())
        parts.append(_update_sql(kind, update.fields, shape, number))
        values += [*_values(update.row, update.fields), update.row.pk]
        values += [_prepared(kind, name, value) for name, value in update.guard.items() if value is not None]
    for number, (kind, rows) in enumerate(_by_kind(batch.rows)):
        numbered = rows[0].pk is not None
        parts.append(_insert_sql(kind, len(rows), numbered, number))
        for row in rows:
            values += _values(row, _inserted(kind, numbered))
        if batch.beside and isinstance(batch.beside[0][1], kind):
            parts.append(_beside_sql(type(batch.beside[0][0]), number, len(batch.beside)))
            for row, owner in batch.beside:
                values += [owner.entry_hash, *_values(row, _inserted(type(row), False))]  # type: ignore[attr-defined]
    _execute(f"WITH {', '.join(parts)} {_all_hit(len(batch.updates))}", values)
    for row in (*batch.rows, *(row for row, _ in batch.beside)):
        row._state.adding, row._state.db = False, connection.alias


def _execute(sql: str, values: list[Any]) -> None:
    try:
        with prepared_cursor() as cursor:
            cursor.execute(sql, values)
    except DataError as fault:
        if getattr(fault.__cause__, "sqlstate", "") == DIVISION_BY_ZERO:
            raise Moved from fault
        raise


def _by_kind(rows: Sequence[models.Model]) -> list[tuple[type[models.Model], list[models.Model]]]:
    """The rows by model, in the order in which the models came first."""
    found: dict[type[models.Model], list[models.Model]] = {}
    for row in rows:
        found.setdefault(type(row), []).append(row)
    return list(found.items())


# The names in these texts are of our own models and fields; every value is a parameter.


@cache
def _all_hit(count: int) -> str:
    hits = " + ".join(f"(SELECT count(*) FROM hit{number})" for number in range(count)) or "0"  # noqa: S608
    return f"SELECT 1 / (({hits}) = {count})::int"


@cache
def _update_sql(
    kind: type[models.Model], fields: tuple[str, ...], guard: tuple[tuple[str, bool], ...], number: int
) -> str:
    assignments = ", ".join(f"{_column(kind, name)} = %s" for name in fields)
    wanted = [f"{_column(kind, 'pk')} = %s"]
    wanted += [f"{_column(kind, name)} {'IS NULL' if is_null else '= %s'}" for name, is_null in guard]
    if number:
        wanted.append(f"EXISTS (SELECT FROM hit{number - 1})")
    table = kind._meta.db_table
    return f'hit{number} AS (UPDATE "{table}" SET {assignments} WHERE {" AND ".join(wanted)} RETURNING 1)'  # noqa: S608


@cache
def _insert_sql(kind: type[models.Model], count: int, numbered: bool, number: int) -> str:
    names = _inserted(kind, numbered)
    columns = ", ".join(_column(kind, name) for name in names)
    row = f"({', '.join(['%s'] * len(names))})"
    insert = f'INSERT INTO "{kind._meta.db_table}" ({columns}) VALUES {", ".join([row] * count)}'  # noqa: S608
    return f"new{number} AS ({insert} RETURNING *)"


@cache
def _beside_sql(kind: type[models.Model], owner: int, count: int) -> str:
    fields = [_field(kind, name) for name in _inserted(kind, False)]
    names = ", ".join(f'"{each.column}"' for each in fields)
    row = f"(%s::bytea, {', '.join(f'%s::{each.db_type(connection)}' for each in fields)})"
    return (
        f'beside AS (INSERT INTO "{kind._meta.db_table}" ({_column(kind, "pk")}, {names}) '  # noqa: S608
        f"SELECT new{owner}.id, {names} FROM new{owner} "
        f"JOIN (VALUES {', '.join([row] * count)}) AS given (hash, {names}) ON given.hash = new{owner}.entry_hash)"
    )


@cache
def _inserted(kind: type[models.Model], numbered: bool) -> tuple[str, ...]:
    """The fields that a new row is given; without a number, the database draws one."""
    return tuple(each.name for each in kind._meta.concrete_fields if numbered or not each.primary_key)


@cache
def _field(kind: type[models.Model], name: str) -> models.Field[Any, Any]:
    found = kind._meta.pk if name == "pk" else kind._meta.get_field(name)
    assert isinstance(found, models.Field)
    return found


def _column(kind: type[models.Model], name: str) -> str:
    return f'"{_field(kind, name).column}"'


def _values(row: models.Model, names: Sequence[str]) -> list[Any]:
    fields = [_field(type(row), name) for name in names]
    return [each.get_db_prep_save(getattr(row, each.attname), connection) for each in fields]


def _prepared(kind: type[models.Model], name: str, value: Any) -> Any:
    return _field(kind, name).get_db_prep_save(value, connection)


# One statement for each -----------------------------------------------------------------------------------


def _write_in_turn(batch: Batch) -> None:
    for update in batch.updates:
        values = {name: getattr(update.row, name) for name in update.fields}
        rows = type(update.row)._base_manager.filter(pk=update.row.pk, **update.guard)
        if rows.update(**values) != 1:
            raise Moved
    for kind, new in _by_kind(batch.rows):
        kind._base_manager.bulk_create(new)
    for kind, new in _by_kind([row for row, _ in batch.beside]):
        for row, owner in batch.beside:
            row.pk = owner.pk
        kind._base_manager.bulk_create(new)
