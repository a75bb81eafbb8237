# SPDX-License-Identifier: Apache-2.0
"""A process that performs a service step dies, or sleeps, at each point around the effect."""

from __future__ import annotations

import signal

import pytest
from django.db.models import F

from audit import actions
from audit.models import Entry
from runs import jobs
from runs.models import Effect, Task, TaskState
from tests.crash.house import begin_tick, charging, kill, tick_dies, told, until
from tests.factories import later, reloaded, started, tasks_of

pytestmark = pytest.mark.django_db(transaction=True)

LEASE = {"minutes": 3}  # longer than any here


def the_task(run) -> Task:
    (task,) = tasks_of(run)
    return task


def test_death_before_the_intent_is_committed_leaves_the_task_to_the_next_and_costs_nothing(environment, receiver):
    run = started(charging())

    tick_dies(environment, "effect.before_intended_commit")
    assert (the_task(run).state, the_task(run).fence, Effect.objects.count()) == (TaskState.PENDING, 0, 0)
    jobs.tick()

    assert (reloaded(run).state, the_task(run).lease_losses) == ("completed", 0)
    assert (len(receiver.asked), len(receiver.effects)) == (1, 1)


def test_death_between_intent_and_call_is_repaired_after_the_lease_and_the_effect_is_asked_for_once(
    environment, receiver
):
    run = started(charging())

    tick_dies(environment, "effect.after_intended")
    assert the_task(run).state == TaskState.RUNNING
    assert Effect.objects.get().state == "intended"
    assert receiver.asked == []
    jobs.tick()
    assert receiver.asked == [], "nobody else may call while the lease holds"
    later(**LEASE)
    jobs.tick()

    assert (reloaded(run).state, the_task(run).lease_losses, the_task(run).fence) == ("completed", 1, 2)
    assert (len(receiver.asked), len(receiver.effects)) == (1, 1)


@pytest.mark.parametrize("point", ["effect.after_call", "complete.before_commit"])
def test_death_between_call_and_confirmation_asks_again_under_the_same_key_and_takes_effect_once(
    environment, receiver, point
):
    run = started(charging())

    tick_dies(environment, point)
    assert the_task(run).state == TaskState.RUNNING
    assert Effect.objects.get().state == "intended"
    later(**LEASE)
    jobs.tick()

    assert (len(receiver.asked), len(receiver.effects)) == (2, 1)
    assert the_task(run).output == {"charge": 1}
    assert Effect.objects.get().state == "confirmed"
    assert told(run) == {
        actions.RUN_STARTED: 1,
        actions.TASK_CLAIMED: 2,
        actions.EFFECT_INTENDED: 2,
        actions.TASK_LEASE_LOST: 1,
        actions.EFFECT_CONFIRMED: 1,
        actions.TASK_COMPLETED: 1,
        actions.RUN_COMPLETED: 1,
    }


def test_death_after_the_commit_leaves_only_what_was_taken_up_with_it(environment, receiver):
    run = started(charging("pay", "post"))

    tick_dies(environment, "complete.after_commit")
    first, second = tasks_of(run)
    assert (first.state, second.state) == (TaskState.COMPLETED, TaskState.RUNNING)
    assert len(receiver.asked) == 1, "for what was taken up nothing has been asked yet"
    jobs.tick()
    assert reloaded(second).state == TaskState.RUNNING
    later(**LEASE)
    jobs.tick()

    assert reloaded(run).state == "completed"
    assert (len(receiver.asked), len(receiver.effects)) == (2, 2)
    assert [task.lease_losses for task in tasks_of(run)] == [0, 1]


def in_the_middle_of_its_call(environment, receiver):
    """A process that has asked for the effect and waits for the answer."""
    receiver.open.clear()
    process = begin_tick(environment)
    until(lambda: receiver.asked, "the call")
    return process


def test_a_holder_that_dies_at_work_is_followed_by_another(environment, receiver):
    run = started(charging())
    holder = in_the_middle_of_its_call(environment, receiver)

    kill(holder.pid)
    holder.communicate()
    receiver.open.set()
    later(**LEASE)
    jobs.tick()

    assert (reloaded(run).state, the_task(run).lease_losses, the_task(run).fence) == ("completed", 1, 2)
    assert (len(receiver.asked), len(receiver.effects)) == (2, 1)


def test_a_holder_that_sleeps_past_its_lease_is_refused_even_if_nobody_came_in_between(environment, receiver):
    run = started(charging())
    holder = in_the_middle_of_its_call(environment, receiver)
    holder.send_signal(signal.SIGSTOP)
    Task.objects.update(lease_expires_at=F("claimed_at"), next_check_at=F("claimed_at"))  # as if it had slept long

    receiver.open.set()
    holder.send_signal(signal.SIGCONT)
    said, _ = holder.communicate()

    assert holder.returncode == 0, said
    assert refused(run) == ["lease_lost"]
    assert Effect.objects.get().state == "intended", "neither the outcome nor the confirmation was kept"
    jobs.tick()
    assert (reloaded(run).state, told(run)[actions.TASK_COMPLETED]) == ("completed", 1)
    assert (len(receiver.asked), len(receiver.effects)) == (2, 1)


def test_a_holder_that_sleeps_while_another_finishes_is_refused_and_the_log_says_so(environment, receiver):
    run = started(charging())
    holder = in_the_middle_of_its_call(environment, receiver)
    holder.send_signal(signal.SIGSTOP)

    receiver.open.set()
    later(**LEASE)
    jobs.tick()
    assert (reloaded(run).state, the_task(run).fence) == ("completed", 2)
    before = told(run)
    holder.send_signal(signal.SIGCONT)
    said, _ = holder.communicate()

    assert holder.returncode == 0, said
    assert refused(run) == ["lease_lost"]
    assert told(run) - before == {actions.TASK_COMPLETE_DENIED: 1}
    assert (len(receiver.asked), len(receiver.effects)) == (2, 1)


def refused(run) -> list[str]:
    return list(Entry.objects.filter(run_id=run.pk, result="DENIED").values_list("code", flat=True))
