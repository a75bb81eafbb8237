# SPDX-License-Identifier: Apache-2.0
"""The acts on runs and tasks, one function each: read, check, change in memory, write all of it as one batch.

Lock order: run, then task, then request. A claim never writes the run. A completion writes the run first,
guarded by its revision (`runs/advance.py`), so that two acts on one run never both go ahead from the same state.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from django.db.models import BigIntegerField, CharField, IntegerField, Q, QuerySet

from accounts.models import User
from audit import actions
from audit.context import origin
from audit.services import SYSTEM, Actor, Line, act, contended, record, transitioned
from config import clock
from config.batch import Batch, NextNumber
from config.crash import crash_around_commit, crash_point
from config.errors import Forbidden, Invalid, LeaseLost, NotFound, Problem, RoleRequired, WrongState
from config.prepared import Param, Reading
from playbooks.definition import Definition, Step
from playbooks.models import Version, VersionState
from playbooks.payloads import payload_problems
from runs import engine, performers, retry, wake
from runs.advance import (
    ENDING_FIELDS,
    cancel_waiting,
    ending,
    insert,
    last_of_a_cancelled_run,
    locked_task,
    next_attempt,
    next_check,
    opened,
    position,
    save_run,
    take,
    take_back,
)
from runs.effects import confirm, intend
from runs.inputs import earlier_outputs, step_input
from runs.leases import Lease, answer_digest, hashed, new_token, refuse_unless_held, ttl
from runs.models import LOOK_AGAIN, Effect, Priority, Run, RunState, Task, TaskState
from runs.retry import Fault

CLAIM_FIELDS = (
    "state", "assignee", "token_hash", "credential", "holder", "fence",
    "claimed_at", "lease_expires_at", "next_check_at", "ready_at",
)  # fmt: skip
MAX_CLAIM = 20  # tasks in one call

# Starting -------------------------------------------------------------------------------------------------


@act(actions.RUN_START_DENIED, one_write=True)
def start_run(
    *,
    actor: User,
    payload: Mapping[str, Any],
    playbook: str | None = None,
    protocol_id: int | None = None,
    version: int | None = None,
    labels: Mapping[str, str] | None = None,
    priority: Priority = Priority.MEDIUM,
) -> Run:
    """Start a run of a published version, the newest unless `version` names one, and open its first step.

    Raises Forbidden without `runs.start` (agents are given it when they are made), Invalid for an unknown
    playbook or a payload that does not fit its schema, WrongState for a version that is not published.
    """
    if not actor.has_perm("runs.start"):
        raise Forbidden("You may not start runs: the permission runs.start is needed.")
    chosen = _startable_version(playbook, protocol_id, version)
    definition = chosen.definition
    problems = payload_problems(definition.payload_schema, payload)
    if problems:
        raise Invalid("The payload does not fit the playbook's form.", errors=problems)
    at = chosen.db_now
    run = Run(
        pk=chosen.next_run,
        version=chosen,
        payload=dict(payload),
        labels=dict(labels or {}),
        priority=priority,
        started_by=actor,
        created_at=at,
        next_check_at=at + min(LOOK_AGAIN, timedelta(seconds=definition.run_timeout or LOOK_AGAIN.total_seconds())),
    )
    batch = Batch()
    batch.insert(run)
    tasks, _ = take(run, engine.start(definition), at=at)
    asked = insert(batch, tasks, at=at, drawn=[chosen.next_task])
    started = Line(
        actions.RUN_STARTED,
        run.audit_subject(),
        actor,
        at,
        to_state=run.state,
        data={"opened": opened(tasks)},
        private={"payload": run.payload, "labels": run.labels},
    )
    record([started, *asked], into=batch)
    with crash_around_commit("start"):
        batch.write()
    wake.after_commit()
    return run


def _startable_version(playbook: str | None, protocol_id: int | None, number: int | None) -> Any:
    """The version to start, read with the time and the numbers that the run and its first task will have."""
    given: dict[str, Any] = {"slug": playbook} if playbook is not None else {"protocol_id": protocol_id}
    if number is not None:
        given["number"] = number
    found = _STARTABLE[frozenset(given)](**given)
    if found:
        return found[0]
    name = playbook if playbook is not None else protocol_id
    named = Q(playbook__slug=playbook) if playbook is not None else Q(playbook_id=protocol_id)
    newest = Version.objects.filter(named).order_by("-number").first()
    if newest is None:
        remedy = "GET /acts/playbooks lists the playbooks."
        raise Invalid(f"There is no playbook {name!r}.", errors=[Problem("playbook", "unknown playbook", remedy)])
    if number is None:
        raise WrongState(f"Playbook {name!r} has no published version. Publish one first.", subject=newest)
    other = Version.objects.filter(named, number=number).first()
    if other is None:
        raise Invalid(f"Playbook {name!r} has no version {number}.", errors=[Problem("version", "unknown version")])
    raise WrongState(f"Version {number} of {name!r} is {other.state}; only published ones start.", subject=other)


def _startable(*given: str) -> Reading[Version]:
    wanted = {
        "slug": ("playbook__slug", Param("slug", CharField())),
        "protocol_id": ("playbook_id", Param("protocol_id", BigIntegerField())),
        "number": ("number", Param("number", IntegerField())),
    }
    chosen = dict(wanted[name] for name in given)
    drawn = {"db_now": clock.Now(each_time=True), "next_run": NextNumber(Run), "next_task": NextNumber(Task)}

    def newest() -> QuerySet[Version]:
        versions = Version.objects.filter(state=VersionState.PUBLISHED, **chosen).annotate(**drawn)
        return versions.select_related("playbook").defer("document").order_by("-number")[:1]

    return Reading(newest)


_STARTABLE = {
    frozenset(given): _startable(*given)
    for given in (("slug",), ("slug", "number"), ("protocol_id",), ("protocol_id", "number"))
}

# Claiming -------------------------------------------------------------------------------------------------


@act(actions.TASK_CLAIM_DENIED)
def claim_tasks(*, role: str, actor: User, limit: int = 1) -> list[Lease]:
    """Lease up to `limit` ready tasks of a role, soonest first; none is no refusal.

    People's roles are answered by action requests, claimed through their own room. Raises RoleRequired.
    """
    performer = performers.of_role(role)
    if performer is not None:
        return performer.claims(role=role, actor=actor, limit=limit)
    if role not in actor.roles:
        raise RoleRequired(f"Only members of {role} may claim its tasks.")
    batch = Batch()
    leases, lines = _lease(batch, _ready_of_role(min(limit, MAX_CLAIM))(role=role), actor=actor)
    _write_claim(batch, lines)
    return leases


@act(actions.TASK_CLAIM_DENIED, one_write=True)
def claim_for_worker(*, task_id: int, actor: User, holder: str) -> tuple[Lease, Effect] | None:
    """Lease one service task for our worker and write down the intended effect; None if another was sooner.

    Nothing is locked to read it: of two that read the same, one writes, and the other finds it gone.
    """
    batch = Batch()
    leases, lines = _lease(batch, _ready_for_worker(task_id=task_id), actor=actor, holder=holder)
    if not leases:
        return None
    (lease,) = leases
    assert lease.task.claimed_at is not None
    effect, intended = intend(lease, actor=actor, at=lease.task.claimed_at, batch=batch)
    crash_point("effect.before_intended_commit")
    _write_claim(batch, [*lines, intended])
    return lease, effect


def _write_claim(batch: Batch, lines: Sequence[Line]) -> None:
    if lines:
        record(lines, into=batch)
        with crash_around_commit("claim"):
            batch.write()


def _with_version(tasks: QuerySet[Task]) -> QuerySet[Task]:
    """With run and version, but for the document: what it says is kept parsed (`Version.definition`)."""
    return tasks.select_related("run__version__playbook").defer("run__version__document")


def _locked_for_claim(ready: QuerySet[Task], limit: int) -> QuerySet[Task]:
    locked = _with_version(ready).select_for_update(of=("self",), skip_locked=True)
    return locked.annotate(db_now=clock.Now(each_time=True))[:limit]


@cache
def _ready_of_role(limit: int) -> Reading[Task]:
    wanted = {"role": Param("role", CharField()), "by_worker": False}
    return Reading(lambda: _locked_for_claim(Task.objects.ready().filter(**wanted), limit))


_ready_for_worker = Reading(
    lambda: _with_version(
        Task.objects.ready().filter(pk=Param("task_id", BigIntegerField()), by_worker=True).order_by()
    ).annotate(db_now=clock.Now(each_time=True))
)


def _lease(batch: Batch, tasks: Sequence[Any], *, actor: User, holder: str = "") -> tuple[list[Lease], list[Line]]:
    if not tasks:
        return [], []
    outputs = earlier_outputs([task.run for task in tasks])
    leases, lines = [], []
    for task in tasks:
        at, token, before = task.db_now, new_token(), task.fence
        data = outputs[task.run_id]
        handed = step_input(task.run, data)
        held = {
            "by": actor,
            "token_hash": hashed(token),
            "until": at + ttl(task),
            "credential": origin().credential,
            "holder": holder,
        }
        line = transitioned(
            task.claim,
            held,
            actor=actor,
            at=at,
            private={"input": handed},
        )
        task.next_check_at = next_check(task, task.definition, at=at)
        lines.append(replace(line, subject=task.audit_subject()))
        leases.append(Lease(task, token, task.fence, task.lease_expires_at, handed, data))
        batch.update(task, *CLAIM_FIELDS, state=TaskState.PENDING, fence=before)
    return leases, lines


# Ending a task --------------------------------------------------------------------------------------------


@act(actions.TASK_COMPLETE_DENIED, one_write=True)
def complete_task(
    *,
    task_id: int,
    actor: User,
    outcome: str,
    token: str = "",
    output: Any = None,
    note: str = "",
    effect: Effect | None = None,
) -> Task:
    """End a task with its outcome and advance its run. On a human step this is the decision itself.

    A call repeated with the same token and body changes nothing: delivery is at least once. `output` is kept as the
    confirmed result of `effect`, if one is given, both or neither.
    Raises LeaseLost, and Invalid for an outcome the step does not declare.
    """
    task = _read(task_id, actor)
    performer = performers.of(task.kind)
    if performer is not None:
        return performer.completes(task_id=task_id, actor=actor, token=token, outcome=outcome, output=output, note=note)
    said = answer_digest(token, outcome, output, note)
    if task.state == TaskState.COMPLETED and task.answer_digest == said:
        return task
    refuse_unless_held(task, token=token, actor=actor, at=task.db_now)
    _refuse_undeclared(task.definition, outcome)
    line = transitioned(
        task.complete,
        {"outcome": outcome, "output": output, "note": note, "answer_digest": said},
        actor=actor,
        at=task.db_now,
        result="FAIL" if task.definition.ends_failed(outcome) else "SUCCESS",
        note=note,
        data={"outcome": outcome},
        private={} if output is None else {"output": output},
    )
    moves_on = task.run.moves_on
    advance = engine.step_ended(_definition(task), position(task.run), task.path, outcome) if moves_on else None
    batch = Batch()
    confirmed = confirm(effect, task=task, actor=actor, result=output, at=task.db_now, batch=batch) if effect else []
    _end_and_advance(batch, task, line, advance, at=task.db_now, first=confirmed)
    return task


def complete_service_task(*, lease: Lease, effect: Effect, actor: User, result: Any) -> Task:
    """End a service's task with PASS and keep its result under the effect's key, both or neither."""
    return complete_task(
        task_id=lease.task.pk, actor=actor, token=lease.token, outcome="PASS", output=result, effect=effect
    )


@act(actions.TASK_FAIL_DENIED, one_write=True)
def fail_task(
    *, task_id: int, actor: User, token: str, error_type: str = "", message: str = "", retryable: bool = True
) -> Task:
    """Report a fault. The step's policy decides: a new attempt after a delay, or the end of the run.

    Raises LeaseLost. Repeated with the same token and body it changes nothing.
    """
    task = _read(task_id, actor)
    said = answer_digest(token, error_type, message, retryable)
    if task.state == TaskState.FAILED and task.answer_digest == said:
        return task
    refuse_unless_held(task, token=token, actor=actor, at=task.db_now)
    end_with_fault(
        task,
        task.fail,
        Fault(error_type, retryable),
        {"error_type": error_type, "message": message, "answer_digest": said},
        actor=actor,
        at=task.db_now,
    )
    return task


def end_with_fault(
    task: Task,
    method: Callable[..., None],
    fault: Fault,
    given: Mapping[str, Any],
    *,
    actor: Actor,
    at: datetime,
    then: Sequence[Line] = (),
) -> None:
    """End this attempt by `method` (a fault, or a clock); the step's policy opens the next, or the run ends."""
    verdict = retry.after_fault(
        task.definition.retries,
        fault,
        attempt=task.attempt,
        random=random.random,
    )
    delay = round(verdict.delay_seconds, 3) if isinstance(verdict, retry.TryAgain) else None
    line = transitioned(
        method,
        {**given, "reason": verdict.reason, "delay": delay},
        actor=actor,
        at=at,
        result="FAIL",
        data={"retry": delay is not None, "reason": verdict.reason, "delay_seconds": delay},
        private={"error_type": given["error_type"], "message": given["message"]},
    )
    if delay is not None and task.run.moves_on:
        _end(Batch(), task, line, [next_attempt(task, at=at, delay_seconds=delay)], at=at, then=then)
    else:
        advance = engine.step_failed(_definition(task), position(task.run), task.path) if task.run.moves_on else None
        _end_and_advance(Batch(), task, line, advance, at=at, then=then)


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
        lines = [transitioned(task.reject, answer, actor=actor, at=at, result="FAIL", note=note, data=facts)]
    else:
        answer = {"outcome": outcome, "output": output, "note": note}
        lines = [
            transitioned(task.approve, {"approval": approval}, actor=actor, at=at, note=note),
            transitioned(task.conclude, answer, actor=SYSTEM, at=at, data=facts),
        ]
    advance = engine.step_ended(_definition(task), position(task.run), task.path, outcome)
    tasks, run_lines = take(task.run, advance, at=at)
    ending(task)
    save_run(batch, task.run)
    batch.update(task, *ENDING_FIELDS, "approval", state=lines[0].from_state)
    asked = insert(batch, tasks, at=at, drawn=_drawn(task), ended=task)
    lines[-1] = _saying_what_opened(lines[-1], tasks)
    return [*lines, *run_lines, *asked]


def _drawn(task: Any) -> list[int]:
    """The number that was read together with the task, for the task that may follow."""
    return [task.next_task] if hasattr(task, "next_task") else []


def _read(task_id: int, actor: User) -> Any:
    """The task with its run and version, as one statement. Raises NotFound if `actor` may not know of it."""
    if contended():
        Run.objects.select_for_update(of=("self",)).filter(tasks=task_id).first()
    task: Any = next(iter(_one_task(task_id=task_id)), None)
    if task is not None and task.assignee_id == actor.pk:
        task.assignee = actor  # whoever shows the task need not read them again
        return task
    if task is not None and task.role in actor.roles:
        return task
    if task is not None and Run.objects.visible_to(actor).filter(pk=task.run_id).exists():
        raise RoleRequired(f"Only members of {task.role} may do this.", subject=task)
    raise NotFound(f"There is no task {task_id}, or you may not see it.")


_one_task = Reading(
    lambda: _with_version(Task.objects.filter(pk=Param("task_id", BigIntegerField())).order_by()).annotate(
        db_now=clock.Now(each_time=True), next_task=NextNumber(Task)
    )
)


def _refuse_undeclared(step: Step, outcome: str) -> None:
    if step.allows(outcome):
        return
    known = ["PASS", "FAIL", *(option.key for option in step.options)]
    remedy = f"Use one of {', '.join(dict.fromkeys(known))}, or declare it among the step's options."
    raise Invalid(
        f"Step {step.id} does not know the outcome {outcome!r}.", errors=[Problem("outcome", "not declared", remedy)]
    )


def _definition(task: Task) -> Definition:
    return task.run.version.definition


def _end_and_advance(
    batch: Batch,
    task: Task,
    line: Line,
    advance: engine.Advance | None,
    *,
    at: datetime,
    first: Sequence[Line] = (),
    then: Sequence[Line] = (),
) -> None:
    tasks, run_lines = take(task.run, advance, at=at) if advance is not None else ([], [])
    _end(batch, task, line, tasks, at=at, first=first, then=[*then, *run_lines])


def _end(
    batch: Batch,
    task: Task,
    line: Line,
    following: Sequence[Task],
    *,
    at: datetime,
    first: Sequence[Line] = (),
    then: Sequence[Line] = (),
) -> None:
    """Write the ended task and its run, open what follows, record it all, between what comes first and then."""
    held = {"state": line.from_state, "fence": task.fence, "assignee": task.assignee_id}
    ending(task)
    closing = last_of_a_cancelled_run(task, at=at)
    save_run(batch, task.run)
    batch.update(task, *ENDING_FIELDS, **held)
    asked = insert(batch, following, at=at, drawn=_drawn(task), ended=task)
    record([*first, _saying_what_opened(line, following), *then, *closing, *asked], into=batch)
    with crash_around_commit("complete"):
        batch.write()
    wake.after_commit()


def _saying_what_opened(line: Line, tasks: Sequence[Task]) -> Line:
    return replace(line, data={**line.data, "opened": opened(tasks)}) if tasks else line


# Keeping and giving back a lease --------------------------------------------------------------------------


@act(actions.TASK_RENEW_DENIED, one_write=True)
def extend_lease(*, task_id: int, token: str, actor: User, renewal: bool = False) -> Task:
    """Hold the lease for another `token_ttl` from now: a heartbeat, or a renewal, which is also recorded.

    Raises LeaseLost. The answer tells by `run.state` whether cancelling was asked for.
    """
    task = _read(task_id, actor)
    performer = performers.of(task.kind)
    if performer is not None:
        task.lease_expires_at = performer.renews(task_id=task_id, actor=actor, token=token)
        return task
    refuse_unless_held(task, token=token, actor=actor, at=task.db_now)
    task.lease_expires_at = task.db_now + ttl(task)
    task.next_check_at = next_check(task, task.definition, at=task.db_now)
    guard = {"state": TaskState.RUNNING, "fence": task.fence, "token_hash": task.token_hash}
    batch = Batch()
    batch.update(task, "lease_expires_at", "next_check_at", **guard)
    if renewal:
        facts = {"expires_at": task.lease_expires_at.isoformat()}
        record([Line(actions.TASK_RENEWED, task.audit_subject(), actor, task.db_now, data=facts)], into=batch)
    batch.write()
    return task


@act(actions.TASK_RELEASE_DENIED, one_write=True)
def release_task(*, task_id: int, token: str, actor: User, note: str = "") -> Task:
    """Give the task back to its role. Raises LeaseLost."""
    task = _read(task_id, actor)
    refuse_unless_held(task, token=token, actor=actor, at=task.db_now)
    lines = [transitioned(task.release, actor=actor, at=task.db_now, note=note)]
    if task.run.state == RunState.CANCELLING:
        lines.append(transitioned(task.cancel, actor=SYSTEM, at=task.db_now))
    else:
        task.next_check_at = next_check(task, task.definition, at=task.db_now)
    closing = last_of_a_cancelled_run(task, at=task.db_now)
    batch = Batch()
    save_run(batch, task.run)  # so that a cancelling that comes between is not overlooked
    batch.update(task, *ENDING_FIELDS, state=TaskState.RUNNING, fence=task.fence)
    record([*lines, *closing], into=batch)
    batch.write()
    wake.after_commit()
    return task


def end_leases(*, user_id: int, credential: str | None, at: datetime, actor: Actor) -> list[Line]:
    """Somebody's access has ended (a key, an account, a role): what rested on it is taken back at once."""
    held = Task.objects.filter(assignee=user_id, state=TaskState.RUNNING)
    if credential is not None:
        held = held.filter(credential=credential)
    else:
        user = User.objects.get(pk=user_id)
        held = held.exclude(role__in=user.roles) if user.is_active else held
    lines: list[Line] = []
    for task_id in held.order_by("run_id", "id").values_list("pk", flat=True):
        run, task = locked_task(task_id)
        if task.state == TaskState.RUNNING and task.assignee_id == user_id:
            batch = Batch()
            lines += take_back(batch, task, run, at=at, why="the holder's access ended")
            batch.write()
    wake.after_commit()
    return lines


# Asking a person in mid-task -------------------------------------------------------------------------------


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
) -> tuple[str, Task]:
    """Ask a person before going on: (request id, task). The lease ends; `resume_task` takes it up once approved.

    Repeated with the same token it answers the same request. Raises LeaseLost, and Invalid for a role that
    people do not hold.
    """
    people = performers.of("human")
    assert people is not None, "people's requests have a room of their own"
    task = _read(task_id, actor)
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
    record([line, *asked], into=batch)
    batch.write()
    wake.after_commit()
    return request_id, task


@act(actions.TASK_RESUME_DENIED, one_write=True)
def resume_task(*, task_id: int, token: str, actor: User) -> Lease:
    """Take up an approved task where it was left: a new token and fence, for who asked, by the token they had.

    Raises WrongState while it waits for the answer or after a rejection, LeaseLost for anybody else.
    """
    task = _read(task_id, actor)
    if task.assignee_id != actor.pk or _asked_with(task) != hashed(token):
        raise LeaseLost(subject=task)
    if task.state != TaskState.APPROVED:
        raise WrongState(f"The task is {task.get_state_display().lower()}; only an approved one resumes.", subject=task)
    fresh, at = new_token(), task.db_now
    data = earlier_outputs([task.run])[task.run_id]
    held = {"token_hash": hashed(fresh), "until": at + ttl(task), "credential": origin().credential}
    line = transitioned(task.resume, held, actor=actor, at=at)
    task.next_check_at = next_check(task, task.definition, at=at)
    batch = Batch()
    batch.update(task, *CLAIM_FIELDS, state=TaskState.APPROVED, fence=task.fence - 1)
    record([replace(line, subject=task.audit_subject())], into=batch)
    batch.write()
    assert task.lease_expires_at is not None
    return Lease(task, fresh, task.fence, task.lease_expires_at, step_input(task.run, data), data)


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

    Approved, the task waits `token_ttl` for its holder to resume. Rejected, it has ended, and so has the run.
    """
    known = {**(task.approval or {}), **approval}
    facts = {"outcome": outcome}
    if failed:
        answer = {"approval": known, "outcome": outcome, "note": note}
        line = transitioned(
            task.reject, answer, actor=actor, at=at, result="FAIL", note=note, data={"outcome": outcome}
        )
        advance = engine.step_failed(_definition(task), position(task.run), task.path)
        _, run_lines = take(task.run, advance, at=at)
        ending(task)
    else:
        line = transitioned(task.approve, {"approval": known}, actor=actor, at=at, note=note, data=facts)
        task.next_check_at = min(next_check(task, task.definition, at=at), at + ttl(task))
        run_lines = []
    save_run(batch, task.run)
    batch.update(task, *ENDING_FIELDS, "approval", state=line.from_state)
    return [line, *run_lines]


def _asked_with(task: Task) -> str:
    return str((task.approval or {}).get("asked_with", ""))


# Cancelling -----------------------------------------------------------------------------------------------


@act(actions.RUN_CANCEL_DENIED)
def cancel_run(*, run_id: int, actor: User, reason: str = "") -> Run:
    """Cancel gracefully: what waits is closed at once, what runs hears `cancel_requested` and may finish.

    Raises NotFound, Forbidden, WrongState for a run that has ended. Cancelling twice is cancelling once.
    """
    run = _locked_run(run_id, actor)
    if not (run.started_by_id == actor.pk or actor.has_perm("runs.control")):
        raise Forbidden("Only who started the run, or holders of runs.control, may cancel it.", subject=run)
    if run.state in (RunState.CANCELLING, RunState.CANCELLED):
        return run
    if not run.is_open:
        raise WrongState(f"The run has ended: {run.state}.", subject=run)
    at = clock.now()
    cancelling = transitioned(run.cancel, actor=actor, at=at, note=reason)
    closed, held = cancel_waiting(run, at=at)
    lines = [cancelling, *closed]
    if not held:
        lines.append(transitioned(run.end_cancelled, actor=SYSTEM, at=at))
    batch = Batch()
    save_run(batch, run)
    record(lines, into=batch)
    batch.write()
    wake.after_commit()
    return run


def _locked_run(run_id: int, actor: User) -> Run:
    rows = Run.objects.select_for_update(of=("self",)).select_related("version__playbook")
    run = rows.visible_to(actor).filter(pk=run_id).first()
    if run is None:
        raise NotFound(f"There is no run {run_id}, or you may not see it.")
    return run
