# SPDX-License-Identifier: Apache-2.0
"""An agent stops in the middle of its task, asks a person, and goes on once it is approved."""

import pytest

from approvals import services as approvals
from approvals.models import ActionRequest
from audit import actions
from config.errors import Invalid, LeaseLost, WrongState
from runs import asking, due, services, stopping
from tests.factories import actions_of, claimed, later, reloaded, started, steps, tasks_of
from tests.people import agent

pytestmark = pytest.mark.django_db

STORY = steps({"id": "deploy", "role": "agent:validator", "token_ttl": 300}, {"id": "tell", "role": "agent:validator"})


def ask(lease, actor, **given):
    asked = {"reason": "Deploy v1.2.3 to production", "role": "human:police_liaison", **given}
    return asking.request_approval(task_id=lease.task.pk, token=lease.token, actor=actor, **asked)


def resume(lease, actor):
    return asking.resume_task(task_id=lease.task.pk, token=lease.token, actor=actor)


def decide(request_id, actor, outcome="PASS", reason=""):
    approvals.decide(request_id=request_id, actor=actor, outcome=outcome, reason=reason)


@pytest.fixture
def lease(validator):
    started(STORY)
    return claimed(validator)


def test_asking_ends_the_lease_and_opens_a_request_with_all_it_says(lease, validator, liaison):
    request_id, task = ask(
        lease, validator, context={"version": "1.2.3"}, options=["proceed", "cancel"], severity="critical"
    )

    request = ActionRequest.objects.get(pk=request_id)
    assert (task.state, reloaded(task).lease_expires_at) == ("awaiting_approval", None)
    assert (request.requester, request.title, request.severity) == (
        validator,
        "Deploy v1.2.3 to production",
        "critical",
    )
    assert request.asked["context"] == {"version": "1.2.3"}
    assert [option["key"] for option in request.options] == ["proceed", "cancel"]
    with pytest.raises(LeaseLost):
        services.complete_task(task_id=task.pk, token=lease.token, actor=validator, outcome="PASS")


def test_approved_the_same_agent_resumes_with_a_new_token_and_fence(lease, validator, liaison):
    request_id, _ = ask(lease, validator)
    decide(request_id, liaison, reason="go ahead")
    assert tasks_of(lease.task.run)[0].state == "approved"

    again = resume(lease, validator)

    assert (again.fence, reloaded(again.task).state) == (2, "running")
    assert again.token != lease.token
    assert again.task.approval["by"] == "liaison"
    assert again.task.approval["reason"] == "go ahead"
    services.complete_task(task_id=again.task.pk, token=again.token, actor=validator, outcome="PASS")
    assert [task.step for task in tasks_of(again.task.run)] == ["deploy", "tell"]
    assert actions_of(again.task.run)[2:] == [
        actions.TASK_AWAITING,
        actions.REQUEST_CREATED,
        actions.REQUEST_FULFILLED,
        actions.TASK_APPROVED,
        actions.TASK_RESUMED,
        actions.RECEIPT_SPENT,
        actions.TASK_COMPLETED,
    ]


def test_rejected_the_task_and_the_run_have_ended_with_the_persons_reason(lease, validator, liaison):
    request_id, _ = ask(lease, validator)
    decide(request_id, liaison, "FAIL", "not on a Friday")

    (task,) = tasks_of(lease.task.run)
    assert (task.state, task.outcome, task.note) == ("rejected", "FAIL", "not on a Friday")
    assert (reloaded(lease.task.run).state, reloaded(lease.task.run).ended_by_step) == ("failed", "deploy")
    with pytest.raises(WrongState, match="rejected"):
        resume(lease, validator)


def test_the_chosen_option_is_handed_to_the_agent(lease, validator, liaison):
    request_id, _ = ask(lease, validator, options=["proceed", "cancel"])
    decide(request_id, liaison, "cancel")

    assert resume(lease, validator).task.approval["outcome"] == "cancel"


def test_it_cannot_resume_before_the_answer(lease, validator, liaison):
    ask(lease, validator)

    with pytest.raises(WrongState, match="awaiting approval"):
        resume(lease, validator)


def test_nobody_else_resumes_it_and_no_other_token_does(lease, validator, liaison):
    request_id, _ = ask(lease, validator)
    decide(request_id, liaison)
    colleague = agent("colleague", "agent:validator")

    with pytest.raises(LeaseLost):
        asking.resume_task(task_id=lease.task.pk, token=lease.token, actor=colleague)
    with pytest.raises(LeaseLost):
        asking.resume_task(task_id=lease.task.pk, token="lease_other", actor=validator)
    resume(lease, validator)
    with pytest.raises(WrongState):
        resume(lease, validator)


def test_an_agent_that_died_while_waiting_leaves_the_answer_to_the_next(lease, validator, liaison):
    request_id, _ = ask(lease, validator)
    decide(request_id, liaison, reason="go ahead")
    later(seconds=301)
    due.sweep()
    colleague = agent("colleague", "agent:validator")

    again = claimed(colleague)

    assert (again.task.pk, again.fence) == (lease.task.pk, 2)
    assert again.task.approval["reason"] == "go ahead"
    assert reloaded(again.task).lease_losses == 0
    with pytest.raises(LeaseLost):
        resume(lease, validator)


def test_an_agent_that_is_slow_but_in_time_still_resumes(lease, validator, liaison):
    request_id, _ = ask(lease, validator)
    later(hours=5)  # a person may take their time: only the answer starts the clock
    due.sweep()
    decide(request_id, liaison)
    later(seconds=299)
    due.sweep()

    assert resume(lease, validator).fence == 2


def test_the_same_question_sent_twice_is_one(lease, validator, liaison):
    first, _ = ask(lease, validator)
    second, _ = ask(lease, validator)

    assert first == second
    assert ActionRequest.objects.count() == 1


def test_who_asked_does_not_answer_and_machines_are_not_asked(lease, validator):
    with pytest.raises(Invalid, match="no role of people"):
        ask(lease, validator, role="agent:validator")
    assert reloaded(lease.task).state == "running"


def test_cancelling_the_run_closes_the_question(lease, validator, liaison):
    request_id, _ = ask(lease, validator)
    stopping.cancel_run(run_id=lease.task.run_id, actor=lease.task.run.started_by)

    assert ActionRequest.objects.get(pk=request_id).state == "not_required"
    assert reloaded(lease.task.run).state == "cancelled"


def test_all_seven_states_are_reached_over_the_api(validator, liaison, api_for):
    agents, people = api_for(validator), api_for(liaison)
    seen = []
    for verdict in ("fulfill", "reject", "fail"):
        run = started(steps({"id": "deploy", "role": "agent:validator", "retries": 0}))

        def state(run=run):
            seen.append(agents.get(f"/acts/tasks/{tasks_of(run)[0].pk}").json()["status"])

        state()
        claim = agents.post("/acts/tasks/next", {"role": "agent:validator"}).json()
        state()
        url, token = f"/acts/tasks/{claim['task']['id']}", {"token": claim["token"]}
        if verdict == "fail":
            assert agents.post(f"{url}/fail", {**token, "error_type": "X", "message": "m"}).status_code == 200
            state()
            continue
        asked = agents.post(f"{url}/request-approval", {**token, "reason": "may I?", "role": "human:police_liaison"})
        assert asked.status_code == 200
        state()
        body = {"reason": "no"} if verdict == "reject" else {}
        assert people.post(f"/hitl/requests/{asked.json()['request_id']}/{verdict}", body).status_code == 200
        state()
        if verdict == "reject":
            continue
        again = agents.post(f"{url}/resume", token)
        assert again.status_code == 200
        assert again.json()["fence"] == 2
        assert agents.post(f"{url}/complete", {"token": again.json()["token"], "outcome": "PASS"}).status_code == 200
        state()

    assert seen == [
        *("pending", "running", "awaiting_approval", "approved", "completed"),
        *("pending", "running", "awaiting_approval", "rejected"),
        *("pending", "running", "failed"),
    ]
