# SPDX-License-Identifier: Apache-2.0
"""The database holds exactly the declared triggers, and gets them back when it has lost them."""

import ast

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, models

from audit import triggers
from audit.models import Entry
from audit.triggers import Trigger
from tests.audit.lines import execute, recorded, undone
from tests.house.tree import ROOT, committed_files

A_TRIGGER = "act_audit_entry_no_delete"


@pytest.mark.django_db
def test_the_declared_triggers_are_the_databases_triggers():
    assert triggers.missing() == []
    assert triggers.undeclared() == []
    assert A_TRIGGER in {trigger.name for trigger in triggers.declared(connection.vendor)}


@pytest.mark.django_db
def test_every_room_that_keeps_evidence_declares_its_triggers():
    tables = {trigger.table for trigger in triggers.declared(connection.vendor)}

    assert tables >= {
        "audit_entry", "audit_disclosure", "audit_log", "playbooks_version", "runs_run", "runs_task", "runs_effect",
        "runs_notice", "approvals_actionrequest", "approvals_vote", "approvals_notification",
    }  # fmt: skip


@pytest.mark.django_db
def test_removed_triggers_are_missing_until_they_are_installed_again():
    with undone():
        triggers.remove()
        assert triggers.missing() == sorted(t.name for t in triggers.declared(connection.vendor))

        triggers.install()
        assert triggers.missing() == []


@pytest.mark.django_db
def test_installing_what_is_there_changes_nothing(django_assert_num_queries):
    lock, look, tables, savepoints = (1 if connection.vendor == "postgresql" else 0), 1, 1, 2
    with django_assert_num_queries(lock + look + tables + savepoints):
        triggers.install()


@pytest.mark.django_db
def test_switched_off_triggers_are_on_again_after_a_fault():
    def fail():
        assert A_TRIGGER in triggers.missing()
        raise LookupError

    with pytest.raises(LookupError), triggers.disabled():
        fail()

    assert triggers.missing() == []


# Every way in which a trigger can be there, or nearly, and yet not do its work.
WEAKENED = {
    "postgresql": [
        (f"DROP TRIGGER {A_TRIGGER} ON audit_entry",),
        (f"ALTER TABLE audit_entry DISABLE TRIGGER {A_TRIGGER}",),
        (f"ALTER TABLE audit_entry ENABLE TRIGGER {A_TRIGGER}",),  # though not in a replica
        (f"CREATE OR REPLACE FUNCTION {A_TRIGGER}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'",),
        (
            f"CREATE OR REPLACE TRIGGER {A_TRIGGER} BEFORE DELETE ON audit_entry FOR EACH ROW "
            f"WHEN (OLD.id < 0) EXECUTE FUNCTION {A_TRIGGER}()",
            f"ALTER TABLE audit_entry ENABLE ALWAYS TRIGGER {A_TRIGGER}",
        ),
    ],
    "sqlite": [
        (f"DROP TRIGGER {A_TRIGGER}",),
        (
            f"DROP TRIGGER {A_TRIGGER}",
            f"CREATE TRIGGER {A_TRIGGER} BEFORE DELETE ON audit_entry WHEN OLD.id < 0 "
            "BEGIN SELECT RAISE(ABORT, 'no'); END",
        ),
    ],
}


@pytest.mark.django_db
@pytest.mark.parametrize(
    "weakening", [pytest.param(sql, marks=getattr(pytest.mark, name)) for name, all in WEAKENED.items() for sql in all]
)
def test_a_weakened_trigger_counts_as_missing_and_is_made_anew(weakening):
    with undone():
        execute(*weakening)
        assert triggers.missing() == [A_TRIGGER]

        triggers.install()
        assert triggers.missing() == []


@pytest.mark.django_db
def test_a_trigger_of_ours_that_is_no_longer_declared_goes(monkeypatch):
    old = Trigger("act_auth_group_old_rule", "auth_group", "DELETE", "TRUE", "an old rule")
    with undone():
        with monkeypatch.context() as patch:
            patch.setattr(triggers, "_declared", {**triggers._declared, old.name: old})
            triggers.install()
        assert triggers.undeclared() == [old.name]

        triggers.install()
        assert triggers.undeclared() == []


@pytest.mark.postgresql
@pytest.mark.django_db
def test_the_rules_of_one_event_are_one_trigger_and_each_refuses_under_its_own_name():
    (made,) = [each for each in triggers.declared("postgresql") if (each.table, each.event) == ("runs_task", "UPDATE")]

    assert made.name == "act_runs_task_on_update"
    assert {rule.name for rule in made.rules} >= {"act_runs_task_arrows", "act_runs_task_fence"}
    row = recorded()
    columns = ", ".join(f'"{f.column}"' for f in Entry._meta.concrete_fields if f.name not in {"id", "leaf_index"})
    copy = f"INSERT INTO audit_entry (leaf_index, {columns}) SELECT 7, {columns} FROM audit_entry WHERE id = {row.pk}"
    with undone(), pytest.raises(IntegrityError, match="act_audit_entry_unplaced: an entry gets its place"):
        execute(copy)


@pytest.mark.django_db
def test_a_trigger_of_somebody_else_stays():
    create = {
        "sqlite": ["CREATE TRIGGER theirs BEFORE DELETE ON audit_entry BEGIN SELECT 1; END"],
        "postgresql": [
            "CREATE FUNCTION theirs() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'",
            "CREATE TRIGGER theirs BEFORE DELETE ON audit_entry FOR EACH ROW EXECUTE FUNCTION theirs()",
        ],
    }
    drop = {"sqlite": "DROP TRIGGER theirs", "postgresql": "DROP TRIGGER theirs ON audit_entry"}
    with undone():
        execute(*create[connection.vendor])

        triggers.install()
        triggers.remove()

        execute(drop[connection.vendor])  # fails if it is gone


@pytest.mark.django_db
def test_a_table_that_is_not_made_yet_is_left_for_later(monkeypatch):
    early = Trigger("act_later_no_delete", "later", "DELETE", "TRUE", "later")
    with undone():
        monkeypatch.setattr(triggers, "_declared", {**triggers._declared, early.name: early})

        triggers.install()

        assert triggers.missing() == [early.name]


def test_two_triggers_cannot_share_a_name():
    with pytest.raises(AssertionError, match="declared twice"):
        triggers.declare(Trigger(A_TRIGGER, "audit_entry", "DELETE", "FALSE", "another"))


def test_a_name_that_the_database_would_cut_is_refused():
    with pytest.raises(AssertionError, match="longer than 63"):
        Trigger("act_" + "x" * 60, "audit_entry", "DELETE", "TRUE", "long")


# What migrations do to them --------------------------------------------------------------------------------


def longer(field: str, by: int) -> tuple[models.Field, models.Field]:
    """(the field, the field with room for more characters), as a migration would have them."""
    old = Entry._meta.get_field(field)
    new = old.clone()
    new.max_length = old.max_length + by
    new.set_attributes_from_name(field)
    new.model = Entry
    return old, new


@pytest.mark.django_db(transaction=True)
def test_a_migration_changes_a_guarded_column_and_the_next_migrate_restores_what_was_lost():
    """On SQLite the table is made anew, and its triggers are gone without a word."""
    entry = recorded(note="kept")
    old, new = longer("action", by=40)
    with connection.schema_editor() as editor:
        editor.alter_field(Entry, old, new)
    lost = triggers.missing()

    call_command("migrate", verbosity=0)

    assert triggers.missing() == []
    assert (A_TRIGGER in lost) == (connection.vendor == "sqlite")
    assert Entry.objects.get(pk=entry.pk).note == "kept"
    with connection.schema_editor() as editor:
        editor.alter_field(Entry, new, old)
    triggers.install()


def test_no_code_of_ours_switches_triggers_off():
    """That is for tests, benchmarks and migrations; a way around them within reach of the product would be a hole."""
    used = [
        f"{path}:{node.lineno}"
        for path in committed_files()
        if path.suffix == ".py" and path.parts[0] not in {"tests", "bench"} and "migrations" not in path.parts
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in {"disabled", "remove"}
        if isinstance(node.value, ast.Name) and node.value.id == "triggers"
    ]
    assert used == []
