# SPDX-License-Identifier: Apache-2.0
"""Runs within runs. A run and its child talk through due rows, so that no transaction ever locks two runs.

START    written with the step's task; performed by making the child run, under the lock of that task
ENDED    written with the end of the child, or where it could not be started; the parent's step ends
CLOSE    written when the step ends before its child; `parent_close_policy` says what becomes of the child
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from audit import actions
from audit.services import SYSTEM, act, record, transitioned
from config import clock, wake
from config.batch import Batch, numbers
from config.errors import Invalid
from playbooks.definition import Child
from playbooks.models import Version, VersionState
from playbooks.payloads import payload_problems
from runs import due, engine, stopping
from runs.advance import Change, locked_task, position
from runs.inputs import Known
from runs.models import Run, RunMessage, RunState, Task, TaskState, Word
from runs.services import advance_by, begin_run, end_task, kept_of, next_check_of_run, waited_in_vain

MAX_DEPTH = 8
"""How deep runs may stand in runs: a playbook that starts itself ends by this."""


def messages() -> due.Source:
    return due.Source(
        waiting=lambda: RunMessage.objects.filter(done_at=None).order_by("sent_at"), since="sent_at", perform=perform
    )


def perform(message_id: int) -> None:
    word = RunMessage.objects.values_list("word", flat=True).get(pk=message_id)
    PERFORMED[word](message_id=message_id)


@act(actions.RUN_START_DENIED)
def start_child(*, message_id: int) -> None:
    """Start the run that a step asks for; if that is not possible, the step is told why."""
    task_id = RunMessage.objects.values_list("task_id", flat=True).get(pk=message_id)
    locked = Task.objects.select_for_update(of=("self",)).select_related("run__version__playbook", "run__started_by")
    task = locked.get(pk=task_id)
    message = _undone(message_id)
    if message is None:
        return
    at, batch = clock.now(), Batch()
    _done(batch, message, at=at)
    lines = []
    if task.state == TaskState.PENDING:
        made = _made(task, at=at)
        if isinstance(made, Run):
            lines = begin_run(batch, made, actor=SYSTEM, at=at)
        else:
            batch.insert(RunMessage(word=Word.ENDED, task=task, note=made, sent_at=at))
    record(lines, into=batch)
    batch.write()
    wake.after_commit()


def _made(task: Task, *, at: datetime) -> Run | str:
    """The child run, not yet written; or why there can be none."""
    shape, parent = task.definition.shape, task.run
    assert isinstance(shape, Child), f"{task.path} starts no run"
    versions = Version.objects.filter(playbook__slug=shape.playbook, state=VersionState.PUBLISHED)
    wanted = versions.filter(number=shape.version) if shape.version is not None else versions
    version = wanted.select_related("playbook").order_by("-number").first()
    if version is None:
        named = f"version {shape.version} of {shape.playbook}" if shape.version is not None else shape.playbook
        return f"no published playbook {named} was found"
    if parent.depth >= MAX_DEPTH:
        return f"runs stand in runs more than {MAX_DEPTH} deep"
    payload = dict(task.input) if task.input is not None else parent.payload
    if problems := payload_problems(version.definition.payload_schema, payload):
        told = "; ".join(f"{problem.path}: {problem.message}" for problem in problems[:5])
        return f"the payload does not fit the form of {shape.playbook}: {told}"
    (number,) = numbers(Run, 1)
    return Run(
        pk=number,
        version=version,
        parent=task,
        depth=parent.depth + 1,
        payload=payload,
        labels=parent.labels,
        priority=task.priority,
        started_by=parent.started_by,
        created_at=at,
        next_check_at=next_check_of_run(version.definition, at),
    )


@act(actions.TASK_COMPLETE_DENIED)
def child_ended(*, message_id: int) -> None:
    """The run that a step started has ended: so does the step."""
    run, task = locked_task(RunMessage.objects.values_list("task_id", flat=True).get(pk=message_id))
    message = _undone(message_id)
    if message is None:
        return
    at, batch = clock.now(), Batch()
    _done(batch, message, at=at)
    if task.state != TaskState.PENDING or not run.moves_on:
        batch.write()
        return
    known = Known(run, task)
    child = Run.objects.filter(parent=task).select_related("version__playbook", "started_by").first()
    reason = message.note if child is None else f"its run {child.pk} ended {child.state}"
    output: Any = None
    if child is not None and child.state == RunState.COMPLETED:
        try:
            output, reason = kept_of(task, Known(child).data(), known), ""
        except Invalid as unusable:
            reason = unusable.detail
    facts = {} if child is None else {"child_run": str(child.pk)}
    change = Change(known, at=at, locked=True)
    if reason:
        line = waited_in_vain(task, "ChildRun", reason, at=at)
        end_task(batch, line, change, advance_by(known, engine.step_failed, reason=reason))
    else:
        line = transitioned(task.arrive, {"output": output}, actor=SYSTEM, at=at, data=facts)
        end_task(batch, line, change, advance_by(known, engine.child_ended, "completed"))


@act(actions.RUN_CANCEL_DENIED)
def close_child(*, message_id: int) -> None:
    """The step that started this run is over: its `parent_close_policy` says what follows."""
    task_id = RunMessage.objects.values_list("task_id", flat=True).get(pk=message_id)
    runs = Run.objects.select_for_update(of=("self",)).select_related("version__playbook", "started_by")
    child = runs.filter(parent=task_id).first()
    message = _undone(message_id)
    if message is None:
        return
    at, batch = clock.now(), Batch()
    _done(batch, message, at=at)
    batch.write()
    if child is None or not child.is_open:
        return
    task = Task.objects.select_related("run__version__playbook").get(pk=task_id)
    shape = task.definition.shape
    assert isinstance(shape, Child), f"{task.path} starts no run"
    reason = f"The step {task.path} of run {task.run_id}, which started this run, is over."
    if shape.parent_close_policy == "TERMINATE":
        stopping.terminate(child, actor=SYSTEM, at=at, reason=reason)
    elif shape.parent_close_policy == "REQUEST_CANCEL" and _goes_on(child):
        stopping.cancel(child, actor=SYSTEM, at=at, reason=reason)


def _goes_on(run: Run) -> bool:
    return run.state in (RunState.QUEUED, RunState.RUNNING) and position(run).undoing is None


PERFORMED: Mapping[str, Callable[..., None]] = {
    Word.START: start_child,
    Word.ENDED: child_ended,
    Word.CLOSE: close_child,
}


def _undone(message_id: int) -> RunMessage | None:
    return RunMessage.objects.select_for_update(of=("self",)).filter(pk=message_id, done_at=None).first()


def _done(batch: Batch, message: RunMessage, *, at: datetime) -> None:
    message.done_at = at
    batch.update(message, "done_at", done_at=None)
