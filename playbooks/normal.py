# SPDX-License-Identifier: Apache-2.0
"""The normal form of a playbook: the one document that says what a Definition says.

Shorthand is written out, durations are seconds, and what equals its default is left out. So two documents that mean
the same have one normal form and one digest, and reading a normal form gives the same Definition back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import rfc8785

from playbooks.definition import (
    Branch,
    Call,
    Child,
    Definition,
    Foreach,
    Form,
    Governance,
    Handler,
    Jump,
    Option,
    Parallel,
    RetryPolicy,
    Shape,
    Step,
    StepKind,
    Switch,
    Timeouts,
    Wait,
)

_PLAIN_FIELDS = (
    *("title", "description", "severity", "priority", "timeout_policy", "max_minutes", "effect"),
    *("on_exhausted", "when", "input", "output", "form", "policy"),
)
_DEFAULT_SHAPES: Mapping[type, Shape] = {
    Parallel: Parallel(),
    Foreach: Foreach(items=""),
    Switch: Switch(),
    Wait: Wait(),
    Child: Child(playbook=""),
    Governance: Governance(),
}


def to_document(definition: Definition) -> dict[str, Any]:
    document: dict[str, Any] = {"id": definition.id}
    document |= _unlike_default(
        definition, Definition(id="", steps=()), ("title", "description", "payload_schema", "run_timeout")
    )
    if definition.form != Form():
        document["web_form"] = _unlike_default(definition.form, Form())
    return document | {"steps": [_step(step) for step in definition.steps]}


def digest(document: Mapping[str, Any]) -> str:
    """SHA-256 of a normal form, as RFC 8785 writes it down; hexadecimal."""
    return hashlib.sha256(rfc8785.dumps(dict(document))).hexdigest()


def _step(step: Step) -> dict[str, Any]:
    default = Step(id=step.id, kind=step.kind)
    document: dict[str, Any] = {"id": step.id, "type": step.kind.value}
    if step.role:
        document["role"] = step.role
    if step.call is not None:
        document["call"] = _call(step.call)
    if step.compensate is not None:
        document["compensate"] = _call(step.compensate)
    if step.options:
        document["options"] = [_option(option) for option in step.options]
    if step.retries != default.retries:
        document["retries"] = _retries(step.retries)
    if step.timeouts != default.timeouts:
        document["timeouts"] = _unlike_default(step.timeouts, Timeouts())
    if step.token_ttl_seconds is not None:
        document["token_ttl"] = step.token_ttl_seconds
    if step.shape is not None:
        own = _unlike_default(step.shape, _DEFAULT_SHAPES[type(step.shape)])
        document |= {name: list(value) if isinstance(value, tuple) else value for name, value in own.items()}
    document |= _unlike_default(step, default, _PLAIN_FIELDS) | _blocks(step)
    reactions = _unlike_default(step, default, ("on_failure", "on_reject"))
    return document | {name: _reaction(reaction) for name, reaction in reactions.items()}


def _call(call: Call) -> dict[str, Any]:
    arguments = {"arguments": dict(call.arguments)} if call.arguments else {}
    return {"action": call.action, **arguments}


def _option(option: Option) -> dict[str, Any]:
    label = {"label": option.label} if option.label != option.key else {}
    return {"key": option.key, **label, **({"ends": option.ends} if option.ends else {})}


def _retries(policy: RetryPolicy) -> dict[str, Any]:
    document = _unlike_default(policy, RetryPolicy(), ("maximum_attempts", "initial_interval", "backoff_coefficient"))
    document |= _unlike_default(policy, RetryPolicy(), ("maximum_interval", "jitter"))
    if policy.non_retryable_error_types:
        document["non_retryable_error_types"] = list(policy.non_retryable_error_types)
    if policy.rules:
        document["retry_rules"] = [
            {"error_type": rule.error_type, "action": rule.action}
            | ({"delay": rule.delay_seconds} if rule.delay_seconds is not None else {})
            | ({"reason": rule.reason} if rule.reason else {})
            for rule in policy.rules
        ]
    return document


def _blocks(step: Step) -> dict[str, Any]:
    if step.kind is StepKind.FOREACH:
        return {"steps": [_step(inner) for branch in step.branches for inner in branch.steps]}
    if step.kind is StepKind.PARALLEL:
        return {"branches": [_branch(branch) for branch in step.branches]}
    if step.kind is StepKind.SWITCH:
        return {"cases": [_branch(branch) for branch in step.branches]}
    return {}


def _branch(branch: Branch) -> dict[str, Any]:
    holds = _unlike_default(branch, Branch("", ()), ("when", "case"))
    return {"key": branch.key, **holds, "steps": [_step(step) for step in branch.steps]}


def _reaction(reaction: Any) -> Any:
    match reaction:
        case Jump(to):
            return {"to": to}
        case Handler(steps):
            return {"steps": [_step(step) for step in steps]} | _unlike_default(reaction, Handler(()), ("then",))
    return reaction


def _unlike_default(value: Any, default: Any, names: tuple[str, ...] = ()) -> dict[str, Any]:
    names = names or tuple(field.name for field in fields(value))
    return {name: getattr(value, name) for name in names if getattr(value, name) != getattr(default, name)}
