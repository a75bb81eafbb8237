# SPDX-License-Identifier: Apache-2.0
"""The daily census pipeline, as printed: responses are fetched, an agent suggests, the governance layer checks, the
policy and the dashboard follow. A live web server and worker; the printed file and script, but for the import line.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.test import Client as Browser

from accounts import seeds
from accounts.models import User
from audit.models import Entry
from hms_act import Client, Orchestrator, Result, Task, Worker
from tests.config.web import served
from tests.people import agent, key_of, person
from tests.stories.fixtures_001.office import until, working
from tests.stories.fixtures_002 import services

pytestmark = pytest.mark.django_db(transaction=True)

WORKFLOW = """{
  "id": "CensusDailyUpdate",
  "tasks": [
    { "name":"CollectResponses", "service":"ResponseService", "action":"fetchNew" },
    { "name":"AnalyzeData",      "agent":"CensusCoverageAdvisor", "action":"analyze_and_suggest" },
    { "name":"GovernanceReview", "layer":"GovernanceLayer",        "action":"enforce" },
    { "name":"UpdatePolicy",     "service":"PolicyService",       "action":"update" },
    { "name":"RefreshDashboard", "service":"DashboardService",    "action":"refresh" }
  ]
}
"""
SCRIPT = """# file: orchestrator_app.py
from hms_mgmt import Orchestrator

orc = Orchestrator()
orc.load_workflow("census_workflow.json")        # Load our definition
result = orc.start("CensusDailyUpdate", {"date":"2024-06-01"})
print("Workflow status:", result.status)
"""
DATE = "2024-06-01"
ROLE = "agent:CensusCoverageAdvisor"
STEPS = ["CollectResponses", "AnalyzeData", "GovernanceReview", "UpdatePolicy", "RefreshDashboard"]
SUGGESTION = {"suggestion": "Send two more field offices to the Delta region.", "smallest_group": 212}


@dataclass
class Bureau:
    url: str
    marks: Path
    keys: Mapping[str, str]  # username → API key
    browser_of: Callable[[User], Browser]
    reviewer: User

    def asked(self, service: str) -> list[dict[str, Any]]:
        return services.asked(service, self.marks)

    @property
    def untouched(self) -> bool:
        return not self.asked("PolicyService") and not self.asked("DashboardService")


@pytest.fixture
def bureau(process_environment, tmp_path, monkeypatch, client_for) -> Iterator[Bureau]:
    marks = tmp_path / "marks"
    marks.mkdir()
    actions = {"HMS_ACT_ACTIONS": "tests.stories.fixtures_002.services", "HMS_ACT_TEST_MARKS": str(marks)}
    told = {**process_environment, **actions}
    with ExitStack() as stack:
        stack.enter_context(working(told, tmp_path / "worker.log"))
        web = stack.enter_context(served(told, tmp_path / "web.log"))
        planner, reviewer = person("planner", seeds.ADMINISTRATOR), person("ann", seeds.STAFF, "human:reviewer")
        users = {"planner": planner, "advisor": agent("advisor", ROLE), "ann": reviewer}
        keys = {name: key_of(user)[1] for name, user in users.items()}
        url = str(web.base_url)
        monkeypatch.setenv("HMS_ACT_URL", url)
        monkeypatch.setenv("HMS_ACT_TOKEN", keys["planner"])
        monkeypatch.chdir(tmp_path)
        (tmp_path / "census_workflow.json").write_text(WORKFLOW)
        yield Bureau(url, marks, keys, client_for, reviewer)


@contextmanager
def advising(bureau: Bureau, suggestion: Mapping[str, Any] = SUGGESTION) -> Iterator[list[Mapping[str, Any]]]:
    """The AI agent at work; what it was handed."""
    handed: list[Mapping[str, Any]] = []
    with Client(bureau.url, bureau.keys["advisor"]) as client:
        worker = Worker(client)

        @worker.handles(ROLE)
        def analyze_and_suggest(task: Task) -> dict[str, Any]:
            assert task.call == "analyze_and_suggest"
            handed.append({"date": task.payload["date"], "data": task.data})
            return {"outcome": "PASS", "output": dict(suggestion)}

        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            yield handed
        finally:
            worker.stop()
            thread.join(30)


def play_the_script() -> tuple[str, Result]:
    """The printed script; what it printed, and its `result`."""
    names: dict[str, Any] = {}
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(SCRIPT.replace("from hms_mgmt import", "from hms_act import"), names)
    return printed.getvalue(), names["result"]


def handed_to_the_layer(run: int) -> dict[str, Any]:
    """What the action log says the governance layer was given."""
    claimed = Entry.objects.get(run_id=run, step="GovernanceReview", action="task.claimed")
    return dict(claimed.disclosed["input"])


def test_by_the_printed_script_all_five_do_their_part_and_each_has_got_the_date(bureau):
    with advising(bureau) as advised:
        printed, result = play_the_script()

    assert printed == "Workflow status: success\n"
    assert [str(task) for task in result.tasks] == [f"{name}: success" for name in STEPS]
    collected = {"CollectResponses": {"responses": services.RESPONSES}}
    (fetched,), (updated,), (refreshed,) = map(bureau.asked, ["ResponseService", "PolicyService", "DashboardService"])
    assert fetched == {"date": DATE, "data": {}}
    assert advised == [{"date": DATE, "data": collected}]
    assert handed_to_the_layer(result.run.id) == {"date": DATE, "data": {**collected, "AnalyzeData": SUGGESTION}}
    assert (updated["date"], updated["data"]["GovernanceReview"]["result"]) == (DATE, "PASS")
    assert (refreshed["date"], refreshed["data"]["UpdatePolicy"]) == (DATE, {"policy": SUGGESTION["suggestion"]})


def test_loading_the_file_again_makes_no_new_version(bureau):
    first, again = (Orchestrator().load_workflow("census_workflow.json") for _ in range(2))

    assert (first.number, first.created, again.number, again.created) == (1, True, 1, False)


def test_a_broken_rule_leaves_policy_and_dashboard_uncalled_and_the_run_failed(bureau):
    with advising(bureau, {"suggestion": "Publish block 7.", "smallest_group": 4}):
        printed, result = play_the_script()

    assert printed == "Workflow status: failed\n"
    assert bureau.untouched
    assert [str(task) for task in result.tasks] == [
        "CollectResponses: success",
        "AnalyzeData: success",
        "GovernanceReview: failed",
    ]
    (fired,) = result.tasks[-1].output["fired"]
    assert (fired["rule_set"], fired["rule"]) == ("privacy", "small-groups")
    assert fired["evidence"] == {"steps": ["AnalyzeData"]}


@pytest.mark.parametrize(("outcome", "status"), [("PASS", "success"), ("FAIL", "failed")])
def test_where_a_rule_wants_a_person_the_run_waits_for_one(bureau, outcome, status):
    orchestrator = Orchestrator()
    orchestrator.load_workflow("census_workflow.json")
    with advising(bureau, {**SUGGESTION, "risk": "high"}), Client(bureau.url, bureau.keys["ann"]) as ann:
        results: list[Result] = []
        waiting = threading.Thread(
            target=lambda: results.append(orchestrator.start("CensusDailyUpdate", {"date": DATE}, timeout=120))
        )
        waiting.start()
        request = until(lambda: next(ann.requests(status="pending"), None))
        assert bureau.untouched
        assert request.context["finding"]["fired"][0]["rule"] == "high-risk"
        if outcome == "PASS":
            ann.fulfill(request, notes="The risk is worth it.")
        else:
            ann.reject(request, reason="Not this year.")
        waiting.join(120)

    (result,) = results
    assert result.status == status
    assert bureau.untouched == (outcome == "FAIL")
    assert result.run.steps["GovernanceReview"]["status"] == ("completed" if outcome == "PASS" else "rejected")


def test_a_run_that_takes_longer_than_one_waits_goes_on(bureau):
    orchestrator = Orchestrator()
    orchestrator.load_workflow("census_workflow.json")
    with pytest.raises(TimeoutError, match="it goes on"):
        orchestrator.start("CensusDailyUpdate", {"date": DATE}, timeout=1)

    with advising(bureau), Client(bureau.url, bureau.keys["planner"]) as planner:
        (run,) = planner.runs(playbook="CensusDailyUpdate")
        assert planner.wait_for_run(run.id, timeout=120).status == "completed"
