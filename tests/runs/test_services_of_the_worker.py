# SPDX-License-Identifier: Apache-2.0
"""What the worker does with a service step: call the action, keep its result, report its faults."""

from contextlib import suppress

import pytest
from django.db import transaction

from audit import actions
from audit.models import Entry
from runs import jobs
from runs.claiming import claim_for_worker
from runs.models import Effect
from runs.services import complete_service_task
from tests.factories import actions_of, later, reloaded, started, steps, tasks_of
from tests.runs import actions as called

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _marks(tmp_path, monkeypatch):
    monkeypatch.setenv("HMS_ACT_TEST_MARKS", str(tmp_path))


def pay(call: str, **step):
    return steps({"id": "pay", "role": "svc:finance", "call": call, **step})


def test_ticks_alone_perform_a_service_step():
    run = started(pay("tests.charge $40"), payload={"form_id": 9})

    assert jobs.tick() == 1
    (task,) = tasks_of(run)
    assert (task.state, task.outcome, task.assignee.username) == ("completed", "PASS", "worker")
    assert task.output == {"charged": {"amount": "40.00", "currency": "USD"}, "for": {"form_id": 9}, "after": {}}
    assert reloaded(run).state == "completed"
    assert actions_of(run) == [
        actions.RUN_STARTED,
        actions.TASK_CLAIMED,
        actions.EFFECT_INTENDED,
        actions.EFFECT_CONFIRMED,
        actions.TASK_COMPLETED,
        actions.RUN_COMPLETED,
    ]
    assert jobs.tick() == 0


def test_every_attempt_at_an_effect_carries_the_same_key():
    run = started(pay("tests.busy_once", retries={"maximum_attempts": 3, "initial_interval": 5, "jitter": "none"}))
    jobs.tick()
    later(seconds=6)
    jobs.tick()

    assert [task.state for task in tasks_of(run)] == ["failed", "completed"]
    first, second = called.marks()
    assert first == second == Effect.objects.get().key
    assert Effect.objects.get().result == {"attempt": 2}


def test_two_runs_have_two_keys():
    started(pay("tests.charge $40")), started(pay("tests.charge $40"))
    jobs.tick()

    assert len(set(called.marks())) == 2


def test_a_confirmed_result_is_returned_and_not_asked_for_again():
    run = started(pay("tests.charge $40"))
    (task,) = tasks_of(run)
    ((lease, effect),) = jobs.claim_for_worker(task_ids=[task.pk], actor=_worker(), holder="dies")
    Effect.objects.filter(pk=effect.pk).update(state="confirmed", result={"charge": 1}, confirmed_at=run.created_at)
    later(minutes=5)  # the lease is lost; the effect is not
    jobs.tick()

    assert called.marks() == []
    assert tasks_of(run)[0].output == {"charge": 1}
    assert Entry.objects.filter(action=actions.EFFECT_REUSED).count() == 1
    assert lease.token


def test_a_permanent_fault_is_not_tried_again():
    run = started(pay("tests.no_such_card", retries=3))
    jobs.tick()

    (task,) = tasks_of(run)
    assert (task.state, task.error_type, task.error_message) == ("failed", "NoSuchCard", "card 4 does not exist")
    assert reloaded(run).state == "failed"


def test_a_verdict_of_no_completes_the_step_with_fail():
    run = started(pay("tests.says_no", retries=3))
    jobs.tick()

    (task,) = tasks_of(run)
    assert (task.state, task.outcome, task.note) == ("completed", "FAIL", "the account is closed")
    assert reloaded(run).state == "failed"


def test_a_result_that_json_cannot_carry_is_a_fault_of_the_action():
    run = started(pay("tests.not_json"))
    jobs.tick()

    (task,) = tasks_of(run)
    assert (task.state, task.error_type) == ("failed", "Permanent")
    assert "took effect but returned what JSON cannot carry" in task.error_message


def test_an_action_this_worker_does_not_know_says_what_to_check(monkeypatch):
    run = started(pay("tests.charge $40"))
    monkeypatch.delitem(jobs.catalogue._actions, "tests.charge")
    jobs.tick()

    assert "is its module in HMS_ACT_ACTIONS?" in tasks_of(run)[0].error_message


def test_a_result_that_comes_after_the_lease_changes_nothing(caplog):
    run = started(pay("tests.charge $40"))
    (task,) = tasks_of(run)
    ((lease, effect),) = jobs.claim_for_worker(task_ids=[task.pk], actor=_worker(), holder="slow")
    later(minutes=5)

    with pytest.raises(jobs.LeaseLost):
        jobs.complete_service_task(lease=lease, effect=effect, actor=_worker(), result={})
    assert Effect.objects.get().state == "intended", "neither the outcome nor the confirmation was kept"
    assert reloaded(run).state == "running"


def test_two_ticks_at_once_do_the_work_once():
    run = started(pay("tests.charge $40"))
    (task,) = tasks_of(run)
    jobs.perform("task", task.pk)
    jobs.perform("task", task.pk)

    assert len(called.marks()) == 1


def _worker():
    return jobs.User.objects.get(username=jobs.WORKER_USERNAME)


def test_a_result_whose_commit_was_lost_is_confirmed_when_it_is_told_again(worker_user):
    run = started(pay("tests.charge"))
    (task,) = tasks_of(run)
    ((lease, effect),) = claim_for_worker(task_ids=[task.pk], actor=worker_user, holder="here:1")
    told = {"lease": lease, "effect": effect, "actor": worker_user, "result": {"charged": 40}}

    with suppress(LostCommit), transaction.atomic():
        complete_service_task(**told)
        raise LostCommit
    assert tasks_of(run)[0].state == "running"
    complete_service_task(**told)

    assert Effect.objects.get().state == "confirmed"
    assert actions_of(run)[-3:] == [actions.EFFECT_CONFIRMED, actions.TASK_COMPLETED, actions.RUN_COMPLETED]


class LostCommit(Exception):
    """What the act wrote is undone, and its caller does not know."""
