# SPDX-License-Identifier: Apache-2.0
"""A playbook changes while its runs are under way: what began on v1 ends on v1, what begins later begins on v2.

Over HTTP alone, as an author, an administrator, agents and the liaison would do it.
"""

from __future__ import annotations

from typing import Any

import pytest

from runs.models import Run
from tests.contract.answers import json_of, problem
from tests.people import Api, agent, person

pytestmark = pytest.mark.django_db

HERE = "/acts/playbooks/protest_permit"
V1 = {
    "id": "protest_permit",
    "steps": [
        {"id": "AI-Screen", "role": "agent:validator"},
        {"id": "Human-Approve", "role": "human:police_liaison"},
    ],
}
MARSHALS = {"id": "Call-Marshals", "role": "agent:validator"}
V2 = {**V1, "steps": [*V1["steps"], MARSHALS]}


@pytest.fixture
def chief(api_for) -> Api:
    return api_for(person("chief", "administrator"))


@pytest.fixture
def screening(api_for) -> Api:
    return api_for(agent("validator", "agent:validator"))


@pytest.fixture
def desk(api_for, liaison) -> Api:
    return api_for(liaison)


def publish(chief: Api, number: int) -> None:
    json_of(chief.post(f"{HERE}/versions/{number}/publish"))


def start(api: Api, **named: Any) -> int:
    return int(json_of(api.post("/acts/run", {"playbook": "protest_permit", **named}), 202)["run_id"])


def seen(api: Api, run: int) -> dict[str, Any]:
    return dict(json_of(api.get(f"/acts/runs/{run}")))


def pass_next(api: Api, role: str) -> int:
    """Do the oldest task of the role; the run it is of."""
    claim = json_of(api.post("/acts/tasks/next", {"role": role}))
    json_of(api.post(f"/acts/tasks/{claim['task']['id']}/complete", {"token": claim["token"], "outcome": "PASS"}))
    return int(claim["task"]["run_id"])


@pytest.fixture
def under_way(chief, screening) -> int:
    """A run of v1 that waits for the liaison."""
    json_of(chief.post("/acts/playbooks", V1), 201)
    publish(chief, 1)
    run = start(chief)
    assert pass_next(screening, "agent:validator") == run
    return run


def test_what_is_published_cannot_be_edited_and_the_refusal_names_the_way(chief, under_way):
    refused = problem(chief.put(f"{HERE}/versions/1", V2), 409, "version_published")

    assert "Clone" in refused["detail"]
    clone = json_of(chief.post(f"{HERE}/versions", {"clone": 1}), 201)
    assert (clone["version"], clone["state"]) == (2, "draft")
    json_of(chief.put(f"{HERE}/versions/2", V2))
    assert json_of(chief.get(f"{HERE}/versions/1"))["document"]["steps"] == V1["steps"]


def test_a_draft_starts_nothing(chief, under_way):
    json_of(chief.post(f"{HERE}/versions", V2), 201)

    problem(chief.post("/acts/run", {"playbook": "protest_permit", "version": 2}), 409, "wrong_state")
    assert seen(chief, start(chief))["version"] == 1


def test_runs_of_v1_finish_on_v1_and_later_ones_begin_on_v2(chief, screening, desk, under_way):
    json_of(chief.post(f"{HERE}/versions", V2), 201)
    publish(chief, 2)
    later = start(chief)
    assert (seen(chief, under_way)["version"], seen(chief, later)["version"]) == (1, 2)

    assert pass_next(desk, "human:police_liaison") == under_way
    assert seen(chief, under_way)["status"] == "completed", "v1 knows no marshals"

    assert pass_next(screening, "agent:validator") == later
    assert pass_next(desk, "human:police_liaison") == later
    assert seen(chief, later)["current_step"] == "Call-Marshals"
    assert pass_next(screening, "agent:validator") == later
    assert seen(chief, later)["status"] == "completed"
    assert set(seen(chief, under_way)["steps"]) == {"AI-Screen", "Human-Approve"}


def test_as_long_as_both_are_published_a_start_may_name_either(chief, under_way):
    json_of(chief.post(f"{HERE}/versions", V2), 201)
    publish(chief, 2)

    assert seen(chief, start(chief, version=1))["version"] == 1
    assert seen(chief, start(chief, version=2))["version"] == 2


def test_a_retired_version_starts_nothing_and_its_runs_go_on(chief, desk, under_way):
    json_of(chief.post(f"{HERE}/versions", V2), 201)
    publish(chief, 2)
    json_of(chief.post(f"{HERE}/versions/1/retire", {"reason": "Marshals are called now."}))

    problem(chief.post("/acts/run", {"playbook": "protest_permit", "version": 1}), 409, "wrong_state")
    assert seen(chief, start(chief))["version"] == 2
    assert pass_next(desk, "human:police_liaison") == under_way
    assert seen(chief, under_way)["status"] == "completed"


def test_with_every_version_retired_nothing_starts_until_one_is_cloned_and_published(chief, under_way):
    json_of(chief.post(f"{HERE}/versions/1/retire"))
    problem(chief.post("/acts/run", {"playbook": "protest_permit"}), 409, "wrong_state")
    problem(chief.post(f"{HERE}/versions/1/publish"), 409, "wrong_state")

    json_of(chief.post(f"{HERE}/versions", {"clone": 1}), 201)
    publish(chief, 2)

    assert seen(chief, start(chief))["version"] == 2
    assert Run.objects.count() == 2
