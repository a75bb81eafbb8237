# SPDX-License-Identifier: Apache-2.0
"""The renewal of an export licence, as the Bureau of Industry and Security does it: fetch the applicant's data, spot
risks, let a supervisor sign, deploy to the exporter's portal. A live web server, a worker, services and printed calls.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hms_act import Client
from hms_act.errors import Invalid
from playbooks.models import Connector, Playbook
from runs.models import Effect
from tests.people import agent, key_of
from tests.stories.fixtures_001 import agents
from tests.stories.fixtures_001.office import Office, at_work, open_office, until

pytestmark = pytest.mark.django_db(transaction=True)

DOCUMENT = (Path(__file__).parent / "fixtures_001" / "license_renewal.json").read_text()

START = """curl -X POST \\
  -H "Authorization: Bearer $JWT" \\
  -H "Content-Type: application/json" \\
  https://api.hms.gov/acts/run \\
  -d '{
        "protocol_id": 7,
        "payload": { "license_id": 123 }
      }'
"""
WATCH = "curl https://api.hms.gov/acts/runs/9001"


@pytest.fixture
def office(request, process_environment, tmp_path, settings, client_for) -> Iterator[Office]:
    loses = getattr(request, "param", 0)
    with open_office(process_environment, tmp_path, settings, client_for, loses=loses) as office:
        yield office


@pytest.fixture
def analyst(office) -> Iterator[Client]:
    """The AI agent, by the SDK: it works when the test lets it."""
    _, token = key_of(agent("analyst", "agent:ai_analysis"))
    with Client(office.url, token) as client:
        yield client


def publish(office: Office, document: str = DOCUMENT) -> int:
    """Store the document unchanged, its id beside it, and publish it; the number that starts call `protocol_id`."""
    stored = office.officer.create_playbook(document, playbook_id="license_renewal", content_type="application/json")
    office.officer.publish_version("license_renewal", 1)
    return int(stored.raw["number"])


def start(office: Office, protocol: int, licence: int = 123) -> int:
    changes = {'"protocol_id": 7': f'"protocol_id": {protocol}', '"license_id": 123': f'"license_id": {licence}'}
    answer = office.curl(START, **changes)
    assert answer["status"] == "queued"
    return int(answer["run_id"])


def watch(office: Office, run: int) -> dict[str, Any]:
    return dict(office.curl(WATCH, **{"runs/9001": f"runs/{run}"}))


def analyse(analyst: Client, run: int) -> None:
    task = analyst.next_task("agent:ai_analysis", wait=20)
    assert task is not None
    assert task.run_id == run
    found = agents.analyse(task.data["fetch_data"])
    analyst.complete_task(task.id, "PASS", output=found)


def log_of(seen: dict[str, Any]) -> list[tuple[str, str]]:
    return [(line["step"], line["status"]) for line in seen["log"]]


def with_step(document: str, step: dict[str, str], *, before: str) -> str:
    read = json.loads(document)
    names = [each["id"] for each in read["tasks"]]
    read["tasks"].insert(names.index(before), step)
    return json.dumps(read)


# The story ------------------------------------------------------------------------------------------------


def test_licence_123_is_renewed_and_every_move_can_be_watched(office, analyst):
    run = start(office, publish(office))

    until(lambda: office.run(run)["current_step"] == "ai_analysis")
    task = analyst.next_task("agent:ai_analysis", wait=20)
    seen = watch(office, run)
    assert (seen["run_id"], seen["current_step"], seen["status"]) == (run, "ai_analysis", "running")
    assert log_of(seen) == [("fetch_data", "running"), ("fetch_data", "done"), ("ai_analysis", "running")]
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", line["t"]) for line in seen["log"])

    assert task.data == {"fetch_data": {"applicant": "ACME Optics, Dayton", **task.data["fetch_data"]}}
    analyst.complete_task(task.id, "PASS", output=agents.analyse(task.data["fetch_data"]))
    seen = watch(office, run)
    assert seen["current_step"] == "human_approval"
    assert log_of(seen)[-2:] == [("ai_analysis", "done"), ("human_approval", "waiting")]
    assert office.published.publications == []

    office.decide(run, "PASS", "Signed.")
    office.ended(run)
    seen = watch(office, run)
    assert (seen["status"], seen["current_step"]) == ("completed", None)
    assert [step for step, status in log_of(seen) if status == "done"] == [
        "fetch_data",
        "ai_analysis",
        "human_approval",
        "deploy",
    ]
    assert seen["steps"]["ai_analysis"]["output"]["risk"] == "low"
    (publication,) = office.published.publications
    assert seen["steps"]["deploy"]["output"] == publication
    assert (publication["license_id"], publication["risk"]) == (123, "low")


def test_with_the_letter_all_five_steps_are_done_by_those_whose_they_are(office):
    document = with_step(DOCUMENT, {"id": "draft_letter", "type": "agent"}, before="human_approval")
    with (
        at_work(office, "analyst", "agent:ai_analysis", agents.analyst),
        at_work(office, "writer", "agent:draft_letter", agents.writer),
    ):
        run = start(office, publish(office, document), licence=124)
        office.decide(run, "PASS", "Signed.")
        ended = office.ended(run)

    assert ended["status"] == "completed"
    assert list(ended["steps"]) == ["fetch_data", "ai_analysis", "draft_letter", "human_approval", "deploy"]
    (publication,) = office.published.publications
    assert publication["risk"] == "medium"
    assert publication["letter"].startswith("To Volt Controls, Tulsa: licence 124 for frequency changers is renewed.")


# What must not happen -------------------------------------------------------------------------------------


@pytest.mark.parametrize("office", [1], indirect=True, ids=["one answer lost"])
def test_a_publication_whose_answer_is_lost_takes_place_once(office, analyst):
    run = start(office, publish(office))
    analyse(analyst, run)
    office.decide(run, "PASS", "Signed.")
    ended = office.ended(run)

    assert (ended["status"], ended["steps"]["deploy"]["attempts"]) == ("completed", 2)
    assert len(office.published.publications) == 1
    first, second = office.portal.heard
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert first.body == second.body
    assert Effect.objects.get(action="deploy").result == office.published.publications[0]


def test_what_the_supervisor_refuses_is_not_deployed(office, analyst):
    run = start(office, publish(office))
    analyse(analyst, run)
    office.decide(run, "FAIL", "The end user has moved.")
    ended = office.ended(run)

    assert ended["status"] == "failed"
    assert log_of(ended)[-1] == ("human_approval", "failed")
    assert office.portal.heard == []


def test_a_high_risk_ends_the_renewal_before_anybody_is_asked(office):
    with at_work(office, "analyst", "agent:ai_analysis", agents.analyst):
        run = start(office, publish(office), licence=125)
        ended = office.ended(run)

    assert ended["status"] == "failed"
    assert "human_approval" not in ended["steps"]
    assert office.portal.heard == []


def test_a_licence_that_is_not_on_file_ends_the_renewal_with_the_repositorys_words(office):
    run = start(office, publish(office), licence=999)
    ended = office.ended(run)

    assert ended["status"] == "failed"
    assert ended["steps"]["fetch_data"]["attempts"] == 1
    (task,) = office.officer.tasks(run=run)
    assert (task.raw["error_type"], "there is no such licence" in task.raw["error_message"]) == ("ServiceRefused", True)


# A further note in the sheet music ------------------------------------------------------------------------


def test_a_step_inserted_before_deploy_is_for_new_runs_and_changes_nothing_else(office, analyst):
    protocol = publish(office)
    old = start(office, protocol)
    until(lambda: office.run(old)["current_step"] == "ai_analysis")
    before = {connector.pk: connector.changed_at for connector in Connector.objects.all()}
    first_version = Playbook.objects.get().versions.get(number=1)

    longer = with_step(DOCUMENT, {"id": "audit_sync", "type": "script"}, before="deploy")
    draft = office.officer.add_version("license_renewal", longer, content_type="application/json")
    with pytest.raises(Invalid, match="cannot be published") as refused:
        office.officer.publish_version("license_renewal", draft.number)
    assert "No service offers the action" in str(refused.value.errors)
    office.connect("audit_sync", office.audit_office)
    office.officer.publish_version("license_renewal", draft.number)

    new = start(office, protocol)
    for run in (old, new):
        analyse(analyst, run)
        office.decide(run, "PASS", "Signed.")
    was, now = office.ended(old), office.ended(new)

    assert (was["status"], was["version"], now["status"], now["version"]) == ("completed", 1, "completed", 2)
    assert list(was["steps"]) == ["fetch_data", "ai_analysis", "human_approval", "deploy"]
    assert list(now["steps"]) == ["fetch_data", "ai_analysis", "human_approval", "audit_sync", "deploy"]
    (noted,) = office.audit_office.heard
    assert noted.headers["hms-act-run"] == str(new)
    assert len(office.published.publications) == 2
    # Nothing else changed: neither the version that was, nor its connectors, nor what the other steps did.
    again = Playbook.objects.get().versions.get(number=1)
    assert (again.digest, again.state, again.document) == (first_version.digest, "published", first_version.document)
    assert {c.pk: c.changed_at for c in Connector.objects.filter(pk__in=before)} == before
    same = ("fetch_data", "ai_analysis", "human_approval")
    assert [was["steps"][step]["output"] for step in same] == [now["steps"][step]["output"] for step in same]


def test_a_parallel_group_fans_out_and_goes_on_when_all_of_it_is_done(office, analyst):
    read = json.loads(DOCUMENT)
    place = [each["id"] for each in read["tasks"]].index("ai_analysis")
    read["tasks"][place] = {"type": "parallel", "tasks": [read["tasks"][place], {"id": "sanctions", "type": "agent"}]}
    run = start(office, publish(office, json.dumps(read)), licence=125)
    _, token = key_of(agent("sanctions-desk", "agent:sanctions"))

    with Client(office.url, token) as desk:
        checked = desk.next_task("agent:sanctions", wait=20)
        analysed = analyst.next_task("agent:ai_analysis", wait=20)
        assert (checked.path, analysed.path) == ("parallel-1/1/sanctions", "parallel-1/0/ai_analysis")
        assert set(watch(office, run)["current_steps"]) >= {"sanctions", "ai_analysis"}
        desk.complete_task(checked.id, "PASS", output={"listed": False})
        assert "human_approval" not in watch(office, run)["steps"]
        analyst.complete_task(analysed.id, "PASS", output=agents.analyse(analysed.data["fetch_data"]))

    office.decide(run, "PASS", "Signed.")
    assert office.ended(run)["status"] == "completed"
    (publication,) = office.published.publications
    assert publication["license_id"] == 125
