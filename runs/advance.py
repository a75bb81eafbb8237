# SPDX-License-Identifier: Apache-2.0
"""Applying the engine's moves to a run: new tasks, the run's end, and the lines to record.

The caller has computed the moves from the run as it read it, and writes all of it as one batch: the run first,
guarded by its `revision`. If another act came between, nothing is written and the whole act is tried again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from audit.services import SYSTEM, Line, transitioned
from config.batch import Batch, numbers
from playbooks.definition import Step
from runs import engine, performers
from runs.clocks import Consequence, Moments, deadlines
from runs.engine import Advance, Position
from runs.models import (
    LEASE_LOSSES_ALLOWED,
    LOOK_AGAIN,
    OPEN_TASKS,
    Priority,
    Run,
    RunState,
    Task,
    TaskState,
)

RUN_FIELDS = ("state", "position", "revision", "ended_at", "ended_by_step", "next_check_at", "stalled_at")
ENDING_FIELDS = (
    "state", "token_hash", "lease_expires_at", "next_check_at", "ready_at", "ended_at", "outcome", "output", "note",
    "answer_digest", "error_type", "error_message", "retry_reason", "retry_delay_seconds",
)  # fmt: skip


def position(run: Run) -> Position:
    return Position.from_json(run.position)


def ending(task: Task) -> None:
    """A stalled run is stalled no more when the task that was slow has ended."""
    if task.stalled_at is not None:
        task.run.stalled_at = None


def save_run(batch: Batch, run: Run) -> None:
    """Write the run, guarded by the revision it was read at."""
    read_at = run.revision
    run.revision = read_at + 1
    batch.update(run, *RUN_FIELDS, revision=read_at)


def take(run: Run, advance: Advance, *, at: datetime) -> tuple[list[Task], list[Line]]:
    """Apply the moves in memory: (tasks to insert, lines of what the run itself does)."""
    run.position = advance.position.as_json()
    tasks, lines = [], []
    for move in advance.moves:
        match move:
            case engine.Open(step, path):
                tasks.append(_new_task(run, step, path, at=at))
            case engine.Complete():
                lines.append(transitioned(run.complete, actor=SYSTEM, at=at))
            case engine.Fail(step_id):
                lines.append(
                    transitioned(
                        run.fail, {"step": step_id}, actor=SYSTEM, at=at, result="FAIL", data={"step": step_id}
                    )
                )
    return tasks, lines


def insert(
    batch: Batch, tasks: Sequence[Task], *, at: datetime, drawn: Sequence[int] = (), ended: Task | None = None
) -> list[Line]:
    """Add new tasks, under the numbers `drawn` and more; a human step asks its question together with them.

    `ended` is the task whose end opens them; its output is not in the database yet.
    """
    missing = len(tasks) - len(drawn)
    for task, number in zip(tasks, [*drawn, *(numbers(Task, missing) if missing > 0 else [])], strict=False):
        task.pk = number
    batch.insert(*tasks)
    lines: list[Line] = []
    for task in tasks:
        performer = performers.of(task.kind)
        if performer is not None:
            lines.append(transitioned(task.ask, actor=SYSTEM, at=at))
            task.next_check_at = next_check(task, task.definition, at=at)
            lines.extend(performer.opens(task, at, batch, ended))
    return lines


def opened(tasks: Sequence[Task]) -> list[Mapping[str, Any]]:
    """What the causing entry says of the tasks it opened."""
    return [
        {"task": str(task.pk), "step": task.step, "path": task.path, "role": task.role, "attempt": task.attempt}
        for task in tasks
    ]


def next_attempt(task: Task, *, at: datetime, delay_seconds: float) -> Task:
    """The row of a retry; the timer makes it claimable when its delay has passed."""
    return Task(
        run=task.run,
        step=task.step,
        path=task.path,
        attempt=task.attempt + 1,
        kind=task.kind,
        role=task.role,
        by_worker=task.by_worker,
        priority=task.priority,
        created_at=at,
        scheduled_at=task.scheduled_at,
        ready_at=None,
        next_check_at=at + timedelta(seconds=delay_seconds),
    )


def _new_task(run: Run, step: Step, path: str, *, at: datetime) -> Task:
    urgency = min(run.priority, Priority[step.priority.upper()])
    task = Task(
        run=run,
        step=step.id,
        path=path,
        kind=step.kind.value,
        role=step.role,
        by_worker=step.kind == "service" and step.call is not None,
        priority=urgency,
        created_at=at,
        scheduled_at=at,
        ready_at=at,
        state=TaskState.PENDING,
    )
    task.next_check_at = next_check(task, step, at=at)
    return task


def moments(task: Task) -> Moments:
    held = task.state == TaskState.RUNNING
    return Moments(
        scheduled_at=task.scheduled_at,
        claimable_at=task.ready_at,
        claimed_at=task.claimed_at if held else None,
        lease_ends_at=task.lease_expires_at if held else None,
        flagged=task.stalled_at is not None,
    )


def deadline(task: Task) -> datetime | None:
    """When a clock would end what the holder is doing; None if none would."""
    ends = (d.at for d in deadlines(task.definition, moments(task)) if d.consequence != Consequence.ALERT_ONLY)
    return next(ends, None)


def next_check(task: Task, step: Step, *, at: datetime) -> datetime:
    """When somebody has to look at this open task again: at the nearest clock, and never later than LOOK_AGAIN."""
    nearest = [deadline.at for deadline in deadlines(step, moments(task)) if deadline.at > at]
    if task.lease_expires_at is not None:
        nearest.append(task.lease_expires_at)
    return min([*nearest, at + LOOK_AGAIN])


# Rows under their locks -----------------------------------------------------------------------------------


def locked_task(task_id: int) -> tuple[Run, Task]:
    """The run, then its task, both locked."""
    runs = Run.objects.select_for_update(of=("self",)).select_related("version__playbook")
    run = runs.get(tasks=task_id)
    task = Task.objects.select_for_update(of=("self",)).get(pk=task_id)
    task.run = run
    return run, task


def last_of_a_cancelled_run(task: Task, *, at: datetime) -> list[Line]:
    """The end of a cancelling run, if `task` was the last that ran."""
    if task.run.state != RunState.CANCELLING:
        return []
    if task.run.tasks.filter(state=TaskState.RUNNING).exclude(pk=task.pk).exists():
        return []
    return [transitioned(task.run.end_cancelled, actor=SYSTEM, at=at)]


def take_back(batch: Batch, task: Task, run: Run, *, at: datetime, why: str) -> list[Line]:
    """End a lease; too many losses are an incident."""
    facts = {"held_by": str(task.assignee_id), "why": why}
    if task.lease_losses >= LEASE_LOSSES_ALLOWED:
        reason = {"reason": f"its lease was lost {task.lease_losses + 1} times"}
        lines = [transitioned(task.raise_incident, reason, actor=SYSTEM, at=at, result="FAIL", data=facts)]
    else:
        lines = [transitioned(task.lose_lease, actor=SYSTEM, at=at, data=facts)]
        if run.state == RunState.CANCELLING:
            lines.append(transitioned(task.cancel, actor=SYSTEM, at=at))
        else:
            task.next_check_at = next_check(task, task.definition, at=at)
    lines += last_of_a_cancelled_run(task, at=at)
    save_run(batch, run)
    batch.update(task, *ENDING_FIELDS, "lease_losses", state=TaskState.RUNNING, fence=task.fence)
    return lines


def cancel_waiting(run: Run, *, at: datetime) -> tuple[list[Line], bool]:
    """Close every open task that nobody holds, and its question: (lines, whether any is still held)."""
    tasks = list(run.tasks.select_for_update(of=("self",)).filter(state__in=OPEN_TASKS).order_by("id"))
    waiting = [task for task in tasks if task.state != TaskState.RUNNING]
    asking = [task for task in waiting if task.state == TaskState.AWAITING_APPROVAL]
    lines = []
    for task in waiting:
        task.run = run
        lines.append(transitioned(task.cancel, actor=SYSTEM, at=at))
    Task.objects.bulk_update(waiting, ["state", "ready_at", "next_check_at", "ended_at"])
    lines += close_questions(asking, at=at)
    return lines, len(waiting) < len(tasks)


def close_questions(tasks: Sequence[Task], *, at: datetime, expired: bool = False) -> list[Line]:
    """Their tasks have ended without them: questions are not required any more, or have expired."""
    people = performers.of("human")
    if not tasks or people is None:
        return []
    return people.closes(tasks, at, expired)
