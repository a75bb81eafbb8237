# SPDX-License-Identifier: Apache-2.0
"""The human-in-the-loop state machine as printed: its example, its decorators, its workflows.

Against a live web server. Credentials are added, and the package is ours. Who approves is somebody else than who asks.
"""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import pytest

from accounts import seeds
from approvals.models import ActionRequest, Receipt
from hms_act import ReceiptRefused, hitl
from hms_act.hitl import HITLService, HITLStateMachine, TaskContext, TaskState
from tests.config.web import served
from tests.people import agent, key_of, person
from tests.stories.fixtures_001.office import until

pytestmark = pytest.mark.django_db(transaction=True)

REVIEWERS = "human:reviewer"
USAGE_EXAMPLE = """
import asyncio
from hms_act.hitl import HITLStateMachine

async def main():
    machine = HITLStateMachine()

    # Start task
    task = await machine.start_task("deploy_prod")

    # Request approval
    await machine.request_approval(
        "deploy_prod",
        reason="Deploy v1.2.3 to production",
        severity="critical"
    )

    # Approve (simulated human action)
    become("alice")
    await machine.approve("deploy_prod", approver="alice")
    become("deployer")

    # Resume and complete
    await machine.resume("deploy_prod")
    await machine.complete("deploy_prod")
    return task

task = asyncio.run(main())
"""
DECORATED = """
@requires_approval(
    reason="Deploy to production",
    options=["proceed", "cancel"],
    severity="high"
)
async def deploy():
    ran.append("deploy")

@interruptible(check_interval=1.0)
async def long_operation():
    ran.append("long_operation")
"""
INTEGRATED = """
class Agent:
    async def execute(self):
        ran.append("critical_action")
        return "done"

machine = HITLStateMachine()

class ApprovalAgent(Agent):
    @requires_approval(severity="high")
    async def critical_action(self):
        return await self.execute()
"""
# A program of its own, which can be killed: it begins anew each time it is started.
PROGRAM = """
import asyncio, sys
from hms_act.hitl import interrupt, interruptible, requires_approval

@interruptible(check_interval=0.2)
async def move(source, target):
    print("began", flush=True)
    room = await interrupt("May files be moved?", context={"files": 3})
    print("first", room.outcome, flush=True)
    after = await interrupt("Delete the old ones?", options=["delete", "keep"])
    print("second", after.outcome, flush=True)

@requires_approval(reason="Deploy to production", severity="high")
async def deploy(version):
    print("deployed", version, flush=True)

asyncio.run({"move": lambda: move("a", "b"), "deploy": lambda: deploy("1.2.3")}[sys.argv[1]]())
"""


@dataclass
class Office:
    url: str
    tokens: dict[str, str]
    environment: pytest.MonkeyPatch
    process_environment: dict[str, str]

    def become(self, who: str) -> None:
        self.environment.setenv("HMS_ACT_URL", self.url)
        self.environment.setenv("HMS_ACT_TOKEN", self.tokens[who])

    def script(self, text: str, **names: Any) -> dict[str, Any]:
        """Run a printed script as the agent: its names."""
        self.become("deployer")
        names = {**vars(hitl), "become": self.become, "ran": [], **names}
        with redirect_stdout(io.StringIO()):
            exec(text, names)
        return names

    def service(self, who: str) -> HITLService:
        return HITLService(hitl.Client(self.url, self.tokens[who]))

    def machine(self, who: str = "deployer") -> HITLStateMachine:
        return HITLStateMachine(self.service(who))

    def starts(self, *words: str) -> subprocess.Popen[str]:
        own = {**self.process_environment, "HMS_ACT_URL": self.url, "HMS_ACT_TOKEN": self.tokens["deployer"]}
        pipe = subprocess.PIPE
        return subprocess.Popen([sys.executable, "-c", PROGRAM, *words], env=own, stdout=pipe, stderr=pipe, text=True)

    def when_asked(self, act: Callable[[HITLService, str], object], times: int = 1) -> threading.Thread:
        """Alice answers what comes in, so many times."""

        def run() -> None:
            alice = self.service("alice")
            for _ in range(times):
                until(lambda: alice.inbox())
                act(alice, alice.inbox()[0].id)

        thread = threading.Thread(target=run)
        thread.start()
        return thread


def approve(alice: HITLService, request_id: str) -> object:
    return alice.fulfill_request(request_id)


@pytest.fixture
def office(process_environment, tmp_path, monkeypatch) -> Iterator[Office]:
    users = [agent("deployer", "agent:deployer"), agent("other"), person("alice", seeds.STAFF, REVIEWERS)]
    tokens = {user.username: key_of(user)[1] for user in users}
    with served(process_environment, tmp_path / "web.log") as web:
        yield Office(str(web.base_url).rstrip("/"), tokens, monkeypatch, dict(process_environment))


# As printed -----------------------------------------------------------------------------------------------


def test_the_printed_example_goes_through_people_and_the_server(office):
    task = office.script(USAGE_EXAMPLE)["task"]

    assert task.state == TaskState.COMPLETED
    request = ActionRequest.objects.get()
    assert (request.title, request.severity, request.workflow_id) == (
        "Deploy v1.2.3 to production",
        "critical",
        "deploy_prod",
    )
    assert (request.state, request.decided_by.username, request.claimed_decider) == ("fulfilled", "alice", "alice")
    assert Receipt.objects.get().state == "spent", "what was approved was done, once"


def test_the_printed_decorators_run_a_function_once_a_person_allows_it(office):
    names = office.script(DECORATED)
    alice = office.when_asked(lambda service, asked: service.fulfill_request(asked, outcome="proceed"))

    asyncio.run(names["deploy"]())
    alice.join()
    asyncio.run(names["long_operation"]())

    assert names["ran"] == ["deploy", "long_operation"]
    request = ActionRequest.objects.get()
    assert (request.title, request.severity, request.outcome) == ("Deploy to production", "high", "proceed")
    assert [(each["key"], each["ends"]) for each in request.options] == [("proceed", ""), ("cancel", "fail")]


def test_the_printed_integration_asks_for_a_method(office):
    names = office.script(INTEGRATED)
    alice = office.when_asked(approve)

    assert asyncio.run(names["ApprovalAgent"]().critical_action()) == "done"
    alice.join()
    assert "critical_action" in ActionRequest.objects.get().title


def test_three_deployments_at_once_each_wait_for_their_own_answer(office):
    async def main() -> dict[str, TaskContext]:
        machine, reviewing = office.machine(), office.machine("alice")
        names = ["east", "north", "west"]
        await asyncio.gather(*(machine.start_task(name) for name in names))
        await asyncio.gather(*(machine.request_approval(name, f"Deploy {name}") for name in names))
        assert {task.task_id for task in await reviewing.get_pending_approvals()} == set(names)
        await reviewing.approve("east")
        await reviewing.reject("north", reason="Not today")
        await machine.fail("west", "no longer needed")
        return {task.task_id: task for task in await machine.get_all_tasks()}

    tasks = asyncio.run(main())

    assert {name: task.state for name, task in tasks.items()} == {
        "east": "approved",
        "north": "rejected",
        "west": "failed",
    }
    assert tasks["north"].approval_data["reason"] == "Not today"
    states = dict(ActionRequest.objects.values_list("workflow_id", "state"))
    assert states == {"east": "fulfilled", "north": "rejected", "west": "cancelled"}


# The state machine ----------------------------------------------------------------------------------------


def test_each_end_of_a_question_is_told_apart_and_only_an_approval_goes_on(office):
    async def main() -> None:
        machine = office.machine()
        for name in ("no", "taken-back", "slow"):
            await machine.start_task(name)
            await machine.request_approval(name, f"May I {name}?")
        await office.machine("alice").reject("no", reason="Too dear")
        asked = (await machine.get_task("taken-back")).interrupt_point
        await asyncio.to_thread(office.service("deployer").cancel_request, asked.request_id)

        assert (await machine.wait_for("no")).state == TaskState.REJECTED
        with pytest.raises(hitl.Rejected, match="Too dear"):
            await machine.resume("no")
        assert (await machine.wait_for("taken-back")).state == TaskState.FAILED
        with pytest.raises(hitl.Cancelled):
            await machine.resume("taken-back")
        with pytest.raises(TimeoutError):
            await machine.wait_for("slow", timeout=1)
        with pytest.raises(hitl.InvalidTransition, match="nobody has answered"):
            await machine.resume("slow")
        with pytest.raises(hitl.InvalidTransition):
            await machine.complete("slow")
        with pytest.raises(hitl.DuplicateTask):
            await machine.start_task("slow")
        with pytest.raises(hitl.UnknownTask):
            await machine.resume("never-started")

    asyncio.run(main())

    assert ActionRequest.objects.get(workflow_id="slow").is_open, "to stop waiting is not to cancel"


def test_a_machine_that_is_started_again_finds_its_question_and_its_answer(office):
    async def first_life() -> str:
        machine = office.machine()
        await machine.start_task("deploy", step="build")
        await machine.enter_step("deploy", "release")
        asked = await machine.request_approval("deploy", "Deploy?", context={"version": "1.2.3"})
        return json.dumps((await machine.get_task("deploy")).to_dict()) + "|" + asked.request_id

    kept, _, asked = asyncio.run(first_life()).partition("|")

    async def while_it_waits() -> TaskContext:
        return await office.machine().start_task("deploy")

    waiting = asyncio.run(while_it_waits())
    assert (waiting.state, waiting.interrupt_point.request_id) == (TaskState.AWAITING_APPROVAL, asked)
    office.service("alice").fulfill_request(asked)

    async def after_the_answer() -> TaskContext:
        machine = office.machine()
        machine.restore(json.loads(kept))
        assert (await machine.get_task("deploy")).state == TaskState.APPROVED
        await machine.resume("deploy")
        return await machine.complete("deploy")

    done = asyncio.run(after_the_answer())
    assert (done.state, done.history, done.approval_data["by"]) == (TaskState.COMPLETED, ["build", "release"], "alice")

    async def once_more() -> TaskContext:
        machine = office.machine()
        task = await machine.start_task("deploy")
        assert task.state == TaskState.RUNNING, "what was approved was used"
        await machine.request_approval("deploy", "Deploy?", context={"version": "1.2.3"})
        return task

    assert asyncio.run(once_more()).interrupt_point.request_id != asked
    assert ActionRequest.objects.count() == 2


def test_who_subscribes_hears_of_every_change_and_a_fault_of_theirs_stops_nothing(office, caplog):
    heard: list[tuple[str, str]] = []

    async def note(task: TaskContext) -> None:
        heard.append((task.task_id, str(task.state)))

    def stumble(task: TaskContext) -> None:
        raise RuntimeError("cannot hear")

    async def main() -> None:
        machine = office.machine()
        machine.add_callback("*", note)
        machine.add_callback("one", stumble)
        await machine.start_task("one")
        await machine.request_approval("one", "May I?", options=["go", "stop"])
        await office.machine("alice").approve("one")
        await machine.wait_for("one")
        await machine.resume("one")
        await machine.complete("one")

    asyncio.run(main())

    states = ["running", "awaiting_approval", "approved", "running", "completed"]
    assert heard == [("one", state) for state in states]
    assert "failed for the task one" in caplog.text
    assert ActionRequest.objects.get().outcome == "go", "a bare yes is the first option that goes on"


def test_an_approval_lets_one_process_go_on_and_no_second(office):
    async def main() -> None:
        first, second = office.machine(), office.machine()
        await first.start_task("once")
        await first.request_approval("once", "May I?")
        await second.start_task("once")
        await office.machine("alice").approve("once")
        await first.resume("once")
        with pytest.raises(ReceiptRefused):
            await second.resume("once")

    asyncio.run(main())


# The decorators -------------------------------------------------------------------------------------------


def test_a_no_is_raised_and_the_function_is_not_run(office):
    names = office.script(DECORATED)
    alice = office.when_asked(lambda service, asked: service.reject_request(asked, reason="Not on a Friday"))

    with pytest.raises(hitl.Rejected, match="Not on a Friday"):
        asyncio.run(names["deploy"]())
    alice.join()
    with pytest.raises(hitl.Rejected):
        asyncio.run(names["deploy"]())

    assert names["ran"] == []
    assert ActionRequest.objects.count() == 1, "a no stands for an hour"


def test_what_a_function_does_is_what_was_approved_and_each_call_is_asked_for(office):
    paid: list[Any] = []

    @hitl.requires_approval("Pay", service=office.service("deployer"), hide=["token"])
    def pay(amount: str, token: str = "") -> str:
        paid.append((amount, hitl.current_approval().fulfilled_by))
        return amount

    alice = office.when_asked(approve, times=3)
    assert [pay("10.00", token="s3cret"), pay("20.00"), pay("10.00", token="s3cret")] == ["10.00", "20.00", "10.00"]
    alice.join()

    assert paid == [("10.00", "alice"), ("20.00", "alice"), ("10.00", "alice")]
    inputs = [request.action["input"] for request in ActionRequest.objects.order_by("created_at", "id")]
    assert [each["amount"] for each in inputs] == ["10.00", "20.00", "10.00"]
    assert [each["token"] for each in inputs] == ["(hidden)"] * 3
    assert hitl.current_approval() is None


def test_a_program_that_is_killed_while_it_waits_goes_on_with_the_answer(office):
    first = office.starts("deploy")
    until(lambda: ActionRequest.objects.exists())
    first.kill()
    first.communicate()
    approve(office.service("alice"), ActionRequest.objects.get().pk)

    out, errors = office.starts("deploy").communicate(timeout=60)

    assert out == "deployed 1.2.3\n", errors
    assert ActionRequest.objects.count() == 1


def test_an_interruptible_function_that_is_killed_in_mid_wait_asks_nothing_twice(office):
    alice = office.service("alice")
    first = office.starts("move")
    until(lambda: alice.inbox())
    (asked,) = alice.inbox()
    assert asked.context["arguments"] == {"source": "a", "target": "b"}
    assert asked.context["files"] == 3
    approve(alice, asked.id)
    until(lambda: alice.inbox())  # it waits for the second answer now
    first.kill()
    out, _ = first.communicate()
    assert out == "began\nfirst PASS\n"
    alice.fulfill_request(alice.inbox()[0].id, outcome="keep")

    again = office.starts("move")
    out, errors = again.communicate(timeout=60)

    assert (again.returncode, out) == (0, "began\nfirst PASS\nsecond keep\n"), errors
    assert ActionRequest.objects.count() == 2
    assert set(Receipt.objects.values_list("state", flat=True)) == {"spent"}, "the next call asks anew"
