# SPDX-License-Identifier: Apache-2.0
"""Rows that are written together or not at all: guarded updates first, then new rows.

An act reads, decides, changes its rows in memory, and hands them to a `Batch`. On PostgreSQL `write()` sends one
statement, which is a transaction of its own where none is open: one round trip in place of one for each table and
two for BEGIN and COMMIT (measured: more than twice the acts in a second). Elsewhere it sends one statement for each
kind of update and each kind of new row, within the transaction that the caller has open. Both forms leave the same
rows, be they two or ten thousand.

A guard names what the row held when it was read. If any update misses its row, nothing at all is written and
`Moved` is raised. Updates are made in the order given, those of one kind (the same model, fields and guarded fields)
together where the first of them stands; so rows are locked in that order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any

from django.db import DEFAULT_DB_ALIAS, DataError, connection, models

from config.guard import Moved
from config.prepared import placed, rows_of

DIVISION_BY_ZERO = "22012"  # SQLSTATE
STATEMENTS_KEPT = 500  # texts; acts have a few dozen shapes
FEW = 4  # rows of one kind that a text holds one by one; of more, each column is one parameter, whatever their number
MOST_VALUES = 900  # in one statement of SQLite, which may be built to take no more than 999
# Fields whose values the database's driver takes as the model holds them.
AS_THEY_ARE = (
    models.CharField, models.TextField, models.IntegerField, models.BooleanField, models.FloatField,
    models.DateTimeField, models.ForeignKey, models.BinaryField,
)  # fmt: skip

_OfKind = tuple[type[models.Model], list[models.Model]]

_portable: ContextVar[bool] = ContextVar("portable", default=False)


@dataclass(frozen=True, slots=True)
class Update:
    """Write these fields of the row, if it still holds what `guard` says."""

    row: models.Model
    fields: tuple[str, ...]
    guard: Mapping[str, Any]


_Updates = tuple[type[models.Model], tuple[str, ...], tuple[str, ...], list[Update]]  # of one kind: fields, guarded


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

    def written(self) -> Iterator[models.Model]:
        """The rows that are changed, and the new ones."""
        yield from (each.row for each in self.updates)
        yield from self.rows

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
    updates = _updates(batch)
    for kind, fields, guarded, alike in updates:
        values += _values_of_updates(kind, fields, guarded, alike)
    new = _by_kind(batch.rows)
    for kind, rows in new:
        columns = _columns(kind, _inserted(kind, rows[0].pk is not None))
        values += _values_of_rows([_values(row, columns) for row in rows])
        if batch.beside and isinstance(batch.beside[0][1], kind):
            values += _values_of_rows([_values_beside(row, owner) for row, owner in batch.beside])
    _execute(_statement(*_shape(batch, updates, new)), values)
    for row in (*batch.rows, *(row for row, _ in batch.beside)):
        row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS


def _execute(sql: str, values: list[Any]) -> None:
    try:
        rows_of(sql, values)
    except DataError as fault:
        if getattr(fault.__cause__, "sqlstate", "") == DIVISION_BY_ZERO:
            raise Moved from fault
        raise


def _updates(batch: Batch) -> list[_Updates]:
    """Updates by kind, each kind where its first stands; but those of a kind with few rows one by one."""
    found: dict[tuple[type[models.Model], tuple[str, ...], tuple[str, ...]], list[Update]] = {}
    for each in batch.updates:
        found.setdefault((type(each.row), each.fields, tuple(each.guard)), []).append(each)
    updates: list[_Updates] = []
    for (kind, fields, guarded), alike in found.items():
        parts = [alike] if len(alike) > FEW else [[each] for each in alike]
        updates += [(kind, fields, guarded, part) for part in parts]
    return updates


def _values_of_updates(
    kind: type[models.Model], fields: tuple[str, ...], guarded: tuple[str, ...], alike: Sequence[Update]
) -> list[Any]:
    columns = _columns(kind, fields)
    if len(alike) == 1:
        (only,) = alike
        guard = [_ready(kind, name, value) for name, value in only.guard.items() if value is not None]
        return [*_values(only.row, columns), only.row.pk, *guard]
    rows = [
        [*_values(each.row, columns), each.row.pk, *(_ready(kind, name, each.guard[name]) for name in guarded)]
        for each in alike
    ]
    return [*_values_of_rows(rows), len(alike)]


def _values_of_rows(rows: Sequence[Sequence[Any]]) -> list[Any]:
    """One after another; or, if they are more than a few, each column as one array."""
    if len(rows) <= FEW:
        return [value for row in rows for value in row]
    return [[_in_array(value) for value in column] for column in zip(*rows, strict=True)]


def _in_array(value: Any) -> Any:
    """psycopg takes half a millisecond to write bytes into an array; as hexadecimal digits they are a text."""
    return "\\x" + value.hex() if isinstance(value, bytes) else value


def _values_beside(row: models.Model, owner: models.Model) -> list[Any]:
    columns = _columns(type(row), _inserted(type(row), False))
    return [owner.entry_hash, *_values(row, columns)]  # type: ignore[attr-defined]


def _shape(batch: Batch, updates: Sequence[_Updates], new: Sequence[_OfKind]) -> tuple[Any, ...]:
    """All that the text of the statement depends on. `None` is the number of many rows."""
    changes = tuple(
        (kind, fields, tuple((name, len(alike) == 1 and alike[0].guard[name] is None) for name in guarded), _few(alike))
        for kind, fields, guarded, alike in updates
    )
    inserts = tuple((kind, _few(rows), rows[0].pk is not None) for kind, rows in new)
    beside = (type(batch.beside[0][0]), type(batch.beside[0][1]), _few(batch.beside)) if batch.beside else None
    return changes, inserts, beside


def _few(rows: Sequence[Any]) -> int | None:
    return len(rows) if len(rows) <= FEW else None


def _by_kind(rows: Sequence[models.Model]) -> list[_OfKind]:
    """The rows by model, in the order in which the models came first."""
    found: dict[type[models.Model], list[models.Model]] = {}
    for row in rows:
        found.setdefault(type(row), []).append(row)
    return list(found.items())


# The names in these texts are of our own models and fields; every value is a parameter.


@lru_cache(maxsize=STATEMENTS_KEPT)
def _statement(updates: tuple[Any, ...], inserts: tuple[Any, ...], beside: Any) -> str:
    parts = []
    for number, (kind, fields, guard, count) in enumerate(updates):
        update_sql = _update_sql if count == 1 else _updates_sql
        parts.append(update_sql(kind, fields, guard, number))
    for number, (kind, count, numbered) in enumerate(inserts):
        told = beside is not None and beside[1] is kind
        parts.append(_insert_sql(kind, count, numbered, number, told=told))
        if told:
            parts.append(_beside_sql(beside[0], number, beside[2]))
    hits = " + ".join(f"(SELECT count(*) FROM hit{number})" for number in range(len(updates))) or "0"  # noqa: S608
    return placed(f"WITH {', '.join(parts)} SELECT 1 / (({hits}) = {len(updates)})::int")


def _update_sql(
    kind: type[models.Model], fields: tuple[str, ...], guard: tuple[tuple[str, bool], ...], number: int
) -> str:
    assignments = ", ".join(f"{_column(kind, name)} = %s" for name in fields)
    wanted = [f"{_column(kind, 'pk')} = %s"]
    wanted += [f"{_column(kind, name)} {'IS NULL' if is_null else '= %s'}" for name, is_null in guard]
    wanted += _after(number)
    table = kind._meta.db_table
    return f'hit{number} AS (UPDATE "{table}" SET {assignments} WHERE {" AND ".join(wanted)} RETURNING 1)'  # noqa: S608


def _updates_sql(
    kind: type[models.Model], fields: tuple[str, ...], guard: tuple[tuple[str, bool], ...], number: int
) -> str:
    """Many rows of one kind: a hit if each of them is."""
    table, guarded = kind._meta.db_table, [name for name, _ in guard]
    given, names = _arrays(_field(kind, name) for name in (*fields, "pk", *guarded))
    assignments = ", ".join(
        f"{_column(kind, name)} = given.{value}" for name, value in zip(fields, names, strict=False)
    )
    wanted = [f'"{table}".{_column(kind, "pk")} = given.{names[len(fields)]}']
    for name, value in zip(guarded, names[len(fields) + 1 :], strict=True):
        wanted.append(f'"{table}".{_column(kind, name)} IS NOT DISTINCT FROM given.{value}')
    where = " AND ".join(wanted + _after(number))
    return (
        f'each{number} AS (UPDATE "{table}" SET {assignments} FROM {given} WHERE {where} RETURNING 1), '  # noqa: S608
        f"hit{number} AS (SELECT 1 WHERE (SELECT count(*) FROM each{number}) = %s)"
    )


def _after(number: int) -> list[str]:
    return [f"EXISTS (SELECT FROM hit{number - 1})"] if number else []


def _insert_sql(kind: type[models.Model], count: int | None, numbered: bool, number: int, *, told: bool) -> str:
    names = _inserted(kind, numbered)
    columns = ", ".join(_column(kind, name) for name in names)
    if count is None:
        rows = f"SELECT * FROM {_arrays(_field(kind, name) for name in names)[0]}"  # noqa: S608
    else:
        row = f"({', '.join(['%s'] * len(names))})"
        rows = f"VALUES {', '.join([row] * count)}"
    returning = " RETURNING id, entry_hash" if told else ""
    return f'new{number} AS (INSERT INTO "{kind._meta.db_table}" ({columns}) {rows}{returning})'


def _beside_sql(kind: type[models.Model], owner: int, count: int | None) -> str:
    fields = [_field(kind, name) for name in _inserted(kind, False)]
    names = ", ".join(f'"{each.column}"' for each in fields)
    if count is None:
        types = ", ".join(f"%s::{type_}[]" for type_ in ("bytea", *map(_type, fields)))
        given = f"unnest({types})"
    else:
        row = f"(%s::bytea, {', '.join(f'%s::{_type(each)}' for each in fields)})"
        given = f"(VALUES {', '.join([row] * count)})"
    return (
        f'beside AS (INSERT INTO "{kind._meta.db_table}" ({_column(kind, "pk")}, {names}) '  # noqa: S608
        f"SELECT new{owner}.id, {names} FROM new{owner} "
        f"JOIN {given} AS given (hash, {names}) ON given.hash = new{owner}.entry_hash)"
    )


def _arrays(fields: Iterable[models.Field[Any, Any]]) -> tuple[str, list[str]]:
    """Rows made of one array for each field: (what follows FROM, their columns)."""
    types = [_type(each) for each in fields]
    names = [f"v{number}" for number in range(len(types))]
    return f"unnest({', '.join(f'%s::{each}[]' for each in types)}) AS given ({', '.join(names)})", names


def _type(field: models.Field[Any, Any]) -> str:
    """Of the field's values. A text keeps its length: what is too long for its column is refused, and never cut."""
    found = str(field.db_type(connection))
    return "text" if found.startswith("varchar") else found


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
    return tuple((each.attname, _readied(each)) for each in (_field(kind, name) for name in names))


def _readied(field: models.Field[Any, Any]) -> Any:
    if isinstance(field, models.DateTimeField) and connection.vendor == "sqlite":
        return _as_text
    if isinstance(field, AS_THEY_ARE):
        return None
    if isinstance(field, models.JSONField) and field.encoder is None:
        return _as_json
    return lambda value: field.get_db_prep_save(value, connection)


# As Django writes them, without asking the field and the database each time.


def _as_text(moment: datetime | None) -> str | None:
    return None if moment is None else str(moment.astimezone(UTC).replace(tzinfo=None))


def _as_json(value: Any) -> str | None:
    return None if value is None else _json(value)


_json = json.JSONEncoder().encode


def _values(row: models.Model, columns: Sequence[tuple[str, Any]]) -> list[Any]:
    held = row.__dict__
    return [held[name] if ready is None else ready(held[name]) for name, ready in columns]


def _ready(kind: type[models.Model], name: str, value: Any) -> Any:
    """A value of this field, as `_values` makes it ready."""
    ((_, ready),) = _columns(kind, (name,))
    return value if ready is None else ready(value)


# One statement for each kind ------------------------------------------------------------------------------


def _write_in_turn(batch: Batch) -> None:
    with connection.cursor() as cursor:
        for kind, fields, guarded, alike in _updates(batch):
            columns = _columns(kind, fields)
            rows = [
                [*_values(each.row, columns), each.row.pk, *(_ready(kind, name, each.guard[name]) for name in guarded)]
                for each in alike
            ]
            cursor.executemany(_update_in_turn(kind, fields, guarded), rows)
            if cursor.rowcount != len(alike):
                raise Moved
        owners = {type(owner) for _, owner in batch.beside}
        for kind, new in _by_kind(batch.rows):
            _insert_in_turn(cursor, kind, new, told=kind in owners)
        for kind, new in _by_kind([row for row, _ in batch.beside]):
            for row, owner in batch.beside:
                row.pk = owner.pk
            _insert_in_turn(cursor, kind, new)


def _insert_in_turn(cursor: Any, kind: type[models.Model], rows: Sequence[models.Model], *, told: bool = False) -> None:
    """`told`: the database tells the numbers of the rows, which others are to stand beside."""
    columns = _columns(kind, names := _inserted(kind, rows[0].pk is not None))
    at_once = MOST_VALUES // len(columns)
    for part in (rows[first : first + at_once] for first in range(0, len(rows), at_once)):
        values = [value for row in part for value in _values(row, columns)]
        cursor.execute(_insert_in_turn_sql(kind, names, len(part), told), values)
        for row in part:
            row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS
            if told:
                (row.pk,) = cursor.fetchone()


@lru_cache(maxsize=STATEMENTS_KEPT)
def _update_in_turn(kind: type[models.Model], fields: tuple[str, ...], guarded: tuple[str, ...]) -> str:
    is_same = "IS NOT DISTINCT FROM" if connection.vendor == "postgresql" else "IS"
    assignments = ", ".join(f"{_column(kind, name)} = %s" for name in fields)
    wanted = " AND ".join([f"{_column(kind, 'pk')} = %s", *(f"{_column(kind, name)} {is_same} %s" for name in guarded)])
    return f'UPDATE "{kind._meta.db_table}" SET {assignments} WHERE {wanted}'  # noqa: S608


@lru_cache(maxsize=STATEMENTS_KEPT)
def _insert_in_turn_sql(kind: type[models.Model], names: tuple[str, ...], count: int, told: bool) -> str:
    columns = ", ".join(_column(kind, name) for name in names)
    row = f"({', '.join(['%s'] * len(names))})"
    sql = f'INSERT INTO "{kind._meta.db_table}" ({columns}) VALUES {", ".join([row] * count)}'  # noqa: S608
    return f"{sql} RETURNING {_column(kind, 'pk')}" if told else sql
