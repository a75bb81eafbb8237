# SPDX-License-Identifier: Apache-2.0
"""The five-minute protest permit, as printed: an agent screens, the police liaison decides, the fee is charged.

Against a live web server with a worker and a payment system, by Python scripts, by HTTP, by command line, by admin.
"""

from __future__ import annotations

import io
import re
import shlex
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from django.test import Client as Browser

from accounts import seeds
from accounts.models import User
from demo.fee_service import FeeServer, Ledger
from hms_act import Client, cli
from tests.config.web import ROOT, served
from tests.people import agent, key_of, person
from tests.stories import ai_validator
from tests.stories.fixtures_001.office import until, working
from tests.stories.pages import blocks

pytestmark = pytest.mark.django_db(transaction=True)

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


@dataclass
class City:
    url: str
    ledger: Ledger
    mails: Path
    browser_of: Callable[[User], Browser]
    tokens: Mapping[str, str]  # username → API key
    environment: pytest.MonkeyPatch
    people: Mapping[str, User] = field(default_factory=dict)

    def script(self, who: str, text: str, *answers: str) -> str:
        """Run a printed script as somebody; what it printed. `answers` are typed where it asks."""
        self._become(who)
        typed = iter(answers)
        printed = io.StringIO()
        names = {"ai_validator": ai_validator, "input": lambda prompt="": next(typed)}
        with redirect_stdout(printed):
            exec(text, names)
        return printed.getvalue()

    def shell(self, who: str, *words: str) -> tuple[int, str]:
        self._become(who)
        printed = io.StringIO()
        with redirect_stdout(printed):
            code = cli.main(list(words))
        return code, printed.getvalue()

    def http(self, who: str) -> httpx2.Client:
        bearer = {"Authorization": f"Bearer {self.tokens[who]}"}
        return httpx2.Client(base_url=self.url, headers=bearer, timeout=60, trust_env=False)

    def run(self, number: int) -> dict[str, Any]:
        with self.http("clerk") as client:
            return dict(client.get(f"/acts/runs/{number}").json())

    def ended(self, number: int) -> dict[str, Any]:
        return until(lambda: (run := self.run(number))["status"] != "running" and run)

    def mailed(self) -> list[str]:
        return [file.read_text() for file in sorted(self.mails.glob("*"))]

    def _become(self, who: str) -> None:
        self.environment.setenv("HMS_ACT_URL", self.url)
        self.environment.setenv("HMS_ACT_TOKEN", self.tokens[who])


@pytest.fixture
def city(process_environment, tmp_path, client_for, monkeypatch) -> Iterator[City]:
    mails, ledger = tmp_path / "mails", Ledger(tmp_path / "fees.sqlite3")
    mails.mkdir()
    with ExitStack() as stack:
        fees = stack.enter_context(charging(ledger))
        told = {**process_environment, "HMS_ACT_DEMO_FEE_URL": fees.url, "EMAIL_URL": f"filemail:///{mails}"}
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        stack.enter_context(working(told, tmp_path / "worker.log"))
        web = stack.enter_context(served(told, tmp_path / "web.log"))
        people = {
            "clerk": person("clerk", seeds.ADMINISTRATOR),
            "liaison": person("liaison", seeds.STAFF, "human:police_liaison"),
            "validator": agent("validator", "agent:validator"),
        }
        tokens = {name: key_of(user)[1] for name, user in people.items()}
        yield City(str(web.base_url), ledger, mails, client_for, tokens, monkeypatch, people)


@contextmanager
def charging(ledger: Ledger) -> Iterator[FeeServer]:
    with FeeServer(ledger) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


def submitted(city: City) -> int:
    """The playbook saved and a run started, by the printed scripts."""
    city.script("clerk", PERMIT_PLAYBOOK)
    found = re.fullmatch(r"Run started: (\d+)\n", city.script("clerk", SUBMIT))
    assert found is not None
    return int(found[1])


def nothing_asked_of_people(city: City) -> None:
    with city.http("liaison") as client:
        assert client.get("/hitl/requests").json()["results"] == []
        assert client.post("/acts/tasks/next", json={"role": "human:police_liaison"}).status_code == 204
    assert "All clear" in inbox_page(city)
    assert city.mailed() == []


def inbox_page(city: City) -> str:
    page = city.browser_of(city.people["liaison"]).get("/admin/approvals/actionrequest/")
    assert page.status_code == 200
    return page.content.decode()


def steps_of(run: Mapping[str, Any]) -> dict[str, tuple[str, str | None]]:
    return {name: (step["status"], step["outcome"]) for name, step in run["steps"].items()}


DONE = {
    "AI-Screen": ("completed", "PASS"),
    "Human-Approve": ("completed", "PASS"),
    "Collect-Fee": ("completed", "PASS"),
}


def test_by_the_printed_scripts_an_approved_permit_is_charged_once(city):
    run = submitted(city)
    assert city.run(run)["current_step"] == "AI-Screen"
    nothing_asked_of_people(city)

    city.script("validator", AGENT_WORKER)
    assert city.run(run)["current_step"] == "Human-Approve"
    until(lambda: len(city.mailed()) == 1)
    assert "To: liaison@example.org" in city.mailed()[0]

    printed = city.script("liaison", LIAISON_CLI, "y", "crowd plan is sound")
    assert printed == "Reviewing form 123\n"
    ended = city.ended(run)

    assert (ended["status"], ended["current_step"], steps_of(ended)) == ("completed", None, DONE)
    assert [(charge["amount"], charge["currency"]) for charge in city.ledger.all()] == [("40.00", "USD")]
    assert [(line["step"], line["status"]) for line in ended["log"]] == [
        ("AI-Screen", "running"),
        ("AI-Screen", "done"),
        ("Human-Approve", "waiting"),
        ("Human-Approve", "done"),
        ("Collect-Fee", "running"),
        ("Collect-Fee", "done"),
    ]


def test_by_the_printed_scripts_a_refusal_ends_in_fail_and_charges_nothing(city):
    run = submitted(city)
    city.script("validator", AGENT_WORKER)
    city.script("liaison", LIAISON_CLI, "n", "the bridge is closed")

    ended = city.run(run)
    assert (ended["status"], ended["steps"]["Human-Approve"]["outcome"]) == ("failed", "FAIL")
    assert "Collect-Fee" not in ended["steps"]
    assert city.ledger.all() == []


def test_saving_an_equal_playbook_again_makes_no_new_version(city):
    city.script("clerk", PERMIT_PLAYBOOK)
    city.script("clerk", PERMIT_PLAYBOOK)

    with city.http("clerk") as client:
        stored = client.get("/acts/playbooks/protest_permit").json()
    assert [(version["version"], version["state"]) for version in stored["versions"]] == [(1, "published")]


def test_by_http(city):
    run = submitted(city)
    with city.http("validator") as validator:
        claim = validator.post("/acts/tasks/next", json={"role": "agent:validator"}).json()
        url = f"/acts/tasks/{claim['task']['id']}/complete"
        assert validator.post(url, json={"token": claim["token"], "outcome": "PASS"}).status_code == 200
    with city.http("liaison") as liaison:
        (request,) = liaison.get("/hitl/requests?status=pending").json()["results"]
        body = {"fulfilled_by": "John Doe", "response_data": {}, "notes": "fine by me"}
        decided = liaison.post(f"/hitl/requests/{request['id']}/fulfill", json=body).json()

    assert (decided["status"], decided["fulfilled_by"]) == ("fulfilled", "liaison"), "the decider is who authenticated"
    assert steps_of(city.ended(run)) == DONE
    assert len(city.ledger.all()) == 1


def test_by_command_line(city):
    city.script("clerk", PERMIT_PLAYBOOK)
    code, printed = city.shell("clerk", "run", "protest_permit", "--payload", '{"form_id": 123}', "--json")
    assert code == 0
    run = int(re.search(r'"run_id": (\d+)', printed)[1])
    code, printed = city.shell("validator", "next", "agent:validator", "--json")
    task = re.search(r'"id": (\d+)', printed)[1]
    assert city.shell("validator", "complete", task, "--outcome", "PASS")[0] == 0
    code, printed = city.shell("liaison", "inbox")
    request = re.search(r"har_[0-9a-f]{12}", printed)[0]
    assert city.shell("liaison", "approve", request, "--note", "fine by me")[0] == 0
    city.ended(run)
    code, printed = city.shell("clerk", "show", str(run))

    assert code == 0
    assert "completed" in printed
    assert city.shell("liaison", "reject", request, "--reason", "too late")[0] == 1
    assert len(city.ledger.all()) == 1


def test_by_command_line_nobody_decides_what_they_have_not_seen(city, capsys):
    run = submitted(city)
    city.script("validator", AGENT_WORKER)
    request = re.search(r"har_[0-9a-f]{12}", city.shell("liaison", "inbox")[1])[0]
    assert "Human-Approve" in city.shell("liaison", "show", request)[1]
    with city.http("clerk") as clerk:
        assert clerk.patch(f"/hitl/requests/{request}", json={"title": "March by another way"}).status_code == 200

    code, _ = city.shell("liaison", "approve", request)

    assert code == 1
    assert f"{request} has changed since it was read: hms-act show {request}" in capsys.readouterr().err
    assert "March by another way" in city.shell("liaison", "show", request)[1]
    assert city.shell("liaison", "approve", request)[0] == 0
    assert steps_of(city.ended(run)) == DONE


def test_by_what_the_readme_says(city):
    read = blocks(ROOT / "README.md")
    playbook, agent_ = (block.text for block in read if block.kind == "python")
    (commands,) = (block.text for block in read if block.text.startswith("hms-act "))

    city.script("clerk", playbook)
    city.script("validator", agent_)
    with city.http("liaison") as liaison:
        (request,) = liaison.get("/hitl/requests?status=pending").json()["results"]
    ours = commands.replace("har_39a1528657a7", request["id"]).replace("show 1", f"show {request['run_id']}")
    for command in ours.splitlines():
        assert city.shell("liaison", *shlex.split(command)[1:])[0] == 0, command

    assert steps_of(city.ended(request["run_id"])) == DONE


def test_by_admin(city):
    run = submitted(city)
    city.script("validator", AGENT_WORKER)
    browser = city.browser_of(city.people["liaison"])
    found = re.search(r"/admin/approvals/actionrequest/(har_[0-9a-f]{12})/decide/", inbox_page(city))
    page = browser.get(found[0])
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.content.decode()))
    decided = browser.post(found[0], {**hidden, "outcome": "PASS", "reason": "crowd plan is sound"})

    assert decided.status_code == 303
    assert steps_of(city.ended(run)) == DONE
    assert len(city.ledger.all()) == 1
    assert "All clear" in inbox_page(city)


def by_http(city: City, request: str) -> None:
    with city.http("liaison") as liaison:
        answer = liaison.post(f"/hitl/requests/{request}/reject", json={"reason": "the bridge is closed"})
    assert (answer.status_code, answer.json()["status"]) == (200, "rejected")


def by_command_line(city: City, request: str) -> None:
    assert city.shell("liaison", "reject", request, "--reason", "the bridge is closed")[0] == 0


def by_admin(city: City, request: str) -> None:
    browser, address = city.browser_of(city.people["liaison"]), f"/admin/approvals/actionrequest/{request}/decide/"
    page = browser.get(address).content.decode()
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
    assert browser.post(address, {**hidden, "outcome": "FAIL"}).status_code == 422, "a reason is asked for"
    assert browser.post(address, {**hidden, "outcome": "FAIL", "reason": "the bridge is closed"}).status_code == 303


def test_by_every_other_way_too_a_refusal_ends_in_fail_and_charges_nothing(city):
    for refuse in (by_http, by_command_line, by_admin):
        run = submitted(city)
        city.script("validator", AGENT_WORKER)
        refuse(city, re.findall(r"har_[0-9a-f]{12}", city.shell("liaison", "inbox")[1])[0])

        ended = city.ended(run)
        assert (ended["status"], ended["steps"]["Human-Approve"]["status"]) == ("failed", "rejected")
        assert "Collect-Fee" not in ended["steps"]
    assert city.ledger.all() == []


def test_each_worker_that_forgets_to_complete_is_seen_and_the_step_offered_again(city):
    """The next step never fires, because `complete_task` is missing: the lease ends, and the step is offered again."""
    document = {
        "id": "forgetful",
        "steps": [{"id": "AI-Screen", "role": "agent:validator", "token_ttl": 1}],
    }
    with Client(city.url, city.tokens["clerk"]) as clerk:
        clerk.create_playbook(document)
        clerk.publish_version("forgetful", 1)
        run = clerk.start_run("forgetful", payload={})
    with Client(city.url, city.tokens["validator"]) as validator:
        first = validator.next_task("agent:validator", wait=5)
        again = validator.next_task("agent:validator", wait=20)
        assert (again.id, again.fence) == (first.id, first.fence + 1)
        validator.complete_task(again.id)
    assert city.ended(run.id)["status"] == "completed"
