# SPDX-License-Identifier: Apache-2.0
"""What comes next: (version, position, what just happened) → moves and the new position.

Pure: no ORM, no clock, no settings, so it can simulate a playbook and be property-tested. `Position` is the
run's compact state: its open blocks, each with a counter, and never the list of tasks, so a step costs the same
at the thousandth task as at the first. The root block is the version's list of steps; its path is "".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from playbooks.definition import PERFORMED_KINDS, Definition, Step

ROOT = ""


@dataclass(frozen=True, slots=True)
class Position:
    """Open blocks: path → index of the step that is under way in it."""

    blocks: Mapping[str, int]

    def as_json(self) -> dict[str, int]:
        return dict(self.blocks)


@dataclass(frozen=True, slots=True)
class Open:
    """Make a task for this step at this path."""

    step: Step
    path: str


@dataclass(frozen=True, slots=True)
class Complete:
    """The run ends completed."""


@dataclass(frozen=True, slots=True)
class Fail:
    """The run ends failed, because of this step."""

    step_id: str


Move = Open | Complete | Fail


@dataclass(frozen=True, slots=True)
class Advance:
    position: Position
    moves: tuple[Move, ...]


def start(definition: Definition) -> Advance:
    return _enter(definition, 0)


def step_ended(definition: Definition, position: Position, path: str, outcome: str) -> Advance:
    """A step ended with a word. A verdict that ends failed ends the run; any other outcome goes on."""
    step = _step_at(definition, position, path)
    if step.ends_failed(outcome):
        return Advance(Position({}), (Fail(step.id),))
    return _enter(definition, position.blocks[ROOT] + 1)


def step_failed(definition: Definition, position: Position, path: str) -> Advance:
    """A step's fault exhausted its retries."""
    return Advance(Position({}), (Fail(_step_at(definition, position, path).id),))


def _enter(definition: Definition, index: int) -> Advance:
    if index == len(definition.steps):
        return Advance(Position({}), (Complete(),))
    step = definition.steps[index]
    assert step.kind in PERFORMED_KINDS, f"publishing lets no {step.kind} step through"
    return Advance(Position({ROOT: index}), (Open(step, step.id),))


def _step_at(definition: Definition, position: Position, path: str) -> Step:
    step = definition.steps[position.blocks[ROOT]]
    assert step.id == path, f"{path} is not where the run stands ({step.id})"
    return step
