# SPDX-License-Identifier: Apache-2.0
"""The fields in which an approver sets conditions on the decision page, and what was typed into them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
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
    proposed: str = ""  # what stands there, as proposed
    value: str = ""  # as it was typed


def fields_of(asked: ActionRequest, sent: Mapping[str, str]) -> list[ConditionField]:
    """What the policy lets an approver narrow; none where nothing is proposed."""
    return [replace(field, value=str(sent.get(field.name, ""))) for field in _fields(asked)]


def conditions_in(asked: ActionRequest, sent: Mapping[str, str]) -> dict[str, Any]:
    """The conditions as `decide()` takes them, which alone judges them. What was left empty is no condition."""
    found: dict[str, Any] = {}
    given = constraints.material(asked.action or {})
    for name in (field.name for field in _fields(asked)):
        typed = str(sent.get(name, "")).strip()
        if not typed:
            continue
        _, kind, *place = name.split(":", 2)
        if kind == CEILING:
            found.setdefault(CEILING, {})[place[0]] = typed
        elif kind == ALLOWED:
            words = [word.strip() for word in typed.split(",") if word.strip()]
            numbers = constraints.is_number(constraints.value_at(given, place[0]))
            found.setdefault(ALLOWED, {})[place[0]] = [_as_number(word) for word in words] if numbers else words
        elif kind == USES:
            found[USES] = int(typed) if typed.isdecimal() and len(typed) < 10 else typed
        else:
            found[NOT_AFTER] = f"{typed}+00:00"
    return found


def _as_number(word: str) -> Any:
    """What is none stays as it was typed, and is refused as such."""
    try:
        value = json.loads(word)
    except ValueError:
        return word
    return value if constraints.is_number(value) else word


def _fields(asked: ActionRequest) -> Iterator[ConditionField]:
    if asked.action is None:
        return
    permitted = rights.rules_of(asked).constraints
    places = list(constraints.fields(constraints.material(asked.action)))
    if CEILING in permitted:
        for place, value in places:
            if constraints.can_have_ceiling(value):
                yield _of_place(CEILING, place, value, "at most")
    if ALLOWED in permitted:
        for place, value in places:
            yield _of_place(ALLOWED, place, value, "one of (with commas between)")
    if NOT_AFTER in permitted:
        yield ConditionField(f"{PREFIX}:{NOT_AFTER}", "To be used before (UTC)", "datetime-local")
    if USES in permitted and proposals.executor_of(asked) == Executor.CALLER:
        yield ConditionField(f"{PREFIX}:{USES}", "How often", "number")


def _of_place(kind: str, place: str, value: Any, words: str) -> ConditionField:
    proposed = made_visible(value if isinstance(value, str) else json.dumps(value))
    return ConditionField(f"{PREFIX}:{kind}:{place}", f"{made_visible(place)} {words}", "text", proposed)
