# SPDX-License-Identifier: Apache-2.0
"""A web server dies before or after the commit of a call; the client, who has no answer, sends it again to another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from accounts.models import User
from approvals.models import ActionRequest, Vote
from audit import actions
from audit.models import Entry
from runs import due, services
from runs.models import Run, Task, TaskState
from tests.crash.house import told, web_dies
from tests.factories import claimed, later, published, reloaded, started, steps, tasks_of, waiting_for_a_person
from tests.people import Api, key_of

pytestmark = pytest.mark.django_db(transaction=True)

TWO = steps({"id": "one", "role": "agent:validator"}, {"id": "two", "role": "agent:validator"})
REPLAYED = "Idempotency-Replayed"


@pytest.fixture
def dies(environment, tmp_path: Path) -> Callable[..., None]:
    return lambda point, path, **call: web_dies(environment, tmp_path / "dies.log", point, path, **call)


def again(path: str, *, json: Any, headers: dict[str, str]) -> Any:
    return Api().post(path, json, headers=headers)


def call_of(user: User, body: Any, *, key: str = "") -> dict[str, Any]:
    _, token = key_of(user)
    repeatable = {"Idempotency-Key": key} if key else {}
    return {"json": body, "headers": {"Authorization": f"Bearer {token}", **repeatable}}


# Starting -------------------------------------------------------------------------------------------------


def acts() -> int:
    """Entries of what was done; the process that dies has a signing key of its own, and says so."""
    return Entry.objects.exclude(action=actions.SIGNING_KEY_ADDED).count()


def test_a_start_lost_before_its_commit_has_left_nothing_and_is_sent_again(validator, dies):
    published()
    start = call_of(validator, {"playbook": "protest_permit", "payload": {"form_id": 1}}, key="permit-1")
    entries = acts()

    dies("start.before_commit", "/acts/run", **start)
    assert (Run.objects.count(), Task.objects.count(), acts()) == (0, 0, entries)
    answer = again("/acts/run", **start)

    assert (answer.status_code, REPLAYED in answer.headers) == (202, False)
    assert Run.objects.get().pk == answer.json()["run_id"]


def test_a_start_lost_after_its_commit_is_answered_with_the_run_that_was_started(validator, dies):
    published()
    start = call_of(validator, {"playbook": "protest_permit", "payload": {"form_id": 1}}, key="permit-1")

    dies("start.after_commit", "/acts/run", **start)
    run = Run.objects.get()
    assert (len(tasks_of(run)), told(run)) == (1, {actions.RUN_STARTED: 1})
    answer = again("/acts/run", **start)

    assert (answer.status_code, answer.headers[REPLAYED]) == (202, "true")
    assert answer.json()["run_id"] == run.pk
    assert (Run.objects.count(), told(run)) == (1, {actions.RUN_STARTED: 1})


# Claiming -------------------------------------------------------------------------------------------------


def test_a_claim_lost_before_its_commit_spends_no_token(validator, dies):
    run = started(TWO)

    dies("claim.before_commit", "/acts/tasks/next", **call_of(validator, {"role": "agent:validator"}))
    (task,) = tasks_of(run)
    assert (task.state, task.fence, told(run)) == (TaskState.PENDING, 0, {actions.RUN_STARTED: 1})

    assert claimed(validator).fence == 1


def test_a_claim_lost_after_its_commit_is_offered_again_when_its_lease_is_over(validator, dies):
    run = started(TWO)

    dies("claim.after_commit", "/acts/tasks/next", **call_of(validator, {"role": "agent:validator"}))
    (task,) = tasks_of(run)
    assert (task.state, task.fence) == (TaskState.RUNNING, 1)
    assert services.claim_tasks(role="agent:validator", actor=validator) == []
    later(seconds=61)
    due.sweep()

    assert claimed(validator).fence == 2
    assert tasks_of(run)[0].lease_losses == 1
    assert told(run)[actions.TASK_LEASE_LOST] == 1


# Completing -----------------------------------------------------------------------------------------------


def test_a_completion_lost_before_its_commit_is_sent_again_under_the_same_token(validator, dies):
    run = started(TWO)
    lease = claimed(validator)
    path, done = completion(lease, validator, "")

    dies("complete.before_commit", path, **done)
    (task,) = tasks_of(run)
    assert (task.state, told(run)[actions.TASK_COMPLETED]) == (TaskState.RUNNING, 0)
    answer = again(path, **done)

    assert answer.status_code == 200
    assert_completed_once(run)


@pytest.mark.parametrize("key", ["", "done-1"])
def test_a_completion_lost_after_its_commit_is_answered_again_and_counts_once(validator, dies, key):
    run = started(TWO)
    lease = claimed(validator)
    path, done = completion(lease, validator, key)

    dies("complete.after_commit", path, **done)
    assert_completed_once(run)
    answer = again(path, **done)

    assert (answer.status_code, answer.json()["outcome"], answer.json()["status"]) == (200, "PASS", "completed")
    assert_completed_once(run)


def test_another_outcome_under_the_token_of_a_lost_completion_is_refused(validator, dies, api_for):
    run = started(TWO)
    lease = claimed(validator)
    path, done = completion(lease, validator, "")

    dies("complete.after_commit", path, **done)
    answer = api_for(validator).post(path, {"token": lease.token, "outcome": "FAIL"})

    assert (answer.status_code, answer.json()["code"]) == (409, "lease_lost")
    assert_completed_once(run)


def completion(lease, actor: User, key: str) -> tuple[str, dict[str, Any]]:
    body = {"token": lease.token, "outcome": "PASS", "output": {"risk": "low"}}
    return f"/acts/tasks/{lease.task.pk}/complete", call_of(actor, body, key=key)


def assert_completed_once(run: Run) -> None:
    first, second = tasks_of(run)
    assert (first.state, first.outcome, second.state) == (TaskState.COMPLETED, "PASS", TaskState.PENDING)
    assert told(run)[actions.TASK_COMPLETED] == 1


# Deciding -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["decide.before_commit", "decide.after_commit"])
def test_a_decision_whose_answer_is_lost_is_sent_again_and_counts_once(validator, liaison, dies, point):
    request = waiting_for_a_person(validator)
    path = f"/hitl/requests/{request.pk}/fulfill"
    decision = call_of(liaison, {"response_data": {}, "notes": "the route is clear"}, key="decision-1")

    dies(point, path, **decision)
    committed = point == "decide.after_commit"
    assert (Vote.objects.count(), reloaded(request).state) == ((1, "fulfilled") if committed else (0, "pending"))
    answer = again(path, **decision)

    assert (answer.status_code, REPLAYED in answer.headers) == (200, committed)
    decided = ActionRequest.objects.get()
    assert (decided.state, decided.decided_by, Vote.objects.count()) == ("fulfilled", liaison, 1)
    assert told(request.run)[actions.REQUEST_FULFILLED] == 1
