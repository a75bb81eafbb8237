# SPDX-License-Identifier: Apache-2.0
"""What the engine asks to be evaluated, and what it takes for an answer. Anything else is as bad as no answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from playbooks.expressions import Unevaluable
from runs.engine.moves import Enter, Leave, Skip

MAX_ITEMS = 10_000  # of one foreach step

Evaluate = Callable[[str, str, Sequence[Enter | Leave | Skip]], Any]
"""(CEL expression, path of the step that asks, what has happened in this event so far) → its value. Raises
Unevaluable."""

Ask = Callable[[str, str], Any]


def holds(evaluate: Ask, condition: str, path: str) -> bool:
    value = evaluate(condition, path)
    if not isinstance(value, bool):
        raise Unevaluable(f"`{condition}` at {path} gives a {type(value).__name__}, not true or false")
    return value


def items_of(evaluate: Ask, expression: str, path: str) -> tuple[Any, ...]:
    value = evaluate(expression, path)
    if not isinstance(value, list | tuple):
        raise Unevaluable(f"`{expression}` at {path} gives a {type(value).__name__}, not a list")
    if len(value) > MAX_ITEMS:
        raise Unevaluable(f"`{expression}` at {path} gives {len(value)} items; at most {MAX_ITEMS} can be run")
    return tuple(value)


def moment_of(evaluate: Ask, until: str, path: str) -> datetime:
    """`until` as it stands, or what it gives: a moment, or its text in ISO 8601; with its offset."""
    value = _moment(until) or evaluate(until, path)
    moment = _moment(value) if isinstance(value, str) else value
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise Unevaluable(f"`{until}` at {path} gives {value!r}, not a moment with its time zone")
    return moment


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
