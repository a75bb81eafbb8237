# SPDX-License-Identifier: Apache-2.0
"""Nothing is stuck unseen: rows that no event and no clock would ever move again, found by what must always hold.

Whatever is open in a run is moved by somebody who works on it, by a person who is asked, by a clock, by an operator,
or by a message of another run. Where that is not so there is a fault in HMS-ACT, or a worker that does not do its part;
the services never leave such a row behind. Each question is asked of an index that holds open rows alone, in one
statement, which sees the tables as they were at one moment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Exists, Model, OuterRef, QuerySet

from config import clock
from playbooks.definition import StepKind
from runs import due
from runs.models import ENDED_RUNS, JOINED_KINDS, Run, RunMessage, RunState, Task, TaskState

GRACE = timedelta(seconds=60)  # what is due may wait so long for a worker that is busy
COUNTED = 1000  # rows of a kind; of more, there are `1000` at least
LISTED = 20
_OPEN_RUNS = [state for state in RunState if state not in (*ENDED_RUNS, RunState.QUEUED)]  # a limit lets queued ones go


@dataclass(frozen=True, slots=True)
class Kind:
    """One way in which something can be stuck. `rows(moment)`: those that are, `moment` being GRACE ago."""

    name: str  # for programs
    words: str  # for people: what these rows are
    model: type[Model]
    rows: Callable[[datetime], QuerySet[Any]]

    @property
    def model_name(self) -> str:
        return str(self.model._meta.model_name)


@dataclass(frozen=True, slots=True)
class Found:
    kind: Kind
    count: int  # at most COUNTED
    rows: Sequence[Any]  # the first LISTED


def kinds() -> list[Kind]:
    checked = (_not_looked_at(model) for model in due.checked_models())
    return [*KINDS, *checked]


def counts() -> Mapping[str, int]:
    """Name of a kind → how many; a statement for each kind, whatever the tables hold."""
    moment = clock.now() - GRACE
    return {kind.name: kind.rows(moment).order_by()[:COUNTED].count() for kind in kinds()}


def found() -> list[Found]:
    """Of each kind how many there are, and the first of them."""
    moment = clock.now() - GRACE
    return [
        Found(kind, rows.order_by()[:COUNTED].count(), list(rows[:LISTED]))
        for kind in kinds()
        for rows in [kind.rows(moment)]
    ]


# The invariant --------------------------------------------------------------------------------------------


def _idle_runs(moment: datetime) -> QuerySet[Run]:
    """Open, and nothing in it is: no step that somebody does or that waits, no incident, no message on its way."""
    own = Task.objects.filter(run=OuterRef("pk"))
    leaves = own.open().exclude(kind__in=JOINED_KINDS)
    messages = RunMessage.objects.filter(task__run=OuterRef("pk"), done_at=None)
    runs = Run.objects.filter(state__in=_OPEN_RUNS, next_check_at__isnull=False)
    return runs.exclude(Exists(leaves)).exclude(Exists(own.unresolved())).exclude(Exists(messages)).order_by("id")


def _childless_steps(moment: datetime) -> QuerySet[Task]:
    """They wait for a run that they started, and there is none that is open, and no message about it on its way."""
    waiting = Task.objects.filter(state=TaskState.PENDING, kind=StepKind.PLAYBOOK, next_check_at__isnull=False)
    messages = RunMessage.objects.filter(task=OuterRef("pk"), done_at=None)
    children = Run.objects.filter(parent=OuterRef("pk")).exclude(state__in=ENDED_RUNS)
    return waiting.exclude(Exists(messages)).exclude(Exists(children)).order_by("id")


def _late_messages(moment: datetime) -> QuerySet[RunMessage]:
    return RunMessage.objects.filter(done_at=None, sent_at__lte=moment).select_related("task").order_by("sent_at")


def _not_looked_at(model: type[Model]) -> Kind:
    """Open rows whose clock has come, and nobody has looked."""
    plural = str(model._meta.verbose_name_plural)
    return Kind(
        name=f"{plural.replace(' ', '_')}_not_looked_at",
        words=f"{plural} whose clock has come, and nobody has looked",
        model=model,
        rows=lambda moment: model._default_manager.filter(next_check_at__lte=moment).order_by("next_check_at"),
    )


KINDS = (
    Kind("runs_with_nothing_open", "runs that are under way, and nothing in them is", Run, _idle_runs),
    Kind("steps_without_their_run", "steps that wait for a run that is over or was never made", Task, _childless_steps),
    Kind("messages_not_done", "messages between runs that nobody has acted upon", RunMessage, _late_messages),
)
