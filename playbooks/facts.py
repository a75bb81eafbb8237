# SPDX-License-Identifier: Apache-2.0
"""What this installation has of all that a playbook names: services, members of roles, other playbooks, rules.

Reads only. What follows from it is in `playbooks/linter.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from django.conf import settings
from django.contrib.auth.models import Group
from django.db.models import Q

from playbooks import catalogue, policies, rule_services
from playbooks.definition import Child, Definition, Governance, Step
from playbooks.linter import Facts, Finding, lint
from playbooks.models import RuleSetVersion, Version, VersionState


def findings(definition: Definition, lines: Mapping[str, int] | None = None) -> list[Finding]:
    """What is wrong or odd with a playbook here and now: errors, then warnings."""
    return lint(definition, facts_about(definition), lines)


def facts_about(definition: Definition) -> Facts:
    steps = list(definition.walk())
    return Facts(
        known_calls=catalogue.names(),
        queryable_calls=[call for call in _calls(steps) if catalogue.can_query(call)],
        members=_members({settings.REVIEW_ROLE, *(step.role for step in steps if step.role), *_approvers(steps)}),
        playbooks=_published() if any(isinstance(step.shape, Child) for step in steps) else {},
        conditions=_conditions({tuple(step.shape.rules) for step in steps if isinstance(step.shape, Governance)}),
        rule_sets=_rules() if any(isinstance(step.shape, Governance) for step in steps) else (),
        policies=policies.reader(),
        takes_secrets=bool(settings.SECRETS_KEYS),
        review_role=settings.REVIEW_ROLE,
    )


def _calls(steps: Iterable[Step]) -> set[str]:
    """What steps that ask first call."""
    asking = [step for step in steps if step.effect == "query_first"]
    return {call.action for step in asking for call in (step.call, step.compensate) if call is not None}


def _approvers(steps: Iterable[Step]) -> set[str]:
    """The roles that policies of these steps name."""
    reader = policies.reader()
    written = [step for step in steps if step.policy and reader is not None and not reader.flaws(step.policy)]
    return {need.role for step in written if reader for need in reader.needs(step.policy or {}, step.role) or ()}


def _members(roles: Iterable[str]) -> dict[str, frozenset[int]]:
    groups = Group.objects.filter(name__in=roles)
    found: dict[str, set[int]] = {name: set() for name in groups.values_list("name", flat=True)}
    for name, user_id in groups.filter(Q(user__is_active=True)).values_list("name", "user__id"):
        found[name].add(user_id)
    return {name: frozenset(ids) for name, ids in found.items()}


def _published() -> dict[str, frozenset[int]]:
    found = defaultdict(set)
    published = Version.objects.filter(state=VersionState.PUBLISHED)
    for slug, number in published.values_list("playbook__slug", "number"):
        found[slug].add(number)
    return {slug: frozenset(numbers) for slug, numbers in found.items()}


def _conditions(named: Iterable[tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Of the rules in force, by the name of their rule set; of the default layer together, by "", if a step has it."""
    found = {}
    for name in {name for names in named for name in names or ("",)}:
        rule_sets, _ = rule_services.in_force([name] if name else [])
        found[name] = tuple(rule.when for rule_set in rule_sets for rule in rule_set.rules)
    return found


def _rules() -> frozenset[str]:
    """By name where a version is published; pinned, a retired one serves too."""
    versions = RuleSetVersion.objects.exclude(state=VersionState.DRAFT)
    told = list(versions.values_list("rule_set__slug", "number", "state"))
    newest = {slug for slug, _, state in told if state == VersionState.PUBLISHED}
    return frozenset({*newest, *(f"{slug}@{number}" for slug, number, _ in told)})
