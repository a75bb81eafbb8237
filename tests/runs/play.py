# SPDX-License-Identifier: Apache-2.0
"""A run of any kind of step, played by its acts: who does what at which path, and what is open after it.

play = Play(parallel("check", [agent("b")], [agent("c")]), agent("end"))
assert play.open == {"check", "check/0/b", "check/1/c"}
play.do("check/0/b", output={"n": 1})
"""

from itertools import count

from approvals.models import OPEN_REQUESTS, ActionRequest
from approvals.services import decide
from audit.models import Entry
from runs import jobs, services
from runs.models import OPEN_TASKS, Run, Task, TaskState
from tests.factories import later, started, user

VALIDATOR, LIAISON = "agent:validator", "human:police_liaison"
_numbers = count(1)


def agent(step_id, **fields):
    return {"id": step_id, "role": VALIDATOR, **fields}


def human(step_id, **fields):
    return {"id": step_id, "role": LIAISON, **fields}


def service(step_id, call="tests.charge", **fields):
    return {"id": step_id, "role": "svc:finance", "call": call, **fields}


def parallel(step_id, *branches, **fields):
    return {"id": step_id, "type": "parallel", "branches": [{"steps": list(steps)} for steps in branches], **fields}


def foreach(step_id, items, *steps, **fields):
    return {"id": step_id, "type": "foreach", "items": items, "steps": list(steps), **fields}


def switch(step_id, *cases, **fields):
    return {"id": step_id, "type": "switch", "cases": list(cases), **fields}


def wait(step_id, **fields):
    return {"id": step_id, "type": "wait", **fields}


def child(step_id, playbook, **fields):
    return {"id": step_id, "type": "playbook", "playbook": playbook, **fields}


class Play:
    def __init__(self, *steps, payload=None, id="", run=None, leases=None, **document):
        """`leases` are shared by plays of several runs: whoever claims gets tasks of all of them."""
        self.agent = user("validator", "agent", VALIDATOR)
        self.person = user("liaison", "human", LIAISON)
        self.leases = {} if leases is None else leases  # (run, path) → lease
        document = {"id": id or f"play-{next(_numbers)}", "steps": list(steps), **document}
        self.run_id = run.pk if run is not None else started(document, payload=payload or {}).pk

    @property
    def run(self):
        return Run.objects.select_related("version__playbook", "started_by").get(pk=self.run_id)

    @property
    def state(self):
        return self.run.state

    @property
    def open(self):
        """Paths of what is open."""
        return set(Task.objects.filter(run=self.run_id, state__in=OPEN_TASKS).values_list("path", flat=True))

    @property
    def incidents(self):
        return set(Task.objects.filter(run=self.run_id).unresolved().values_list("path", flat=True))

    @property
    def states(self):
        """Path → state of its newest attempt."""
        return dict(Task.objects.filter(run=self.run_id).order_by("id").values_list("path", "state"))

    def task(self, path):
        return Task.objects.filter(run=self.run_id, path=path).order_by("-attempt").first()

    def entries(self, action):
        return list(Entry.objects.filter(run_id=self.run_id, action=action).order_by("id"))

    def claim(self, path):
        while (self.run_id, path) not in self.leases:
            leases = services.claim_tasks(role=VALIDATOR, actor=self.agent, limit=20)
            if not leases:  # held still, or to be tried again later
                self.tick(seconds=61)
                leases = services.claim_tasks(role=VALIDATOR, actor=self.agent, limit=20)
            assert leases, f"{path} cannot be claimed; open are {self.open}"
            self.leases |= {(lease.task.run_id, lease.task.path): lease for lease in leases}
        lease = self.leases.pop((self.run_id, path))
        held = Task.objects.filter(pk=lease.task.pk, state=TaskState.RUNNING, fence=lease.fence)
        return lease if held.exists() else self.claim(path)  # time has moved since it was claimed with others

    def give_back(self, lease):
        """What `claim` gave: for `do` to use."""
        self.leases[self.run_id, lease.task.path] = lease

    def do(self, *paths, outcome="PASS", output=None, note=""):
        for path in paths:
            lease = self.claim(path)
            services.complete_task(
                task_id=lease.task.pk, actor=self.agent, token=lease.token, outcome=outcome, output=output, note=note
            )

    def fail(self, path, error_type="Broken", message="it is broken", retryable=False):
        lease = self.claim(path)
        services.fail_task(
            task_id=lease.task.pk, actor=self.agent, token=lease.token, error_type=error_type, message=message,
            retryable=retryable,
        )  # fmt: skip

    def question(self, path):
        return ActionRequest.objects.get(run=self.run_id, task__path=path, state__in=OPEN_REQUESTS)

    def answer(self, path, outcome="PASS", reason="because", **more):
        decide(request_id=self.question(path).pk, actor=self.person, outcome=outcome, reason=reason, **more)

    def tick(self, **by):
        """Everything that is due, `by` later."""
        if by:
            later(**by)
            self.leases.clear()  # they may have run out
        jobs.tick()
