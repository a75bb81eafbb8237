# SPDX-License-Identifier: Apache-2.0
"""The migrations, one after the other, end at the very database that all other tests begin with."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from tests.conftest import database_url

pytestmark = pytest.mark.django_db(transaction=True)

# The library's migrations make the table whose place our own model takes; it stays empty.
NOT_OURS = {"knox_authtoken"}
# Of Django: its migrations count these rows with a wider number than its models.
WIDER = ("column", "auth_group_permissions", "id")

SHAPE_OF_POSTGRESQL = """
    SELECT 'table', relname, '', relpersistence::text FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'column', relname, attname, concat_ws(
        ' ', format_type(atttypid, atttypmod), attnotnull, attidentity, attcollation, pg_get_expr(adbin, adrelid))
    FROM pg_attribute JOIN pg_class c ON c.oid = attrelid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT 'constraint', relname, conname, pg_get_constraintdef(k.oid)
    FROM pg_constraint k JOIN pg_class c ON c.oid = conrelid WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'index', tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL
    SELECT 'trigger', relname, tgname, concat_ws(' ', pg_get_triggerdef(t.oid), tgenabled, prosrc)
    FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid JOIN pg_proc p ON p.oid = tgfoid
    WHERE NOT tgisinternal AND relnamespace = 'public'::regnamespace
"""

Shape = set[tuple[str, str, str, str]]  # (kind, table, name, definition); columns may stand in another order


def test_the_migrations_end_at_the_tables_columns_rules_and_triggers_that_the_tests_run_on(
    process_environment, tmp_path
):
    with empty_database(tmp_path) as url:
        migrate(url, process_environment)
        migrated = shape_of(url)

    from_models = shape_of(database_url())
    assert migrated - from_models == set()
    assert from_models - migrated == set()
    assert {kind for kind, *_ in migrated} >= {"table", "index", "trigger"}


def migrate(url: str, environment: dict[str, str]) -> None:
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity=0"],
        cwd=settings.BASE_DIR,
        env={**environment, "DATABASE_URL": url},
        check=True,
    )


@contextmanager
def empty_database(folder: Path) -> Iterator[str]:
    """The address of another database beside that of the tests."""
    if connection.vendor == "sqlite":
        yield f"sqlite:///{folder / 'migrated.sqlite3'}"
        return
    name = f"{connection.settings_dict['NAME']}_migrated"
    with connection.cursor() as cursor:
        cursor.execute(f'CREATE DATABASE "{name}"')
        try:
            yield f"{database_url().rpartition('/')[0]}/{name}"
        finally:
            cursor.execute(f'DROP DATABASE "{name}"')


def shape_of(url: str) -> Shape:
    if url.startswith("sqlite:///"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database:
            rows = database.execute("SELECT type, tbl_name, name, sql FROM sqlite_master WHERE sql IS NOT NULL")
            found = {piece for row in rows for piece in pieces(*row)}
    else:
        with psycopg.connect(url) as database:
            found = set(database.execute(SHAPE_OF_POSTGRESQL))
    return {piece for piece in found if piece[1] not in NOT_OURS and piece[:3] != WIDER}


def pieces(kind: str, table: str, name: str, sql: str) -> Iterator[tuple[str, str, str, str]]:
    """A table's columns and constraints, each for itself; of all else, the whole statement."""
    if kind != "table":
        yield kind, table, name, sql
        return
    body = sql[sql.index("(") + 1 : sql.rindex(")")]
    for definition in parted_at_commas(body):
        yield kind, table, name, definition


def parted_at_commas(text: str) -> list[str]:
    """At those outside of all brackets."""
    found, depth = [""], 0
    for sign in text:
        depth += {"(": 1, ")": -1}.get(sign, 0)
        if sign == "," and depth == 0:
            found.append("")
        else:
            found[-1] += sign
    return [part.strip() for part in found]
