# SPDX-License-Identifier: Apache-2.0
"""What has run before each step of a playbook: for certain, perhaps, or not at all. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from playbooks.definition import Jump, Parallel, Step, StepKind
from playbooks.places import Path


@dataclass(frozen=True, slots=True)
class Scene:
    """What has been before a step."""

    certain: frozenset[str] = frozenset()
    possible: frozenset[str] = frozenset()
    in_items: bool = False

    def after(self, certain: Collection[str], possible: Collection[str] = ()) -> Scene:
        return replace(self, certain=self.certain | {*certain}, possible=self.possible | {*possible})


@dataclass(frozen=True, slots=True)
class Spot:
    """A step with its place, what has been before it, and what comes after it in its list."""

    step: Step
    path: Path
    scene: Scene
    later: tuple[Step, ...]


def spots(block: tuple[Step, ...], path: Path, scene: Scene) -> Iterator[Spot]:
    """Every step, those inside others included, in the order of the document."""
    for index, step in enumerate(block):
        before = _but_jumped_over(scene, block[:index], step)
        yield Spot(step, (*path, index), before, block[index + 1 :])
        yield from _spots_within(step, (*path, index), before)
        certain, possible = _ran_in(step)
        scene = scene.after(certain, possible)


def _but_jumped_over(scene: Scene, earlier: tuple[Step, ...], step: Step) -> Scene:
    """A step that is branched `to` cannot count on those between."""
    ids = [each.id for each in earlier]
    for index, source in enumerate(earlier):
        for reaction in (source.on_failure, source.on_reject):
            if isinstance(reaction, Jump) and reaction.to in {step.id, *ids[index + 1 :]}:
                end = len(ids) if reaction.to == step.id else ids.index(reaction.to)
                over = frozenset(ids[index + 1 : end])
                scene = replace(scene, certain=scene.certain - over, possible=scene.possible | over)
    return scene


def _spots_within(step: Step, path: Path, scene: Scene) -> Iterator[Spot]:
    inside = replace(scene, in_items=scene.in_items or step.kind is StepKind.FOREACH)
    for number, branch in enumerate(step.branches):
        yield from spots(branch.steps, (*path, *block_path(step, number)), inside)
    certain, possible = _ran_in(replace(step, on_failure="FAIL_RUN", on_reject="FAIL_RUN"))
    failed = scene.after({step.id}, (certain | possible) - {step.id})
    for name, handler in step.handlers():
        yield from spots(handler.steps, (*path, name, "steps"), failed)


def block_path(step: Step, number: int) -> Path:
    if step.kind is StepKind.FOREACH:
        return ("steps",)
    return ("branches" if step.kind is StepKind.PARALLEL else "cases", number, "steps")


def _ran_in(step: Step) -> tuple[frozenset[str], frozenset[str]]:
    """(have run for certain, may have run) once the step has passed. Steps for single items are not seen outside."""
    certain, possible = frozenset({step.id}), frozenset[str]()
    in_all = isinstance(step.shape, Parallel) and step.shape.join == "ALL" and not _tolerates(step.shape)
    for branch in step.branches if step.kind is not StepKind.FOREACH else ():
        for inner in branch.steps:
            surely, perhaps = _ran_in(inner)
            possible |= surely | perhaps
            certain |= surely if in_all else frozenset()
    for _, handler in step.handlers():
        for inner in handler.steps:
            possible |= frozenset[str]().union(*_ran_in(inner))
    return certain, possible - certain


def _tolerates(shape: Parallel) -> bool:
    return bool(shape.tolerated_failure_count or shape.tolerated_failure_percentage)
