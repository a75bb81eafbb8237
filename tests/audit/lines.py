# SPDX-License-Identifier: Apache-2.0
"""Entries for the tests of this room, and SQL that goes around every service."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from audit import actions, triggers
from audit.models import Entry
from audit.services import SYSTEM, Line, Subject, record
from config import clock

RUN = Subject("run", "7", run_id=7, facts={"playbook": "3", "version": 1})


def line(action: str = actions.RUN_STARTED, **more: Any) -> Line:
    return Line(**{"action": action, "subject": RUN, "actor": SYSTEM, "at": clock.now(), **more})


def recorded(action: str = actions.RUN_STARTED, **more: Any) -> Entry:
    record([line(action, **more)])
    return Entry.objects.latest("id")


def execute(*statements: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def assert_refused_by(trigger: str, *statements: str) -> None:
    """The database refuses the last statement by this trigger; without it, it does not."""
    settle()
    with pytest.raises(IntegrityError, match=trigger):
        execute(*statements)
    assert_possible_without_triggers(*statements)


def assert_possible_without_triggers(*statements: str) -> None:
    with undone(), without_triggers():
        execute(*statements)


@contextmanager
def without_triggers():
    settle()
    with triggers.disabled():
        yield
        settle()


@contextmanager
def triggers_only(wanted):
    """Of the triggers, those alone that are wanted, until what is done inside is undone."""
    declared = triggers._declared
    triggers._declared = {name: trigger for name, trigger in declared.items() if wanted(trigger)}
    try:
        settle()
        triggers.install()
        yield
    finally:
        triggers._declared = declared


def settle() -> None:
    """On PostgreSQL, checks left to the commit stand in the way of ALTER TABLE and TRUNCATE: make them now."""
    if connection.vendor == "postgresql":
        connection.check_constraints()


@contextmanager
def undone():
    """Whatever is done inside is rolled back at the end."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)
