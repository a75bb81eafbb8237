# SPDX-License-Identifier: Apache-2.0
"""What a draft may say but a published version may not: what this version of HMS-ACT would not carry out.

The two tables below say what is not built. Whoever builds one of these deletes its line.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from config.errors import Problem
from playbooks.definition import Call, Definition, Step, StepKind
from playbooks.places import Path, did_you_mean, path_text, shown


class NotBuilt(NamedTuple):
    what: str  # completes the sentence "This version of HMS-ACT cannot …"
    remedy: str


NOT_BUILT_KINDS: Mapping[StepKind, NotBuilt] = {
    StepKind.GOVERNANCE: NotBuilt(
        "run governance steps", "Let an agent or a person check the rules: a step of type `agent` or `human`."
    ),
}

NOT_BUILT_FIELDS: Mapping[str, NotBuilt] = {
    "effect": NotBuilt("hold effects but by their key", "Leave `effect` out, or write keyed."),
}


def publish_problems(
    definition: Definition, *, known_calls: Collection[str], lines: Mapping[str, int] | None = None
) -> list[Problem]:
    """Why `definition` cannot be published; empty if it can.

    `known_calls` are the actions that services offer. `lines` are `Parsed.lines`, where the document was text.
    Paths are those of the normal form.
    """
    problems = []
    if not definition.steps:
        problems.append(Problem("steps", "The playbook has no steps.", "Add at least one step."))
    for path, step in _steps(definition.steps, ("steps",)):
        line = (lines or {}).get(step.id)
        problems += [
            Problem(path_text((*path, field) if field else path), message, remedy, line)
            for field, message, remedy in _step_problems(step, known_calls)
        ]
    return problems


def _steps(block: tuple[Step, ...], path: Path) -> Iterator[tuple[Path, Step]]:
    for position, step in enumerate(block):
        at = (*path, position)
        yield at, step
        for number, branch in enumerate(step.branches):
            yield from _steps(branch.steps, (*at, *_block_path(step, number)))
        for field, handler in step.handlers():
            yield from _steps(handler.steps, (*at, field, "steps"))


def _block_path(step: Step, number: int) -> Path:
    if step.kind is StepKind.FOREACH:
        return ("steps",)
    return ("branches" if step.kind is StepKind.PARALLEL else "cases", number, "steps")


def _step_problems(step: Step, known_calls: Collection[str]) -> Iterator[tuple[str, str, str]]:
    if step.kind in NOT_BUILT_KINDS:
        yield "type", *_sentences(step, NOT_BUILT_KINDS[step.kind])
    default = Step(id=step.id, kind=step.kind)
    for field, missing in NOT_BUILT_FIELDS.items():
        if getattr(step, field) != getattr(default, field):
            yield field, *_sentences(step, missing)
    if step.kind is StepKind.SERVICE:
        yield from _call_problems(step, "call", step.call, known_calls)
    yield from _call_problems(step, "compensate", step.compensate, known_calls)
    if step.retries.maximum_attempts == 0 and step.timeouts.schedule_to_close is None:
        message = f"The step {shown(step.id)} would be retried without end."
        yield "retries", message, "Limit `maximum_attempts`, or set `timeouts.schedule_to_close`."


def _sentences(step: Step, missing: NotBuilt) -> tuple[str, str]:
    return f"This version of HMS-ACT cannot {missing.what}; the step {shown(step.id)} asks for it.", missing.remedy


def _call_problems(
    step: Step, field: str, call: Call | None, known_calls: Collection[str]
) -> Iterator[tuple[str, str, str]]:
    """Only calls of services are looked up: those of agents and people are words for their readers."""
    if call is None or call.action in known_calls:
        return
    message = f"No service offers the action {shown(call.action)}, which the step {shown(step.id)} calls."
    ask = "See which actions are installed"
    ask += "; or give a role and no call, then a client of that role does the step." if field == "call" else "."
    yield field, message, f"{did_you_mean(call.action, sorted(known_calls))} {ask}".strip()
