# SPDX-License-Identifier: Apache-2.0
"""A task that kills every process that takes it up."""

from __future__ import annotations

import pytest

from audit import actions
from runs.models import LEASE_LOSSES_ALLOWED, TaskState
from tests.crash.house import charging, has_ended, told, until, worker
from tests.factories import reloaded, started, steps, tasks_of

pytestmark = pytest.mark.django_db(transaction=True)

POISON = steps({"id": "poison", "role": "svc:finance", "call": "crash.poison", "token_ttl": 1}, id="poison")


def test_it_ends_as_an_incident_and_the_queue_goes_on(environment, receiver, tmp_path):
    poisoned = started(POISON)
    with worker(environment, tmp_path / "worker.log"):
        until(lambda: the_task(poisoned).lease_losses > 0, "the first death")
        others = [started(charging("pay", "post")) for _ in range(5)]
        until(lambda: all(has_ended(run) for run in others), "the end of the others")
        until(lambda: the_task(poisoned).state == TaskState.INCIDENT, "the incident")
        after = started(charging())
        until(lambda: has_ended(after), "the end of a later one")

    assert {reloaded(run).state for run in [*others, after]} == {"completed"}
    assert (len(receiver.asked), len(receiver.effects)) == (11, 11)
    task = the_task(poisoned)
    assert task.retry_reason == f"its lease was lost {LEASE_LOSSES_ALLOWED + 1} times"
    assert told(poisoned) == {
        actions.RUN_STARTED: 1,
        actions.TASK_CLAIMED: LEASE_LOSSES_ALLOWED + 1,
        actions.EFFECT_INTENDED: LEASE_LOSSES_ALLOWED + 1,
        actions.TASK_LEASE_LOST: LEASE_LOSSES_ALLOWED,
        actions.TASK_INCIDENT: 1,
    }


def the_task(run):
    (task,) = tasks_of(run)
    return task
