# SPDX-License-Identifier: Apache-2.0
"""What a draft may say but a published version may not: what this version of HMS-ACT would not carry out.

The two tables below say what is not built. Whoever builds one of these deletes its line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from playbooks.definition import Step, StepKind
from playbooks.places import shown


class NotBuilt(NamedTuple):
    what: str  # completes the sentence "This version of HMS-ACT cannot …"
    remedy: str


NOT_BUILT_KINDS: Mapping[StepKind, NotBuilt] = {
    StepKind.GOVERNANCE: NotBuilt(
        "run governance steps", "Let an agent or a person check the rules: a step of type `agent` or `human`."
    ),
    StepKind.PARALLEL: NotBuilt("run parallel steps", "List the steps one after the other."),
    StepKind.FOREACH: NotBuilt("run foreach steps", "Start one run for each item."),
    StepKind.SWITCH: NotBuilt("run switch steps", "Write one playbook for each case, and start the right one."),
    StepKind.WAIT: NotBuilt("run wait steps", "Let an agent or a person complete a step when it is time."),
    StepKind.PLAYBOOK: NotBuilt("run a playbook within a playbook", "Copy its steps into this one."),
}

NOT_BUILT_FIELDS: Mapping[str, NotBuilt] = {
    "when": NotBuilt("skip steps by a condition", "Leave `when` out; let the step itself pass where nothing is to do."),
    "input": NotBuilt(
        "map the input of steps", "Leave `input` out: the step gets the payload and all earlier outputs."
    ),
    "output": NotBuilt("map the output of steps", "Leave `output` out: the whole output is kept."),
    "compensate": NotBuilt("undo steps by `compensate`", "Leave it out, and undo by hand or by another playbook."),
    "on_failure": NotBuilt("go on after a failed step", "Leave `on_failure` out, or write FAIL_RUN."),
    "on_reject": NotBuilt("go on after a rejection", "Leave `on_reject` out, or write FAIL_RUN."),
    "effect": NotBuilt("hold effects but by their key", "Leave `effect` out, or write keyed."),
    "on_exhausted": NotBuilt("hold a step as an incident", "Leave `on_exhausted` out, or write FAIL."),
}


def not_built(step: Step) -> Iterator[tuple[str, str, str]]:
    """(field, what is missing, what to do instead)."""
    if step.kind in NOT_BUILT_KINDS:
        yield "type", *_sentences(step, NOT_BUILT_KINDS[step.kind])
    default = Step(id=step.id, kind=step.kind)
    for field, missing in NOT_BUILT_FIELDS.items():
        if getattr(step, field) != getattr(default, field):
            yield field, *_sentences(step, missing)


def _sentences(step: Step, missing: NotBuilt) -> tuple[str, str]:
    return f"This version of HMS-ACT cannot {missing.what}; the step {shown(step.id)} asks for it.", missing.remedy
