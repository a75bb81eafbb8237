# SPDX-License-Identifier: Apache-2.0
"""What a draft may say but a published version may not: what this version of HMS-ACT would not carry out.

The table below says what is not built. Whoever builds one of these deletes its line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from playbooks.definition import Step
from playbooks.places import shown


class NotBuilt(NamedTuple):
    what: str  # completes the sentence "This version of HMS-ACT cannot …"
    remedy: str


NOT_BUILT_FIELDS: Mapping[str, NotBuilt] = {
    "effect": NotBuilt("hold effects but by their key", "Leave `effect` out, or write keyed."),
}


def not_built(step: Step) -> Iterator[tuple[str, str, str]]:
    """(field, what is missing, what to do instead)."""
    default = Step(id=step.id, kind=step.kind)
    for field, missing in NOT_BUILT_FIELDS.items():
        if getattr(step, field) != getattr(default, field):
            yield field, *_sentences(step, missing)


def _sentences(step: Step, missing: NotBuilt) -> tuple[str, str]:
    return f"This version of HMS-ACT cannot {missing.what}; the step {shown(step.id)} asks for it.", missing.remedy
