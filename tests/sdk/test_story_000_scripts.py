# SPDX-License-Identifier: Apache-2.0
"""The scripts of the five-minute protest-permit story run as printed, and say what they should on the wire."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.sdk.wire import Answer, claimed, task_body

PERMIT_PLAYBOOK = r"""
from hms_act import Playbook, Step

permit = Playbook(id="protest_permit") \
  .add_step( Step("AI-Screen",
        role="agent:validator",
        call="ai_validator.check_form")
  ) \
  .add_step( Step("Human-Approve",
        role="human:police_liaison")
  ) \
  .add_step( Step("Collect-Fee",
        role="svc:finance",
        call="hms_ach.charge $40")
  )

permit.save()
"""

SUBMIT = """
from hms_act import run_playbook

run_id = run_playbook("protest_permit", payload={"form_id": 123})
print("Run started:", run_id)
"""

AGENT_WORKER = """
from hms_act import next_task, complete_task

task = next_task(role="agent:validator")
result = ai_validator.check_form(task.payload)
complete_task(task.id, outcome="PASS")
"""

LIAISON_CLI = """
from hms_act import next_task, complete_task

t = next_task(role="human:police_liaison")
print("Reviewing form", t.payload["form_id"])
decision = input("Approve? (y/n) ")
status = "PASS" if decision == "y" else "FAIL"
note = input("Reason: ")
complete_task(t.id, outcome=status, note=note)
"""

pytestmark = pytest.mark.usefixtures("environment")


def test_the_playbook_is_stored_and_published_with_its_three_steps(wire):
    version = {"version": 1, "state": "draft", "digest": "sha256:1"}
    wire.answers("POST /acts/playbooks/validate", Answer(200, {"valid": True}))
    wire.answers("POST /acts/playbooks", Answer(201, {"id": "protest_permit", "versions": [version]}))
    wire.answers("GET /acts/playbooks/protest_permit/versions/1", Answer(200, version))
    wire.answers(
        "POST /acts/playbooks/protest_permit/versions/1/publish", Answer(200, {**version, "state": "published"})
    )

    exec(PERMIT_PLAYBOOK, {})

    assert wire.calls("POST /acts/playbooks")[0].body == {
        "id": "protest_permit",
        "steps": [
            {"id": "AI-Screen", "role": "agent:validator", "call": "ai_validator.check_form"},
            {"id": "Human-Approve", "role": "human:police_liaison"},
            {"id": "Collect-Fee", "role": "svc:finance", "call": "hms_ach.charge $40"},
        ],
    }


def test_a_run_is_submitted(wire, capsys):
    wire.answers("POST /acts/run", Answer(202, {"run_id": 9001, "status": "queued"}))

    exec(SUBMIT, {})

    assert capsys.readouterr().out == "Run started: 9001\n"
    assert wire.heard[0].body == {"playbook": "protest_permit", "payload": {"form_id": 123}}


def test_the_agent_completes_its_task_without_naming_a_token(wire):
    seen = []
    wire.answers("POST /acts/tasks/next", claimed())
    wire.answers("POST /acts/tasks/31/complete", Answer(200, task_body()))

    exec(AGENT_WORKER, {"ai_validator": SimpleNamespace(check_form=seen.append)})

    assert seen == [{"form_id": 123}]
    assert wire.heard[0].body == {"role": "agent:validator", "wait": 30}
    assert wire.heard[1].body == {"token": "token-31", "outcome": "PASS"}


@pytest.mark.parametrize(("typed", "outcome"), [("y", "PASS"), ("n", "FAIL")])
def test_the_liaison_decides(wire, capsys, typed, outcome):
    answers = iter([typed, "Crowd plan is sound."])
    wire.answers("POST /acts/tasks/next", claimed(40, role="human:police_liaison"))
    wire.answers("POST /acts/tasks/40/complete", Answer(200, task_body(40)))

    exec(LIAISON_CLI, {"input": lambda prompt: next(answers)})

    assert capsys.readouterr().out == "Reviewing form 123\n"
    assert wire.heard[1].body == {"token": "token-40", "outcome": outcome, "note": "Crowd plan is sound."}


def test_a_new_credential_in_the_environment_is_a_new_client(wire, environment):
    import hms_act

    wire.always("POST /acts/run", Answer(202, {"run_id": 9001, "status": "queued"}))
    hms_act.run_playbook("protest_permit")
    environment.setenv("HMS_ACT_TOKEN", "hmsact_other")
    hms_act.run_playbook("protest_permit")

    assert [h.headers["authorization"] for h in wire.heard] == ["Bearer hmsact_key", "Bearer hmsact_other"]
