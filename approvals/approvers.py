# SPDX-License-Identifier: Apache-2.0
"""What a playbook's author is told of a policy before it is used: whose approval it wants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from approvals import policies, policy_document
from approvals.policy_document import PolicyInvalid
from approvals.times import OnTimeout
from playbooks.policies import Needed


def needs(
    document: Mapping[str, Any], role: str, *, named: policy_document.Named = policies.published
) -> Sequence[Needed] | None:
    """Who must approve, of the rules that name a role; None if the policy it starts from is not published."""
    try:
        rules = policy_document.written(document, role=role, named=named)
    except PolicyInvalid:
        return None
    return [Needed(rule.role, rule.approvals, _place(document, rule.id)) for rule in rules.rules if rule.role]


def silence(
    document: Mapping[str, Any], role: str, *, named: policy_document.Named = policies.published
) -> tuple[str | int, ...] | None:
    """Where a policy says that it is approved by nobody, once its time is over; None if it does not."""
    try:
        rules = policy_document.written(document, role=role, named=named)
    except PolicyInvalid:
        return None
    if rules.time.get("on_timeout") != OnTimeout.APPROVE:
        return None
    return ("time", "on_timeout") if "time" in document else ("use",)


def _place(document: Mapping[str, Any], rule_id: str) -> tuple[str | int, ...]:
    if "stages" not in document:
        return ("required_approvals",) if "required_approvals" in document else ("use",)
    stage, rule = (int(part) - 1 for part in rule_id.split("."))
    return ("stages", stage, "rules", rule)
