# SPDX-License-Identifier: Apache-2.0
"""Cancelling a run."""

import pytest

from approvals.models import ActionRequest
from audit import actions
from config.errors import Forbidden, NotFound, WrongState
from runs import due, services, stopping
from runs.models import TaskState
from tests.factories import (
    actions_of,
    claimed,
    founder,
    later,
    reloaded,
    started,
    steps,
    tasks_of,
    waiting_for_a_person,
)

pytestmark = pytest.mark.django_db

STORY = steps({"id": "one", "role": "agent:validator"}, {"id": "two", "role": "agent:validator"})


def cancel(run, actor=None, reason="not needed any more"):
    return stopping.cancel_run(run_id=run.pk, actor=actor or founder(), reason=reason)


def test_what_waits_is_closed_and_the_run_is_cancelled_at_once(validator):
    run = started(STORY)
    cancel(run)

    assert reloaded(run).state == "cancelled"
    assert [task.state for task in tasks_of(run)] == ["cancelled"]
    assert actions_of(run)[1:] == [actions.RUN_CANCELLING, actions.TASK_CANCELLED, actions.RUN_CANCELLED]
    assert services.claim_tasks(role="agent:validator", actor=validator) == []


def test_what_runs_keeps_its_lease_hears_of_it_and_may_finish(validator):
    run = started(STORY)
    lease = claimed(validator)
    cancel(run)

    assert reloaded(run).state == "cancelling"
    task = services.extend_lease(task_id=lease.task.pk, token=lease.token, actor=validator)
    assert task.run.state == "cancelling"
    services.complete_task(task_id=lease.task.pk, actor=validator, token=lease.token, outcome="PASS")
    assert reloaded(run).state == "cancelled"
    assert [task.state for task in tasks_of(run)] == ["completed"], "its completion advances nothing"


@pytest.mark.parametrize("ending", ["release", "fail", "lose"])
def test_however_the_last_holder_lets_go_the_run_ends_cancelled(validator, ending):
    run = started(STORY)
    lease = claimed(validator)
    cancel(run)
    held = {"task_id": lease.task.pk, "token": lease.token, "actor": validator}
    if ending == "release":
        services.release_task(**held)
    elif ending == "fail":
        services.fail_task(**held, error_type="Busy")
    else:
        later(seconds=61)
        due.sweep()

    assert reloaded(run).state == "cancelled"
    assert all(task.state in {"cancelled", "failed"} for task in tasks_of(run))


def test_an_open_question_is_not_required_any_more(validator, liaison):
    request = waiting_for_a_person(validator)
    cancel(request.run)

    request = ActionRequest.objects.get(pk=request.pk)
    assert request.state == "not_required"
    assert ActionRequest.objects.decidable_by(liaison).count() == 0
    assert actions_of(request.run)[-4:] == [
        actions.RUN_CANCELLING,
        actions.TASK_CANCELLED,
        actions.REQUEST_NOT_REQUIRED,
        actions.RUN_CANCELLED,
    ]


def test_the_starter_and_who_controls_may_and_others_may_not(validator, liaison, administrator, staff_member):
    runs = [started(), started()]
    assert cancel(runs[0], administrator).state == "cancelled"

    with pytest.raises(Forbidden):
        cancel(runs[1], liaison)
    with pytest.raises(NotFound):
        cancel(runs[1], staff_member)
    assert reloaded(runs[1]).state == "running"


def test_cancelling_twice_is_cancelling_once(validator):
    run = started(STORY)
    cancel(run)
    before = actions_of(run)

    assert cancel(run).state == "cancelled"
    assert actions_of(run) == before


def test_what_has_ended_cannot_be_cancelled(validator):
    run = started(steps({"id": "one", "role": "agent:validator"}))
    lease = claimed(validator)
    services.complete_task(task_id=lease.task.pk, actor=validator, token=lease.token, outcome="PASS")

    with pytest.raises(WrongState, match="ended: completed"):
        cancel(run)


def test_a_task_held_by_somebody_is_the_only_one_left_open(validator):
    run = started(STORY)
    claimed(validator)
    cancel(run)

    assert [task.state for task in tasks_of(run)] == [TaskState.RUNNING]
