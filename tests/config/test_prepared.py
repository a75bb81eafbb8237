# SPDX-License-Identifier: Apache-2.0
"""A reading, compiled once, answers as the ORM would, each time with other values and at another time."""

from datetime import timedelta

import psycopg
import pytest
from django.db import connection
from django.db.models import BigIntegerField, CharField

from approvals.models import ActionRequest, Broadcast, Notification, Receipt, Spending, Vote
from config import clock, wake
from config.prepared import Param, Reading, fresh, placed, rows_of
from runs.models import Effect, Run, Task
from tests.factories import started, steps

pytestmark = pytest.mark.django_db

TWO = steps({"id": "one", "role": "agent:validator"}, {"id": "two", "role": "agent:validator"})


def tasks_of_run():
    tasks = Task.objects.filter(run=Param("run_id", BigIntegerField()), step=Param("step", CharField()))
    tasks = tasks.select_related("run__version__playbook", "assignee").defer("run__version__document")
    return tasks.annotate(read_at=clock.Now(each_time=True)).order_by("id")


@pytest.fixture
def reading():
    return Reading(tasks_of_run)


def test_it_is_compiled_once_and_asked_with_other_values(reading, django_assert_num_queries):
    runs = [started(TWO, payload={"n": n}) for n in range(3)]

    for run in runs:
        with django_assert_num_queries(1):
            (task,) = reading(run_id=run.pk, step="one")
            assert (task.run.payload, task.run.version.playbook.slug) == (run.payload, run.version.playbook.slug)
        assert task == Task.objects.get(run=run)
        assert vars(task.run).keys() == vars(Run.objects.get(pk=run.pk)).keys() | {"_state"}
    assert reading(run_id=runs[0].pk, step="two") == []


def test_what_is_null_stays_null_and_what_is_deferred_is_fetched_when_asked_for(reading, django_assert_num_queries):
    run = started(TWO)
    (task,) = reading(run_id=run.pk, step="one")

    assert task.assignee is None
    with django_assert_num_queries(1):
        assert [step["id"] for step in task.run.version.document["steps"]] == ["one", "two"]


def test_a_row_it_read_is_saved_as_any_other(reading):
    run = started(TWO)
    (task,) = reading(run_id=run.pk, step="one")
    task.note = "why"
    task.save(update_fields=["note"])

    assert Task.objects.get(pk=task.pk).note == "why"


def test_the_clock_is_read_anew_with_each_call(reading):
    run = started(TWO)
    (first,) = reading(run_id=run.pk, step="one")
    clock.move(timedelta(hours=1))
    (second,) = reading(run_id=run.pk, step="one")

    assert timedelta(hours=1) <= second.read_at - first.read_at < timedelta(hours=1, minutes=1)


def test_text_is_a_value_and_never_part_of_the_statement(reading):
    run = started(TWO)
    assert reading(run_id=run.pk, step="one' OR '1'='1") == []


@pytest.mark.postgresql
def test_its_plan_is_kept_and_nobody_elses(reading):
    run = started(TWO)
    for _ in range(8):
        reading(run_id=run.pk, step="one")
        Task.objects.filter(run=run.pk).first()
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements WHERE statement LIKE '%%runs_task%%'")
        kept = [text for (text,) in cursor.fetchall() if "clock_timestamp" in text and "assignee" in text]
        of_orm = """LIKE '%%FROM "runs_task"%%LIMIT 1'"""
        cursor.execute(f"SELECT count(*) FROM pg_prepared_statements WHERE statement {of_orm}")
        assert cursor.fetchone() == (0,)
    assert len(kept) == 1


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_session_that_is_there_is_not_asked_first(monkeypatch, django_assert_num_queries):
    monkeypatch.setitem(connection.settings_dict, "CONN_HEALTH_CHECKS", True)
    rows_of("SELECT 1", [])
    connection.close_if_unusable_or_obsolete()  # as at the beginning of each request

    with django_assert_num_queries(1):
        rows_of("SELECT 1", [])
    assert connection.health_check_done


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_session_that_was_ended_meanwhile_is_replaced(monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "CONN_HEALTH_CHECKS", True)
    connection.close()
    ((first,),) = rows_of("SELECT pg_backend_pid()", [])
    with psycopg.connect(**wake.listening_parameters()) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [first])
    connection.close_if_unusable_or_obsolete()  # as at the beginning of each request

    ((second,),) = rows_of("SELECT pg_backend_pid()", [])
    assert second != first


def test_the_log_of_queries_is_told_what_was_sent(django_assert_num_queries):
    for _ in range(2):
        with django_assert_num_queries(1) as sent:
            assert rows_of(placed("SELECT %s"), ["a"]) == [("a",)]
        assert sent[0]["sql"].startswith("SELECT")


# New rows -------------------------------------------------------------------------------------------------

MADE = [Run, Task, Effect, ActionRequest, Vote, Receipt, Spending, Notification, Broadcast]


@pytest.mark.parametrize("model", MADE)
def test_a_fresh_row_is_what_its_model_makes(model):
    mine, theirs = fresh(model), model()
    at_random = dict.fromkeys(["_state", "id", "nonce"])

    assert {**vars(mine), **at_random} == {**vars(theirs), **at_random}
    assert (mine.pk is None, mine._state.adding, mine._state.db) == (theirs.pk is None, True, None)


def test_fresh_rows_share_nothing_and_are_each_drawn_a_name():
    one, other = fresh(ActionRequest), fresh(ActionRequest)
    one.asked["context"] = {"a": 1}
    one.options.append("b")

    assert (other.asked, other.options) == ({}, [])
    assert one.pk != other.pk
    assert one.pk.startswith("har_")


def test_a_row_it_refers_to_is_there_without_a_look(django_assert_num_queries):
    run = started(TWO)
    with django_assert_num_queries(0):
        effect = fresh(Effect, key="k", run=run, task=None)
        assert (effect.run, effect.run_id, effect.task_id) == (run, run.pk, None)
        assert fresh(Effect, run_id=7).run_id == 7
