# SPDX-License-Identifier: Apache-2.0
"""Incidents: steps that cannot go on by themselves, and what an operator makes of each. The reason is part of it."""

from __future__ import annotations

from typing import Any

from accounts.models import User
from audit import actions
from audit.services import SYSTEM, Line, act, transitioned
from config import clock
from config.errors import Forbidden, Invalid, NotFound, Problem, WrongState
from runs import engine
from runs.advance import Change, position, write
from runs.inputs import Known
from runs.models import Resolution, Run, Task

COUNTED = 1000  # beyond this a count says "1000+"
CHOICES = (Resolution.RETRY, Resolution.SKIP, Resolution.FAIL)


@act(actions.INCIDENT_RESOLVE_DENIED)
def resolve_incident(*, task_id: int, actor: User, resolution: str, reason: str, output: Any = None) -> Task:
    """`retry` tries the step again, a parallel or foreach step with what failed in it alone; `skip` goes on as if it
    had passed, with `output` as its output; `fail` lets it fail, and the playbook says what follows.

    Needs `runs.control`. Raises NotFound, Forbidden, Invalid without a reason, WrongState if it is resolved already.
    """
    run, task = _locked(task_id, actor)
    if not actor.has_perm("runs.control"):
        raise Forbidden("Only holders of runs.control resolve incidents.", subject=task)
    _refuse_bad(resolution, reason, output)
    if not task.is_unresolved or not run.moves_on:
        raise WrongState("It does not wait for an operator, or not any more.", subject=task)
    at, known = clock.now(), Known(run)
    change = Change(known, at=at, locked=True, resolved=task)
    facts = {"resolution": resolution}
    private = {} if output is None else {"output": output}
    resolved = Line(
        actions.INCIDENT_RESOLVED, task.audit_subject(), actor, at, note=reason, data=facts, private=private
    )
    change.close_incident(task, Resolution(resolution))
    _apply(change, known, task, resolution, output)
    write(change, [resolved])
    return task


def badge(user: User) -> str:
    """How many incidents that this person may see wait for an operator, or nothing."""
    count = Task.objects.visible_to(user).unresolved().order_by()[: COUNTED + 1].count()
    return f"{COUNTED}+" if count > COUNTED else str(count or "")


def _apply(change: Change, known: Known, task: Task, resolution: str, output: Any) -> None:
    definition, here = change.run.version.definition, position(change.run)
    match resolution:
        case Resolution.RETRY:
            _begin_again(change, task)
            advance = engine.step_retried(definition, here, task.path, known.evaluate)
        case Resolution.SKIP:
            _leave_out(change, task, output)
            advance = engine.step_skipped(definition, here, task.path, known.evaluate)
        case _:
            reason = "an operator let it fail"
            advance = engine.step_failed(definition, here, task.path, known.evaluate, reason=reason, is_final=True)
    change.take(advance)


def _begin_again(change: Change, task: Task) -> None:
    """A step around others goes on with those that have not passed; any other begins by a move of the engine."""
    if position(change.run).fan(task.path) is not None:
        change.add(task.definition, task.path, input=task.input)


def _leave_out(change: Change, task: Task, output: Any) -> None:
    skipped = change.add(task.definition, task.path, input=task.input, begins=False)
    change.known.ended = skipped  # so that what follows knows its output
    change.lines.append(transitioned(skipped.skip, {"output": output}, actor=SYSTEM, at=change.at))


def _locked(task_id: int, actor: User) -> tuple[Run, Task]:
    runs = Run.objects.select_for_update(of=("self",)).select_related("version__playbook", "started_by")
    run = runs.visible_to(actor).filter(tasks=task_id).first()
    if run is None:
        raise NotFound(f"There is no task {task_id}, or you may not see it.")
    task = Task.objects.select_for_update(of=("self",)).get(pk=task_id)
    task.run = run
    return run, task


def _refuse_bad(resolution: str, reason: str, output: Any) -> None:
    if resolution not in CHOICES:
        remedy = f"Use one of {', '.join(CHOICES)}."
        raise Invalid(f"{resolution!r} resolves nothing.", errors=[Problem("resolution", "unknown", remedy)])
    if not reason.strip():
        raise Invalid("Say why.", errors=[Problem("reason", "missing", "Give a reason.")])
    if output is not None and resolution != Resolution.SKIP:
        raise Invalid(
            "Only a step that is skipped is given an output.", errors=[Problem("output", "not used", "Leave it out.")]
        )
