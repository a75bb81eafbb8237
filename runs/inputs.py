# SPDX-License-Identifier: Apache-2.0
"""What a step is handed: by default the run's payload plus `data`, the outputs of earlier steps by step id."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db.models import BigIntegerField, QuerySet

from config.prepared import Param, Reading
from runs.models import Run, Task, TaskState


def earlier_outputs(runs: Iterable[Run]) -> Mapping[int, dict[str, Any]]:
    """Run id → {step id: output} of what has been completed, in one statement for any number of runs."""
    outputs: dict[int, dict[str, Any]] = defaultdict(dict)
    for task in _done([run.pk for run in runs]):
        outputs[task.run_id][task.step] = task.output
    return outputs


def _done(run_ids: Sequence[int]) -> Iterable[Task]:
    if len(run_ids) == 1:
        return _done_of_one(run_id=run_ids[0])
    return _with_output(run__in=run_ids)


def _with_output(**wanted: Any) -> QuerySet[Task]:
    done = Task.objects.filter(**wanted, state=TaskState.COMPLETED, output__isnull=False)
    return done.only("run", "step", "output").order_by("id")


_done_of_one = Reading(lambda: _with_output(run=Param("run_id", BigIntegerField())))


def outputs_with(ended: Task | None, run: Run) -> dict[str, Any]:
    """The outputs of a run's earlier steps, with that of the task which the same act ends, if any."""
    outputs = {} if run._state.adding else earlier_outputs([run])[run.pk]
    if ended is not None and ended.state == TaskState.COMPLETED and ended.output is not None:
        outputs[ended.step] = ended.output
    return outputs


def step_input(run: Run, data: Mapping[str, Any]) -> dict[str, Any]:
    return {**run.payload, "data": dict(data)}
