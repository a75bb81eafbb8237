# SPDX-License-Identifier: Apache-2.0
"""The catalogue of callable actions: the only code a playbook can name.

    @action("hms_ach.charge", title="Charge a fee")
    def charge(call: ActionCall) -> dict: ...

An action runs in a worker, outside any transaction, at least once per effect; it must pass
`call.effect_key` on to whatever it changes outside, so that a repetition there takes effect once.
It returns a JSON object, the step's output. To report a fault it raises: the class name is the
error type that retry policies match; `Permanent` (or a subclass) is never retried.

Connectors (`playbooks/connectors.py`) are actions as well, by way of a source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


class Permanent(Exception):
    """A fault that trying again cannot mend."""


class Verdict(Exception):
    """The service's answer is no: the step completes with FAIL, which is not a fault and is not retried."""


@dataclass(frozen=True, slots=True)
class ActionCall:
    arguments: Mapping[str, Any]  # from the step's `call`
    payload: Mapping[str, Any]  # the run's
    data: Mapping[str, Any]  # outputs of earlier steps, by step id
    run_id: int
    step: str
    attempt: int
    effect_key: str  # the same for every attempt at this effect
    input: Mapping[str, Any] | None = field(default=None, repr=False)  # what the step maps; None if it maps nothing
    secrets: tuple[str, ...] = field(default=(), repr=False)  # texts in `input` that nothing may repeat


@dataclass(frozen=True, slots=True)
class Action:
    name: str
    title: str
    run: Callable[[ActionCall], Mapping[str, Any] | None]
    query: Callable[[ActionCall], Mapping[str, Any] | None] | None = None
    ready: Callable[[], None] | None = None  # raises what would keep a call from being made at all


@dataclass(frozen=True, slots=True)
class Source:
    """Actions that are no code of this installation: rows that the admin writes, for one."""

    find: Callable[[str], Action | None]
    names: Callable[[], Iterable[str]]


_actions: dict[str, Action] = {}
_sources: list[Source] = []


def action(
    name: str, *, title: str = "", query: Callable[[ActionCall], Any] | None = None
) -> Callable[[Callable[[ActionCall], Any]], Callable[[ActionCall], Any]]:
    """Register a callable under `name`. Two callables under one name are a mistake of the installation.

    `query` asks what came of an earlier request under `call.effect_key`: it gives the output, or None if the request
    has not taken effect and will not. Steps with `effect: query_first` need one.
    """

    def register(function: Callable[[ActionCall], Any]) -> Callable[[ActionCall], Any]:
        known = _actions.get(name)
        assert known is None or known.run is function, f"two actions are named {name}"
        _actions[name] = Action(name, title or name, function, query)
        return function

    return register


def add_source(source: Source) -> None:
    """Offer the actions of `source` too. It is asked anew each time, for what it holds may change."""
    if source not in _sources:
        _sources.append(source)


def find(name: str) -> Action | None:
    if name in _actions:
        return _actions[name]
    return next((found for source in _sources if (found := source.find(name)) is not None), None)


def is_code(name: str) -> bool:
    """Whether a callable of this installation has the name, which no source can then give away."""
    return name in _actions


def can_query(name: str) -> bool:
    """Whether it can be asked what came of an earlier request."""
    found = find(name)
    return found is not None and found.query is not None


def names() -> list[str]:
    return sorted({*_actions, *(name for source in _sources for name in source.names())})
