# SPDX-License-Identifier: Apache-2.0
"""What a step is handed: by default the run's payload plus `data`, the outputs of earlier steps by step id."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from runs.models import Run, Task, TaskState


def earlier_outputs(runs: Iterable[Run]) -> Mapping[int, dict[str, Any]]:
    """Run id → {step id: output} of what has been completed, in one statement for any number of runs."""
    done = Task.objects.filter(run__in=[run.pk for run in runs], state=TaskState.COMPLETED, output__isnull=False)
    outputs: dict[int, dict[str, Any]] = defaultdict(dict)
    for run_id, step, output in done.order_by("id").values_list("run_id", "step", "output"):
        outputs[run_id][step] = output
    return outputs


def outputs_with(ended: Task | None, run: Run) -> dict[str, Any]:
    """The outputs of a run's earlier steps, with that of the task which the same act ends, if any."""
    outputs = {} if run._state.adding else earlier_outputs([run])[run.pk]
    if ended is not None and ended.state == TaskState.COMPLETED and ended.output is not None:
        outputs[ended.step] = ended.output
    return outputs


def step_input(run: Run, data: Mapping[str, Any]) -> dict[str, Any]:
    return {**run.payload, "data": dict(data)}
