# SPDX-License-Identifier: Apache-2.0
"""Applying the engine's moves to a run: what becomes of its tasks, its end, and the lines to record.

The caller has computed the moves from the run as it read it, and writes all of it as one batch: the run first,
guarded by its `revision`. If another act came between, nothing is written and the whole act is tried again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q

from audit import actions
from audit.canonical import digest
from audit.services import SYSTEM, Line, record, require_locks, transitioned
from config import wake
from config.batch import Batch, numbers
from config.prepared import fresh
from playbooks.definition import Foreach, Step, StepKind
from runs import engine, performers
from runs.clocks import Consequence, Moments, deadlines
from runs.engine import Advance, Position
from runs.inputs import Known, scope_of
from runs.models import (
    JOINED_KINDS,
    LEASE_LOSSES_ALLOWED,
    LOOK_AGAIN,
    OPEN_TASKS,
    Priority,
    Resolution,
    Run,
    RunMessage,
    RunState,
    Task,
    TaskState,
    Word,
)

RUN_FIELDS = ("state", "position", "revision", "ended_at", "ended_by_step", "next_check_at", "stalled_at")
ENDING_FIELDS = (
    "state", "token_hash", "lease_expires_at", "next_check_at", "ready_at", "ended_at", "outcome", "output", "note",
    "answer_digest", "error_type", "error_message", "retry_reason", "retry_delay_seconds",
)  # fmt: skip
EFFECT_UNKNOWN = (
    "whether it took effect is not known, and it must not take effect twice: find out before it is tried again"
)
OPENED_TOLD = 50  # of the tasks that one act opens; of more, the entry has the number and the digest
WAITED_FOR = frozenset({StepKind.WAIT, StepKind.PLAYBOOK, *JOINED_KINDS})
"""Kinds that nobody can claim."""


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
    tell_parent(batch, run)


def tell_parent(batch: Batch, run: Run) -> None:
    """A run that has ended tells the step that started it."""
    if run.parent_id is not None and run.ended_at is not None:
        batch.insert(RunMessage(word=Word.ENDED, task_id=run.parent_id, sent_at=run.ended_at))


class Change:
    """What one event makes of a run, gathered in memory: `take()` the moves, then `write_into()` a batch."""

    def __init__(self, known: Known, *, at: datetime, locked: bool = False, resolved: Task | None = None) -> None:
        """`known.ended` is the task whose end is the event, `resolved` the incident whose resolution is.

        `locked`: the caller has locked the run before it read.
        """
        self.run = known.run
        self.known = known
        self.at = at
        self.locked = locked
        self.resolved = resolved
        self.tasks: list[Task] = []  # to insert
        self._by_path: dict[str, Task] = {}  # the same
        self.lines: list[Line] = []
        self._moved: list[tuple[Task, tuple[str, ...], Mapping[str, Any]]] = []  # (row, fields, guard)
        self._messages: list[RunMessage] = []

    def take(self, advance: Advance) -> Change:
        self.run.position = advance.position.as_json()
        self.known.hear([move for move in advance.moves if isinstance(move, engine.Enter | engine.Leave | engine.Skip)])
        for move in advance.moves:
            self._take(move)
        ended = self.known.ended
        if self.resolved is not None or (ended is not None and ended.tries_before is not None):
            self._number_attempts()
        return self

    def _take(self, move: engine.Move) -> None:
        match move:
            case engine.Open(step, path, given) | engine.StartChild(step, path, given):
                self.add(step, path, input=given)
            case engine.Compensate(step, path) | engine.AwaitSignal(step, path):
                self.add(step, path)
            case engine.SetTimer(step, path):
                self._set_timer(move)
            case engine.Enter(step, path, items, case):
                self.add(
                    step, path, input={"items": list(items)} if isinstance(step.shape, Foreach) else {"case": case}
                )
            case engine.Leave():
                self._leave(move)
            case engine.Skip(step, path):
                self._skip(step, path)
            case engine.Incident(step, path, reason):
                self._incident(step, path, reason)
            case engine.Close(path):
                self.close(path)
            case engine.Complete():
                self.lines.append(transitioned(self.run.complete, actor=SYSTEM, at=self.at))
            case engine.Cancelled():
                self.lines.append(transitioned(self.run.end_cancelled, actor=SYSTEM, at=self.at))
            case engine.Fail():
                self._fail(move)

    # --- New rows ---

    def add(self, step: Step, path: str, *, input: Mapping[str, Any] | None = None, begins: bool = True) -> Task:
        """A task for a step that begins, or that is told of only since it does not."""
        run, at = self.run, self.at
        task = fresh(
            Task,
            run_id=run.pk,
            step=step.id,
            path=path,
            scope=scope_of(path),
            kind=step.kind.value,
            role=step.role,
            by_worker=step.kind is StepKind.GOVERNANCE or (step.kind is StepKind.SERVICE and step.call is not None),
            priority=min(run.priority, Priority[step.priority.upper()]),
            created_at=at,
            scheduled_at=at,
            ready_at=at if begins and step.kind not in WAITED_FOR else None,
            state=TaskState.PENDING,
            input=None if input is None else dict(input),
            item=self.known.item(path) if "]" in path else None,
        )
        task.run = run
        # A signal may have come before anybody waits for it, so that the timer looks at once.
        task.next_check_at = at if step.kind is StepKind.WAIT else next_check(task, step, at=at)
        if begins and step.kind is StepKind.PLAYBOOK:
            self._messages.append(RunMessage(word=Word.START, task=task, sent_at=at))
        self.tasks.append(task)
        self._by_path[path] = task
        return task

    def _set_timer(self, move: engine.SetTimer) -> None:
        task = self._new(move.path) or self.add(move.step, move.path)
        task.wake_at = move.moment if move.seconds is None else self.at + timedelta(seconds=move.seconds)
        if not engine.step_at(self.run.version.definition, move.path).shape.signal:  # type: ignore[union-attr]
            task.next_check_at = next_check(task, move.step, at=self.at)

    def _number_attempts(self) -> None:
        """What an operator has tried again, and all that follows within it, counts on from the attempts before."""
        made = dict(
            self.run.tasks.filter(path__in=[task.path for task in self.tasks])
            .order_by("attempt")
            .values_list("path", "attempt")
        )
        for task in self.tasks:
            task.tries_before = made.get(task.path, 0)
            task.attempt = task.tries_before + 1

    def _skip(self, step: Step, path: str) -> None:
        self.lines.append(transitioned(self.add(step, path, begins=False).skip, actor=SYSTEM, at=self.at))

    # --- Rows that change ---

    def _leave(self, move: engine.Leave) -> None:
        """A step around others is over, or one that could not begin."""
        known = self._new(move.path)
        if self.resolved is not None and self.resolved.path == move.path and (known is None or known.ended_at):
            return  # what the operator made of the incident is its end
        task = known or self._pending(move.path) or self.add(move.step, move.path, begins=False)
        if move.outcome == "PASS":
            line = transitioned(task.arrive, {"output": self.known.output_of(move.path)}, actor=SYSTEM, at=self.at)
        else:
            fault = {"error_type": "Failed" if move.step.branches else "Unevaluable", "message": move.reason}
            line = transitioned(
                task.give_up, fault, actor=SYSTEM, at=self.at, result="FAIL", private={"message": move.reason}
            )
        self.lines.append(line)
        self._changed(task, *ENDING_FIELDS, state=TaskState.PENDING)

    def _incident(self, step: Step, path: str, reason: str) -> None:
        ended = self.known.ended
        if ended is not None and ended.path == path and ended.state == TaskState.INCIDENT:
            return  # its own attempt is the incident
        task = self._new(path) or self._pending(path) or self.add(step, path, begins=False)
        self.lines.append(
            transitioned(
                task.raise_incident,
                {"reason": reason, "message": reason},
                actor=SYSTEM,
                at=self.at,
                result="FAIL",
                private={"message": reason},
            )
        )
        self._changed(task, *ENDING_FIELDS, state=TaskState.PENDING)

    def close(self, path: str, *, but_held: bool = False) -> None:
        """End what is open beneath: tasks (but those that somebody holds, if asked), their questions, child runs,
        incidents. Rows are locked in their order."""
        if not self.locked:
            require_locks()
        beneath = Q() if path == engine.ROOT else Q(path__startswith=f"{path}/") | Q(path__startswith=f"{path}[")
        rows = self.run.tasks.select_for_update(of=("self",)).filter(beneath).order_by("id")
        ended = self.known.ended
        ends = {task.pk for task, _, _ in self._moved} | ({ended.pk} if ended is not None else set())  # already
        open_states = [state for state in OPEN_TASKS if not (but_held and state == TaskState.RUNNING)]
        self.cancel([task for task in rows.filter(state__in=open_states) if task.pk not in ends])
        for incident in rows.unresolved():
            if incident.pk not in ends:
                self.close_incident(incident)

    def cancel(self, tasks: Sequence[Task]) -> None:
        """End these open tasks, which are locked, and what they asked and started."""
        asking = [task for task in tasks if task.state == TaskState.AWAITING_APPROVAL]
        for task in tasks:
            task.run, held = self.run, {"state": task.state, "fence": task.fence}
            self.lines.append(transitioned(task.cancel, actor=SYSTEM, at=self.at))
            self._changed(task, *ENDING_FIELDS, **held)
            self.close_child(task)
        self.lines += close_questions(asking, at=self.at)

    def close_child(self, task: Task) -> None:
        """The step is over before the run it started is."""
        if task.kind == StepKind.PLAYBOOK:
            self._messages.append(RunMessage(word=Word.CLOSE, task=task, sent_at=self.at))

    def close_incident(self, task: Task, resolution: Resolution = Resolution.CLOSED) -> None:
        task.run = self.run
        task.resolution, task.resolved_at = resolution, self.at
        if resolution == Resolution.CLOSED:
            self.lines.append(Line(actions.INCIDENT_CLOSED, task.audit_subject(), SYSTEM, self.at))
        self._changed(task, "resolution", "resolved_at", resolution="")

    def _fail(self, move: engine.Fail) -> None:
        facts = {"step": move.step_id, "path": move.path}
        self.lines.append(
            transitioned(
                self.run.fail,
                {"step": move.step_id},
                actor=SYSTEM,
                at=self.at,
                result="FAIL",
                note=move.reason,
                data=facts,
            )
        )

    def _changed(self, task: Task, *fields: str, **guard: Any) -> None:
        if task.pk is not None:  # a new one is written as it is
            self._moved.append((task, fields, guard))

    def _new(self, path: str) -> Task | None:
        return self._by_path.get(path)

    def _pending(self, path: str) -> Task | None:
        task = self.run.tasks.filter(path=path, state=TaskState.PENDING).first()
        if task is not None:
            task.run = self.run
        return task

    # --- Writing ---

    def write_into(self, batch: Batch, *, drawn: Sequence[int] = ()) -> list[Line]:
        """Add all of it, the run itself excepted; new rows under the numbers `drawn`, if they are enough. A human step
        asks its question together with its task: the lines of that are returned."""
        for task, fields, guard in sorted(self._moved, key=lambda moved: int(moved[0].pk)):
            batch.update(task, *fields, **guard)
        self._number(drawn)
        batch.insert(*self.tasks)
        lines = self._ask(batch)
        batch.insert(*self._messages)
        return lines

    def _number(self, drawn: Sequence[int]) -> None:
        found = drawn if len(drawn) >= len(self.tasks) else numbers(Task, len(self.tasks))
        for task, number in zip(self.tasks, found, strict=False):
            task.pk = number
        for message in self._messages:
            message.task_id = message.task.pk

    def _ask(self, batch: Batch) -> list[Line]:
        lines: list[Line] = []
        for kind in {task.kind: None for task in self.tasks}:
            performer = performers.of(kind)
            asking = [task for task in self.tasks if task.kind == kind and task.state == TaskState.PENDING]
            if performer is not None and asking:
                lines += [transitioned(task.ask, actor=SYSTEM, at=self.at) for task in asking]
                for task in asking:
                    task.next_check_at = next_check(task, task.definition, at=self.at)
                lines += performer.opens(asking, self.at, batch, self.known)
        return lines


def write(change: Change, first: Sequence[Line]) -> None:
    """Write a change that no task's end has caused, and record it after the lines of its cause."""
    batch = Batch()
    save_run(batch, change.run)
    asked = change.write_into(batch)
    record([*first, *change.lines, *asked], into=batch)
    batch.write()
    wake.after_commit(batch)


def opened(tasks: Sequence[Task]) -> dict[str, Any]:
    """What the causing entry says of the tasks it opened; nothing if there are none."""
    told = [
        {"task": str(task.pk), "step": task.step, "path": task.path, "role": task.role, "attempt": task.attempt}
        for task in tasks
    ]
    if len(told) > OPENED_TOLD:
        return {"opened": told[:OPENED_TOLD], "opened_count": len(told), "opened_sha256": digest(told)}
    return {"opened": told} if told else {}


def next_attempt(task: Task, *, at: datetime, delay_seconds: float) -> Task:
    """The row of a retry; the timer makes it claimable when its delay has passed."""
    return Task(
        run=task.run,
        step=task.step,
        path=task.path,
        scope=task.scope,
        attempt=task.attempt + 1,
        tries_before=task.tries_before,
        kind=task.kind,
        role=task.role,
        by_worker=task.by_worker,
        priority=task.priority,
        created_at=at,
        scheduled_at=task.scheduled_at,
        ready_at=None,
        next_check_at=at + timedelta(seconds=delay_seconds),
        input=task.input,
        item=task.item,
    )


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
    nearest += [moment for moment in (task.lease_expires_at, task.wake_at) if moment is not None]
    return min([*nearest, at + LOOK_AGAIN])


# Rows under their locks -----------------------------------------------------------------------------------


def locked_task(task_id: int) -> tuple[Run, Task]:
    """The run, then its task, both locked."""
    runs = Run.objects.select_for_update(of=("self",)).select_related("version__playbook")
    run = runs.get(tasks=task_id)
    task = Task.objects.select_for_update(of=("self",)).get(pk=task_id)
    task.run = run
    return run, task


def after_late_end(task: Task) -> Advance | None:
    """What follows the end of a task that advances nothing: in a run that is being cancelled, when nothing runs any
    more, what was done is undone, and the run ends."""
    run = task.run
    if run.state != RunState.CANCELLING:
        return None
    definition, here = run.version.definition, position(run)
    if task.state == TaskState.COMPLETED:
        here = engine.completed_late(definition, here, task.path)
    if run.tasks.filter(state=TaskState.RUNNING).exclude(pk=task.pk).exists():
        return Advance(here, ())
    return engine.run_cancelled(definition, here)


def take_back(batch: Batch, task: Task, run: Run, *, at: datetime, why: str) -> list[Line]:
    """End a lease of a locked task; too many losses are an incident."""
    facts = {"held_by": str(task.assignee_id), "why": why}
    change = Change(Known(run, task), at=at, locked=True)
    if run.moves_on and (why_not := _why_not_again(task)):
        reason = {"reason": why_not}
        lines = [transitioned(task.raise_incident, reason, actor=SYSTEM, at=at, result="FAIL", data=facts)]
    else:
        lines = [transitioned(task.lose_lease, actor=SYSTEM, at=at, data=facts)]
        lines += let_go(task, change)
    save_run(batch, run)
    batch.update(task, *ENDING_FIELDS, "lease_losses", state=TaskState.RUNNING, fence=task.fence)
    return [*lines, *change.lines, *change.write_into(batch)]


def _why_not_again(task: Task) -> str:
    """Why a task whose lease is over is not offered again; "" if it is."""
    if task.definition.effect == "once":
        return EFFECT_UNKNOWN
    if task.lease_losses >= LEASE_LOSSES_ALLOWED:
        return f"its lease was lost {task.lease_losses + 1} times"
    return ""


def let_go(task: Task, change: Change) -> list[Line]:
    """Nobody holds the task any more: another may claim it, but not in a run that is being cancelled."""
    if task.run.moves_on:
        task.next_check_at = next_check(task, task.definition, at=change.at)
        return []
    line = transitioned(task.cancel, actor=SYSTEM, at=change.at)
    advance = after_late_end(task)
    if advance is not None:
        change.take(advance)
    return [line]


def close_questions(tasks: Sequence[Task], *, at: datetime, expired: bool = False) -> list[Line]:
    """Their tasks have ended without them: questions are not required any more, or have expired."""
    people = performers.of("human")
    if not tasks or people is None:
        return []
    return people.closes(tasks, at, expired)
