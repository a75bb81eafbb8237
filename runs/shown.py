# SPDX-License-Identifier: Apache-2.0
"""A run as its page shows it: where it stands and why, each step with its attempts, in a fixed number of statements.

Reads only. Whoever calls has checked that the reader may see the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from django.db.models import Count

from accounts.models import User
from audit.shown import made_visible
from config import clock
from playbooks.definition import Step
from runs.models import OPEN_TASKS, Effect, Run, RunState, Task, TaskState
from runs.timeline import LineShown, seconds_in_words, sentence, timeline_of

TASKS_READ = 500  # the newest ones
ATTEMPTS_SHOWN = 10  # of one step, the newest ones

RUN_TONES: Mapping[str, str] = {
    RunState.COMPLETED: "good",
    RunState.FAILED: "bad",
    RunState.TERMINATED: "bad",
    RunState.CANCELLED: "off",
    RunState.CANCELLING: "off",
}
TASK_TONES: Mapping[str, str] = {
    TaskState.COMPLETED: "good",
    TaskState.APPROVED: "good",
    TaskState.FAILED: "bad",
    TaskState.REJECTED: "bad",
    TaskState.INCIDENT: "bad",
    TaskState.AWAITING_APPROVAL: "wait",
    TaskState.RUNNING: "busy",
    TaskState.CANCELLED: "off",
    TaskState.SKIPPED: "off",
}


@dataclass(frozen=True, slots=True)
class AttemptShown:
    """One task, in words."""

    task: Task
    who: str  # holds, held or decided it
    answered: str  # by a person, to what its holder asked in mid-task
    fault: str
    afterwards: str  # why it was, or was not, tried again
    took: str

    @property
    def tone(self) -> str:
        return TASK_TONES.get(self.task.state, "")


@dataclass(frozen=True, slots=True)
class StepShown:
    step: Step
    attempts: tuple[AttemptShown, ...]  # the newest last
    attempts_made: int
    now: str  # what it waits for, if it is open

    @property
    def last(self) -> AttemptShown | None:
        return self.attempts[-1] if self.attempts else None

    @property
    def tells_attempts(self) -> bool:
        """Whether there is more to tell than one attempt that went well."""
        return len(self.attempts) > 1 or any(attempt.fault or attempt.afterwards for attempt in self.attempts)


@dataclass(frozen=True, slots=True)
class RunShown:
    run: Run
    summary: str
    took: str
    current_steps: tuple[str, ...]
    steps: tuple[StepShown, ...]
    requests: Sequence[Any]  # open action requests
    effects: Sequence[Effect]
    lines: Sequence[LineShown]
    has_older_lines: bool

    @property
    def tone(self) -> str:
        return RUN_TONES.get(self.run.state, "busy")


def shown(run: Run) -> RunShown:
    now = clock.now()
    tasks = _tasks(run)
    requests = list(run.requests.select_related("decided_by", "claimed_by").order_by("created_at"))
    waiting_roles = {task.role for task in tasks if task.state in OPEN_TASKS}
    members = _members(waiting_roles | {each.role for each in requests if each.is_open})
    lines, has_older = timeline_of(run.pk)
    steps = tuple(
        _step(step, tasks, {each.task_id: each for each in requests}, members, now)
        for step in run.version.definition.walk()
    )
    return RunShown(
        run=run,
        summary=_summary(run, steps),
        took=seconds_in_words(((run.ended_at or now) - run.created_at).total_seconds()),
        current_steps=tuple(task.step for task in tasks if task.state in OPEN_TASKS),
        steps=steps,
        requests=[each for each in requests if each.is_open],
        effects=list(run.effects.select_related("task").order_by("intended_at")),
        lines=lines,
        has_older_lines=has_older,
    )


def _tasks(run: Run) -> list[Task]:
    newest = run.tasks.select_related("assignee").order_by("-id")[:TASKS_READ]
    return list(reversed(newest))


def _members(roles: set[str]) -> Mapping[str, int]:
    """How many could take up the work of each role."""
    counted = User.objects.filter(is_active=True, groups__name__in=roles).values_list("groups__name")
    return dict.fromkeys(roles, 0) | dict(counted.annotate(Count("pk")).order_by())


def _step(
    step: Step, tasks: Sequence[Task], requests: Mapping[Any, Any], members: Mapping[str, int], now: datetime
) -> StepShown:
    own = [task for task in tasks if task.step == step.id]
    following = {earlier.pk: later for earlier, later in pairwise(own)}
    attempts = tuple(_attempt(task, requests.get(task.pk), following.get(task.pk), now) for task in own)
    last = own[-1] if own else None
    waits = ""
    if last is not None and last.state in OPEN_TASKS:
        waits = _waits_for(last, requests.get(last.pk), members, now)
    return StepShown(step, attempts[-ATTEMPTS_SHOWN:], last.attempt if last else 0, waits)


def _attempt(task: Task, request: Any, following: Task | None, now: datetime) -> AttemptShown:
    fault = ": ".join(made_visible(part) for part in (task.error_type, task.error_message) if part)
    began = task.claimed_at or task.created_at
    took = seconds_in_words((task.ended_at - began).total_seconds()) if task.ended_at else ""
    return AttemptShown(task, _who(task, request), _answered(task, request), fault, _afterwards(task, following), took)


def _who(task: Task, request: Any) -> str:
    person = task.assignee
    if task.kind == "human" and request is not None:
        person = request.decided_by or request.claimed_by
    return _name(person)


def _name(person: Any) -> str:
    return made_visible(person.get_username()) if person is not None else ""


def _answered(task: Task, request: Any) -> str:
    if task.kind == "human" or request is None or request.decided_by is None:
        return ""
    reason = request.rejection_reason or request.notes
    return made_visible(f"{_name(request.decided_by)} answered {request.outcome}. {reason}".strip())


def _afterwards(task: Task, following: Task | None) -> str:
    reason = made_visible(task.retry_reason)
    if task.state == TaskState.INCIDENT:
        return f"Waits for an operator: {sentence(reason)}"
    if task.state != TaskState.FAILED or not reason:
        return ""
    if following is None:
        return f"Not tried again: {sentence(reason)}"
    delay = seconds_in_words(task.retry_delay_seconds or 0)
    return f"Tried again {delay} later, as attempt {following.attempt}: {sentence(reason)}"


def _waits_for(task: Task, request: Any, members: Mapping[str, int], now: datetime) -> str:
    asking = task.state == TaskState.AWAITING_APPROVAL and request is not None
    role, began = (request.role, request.created_at) if asking else (task.role, task.created_at)
    since = seconds_in_words((now - began).total_seconds())
    nobody = "" if members.get(role) or task.by_worker else f" Nobody is a member of {role} yet."
    match task.state:
        case TaskState.RUNNING:
            held = seconds_in_words((now - (task.claimed_at or now)).total_seconds())
            return f"Held for {held}; the lease lasts until {task.lease_expires_at:%H:%M:%S} UTC."
        case TaskState.AWAITING_APPROVAL:
            return f"Waits {since} for a decision of {role}.{nobody}"
        case TaskState.APPROVED:
            return "Approved; waits for its holder to resume it."
        case TaskState.PENDING if task.ready_at is None:
            return f"Is tried again at {task.next_check_at:%Y-%m-%d %H:%M:%S} UTC."
        case TaskState.PENDING if task.by_worker:
            return f"Waits {since} for our worker."
        case _:
            return f"Waits {since} for {role} to take it up.{nobody}"


def _summary(run: Run, steps: Sequence[StepShown]) -> str:
    """Where the run stands, and why, in one sentence or two."""
    ended_by = next((each for each in steps if each.step.id == run.ended_by_step and each.last), None)
    match run.state:
        case RunState.COMPLETED:
            return "Every step has been done."
        case RunState.FAILED if ended_by is not None and ended_by.last is not None:
            return f"It ended at {ended_by.step.id}: {_verdict(ended_by.last)}"
        case RunState.FAILED:
            return "It took longer than it may; the log says which clock ran out."
        case RunState.CANCELLING:
            return "It is being cancelled: what runs may still finish, and nothing follows it."
        case RunState.CANCELLED:
            return "It was cancelled; the log says by whom."
        case RunState.QUEUED:
            return "A limit holds it back."
    return " ".join(f"{each.step.id}: {each.now}" for each in steps if each.now)


def _verdict(attempt: AttemptShown) -> str:
    task = attempt.task
    if attempt.fault:
        return f"{sentence(attempt.fault)} {attempt.afterwards}".strip()
    by = f" by {attempt.who}" if attempt.who else ""
    word = "rejected" if task.state == TaskState.REJECTED else f"answered {made_visible(task.outcome)}"
    return f"{word}{by}. {made_visible(task.note)}".strip()
