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

from accounts.models import User, is_given, is_member
from audit import actions
from audit.services import SYSTEM, Actor, Line, act, contended, record, transitioned
from config import clock, wake
from config.batch import Batch, NextNumber
from config.crash import crash_around_commit
from config.errors import Forbidden, Invalid, NotFound, Problem, RoleRequired, WrongState
from config.prepared import Param, Reading, fresh
from playbooks.definition import Definition, Step
from playbooks.expressions import Unevaluable
from playbooks.models import Version, VersionState
from playbooks.payloads import payload_problems
from runs import engine, performers, retry
from runs.advance import (
    EFFECT_UNKNOWN,
    ENDING_FIELDS,
    Change,
    after_late_end,
    ending,
    let_go,
    locked_task,
    next_attempt,
    next_check,
    opened,
    position,
    save_run,
    take_back,
    tell_parent,
)
from runs.claiming import Following, lease_each, with_version, write_claim
from runs.effects import confirm
from runs.inputs import Known, with_outputs
from runs.leases import Lease, answer_digest, refuse_unless_held, ttl
from runs.models import LOOK_AGAIN, Effect, Priority, Run, RunState, Task, TaskState
from runs.retry import Fault

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
    chosen = _startable_version(actor, playbook, protocol_id, version)
    definition = chosen.definition
    problems = payload_problems(definition.payload_schema, payload)
    if problems:
        raise Invalid("The payload does not fit the playbook's form.", errors=problems)
    at = chosen.db_now
    run = fresh(
        Run,
        id=chosen.next_run,
        version=chosen,
        payload=dict(payload),
        labels=dict(labels or {}),
        priority=priority,
        started_by=actor,
        created_at=at,
        next_check_at=next_check_of_run(definition, at),
    )
    batch = Batch()
    record(begin_run(batch, run, actor=actor, at=at, drawn=[chosen.next_task]), into=batch)
    with crash_around_commit("start"):
        batch.write()
    wake.after_commit(batch)
    return run


def begin_run(batch: Batch, run: Run, *, actor: Actor, at: datetime, drawn: Sequence[int] = ()) -> list[Line]:
    """Insert a new run and open its first steps; the caller records the lines."""
    known = Known(run)
    change = Change(known, at=at).take(engine.start(run.version.definition, known.evaluate))
    batch.insert(run)
    tell_parent(batch, run)
    asked = change.write_into(batch, drawn=drawn)
    started = Line(
        actions.RUN_STARTED,
        run.audit_subject(),
        actor,
        at,
        to_state=RunState.RUNNING,
        data={**opened(change.tasks), **_came_from(run)},
        private={"payload": run.payload, "labels": run.labels},
    )
    return [started, *change.lines, *asked]


def next_check_of_run(definition: Definition, at: datetime) -> datetime:
    """When somebody has to look at a run that begins now: when it has taken as long as it may, or in LOOK_AGAIN."""
    limit = definition.run_timeout
    return at + (LOOK_AGAIN if limit is None else min(LOOK_AGAIN, timedelta(seconds=limit)))


def _came_from(run: Run) -> dict[str, Any]:
    return {} if run.parent is None else {"parent_run": str(run.parent.run_id), "parent_path": run.parent.path}


def _startable_version(actor: User, playbook: str | None, protocol_id: int | None, number: int | None) -> Any:
    """The version to start, read with the numbers that the run and its first task will have, and with the right."""
    given: dict[str, Any] = {"slug": playbook} if playbook is not None else {"protocol_id": protocol_id}
    if number is not None:
        given["number"] = number
    found: list[Any] = _STARTABLE[frozenset(given)](**given, user_id=actor.pk)
    may_start = bool(found) and found[0].may_start and actor.is_active
    if not may_start and not actor.has_perm("runs.start"):  # which superusers have without being given it
        raise Forbidden("You may not start runs: the permission runs.start is needed.")
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
    right = is_given(Param("user_id", BigIntegerField()), "runs.start")

    def newest() -> QuerySet[Version]:
        versions = Version.objects.filter(state=VersionState.PUBLISHED, **chosen).annotate(**drawn, may_start=right)
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
    ready = _ready_of_role(min(limit, MAX_CLAIM))(role=role, user_id=actor.pk)
    if not ready and role not in actor.roles:
        raise RoleRequired(f"Only members of {role} may claim its tasks.")
    batch = Batch()
    leases, lines = lease_each(batch, ready, actor=actor)
    write_claim(batch, lines)
    return leases


def _locked_for_claim(ready: QuerySet[Task], limit: int) -> QuerySet[Task]:
    locked = with_version(ready).select_for_update(of=("self",), skip_locked=True)
    return locked.annotate(db_now=clock.Now(each_time=True))[:limit]


@cache
def _ready_of_role(limit: int) -> Reading[Task]:
    """None for who is no member. Of one task, with the outputs it sees; of several, they are read once for a run."""
    role = Param("role", CharField())
    wanted = [is_member(Param("user_id", BigIntegerField()), role), Q(role=role, by_worker=False)]
    read = with_outputs if limit == 1 else lambda tasks: tasks
    return Reading(lambda: _locked_for_claim(read(Task.objects.ready().filter(*wanted)), limit))


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
    first: Sequence[Line] = (),
    following: Following | None = None,
) -> Task:
    """End a task with its outcome and advance its run. On a human step this is the decision itself.

    A call repeated with the same token and body changes nothing: delivery is at least once. `output` is kept as the
    confirmed result of `effect`, if one is given, both or neither. `first` is recorded before, in the same transaction.
    `following` takes up the next step of the run, in the same transaction too, if our worker is to do it.
    Raises LeaseLost, and Invalid for an outcome the step does not declare.
    """
    task = read_task(task_id, actor)
    performer = performers.answering(task)
    if performer is not None:
        return performer.completes(task_id=task_id, actor=actor, token=token, outcome=outcome, output=output, note=note)
    said = answer_digest(token, outcome, output, note)
    if task.state == TaskState.COMPLETED and task.answer_digest == said:
        if following is not None:
            following.find_again(task.run_id)
        return task
    refuse_unless_held(task, token=token, actor=actor, at=task.db_now)
    _refuse_undeclared(task.definition, outcome)
    known = Known(task.run, task)
    kept = kept_of(task, output, known) if not task.definition.ends_failed(outcome) else output
    line = transitioned(
        task.complete,
        {"outcome": outcome, "output": kept, "note": note, "answer_digest": said},
        actor=actor,
        at=task.db_now,
        result="FAIL" if task.definition.ends_failed(outcome) else "SUCCESS",
        note=note,
        data={"outcome": outcome},
        private={} if output is None else {"output": output},
    )
    batch = Batch()
    confirmed = confirm(effect, task=task, actor=actor, result=output, at=task.db_now, batch=batch) if effect else []
    advance = advance_by(known, engine.step_ended, outcome)
    end_task(batch, line, Change(known, at=task.db_now), advance, first=[*first, *confirmed], following=following)
    return task


def complete_service_task(
    *, lease: Lease, effect: Effect, actor: User, result: Any, following: Following | None = None
) -> Task:
    """End a service's task with PASS and keep its result under the effect's key, both or neither."""
    said: dict[str, Any] = {"outcome": "PASS", "output": result, "effect": effect, "following": following}
    return complete_task(task_id=lease.task.pk, actor=actor, token=lease.token, **said)


@act(actions.TASK_FAIL_DENIED, one_write=True)
def fail_task(
    *, task_id: int, actor: User, token: str, error_type: str = "", message: str = "", retryable: bool = True
) -> Task:
    """Report a fault. The step's policy decides: a new attempt after a delay, or the end of the run.

    Raises LeaseLost. Repeated with the same token and body it changes nothing.
    """
    task = read_task(task_id, actor)
    said = answer_digest(token, error_type, message, retryable)
    if task.state in (TaskState.FAILED, TaskState.INCIDENT) and task.answer_digest == said:
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
    locked: bool = False,
    then: Sequence[Line] = (),
) -> None:
    """End this attempt by `method` (a fault, or a clock); the step's policy opens the next, or the run ends."""
    step, known = task.definition, Known(task.run, task)
    verdict = retry.after_fault(
        step.retries,
        fault,
        attempt=task.attempt - (task.tries_before or 0),
        random=random.random,
    )
    delay = round(verdict.delay_seconds, 3) if isinstance(verdict, retry.TryAgain) else None
    unknown = delay is not None and step.effect == "once" and task.state == TaskState.RUNNING
    again = delay is not None and task.run.moves_on and not unknown
    reason = EFFECT_UNKNOWN if unknown else verdict.reason
    delay = delay if again else None
    said = {**given, "reason": reason, "delay": delay}
    if not again and task.run.moves_on and (unknown or step.on_exhausted == "INCIDENT"):
        method = task.raise_incident
        del said["delay"]
    line = transitioned(
        method,
        said,
        actor=actor,
        at=at,
        result="FAIL",
        data={"retry": again, "reason": reason, "delay_seconds": delay},
        private={"error_type": given["error_type"], "message": given["message"]},
    )
    change = Change(known, at=at, locked=locked)
    change.close_child(task)
    if again:
        assert delay is not None
        change.tasks.append(next_attempt(task, at=at, delay_seconds=delay))
    advance = (
        None if again or task.state == TaskState.INCIDENT else advance_by(known, engine.step_failed, reason=_why(given))
    )
    end_task(Batch(), line, change, advance, then=then)


def waited_in_vain(task: Task, error_type: str, message: str, *, at: datetime) -> Line:
    """End a task that nobody holds: what it waited for has failed, or does not come. It fails, or is an incident."""
    given = {"error_type": error_type, "message": message}
    method: Callable[..., None] = task.give_up
    if task.definition.on_exhausted == "INCIDENT" and task.run.moves_on:
        method, given["reason"] = task.raise_incident, message
    private = {"error_type": error_type, "message": message}
    return transitioned(method, given, actor=SYSTEM, at=at, result="FAIL", private=private)


def _why(given: Mapping[str, Any]) -> str:
    return ": ".join(str(given[name]) for name in ("error_type", "message") if given.get(name))[:500]


def _drawn(task: Any) -> list[int]:
    """The number that was read together with the task, for the task that may follow."""
    return [task.next_task] if hasattr(task, "next_task") else []


def read_task(task_id: int, actor: User) -> Any:
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
    lambda: with_version(Task.objects.filter(pk=Param("task_id", BigIntegerField())).order_by()).annotate(
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


def kept_of(task: Task, output: Any, known: Known) -> Any:
    """What is kept of a result: it fits the step's schema, and is mapped by its `output`. Raises Invalid."""
    step = task.definition
    problems = payload_problems(step.output_schema, output, name="output")
    if problems:
        raise Invalid(f"The output does not fit the schema of {step.id}.", errors=problems, subject=task)
    try:
        return known.mapped(step, output, task.path)
    except Unevaluable as fault:
        remedy = f"Send an output that {step.id} can use; its playbook says what it keeps of it."
        raise Invalid(str(fault), errors=[Problem("output", "not usable", remedy)], subject=task) from fault


def advance_by(known: Known, event: Callable[..., engine.Advance], *said: Any, **more: Any) -> engine.Advance | None:
    """What the engine makes of this event of the task that ends, or of its end in a run that does not go on."""
    task = known.ended
    assert task is not None, "the event is a task's"
    if not task.run.moves_on:
        return after_late_end(task)
    return event(task.run.version.definition, position(task.run), task.path, *said, known.evaluate, **more)


def end_task(
    batch: Batch,
    line: Line,
    change: Change,
    advance: engine.Advance | None,
    *,
    first: Sequence[Line] = (),
    then: Sequence[Line] = (),
    following: Following | None = None,
) -> None:
    """Write the ended task and its run, open what follows, record it all, between what comes first and then."""
    task = change.known.ended
    assert task is not None, "a task has ended"
    apply(change, advance)
    held = {"state": line.from_state, "fence": task.fence, "assignee": task.assignee_id}
    asked = write_end(batch, change, **held)
    taken = following.take(batch, change) if following is not None else []
    record([*first, saying_what_opened(line, change.tasks), *then, *change.lines, *asked, *taken], into=batch)
    with crash_around_commit("complete"):
        batch.write()
    wake.after_commit(batch)


def apply(change: Change, advance: engine.Advance | None) -> None:
    if advance is not None:
        change.take(advance)


def write_end(batch: Batch, change: Change, *fields: str, **held: Any) -> list[Line]:
    task = change.known.ended
    assert task is not None, "a task has ended"
    ending(task)
    save_run(batch, task.run)
    batch.update(task, *ENDING_FIELDS, *fields, **held)
    return change.write_into(batch, drawn=_drawn(task))


def saying_what_opened(line: Line, tasks: Sequence[Task]) -> Line:
    return replace(line, data={**line.data, **opened(tasks)}) if tasks else line


# Keeping and giving back a lease --------------------------------------------------------------------------


@act(actions.TASK_RENEW_DENIED, one_write=True)
def extend_lease(*, task_id: int, token: str, actor: User, renewal: bool = False) -> Task:
    """Hold the lease for another `token_ttl` from now: a heartbeat, or a renewal, which is also recorded.

    Raises LeaseLost. The answer tells by `run.state` whether cancelling was asked for.
    """
    task = read_task(task_id, actor)
    performer = performers.answering(task)
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
    task = read_task(task_id, actor)
    refuse_unless_held(task, token=token, actor=actor, at=task.db_now)
    change = Change(Known(task.run, task), at=task.db_now)
    lines = [transitioned(task.release, actor=actor, at=task.db_now, note=note), *let_go(task, change)]
    batch = Batch()
    save_run(batch, task.run)  # so that a cancelling that comes between is not overlooked
    batch.update(task, *ENDING_FIELDS, state=TaskState.RUNNING, fence=task.fence)
    asked = change.write_into(batch)
    record([*lines, *change.lines, *asked], into=batch)
    batch.write()
    wake.after_commit(batch)
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
