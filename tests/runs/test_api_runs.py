# SPDX-License-Identifier: Apache-2.0
"""`/acts/run` and `/acts/runs…`: starting runs, looking at them, cancelling them."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from audit.models import Entry
from config import clock
from playbooks import services as playbooks
from playbooks.parse import parse_data
from runs.jobs import tick
from runs.models import Run
from runs.services import claim_tasks, complete_task, fail_task, release_task
from tests.contract.answers import is_moment, json_of, paths_of, problem
from tests.factories import PERMIT, claimed, founder, later, published, started, steps, tasks_of
from tests.people import Api, agent, person, service

pytestmark = pytest.mark.django_db

RUN_IN_LIST = {
    "run_id",
    "playbook",
    "version",
    "status",
    "labels",
    "priority",
    "started_by",
    "created_at",
    "ended_at",
    "stalled_at",
}
RUN = RUN_IN_LIST | {"current_step", "current_steps", "payload", "steps", "log"}
RUN |= {"incidents", "parent_run", "parent_task", "child_runs"}
STEP = {"status", "outcome", "output", "attempts"}


@pytest.fixture
def api(api_for, validator) -> Api:
    """Of the agent of the first step, who may start runs."""
    return api_for(validator)


@pytest.fixture
def reader(api_for, auditor) -> Api:
    return api_for(auditor)


def start(api: Api, **body: Any) -> int:
    answer = json_of(api.post("/acts/run", {"playbook": "protest_permit", **body}), 202)
    return int(answer["run_id"])


def ids(answer: Any) -> list[int]:
    return [row["run_id"] for row in json_of(answer)["results"]]


# Starting ---------------------------------------------------------------------------------------------------


def test_a_start_answers_the_number_of_the_run_and_that_it_is_queued(api):
    published()

    answer = api.post("/acts/run", {"playbook": "protest_permit", "payload": {"form_id": 123}})

    run = Run.objects.get()
    assert json_of(answer, 202) == {"run_id": run.pk, "status": "queued"}
    assert run.payload == {"form_id": 123}


def test_a_playbook_is_named_by_its_number_too(api):
    version = published()

    answer = api.post("/acts/run", {"protocol_id": version.playbook_id, "payload": {"license_id": 123}})

    json_of(answer, 202)
    assert Run.objects.get().version == version


def test_without_a_version_the_newest_published_one_is_taken_and_any_published_one_can_be_named(api):
    first = published()
    second = published({**PERMIT, "title": "The second"})
    playbooks.clone_version(actor=founder(), playbook="protest_permit", number=2)

    runs = [start(api), start(api, version=1), start(api, version=2)]

    versions = {run.pk: run.version for run in Run.objects.select_related("version")}
    assert [versions[run] for run in runs] == [second, first, second]


def test_labels_and_priority_are_kept(api):
    published()
    run = start(api, labels={"district": "7"}, priority="critical")

    answer = json_of(api.get(f"/acts/runs/{run}"))

    assert (answer["labels"], answer["priority"]) == ({"district": "7"}, "critical")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"playbook": "nowhere"}, "playbook"),
        ({"protocol_id": 9999}, "playbook"),
        ({"playbook": "protest_permit", "protocol_id": 1}, "playbook"),
        ({}, "playbook"),
        ({"playbook": "protest_permit", "version": 99}, "version"),
        ({"playbook": "protest_permit", "payload": "form 123"}, "payload"),
        ({"playbook": "protest_permit", "priority": "at once"}, "priority"),
        ({"playbook": ""}, "playbook"),
        ({"protocol_id": "seven"}, "protocol_id"),
        ({"protocol_id": 0}, "protocol_id"),
    ],
)
def test_what_cannot_start_is_a_422_that_names_the_field(api, body, path):
    published()

    assert paths_of(problem(api.post("/acts/run", body), 422, "invalid")) == [path]
    assert not Run.objects.exists()


def test_a_payload_that_does_not_fit_the_schema_is_told_place_by_place(api):
    schema = {
        "type": "object",
        "required": ["form_id"],
        "properties": {"form_id": {"type": "integer"}, "people": {"type": "array", "items": {"type": "string"}}},
    }
    published({**PERMIT, "payload_schema": schema})

    refused = api.post("/acts/run", {"playbook": "protest_permit", "payload": {"people": ["Ann", 5]}})

    document = problem(refused, 422, "invalid")
    assert len(document["errors"]) == 2
    assert any("people" in path and "1" in path for path in paths_of(document))


def test_a_playbook_without_a_published_version_is_a_409(api):
    playbooks.create_playbook(actor=founder(), parsed=parse_data(PERMIT))

    problem(api.post("/acts/run", {"playbook": "protest_permit"}), 409, "wrong_state")
    problem(api.post("/acts/run", {"playbook": "protest_permit", "version": 1}), 409, "wrong_state")


def test_a_retired_version_is_a_409(api):
    published()
    playbooks.retire_version(actor=founder(), playbook="protest_permit", number=1)

    problem(api.post("/acts/run", {"playbook": "protest_permit"}), 409, "wrong_state")
    problem(api.post("/acts/run", {"playbook": "protest_permit", "version": 1}), 409, "wrong_state")


def test_without_the_permission_to_start_it_is_a_403(api_for):
    published()

    problem(api_for(service("quiet", "svc:quiet")).post("/acts/run", {"playbook": "protest_permit"}), 403, "forbidden")


# Looking at one ---------------------------------------------------------------------------------------------


def test_a_run_is_shown_with_its_steps_and_what_has_happened(api, validator):
    run = started()
    lease = claimed(validator)
    complete_task(task_id=lease.task.pk, actor=validator, token=lease.token, outcome="PASS", output={"risk": "low"})

    answer = json_of(api.get(f"/acts/runs/{run.pk}"))

    assert set(answer) == RUN
    assert answer["run_id"] == run.pk
    assert (answer["playbook"], answer["version"], answer["status"]) == ("protest_permit", 1, "running")
    assert (answer["current_step"], answer["current_steps"]) == ("Human-Approve", ["Human-Approve"])
    assert answer["payload"] == {"form_id": 123}
    assert (answer["started_by"], answer["priority"], answer["labels"]) == ("founder", "medium", {})
    assert is_moment(answer["created_at"])
    assert (answer["ended_at"], answer["stalled_at"]) == (None, None)
    assert answer["steps"] == {
        "AI-Screen": {"status": "completed", "outcome": "PASS", "output": {"risk": "low"}, "attempts": 1},
        "Human-Approve": {"status": "awaiting_approval", "outcome": None, "output": None, "attempts": 1},
    }
    assert [(line["step"], line["status"]) for line in answer["log"]] == [
        ("AI-Screen", "running"),
        ("AI-Screen", "done"),
        ("Human-Approve", "waiting"),
    ]
    assert all(set(line) == {"t", "step", "status"} and is_moment(line["t"]) for line in answer["log"])


def test_a_run_that_has_ended_has_no_current_step(api, validator):
    run = started(steps({"id": "Only", "role": "agent:validator"}))
    lease = claimed(validator)
    complete_task(task_id=lease.task.pk, actor=validator, token=lease.token, outcome="PASS")

    answer = json_of(api.get(f"/acts/runs/{run.pk}"))

    assert (answer["status"], answer["current_step"], answer["current_steps"]) == ("completed", None, [])
    assert is_moment(answer["ended_at"])
    assert answer["log"][-1]["status"] == "done"


def test_a_verdict_that_ends_the_run_reads_as_failed(api, validator):
    run = started()
    lease = claimed(validator)
    complete_task(task_id=lease.task.pk, actor=validator, token=lease.token, outcome="FAIL", note="Too many people.")

    answer = json_of(api.get(f"/acts/runs/{run.pk}"))

    assert (answer["status"], answer["current_step"]) == ("failed", None)
    assert [line["status"] for line in answer["log"]] == ["running", "failed"]


def test_attempts_are_counted_and_each_is_in_the_log(api, validator):
    run = started(steps({"id": "Try", "role": "agent:validator", "retries": 3}))
    for _ in range(2):
        lease = claimed(validator)
        fail_task(task_id=lease.task.pk, actor=validator, token=lease.token, error_type="Busy")
        later(hours=1)
        tick()

    answer = json_of(api.get(f"/acts/runs/{run.pk}"))

    assert set(answer["steps"]["Try"]) == STEP
    assert (answer["steps"]["Try"]["attempts"], answer["steps"]["Try"]["status"]) == (3, "pending")
    assert [line["status"] for line in answer["log"]] == ["running", "failed"] * 2
    assert answer["current_step"] == "Try"


def test_the_log_is_the_last_fifty_lines_in_order(api, validator):
    run = started()
    for _ in range(26):
        lease = claimed(validator)
        release_task(task_id=lease.task.pk, actor=validator, token=lease.token)

    log = json_of(api.get(f"/acts/runs/{run.pk}"))["log"]

    assert len(log) == 50
    assert [line["t"] for line in log] == sorted(line["t"] for line in log)
    assert [line["status"] for line in log[-2:]] == ["running", "waiting"]


def test_a_run_is_seen_by_its_starter_the_roles_of_its_steps_and_whoever_sees_all(api_for, liaison, auditor):
    starter, stranger = agent("starter", "agent:starter"), agent("stranger", "agent:stranger")
    published()
    run = start(api_for(starter))

    for user in (starter, liaison, auditor, agent("second", "agent:validator"), service("till", "svc:finance")):
        json_of(api_for(user).get(f"/acts/runs/{run}"))
        assert ids(api_for(user).get("/acts/runs")) == [run]
    problem(api_for(stranger).get(f"/acts/runs/{run}"), 404, "not_found")
    assert ids(api_for(stranger).get("/acts/runs")) == []


# The list ---------------------------------------------------------------------------------------------------


def test_a_list_shows_runs_newest_first_without_their_payloads(reader):
    first, second = started(), started(payload={"form_id": 2})

    rows = json_of(reader.get("/acts/runs"))["results"]

    assert [row["run_id"] for row in rows] == [second.pk, first.pk]
    assert all(set(row) == RUN_IN_LIST for row in rows)


def test_each_filter_chooses(reader, api, validator):
    early = started(steps({"id": "Only", "role": "agent:validator"}, id="early"))
    lease = claimed(validator)
    complete_task(task_id=lease.task.pk, actor=validator, token=lease.token, outcome="PASS")
    later(hours=1)
    between = clock.now()
    later(hours=1)
    published()
    published({**PERMIT, "title": "The second"})
    late = start(api, labels={"district": "7", "year": "2025"})
    Run.objects.filter(pk=late).update(stalled_at=clock.now())

    def found(**query: Any) -> list[int]:
        return ids(reader.get("/acts/runs", query))

    assert found() == [late, early.pk]
    assert found(status="completed") == [early.pk]
    assert found(status=["completed", "running"]) == [late, early.pk]
    assert found(status="paused") == []
    assert found(playbook="early") == [early.pk]
    assert found(version=2) == [late]
    assert found(started_by="validator") == [late]
    assert found(created_after=between.isoformat()) == [late]
    assert found(created_before=between.isoformat().replace("+00:00", "Z")) == [early.pk]
    assert found(stalled="true") == [late]
    assert found(stalled="false") == [early.pk]
    assert found(label="district:7") == [late]
    assert found(label=["district:7", "year:2025"]) == [late]
    assert found(label=["district:7", "year:2024"]) == []
    assert found(label="district:7", status="completed") == []


@pytest.mark.parametrize("key", ["0", "a b", "a.b", 'say "hi"', "a'b", "a__contains", "ключ", "$", "[0]", ""])
def test_a_label_of_any_name_is_found_by_it(api, key):
    published()
    labelled = start(api, labels={key: "x:y"})
    start(api, labels={"other": "x:y"})

    assert ids(api.get("/acts/runs", {"label": f"{key}:x:y"})) == [labelled]


@pytest.mark.parametrize(("path", "statements"), [("/acts/runs", 4), ("/acts/runs/{run}", 7)])
def test_the_number_of_statements_does_not_grow_with_the_rows(api_for, liaison, validator, path, statements):
    """The key, its rate, the permissions; then the rows, or the run with its tasks, incidents and log."""
    reader = api_for(liaison)
    run = started()

    def count() -> int:
        with CaptureQueriesContext(connection) as captured:
            json_of(reader.get(path.format(run=run.pk)))
        return len(captured)

    count()  # notes the use of the key, once a minute
    few = count()
    for _ in range(8):
        started()
        lease = claim_tasks(role="agent:validator", actor=validator)[0]
        complete_task(task_id=lease.task.pk, actor=validator, token=lease.token, outcome="PASS")

    assert (few, count()) == (statements, statements)


# Cancelling -------------------------------------------------------------------------------------------------


def test_cancelling_answers_the_run_and_keeps_the_reason(api):
    published()
    run = start(api)

    answer = json_of(api.patch(f"/acts/runs/{run}/cancel", {"reason": "The applicant withdrew."}))

    assert set(answer) == RUN
    assert (answer["status"], answer["current_step"]) == ("cancelled", None)
    assert Entry.objects.get(action="run.cancelling").note == "The applicant withdrew."


def test_the_reason_is_optional_and_so_is_the_body(api):
    published()

    for body in ({}, {"reason": ""}):
        json_of(api.patch(f"/acts/runs/{start(api)}/cancel", body))
    json_of(api.generic("PATCH", f"/acts/runs/{start(api)}/cancel"))


def test_a_run_with_a_task_in_hand_is_cancelling_until_it_is_given_back(api, validator):
    published()
    run = start(api)
    lease = claimed(validator)

    answer = json_of(api.patch(f"/acts/runs/{run}/cancel"))
    assert (answer["status"], answer["current_step"]) == ("cancelling", "AI-Screen")

    json_of(api.post(f"/acts/tasks/{lease.task.pk}/release", {"token": lease.token}))
    assert json_of(api.get(f"/acts/runs/{run}"))["status"] == "cancelled"


def test_cancelling_again_is_the_same_and_what_has_ended_otherwise_is_a_409(api, validator):
    published()
    run = start(api)
    for _ in range(2):
        assert json_of(api.patch(f"/acts/runs/{run}/cancel"))["status"] == "cancelled"
    ended = start(api)
    lease = claimed(validator)
    complete_task(task_id=lease.task.pk, actor=validator, token=lease.token, outcome="FAIL")

    problem(api.patch(f"/acts/runs/{ended}/cancel"), 409, "wrong_state")


def test_only_its_starter_and_those_in_control_may_cancel_a_run(api_for, liaison, auditor):
    run = started()

    problem(api_for(liaison).patch(f"/acts/runs/{run.pk}/cancel"), 403, "forbidden")
    problem(api_for(auditor).patch(f"/acts/runs/{run.pk}/cancel"), 403, "forbidden")
    problem(api_for(agent("stranger")).patch(f"/acts/runs/{run.pk}/cancel"), 404, "not_found")
    assert [task.state for task in tasks_of(run)] == ["pending"]
    json_of(api_for(person("chief", "administrator")).patch(f"/acts/runs/{run.pk}/cancel"))
