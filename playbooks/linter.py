# SPDX-License-Identifier: Apache-2.0
"""What is wrong, or odd, with a playbook that can be read: (definition, facts) → findings. Pure.

Errors stand in the way of publishing; warnings are answered to whoever publishes. Each finding has a code, its place
(the path in the normal form, and the line where the document was text) and a remedy. `docs/reference/findings.md`
lists the codes. Facts that the caller does not hand in are not judged by.

Expressions are held against the order of the steps: before a step, others have run for certain, or may have run (a
case that was chosen, a handler), or cannot have run (later steps, other branches and cases, single items).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from config.errors import Problem
from playbooks import expressions
from playbooks.definition import (
    Call,
    Child,
    Definition,
    Foreach,
    Governance,
    Parallel,
    Step,
    StepKind,
    Switch,
    Wait,
)
from playbooks.expressions import Unevaluable
from playbooks.findings import LEVELS as LEVELS
from playbooks.findings import NO_FACTS, Found, counted
from playbooks.findings import Facts as Facts
from playbooks.findings import Finding as Finding
from playbooks.lint_people import People
from playbooks.lint_secrets import of_secrets
from playbooks.places import Path, did_you_mean, listed, path_text, shown
from playbooks.step_order import Scene, Spot, spots

NAMES = ("payload", "data", "steps", "run")
AROUND_OTHERS = frozenset({StepKind.PARALLEL, StepKind.FOREACH, StepKind.SWITCH})
DONE_BY_SOMEBODY = ("input", "output", "output_schema", "retries", "timeouts", "effect")
"""Fields that say how a step is done, and so nothing of one that only holds others."""


def lint(definition: Definition, facts: Facts = NO_FACTS, lines: Mapping[str, int] | None = None) -> list[Finding]:
    """Errors first, each kind in the order of the document. `lines` are `Parsed.lines`."""
    if not definition.steps:
        return [Finding("no_steps", "steps", "The playbook has no steps.", "Add at least one step.")]
    linter, known = _Linter(definition, facts), lines or {}
    found = [
        Finding(each.code, path_text((*spot.path, *each.at)), each.message, each.remedy, known.get(spot.step.id))
        for spot in spots(definition.steps, ("steps",), Scene())
        for each in linter.of(spot)
    ]
    once: dict[tuple[str, str], Finding] = {}
    for finding in found:  # of a role that many steps have, at the first of them
        once.setdefault((finding.code, finding.message), finding)
    return sorted(once.values(), key=lambda finding: finding.level)


def publish_problems(
    definition: Definition, *, known_calls: Collection[str], lines: Mapping[str, int] | None = None
) -> list[Problem]:
    """Why `definition` cannot be published, as far as it says so itself; empty if it can."""
    found = lint(definition, Facts(known_calls=known_calls), lines)
    return [finding.problem for finding in found if finding.level == "error"]


# --- What is wrong at a step ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Said:
    """An expression of a step, and the names that are there beside those that always are."""

    at: Path
    text: str
    beside: tuple[str, ...] = ()


def _said_by(step: Step, *, in_items: bool) -> Iterator[Said]:
    beside = ("item",) if in_items else ()
    if step.when:
        yield Said(("when",), step.when, beside)
    for name, text in _texts(step.input):
        yield Said(("input", name), text, beside)
    for name, text in _texts(step.output):
        yield Said(("output", name), text, (*beside, "output"))
    match step.shape:
        case Foreach(items):
            yield Said(("items",), items, beside)
        case Wait(until=until) if until and not _is_moment(until):
            yield Said(("until",), until, beside)
        case Switch():
            for number, case in enumerate(step.branches):
                if text := step.shape.condition(case):
                    yield Said(("cases", number, "case" if case.case else "when"), text, beside)


def _texts(mapping: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    yield from ((name, text) for name, text in (mapping or {}).items() if isinstance(text, str))


def _is_moment(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class _Linter:
    definition: Definition
    facts: Facts
    holders: Mapping[str, tuple[tuple[Step, int], ...]] = field(init=False)  # the steps around each, and in which block

    def __post_init__(self) -> None:
        object.__setattr__(self, "holders", dict(_holders(self.definition.steps, ())))

    @property
    def people(self) -> People:
        return People(self.definition, self.facts)

    def of(self, spot: Spot) -> Iterator[Found]:
        yield from self._of_fields(spot.step)
        yield from self._of_expressions(spot)
        yield from _never_runs(spot)
        yield from self._cases_of_failure(spot.step)
        yield from _of_joins(spot.step)
        yield from self._of_others(spot.step)
        yield from self._of_rules(spot)
        yield from self.people.of_roles(spot.step)
        yield from of_secrets(spot, self.definition, self.facts)
        yield from self._not_undone(spot)

    def _of_fields(self, step: Step) -> Iterator[Found]:
        default = Step(id=step.id, kind=step.kind)
        for name in DONE_BY_SOMEBODY if step.kind in AROUND_OTHERS else ():
            if getattr(step, name) != getattr(default, name):
                message = f"The step {shown(step.id)} is done by nobody: `{name}` means nothing for it."
                yield Found("no_meaning", (name,), message, "Give it to the steps inside.")
        if step.retries.maximum_attempts == 0 and step.timeouts.schedule_to_close is None:
            message = f"The step {shown(step.id)} would be retried without end."
            remedy = "Limit `maximum_attempts`, or set `timeouts.schedule_to_close`."
            yield Found("endless_retries", ("retries",), message, remedy)

    # Expressions

    def _of_expressions(self, spot: Spot) -> Iterator[Found]:
        for said in _said_by(spot.step, in_items=spot.scene.in_items):
            for name in sorted(expressions.names_in(said.text) - {*NAMES, *said.beside}):
                yield Found("unknown_name", said.at, *_unknown(name, said))
            for step_id in sorted(expressions.steps_in(said.text)):
                yield from self._of_reference(spot, said, step_id)

    def _of_reference(self, spot: Spot, said: Said, step_id: str) -> Iterator[Found]:
        scene = spot.scene
        if step_id in scene.certain:
            return
        if step_id not in self.definition.places:
            message = f"No step is called {shown(step_id)}."
            remedy = did_you_mean(step_id, self.definition.places) or "Name a step that stands before this one."
            yield Found("no_such_step", said.at, message, remedy)
        elif step_id not in scene.possible:
            message = f"The step {shown(step_id)} cannot have run when {shown(spot.step.id)} asks for it: "
            yield Found("cannot_have_run", said.at, message + self._why_not(spot.step.id, step_id), REMEDY_OF_ORDER)
        elif not _is_guarded(step_id, f"{spot.step.when} {said.text}"):
            message = f"The step {shown(step_id)} may not have run when {shown(spot.step.id)} asks for it."
            remedy = f'Ask first, as in `"{step_id}" in steps && …`: where it has not run, this step fails.'
            yield Found("may_not_have_run", said.at, message, remedy)

    def _why_not(self, asking: str, asked: str) -> str:
        if asking == asked:
            return "it is that step itself."
        mine = {holder.id: block for holder, block in self.holders[asking]}
        for holder, block in self.holders[asked]:
            if holder.id not in mine and holder.kind is StepKind.FOREACH:
                return f"it runs for single items of {shown(holder.id)}."
            if mine.get(holder.id, block) != block:
                where = {StepKind.PARALLEL: "branch", StepKind.SWITCH: "case"}.get(holder.kind, "list")
                return f"it stands in another {where} of {shown(holder.id)}."
        return "it comes later."

    def _cases_of_failure(self, step: Step) -> Iterator[Found]:
        """Outcomes that end the run before the switch is reached."""
        asked = self.definition.places.get(step.shape.on) if isinstance(step.shape, Switch) else None
        if asked is None:
            return
        field = "on_reject" if asked.step.kind is StepKind.HUMAN else "on_failure"
        if getattr(asked.step, field) != "FAIL_RUN":
            return
        for number, case in enumerate(step.branches):
            if case.case and asked.step.ends_failed(case.case):
                name = shown(asked.step.id)
                message = f"The case {shown(case.case)} never runs: with it, {name} ends the run failed."
                remedy = f"Let {name} go on: `{field}: CONTINUE`."
                yield Found("never_runs", ("cases", number), message, remedy)

    # What stands outside of the document

    def _of_others(self, step: Step) -> Iterator[Found]:
        if step.kind is StepKind.SERVICE:
            yield from self._of_call(step, "call", step.call)
        yield from self._of_call(step, "compensate", step.compensate)
        yield from self._of_effect(step)
        yield from self.people.of_policy(step)
        if isinstance(step.shape, Child):
            yield from self._of_child(step, step.shape)
        if isinstance(step.shape, Governance) and self.facts.rule_sets is not None:
            for number, name in enumerate(step.shape.rules):
                if name not in self.facts.rule_sets:
                    message = f"No rules are published as {shown(name)}: the step {shown(step.id)} would fail."
                    remedy = did_you_mean(name, self.facts.rule_sets) or "Publish them first: Rules, in the admin."
                    yield Found("unknown_rule_set", ("rules", number), message, remedy)

    def _of_rules(self, spot: Spot) -> Iterator[Found]:
        """Rules that ask for what this playbook does not do: they cannot be judged, and would fail."""
        shape = spot.step.shape
        for number, name in enumerate(shape.rules or ("",) if isinstance(shape, Governance) else ()):
            asked = {
                step_id
                for text in self.facts.conditions.get(name, ())
                for step_id in expressions.steps_in(text)
                if step_id not in spot.scene.certain and not _is_guarded(step_id, text)
            }
            for step_id in sorted(asked):
                of = f"The rule set {shown(name)}" if name else "A rule of the default layer"
                message = f"{of} asks for the step {shown(step_id)}, which has not run for certain before "
                remedy = "Name other rules, or let the rule ask first if the step is there."
                at = ("rules", number) if name else ()
                yield Found("rule_asks_for_more", at, f"{message}{shown(spot.step.id)}: its rule would fail.", remedy)

    def _of_call(self, step: Step, field: str, call: Call | None) -> Iterator[Found]:
        """Only calls of services are looked up: those of agents and people are words for their readers."""
        known = self.facts.known_calls
        if call is None or known is None or call.action in known:
            return
        message = f"No service offers the action {shown(call.action)}, which the step {shown(step.id)} calls."
        ask = "See which actions are installed"
        ask += "; or give a role and no call, then a client of that role does the step." if field == "call" else "."
        remedy = f"{did_you_mean(call.action, sorted(known))} {ask}".strip()
        yield Found("unknown_call", (field,), message, remedy)

    def _of_effect(self, step: Step) -> Iterator[Found]:
        """`query_first` asks the service, by an action that knows how to ask."""
        known = self.facts.queryable_calls
        if step.effect != "query_first" or known is None:
            return
        asked = [call for call in (step.call, step.compensate) if call is not None]
        if step.kind is not StepKind.SERVICE or step.call is None:
            message = f"The step {shown(step.id)} calls no action that could be asked what came of a request."
            yield Found("no_query", ("effect",), message, "Leave `effect` out, or write `once`.")
        for call in asked if step.kind is StepKind.SERVICE else ():
            if call.action not in known:
                message = f"The action {shown(call.action)} cannot be asked what came of an earlier request."
                remedy = "Give it a `query` (a connector: an address to ask at), or write `keyed` or `once`."
                yield Found("no_query", ("effect",), message, remedy)

    def _of_child(self, step: Step, child: Child) -> Iterator[Found]:
        if child.playbook == self.definition.id:
            message = f"The step {shown(step.id)} starts a run of this same playbook."
            remedy = "Make sure by a `when` or a `switch` that this ends; runs within runs have a limit."
            yield Found("runs_itself", ("playbook",), message, remedy)
        elif self.facts.playbooks is not None:
            versions = self.facts.playbooks.get(child.playbook, frozenset())
            if not versions or (child.version is not None and child.version not in versions):
                of = f" version {child.version} of" if child.version is not None and versions else ""
                message = f"There is no{of} published playbook {shown(child.playbook)}."
                remedy = did_you_mean(child.playbook, self.facts.playbooks) if not versions else ""
                yield Found("unknown_playbook", ("playbook",), message, remedy or "Publish that one first.")

    # Effects that stay

    def _not_undone(self, spot: Spot) -> Iterator[Found]:
        """An effect that a later failure leaves behind. Warned of where it happens once for all, or where others are
        undone: an author who undoes nothing has decided so."""
        step = spot.step
        if step.kind is not StepKind.SERVICE or step.call is None or step.compensate is not None:
            return
        others = any(each.compensate is not None for each in self.definition.walk())
        breaking = next((each for each in spot.later if _may_end_failed(each)), None)
        if breaking is not None and (step.effect == "once" or others):
            message = f"If {shown(breaking.id)} fails, what {shown(step.id)} has done stays as it is."
            remedy = "Name the call that undoes it: `compensate`. Or put the step last."
            yield Found("not_undone", (), message, remedy)


REMEDY_OF_ORDER = "Name a step that stands before this one, and has run whenever this one does."


def _holders(block: tuple[Step, ...], around: tuple[tuple[Step, int], ...]) -> Iterator[tuple[str, Any]]:
    for step in block:
        yield step.id, around
        for number, (_, inner) in enumerate(step.blocks()):
            yield from _holders(inner, (*around, (step, number)))


def _unknown(name: str, said: Said) -> tuple[str, str]:
    known = (*NAMES, *said.beside)
    if name == "item":
        return "There is no `item` here.", "It is there inside a foreach step alone."
    if name == "output":
        return "There is no `output` here.", 'It is there under `output`; earlier ones are `data["…"]`.'
    return f"The name {shown(name)} is not known.", did_you_mean(name, known) or f"There are {listed(known)}."


def _is_guarded(step_id: str, text: str) -> bool:
    """Whether the expression asks first if the step is among those that have run."""
    name = re.escape(step_id)
    is_in = rf"""["']{name}["']\s+in\s+(?:steps|data)\b"""
    has_it = rf"""has\(\s*(?:steps|data)\s*\.\s*{name}\b"""
    return re.search(f"{is_in}|{has_it}", text) is not None


def _never_runs(spot: Spot) -> Iterator[Found]:
    """Conditions that say the same always, and cases that others hide."""
    step = spot.step
    if _constant(step.when) is False:
        message = f"The step {shown(step.id)} never runs: its condition is always false."
        yield Found("never_runs", ("when",), message, "Take the step out, or mend the condition.")
    if isinstance(step.shape, Switch):
        yield from _hidden_cases(step, step.shape)


def _hidden_cases(step: Step, switch: Switch) -> Iterator[Found]:
    before: dict[str, int] = {}
    for number, case in enumerate(step.branches):
        condition = switch.condition(case)
        hiding = next((at for text, at in before.items() if text == condition or _constant(text) is True), None)
        if hiding is not None:
            message = f"The case {shown(case.key)} never runs: {shown(step.branches[hiding].key)} holds before it."
            yield Found("never_runs", ("cases", number), message, "Take it out, or put it first.")
        elif _constant(condition) is False:
            message = f"The case {shown(case.key)} never runs: its condition is always false."
            yield Found("never_runs", ("cases", number), message, "Take it out, or mend the condition.")
        before[condition or "true"] = number


def _constant(text: str) -> Any:
    """What an expression that reads nothing gives; None if it reads something."""
    if not text or expressions.names_in(text):
        return None
    try:
        return expressions.evaluate(text, {}, at="")
    except Unevaluable:
        return None


def _of_joins(step: Step) -> Iterator[Found]:
    if not isinstance(step.shape, Parallel):
        return
    count = len(step.branches)
    if isinstance(step.shape.join, int) and step.shape.join > count:
        message = f"`join` waits for {step.shape.join} of {counted(count, 'branch')}."
        yield Found("join_cannot_be_met", ("join",), message, "Wait for fewer, or write `ALL`.")
    tolerated = step.shape.tolerated_failure_count
    if tolerated is not None and tolerated > count:
        message = f"{tolerated} failures are tolerated of {counted(count, 'branch')}."
        yield Found("join_cannot_be_met", ("tolerated_failure_count",), message, f"Tolerate at most {count}.")


def _may_end_failed(step: Step) -> bool:
    """Whether a failure of the step, or of one inside it, reaches what is around it."""
    if step.on_failure != "FAIL_RUN" and step.on_reject != "FAIL_RUN":
        return False
    if step.branches:
        return any(_may_end_failed(inner) for branch in step.branches for inner in branch.steps)
    return not (isinstance(step.shape, Wait) and not step.shape.signal)
