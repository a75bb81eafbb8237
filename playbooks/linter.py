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
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from config.errors import Problem
from playbooks import expressions
from playbooks.definition import (
    Call,
    Child,
    Definition,
    Foreach,
    Governance,
    Jump,
    Parallel,
    Step,
    StepKind,
    Switch,
    Wait,
)
from playbooks.expressions import Unevaluable
from playbooks.places import Path, did_you_mean, listed, path_text, shown
from playbooks.policies import Needed, Reader, why_silence_approves_nothing
from playbooks.secret_parts import holds_secret, secret_names

NAMES = ("payload", "data", "steps", "run")
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
    "secret_used_twice": "warning",
    "no_key_ring": "warning",
    "not_undone": "warning",
}
"""Every code there is. Where people, roles or other playbooks are missing, that is a warning: they may come later."""


AROUND_OTHERS = frozenset({StepKind.PARALLEL, StepKind.FOREACH, StepKind.SWITCH})
DONE_BY_SOMEBODY = ("input", "output", "output_schema", "retries", "timeouts", "effect")
"""Fields that say how a step is done, and so nothing of one that only holds others."""


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


@dataclass(frozen=True, slots=True)
class Scene:
    """What has been before a step."""

    certain: frozenset[str] = frozenset()
    possible: frozenset[str] = frozenset()
    in_items: bool = False

    def after(self, certain: Collection[str], possible: Collection[str] = ()) -> Scene:
        return replace(self, certain=self.certain | {*certain}, possible=self.possible | {*possible})


@dataclass(frozen=True, slots=True)
class Spot:
    """A step with its place, what has been before it, and what comes after it in its list."""

    step: Step
    path: Path
    scene: Scene
    later: tuple[Step, ...]


def lint(definition: Definition, facts: Facts = Facts(), lines: Mapping[str, int] | None = None) -> list[Finding]:
    """Errors first, each kind in the order of the document. `lines` are `Parsed.lines`."""
    if not definition.steps:
        return [Finding("no_steps", "steps", "The playbook has no steps.", "Add at least one step.")]
    linter, known = _Linter(definition, facts), lines or {}
    found = [
        Finding(each.code, path_text((*spot.path, *each.at)), each.message, each.remedy, known.get(spot.step.id))
        for spot in _spots(definition.steps, ("steps",), Scene())
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


# --- The order of steps ---------------------------------------------------------------------------


def _spots(block: tuple[Step, ...], path: Path, scene: Scene) -> Iterator[Spot]:
    """Every step, those inside others included, in the order of the document."""
    for index, step in enumerate(block):
        before = _but_jumped_over(scene, block[:index], step)
        yield Spot(step, (*path, index), before, block[index + 1 :])
        yield from _spots_within(step, (*path, index), before)
        certain, possible = _ran_in(step)
        scene = scene.after(certain, possible)


def _but_jumped_over(scene: Scene, earlier: tuple[Step, ...], step: Step) -> Scene:
    """A step that is branched `to` cannot count on those between."""
    ids = [each.id for each in earlier]
    for index, source in enumerate(earlier):
        for reaction in (source.on_failure, source.on_reject):
            if isinstance(reaction, Jump) and reaction.to in {step.id, *ids[index + 1 :]}:
                end = len(ids) if reaction.to == step.id else ids.index(reaction.to)
                over = frozenset(ids[index + 1 : end])
                scene = replace(scene, certain=scene.certain - over, possible=scene.possible | over)
    return scene


def _spots_within(step: Step, path: Path, scene: Scene) -> Iterator[Spot]:
    inside = replace(scene, in_items=scene.in_items or step.kind is StepKind.FOREACH)
    for number, branch in enumerate(step.branches):
        yield from _spots(branch.steps, (*path, *block_path(step, number)), inside)
    certain, possible = _ran_in(replace(step, on_failure="FAIL_RUN", on_reject="FAIL_RUN"))
    failed = scene.after({step.id}, (certain | possible) - {step.id})
    for name, handler in step.handlers():
        yield from _spots(handler.steps, (*path, name, "steps"), failed)


def block_path(step: Step, number: int) -> Path:
    if step.kind is StepKind.FOREACH:
        return ("steps",)
    return ("branches" if step.kind is StepKind.PARALLEL else "cases", number, "steps")


def _ran_in(step: Step) -> tuple[frozenset[str], frozenset[str]]:
    """(have run for certain, may have run) once the step has passed. Steps for single items are not seen outside."""
    certain, possible = frozenset({step.id}), frozenset[str]()
    in_all = isinstance(step.shape, Parallel) and step.shape.join == "ALL" and not _tolerates(step.shape)
    for branch in step.branches if step.kind is not StepKind.FOREACH else ():
        for inner in branch.steps:
            surely, perhaps = _ran_in(inner)
            possible |= surely | perhaps
            certain |= surely if in_all else frozenset()
    for _, handler in step.handlers():
        for inner in handler.steps:
            possible |= frozenset[str]().union(*_ran_in(inner))
    return certain, possible - certain


def _tolerates(shape: Parallel) -> bool:
    return bool(shape.tolerated_failure_count or shape.tolerated_failure_percentage)


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

    def of(self, spot: Spot) -> Iterator[Found]:
        yield from self._of_fields(spot.step)
        yield from self._of_expressions(spot)
        yield from _never_runs(spot)
        yield from self._cases_of_failure(spot.step)
        yield from _of_joins(spot.step)
        yield from self._of_others(spot.step)
        yield from self._of_rules(spot)
        yield from self._of_people(spot.step)
        yield from self._used_twice(spot)
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
        yield from self._of_policy(step)
        yield from self._of_silence(step)
        yield from self._of_secrets(step)
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

    # People and programs

    def _of_people(self, step: Step) -> Iterator[Found]:
        members = self.facts.members
        works_for_itself = step.kind is StepKind.SERVICE and step.call is not None
        if members is None or works_for_itself:
            return
        if step.kind is StepKind.GOVERNANCE and not step.role:
            yield from self._of_review(step, members)
        if not step.role:
            return
        have = members.get(step.role)
        if have is None:
            message = f"Role {step.role} does not exist: publishing makes it, without members."
            yield Found("role_missing", ("role",), message, f"Give {step.role} members: Roles, in the admin.")
        elif not have:
            message = f"Role {step.role} has no members: its tasks will wait."
            yield Found("role_without_members", ("role",), message, f"Give {step.role} members: Users, in the admin.")
        elif step.kind is StepKind.HUMAN:
            yield from self._of_approval(step, have, members)

    def _of_review(self, step: Step, members: Mapping[str, frozenset[int]]) -> Iterator[Found]:
        role = self.facts.review_role
        if role and not members.get(role):
            message = (
                f"Role {role} has no members: nobody could be asked where a rule of {shown(step.id)} wants a person."
            )
            remedy = f"Give {role} members: Users, in the admin. Or name another `role`."
            yield Found("role_without_members", ("role",), message, remedy)

    def _of_policy(self, step: Step) -> Iterator[Found]:
        """A rule on who decides that would not be kept is worse than none."""
        reader = self.facts.policies
        if reader is None or step.policy is None:
            return
        flaws = reader.flaws(step.policy)
        for flaw in flaws:
            yield Found("bad_policy", ("policy", *flaw.at), flaw.message, flaw.remedy)
        if not flaws and reader.needs(step.policy, step.role) is None:
            message = f"No policy {shown(step.policy.get('use'))} is published."
            yield Found("no_such_policy", ("policy", "use"), message, "Publish it in the admin, under Policies.")

    def _of_silence(self, step: Step) -> Iterator[Found]:
        """A policy that takes silence for consent where the engine does not: unanswered, it would expire instead."""
        reader = self.facts.policies
        if reader is None or not step.policy or reader.flaws(step.policy):
            return
        at = reader.silence(step.policy, step.role)
        why = why_silence_approves_nothing(step.severity, step.form, self.definition.walk()) if at is not None else ""
        if at is not None and why:
            message = f"Silence approves nothing at {shown(step.id)}: {why}. Unanswered, it would expire."
            remedy = "Write `on_timeout: expire`, `reject` or `reroute`: then it happens as it is written."
            yield Found("silence_approves_nothing", ("policy", *at), message, remedy)

    def _of_secrets(self, step: Step) -> Iterator[Found]:
        if self.facts.takes_secrets is False and holds_secret(step.form):
            message = f"The step {shown(step.id)} asks for a secret, and there is no key ring to keep it under."
            remedy = "The operator sets SECRETS_KEYS. Until then the step cannot be answered."
            yield Found("no_key_ring", ("form",), message, remedy)

    def _used_twice(self, spot: Spot) -> Iterator[Found]:
        """Each secret is handed out once; a second call of our worker that names it is refused."""
        mine = self._secrets_used(spot.step)
        before = spot.scene.certain | spot.scene.possible
        for other in self.definition.walk() if mine else ():
            for asked, name in sorted(mine & self._secrets_used(other) if other.id in before else ()):
                message = (
                    f"The secret {shown(name)} of {shown(asked)} is handed out once, and {shown(other.id)} uses it."
                )
                yield Found("secret_used_twice", ("input",), message, "Let one call do it, or ask for it again.")

    def _secrets_used(self, step: Step) -> frozenset[tuple[str, str]]:
        """(step that asks, field) of what our worker opens for this one."""
        if step.kind is not StepKind.SERVICE or step.call is None:
            return frozenset()
        return frozenset(
            (step_id, name)
            for _, text in _texts(step.input)
            for step_id in expressions.steps_in(text)
            for name in _secrets_of(self.definition, step_id)
            if re.search(rf"""\.\s*{re.escape(name)}\b|\[\s*["']{re.escape(name)}["']\s*\]""", text)
        )

    def _needed(self, step: Step) -> Sequence[Needed]:
        """Who must approve more than once, or is of another role than the step's."""
        reader = self.facts.policies
        if reader is None or not step.policy or reader.flaws(step.policy):
            return ()
        needs = reader.needs(step.policy, step.role) or ()
        return [need for need in needs if need.approvals > 1 or need.role != step.role]

    def _of_approval(self, step: Step, have: frozenset[int], members: Mapping[str, frozenset[int]]) -> Iterator[Found]:
        policy = step.policy or {}
        for need in self._needed(step):
            able = have if need.role == step.role else members.get(need.role, frozenset())
            if need.approvals > len(able):
                has = _counted(len(able), "member")
                message = f"{need.approvals} approvals are wanted of {need.role}, which has {has}."
                yield Found("too_few_people", ("policy", *need.at), message, "Ask for fewer, or add members.")
        given = policy.get("distinct_from_steps")
        for name in given if isinstance(given, list) else ():
            place = self.definition.places.get(name) if isinstance(name, str) else None
            if place is None:
                message = f"No step is called {shown(name)}."
                remedy = did_you_mean(str(name), self.definition.places) or "Name a step of this playbook."
                yield Found("no_such_step", ("policy", "distinct_from_steps"), message, remedy)
            elif have <= members.get(place.step.role, frozenset()) and len(have) == 1:
                message = f"The one member of {step.role} also does {shown(name)}, and may then not decide here."
                remedy = f"Give {step.role} more members."
                yield Found("nobody_left", ("policy", "distinct_from_steps"), message, remedy)

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


def _secrets_of(definition: Definition, step_id: str) -> frozenset[str]:
    """Names of the secret fields that a step's form asks for."""
    place = definition.places.get(step_id)
    form = place.step.form if place is not None else None
    return secret_names(form, form.get("properties", {})) if form else frozenset()


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
        message = f"`join` waits for {step.shape.join} of {_counted(count, 'branch')}."
        yield Found("join_cannot_be_met", ("join",), message, "Wait for fewer, or write `ALL`.")
    tolerated = step.shape.tolerated_failure_count
    if tolerated is not None and tolerated > count:
        message = f"{tolerated} failures are tolerated of {_counted(count, 'branch')}."
        yield Found("join_cannot_be_met", ("tolerated_failure_count",), message, f"Tolerate at most {count}.")


def _may_end_failed(step: Step) -> bool:
    """Whether a failure of the step, or of one inside it, reaches what is around it."""
    if step.on_failure != "FAIL_RUN" and step.on_reject != "FAIL_RUN":
        return False
    if step.branches:
        return any(_may_end_failed(inner) for branch in step.branches for inner in branch.steps)
    return not (isinstance(step.shape, Wait) and not step.shape.signal)


def _counted(number: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("ch") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"
