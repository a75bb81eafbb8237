# SPDX-License-Identifier: Apache-2.0
"""The database of the tests: made from the models in a second, and put back as it was after a test that commits.

Its tables are those of the models as they are, since the way there, migration by migration, takes longer than many
a room's tests. That the way ends at the same tables is a claim of its own (tests/config/test_migrations.py).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.migrations.recorder import MigrationRecorder
from django.test import TransactionTestCase
from pytest_django import DjangoDbBlocker

from audit import triggers
from config.health import migrations_of_this_code

PATIENCE_SECONDS = 30  # with whoever is still at it after a test
PRISTINE = "pristine"  # the schema with a copy of every table that is not empty at first


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The name of the database that is not ours."""
    test = settings.DATABASES["default"].setdefault("TEST", {})
    test["MIGRATE"] = False
    if connection.vendor == "sqlite":
        test["NAME"] = str(tmp_path_factory.mktemp("database") / "test.sqlite3")
    return str(connection.settings_dict["NAME"])


@pytest.fixture(scope="session")
def django_db_setup(
    django_db_modify_db_settings: str, django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    if str(connection.settings_dict["NAME"]) == django_db_modify_db_settings:
        yield  # no test of this run asked for a database, so none was made
        return
    with django_db_blocker.unblock(), pytest.MonkeyPatch.context() as patch:
        note_migrations()
        if connection.vendor == "postgresql":
            count_calls_without_logging()
        _copies.append(COPIES[connection.vendor]())
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda case: put_back())
        yield


@pytest.fixture(scope="module")
def shared_db(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """What a module's own fixtures write is there for each of its tests, whose changes are undone one by one.

    Not for a module with a test that commits.
    """
    scene = transaction.atomic()
    scene._from_testcase = True  # type: ignore[attr-defined]  # an act may begin in it as if outside of all others
    with django_db_blocker.unblock(), scene:
        yield
        transaction.set_rollback(True)


def note_migrations() -> None:
    """As applied: another process on this database asks before it works."""
    recorder = MigrationRecorder(connection)
    recorder.ensure_schema()
    for app, name in sorted(migrations_of_this_code()):
        recorder.record_applied(app, name)


def count_calls_without_logging() -> None:
    """The one thing that migrations say of a table and its model cannot."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE accounts_ratecount SET UNLOGGED")


def put_back() -> None:
    """Every table as it was before the first test, past the triggers that forbid just that."""
    _copies[-1].put_back()


def migrated(file: Path) -> None:
    """A database of somebody else's, as their first `migrate` would leave it, which takes far longer. SQLite alone."""
    copy = _copies[-1]
    assert isinstance(copy, SQLiteCopy)
    file.parent.mkdir(parents=True, exist_ok=True)
    copy.write_to(file)


class SQLiteCopy:
    """The whole file, kept in memory: tables, triggers and counters alike."""

    def __init__(self) -> None:
        connection.ensure_connection()
        self._kept = sqlite3.connect(":memory:", check_same_thread=False)
        connection.connection.backup(self._kept)

    def put_back(self) -> None:
        connection.ensure_connection()
        end = time.monotonic() + PATIENCE_SECONDS

        def in_time(*_: int) -> None:
            assert time.monotonic() < end, "the database of the tests is held by somebody: a thread, another process"

        self._kept.backup(connection.connection, progress=in_time)

    def write_to(self, file: Path) -> None:
        with closing(sqlite3.connect(file)) as other:
            self._kept.backup(other)


class PostgreSQLCopy:
    """A second schema with what was in the tables. What differs from it is deleted and written again.

    Emptying eighty tables and installing anew takes twenty times as long as a test's own work.
    """

    def __init__(self) -> None:
        with connection.cursor() as cursor:
            self._tables = sorted(connection.introspection.table_names(cursor))
            self._filled = {table for table in self._tables if _rows_in(cursor, table)}
            cursor.execute(f"CREATE SCHEMA {PRISTINE}")
            for table in self._filled:
                cursor.execute(f'CREATE TABLE {PRISTINE}."{table}" AS TABLE public."{table}"')
            cursor.execute("SELECT sequencename, coalesce(last_value, 1), last_value IS NOT NULL FROM pg_sequences")
            self._counters = cursor.fetchall()

    def put_back(self) -> None:
        with triggers.disabled(), transaction.atomic(), connection.cursor() as cursor:
            changed = self._changed(cursor)
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
            for table in changed:
                cursor.execute(f'DELETE FROM "{table}"')
            for table in self._filled.intersection(changed):
                cursor.execute(f'INSERT INTO "{table}" SELECT * FROM {PRISTINE}."{table}"')
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            settings_of = [f"setval('\"{name}\"', {last}, {called})" for name, last, called in self._counters]
            cursor.execute(f"SELECT {', '.join(settings_of)}")

    def _changed(self, cursor: CursorWrapper) -> list[str]:
        cursor.execute(" UNION ALL ".join(f"SELECT '{table}' WHERE {self._differs(table)}" for table in self._tables))
        return [table for (table,) in cursor.fetchall()]

    def _differs(self, table: str) -> str:
        if table not in self._filled:
            return f'EXISTS (SELECT FROM "{table}")'
        now, first = f'TABLE public."{table}"', f'TABLE {PRISTINE}."{table}"'
        return f"EXISTS ({now} EXCEPT ALL {first}) OR EXISTS ({first} EXCEPT ALL {now})"


def _rows_in(cursor: CursorWrapper, table: str) -> bool:
    cursor.execute(f'SELECT EXISTS (SELECT FROM "{table}")')
    return bool(cursor.fetchone()[0])


COPIES: dict[str, type[SQLiteCopy | PostgreSQLCopy]] = {"sqlite": SQLiteCopy, "postgresql": PostgreSQLCopy}
_copies: list[SQLiteCopy | PostgreSQLCopy] = []  # of this process: one, once there is a database
