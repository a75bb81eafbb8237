# SPDX-License-Identifier: Apache-2.0
"""Tasks that wait for people: a task's holder asks in mid-task and resumes; an answer ends a task, or lets it go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from accounts.models import User
from audit import actions
from audit.context import origin
from audit.services import SYSTEM, Line, act, record, transitioned
from config import wake
from config.batch import Batch
from config.errors import LeaseLost, WrongState
from runs import engine, performers
from runs.advance import ENDING_FIELDS, Change, next_check, save_run
from runs.claiming import CLAIM_FIELDS
from runs.inputs import Known, handed, outputs_for
from runs.leases import Lease, hashed, new_token, refuse_unless_held, ttl
from runs.models import Task, TaskState
from runs.services import advance_by, apply, kept_of, read_task, saying_what_opened, write_end

TIMEOUT = "TIMEOUT"  # the outcome of a question that nobody answered in time


@act(actions.TASK_ASK_DENIED, one_write=True)
def request_approval(
    *,
    task_id: int,
    token: str,
    actor: User,
    reason: str,
    context: Mapping[str, Any] | None = None,
    options: Sequence[str] = (),
    severity: str = "medium",
    role: str = "",
    first: Sequence[Line] = (),
) -> tuple[str, Task]:
    """Ask a person before going on: (request id, task). The lease ends; `resume_task` takes it up once approved.

    Repeated with the same token it answers the same request. Raises LeaseLost, and Invalid for a role that
    people do not hold.
    """
    people = _people()
    task = read_task(task_id, actor)
    if task.state == TaskState.AWAITING_APPROVAL and _asked_with(task) == hashed(token):
        return task.approval["request"], task
    refuse_unless_held(task, token=token, actor=actor, at=task.db_now)
    question = {"reason": reason, "context": dict(context or {}), "options": list(options), "severity": severity}
    line = transitioned(task.ask_in_mid_task, actor=actor, at=task.db_now, note=reason)
    task.next_check_at = next_check(task, task.definition, at=task.db_now)
    batch = Batch()
    save_run(batch, task.run)
    request_id, asked = people.asks(task, batch=batch, actor=actor, at=task.db_now, role=role, **question)
    task.approval = {**task.approval, "request": request_id}
    batch.update(task, *ENDING_FIELDS, "approval", state=TaskState.RUNNING, fence=task.fence)
    record([*first, line, *asked], into=batch)
    batch.write()
    wake.after_commit()
    return request_id, task


@act(actions.TASK_RESUME_DENIED, one_write=True)
def resume_task(*, task_id: int, token: str, actor: User) -> Lease:
    """Take up an approved task where it was left: a new token and fence, for who asked, by the token they had.

    Raises WrongState while it waits for the answer or after a rejection, LeaseLost for anybody else.
    """
    task = read_task(task_id, actor)
    if task.assignee_id != actor.pk or _asked_with(task) != hashed(token):
        raise LeaseLost(subject=task)
    if task.state != TaskState.APPROVED:
        raise WrongState(f"The task is {task.get_state_display().lower()}; only an approved one resumes.", subject=task)
    fresh, at = new_token(), task.db_now
    data = outputs_for([task])[task.pk]
    held = {"token_hash": hashed(fresh), "until": at + ttl(task), "credential": origin().credential}
    line = transitioned(task.resume, held, actor=actor, at=at)
    task.next_check_at = next_check(task, task.definition, at=at)
    batch = Batch()
    batch.update(task, *CLAIM_FIELDS, state=TaskState.APPROVED, fence=task.fence - 1)
    used = _people().resumes(task, actor=actor, at=at, batch=batch)
    record([replace(line, subject=task.audit_subject()), *used], into=batch)
    batch.write()
    assert task.lease_expires_at is not None
    return Lease(task, fresh, task.fence, task.lease_expires_at, handed(task, data), data)


def answer_asking_task(
    *,
    batch: Batch,
    task: Task,
    actor: User,
    at: datetime,
    outcome: str,
    failed: bool,
    note: str,
    approval: Mapping[str, Any],
) -> list[Line]:
    """The answer to a question in mid-task, in the caller's batch; the caller records the lines.

    Approved, the task waits `token_ttl` for its holder to resume. Rejected, it has ended.
    """
    answered = {**(task.approval or {}), **approval}
    facts = {"outcome": outcome}
    if failed:
        answer = {"approval": answered, "outcome": outcome, "note": note}
        line = transitioned(task.reject, answer, actor=actor, at=at, result="FAIL", note=note, data=facts)
        return _reject(batch, task, line, at=at)
    line = transitioned(task.approve, {"approval": answered}, actor=actor, at=at, note=note, data=facts)
    task.next_check_at = min(next_check(task, task.definition, at=at), at + ttl(task))
    save_run(batch, task.run)
    batch.update(task, *ENDING_FIELDS, "approval", state=line.from_state)
    return [line]


def _people() -> performers.Performer:
    people = performers.of("human")
    assert people is not None, "people's requests have a room of their own"
    return people


def _asked_with(task: Task) -> str:
    return str((task.approval or {}).get("asked_with", ""))


def answer_human_task(
    *,
    batch: Batch,
    task: Task,
    actor: User,
    at: datetime,
    outcome: str,
    output: Any,
    note: str,
    approval: Mapping[str, Any],
) -> list[Line]:
    """End a human step with its decision and advance the run, in the caller's batch; the caller records the lines.

    Approve is the outcome PASS (or an option that goes on); reject is FAIL, and the task's state `rejected`.
    """
    facts = {"outcome": outcome}
    if task.definition.ends_failed(outcome):
        answer = {"approval": approval, "outcome": outcome, "note": note}
        line = transitioned(task.reject, answer, actor=actor, at=at, result="FAIL", note=note, data=facts)
        return _reject(batch, task, line, at=at)
    known = Known(task.run, task)
    approved = transitioned(task.approve, {"approval": approval}, actor=actor, at=at, note=note)
    answer = {"outcome": outcome, "output": kept_of(task, output, known), "note": note}
    concluded = transitioned(task.conclude, answer, actor=SYSTEM, at=at, data=facts)
    change = Change(known, at=at)
    apply(change, advance_by(known, engine.step_ended, outcome))
    asked = write_end(batch, change, "approval", state=approved.from_state)
    return [approved, saying_what_opened(concluded, change.tasks), *change.lines, *asked]


def time_out_question(*, batch: Batch, task: Task, at: datetime, request_id: str) -> list[Line]:
    """Nobody has answered in time: the task ends as if it were rejected, with an outcome of its own, by nobody.

    In the caller's batch; the caller records the lines.
    """
    told = {"request": request_id, "outcome": TIMEOUT, "by": SYSTEM.get_username(), "reason": "timeout"}
    answer = {"approval": {**(task.approval or {}), **told}, "outcome": TIMEOUT, "note": "timeout"}
    facts = {"outcome": TIMEOUT, "reason": "timeout"}
    line = transitioned(task.reject, answer, actor=SYSTEM, at=at, result="FAIL", note="timeout", data=facts)
    return _reject(batch, task, line, at=at)


def _reject(batch: Batch, task: Task, line: Line, *, at: datetime) -> list[Line]:
    """The step's `on_reject` says what follows."""
    known = Known(task.run, task)
    change = Change(known, at=at)
    apply(change, advance_by(known, engine.step_rejected, reason=f"its outcome was {task.outcome}"))
    asked = write_end(batch, change, "approval", state=line.from_state)
    return [saying_what_opened(line, change.tasks), *change.lines, *asked]
