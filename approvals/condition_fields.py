# SPDX-License-Identifier: Apache-2.0
"""The fields in which an approver sets conditions on the decision page, and what was typed into them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from approvals import constraints, proposals, rights
from approvals.constraints import ALLOWED, CEILING, NOT_AFTER, USES
from approvals.models import ActionRequest
from approvals.models.receipts import Executor
from audit.shown import made_visible

PREFIX = "condition"


@dataclass(frozen=True, slots=True)
class ConditionField:
    name: str  # of the field of the form
    label: str
    kind: str  # of its input: text, number, datetime-local
    value: str = ""  # as it was typed


def fields_of(asked: ActionRequest, sent: Mapping[str, str]) -> list[ConditionField]:
    """What the policy lets an approver narrow; none where nothing is proposed."""
    return [ConditionField(name, label, kind, str(sent.get(name, ""))) for name, label, kind in _fields(asked)]


def conditions_in(asked: ActionRequest, sent: Mapping[str, str]) -> dict[str, Any]:
    """The conditions as `decide()` takes them, which alone judges them. What was left empty is no condition."""
    found: dict[str, Any] = {}
    for name, _, _ in _fields(asked):
        typed = str(sent.get(name, "")).strip()
        if not typed:
            continue
        _, kind, *field = name.split(":", 2)
        if kind == CEILING:
            found.setdefault(CEILING, {})[field[0]] = typed
        elif kind == ALLOWED:
            found.setdefault(ALLOWED, {})[field[0]] = [word.strip() for word in typed.split(",") if word.strip()]
        elif kind == USES:
            found[USES] = int(typed) if typed.isdecimal() and len(typed) < 10 else typed
        else:
            found[NOT_AFTER] = f"{typed}+00:00"
    return found


def _fields(asked: ActionRequest) -> Iterator[tuple[str, str, str]]:
    if asked.action is None:
        return
    permitted, given = rights.rules_of(asked).constraints, constraints.material(asked.action)
    if CEILING in permitted:
        for field in constraints.numeric_fields(given):
            yield f"{PREFIX}:{CEILING}:{field}", f"{made_visible(field)} at most", "text"
    if ALLOWED in permitted:
        for field, value in given.items():
            if isinstance(value, str):
                label = f"{made_visible(field)} one of (with commas between)"
                yield f"{PREFIX}:{ALLOWED}:{field}", label, "text"
    if NOT_AFTER in permitted:
        yield f"{PREFIX}:{NOT_AFTER}", "To be used before (UTC)", "datetime-local"
    if USES in permitted and proposals.executor_of(asked) == Executor.CALLER:
        yield f"{PREFIX}:{USES}", "How often", "number"
