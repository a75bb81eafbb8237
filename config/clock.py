# SPDX-License-Identifier: Apache-2.0
"""One clock: the database's.

Leases, deadlines and entries of many hosts are compared with each other, so they all read the time of
the one thing the hosts share. On SQLite there is one host, and its own clock is the database's.
Tests move time by `offset`, which SQL (`Now`) and Python (`now`) both add; nothing else may read a clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import DateTimeField, Func

_offset = timedelta(0)


class Now(Func):
    """The clock as an SQL expression, for the reading statement that has to be made anyway."""

    function = "clock_timestamp"
    output_field = DateTimeField()

    def __init__(self, *, each_time: bool = False, as_begun: bool = False) -> None:
        """`each_time`: for a `Reading`, which is compiled once and asks for its values anew with each call.
        `as_begun`: the time when the statement began, which PostgreSQL can look up in an index."""
        super().__init__()
        self.each_time, self.as_begun = each_time, as_begun

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> tuple[str, tuple[Any, ...]]:
        value = offset_seconds if self.each_time else offset_seconds()
        function = "statement_timestamp" if self.as_begun else "clock_timestamp"
        return f"({function}() + make_interval(secs => %s))", (value,)

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> tuple[str, tuple[Any, ...]]:
        # SQLite's own clock has milliseconds; Python's, on the same host, has microseconds.
        return "%s", (_here_in_sql if self.each_time else _here_in_sql(),)


def now() -> datetime:
    """The time, aware, UTC, with microseconds. One statement on PostgreSQL; none on SQLite."""
    if connection.vendor != "postgresql":
        return _here()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (moment,) = cursor.fetchone()
    return moment.astimezone(UTC) + _offset


def _here() -> datetime:
    return datetime.now(UTC) + _offset


def _here_in_sql() -> str:
    return _here().strftime("%Y-%m-%d %H:%M:%S.%f")


def offset_seconds() -> float:
    """How far tests have moved time, for a statement that reads the clock itself."""
    return _offset.total_seconds()


def move(by: timedelta) -> None:
    """Move time onward (tests only)."""
    global _offset
    _offset += by


@contextmanager
def still_at_start() -> Iterator[None]:
    """Undo, at the end, whatever `move` did inside (tests only)."""
    global _offset
    before = _offset
    try:
        yield
    finally:
        _offset = before
