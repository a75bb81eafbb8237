# SPDX-License-Identifier: Apache-2.0
"""What time puts right about runs and tasks: retries, lost leases, clocks that have run out.

Each finding is an act of its own, under the locks of run and task, and looks again there: a timer that comes
late, or twice, or at the same moment as the holder, changes nothing it should not.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from audit import actions
from audit.services import SYSTEM, Line, act, record, transitioned
from config import clock, wake
from config.batch import Batch
from config.crash import crash_point
from playbooks.definition import StepKind
from runs import due, performers
from runs.advance import (
    ENDING_FIELDS,
    WAITED_FOR,
    close_questions,
    locked_task,
    moments,
    next_check,
    save_run,
    take_back,
)
from runs.clocks import ERROR_TYPES, Clock, Consequence, Deadline, consequence_of, deadlines
from runs.models import JOINED_KINDS, LOOK_AGAIN, OPEN_TASKS, Notice, Run, RunState, Task, TaskState
from runs.notices import STALLED
from runs.retry import Fault
from runs.services import end_with_fault
from runs.stopping import fail_run
from runs.waits import kept_for, receive, wake_up

BATCH = 100


def look_at_tasks(now: datetime) -> int:
    tasks = Task.objects.filter(next_check_at__lte=now).order_by("next_check_at").values_list("pk", flat=True)
    return due.each(list(tasks[:BATCH]), lambda task_id: check_task(task_id=task_id))


def look_at_runs(now: datetime) -> int:
    runs = Run.objects.filter(next_check_at__lte=now).order_by("next_check_at").values_list("pk", flat=True)
    return due.each(list(runs[:BATCH]), lambda run_id: check_run(run_id=run_id))


@act(actions.TASK_RELEASE_DENIED)
def check_task(*, task_id: int) -> None:
    """Do what is due for one open task, and set when to look again."""
    run, task = locked_task(task_id)
    now = clock.now()
    if task.state not in OPEN_TASKS or task.next_check_at is None or task.next_check_at > now:
        return
    out = next((d for d in deadlines(task.definition, moments(task)) if d.at <= now), None)
    lease_over = task.state == TaskState.RUNNING and task.lease_expires_at is not None and task.lease_expires_at <= now
    if out is not None and out.consequence != Consequence.ALERT_ONLY and task.kind not in JOINED_KINDS:
        _time_out(task, out, at=now)
    elif out is not None:
        _flag(task, run, out, at=now)
    elif lease_over:
        batch = Batch()
        record(take_back(batch, task, run, at=now, why="it was not renewed in time"), into=batch)
        batch.write()
        crash_point("lease_lost.before_commit")
    elif task.state == TaskState.APPROVED:
        _offer_again(task, run, at=now)
    elif task.kind == StepKind.WAIT and run.moves_on:
        _look_at_wait(task, at=now)
    else:
        _wait_on(task, at=now)
    wake.after_commit()


def _look_at_wait(task: Task, *, at: datetime) -> None:
    signal = kept_for(task)
    if signal is not None:
        receive(task, signal, actor=SYSTEM, at=at)
    elif task.wake_at is not None and task.wake_at <= at:
        wake_up(task, at=at)
    else:
        _wait_on(task, at=at)


def _time_out(task: Task, out: Deadline, *, at: datetime) -> None:
    asking = task.state == TaskState.AWAITING_APPROVAL
    message = f"the clock {out.clock.value} ran out at {out.at.isoformat(timespec='seconds')}"
    given = {"error_type": ERROR_TYPES[out.clock], "message": message}
    fault = Fault(ERROR_TYPES[out.clock], retryable=out.consequence == Consequence.RETRY, clock=out.clock.value)
    closed = close_questions([task], at=at, expired=True) if asking else []
    end_with_fault(task, task.time_out, fault, given, actor=SYSTEM, at=at, locked=True, then=closed)


def _flag(task: Task, run: Run, out: Deadline, *, at: datetime) -> None:
    """The run is stalled: an entry, a mail to the playbook's owner; and it goes on."""
    task.stalled_at = at
    run.stalled_at = at
    facts = {"clock": out.clock.value, "since": out.at.isoformat()}
    line = Line(actions.TASK_STALLED, task.audit_subject(), SYSTEM, at, data=facts)
    owner = run.version.playbook.owner_id
    if owner is not None:
        Notice.objects.get_or_create(
            task=task, recipient_id=owner, purpose=STALLED, defaults={"run": run, "due_at": at}
        )
    task.next_check_at = next_check(task, task.definition, at=at)
    batch = Batch()
    save_run(batch, run)
    batch.update(task, "stalled_at", "next_check_at")
    record([line], into=batch)
    batch.write()


def _offer_again(task: Task, run: Run, *, at: datetime) -> None:
    line = transitioned(task.offer_again, actor=SYSTEM, at=at)
    task.next_check_at = next_check(task, task.definition, at=at)
    batch = Batch()
    save_run(batch, run)
    batch.update(task, *ENDING_FIELDS)
    people = performers.of("human")
    lapsed = people.lapses(task, at=at, batch=batch) if people is not None else []
    record([line, *lapsed], into=batch)
    batch.write()


def _wait_on(task: Task, *, at: datetime) -> None:
    """A retry whose delay has passed becomes claimable; anything else is looked at again later."""
    if task.state == TaskState.PENDING and task.ready_at is None and task.kind not in WAITED_FOR:
        task.ready_at = at
    task.next_check_at = next_check(task, task.definition, at=at)
    task.write("ready_at", "next_check_at", state=task.state)


@act(actions.RUN_CANCEL_DENIED)
def check_run(*, run_id: int) -> None:
    """End a run whose `run_timeout` has passed; look again later at any other."""
    runs = Run.objects.select_for_update(of=("self",)).select_related("version__playbook")
    run = runs.get(pk=run_id)
    now = clock.now()
    if run.next_check_at is None or run.next_check_at > now:
        return
    limit = run.version.definition.run_timeout
    ends_at = None if limit is None else run.created_at + timedelta(seconds=limit)
    if ends_at is not None and ends_at <= now and run.state == RunState.RUNNING and "undoing" not in run.position:
        fail_run(run, at=now, reason=f"the run's own clock ran out: it may take {limit} s")
        return
    run.next_check_at = min([now + LOOK_AGAIN, *([ends_at] if ends_at and ends_at > now else [])])
    run.write("next_check_at", revision=run.revision)


__all__ = ["Clock", "check_run", "check_task", "consequence_of", "look_at_runs", "look_at_tasks"]
