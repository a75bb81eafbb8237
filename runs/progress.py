# SPDX-License-Identifier: Apache-2.0
"""How far a run has come, step by step, in a fixed number of statements and in lines that stay few.

A step outside of foreach steps is one line with its newest attempt. A step inside them is one line for all items:
how many stand where. What undoes a step stands beside it, and takes nobody's line.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count, Max, Min, Q

from playbooks.definition import StepKind
from runs.models import JOINED_KINDS, OPEN_TASKS, Run, Task, TaskState

SHOWN = 50  # of current steps, of incidents and of child runs
MOST_URGENT = (
    TaskState.INCIDENT,
    TaskState.RUNNING,
    TaskState.AWAITING_APPROVAL,
    TaskState.APPROVED,
    TaskState.PENDING,
    TaskState.FAILED,
    TaskState.REJECTED,
    TaskState.COMPLETED,
    TaskState.CANCELLED,
    TaskState.SKIPPED,
)
"""Of a step inside items: the first of these that one of them is in."""


@dataclass(frozen=True, slots=True)
class Line:
    status: str
    outcome: str = ""
    output: Any = None
    attempts: int = 1
    items: Mapping[str, int] | None = None  # state → how many items; None outside of foreach steps


@dataclass(frozen=True, slots=True)
class Progress:
    steps: Mapping[str, Line]  # by id, those that have begun, in the order of the playbook
    current: Sequence[str]  # ids of what is open, the longest open first, without the steps around it
    incidents: Sequence[Task]  # that wait for an operator
    children: Sequence[Run] = field(default_factory=tuple)  # with `parent`


def progress_of(run: Run) -> Progress:
    kinds = {step.kind for step in run.version.definition.walk()}
    tasks = _outside(run)
    inside = _inside(run) if StepKind.FOREACH in kinds else {}
    begun = _steps(tasks, inside)
    return Progress(
        steps={step.id: begun[step.id] for step in run.version.definition.walk() if step.id in begun},
        current=_current(tasks, inside),
        incidents=list(run.tasks.unresolved().order_by("id")[:SHOWN]),
        children=children_of(run)[:SHOWN] if StepKind.PLAYBOOK in kinds else (),
    )


def children_of(run: Run) -> Any:
    """The runs that its steps have started, the newest first, each with the task that started it."""
    started = Run.objects.filter(parent__run=run, parent__kind=StepKind.PLAYBOOK)
    return started.select_related("parent").defer("payload", "position", "parent__input", "parent__output")


@dataclass(frozen=True, slots=True)
class _Group:
    """The items of one step that stand in one state."""

    state: str
    count: int
    first: int  # number of a task
    attempts: int
    kind: str


def _outside(run: Run) -> list[Task]:
    undoing = Q(scope__endswith="~", state__in=OPEN_TASKS)
    tasks = run.tasks.newest().filter(Q(scope="") | undoing).order_by("id")
    return list(tasks.only("run", "step", "scope", "kind", "state", "outcome", "output", "attempt"))


def _inside(run: Run) -> Mapping[str, Sequence[_Group]]:
    inside = run.tasks.newest().exclude(scope="").exclude(scope__endswith="~")
    rows = inside.order_by().values_list("step", "state", "kind").annotate(Count("pk"), Min("pk"), Max("attempt"))
    groups: dict[str, list[_Group]] = defaultdict(list)
    for step, state, kind, count, first, attempts in rows:
        groups[step].append(_Group(state, count, first, attempts, kind))
    return groups


def _steps(tasks: Sequence[Task], inside: Mapping[str, Sequence[_Group]]) -> dict[str, Line]:
    own = [task for task in tasks if task.scope == ""]
    begun: dict[str, Line] = {task.step: Line(task.state, task.outcome, task.output, task.attempt) for task in own}
    for step, groups in inside.items():
        states = {group.state: group.count for group in groups}
        status = next(state for state in MOST_URGENT if state in states)
        begun[step] = Line(status, attempts=max(group.attempts for group in groups), items=states)
    return begun


def _current(tasks: Sequence[Task], inside: Mapping[str, Sequence[_Group]]) -> list[str]:
    open_leaves = [(task.pk, task.step) for task in tasks if _is_open_leaf(task.state, task.kind)]
    for step, groups in inside.items():
        open_leaves += [(group.first, step) for group in groups if _is_open_leaf(group.state, group.kind)]
    return list(dict.fromkeys(step for _, step in sorted(open_leaves)))[:SHOWN]


def _is_open_leaf(state: str, kind: str) -> bool:
    return state in OPEN_TASKS and kind not in JOINED_KINDS
