# SPDX-License-Identifier: Apache-2.0
"""What every other test stands on: no outside world, time that returns, a database that is clean again."""

import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import IntegrityError, connection, transaction
from django.db.models import Value
from django.db.models.functions import Concat

from audit import triggers
from audit.models import Entry, Log
from config import clock
from tests import database
from tests.audit.lines import execute
from tests.conftest import OutsideWorld
from tests.database import put_back
from tests.factories import published


# 192.0.2.0/24 is set aside for documents: nobody answers there.
@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("example.org", 80)])
def test_a_test_cannot_reach_another_host(address):
    with pytest.raises(OutsideWorld):
        socket.create_connection(address, timeout=1)


def test_a_test_cannot_send_a_datagram_to_another_host():
    with socket.socket(type=socket.SOCK_DGRAM) as sender, pytest.raises(OutsideWorld):
        sender.sendto(b"hello", ("192.0.2.1", 53))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_test_can_reach_a_server_that_it_started(host):
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection((host, server.getsockname()[1]), timeout=5) as client,
    ):
        assert client.getpeername()[0] == "127.0.0.1"


@pytest.mark.django_db
@pytest.mark.parametrize("turn", [1, 2])
def test_time_moved_by_one_test_is_back_in_place_for_the_next(turn):
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(minutes=1)
    clock.move(timedelta(days=1))


@pytest.mark.django_db(transaction=True)
def test_what_a_test_committed_is_gone_and_what_it_deleted_is_back_though_triggers_refuse_that():
    before = everything_kept()
    published()
    Permission.objects.latest("id").delete()
    Group.objects.update(name=Concat("name", Value(" renamed")))
    with pytest.raises(IntegrityError), transaction.atomic():
        Entry.objects.all().delete()

    put_back()

    assert everything_kept() == before


def everything_kept() -> dict[str, list[tuple[Any, ...]]]:
    """Table → its rows."""
    with connection.cursor() as cursor:
        return {table: rows_of(cursor, table) for table in connection.introspection.table_names(cursor)}


def rows_of(cursor: Any, table: str) -> list[tuple[Any, ...]]:
    cursor.execute(f'SELECT * FROM "{table}"')
    return sorted(cursor.fetchall(), key=repr)


@pytest.mark.sqlite
@pytest.mark.django_db(transaction=True)
def test_a_lock_that_nobody_gives_back_is_told_and_not_waited_for(monkeypatch):
    monkeypatch.setattr(database, "PATIENCE_SECONDS", 0.5)
    execute("PRAGMA busy_timeout=100")
    with closing(sqlite3.connect(connection.settings_dict["NAME"])) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(AssertionError, match="is held by somebody"):
            put_back()


@pytest.mark.django_db(transaction=True)
def test_numbers_begin_again_after_a_test_that_committed():
    first = Group.objects.create(name="agent:first").pk

    put_back()

    assert Group.objects.create(name="agent:second").pk == first


@pytest.mark.django_db(transaction=True)
def test_what_comes_next_finds_every_trigger_standing():
    put_back()

    assert triggers.declared(connection.vendor)
    assert triggers.missing() == []
    with pytest.raises(IntegrityError), transaction.atomic():
        Log.objects.all().delete()


@pytest.mark.sqlite
@pytest.mark.django_db
def test_sqlite_is_a_file_that_other_processes_can_open():
    assert connection.settings_dict["NAME"].endswith(".sqlite3")


@pytest.mark.django_db(transaction=True)
def test_another_process_works_on_the_database_of_the_test(process_environment):
    Group.objects.create(name="agent:seen")
    question = "from django.contrib.auth.models import Group; print(Group.objects.get(name='agent:seen').name)"

    answer = subprocess.run(
        [sys.executable, "manage.py", "shell", "--verbosity=0", "-c", question],
        env=process_environment,
        capture_output=True,
        text=True,
    )

    assert answer.stdout.strip() == "agent:seen", answer.stderr
