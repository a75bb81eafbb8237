# SPDX-License-Identifier: Apache-2.0
"""Completing a task with its outcome."""

import pytest

from approvals.models import ActionRequest, Notification
from audit import actions
from audit.models import Entry
from config.errors import Invalid, LeaseLost, RoleRequired
from runs import services
from runs.models import TaskState
from tests.factories import actions_of, claimed, reloaded, started, steps, tasks_of, waiting_for_a_person

pytestmark = pytest.mark.django_db

TWO = steps({"id": "one", "role": "agent:validator"}, {"id": "two", "role": "agent:validator"})


def complete(lease, actor, outcome="PASS", **given):
    return services.complete_task(task_id=lease.task.pk, actor=actor, token=lease.token, outcome=outcome, **given)


def test_a_passed_step_opens_the_next(validator):
    run = started(TWO)
    complete(claimed(validator), validator, output={"risk": "low"}, note="all in order")

    one, two = tasks_of(run)
    assert (one.state, one.outcome, one.output, one.note) == ("completed", "PASS", {"risk": "low"}, "all in order")
    assert one.ended_at is not None
    assert (two.step, two.state) == ("two", TaskState.PENDING)
    assert actions_of(run) == [actions.RUN_STARTED, actions.TASK_CLAIMED, actions.TASK_COMPLETED]


def test_the_last_step_completes_the_run(validator):
    run = started(steps({"id": "one", "role": "agent:validator"}))
    complete(claimed(validator), validator)

    assert reloaded(run).state == "completed"
    assert reloaded(run).ended_at is not None
    assert actions_of(run)[-2:] == [actions.TASK_COMPLETED, actions.RUN_COMPLETED]


def test_the_verdict_fail_ends_the_run_failed_and_is_not_tried_again(validator):
    run = started(TWO)
    complete(claimed(validator), validator, outcome="FAIL", note="no such street")

    (task,) = tasks_of(run)
    assert (task.state, task.outcome) == ("completed", "FAIL")
    assert (reloaded(run).state, reloaded(run).ended_by_step) == ("failed", "one")
    assert actions_of(run)[-2:] == [actions.TASK_COMPLETED, actions.RUN_FAILED]


def test_a_declared_option_is_an_outcome_and_an_undeclared_word_is_not(validator):
    run = started(steps({"id": "one", "role": "agent:validator", "options": ["forward"]}))
    lease = claimed(validator)

    with pytest.raises(Invalid, match="does not know the outcome 'maybe'"):
        complete(lease, validator, outcome="maybe")
    assert complete(lease, validator, outcome="forward").outcome == "forward"
    assert reloaded(run).state == "completed"


def test_the_same_call_again_is_answered_the_same_and_changes_nothing(validator):
    run = started(TWO)
    lease = claimed(validator)
    complete(lease, validator, output={"risk": "low"})
    before = actions_of(run)

    assert complete(lease, validator, output={"risk": "low"}).outcome == "PASS"
    assert actions_of(run) == before
    assert len(tasks_of(run)) == 2


@pytest.mark.parametrize("other", [{"outcome": "FAIL"}, {"output": {"risk": "high"}}, {"note": "x"}])
def test_another_body_under_the_same_token_is_refused(validator, other):
    started(TWO)
    lease = claimed(validator)
    complete(lease, validator, output={"risk": "low"})

    with pytest.raises(LeaseLost):
        complete(lease, validator, **{"output": {"risk": "low"}, **other})


def test_output_and_note_enter_the_log_only_as_salted_digests(validator):
    started(TWO)
    complete(claimed(validator), validator, output={"risk": "unusual"}, note="because of the bridge")

    entry = Entry.objects.get(action=actions.TASK_COMPLETED)
    assert b"unusual" not in bytes(entry.body)
    assert b"bridge" not in bytes(entry.body)
    assert entry.disclosed == {"note": "because of the bridge", "output": {"risk": "unusual"}}
    assert entry.data["opened"][0]["step"] == "two"


def test_people_see_nothing_before_the_agents_step_has_passed(validator, liaison):
    run = started()

    assert not ActionRequest.objects.exists()
    assert not Notification.objects.exists()
    assert [task.kind for task in tasks_of(run)] == ["agent"]
    complete(claimed(validator), validator)
    request = ActionRequest.objects.get(run=run)
    assert (request.role, request.state) == ("human:police_liaison", "pending")
    assert [n.recipient for n in Notification.objects.all()] == [liaison]


def test_a_failed_screening_asks_nobody(validator, liaison):
    started()
    complete(claimed(validator), validator, outcome="FAIL", note="date is in the past")

    assert not ActionRequest.objects.exists()
    assert not Notification.objects.exists()


def test_agents_have_no_way_to_complete_a_persons_task(validator, liaison):
    request = waiting_for_a_person(validator)

    with pytest.raises(RoleRequired):
        services.complete_task(task_id=request.task_id, actor=validator, token="", outcome="PASS")
    assert reloaded(request).state == "pending"
