# SPDX-License-Identifier: Apache-2.0
"""What a run knows: the outputs of its steps so far, what a step is handed of it, and the names of expressions.

| name | what it is |
| --- | --- |
| `payload` | what the run was started with |
| `data` | the outputs of earlier steps, by step id; of a foreach step, a list with those of each item |
| `steps` | of each step that has ended: `state`, `outcome`, `output` |
| `item` | within a foreach step: the item |
| `run` | `id`, `playbook`, `version`, `started_by`, `labels`, `priority`, `created_at` |

A step inside a foreach step sees what stands around it and what its own item has done, and nothing of other items.
By default a step is handed the payload, `data`, and its `item`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from django.db.models import BigIntegerField, CharField, OuterRef, Q, QuerySet

from config.listed import Listed
from config.prepared import Param, Reading
from playbooks import expressions
from playbooks.definition import Foreach, Step, StepKind
from runs import engine
from runs.engine.paths import UNDONE
from runs.models import JOINED_KINDS, OPEN_TASKS, Priority, Run, Task, TaskState

KEPT = (TaskState.COMPLETED, TaskState.SKIPPED)  # with an output, if they have one
OUTSIDE = ""  # the scope of what stands in no foreach step


def scope_of(path: str) -> str:
    """The item that a path stands in: `check[3]` of `check[3]/screen`. What undoes a step is seen by none."""
    item = path[: path.rindex("]") + 1] if "]" in path else OUTSIDE
    return f"{item}~" if path.endswith(UNDONE) else item


def scopes_around(scope: str) -> tuple[str, ...]:
    """What a step in `scope` sees, outermost first: `""`, `check[3]`, `check[3]/towns[1]`."""
    ends = [index + 1 for index, letter in enumerate(scope) if letter == "]"]
    return (OUTSIDE, *(scope[:end] for end in ends))


# Outputs --------------------------------------------------------------------------------------------------


def with_outputs(tasks: QuerySet[Task]) -> QuerySet[Task]:
    """To be read together with what `outputs_for` would read of tasks outside of all foreach steps."""
    return tasks.annotate(seen=Listed(_with_output(run=OuterRef("run"), scope=OUTSIDE), "step", "output"))


def outputs_for(tasks: Sequence[Any]) -> Mapping[int, dict[str, Any]]:
    """Task number → {step id: output} of what it sees, in at most one statement for any number of tasks."""
    if all(hasattr(task, "seen") and task.scope == OUTSIDE for task in tasks):
        return {task.pk: dict(task.seen or ()) for task in tasks}
    found: dict[tuple[int, str], dict[str, Any]] = defaultdict(dict)
    for done in _done({task.run_id: None for task in tasks}, {task.scope for task in tasks}):
        found[done.run_id, done.scope][done.step] = done.output
    return {
        task.pk: {
            name: value for scope in scopes_around(task.scope) for name, value in found[task.run_id, scope].items()
        }
        for task in tasks
    }


def _done(run_ids: Iterable[int], scopes: Iterable[str]) -> Iterable[Task]:
    wanted = sorted({around for scope in scopes for around in scopes_around(scope)})
    runs = list(run_ids)
    if len(runs) == 1 and len(wanted) <= 2:
        names = {f"scope{number}": scope for number, scope in enumerate(wanted)}
        return _done_of_one(len(wanted))(run_id=runs[0], **names)
    return _with_output(run__in=runs, scope__in=wanted)


def _with_output(*conditions: Q, **wanted: Any) -> QuerySet[Task]:
    kept = Q(state__in=KEPT, output__isnull=False)
    return Task.objects.filter(kept, *conditions, **wanted).only("run", "scope", "step", "output").order_by("id")


@cache
def _done_of_one(count: int) -> Reading[Task]:
    scopes = Q()
    for number in range(count):
        scopes |= Q(scope=Param(f"scope{number}", CharField()))
    return Reading(lambda: _with_output(scopes, run=Param("run_id", BigIntegerField())))


def handed(task: Task, data: Mapping[str, Any]) -> dict[str, Any]:
    """What whoever does the task gets: what its step maps, or all there is."""
    if task.input is not None:
        return dict(task.input)
    item = {"item": task.item} if "]" in task.scope else {}
    return {**task.run.payload, **item, "data": dict(data)}


class Known:
    """What a run knows, read when first asked for, with the task that this act ends (it is not in the database yet)."""

    def __init__(self, run: Run, ended: Task | None = None) -> None:
        self.run = run
        self.ended = ended
        self._items: dict[str, Sequence[Any]] = {}  # of the foreach steps that begin in this act
        self._rows: dict[str, list[Task]] = {}  # that had ended before, by scope
        self._over: dict[str, Task] = {}  # that end, or are left out, in this act besides, by path
        self._begun: dict[str, engine.Enter] = {}
        self._heard: set[int] = set()

    def evaluate(self, expression: str, path: str, told: Sequence[engine.Move]) -> Any:
        """For the engine. Raises Unevaluable."""
        self.hear(told)
        value = expressions.evaluate(expression, self.names(path), at=path)
        shape = engine.step_at(self.run.version.definition, path).shape
        if isinstance(shape, Foreach) and shape.items == expression and isinstance(value, list | tuple):
            self._items[path] = value
        return value

    def hear(self, moves: Sequence[engine.Move]) -> None:
        """Of steps that begin and end in this act; each move once, however often it is told."""
        for move in moves:
            if id(move) in self._heard:
                continue
            self._heard.add(id(move))
            match move:
                case engine.Enter(_, path):
                    self._begun[path] = move
                case engine.Skip(step, path):
                    self._over[path] = _row(step, path, TaskState.SKIPPED)
                case engine.Leave(step, path, "PASS"):
                    self._over[path] = _row(step, path, TaskState.COMPLETED, "PASS", self._joined(move))
                case engine.Leave(step, path):
                    self._over[path] = _row(step, path, TaskState.FAILED, "FAIL")

    def output_of(self, path: str) -> Any:
        """Of a step around others that ends in this act."""
        return self._over[path].output

    def _joined(self, move: engine.Leave) -> Any:
        match move.step.kind:
            case StepKind.FOREACH:
                return self._of_items(move.path, len(self._held(move.path).get("items", ())))
            case StepKind.SWITCH:
                return {"case": self._held(move.path).get("case", "")}
        return {"passed": move.passed, "failed": move.failed}

    def _held(self, path: str) -> Mapping[str, Any]:
        """What a step around others keeps: a foreach its `items`, a switch its `case`."""
        begun = self._begun.get(path)
        if begun is not None:
            return {"items": begun.items, "case": begun.case}
        row = Task.objects.filter(run=self.run, path=path, kind__in=JOINED_KINDS).order_by("-id").first()
        assert row is not None, f"{path} has begun"
        return row.input or {}

    def mapped(self, step: Step, output: Any, path: str) -> Any:
        """What is kept of a result, by the step's `output`. Raises Unevaluable."""
        if step.output is None:
            return output
        return expressions.mapped(step.output, {**self.names(path), "output": output}, at=f"the output of {path}")

    def names(self, path: str) -> dict[str, Any]:
        run = self.run
        names: dict[str, Any] = {
            "payload": run.payload,
            "data": self.data(scope_of(path)),
            "steps": self._steps(scope_of(path)),
            "run": {
                "id": run.pk,
                "playbook": run.version.playbook.slug,
                "version": run.version.number,
                "started_by": run.started_by.get_username(),
                "labels": run.labels,
                "priority": Priority(run.priority).name.lower(),
                "created_at": run.created_at,
            },
        }
        if "]" in path:
            names["item"] = self.item(path)
        return names

    def data(self, scope: str = OUTSIDE) -> dict[str, Any]:
        ended = self._ended(scope)
        return {task.step: task.output for task in ended if task.state in KEPT and task.output is not None}

    def handed(self, task: Task) -> dict[str, Any]:
        return handed(task, {} if task.input is not None else self.data(task.scope))

    def item(self, path: str) -> Any:
        """Of the innermost foreach step around a path; None outside of any."""
        around = engine.items_around(path)
        if not around:
            return None
        foreach, number = around[-1]
        if foreach in self._items:
            return self._items[foreach][number]
        if self.ended is not None and self.ended.scope == scope_of(path):  # the next step of the same item
            return self.ended.item
        return _item_of(self.run, foreach, number)

    def _of_items(self, path: str, total: int) -> list[dict[str, Any]]:
        """The outputs of a foreach step: for each item, those of its steps."""
        items: list[dict[str, Any]] = [{} for _ in range(total)]
        before = [] if self.run._state.adding else _with_output(run=self.run, scope__startswith=f"{path}[")
        for task in (*before, *self._ending()):
            around = engine.items_around(task.scope)
            if around and around[-1][0] == path and task.state in KEPT and task.output is not None:
                items[around[-1][1]][task.step] = task.output
        return items

    def _ending(self) -> list[Task]:
        """What ends in this act."""
        first = [self.ended] if self.ended is not None and self.ended.state not in OPEN_TASKS else []
        return [*first, *self._over.values()]

    def _steps(self, scope: str) -> dict[str, Any]:
        return {
            task.step: {"state": task.state, "outcome": task.outcome, "output": task.output}
            for task in self._ended(scope)
        }

    def _ended(self, scope: str) -> list[Task]:
        """What has ended and is seen from `scope`, in the order of its making; the newest of a step comes last."""
        if scope not in self._rows:
            self._rows[scope] = self._read(scope)
        seen = scopes_around(scope)
        return [*self._rows[scope], *(task for task in self._ending() if task.scope in seen)]

    def _read(self, scope: str) -> list[Task]:
        if self.run._state.adding:
            return []
        but, scopes = 0 if self.ended is None else self.ended.pk, scopes_around(scope)
        if len(scopes) == 1:  # as in every playbook without parallel and foreach steps
            return _ended_in_one(run_id=self.run.pk, scope=scope, but=but)
        return list(_that_ended(but, run=self.run, scope__in=scopes))


def _that_ended(but: Any, **wanted: Any) -> QuerySet[Task]:
    rows = Task.objects.filter(**wanted).exclude(state__in=OPEN_TASKS).exclude(pk=but)
    return rows.only("run", "scope", "step", "state", "outcome", "output").order_by("id")


_ended_in_one = Reading(
    lambda: _that_ended(
        Param("but", BigIntegerField()), run=Param("run_id", BigIntegerField()), scope=Param("scope", CharField())
    )
)


def _row(step: Step, path: str, state: TaskState, outcome: str = "", output: Any = None) -> Task:
    return Task(step=step.id, path=path, scope=scope_of(path), state=state, outcome=outcome, output=output)


def _item_of(run: Run, foreach: str, number: int) -> Any:
    begun = Task.objects.filter(run=run, path=foreach, kind="foreach").order_by("-id")
    return begun.values_list(f"input__items__{number}", flat=True).first()
