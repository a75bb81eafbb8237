# SPDX-License-Identifier: Apache-2.0
"""When a parallel or foreach step has passed or failed, counted from the arrivals of its branches.

The answer depends on how many have passed and failed, never on their order. Once all have arrived there always is one.
"""

from __future__ import annotations

from decimal import Decimal

from playbooks.definition import Foreach, Parallel, Step
from runs.engine.position import Fan


def verdict(step: Step, fan: Fan) -> bool | None:
    """True: passed. False: failed. None: it depends on branches that have not arrived."""
    shape = step.shape
    assert isinstance(shape, Parallel | Foreach), f"{step.id} has no branches that are joined"
    is_over = fan.arrivals == fan.total
    if isinstance(shape, Parallel) and shape.join == "ALL_DONE":
        return True if is_over else None
    needs_all = isinstance(shape, Foreach) or shape.join == "ALL"
    needed = fan.total - tolerated(shape, fan.total) if needs_all else _number(shape)
    if fan.passed.bit_count() >= needed and (is_over or not needs_all):
        return True
    waits = isinstance(shape, Parallel) and shape.on_branch_failure == "WAIT_ALL"
    if fan.failed.bit_count() > fan.total - needed and (is_over or not waits):
        return False
    return None


def tolerated(shape: Parallel | Foreach, total: int) -> int:
    """How many may fail: the smaller of the two limits that a step may set, and none if it sets neither."""
    limits = []
    if shape.tolerated_failure_count is not None:
        limits.append(shape.tolerated_failure_count)
    if shape.tolerated_failure_percentage is not None:
        # Decimal: 29 % of 100 are 28.999… as a float
        limits.append(int(Decimal(str(shape.tolerated_failure_percentage)) * total / 100))
    return min(limits, default=0)


def _number(shape: Parallel | Foreach) -> int:
    assert isinstance(shape, Parallel), "a foreach step needs all of its items"
    return shape.join if isinstance(shape.join, int) else 1
