# SPDX-License-Identifier: Apache-2.0
"""Every declared transition of run, task, request and version is reached, and emits exactly one entry of its own.

The walk is the acts themselves: each way through the product below is played for real, and every change of
a state that the database saw is held against the entries that were written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django_fsm.signals import post_transition

from approvals import claiming
from approvals import services as approvals
from approvals.models import ActionRequest
from audit.models import Entry
from playbooks import services as playbooks
from playbooks.models import Version
from runs import asking, due, jobs, services, stopping
from runs.incidents import resolve_incident
from runs.models import LEASE_LOSSES_ALLOWED, Run, Task
from tests.factories import (
    PERMIT,
    claimed,
    founder,
    later,
    parse_data,
    published,
    started,
    steps,
    waiting_for_a_person,
)
from tests.runs.play import Play, agent, human, parallel, wait

pytestmark = pytest.mark.django_db

Arrow = tuple[str, str, str, str]  # model, method, from, to

# Declared for what is still to come; nothing reaches them yet, and so nothing may be recorded for them.
OF_THE_TALK = {"request_info", "resume", "request_changes", "revise", "supersede", "take_over"}  # and of no run
NOT_REACHED = {
    ("run", "dequeue", "queued", "running"),
    ("run", "cancel", "queued", "cancelling"),
    ("run", "terminate", "queued", "terminated"),
    ("run", "terminate", "pausing", "terminated"),
    ("run", "terminate", "paused", "terminated"),
    ("request", "cancel", "pending", "cancelled"),
    ("request", "cancel", "in_review", "cancelled"),
    ("request", "cancel", "info_requested", "cancelled"),
    ("request", "cancel", "changes_requested", "cancelled"),
    ("request", "expire", "info_requested", "expired"),
    ("request", "expire", "changes_requested", "expired"),
    ("request", "become_not_required", "info_requested", "not_required"),
    ("request", "become_not_required", "changes_requested", "not_required"),
}


KINDS = {"run": Run, "task": Task, "request": ActionRequest, "version": Version}


def declared() -> Iterator[Arrow]:
    for name, model in KINDS.items():
        field = model._meta.get_field("state")
        for made in field.get_all_transitions(model):
            yield name, made.name, str(made.source), str(made.target)


class Walk:
    def __init__(self) -> None:
        self.seen: list[Arrow] = []

    def saw(self, sender: Any, instance: Any, name: str, source: str, target: str, **_: Any) -> None:
        kind = instance.audit_subject().type
        if kind in KINDS:  # a receipt that is spent as it is made is told of by its decision
            self.seen.append((kind, name, str(source), str(target)))


@pytest.fixture
def walk() -> Iterator[Walk]:
    watching = Walk()
    post_transition.connect(watching.saw)
    yield watching
    post_transition.disconnect(watching.saw)


ONE = steps({"id": "one", "role": "agent:validator"}, {"id": "two", "role": "agent:validator"})


def test_each_transition_emits_exactly_one_entry(walk, validator, liaison, tmp_path, monkeypatch):
    monkeypatch.setenv("HMS_ACT_TEST_MARKS", str(tmp_path))
    monkeypatch.setattr("audit.services.OPTIMISTIC_TRIES", 0)  # a try that is made again would be seen twice
    for way in WAYS:
        way(validator, liaison)

    moves = Entry.objects.exclude(from_state="").exclude(result="DENIED").order_by("id")
    told = [(entry.subject_type, entry.from_state, entry.to_state) for entry in moves if entry.subject_type in KINDS]
    assert sorted(told) == sorted((name, source, target) for name, _, source, target in walk.seen)
    of_runs = {arrow for arrow in declared() if arrow[0] != "request" or arrow[1] not in OF_THE_TALK}
    assert set(walk.seen) == of_runs - NOT_REACHED


def approved(validator: Any, liaison: Any) -> None:
    request = waiting_for_a_person(validator)
    services.claim_tasks(role="human:police_liaison", actor=liaison)
    approvals.decide(request_id=request.pk, actor=liaison, outcome="PASS")


def approved_at_once(validator: Any, liaison: Any) -> None:
    approvals.decide(request_id=waiting_for_a_person(validator).pk, actor=liaison, outcome="PASS")


def rejected(validator: Any, liaison: Any) -> None:
    request = waiting_for_a_person(validator)
    approvals.decide(request_id=request.pk, actor=liaison, outcome="FAIL", reason="no")


def rejected_by_the_claimer(validator: Any, liaison: Any) -> None:
    waiting_for_a_person(validator)
    (lease,) = services.claim_tasks(role="human:police_liaison", actor=liaison)
    services.complete_task(task_id=lease.task.pk, actor=liaison, token=lease.token, outcome="FAIL", note="no")


def claim_given_back(validator: Any, liaison: Any) -> None:
    request = waiting_for_a_person(validator)
    services.claim_tasks(role="human:police_liaison", actor=liaison)
    claiming.release_request(request_id=request.pk, actor=liaison)
    stopping.cancel_run(run_id=request.run_id, actor=founder())


def cancelled_while_reviewed(validator: Any, liaison: Any) -> None:
    request = waiting_for_a_person(validator)
    services.claim_tasks(role="human:police_liaison", actor=liaison)
    stopping.cancel_run(run_id=request.run_id, actor=founder())


def claim_run_out(validator: Any, liaison: Any) -> None:
    request = waiting_for_a_person(validator)
    services.claim_tasks(role="human:police_liaison", actor=liaison)
    later(hours=9)
    due.sweep()
    stopping.cancel_run(run_id=request.run_id, actor=founder())


def completed(validator: Any, liaison: Any) -> None:
    started(steps({"id": "one", "role": "svc:x", "call": "tests.charge $1"}))
    jobs.tick()


def failed(validator: Any, liaison: Any) -> None:
    started(ONE)
    lease = claimed(validator)
    services.fail_task(task_id=lease.task.pk, actor=validator, token=lease.token, retryable=False)


def released_and_cancelled(validator: Any, liaison: Any) -> None:
    run = started(ONE)
    lease = claimed(validator)
    services.release_task(task_id=lease.task.pk, actor=validator, token=lease.token)
    stopping.cancel_run(run_id=run.pk, actor=founder())


def released_after_the_cancelling(validator: Any, liaison: Any) -> None:
    run = started(ONE)
    lease = claimed(validator)
    stopping.cancel_run(run_id=run.pk, actor=founder())
    services.release_task(task_id=lease.task.pk, actor=validator, token=lease.token)


def lost_too_often(validator: Any, liaison: Any) -> None:
    started(ONE)
    for _ in range(LEASE_LOSSES_ALLOWED + 1):
        claimed(validator)
        later(seconds=61)
        due.sweep()


def asked_in_mid_task(validator: Any) -> tuple[Any, ActionRequest]:
    started(ONE)
    lease = claimed(validator)
    request_id, _ = asking.request_approval(
        task_id=lease.task.pk, token=lease.token, actor=validator, reason="may I?", role="human:police_liaison"
    )
    return lease, ActionRequest.objects.get(pk=request_id)


def resumed(validator: Any, liaison: Any) -> None:
    lease, request = asked_in_mid_task(validator)
    approvals.decide(request_id=request.pk, actor=liaison, outcome="PASS")
    asking.resume_task(task_id=lease.task.pk, token=lease.token, actor=validator)
    stopping.cancel_run(run_id=request.run_id, actor=founder())


def not_resumed(validator: Any, liaison: Any) -> None:
    _, request = asked_in_mid_task(validator)
    approvals.decide(request_id=request.pk, actor=liaison, outcome="PASS")
    later(seconds=61)
    due.sweep()
    stopping.cancel_run(run_id=request.run_id, actor=founder())


def cancelled_before_it_resumed(validator: Any, liaison: Any) -> None:
    _, request = asked_in_mid_task(validator)
    approvals.decide(request_id=request.pk, actor=liaison, outcome="PASS")
    stopping.cancel_run(run_id=request.run_id, actor=founder())


def timed_out_in_every_state(validator: Any, liaison: Any) -> None:
    soon = {"timeouts": {"schedule_to_close": 30}}
    agents = steps({"id": "one", "role": "agent:validator", **soon}, id="agents_soon")
    people = steps({"id": "one", "role": "human:police_liaison", **soon}, id="people_soon")
    started(agents)
    claimed(validator)
    later(seconds=31)
    due.sweep()
    started(agents)
    started(people)
    later(seconds=31)
    due.sweep()
    started(people)
    services.claim_tasks(role="human:police_liaison", actor=liaison)
    later(seconds=31)
    due.sweep()
    started(agents)
    lease = claimed(validator)
    request_id, _ = asking.request_approval(
        task_id=lease.task.pk, token=lease.token, actor=validator, reason="may I?", role="human:police_liaison"
    )
    approvals.decide(request_id=request_id, actor=liaison, outcome="PASS")
    later(seconds=31)
    due.sweep()


def cancelled_while_held(validator: Any, liaison: Any) -> None:
    play = Play(parallel("either", [agent("a")], [agent("b")], join="ANY"))
    play.claim("either/0/a")
    play.do("either/1/b")


def stuck_in_every_state(validator: Any, liaison: Any) -> None:
    held = {"on_exhausted": "INCIDENT", "timeouts": {"schedule_to_close": 30}}
    Play(agent("a", **held))
    Play(human("a", **held))
    Play(agent("a", when="payload.nothing", on_exhausted="INCIDENT"))
    later(seconds=31)
    due.sweep()
    play = Play(agent("a", **held))
    lease = play.claim("a")
    request_id, _ = asking.request_approval(
        task_id=lease.task.pk, token=lease.token, actor=validator, reason="may I?", role="human:police_liaison"
    )
    approvals.decide(request_id=request_id, actor=liaison, outcome="PASS")
    later(seconds=31)
    due.sweep()
    assert play.incidents == {"a"}
    resolve_incident(task_id=play.task("a").pk, actor=founder(), resolution="skip", reason="by hand")


def waited(validator: Any, liaison: Any) -> None:
    play = Play(wait("rest", duration="1m"), wait("sign", signal="go", timeout="1m"))
    play.tick(minutes=2)
    play.tick(minutes=2)
    assert play.state == "failed"


def terminated(validator: Any, liaison: Any) -> None:
    stopping.terminate_run(run_id=Play(agent("a")).run_id, actor=founder(), reason="over")
    play = Play(agent("a"))
    play.claim("a")
    stopping.cancel_run(run_id=play.run_id, actor=founder())
    stopping.terminate_run(run_id=play.run_id, actor=founder(), reason="over")


def retired(validator: Any, liaison: Any) -> None:
    version = published({**PERMIT, "id": "retired_one"})
    playbooks.retire_version(actor=founder(), playbook="retired_one", number=version.number)
    playbooks.create_playbook(actor=founder(), parsed=parse_data({**PERMIT, "id": "draft_one"}))


WAYS: list[Callable[[Any, Any], None]] = [
    approved,
    approved_at_once,
    rejected,
    rejected_by_the_claimer,
    claim_given_back,
    claim_run_out,
    cancelled_while_reviewed,
    completed,
    failed,
    released_and_cancelled,
    released_after_the_cancelling,
    lost_too_often,
    resumed,
    not_resumed,
    cancelled_before_it_resumed,
    timed_out_in_every_state,
    cancelled_while_held,
    stuck_in_every_state,
    waited,
    terminated,
    retired,
]
