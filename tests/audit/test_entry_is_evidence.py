# SPDX-License-Identifier: Apache-2.0
"""Nobody changes, removes or overwrites an entry, not even by raw SQL as the owner of the database.

Each attack is tried twice: the trigger refuses it, and without the trigger it would have succeeded.
"""

import pytest
from django.db import IntegrityError

from audit.models import Entry
from tests.audit.lines import assert_refused_by, execute, recorded

pytestmark = pytest.mark.django_db

COLUMNS = [field.column for field in Entry._meta.concrete_fields]


def row_of(entry, **changed):
    """A SELECT of the entry's row, with some columns changed."""
    return (
        f"SELECT {', '.join(str(changed.get(name, name)) for name in COLUMNS)} FROM audit_entry WHERE id = {entry.pk}"
    )


def inserted(entry, verb="INSERT", **changed):
    return f"{verb} INTO audit_entry ({', '.join(COLUMNS)}) {row_of(entry, **changed)}"


NUMBERS = {"actor_id", "run_id", "task_id"}


@pytest.mark.parametrize("column", [name for name in COLUMNS if name not in {"id", "leaf_index", "at", "body"}])
def test_no_column_is_updated(column):
    entry = recorded()
    value = "99" if column in NUMBERS else "body" if column == "entry_hash" else "'x'"

    assert_refused_by("act_audit_entry_no_update", f"UPDATE audit_entry SET {column} = {value} WHERE id = {entry.pk}")


@pytest.mark.parametrize("change", ["at = '2001-01-01 00:00:00+00'", "id = id + 1000", "body = entry_hash"])
def test_neither_time_nor_id_nor_body_is_updated(change):
    entry = recorded()

    assert_refused_by("act_audit_entry_no_update", f"UPDATE audit_entry SET {change} WHERE id = {entry.pk}")


def test_no_entry_is_deleted():
    entry = recorded()

    assert_refused_by("act_audit_entry_no_delete", f"DELETE FROM audit_entry WHERE id = {entry.pk}")


@pytest.mark.postgresql
def test_the_log_is_not_truncated():
    recorded()

    assert_refused_by("act_audit_entry_no_truncate", "TRUNCATE audit_entry CASCADE")


def test_an_update_that_changes_nothing_is_refused_too():
    entry = recorded()

    assert_refused_by("act_audit_entry_no_update", f"UPDATE audit_entry SET action = action WHERE id = {entry.pk}")


# Its place -------------------------------------------------------------------------------------------------


def placed(entry, place):
    return f"UPDATE audit_entry SET leaf_index = {place} WHERE id = {entry.pk}"


def test_an_entry_is_given_its_place_once():
    entry = recorded()

    execute(placed(entry, 0))

    assert Entry.objects.get(pk=entry.pk).leaf_index == 0


@pytest.mark.parametrize("other_place", ["1", "NULL", "0"])
def test_a_place_is_neither_changed_nor_taken_back_nor_given_again(other_place):
    entry = recorded()

    assert_refused_by("act_audit_entry_no_update", placed(entry, 0), placed(entry, other_place))


def test_a_place_is_not_given_beside_another_change():
    entry = recorded()

    assert_refused_by("act_audit_entry_no_update", placed(entry, "0, actor_name = 'x'"))


def test_a_place_is_not_negative():
    entry = recorded()

    assert_refused_by("act_audit_entry_no_update", placed(entry, -1))


@pytest.mark.sqlite
def test_a_place_is_a_number():
    entry = recorded()

    assert_refused_by("act_audit_entry_place", placed(entry, "'first'"))


def test_no_two_entries_have_one_place():
    first, second = recorded(), recorded()
    execute(placed(first, 0))

    with pytest.raises(IntegrityError):
        execute(placed(second, 0))


@pytest.mark.sqlite
def test_taking_a_place_does_not_replace_the_entry_that_has_it():
    first, second = recorded(), recorded()
    execute(placed(first, 0))

    assert_refused_by(
        "act_audit_entry_place", f"UPDATE OR REPLACE audit_entry SET leaf_index = 0 WHERE id = {second.pk}"
    )


def test_no_entry_arrives_with_a_place():
    entry = recorded()

    assert_refused_by("act_audit_entry_unplaced", inserted(entry, id=entry.pk + 1, leaf_index=5))


# Its id ----------------------------------------------------------------------------------------------------


def test_an_id_is_not_used_again():
    entry = recorded()

    with pytest.raises(IntegrityError):
        execute(inserted(entry, actor_name="'x'"))


@pytest.mark.sqlite
@pytest.mark.parametrize("verb", ["INSERT OR REPLACE", "REPLACE"])
def test_an_entry_is_not_overwritten_by_an_insert(verb):
    entry = recorded()

    assert_refused_by("act_audit_entry_no_replace", inserted(entry, verb, actor_name="'x'"))


@pytest.mark.sqlite
def test_an_insert_that_ignores_conflicts_does_not_get_past_the_guard():
    entry = recorded()

    with pytest.raises(IntegrityError, match="act_audit_entry_no_replace"):
        execute(inserted(entry, "INSERT OR IGNORE", actor_name="'x'"))


def test_an_entry_is_not_overwritten_by_an_upsert():
    entry = recorded()
    upsert = inserted(entry, actor_name="'x'") + " ON CONFLICT (id) DO UPDATE SET actor_name = 'x'"

    with pytest.raises(IntegrityError, match=r"act_audit_entry_no_(update|replace)"):
        execute(upsert)


@pytest.mark.parametrize("number", [0, -1])
def test_no_id_is_below_one(number):
    """SQLite's guard sees -1 for an id that is not given, so an entry with that id would be open to REPLACE."""
    entry = recorded()

    with pytest.raises(IntegrityError, match="entry_id_positive"):
        execute(inserted(entry, id=number))


# Its hash --------------------------------------------------------------------------------------------------


@pytest.mark.postgresql
@pytest.mark.parametrize("wrong", [{"entry_hash": "sha256(body)"}, {"body": r"body || '\x20'::bytea"}])
def test_no_entry_arrives_with_a_hash_that_is_not_its_bodys(wrong):
    entry = recorded()

    assert_refused_by("act_audit_entry_hash", inserted(entry, id=entry.pk + 1, **wrong))


@pytest.mark.postgresql
def test_a_function_of_the_same_name_elsewhere_does_not_lend_its_hash():
    entry = recorded()
    elsewhere = (
        "CREATE SCHEMA elsewhere",
        "CREATE FUNCTION elsewhere.sha256(bytea) RETURNS bytea IMMUTABLE LANGUAGE sql AS $$ SELECT '\\x00'::bytea $$",
        "SET LOCAL search_path = elsewhere, pg_catalog, public",
    )

    with pytest.raises(IntegrityError, match="act_audit_entry_hash"):
        execute(*elsewhere, inserted(entry, id=entry.pk + 1, entry_hash=r"'\x00'::bytea"))


# The ways around triggers ----------------------------------------------------------------------------------


@pytest.mark.postgresql
@pytest.mark.parametrize(
    "attack",
    ["UPDATE audit_entry SET actor_name = 'x'", "DELETE FROM audit_entry", "TRUNCATE audit_entry CASCADE"],
)
def test_a_superuser_who_plays_replica_is_refused_too(attack):
    recorded()

    with pytest.raises(IntegrityError, match="act_audit_entry_no_"):
        execute("SET LOCAL session_replication_role = replica", attack)


@pytest.mark.sqlite
def test_entries_are_safe_whatever_the_session_says_of_triggers():
    entry = recorded()

    with pytest.raises(IntegrityError, match="act_audit_entry_no_replace"):
        execute("PRAGMA recursive_triggers = OFF", inserted(entry, "REPLACE", actor_name="'x'"))


# What stands beside it -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "attack"),
    [
        ("no_update", "UPDATE audit_disclosure SET items = '[]'"),
        ("no_update", "UPDATE audit_disclosure SET entry_id = entry_id + 1"),
        ("no_delete", "DELETE FROM audit_disclosure"),
        pytest.param("no_truncate", "TRUNCATE audit_disclosure", marks=pytest.mark.postgresql),
        pytest.param(
            "no_replace",
            "REPLACE INTO audit_disclosure (entry_id, items) SELECT entry_id, '[]' FROM audit_disclosure",
            marks=pytest.mark.sqlite,
        ),
    ],
)
def test_what_was_said_is_neither_changed_nor_removed(rule, attack):
    recorded(note="the reason")
    recorded()

    assert_refused_by(f"act_audit_disclosure_{rule}", attack)


@pytest.mark.parametrize(
    ("rule", "attack"),
    [
        ("no_update", "UPDATE audit_log SET origin = 'act/another'"),
        ("no_delete", "DELETE FROM audit_log"),
        pytest.param("no_truncate", "TRUNCATE audit_log", marks=pytest.mark.postgresql),
        pytest.param(
            "no_replace", "REPLACE INTO audit_log (id, origin) VALUES (1, 'act/another')", marks=pytest.mark.sqlite
        ),
    ],
)
def test_the_log_keeps_its_origin(rule, attack):
    assert_refused_by(f"act_audit_log_{rule}", attack)
