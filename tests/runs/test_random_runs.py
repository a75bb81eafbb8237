# SPDX-License-Identifier: Apache-2.0
"""Random playbooks, played act by act in random order: a run ends, or waits for something that is shown.

After every act the rows are held against the position: what is open is what the position says, every open row is
looked at again, and nothing is left behind by what has ended.
"""

import json
import random

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from playbooks.definition import StepKind
from playbooks.models import Version
from runs import engine, stopping
from runs.advance import position
from runs.incidents import resolve_incident
from runs.models import JOINED_KINDS, OPEN_TASKS, Run, RunMessage, RunState, Task, TaskState
from runs.waits import send_signal
from tests.factories import founder, published
from tests.playbook_strategies import CHILD, SIGNAL, playbooks
from tests.runs.play import LIAISON, VALIDATOR, Play, agent

pytestmark = pytest.mark.django_db

MOST_ACTS = 400


class Chance:
    def __init__(self, document, seed):
        self.random = random.Random(seed)
        self.play = _begun(document)
        self.acts = 0

    def to_the_end(self, cancel_after):
        while self.play.run.is_open:
            self.acts += 1
            assert self.acts < MOST_ACTS, f"it goes on without end: {self.play.states}"
            if self.acts == cancel_after and self.play.state == "running" and "undoing" not in self.play.run.position:
                stopping.cancel_run(run_id=self.play.run_id, actor=founder())
            else:
                self.act()
            self.check()

    def act(self):
        waiting = Task.objects.filter(run=self.play.run_id, state__in=OPEN_TASKS).exclude(kind__in=JOINED_KINDS)
        stuck = Task.objects.filter(run=self.play.run_id).unresolved()
        ways = [*waiting, *stuck]
        assert ways, "nobody can do anything, and the run goes on"
        task = self.random.choice(ways)
        if task.state == TaskState.INCIDENT:
            resolution = self.random.choice(["skip", "fail", "retry"] if task.attempt < 3 else ["skip", "fail"])
            resolve_incident(task_id=task.pk, actor=founder(), resolution=resolution, reason="drawn")
            return
        getattr(self, f"do_{task.kind}")(task)

    def do_agent(self, task):
        outcome = self.random.choice(["PASS", "PASS", "later", "FAIL", "deny", "fault"])
        if task.ready_at is None and task.state == TaskState.PENDING:
            self.play.tick(minutes=10)
        elif outcome == "fault":
            self.play.fail(task.path, retryable=self.random.random() < 0.3)
        else:
            self.play.do(task.path, outcome=outcome, output={"of": task.path})

    def do_human(self, task):
        self.play.answer(task.path, self.random.choice(["PASS", "PASS", "later", "FAIL", "deny"]))

    def do_service(self, task):
        self.play.tick(seconds=self.random.choice([0, 600]))

    def do_wait(self, task):
        waits_for = engine.step_at(self.play.run.version.definition, task.path).shape
        if waits_for.signal and self.random.random() < 0.7:
            send_signal(run_id=self.play.run_id, actor=founder(), name=SIGNAL, data={"n": self.acts})
        else:
            self.play.tick(seconds=61)

    def do_playbook(self, task):
        self.play.tick()
        for run in Run.objects.filter(parent=task).open():
            inner = Play(run=run, leases=self.play.leases)
            if self.random.random() < 0.7:
                inner.do("work")
            else:
                stopping.terminate_run(run_id=run.pk, actor=founder(), reason="drawn")
        self.play.tick()

    def check(self):
        run = self.play.run
        tasks = list(Task.objects.filter(run=run))
        still_open = {task.path for task in tasks if task.state in OPEN_TASKS}
        unresolved = {task.path for task in tasks if task.is_unresolved}
        if not run.is_open:
            assert not still_open, f"{run.state} with {still_open} open"
            assert not unresolved
            return
        assert still_open | unresolved or RunMessage.objects.filter(task__run=run, done_at=None).exists()
        here = position(run)
        if run.state == RunState.RUNNING and here.undoing is None:
            around = [task for task in tasks if task.kind in (StepKind.PARALLEL, StepKind.FOREACH)]
            fans = {path for path, block in here.blocks.items() if isinstance(block, engine.Fan)}
            assert {task.path for task in around if task.state in OPEN_TASKS} <= fans
            assert fans <= {task.path for task in around if task.state in OPEN_TASKS or task.is_unresolved}


def _begun(document):
    for step in _steps_of(document):
        if step["type"] == "agent":
            step["role"] = VALIDATOR
        if step["type"] == "human":
            step["role"] = LIAISON
    given = {key: value for key, value in document.items() if key not in ("id", "steps")}
    return Play(*document["steps"], **given)


def _steps_of(part):
    if isinstance(part, dict):
        if "type" in part:
            yield part
        for value in part.values():
            yield from _steps_of(value)
    elif isinstance(part, list):
        for value in part:
            yield from _steps_of(value)


# Not shrunk: that takes minutes. What failed is told, and can be played again.
@settings(
    max_examples=25,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    report_multiple_bugs=False,
)
@given(playbooks(depth=3, width=3), st.integers(0, 2**32), st.one_of(st.none(), st.integers(1, 12)))
def test_every_run_ends_or_waits_for_what_is_shown(document, seed, cancel_after):
    if not Version.objects.filter(playbook__slug=CHILD).exists():
        published({"id": CHILD, "steps": [agent("work")]})
    note(f"{json.dumps(document)}, {seed}, {cancel_after}")
    Chance(document, seed).to_the_end(cancel_after)
