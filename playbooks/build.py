# SPDX-License-Identifier: Apache-2.0
"""From the models of a document to its Definition: shorthand is written out, defaults are filled in.

Every default that decides who does what leaves a note, since it is a decision the author did not write down.
A default is part of the format: to change one would change playbooks that are published already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from playbooks import json_schema, schema, schema_parts
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
    Reaction,
    RetryPolicy,
    RetryRule,
    Shape,
    Step,
    StepKind,
    Switch,
    Timeouts,
    Wait,
)
from playbooks.schema import KIND_WORDS, ROLE_PREFIXES
from playbooks.schema_values import Part

PREFIX_OF = {kind: prefix for prefix, kind in ROLE_PREFIXES.items()}
FAN_FIELDS = ("max_concurrency", "tolerated_failure_count", "tolerated_failure_percentage")


def definition_of(
    document: schema.Document, *, default_id: str, taken: frozenset[str]
) -> tuple[Definition, tuple[str, ...]]:
    """The definition and the notes on its defaults. `taken` are the step ids that the document gives itself."""
    builder = _Builder(taken)
    if document.id is None:
        builder.notes.append(f"The playbook's id is {default_id}, from the name it came with.")
    web_form = document.web_form or schema.WebFormPart()
    definition = Definition(
        id=document.id or default_id,
        steps=builder.block(document),
        title=document.title or "",
        description=document.description or "",
        payload_schema=_ordered(document.payload_schema),
        run_timeout=document.run_timeout,
        form=Form(
            public=web_form.public or False,
            title=web_form.title or "",
            intro=web_form.intro or "",
            thanks=web_form.thanks or "",
        ),
    )
    return definition, tuple(builder.notes)


class _Builder:
    """Builds steps in document order, so that ids it has to make up are the same each time."""

    def __init__(self, taken: frozenset[str]) -> None:
        self.notes: list[str] = []
        self._taken = set(taken)

    def block(self, part: schema.BlockPart) -> tuple[Step, ...]:
        steps = part.steps if part.steps is not None else part.tasks
        return tuple(self.step(step) for step in steps or ())

    def step(self, part: schema.StepPart) -> Step:
        kind = _KIND_OF_MODEL[type(part)]
        step_id = part.id or part.name or self._new_id(kind)
        if isinstance(part, schema.PerformedPart):
            return self._performed(part, kind, step_id)
        branches, shape = self._composite(part)
        role = (part.role if isinstance(part, schema.GovernanceStep) else None) or ""
        return Step(
            id=step_id, kind=kind, role=role, branches=branches, shape=shape, **_common(part), **self._reactions(part)
        )

    def _new_id(self, kind: StepKind) -> str:
        number = 1
        while f"{kind}-{number}" in self._taken:
            number += 1
        step_id = f"{kind}-{number}"
        self._taken.add(step_id)
        self.notes.append(f"A {kind} step without an id is called {step_id}.")
        return step_id

    # --- Steps that one performer carries out ---

    def _performed(self, part: schema.PerformedPart, kind: StepKind, step_id: str) -> Step:
        role, call = self._role(part, kind, step_id), self._call(part, kind, step_id)
        defaults = Step(id=step_id, kind=kind)
        return Step(
            id=step_id,
            kind=kind,
            role=role,
            call=call,
            options=tuple(_option(option) for option in part.options or ()),
            form=_ordered(part.form) if isinstance(part, schema.HumanStep) else None,
            policy={"use": part.policy} if isinstance(part.policy, str) else part.policy,
            severity=part.severity or defaults.severity,
            priority=part.priority or defaults.priority,
            **_common(part),
            **self._reactions(part),
        )

    def _role(self, part: schema.PerformedPart, kind: StepKind, step_id: str) -> str:
        assert isinstance(part, schema.AgentStep | schema.HumanStep | schema.ServiceStep)
        if part.role:
            return part.role
        if isinstance(part, schema.ServiceStep) and part.service:
            return f"svc:{part.service}"
        if isinstance(part, schema.AgentStep) and part.agent:
            return f"agent:{part.agent}"
        role = f"{PREFIX_OF[kind]}:{step_id}"
        self.notes.append(f"{step_id}: the role is {role}, after the id, because none was given.")
        return role

    def _call(self, part: schema.PerformedPart, kind: StepKind, step_id: str) -> Call | None:
        if isinstance(part, schema.AgentStep) and part.action:
            return Call(part.action)
        if isinstance(part, schema.ServiceStep) and part.service:
            return Call(f"{part.service}.{part.action}")
        assert isinstance(part, schema.AgentStep | schema.HumanStep | schema.ServiceStep)
        waits_for_client = part.role is not None and part.type != "script"
        if part.call is not None or kind is not StepKind.SERVICE or waits_for_client:
            return part.call
        self.notes.append(f"{step_id}: the call is {step_id}, after the id, because none was given.")
        return Call(step_id)

    # --- Steps that shape the run ---

    def _composite(self, part: schema.StepPart) -> tuple[tuple[Branch, ...], Shape | None]:
        match part:
            case schema.ParallelStep():
                how = _given(part, ("join", "on_branch_failure", *FAN_FIELDS))
                return self._parallel_branches(part), Parallel(**how)
            case schema.ForeachStep():
                return (Branch("each", self.block(part)),), Foreach(part.items, **_given(part, FAN_FIELDS))
            case schema.SwitchStep():
                return self._blocks(part.cases, "case"), Switch(part.on or "")
            case schema.WaitStep():
                return (), Wait(**_given(part, ("duration", "until", "signal", "timeout")))
            case schema.PlaybookStep():
                return (), Child(part.playbook, **_given(part, ("version", "parent_close_policy")))
            case schema.GovernanceStep():
                return (), Governance(tuple(part.rules or ()))
        return (), None

    def _reactions(self, part: schema.StepPart) -> dict[str, Any]:
        """What a failure and a rejection do, where the document says it."""
        given = {"on_failure": part.on_failure, "on_reject": part.on_reject}
        return {name: self._reaction(reaction) for name, reaction in given.items() if reaction is not None}

    def _reaction(self, part: Any) -> Reaction:
        if not isinstance(part, schema.DetourPart):
            word: Reaction = part
            return word
        return Jump(part.to) if part.to is not None else Handler(self.block(part), part.then or "FAIL_RUN")

    def _parallel_branches(self, part: schema.ParallelStep) -> tuple[Branch, ...]:
        if part.branches is not None:
            return self._blocks(part.branches, "branch")
        steps = [self.step(step) for step in part.tasks or ()]
        return tuple(Branch(step.id, (step,)) for step in steps)

    def _blocks(self, parts: Sequence[schema.BranchPart | schema.CasePart], noun: str) -> tuple[Branch, ...]:
        taken = {part.key for part in parts}
        branches = []
        for position, part in enumerate(parts, start=1):
            key = part.key or f"{noun}-{position}"
            while part.key is None and key in taken:
                key += "-"
            taken.add(key)
            holds = _given(part, ("when", "case")) if isinstance(part, schema.CasePart) else {}
            branches.append(Branch(key, self.block(part), **holds))
        return tuple(branches)


_KIND_OF_MODEL = {model: kind for kind, model in schema.STEP_MODELS.items()}


def _common(part: schema.StepPart) -> dict[str, Any]:
    """The fields that every step may have. A field left out is left to the Definition's own default."""
    names = ("title", "description", "timeout_policy", "max_minutes", "effect", "on_exhausted")
    given = _given(part, (*names, "when", "input", "output", "output_schema", "compensate"))
    if part.token_ttl is not None:
        given["token_ttl_seconds"] = part.token_ttl
    if part.retries is not None:
        given["retries"] = _retries(part.retries)
    if part.timeouts is not None:
        given["timeouts"] = Timeouts(**_given(part.timeouts, tuple(type(part.timeouts).model_fields)))
    return given


def _given(part: Part, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(part, name)) is not None}


def _retries(retries: int | schema_parts.RetryPolicyPart) -> RetryPolicy:
    if isinstance(retries, int):
        return RetryPolicy(maximum_attempts=retries + 1)
    names = ("maximum_attempts", "initial_interval", "backoff_coefficient", "maximum_interval", "jitter")
    return RetryPolicy(
        **_given(retries, names),
        non_retryable_error_types=tuple(retries.non_retryable_error_types or ()),
        rules=tuple(
            RetryRule(rule.error_type, rule.action, rule.delay, rule.reason or "") for rule in retries.retry_rules or ()
        ),
    )


def _option(option: str | schema_parts.OptionPart) -> Option:
    """FAIL ends a run failed however it is written down: an option of that name must not disarm it."""
    key = option if isinstance(option, str) else option.key
    label = "" if isinstance(option, str) else option.label or ""
    ends = "fail" if key == "FAIL" or (not isinstance(option, str) and option.ends) else ""
    return Option(key, label or key, "fail" if ends else "")


def _ordered(form: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if form is None else json_schema.ordered(form)


assert set(KIND_WORDS.values()) == set(_KIND_OF_MODEL.values())
