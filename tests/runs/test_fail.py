# SPDX-License-Identifier: Apache-2.0
"""Faults, retries and lost leases."""

import pytest

from audit import actions
from audit.models import Entry
from config.errors import LeaseLost
from runs import due, services
from runs.models import LEASE_LOSSES_ALLOWED, TaskState
from tests.factories import actions_of, claimed, later, reloaded, started, steps, tasks_of

pytestmark = pytest.mark.django_db

ONCE_MORE = {"maximum_attempts": 2, "initial_interval": 30, "jitter": "none"}
STORY = steps({"id": "one", "role": "agent:validator", "retries": ONCE_MORE})


def fail(lease, actor, **given):
    return services.fail_task(
        task_id=lease.task.pk, actor=actor, token=lease.token, **{"error_type": "Busy", "message": "no line", **given}
    )


def test_a_fault_is_tried_again_as_a_new_row_after_its_delay(validator):
    run = started(STORY)
    fail(claimed(validator), validator)

    first, second = tasks_of(run)
    assert (first.state, first.error_type, first.retry_delay_seconds) == ("failed", "Busy", 30.0)
    assert first.retry_reason == "attempt 1 of 2 failed with Busy"
    assert (second.state, second.attempt, second.ready_at) == ("pending", 2, None)
    due.sweep()
    assert services.claim_tasks(role="agent:validator", actor=validator) == []

    later(seconds=31)
    due.sweep()
    lease = claimed(validator)
    assert (lease.task.pk, lease.task.attempt) == (second.pk, 2)
    assert reloaded(run).state == "running"


def test_the_last_attempts_fault_ends_the_run(validator):
    run = started(STORY)
    fail(claimed(validator), validator)
    later(seconds=31)
    due.sweep()
    fail(claimed(validator), validator)

    assert (reloaded(run).state, reloaded(run).ended_by_step) == ("failed", "one")
    assert [task.state for task in tasks_of(run)] == ["failed", "failed"]
    assert actions_of(run)[-2:] == [actions.TASK_FAILED, actions.RUN_FAILED]


def test_what_cannot_be_mended_is_not_tried_again(validator):
    run = started(STORY)
    fail(claimed(validator), validator, retryable=False)

    assert len(tasks_of(run)) == 1
    assert reloaded(run).state == "failed"


def test_the_log_tells_why_and_when_it_is_tried_again(validator):
    started(STORY)
    fail(claimed(validator), validator)

    entry = Entry.objects.get(action=actions.TASK_FAILED)
    assert entry.result == "FAIL"
    assert (entry.data["retry"], entry.data["delay_seconds"]) == (True, 30.0)
    assert entry.data["reason"] == "attempt 1 of 2 failed with Busy"
    assert entry.disclosed["message"] == "no line"
    assert entry.data["opened"][0]["attempt"] == 2


def test_the_same_fault_reported_twice_is_one(validator):
    run = started(STORY)
    lease = claimed(validator)
    fail(lease, validator)
    fail(lease, validator)

    assert len(tasks_of(run)) == 2
    with pytest.raises(LeaseLost):
        fail(lease, validator, message="another")


def test_a_lost_lease_gives_the_same_row_back_and_is_counted(validator):
    run = started(STORY)
    lease = claimed(validator)
    later(seconds=61)

    assert due.sweep() == 1
    task = reloaded(lease.task)
    assert (task.state, task.lease_losses, task.attempt, task.token_hash) == (TaskState.PENDING, 1, 1, "")
    assert actions_of(run)[-1] == actions.TASK_LEASE_LOST
    again = claimed(validator)
    assert (again.task.pk, again.fence) == (task.pk, 2)


def test_a_lease_that_still_holds_is_left_alone(validator):
    started(STORY)
    lease = claimed(validator)
    later(seconds=59)

    assert due.sweep() == 0
    assert reloaded(lease.task).state == TaskState.RUNNING


def test_a_task_that_keeps_losing_its_holder_becomes_an_incident(validator):
    run = started(STORY)
    for _ in range(LEASE_LOSSES_ALLOWED + 1):
        claimed(validator)
        later(seconds=61)
        due.sweep()

    (task,) = tasks_of(run)
    assert (task.state, task.retry_reason) == ("incident", f"its lease was lost {LEASE_LOSSES_ALLOWED + 1} times")
    assert actions_of(run)[-1] == actions.TASK_INCIDENT
    assert services.claim_tasks(role="agent:validator", actor=validator) == []


def test_nothing_open_is_ever_out_of_sight(validator):
    run = started(STORY)
    for hours in range(3):
        later(hours=2)
        due.sweep()
        (task,) = tasks_of(run)
        assert task.next_check_at is not None, hours
        assert task.state == "pending"
        assert reloaded(run).next_check_at is not None
