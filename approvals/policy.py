# SPDX-License-Identifier: Apache-2.0
"""Who may decide: a pure function of the frozen policy, the person, and the makers of what is asked.

A policy is frozen into each request when it is made; people are checked live, when they vote.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True)
class Policy:
    role: str
    required_approvals: int = 1  # of so many people, with one outcome; a rejection is a veto
    distinct_from_steps: tuple[str, ...] = ()  # who did or decided one of these steps of the run may not decide
    forbid_self_approval: bool = True  # four eyes: who started or asked may not decide
    reject_needs_reason: bool = True

    def as_json(self) -> dict[str, Any]:
        return {
            "role": self.role,
            "required_approvals": self.required_approvals,
            "distinct_from_steps": list(self.distinct_from_steps),
            "forbid_self_approval": self.forbid_self_approval,
            "reject_needs_reason": self.reject_needs_reason,
        }


@dataclass(frozen=True, slots=True)
class Person:
    """What counts of a voter, read when they vote."""

    id: int
    kind: str
    active: bool
    roles: frozenset[str]


@dataclass(frozen=True, slots=True)
class Bar:
    """Why a person may not decide. `code` is the refusal's; `reason` is shown on the disabled button."""

    code: str
    reason: str


def frozen(role: str, declared: Mapping[str, Any] | None) -> Policy:
    """The policy of a request for `role`, as its step declares it."""
    given = declared or {}
    return Policy(
        role=role,
        required_approvals=int(given.get("required_approvals", 1)),
        distinct_from_steps=tuple(given.get("distinct_from_steps", ())),
        forbid_self_approval=bool(given.get("forbid_self_approval", True)),
        reject_needs_reason=bool(given.get("reject_needs_reason", True)),
    )


def read(stored: Mapping[str, Any]) -> Policy:
    return Policy(**{**stored, "distinct_from_steps": tuple(stored.get("distinct_from_steps", ()))})


def bar(
    policy: Policy,
    person: Person,
    *,
    makers: Mapping[int, str],
    doers: Mapping[int, str] = MappingProxyType({}),
    voters: Collection[int] = (),
) -> Bar | None:
    """None if the person may decide.

    `makers`: user id → what made them a maker ("started this run"). `doers`: user id → which of the steps that others
    must have done they did. `voters` have approved this already, and more approvals are needed.
    """
    if person.kind != "human":
        return Bar("forbidden", "Only people decide; agents and services never do.")
    if not person.active:
        return Bar("forbidden", "This account is not active.")
    if policy.role not in person.roles:
        return Bar("role_required", f"Only members of {policy.role} may decide this.")
    if policy.forbid_self_approval and person.id in makers:
        return Bar("forbidden", f"You {makers[person.id]}, so somebody else must decide this.")
    if person.id in doers:
        return Bar("forbidden", f"You {doers[person.id]}, and this must be decided by somebody else.")
    if person.id in voters:
        return Bar("forbidden", "You have approved this already. It waits for the approval of somebody else.")
    return None
