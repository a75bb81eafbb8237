# SPDX-License-Identifier: Apache-2.0
"""A workflow in a file is loaded and run to its end, and what came of it is told in a line for each step."""

import json

import pytest

from hms_act import Client, Invalid, Orchestrator
from tests.sdk.wire import Answer

VALIDATE, CREATE = "POST /acts/playbooks/validate", "POST /acts/playbooks"
VALID = Answer(200, {"valid": True, "publishable": True})
DRAFT = {"version": 1, "state": "draft", "digest": "d"}
STEPS = {
    "Collect": {"status": "completed", "outcome": "PASS", "output": {"n": 3}, "attempts": 1},
    "Review": {"status": "completed", "outcome": "FAIL", "output": None, "attempts": 1},
    "Choose": {"status": "completed", "outcome": "later", "output": None, "attempts": 1},
    "Decide": {"status": "rejected", "outcome": "FAIL", "output": None, "attempts": 1},
    "Stuck": {"status": "incident", "outcome": None, "output": None, "attempts": 1},
    "Left": {"status": "cancelled", "outcome": None, "output": None, "attempts": 1},
}


@pytest.fixture
def orchestrator(wire):
    with Client(wire.url, "token", sleep=lambda seconds: None) as client:
        yield Orchestrator(client)


def ended(wire, status, steps=None):
    wire.answers("POST /acts/run", Answer(202, {"run_id": 7, "status": "queued"}))
    running = Answer(200, {"run_id": 7, "status": "running"})
    wire.answers("GET /acts/runs/7", running, Answer(200, {"run_id": 7, "status": status, "steps": steps or {}}))


@pytest.mark.parametrize(
    ("name", "text", "id"),
    [
        ("census.json", json.dumps({"id": "Census", "tasks": []}), "Census"),
        ("daily.yaml", "tasks: []\n", "daily"),
    ],
)
def test_a_file_is_stored_as_it_is_and_published(orchestrator, wire, tmp_path, name, text, id):
    (tmp_path / name).write_text(text)
    wire.answers(VALIDATE, VALID)
    wire.answers(CREATE, Answer(201, {"id": id, "versions": [DRAFT]}))
    wire.answers(f"GET /acts/playbooks/{id}/versions/1", Answer(200, DRAFT, {"ETag": '"d-draft"'}))
    wire.answers(f"POST /acts/playbooks/{id}/versions/1/publish", Answer(200, {**DRAFT, "state": "published"}))

    version = orchestrator.load_workflow(tmp_path / name)

    assert (version.playbook, version.state) == (id, "published")
    assert wire.calls(CREATE)[0].text == text


def test_a_file_that_cannot_be_published_is_told_with_its_errors(orchestrator, wire, tmp_path):
    (tmp_path / "a.json").write_text("{}")
    wire.answers(VALIDATE, Answer(200, {"valid": False, "errors": [{"path": "steps", "message": "Nothing to do."}]}))

    with pytest.raises(Invalid, match="Nothing to do"):
        orchestrator.load_workflow(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("status", "told"),
    [("completed", "success"), ("failed", "failed"), ("terminated", "failed"), ("cancelled", "cancelled")],
)
def test_the_end_of_a_run_is_told_in_a_word(orchestrator, wire, status, told):
    ended(wire, status)

    result = orchestrator.start("Census", {"date": "2024-06-01"})

    assert (result.status, result.run.id) == (told, 7)
    assert wire.calls("POST /acts/run")[0].body == {"playbook": "Census", "payload": {"date": "2024-06-01"}}


def test_each_step_has_a_line(orchestrator, wire):
    ended(wire, "failed", STEPS)

    result = orchestrator.start("Census")

    assert str(result).splitlines() == [
        "failed",
        "  Collect: success",
        "  Review: failed",
        "  Choose: success (later)",
        "  Decide: failed",
        "  Stuck: failed",
        "  Left: cancelled",
    ]
    assert result.tasks[0].output == {"n": 3}


def test_a_run_that_takes_too_long_is_left_running(orchestrator, wire):
    wire.answers("POST /acts/run", Answer(202, {"run_id": 7, "status": "queued"}))
    wire.answers("GET /acts/runs/7", Answer(200, {"run_id": 7, "status": "running"}))

    with pytest.raises(TimeoutError, match="it goes on"):
        orchestrator.start("Census", timeout=0)


def test_without_a_client_it_speaks_for_the_environment(wire, monkeypatch):
    monkeypatch.setenv("HMS_ACT_URL", wire.url)
    monkeypatch.setenv("HMS_ACT_TOKEN", "token")
    ended(wire, "completed")

    assert Orchestrator().start("Census").status == "success"
    assert wire.calls("POST /acts/run")[0].headers["authorization"] == "Bearer token"
