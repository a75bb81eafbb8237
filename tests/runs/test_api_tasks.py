# SPDX-License-Identifier: Apache-2.0
"""`/acts/tasks…`: claiming the next task, keeping it, ending it, looking at tasks."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.services import deactivate_user, revoke_key
from audit.models import Entry
from audit.services import SYSTEM
from runs.models import Task, TaskState
from tests.contract.answers import is_moment, json_of, paths_of, problem
from tests.factories import PERMIT, claimed, later, published, reloaded, started, steps, tasks_of, waiting_for_a_person
from tests.people import Api, agent, key_of, person

pytestmark = pytest.mark.django_db

NEXT = "/acts/tasks/next"
CLAIMED = {"task", "token", "fence", "expires_at"}
CLAIMED_TASK = {
    "id",
    "run_id",
    "step",
    "path",
    "attempt",
    "role",
    "call",
    "arguments",
    "options",
    "input",
    "payload",
    "data",
    "deadline",
    "approval",
}
TASK = {
    "id",
    "run_id",
    "step",
    "path",
    "attempt",
    "kind",
    "role",
    "status",
    "assignee",
    "outcome",
    "input",
    "item",
    "output",
    "note",
    "error_type",
    "error_message",
    "retry_reason",
    "resolution",
    "resolved_at",
    "created_at",
    "claimed_at",
    "expires_at",
    "ended_at",
}
VALIDATOR, LIAISON = {"role": "agent:validator"}, {"role": "human:police_liaison"}


@pytest.fixture
def api(api_for, validator) -> Api:
    return api_for(validator)


@pytest.fixture
def desk(api_for, liaison) -> Api:
    """Of the police liaison."""
    return api_for(liaison)


def take(api: Api, role: str = "agent:validator") -> tuple[str, str]:
    """(address of the claimed task, its token)"""
    claim = json_of(api.post(NEXT, {"role": role}))
    return f"/acts/tasks/{claim['task']['id']}", claim["token"]


# The next task ----------------------------------------------------------------------------------------------


def test_the_next_task_comes_with_all_that_is_needed_to_do_it(api):
    run = started(payload={"form_id": 123})

    claim = json_of(api.post(NEXT, VALIDATOR))

    task = Task.objects.get()
    assert set(claim) == CLAIMED
    assert claim["token"].startswith("lease_")
    assert claim["fence"] == 1
    assert is_moment(claim["expires_at"])
    assert claim["task"] == {
        "id": task.pk,
        "run_id": run.pk,
        "step": "AI-Screen",
        "path": "AI-Screen",
        "attempt": 1,
        "role": "agent:validator",
        "call": "ai_validator.check_form",
        "arguments": {},
        "options": [],
        "input": {"form_id": 123, "data": {}},
        "payload": {"form_id": 123},
        "data": {},
        "deadline": None,
        "approval": None,
    }


def test_a_later_step_sees_the_outputs_of_earlier_ones(api):
    screen = {"id": "AI-Screen", "role": "agent:validator"}
    letter = {"id": "Letter", "role": "agent:validator", "options": ["LONG", "SHORT"]}
    started(steps(screen, letter))
    address, token = take(api)
    json_of(api.post(f"{address}/complete", {"token": token, "outcome": "PASS", "output": {"risk": "low"}}))

    task = json_of(api.post(NEXT, VALIDATOR))["task"]

    assert (task["step"], task["data"], task["options"]) == (
        "Letter",
        {"AI-Screen": {"risk": "low"}},
        ["LONG", "SHORT"],
    )


def test_without_a_ready_task_the_answer_is_204_and_empty(api):
    answer = api.post(NEXT, VALIDATOR)

    assert (answer.status_code, answer.content) == (204, b"")
    assert "HMS-Act-Wait" not in answer.headers


def test_more_than_one_may_be_asked_for(api):
    for _ in range(3):
        started()

    two = json_of(api.post(NEXT, {**VALIDATOR, "limit": 2}))
    last = json_of(api.post(NEXT, {**VALIDATOR, "limit": 20}))

    assert set(two) == set(last) == {"tasks"}
    claims = two["tasks"] + last["tasks"]
    assert all(set(claim) == CLAIMED and set(claim["task"]) == CLAIMED_TASK for claim in claims)
    assert [claim["task"]["id"] for claim in claims] == list(Task.objects.order_by("id").values_list("pk", flat=True))
    assert len({claim["token"] for claim in claims}) == 3
    assert api.post(NEXT, {**VALIDATOR, "limit": 2}).status_code == 204


def test_the_more_urgent_comes_first_then_the_older(api):
    started()
    hurried = started({**PERMIT, "steps": [{**PERMIT["steps"][0], "priority": "critical"}]})

    assert json_of(api.post(NEXT, VALIDATOR))["task"]["run_id"] == hurried.pk


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "role"),
        ({"role": ""}, "role"),
        ({"role": "agent:validator", "wait": 61}, "wait"),
        ({"role": "agent:validator", "wait": -1}, "wait"),
        ({"role": "agent:validator", "wait": "nan"}, "wait"),
        ({"role": "agent:validator", "wait": "long"}, "wait"),
        ({"role": "agent:validator", "limit": 0}, "limit"),
        ({"role": "agent:validator", "limit": 21}, "limit"),
        ({"role": "agent:validator", "limit": True}, "limit"),
        ({"role": "agent:validator", "roles": []}, "roles"),
    ],
)
def test_a_request_that_cannot_be_is_a_422_that_names_the_field(api, body, path):
    assert paths_of(problem(api.post(NEXT, body), 422, "invalid")) == [path]


@pytest.mark.parametrize("role", ["agent:other", "svc:finance", "administrator", "validator", "agent:", "*"])
def test_a_role_one_is_not_in_is_a_403(api, role):
    started()

    problem(api.post(NEXT, {"role": role}), 403, "role_required")


@pytest.mark.parametrize("who", ["validator", "finance"])
def test_tasks_of_people_are_not_for_agents_and_services(api_for, request, who):
    waiting_for_a_person(request.getfixturevalue("validator"))

    problem(api_for(request.getfixturevalue(who)).post(NEXT, LIAISON), 403, "forbidden")


def test_a_person_claims_the_oldest_request_of_their_role_as_its_task(desk, validator, liaison):
    first, _second = waiting_for_a_person(validator), waiting_for_a_person(validator)

    claim = json_of(desk.post(NEXT, LIAISON))

    assert set(claim) == CLAIMED
    assert set(claim["task"]) == CLAIMED_TASK
    assert (claim["task"]["id"], claim["task"]["step"]) == (first.task_id, "Human-Approve")
    assert claim["task"]["payload"] == {"form_id": 123}
    assert claim["task"]["data"] == {"AI-Screen": {"risk": "low"}}
    assert (reloaded(first).state, reloaded(first).claimed_by) == ("in_review", liaison)


def test_a_person_is_not_given_what_they_started_themselves(api, api_for):
    published()
    chief = api_for(person("chief", "administrator", "human:police_liaison"))
    json_of(chief.post("/acts/run", {"playbook": "protest_permit"}), 202)
    address, token = take(api)
    json_of(api.post(f"{address}/complete", {"token": token, "outcome": "PASS"}))

    assert chief.post(NEXT, LIAISON).status_code == 204


# Completing -------------------------------------------------------------------------------------------------


def test_completing_answers_the_task(api):
    run = started()
    address, token = take(api)

    answer = json_of(
        api.post(f"{address}/complete", {"token": token, "outcome": "PASS", "output": {"risk": "low"}, "note": "Fine."})
    )

    assert set(answer) == TASK
    assert (answer["status"], answer["outcome"], answer["output"], answer["note"]) == (
        "completed",
        "PASS",
        {"risk": "low"},
        "Fine.",
    )
    assert (answer["run_id"], answer["assignee"], answer["expires_at"]) == (run.pk, "validator", None)
    assert all(is_moment(answer[name]) for name in ("created_at", "claimed_at", "ended_at"))


def test_the_same_completion_again_is_the_same_answer_and_one_entry(api):
    started()
    address, token = take(api)
    body = {"token": token, "outcome": "PASS", "output": {"risk": "low"}}

    answers = [json_of(api.post(f"{address}/complete", body)) for _ in range(3)]

    assert answers[0] == answers[1] == answers[2]
    assert Entry.objects.filter(action="task.completed").count() == 1


@pytest.mark.parametrize(
    "other", [{"outcome": "FAIL"}, {"output": {"risk": "high"}}, {"note": "and more"}, {"token": "lease_other"}]
)
def test_another_completion_afterwards_is_a_409(api, other):
    started()
    address, token = take(api)
    body = {"token": token, "outcome": "PASS", "output": {"risk": "low"}}
    json_of(api.post(f"{address}/complete", body))

    problem(api.post(f"{address}/complete", {**body, **other}), 409, "lease_lost")
    assert Task.objects.get(step="AI-Screen").outcome == "PASS"


@pytest.mark.parametrize("output", [None, 0, "", [], {}, False, [1, {"a": None}], "text", 1.5])
def test_any_json_is_an_output_and_comes_back_as_it_was(api, output):
    started()
    address, token = take(api)

    json_of(api.post(f"{address}/complete", {"token": token, "outcome": "PASS", "output": output}))

    assert json_of(api.get(address))["output"] == output


def test_an_outcome_the_step_does_not_declare_is_a_422_that_names_the_known_ones(api):
    started()
    address, token = take(api)

    document = problem(api.post(f"{address}/complete", {"token": token, "outcome": "MAYBE"}), 422, "invalid")

    assert paths_of(document) == ["outcome"]
    assert "PASS, FAIL" in document["errors"][0]["remedy"]
    assert reloaded(Task.objects.get()).state == TaskState.RUNNING


ENDINGS = {
    "complete": {"outcome": "PASS"},
    "fail": {"error_type": "Busy"},
    "heartbeat": {},
    "renew": {},
    "release": {},
}


@pytest.mark.parametrize("act", ENDINGS)
def test_no_token_or_a_wrong_one_is_of_no_use(api, act):
    started()
    address, token = take(api)

    for wrong in ("lease_wrong", token[:-1], token.upper(), "x"):
        problem(api.post(f"{address}/{act}", {**ENDINGS[act], "token": wrong}), 409, "lease_lost")
    without = api.post(f"{address}/{act}", ENDINGS[act])
    problem(without, *((409, "lease_lost") if act == "complete" else (422, "invalid")))
    assert Task.objects.get().state == TaskState.RUNNING


@pytest.mark.parametrize("act", ENDINGS)
def test_the_token_in_other_hands_is_of_no_use(api, api_for, liaison, act):
    started()
    address, token = take(api)
    body = {**ENDINGS[act], "token": token}

    colleague, stranger = agent("colleague", "agent:validator"), agent("stranger", "agent:elsewhere")

    problem(api_for(colleague).post(f"{address}/{act}", body), 409, "lease_lost")
    problem(api_for(liaison).post(f"{address}/{act}", body), 403, "role_required")
    problem(api_for(stranger).post(f"{address}/{act}", body), 404, "not_found")
    assert Task.objects.get().state == TaskState.RUNNING


@pytest.mark.parametrize("act", ENDINGS)
def test_from_its_end_on_a_lease_is_lost_reaped_or_not(api, act):
    started()
    address, token = take(api)
    later(seconds=60)

    problem(api.post(f"{address}/{act}", {**ENDINGS[act], "token": token}), 409, "lease_lost")
    denied = Entry.objects.latest("id")
    assert (denied.result, denied.code, denied.task_id) == ("DENIED", "lease_lost", Task.objects.get().pk)


@pytest.mark.parametrize("act", ENDINGS)
def test_a_task_that_is_not_there_is_a_404(api, act):
    problem(api.post(f"/acts/tasks/9001/{act}", {**ENDINGS[act], "token": "lease_x"}), 404, "not_found")


@pytest.mark.parametrize("act", ENDINGS)
def test_whoever_was_shut_out_loses_the_task_at_once(api_for, validator, administrator, act):
    key, secret = key_of(validator)
    holder = Api()
    holder.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    started()
    address, token = take(holder)
    body = {**ENDINGS[act], "token": token}

    revoke_key(token_key=key.token_key, actor=administrator, reason="lost")
    problem(holder.post(f"{address}/{act}", body), 401, "not_authenticated")
    problem(api_for(validator).post(f"{address}/{act}", body), 409, "lease_lost")
    assert Task.objects.get().state == TaskState.PENDING

    second = api_for(validator)
    address, token = take(second)
    deactivate_user(user_id=validator.pk, actor=SYSTEM, reason="left")
    problem(second.post(f"{address}/{act}", {**ENDINGS[act], "token": token}), 401, "not_authenticated")
    assert Task.objects.get().state == TaskState.PENDING


# Failing, keeping, giving back ------------------------------------------------------------------------------


def test_a_fault_is_kept_with_the_reason_why_it_is_tried_again(api):
    started(steps({"id": "Try", "role": "agent:validator", "retries": 1}))
    address, token = take(api)

    answer = json_of(
        api.post(f"{address}/fail", {"token": token, "error_type": "Busy", "message": "The line is engaged."})
    )

    assert set(answer) == TASK
    assert (answer["status"], answer["error_type"]) == ("failed", "Busy")
    assert answer["error_message"] == "The line is engaged."
    assert answer["retry_reason"]
    assert Task.objects.filter(attempt=2, state="pending").exists()


def test_a_fault_that_cannot_be_cured_ends_the_run(api):
    run = started(steps({"id": "Try", "role": "agent:validator", "retries": 3}))
    address, token = take(api)

    json_of(api.post(f"{address}/fail", {"token": token, "error_type": "NoSuchCard", "retryable": False}))

    assert json_of(api.get(f"/acts/runs/{run.pk}"))["status"] == "failed"


def test_the_same_fault_again_is_the_same_answer(api):
    started()
    address, token = take(api)
    body = {"token": token, "error_type": "Busy"}

    answers = [json_of(api.post(f"{address}/fail", body)) for _ in range(2)]

    assert answers[0] == answers[1]
    assert Entry.objects.filter(action="task.failed").count() == 1


@pytest.mark.parametrize(("act", "entries"), [("heartbeat", 0), ("renew", 1)])
def test_a_lease_is_kept_by_heartbeats_and_renewals(api, act, entries):
    started()
    address, token = take(api)
    later(seconds=50)

    answer = json_of(api.post(f"{address}/{act}", {"token": token}))

    assert set(answer) == {"expires_at", "cancel_requested", "paused"}
    assert is_moment(answer["expires_at"])
    assert (answer["cancel_requested"], answer["paused"]) == (False, False)
    later(seconds=50)
    json_of(api.post(f"{address}/complete", {"token": token, "outcome": "PASS"}))
    assert Entry.objects.filter(action="task.renewed").count() == entries


def test_a_heartbeat_tells_that_the_run_is_being_cancelled(api, api_for):
    run = started()
    address, token = take(api)
    json_of(api_for(person("chief", "administrator")).patch(f"/acts/runs/{run.pk}/cancel"))

    assert json_of(api.post(f"{address}/heartbeat", {"token": token}))["cancel_requested"] is True


def test_a_task_given_back_is_there_for_the_next_with_a_higher_fence(api):
    started()
    address, token = take(api)

    answer = json_of(api.post(f"{address}/release", {"token": token, "note": "Not mine."}))

    assert (set(answer), answer["status"], answer["expires_at"]) == (TASK, "pending", None)
    problem(api.post(f"{address}/complete", {"token": token, "outcome": "PASS"}), 409, "lease_lost")
    assert json_of(api.post(NEXT, VALIDATOR))["fence"] == 2


# The task of a person ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "state", "run_state"),
    [
        ({"outcome": "PASS", "note": "Sound."}, "completed", "running"),
        ({"outcome": "FAIL", "note": "No marshals."}, "rejected", "failed"),
    ],
)
def test_completing_the_task_of_a_person_is_the_decision(desk, validator, body, state, run_state):
    request = waiting_for_a_person(validator)
    address, token = take(desk, "human:police_liaison")

    answers = [json_of(desk.post(f"{address}/complete", {**body, "token": token})) for _ in range(2)]

    assert set(answers[0]) == TASK
    assert answers[0] == answers[1]
    assert (answers[0]["status"], answers[0]["outcome"], answers[0]["note"]) == (state, body["outcome"], body["note"])
    assert reloaded(request.run).state == run_state
    assert reloaded(request).decided_by.username == "liaison"


def test_a_rejection_without_a_reason_is_a_422(desk, validator):
    waiting_for_a_person(validator)
    address, token = take(desk, "human:police_liaison")

    problem(desk.post(f"{address}/complete", {"token": token, "outcome": "FAIL"}), 422, "invalid")


@pytest.mark.parametrize("act", ["fail", "release"])
def test_the_task_of_a_person_neither_fails_nor_goes_back_by_the_calls_of_agents(desk, validator, act):
    waiting_for_a_person(validator)
    address, token = take(desk, "human:police_liaison")

    problem(desk.post(f"{address}/{act}", {**ENDINGS[act], "token": token}), 409, "lease_lost")


@pytest.mark.parametrize("act", ["heartbeat", "renew"])
def test_a_person_keeps_their_claim_like_an_agent_its_lease(desk, validator, act):
    waiting_for_a_person(validator)
    claim = json_of(desk.post(NEXT, LIAISON))
    later(hours=1)

    kept = json_of(desk.post(f"/acts/tasks/{claim['task']['id']}/{act}", {"token": claim["token"]}))

    assert kept["expires_at"] > claim["expires_at"]


# Asking in mid-task -----------------------------------------------------------------------------------------


def test_an_agent_asks_a_person_in_mid_task_and_goes_on_once_it_is_approved(api, desk):
    started()
    address, token = take(api)
    question = {
        "token": token,
        "reason": "The route passes the hospital.",
        "context": {"route": "Main Street"},
        "options": ["detour"],
        "severity": "high",
        "role": "human:police_liaison",
    }

    asked = json_of(api.post(f"{address}/request-approval", question))

    assert set(asked) == {"request_id", "status"}
    assert asked["status"] == "awaiting_approval"
    assert json_of(api.post(f"{address}/request-approval", question)) == asked, "asked twice is asked once"
    problem(api.post(f"{address}/complete", {"token": token, "outcome": "PASS"}), 409, "lease_lost")
    problem(api.post(f"{address}/resume", {"token": token}), 409, "wrong_state")
    json_of(desk.post(f"/hitl/requests/{asked['request_id']}/fulfill", {"outcome": "detour", "notes": "By the park."}))

    claim = json_of(api.post(f"{address}/resume", {"token": token}))

    assert set(claim) == CLAIMED
    assert set(claim["task"]) == CLAIMED_TASK
    assert claim["token"] != token
    assert claim["fence"] == 2
    assert claim["task"]["approval"]["outcome"] == "detour"
    json_of(api.post(f"{address}/complete", {"token": claim["token"], "outcome": "PASS"}))


def test_a_question_that_is_rejected_ends_the_task_and_the_run(api, desk):
    run = started()
    address, token = take(api)
    question = {"token": token, "reason": "May I?", "role": "human:police_liaison"}
    asked = json_of(api.post(f"{address}/request-approval", question))
    json_of(desk.post(f"/hitl/requests/{asked['request_id']}/reject", {"reason": "No."}))

    problem(api.post(f"{address}/resume", {"token": token}), 409, "wrong_state")
    assert json_of(api.get(address))["status"] == "rejected"
    assert json_of(api.get(f"/acts/runs/{run.pk}"))["status"] == "failed"


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"reason": ""}, "reason"),
        ({"options": ["not a word"]}, "options[0]"),
        ({"severity": "mild"}, "severity"),
        ({"context": []}, "context"),
        ({"role": "agent:validator"}, "role"),
    ],
)
def test_a_question_that_cannot_be_asked_is_a_422_that_names_the_field(api, wrong, path):
    started()
    address, token = take(api)

    refused = api.post(f"{address}/request-approval", {"token": token, "reason": "May I?", **wrong})

    assert paths_of(problem(refused, 422, "invalid")) == [path]
    assert Task.objects.get().state == TaskState.RUNNING


# Looking ----------------------------------------------------------------------------------------------------


def test_a_task_is_shown_without_its_token(api, validator):
    run = started()
    lease = claimed(validator)

    answer = api.get(f"/acts/tasks/{lease.task.pk}")

    assert set(json_of(answer)) == TASK
    assert json_of(answer)["run_id"] == run.pk
    assert lease.token.encode() not in answer.content
    assert b"token" not in answer.content


def test_each_filter_of_the_list_chooses(api, desk, validator):
    first, _second, _third = started(), started(), started()
    address, token = take(api)
    json_of(api.post(f"{address}/complete", {"token": token, "outcome": "PASS"}))
    held = claimed(validator).task

    def found(client: Api, **query: Any) -> list[tuple[int, str]]:
        return [(row["run_id"], row["step"]) for row in json_of(client.get("/acts/tasks", query))["results"]]

    assert found(api, run=first.pk) == [(first.pk, "Human-Approve"), (first.pk, "AI-Screen")]
    assert found(api, assignee="me", status="running") == [(held.run_id, "AI-Screen")]
    assert found(api, assignee="validator", status=["running", "completed"], run=first.pk) == [(first.pk, "AI-Screen")]
    assert found(desk, assignee="me") == []
    assert found(desk, assignee="nobody") == []
    assert found(desk, role="human:police_liaison") == [(first.pk, "Human-Approve")]
    assert found(api, status="awaiting_approval") == [(first.pk, "Human-Approve")]
    assert len(found(api, status="pending")) == 1


def test_tasks_of_runs_one_may_not_see_are_not_listed(api_for):
    run = started()
    stranger = api_for(agent("stranger", "agent:elsewhere"))

    assert json_of(stranger.get("/acts/tasks"))["results"] == []
    problem(stranger.get(f"/acts/tasks/{tasks_of(run)[0].pk}"), 404, "not_found")


def test_the_number_of_statements_does_not_grow_with_the_rows(api):
    def count() -> int:
        with CaptureQueriesContext(connection) as captured:
            json_of(api.get("/acts/tasks"))
        return len(captured)

    started()
    count()  # notes the use of the key, once a minute
    few = count()
    for _ in range(8):
        started()
        take(api)

    assert (few, count()) == (4, 4)  # the key, its rate, the permissions, the rows with their assignees
