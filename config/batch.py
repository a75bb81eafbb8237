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
from functools import cache, lru_cache
from typing import Any

from django.db import DataError, connection, models

from config.guard import Moved
from config.prepared import placed, prepared_cursor

DIVISION_BY_ZERO = "22012"  # SQLSTATE
STATEMENTS_KEPT = 500  # texts; acts have a few dozen shapes, and one more for each number of rows
# Fields whose values psycopg takes as the model holds them.
AS_THEY_ARE = (
    models.CharField, models.TextField, models.IntegerField, models.BooleanField, models.FloatField,
    models.DateTimeField, models.ForeignKey,
)  # fmt: skip

_OfKind = tuple[type[models.Model], list[models.Model]]

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
    values: list[Any] = []
    for update in batch.updates:
        kind = type(update.row)
        values += [*_values(update.row, _columns(kind, update.fields)), update.row.pk]
        values += [_prepared(kind, name, value) for name, value in update.guard.items() if value is not None]
    new = _by_kind(batch.rows)
    for kind, rows in new:
        columns = _columns(kind, _inserted(kind, rows[0].pk is not None))
        for row in rows:
            values += _values(row, columns)
        if batch.beside and isinstance(batch.beside[0][1], kind):
            for row, owner in batch.beside:
                beside = _columns(type(row), _inserted(type(row), False))
                values += [owner.entry_hash, *_values(row, beside)]  # type: ignore[attr-defined]
    _execute(_statement(*_shape(batch, new)), values)
    for row in (*batch.rows, *(row for row, _ in batch.beside)):
        row._state.adding, row._state.db = False, "default"


def _execute(sql: str, values: list[Any]) -> None:
    try:
        with prepared_cursor() as cursor:
            cursor.execute(sql, values)
    except DataError as fault:
        if getattr(fault.__cause__, "sqlstate", "") == DIVISION_BY_ZERO:
            raise Moved from fault
        raise


def _shape(batch: Batch, new: Sequence[_OfKind]) -> tuple[Any, ...]:
    """All that the text of the statement depends on."""
    updates = tuple(
        (type(each.row), each.fields, tuple((name, value is None) for name, value in each.guard.items()))
        for each in batch.updates
    )
    inserts = tuple((kind, len(rows), rows[0].pk is not None) for kind, rows in new)
    beside = (type(batch.beside[0][0]), type(batch.beside[0][1]), len(batch.beside)) if batch.beside else None
    return updates, inserts, beside


def _by_kind(rows: Sequence[models.Model]) -> list[_OfKind]:
    """The rows by model, in the order in which the models came first."""
    found: dict[type[models.Model], list[models.Model]] = {}
    for row in rows:
        found.setdefault(type(row), []).append(row)
    return list(found.items())


# The names in these texts are of our own models and fields; every value is a parameter.


@lru_cache(maxsize=STATEMENTS_KEPT)
def _statement(updates: tuple[Any, ...], inserts: tuple[Any, ...], beside: Any) -> str:
    parts = [_update_sql(kind, fields, guard, number) for number, (kind, fields, guard) in enumerate(updates)]
    for number, (kind, count, numbered) in enumerate(inserts):
        parts.append(_insert_sql(kind, count, numbered, number))
        if beside is not None and beside[1] is kind:
            parts.append(_beside_sql(beside[0], number, beside[2]))
    hits = " + ".join(f"(SELECT count(*) FROM hit{number})" for number in range(len(updates))) or "0"  # noqa: S608
    return placed(f"WITH {', '.join(parts)} SELECT 1 / (({hits}) = {len(updates)})::int")


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


def _insert_sql(kind: type[models.Model], count: int, numbered: bool, number: int) -> str:
    names = _inserted(kind, numbered)
    columns = ", ".join(_column(kind, name) for name in names)
    row = f"({', '.join(['%s'] * len(names))})"
    insert = f'INSERT INTO "{kind._meta.db_table}" ({columns}) VALUES {", ".join([row] * count)}'  # noqa: S608
    return f"new{number} AS ({insert} RETURNING *)"


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


@cache
def _columns(kind: type[models.Model], names: tuple[str, ...]) -> tuple[tuple[str, Any], ...]:
    """(attribute, how its value is made ready; None: as it is) of each field."""
    fields = [_field(kind, name) for name in names]
    return tuple((each.attname, None if isinstance(each, AS_THEY_ARE) else each.get_db_prep_save) for each in fields)


def _values(row: models.Model, columns: Sequence[tuple[str, Any]]) -> list[Any]:
    held = row.__dict__
    return [held[name] if ready is None else ready(held[name], connection) for name, ready in columns]


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
