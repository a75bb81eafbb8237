# SPDX-License-Identifier: Apache-2.0
"""What a finding is, and all the codes there are; the facts from outside the document that findings may rest on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from config.errors import Problem
from playbooks.places import Path
from playbooks.policies import Reader

Level = Literal["error", "warning"]

LEVELS: Mapping[str, Level] = {
    "no_steps": "error",
    "no_meaning": "error",
    "no_query": "error",
    "bad_policy": "error",
    "unknown_call": "error",
    "unknown_rule_set": "error",
    "unknown_name": "error",
    "no_such_step": "error",
    "cannot_have_run": "error",
    "endless_retries": "error",
    "join_cannot_be_met": "error",
    "may_not_have_run": "warning",
    "never_runs": "warning",
    "runs_itself": "warning",
    "unknown_playbook": "warning",
    "rule_asks_for_more": "warning",
    "role_missing": "warning",
    "role_without_members": "warning",
    "no_such_policy": "error",
    "too_few_people": "warning",
    "nobody_left": "warning",
    "silence_approves_nothing": "warning",
    "no_key_ring": "warning",
    "secret_used_twice": "warning",
    "not_undone": "warning",
}
"""Every code there is. Where people, roles or other playbooks are missing, that is a warning: they may come later."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What stands outside of the document. None: not known, and so not judged by."""

    known_calls: Collection[str] | None = None  # actions that services offer
    queryable_calls: Collection[str] | None = None  # of these, those that can be asked what came of a request
    members: Mapping[str, frozenset[int]] | None = None  # active members of each role there is
    playbooks: Mapping[str, frozenset[int]] | None = None  # published versions of each playbook
    rule_sets: Collection[str] | None = None  # with published rules: `privacy`, `privacy@1`
    conditions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of rules, by rule set; "": default layer
    policies: Reader | None = None  # who reads policies
    takes_secrets: bool | None = None  # whether there is a key ring to keep them under
    review_role: str = ""  # who is asked where a governance step names nobody


NO_FACTS = Facts()


@dataclass(frozen=True, slots=True)
class Finding:
    code: str
    path: str
    message: str
    remedy: str
    line: int | None = None

    @property
    def level(self) -> Level:
        return LEVELS[self.code]

    @property
    def problem(self) -> Problem:
        return Problem(self.path, self.message, self.remedy, self.line, self.code)

    def as_json(self) -> dict[str, Any]:
        return self.problem.as_json()


@dataclass(frozen=True, slots=True)
class Found:
    """A finding at a step, before its place is known in words."""

    code: str
    at: Path
    message: str
    remedy: str


def counted(number: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("ch") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"
