# SPDX-License-Identifier: Apache-2.0
"""The troubleshooting table of the five-minute protest permit: each symptom, its cause, and the fix it names."""

from __future__ import annotations

from typing import Any

import pytest

from hms_act import Playbook, Step
from runs.jobs import tick
from tests.contract.answers import json_of, problem
from tests.factories import later
from tests.people import Api, person

pytestmark = pytest.mark.django_db

HERE = "/acts/playbooks/protest_permit"


@pytest.fixture
def chief(api_for) -> Api:
    return api_for(person("chief", "administrator"))


@pytest.fixture
def screening(api_for, validator) -> Api:
    return api_for(validator)


@pytest.fixture
def desk(api_for, liaison) -> Api:
    return api_for(liaison)


def begun(chief: Api, *steps: Step) -> int:
    """A run of a playbook of these steps."""
    playbook = Playbook(id="protest_permit")
    for step in steps:
        playbook.add_step(step)
    json_of(chief.post("/acts/playbooks", playbook.to_document()), 201)
    json_of(chief.post(f"{HERE}/versions/1/publish"))
    return int(json_of(chief.post("/acts/run", {"playbook": "protest_permit"}), 202)["run_id"])


def claim(api: Api, role: str) -> tuple[str, str]:
    """(address of the task, token)"""
    claimed = json_of(api.post("/acts/tasks/next", {"role": role}))
    return f"/acts/tasks/{claimed['task']['id']}", claimed["token"]


def passed(api: Api, role: str) -> None:
    address, token = claim(api, role)
    json_of(api.post(f"{address}/complete", {"token": token, "outcome": "PASS"}))


def seen(api: Api, run: int) -> dict[str, Any]:
    return dict(json_of(api.get(f"/acts/runs/{run}")))


def time_passes(**by: float) -> None:
    later(**by)
    tick()


# Next step never fires: `complete_task` is missing; every worker calls it, even on errors. -------------------


def test_a_worker_that_never_completes_loses_the_task_and_the_next_one_brings_the_run_on(chief, screening):
    run = begun(chief, Step("AI-Screen", role="agent:validator"), Step("Human-Approve", role="human:police_liaison"))
    address, token = claim(screening, "agent:validator")
    assert seen(chief, run)["current_step"] == "AI-Screen"

    time_passes(minutes=5)

    assert [line["status"] for line in seen(chief, run)["log"]] == ["running", "waiting"], "the run tells of it"
    problem(screening.post(f"{address}/complete", {"token": token, "outcome": "PASS"}), 409, "lease_lost")
    passed(screening, "agent:validator")
    assert seen(chief, run)["current_step"] == "Human-Approve"


def test_a_worker_that_reports_its_error_is_tried_again_soon(chief, screening):
    run = begun(chief, Step("AI-Screen", role="agent:validator"))
    address, token = claim(screening, "agent:validator")
    json_of(screening.post(f"{address}/fail", {"token": token, "error_type": "KeyError", "message": "'date'"}))

    time_passes(minutes=5)

    passed(screening, "agent:validator")
    assert seen(chief, run)["status"] == "completed"


# Task keeps retrying: `Step(..., retries=3)`. ----------------------------------------------------------------


def attempts(api: Api) -> int:
    """Fail whenever the task is offered; how often it was."""
    count = 0
    while (answer := api.post("/acts/tasks/next", {"role": "agent:validator"})).status_code == 200:
        count += 1
        assert count < 50, "it is tried for ever"
        claimed = json_of(answer)
        fault = {"token": claimed["token"], "error_type": "Busy"}
        json_of(api.post(f"/acts/tasks/{claimed['task']['id']}/fail", fault))
        time_passes(days=1)
    return count


@pytest.mark.parametrize(("retries", "tried"), [(3, 4), (1, 2), (0, 1)])
def test_a_step_is_tried_again_as_often_as_it_says(chief, screening, retries, tried):
    run = begun(chief, Step("AI-Screen", role="agent:validator", retries=retries))

    assert attempts(screening) == tried
    ended = seen(chief, run)
    assert (ended["status"], ended["steps"]["AI-Screen"]["attempts"]) == ("failed", tried)


def test_a_step_that_says_nothing_is_not_tried_for_ever(chief, screening):
    run = begun(chief, Step("AI-Screen", role="agent:validator"))

    assert attempts(screening) < 50
    assert seen(chief, run)["status"] == "failed"


# Human sees "Token expired": increase `token_ttl` on that step, or renew. -------------------------------------


def test_a_long_review_is_told_that_its_token_expired_and_goes_on_once_renewed(chief, desk):
    run = begun(chief, Step("Human-Approve", role="human:police_liaison", token_ttl=600))
    address, token = claim(desk, "human:police_liaison")
    decision = {"token": token, "outcome": "PASS", "note": "Twelve pages of crowd plan, all sound."}
    time_passes(minutes=11)

    problem(desk.post(f"{address}/complete", decision), 409, "token_expired")
    json_of(desk.post(f"{address}/renew", {"token": token}))

    json_of(desk.post(f"{address}/complete", decision))
    assert seen(chief, run)["status"] == "completed"


def test_a_review_that_renews_in_time_is_told_nothing(chief, desk):
    run = begun(chief, Step("Human-Approve", role="human:police_liaison", token_ttl=600))
    address, token = claim(desk, "human:police_liaison")
    for _ in range(3):
        time_passes(minutes=9)
        json_of(desk.post(f"{address}/renew", {"token": token}))

    json_of(desk.post(f"{address}/complete", {"token": token, "outcome": "PASS"}))
    assert seen(chief, run)["status"] == "completed"


def test_a_longer_token_ttl_is_a_longer_review(chief, desk):
    begun(chief, Step("Human-Approve", role="human:police_liaison", token_ttl=3600))
    address, token = claim(desk, "human:police_liaison")
    time_passes(minutes=50)

    json_of(desk.post(f"{address}/complete", {"token": token, "outcome": "PASS"}))


# Cannot edit playbook: active runs exist; clone to `v2` and migrate new requests. -----------------------------


def test_a_playbook_with_active_runs_is_cloned_to_v2_and_new_requests_go_there(chief, screening):
    under_way = begun(chief, Step("AI-Screen", role="agent:validator"))
    changed = Playbook(id="protest_permit", title="Protest permit, revised").add_step(
        Step("AI-Screen", role="agent:validator", retries=3)
    )

    refused = problem(chief.put(f"{HERE}/versions/1", changed.to_document()), 409, "version_published")
    assert '{"clone": 1}' in refused["errors"][0]["remedy"]

    json_of(chief.post(f"{HERE}/versions", {"clone": 1}), 201)
    json_of(chief.put(f"{HERE}/versions/2", changed.to_document()))
    json_of(chief.post(f"{HERE}/versions/2/publish"))
    new = int(json_of(chief.post("/acts/run", {"playbook": "protest_permit"}), 202)["run_id"])
    assert (seen(chief, under_way)["version"], seen(chief, new)["version"]) == (1, 2)
