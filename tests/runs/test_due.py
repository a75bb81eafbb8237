# SPDX-License-Identifier: Apache-2.0
"""What time makes due is put right row by row, and one bad row stops nothing."""

from dataclasses import replace

import pytest
from django.db import OperationalError
from django_q.signing import SignedPackage

from config import clock
from runs import due, jobs
from runs.models import Task
from tests.factories import started, steps, tasks_of

ONE = steps({"id": "one", "role": "agent:validator"})


def test_a_row_that_cannot_be_put_right_holds_up_none_of_the_others(caplog):
    done = []

    def put_right(row_id):
        if row_id == 1:
            raise AssertionError("a promise of ours is broken")
        done.append(row_id)

    assert due.each([1, 2, 3], put_right) == 3
    assert done == [2, 3]
    assert "a promise of ours is broken" in caplog.text


@pytest.mark.django_db
def test_a_tick_goes_on_after_a_row_that_nobody_can_perform(monkeypatch, caplog):
    done = []

    def perform(row_id):
        if row_id == tasks[0]:
            raise AssertionError("a promise of ours is broken")
        done.append(row_id)

    tasks = [task.pk for _ in range(2) for task in tasks_of(started(ONE))]
    rows = due.Source(waiting=Task.objects.ready, since="ready_at", perform=perform)
    monkeypatch.setattr(due, "_sources", {"rows": rows})

    assert jobs.tick() == 2
    assert done == tasks[1:]
    assert "a promise of ours is broken" in caplog.text


def test_a_database_that_is_away_is_no_fault_of_a_row():
    def put_right(row_id):
        raise OperationalError("the server closed the connection")

    with pytest.raises(OperationalError):
        due.each([1, 2, 3], put_right)


@pytest.mark.django_db(transaction=True)
def test_the_steps_of_runs_go_before_the_news_and_the_news_soon_after(broker, monkeypatch):
    rows = {"news": [1], "step": []}
    seen = lambda: due.Sight(clock.now(), [(name, row) for name in rows for row in rows[name]], None, None)  # noqa: E731
    source = due.Source(waiting=Task.objects.ready, since="ready_at", perform=print)
    monkeypatch.setattr(due, "look", seen)
    monkeypatch.setattr(due, "_sources", {"news": replace(source, is_news=True), "step": source})
    monkeypatch.setattr("runs.broker.Conf.QUEUE_LIMIT", 10)
    given = lambda: [SignedPackage.loads(package)["args"] for _, package in broker.dequeue() or ()]  # noqa: E731

    assert given() == [("news", 1)]  # nobody waits for a step
    rows["news"], rows["step"] = [2], [7]
    assert given() == [("step", 7)]
    rows["step"] = [7, 8]
    assert given() == [("step", 8)]
    assert next(filter(None, iter(given, None))) == [("news", 2)]
    rows["news"], rows["step"] = [2, 3], [7, 8, 9]
    assert given() == [("news", 3), ("step", 9)]  # who had to wait does not wait on and on


@pytest.mark.django_db(transaction=True)
def test_the_broker_outlives_a_database_that_is_away(broker, monkeypatch):
    def away(*_):
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr("runs.broker.LONGEST_SLEEP", 0)
    monkeypatch.setattr(due, "rows_of", away)
    assert broker.dequeue() is None
    monkeypatch.undo()

    assert broker.dequeue() is None
