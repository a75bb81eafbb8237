# SPDX-License-Identifier: Apache-2.0
"""A version as its page shows it: its steps in words, the roles it needs and who is in them, what stands in its way.

Reads only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.contrib.auth.models import Group
from django.db.models import Count, Q

from config.errors import Problem
from playbooks import facts
from playbooks.definition import Definition, RetryPolicy, Step
from playbooks.linter import Finding
from playbooks.models import Version
from playbooks.parse import DocumentInvalid
from playbooks.services import claimed_roles

CLOCKS = ("schedule_to_start", "start_to_close", "schedule_to_close", "heartbeat")


@dataclass(frozen=True, slots=True)
class StepShown:
    step: Step
    depth: int  # 0: not inside another
    branch: str  # its block, inside a composite step
    call: str
    retries: str
    clocks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RoleShown:
    name: str
    exists: bool
    members: int
    of_worker: bool  # all its steps are calls that our worker makes

    @property
    def is_wanting(self) -> bool:
        return not (self.of_worker or self.members)


@dataclass(frozen=True, slots=True)
class VersionShown:
    definition: Definition | None  # None: the parser of today does not take the document any more
    steps: Sequence[StepShown]
    roles: Sequence[RoleShown]
    problems: Sequence[Problem]  # why it could not be published
    warnings: Sequence[Finding] = ()


def shown(version: Version) -> VersionShown:
    try:
        definition = version.definition
    except DocumentInvalid as fault:
        return VersionShown(None, (), (), fault.errors)
    found = facts.findings(definition)
    problems = [finding.problem for finding in found if finding.level == "error"]
    warnings = [finding for finding in found if finding.level == "warning"]
    return VersionShown(definition, list(_steps(definition.steps)), roles_of(definition), problems, warnings)


def roles_of(definition: Definition) -> list[RoleShown]:
    names = sorted({step.role for step in definition.walk() if step.role})
    claimed = claimed_roles(definition)
    counted = Group.objects.filter(name__in=names).annotate(active=Count("user", filter=Q(user__is_active=True)))
    members = dict(counted.values_list("name", "active"))
    return [RoleShown(name, name in members, members.get(name, 0), name not in claimed) for name in names]


def _steps(block: Sequence[Step], depth: int = 0, branch: str = "") -> Iterator[StepShown]:
    for step in block:
        yield StepShown(step, depth, branch, _call(step), retries_in_words(step.retries), tuple(_clocks(step)))
        for name, inner in step.blocks():
            yield from _steps(inner, depth + 1, name)


def _call(step: Step) -> str:
    if step.call is None:
        return ""
    arguments = ", ".join(f"{name}={value}" for name, value in step.call.arguments.items())
    return f"{step.call.action}({arguments})" if arguments else step.call.action


def retries_in_words(policy: RetryPolicy) -> str:
    if policy.maximum_attempts == 1:
        return "none"
    limit = f"up to {policy.maximum_attempts - 1}" if policy.maximum_attempts else "without limit"
    growth = f", then {policy.backoff_coefficient:g} times as long each" if policy.backoff_coefficient != 1 else ""
    return f"{limit}, after {policy.initial_interval:g} s{growth}"


def _clocks(step: Step) -> Iterator[str]:
    for name in CLOCKS:
        seconds = getattr(step.timeouts, name)
        if seconds is not None:
            yield f"{name.replace('_', ' ')}: {seconds} s"
    if step.max_minutes is not None:
        yield f"flagged as stalled after {step.max_minutes} min"
    if step.token_ttl_seconds is not None:
        yield f"a claim holds {step.token_ttl_seconds} s"
