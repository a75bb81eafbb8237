# SPDX-License-Identifier: Apache-2.0
"""A contestant of `claim`: a queue that it fills once, and claims from."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from django.db import connection
from django.db.models import F

from audit import actions
from bench import figures, world
from bench.contest import serve
from playbooks.models import Version
from runs.models import Priority, Run, Task
from runs.services import claim_tasks

AT_ONCE = 20_000  # rows by one statement

COPIES = """
WITH copied AS (
    INSERT INTO runs_run ({run}) SELECT {run} FROM runs_run CROSS JOIN generate_series(1, %s) WHERE id = %s RETURNING id
)
INSERT INTO runs_task (run_id, {task}) SELECT copied.id, {task} FROM copied CROSS JOIN runs_task WHERE runs_task.id = %s
"""


def main() -> None:
    world.migrate()
    world.people()
    version = world.publish(world.PERMIT3)
    claimed = 0

    def play(due: int = 0, not_yet_due: int = 0, claims: int = 0) -> dict[str, Any]:
        nonlocal claimed
        fill(version, due, not_yet_due)
        claimed += claims
        return {"p50_ms": claim(claims), "faults": faults(claimed)}

    serve(play)


def fill(version: Version, due: int, not_yet_due: int) -> None:
    """So many runs whose first task may be claimed, and so many whose more urgent one may not, for another hour."""
    starter = world.known().starter
    if not_yet_due:
        (task,) = world.waiting(version, starter, 1)
        later = {"ready_at": None, "next_check_at": F("created_at") + timedelta(hours=1)}
        Task.objects.filter(pk=task.pk).update(priority=Priority.CRITICAL, **later)
        _copy(task, not_yet_due - 1)
    if due:
        (task,) = world.waiting(version, starter, 1)
        _copy(task, due - 1)
    world.analyze()


def claim(times: int) -> float:
    """The median of a claim, in milliseconds."""
    validator = world.known().validator
    took = []
    for _ in range(times):
        began = time.perf_counter()
        (lease,) = claim_tasks(role=world.AGENT, actor=validator)
        took.append(time.perf_counter() - began)
        assert lease.task.priority == Priority.MEDIUM, "this task was not due"
    return 1000 * figures.percentile(took, 50) if took else 0.0


def faults(claimed: int) -> list[str]:
    entries = world.entries(actions.TASK_CLAIMED, world.PERMIT3)
    return [] if entries == claimed else [f"{entries} entries of {claimed} claims"]


def _copy(task: Task, times: int) -> None:
    """Copies of a task, each in a copy of its run: by the ORM, a million would take half an hour."""
    sql = COPIES.format(run=_columns(Run, "id"), task=_columns(Task, "id", "run_id"))
    with connection.cursor() as cursor:
        for done in range(0, times, AT_ONCE):
            cursor.execute(sql, [min(AT_ONCE, times - done), task.run_id, task.pk])


def _columns(model: type[Run | Task], *without: str) -> str:
    return ", ".join(f'"{field.column}"' for field in model._meta.concrete_fields if field.column not in without)
