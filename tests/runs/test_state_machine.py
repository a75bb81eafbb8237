# SPDX-License-Identifier: Apache-2.0
"""Whatever is called in whatever order, by whoever, with whatever token: the rows stay true and nothing is stuck.

A state machine calls the acts as agents, people, operators and the clock do, well and badly timed, on several runs of
one playbook with every kind of step in it. A refusal is a fine answer; a broken row is not.
"""

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from approvals.models import OPEN_REQUESTS, ActionRequest
from approvals.services import decide
from audit.models import Entry
from config.errors import Refused
from runs import jobs, services, stopping
from runs.incidents import resolve_incident
from runs.models import ENDED_RUNS, OPEN_TASKS, Run, RunMessage, Task, TaskState
from runs.waits import send_signal
from tests.factories import founder, later, published, user
from tests.runs.play import LIAISON, VALIDATOR, agent, child, foreach, human, parallel, service, wait

pytestmark = pytest.mark.django_db

EVERYTHING = {
    "id": "everything",
    "steps": [
        agent("first", retries=1, on_exhausted="INCIDENT", compensate="tests.undo"),
        parallel(
            "both",
            [human("ask", on_reject="CONTINUE"), wait("paid", signal="paid", timeout="1h", on_failure="CONTINUE")],
            [foreach("each", "payload.items", agent("item"), tolerated_failure_count=1, max_concurrency=2)],
            [child("sub", "inner", on_failure="CONTINUE")],
            join=2,
        ),
        service("do", "tests.do", on_failure={"steps": [agent("tell")], "then": "CONTINUE"}),
        agent("last"),
    ],
}
OUTCOMES = st.sampled_from(["PASS", "PASS", "PASS", "FAIL", "unheard-of"])


class House(RuleBasedStateMachine):
    runs = Bundle("runs")
    leases = Bundle("leases")

    def __init__(self):
        super().__init__()
        self.agent = user("validator", "agent", VALIDATOR)
        self.person = user("liaison", "human", LIAISON)
        self.made = []

    @rule(target=runs, items=st.lists(st.integers(0, 9), max_size=4))
    def start(self, items):
        if len(self.made) == 3:
            return multiple()
        self.made.append(services.start_run(actor=founder(), playbook="everything", payload={"items": items}).pk)
        return self.made[-1]

    @rule(target=leases, limit=st.integers(1, 3))
    def claim(self, limit):
        return multiple(*services.claim_tasks(role=VALIDATOR, actor=self.agent, limit=limit))

    @rule(lease=leases)
    def renew(self, lease):
        with suppress(Refused):
            services.extend_lease(task_id=lease.task.pk, actor=self.agent, token=lease.token)

    @rule(lease=consumes(leases))
    def release(self, lease):
        with suppress(Refused):
            services.release_task(task_id=lease.task.pk, actor=self.agent, token=lease.token)

    @rule(lease=leases, outcome=OUTCOMES)
    def complete(self, lease, outcome):
        with suppress(Refused):
            services.complete_task(
                task_id=lease.task.pk, actor=self.agent, token=lease.token, outcome=outcome, output=1
            )

    @rule(lease=leases, retryable=st.booleans())
    def fail(self, lease, retryable):
        with suppress(Refused):
            services.fail_task(task_id=lease.task.pk, actor=self.agent, token=lease.token, retryable=retryable)

    @rule(number=st.integers(0, 5), outcome=OUTCOMES)
    def decide(self, number, outcome):
        for request in ActionRequest.objects.filter(state__in=OPEN_REQUESTS)[number : number + 1]:
            with suppress(Refused):
                decide(request_id=request.pk, actor=self.person, outcome=outcome, reason="drawn")

    @rule(run=runs)
    def signal(self, run):
        with suppress(Refused):
            send_signal(run_id=run, actor=founder(), name="paid", data={"n": 1})

    @rule(run=runs)
    def cancel(self, run):
        with suppress(Refused):
            stopping.cancel_run(run_id=run, actor=founder())

    @rule(run=runs)
    def terminate(self, run):
        with suppress(Refused):
            stopping.terminate_run(run_id=run, actor=founder(), reason="drawn")

    @rule(number=st.integers(0, 3), resolution=st.sampled_from(["retry", "skip", "fail"]))
    def resolve(self, number, resolution):
        for task in Task.objects.filter(run__in=self.made).unresolved()[number : number + 1]:
            resolve_incident(task_id=task.pk, actor=founder(), resolution=resolution, reason="drawn")

    @rule()
    def everybody_vanishes(self):
        """Holders die: nobody renews, and every lease runs out."""
        later(minutes=2)
        jobs.tick()

    @rule(minutes=st.sampled_from([0, 1, 30, 90]))
    def time_passes(self, minutes):
        later(minutes=minutes)
        jobs.tick()

    @invariant()
    def rows_are_true(self):
        for run in Run.objects.filter(pk__in=self.made):
            tasks = list(Task.objects.filter(run=run))
            still_open = [task for task in tasks if task.state in OPEN_TASKS]
            unresolved = [task for task in tasks if task.is_unresolved]
            if run.state in ENDED_RUNS:
                assert not still_open, f"run {run.pk} is {run.state} with {still_open}"
                assert not unresolved
                assert not ActionRequest.objects.filter(run=run, state__in=OPEN_REQUESTS).exists()
            else:
                said = RunMessage.objects.filter(task__run=run, done_at=None).exists()
                assert still_open or unresolved or said, f"run {run.pk} waits for nothing"
            for task in tasks:
                assert (task.state == TaskState.RUNNING) == bool(task.token_hash)

    @invariant()
    def each_end_is_told_once(self):
        for run in Run.objects.filter(pk__in=self.made, state__in=ENDED_RUNS):
            told = Entry.objects.filter(run_id=run.pk, subject_type="run", to_state=run.state).exclude(result="DENIED")
            assert told.count() == 1

    def teardown(self):
        for run in Run.objects.filter(pk__in=self.made).open():
            stopping.terminate_run(run_id=run.pk, actor=founder(), reason="the example is over")


def test_the_rows_stay_true_whatever_is_called():
    published({"id": "inner", "steps": [agent("work")]})
    published(EVERYTHING)
    run_state_machine_as_test(
        House,
        settings=settings(
            max_examples=12,
            stateful_step_count=40,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
        ),
    )
