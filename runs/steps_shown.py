# SPDX-License-Identifier: Apache-2.0
"""The steps of a run as its page shows them: every kind, each beneath the one it stands in, in a fixed number of
statements, however many tasks there are.

A step inside a foreach step is one card for all items: how many stand where, and the tasks that most need looking at.
What undoes a step is told beneath it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from django.db.models import Case, Count, F, IntegerField, Value, When, Window
from django.db.models.functions import RowNumber

from accounts.models import User
from audit.shown import made_visible
from playbooks.definition import Foreach, Step, StepKind, Switch, Wait
from runs.models import HELD_KINDS, JOINED_KINDS, OPEN_TASKS, Resolution, Run, Task, TaskState
from runs.progress import MOST_URGENT
from runs.timeline import seconds_in_words, sentence

TASKS_READ = 1000  # outside of foreach steps, the newest ones
ATTEMPTS_SHOWN = 10  # of one step, the newest ones
ITEMS_SHOWN = 20  # of one step inside a foreach step
UNDOING_READ = 200

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
PERFORMED = (*HELD_KINDS, StepKind.HUMAN)
RESOLVED: Mapping[str, str] = {
    Resolution.RETRY: "An operator had it tried again.",
    Resolution.SKIP: "An operator left it out.",
    Resolution.FAIL: "An operator let it fail.",
    Resolution.CLOSED: "Nobody needs it any more.",
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
    child: Run | None = None  # that it started

    @property
    def tone(self) -> str:
        return TASK_TONES.get(self.task.state, "")


@dataclass(frozen=True, slots=True)
class CountShown:
    state: str
    count: int

    @property
    def words(self) -> str:
        return self.state.replace("_", " ")

    @property
    def tone(self) -> str:
        return TASK_TONES.get(self.state, "")


@dataclass(frozen=True, slots=True)
class StepShown:
    step: Step
    depth: int
    within: str  # which block of the step around it begins here; "" for a step that follows another
    attempts: tuple[AttemptShown, ...]  # the newest last
    attempts_made: int
    now: str  # what it waits for, if it is open
    counts: tuple[CountShown, ...] = ()  # of items, inside a foreach step
    items: tuple[AttemptShown, ...] = ()  # some of them, those that failed first
    undoing: tuple[AttemptShown, ...] = ()

    @property
    def last(self) -> AttemptShown | None:
        return self.attempts[-1] if self.attempts else None

    @property
    def state_words(self) -> str:
        """Of what only waits, or stands around others, `pending` would say the wrong thing."""
        if self.last is None:
            return ""
        if self.last.task.state == TaskState.PENDING and self.step.kind not in PERFORMED:
            return "Under way" if self.step.kind in JOINED_KINDS else "Waiting"
        return str(self.last.task.get_state_display())

    @property
    def is_leaf(self) -> bool:
        return self.step.kind not in JOINED_KINDS

    @property
    def is_current(self) -> bool:
        """Whether somebody or something is to do it, or to undo it, now."""
        of_items = any(each.state in OPEN_TASKS for each in self.counts)
        last = [*self.attempts[-1:], *self.undoing]
        return self.is_leaf and (of_items or any(each.task.state in OPEN_TASKS for each in last))

    @property
    def is_stuck(self) -> bool:
        return self.last is not None and self.last.task.is_unresolved

    @property
    def tells_attempts(self) -> bool:
        """Whether there is more to tell than one attempt that went well."""
        return len(self.attempts) > 1 or any(attempt.fault or attempt.afterwards for attempt in self.attempts)

    @property
    def took_case(self) -> str:
        task = self.last.task if self.last else None
        return str((task.input or {}).get("case") or "") if task is not None and task.kind == StepKind.SWITCH else ""

    @property
    def has_trouble(self) -> bool:
        return any(each.tone == "bad" for each in self.counts)

    @property
    def items_left_out(self) -> int:
        return sum(each.count for each in self.counts) - len(self.items)


@dataclass(frozen=True, slots=True)
class Known:
    """What has been read of a run."""

    outside: Mapping[str, Sequence[Task]]  # by step, the newest attempt last
    counts: Mapping[str, Mapping[str, int]]  # step → state → how many items
    items: Mapping[str, Sequence[Task]]
    undoing: Mapping[str, Sequence[Task]]
    requests: Mapping[int, Any]  # by task
    children: Mapping[int, Run]  # by the task that started them
    members: Mapping[str, int]
    now: datetime

    def steps(self, run: Run) -> tuple[StepShown, ...]:
        return tuple(self._step(*place) for place in _places(run.version.definition.steps))

    def _step(self, step: Step, depth: int, within: str) -> StepShown:
        own = self.outside.get(step.id, ())
        items = self.items.get(step.id, ())
        counts = self.counts.get(step.id, {})
        last = own[-1] if own else None
        return StepShown(
            step=step,
            depth=depth,
            within=within,
            attempts=self.attempts(own)[-ATTEMPTS_SHOWN:],
            attempts_made=last.attempt if last else 0,
            now=self._waits_for(step, last) if last else _open_of(counts),
            counts=tuple(CountShown(state, counts[state]) for state in MOST_URGENT if state in counts),
            items=tuple(self._attempt(task, None) for task in items),
            undoing=self.attempts(self.undoing.get(step.id, ())),
        )

    def attempts(self, tasks: Sequence[Task]) -> tuple[AttemptShown, ...]:
        following = {earlier.pk: later for earlier, later in pairwise(tasks) if earlier.path == later.path}
        return tuple(self._attempt(task, following.get(task.pk)) for task in tasks)

    def _attempt(self, task: Task, following: Task | None) -> AttemptShown:
        request = self.requests.get(task.pk)
        began = task.claimed_at or task.created_at
        return AttemptShown(
            task=task,
            who=_who(task, request),
            answered=_answered(task, request),
            fault=made_visible(task.fault),
            afterwards=_afterwards(task, following),
            took=seconds_in_words((task.ended_at - began).total_seconds()) if task.ended_at else "",
            child=self.children.get(task.pk),
        )

    def _waits_for(self, step: Step, task: Task) -> str:
        if task.is_unresolved:
            return "Waits for an operator."
        if task.state not in OPEN_TASKS:
            return ""
        match step.shape:
            case Wait():
                return _wait(step.shape, task)
            case Foreach():
                items = (task.input or {}).get("items", ())
                return f"For {len(items)} items."
            case Switch():
                return "Its case is under way."
        if step.kind == StepKind.PARALLEL:
            return f"Its {len(step.branches)} branches are under way."
        if step.kind == StepKind.PLAYBOOK:
            return "Waits for its run to end." if task.pk in self.children else "Its run is about to be started."
        return self._waits_for_somebody(task)

    def _waits_for_somebody(self, task: Task) -> str:
        now, request = self.now, self.requests.get(task.pk)
        role, began = task.role, task.created_at
        if request is not None and task.state == TaskState.AWAITING_APPROVAL:
            role, began = request.role, request.created_at
        since = seconds_in_words((now - began).total_seconds())
        nobody = "" if self.members.get(role) or task.by_worker else f" Nobody is a member of {role} yet."
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


def attempts_of(task: Task) -> tuple[AttemptShown, ...]:
    """The newest attempts at the same step at the same place, the last one last."""
    tasks = _newest(task.run, ATTEMPTS_SHOWN, path=task.path)
    requests = {each.task_id: each for each in _requests(task.run, tasks)}
    return Known({}, {}, {}, {}, requests, {}, {}, task.created_at).attempts(tasks)


# Reading --------------------------------------------------------------------------------------------------


def read(run: Run, *, now: datetime) -> Known:
    steps = list(run.version.definition.walk())
    has_items = any(step.kind == StepKind.FOREACH for step in steps)
    outside = _newest(run, TASKS_READ, scope="")
    inside = _items(run) if has_items else []
    undoing = _newest(run, UNDOING_READ, scope__endswith="~") if any(step.compensate for step in steps) else []
    tasks = [*outside, *inside, *undoing]
    requests = {each.task_id: each for each in _requests(run, tasks)}
    asked = {each.role for each in requests.values() if each.is_open}
    return Known(
        outside=_by_step(outside),
        counts=_counts(run) if has_items else {},
        items=_by_step(inside),
        undoing=_by_step(undoing),
        requests=requests,
        children=_children(tasks) if any(step.kind == StepKind.PLAYBOOK for step in steps) else {},
        members=_members({task.role for task in tasks if task.state in OPEN_TASKS} | asked),
        now=now,
    )


def _newest(run: Run, count: int, **wanted: Any) -> list[Task]:
    return list(reversed(run.tasks.filter(**wanted).select_related("assignee").order_by("-id")[:count]))


def _inside(run: Run) -> Any:
    """Of each step at each item, the newest attempt."""
    return run.tasks.newest().exclude(scope="").exclude(scope__endswith="~")


def _counts(run: Run) -> Mapping[str, Mapping[str, int]]:
    counted: dict[str, dict[str, int]] = defaultdict(dict)
    for step, state, count in _inside(run).order_by().values_list("step", "state").annotate(Count("pk")):
        counted[step][state] = count
    return counted


def _items(run: Run) -> list[Task]:
    """Of each step some tasks: incidents first, then what failed, then what is open."""
    urgency = Case(
        *(When(state=state, then=Value(place)) for place, state in enumerate(SHOWN_FIRST)),
        default=Value(len(SHOWN_FIRST)),
        output_field=IntegerField(),
    )
    place = Window(RowNumber(), partition_by=[F("step")], order_by=[urgency.asc(), F("id").asc()])
    few = _inside(run).order_by().annotate(place=place).filter(place__lte=ITEMS_SHOWN)
    return list(few.select_related("assignee").defer("output", "input").order_by("step", "place"))


SHOWN_FIRST = (
    TaskState.INCIDENT,
    TaskState.FAILED,
    TaskState.REJECTED,
    TaskState.RUNNING,
    TaskState.AWAITING_APPROVAL,
    TaskState.APPROVED,
    TaskState.PENDING,
)


def _requests(run: Run, tasks: Sequence[Task]) -> Any:
    asked = [task.pk for task in tasks if task.kind in (StepKind.HUMAN, StepKind.GOVERNANCE) or _has_asked(task)]
    return run.requests.filter(task__in=asked).select_related("decided_by", "claimed_by").order_by("created_at")


def _has_asked(task: Task) -> bool:
    return task.approval is not None or task.state == TaskState.AWAITING_APPROVAL


def _children(tasks: Sequence[Task]) -> Mapping[int, Run]:
    started = Run.objects.filter(parent__in=[task.pk for task in tasks if task.kind == StepKind.PLAYBOOK])
    return {child.parent_id: child for child in started.only("parent", "state") if child.parent_id is not None}


def _members(roles: set[str]) -> Mapping[str, int]:
    """How many could take up the work of each role."""
    counted = User.objects.filter(is_active=True, groups__name__in=roles).values_list("groups__name")
    return dict.fromkeys(roles, 0) | dict(counted.annotate(Count("pk")).order_by())


def _by_step(tasks: Sequence[Task]) -> Mapping[str, Sequence[Task]]:
    found: dict[str, list[Task]] = defaultdict(list)
    for task in tasks:
        found[task.step].append(task)
    return found


# Words ----------------------------------------------------------------------------------------------------


def _places(block: Sequence[Step], depth: int = 0, within: str = "") -> Iterator[tuple[Step, int, str]]:
    """Every step, how deep it stands, and, of the first of a block, what the block is."""
    for index, step in enumerate(block):
        yield step, depth, "" if index else within
        for branch in step.branches:
            yield from _places(branch.steps, depth + 1, _block_name(step, branch))
        for name, handler in step.handlers():
            yield from _places(handler.steps, depth + 1, HANDLERS[name])


HANDLERS = {"on_failure": "when it has failed", "on_reject": "when it was rejected"}


def _block_name(step: Step, branch: Any) -> str:
    if isinstance(step.shape, Foreach):
        return "for each item"
    if isinstance(step.shape, Switch):
        condition = branch.case or branch.when
        return f"{_named('case', branch.key)}: {condition or 'in all other cases'}"
    return _named("branch", branch.key)


def _named(word: str, key: str) -> str:
    """A block that the playbook does not name is called `branch-1` already."""
    return key if key.startswith(f"{word}-") else f"{word} {key}"


def _wait(shape: Wait, task: Task) -> str:
    until = f"{task.wake_at:%Y-%m-%d %H:%M:%S} UTC" if task.wake_at else ""
    if shape.signal:
        return f"Waits for the signal {shape.signal}" + (f", until {until} at the latest." if until else ".")
    return f"Waits until {until}." if until else "Waits."


def _open_of(counts: Mapping[str, int]) -> str:
    words = {state: state.replace("_", " ") for state in (TaskState.INCIDENT, *OPEN_TASKS)}
    found = [f"{counts[state]} {word}" for state, word in words.items() if state in counts]
    return f"Of its items: {', '.join(found)}." if found else ""


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
        waits = f"Waits for an operator: {sentence(reason)}" if reason else "Waits for an operator."
        return waits if task.is_unresolved else RESOLVED[task.resolution]
    if task.state != TaskState.FAILED or not reason:
        return ""
    if following is None:
        return f"Not tried again: {sentence(reason)}"
    delay = seconds_in_words(task.retry_delay_seconds or 0)
    return f"Tried again {delay} later, as attempt {following.attempt}: {sentence(reason)}"
