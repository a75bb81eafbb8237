# SPDX-License-Identifier: Apache-2.0
"""Rules as people write them, JSON or YAML, become frozen values, or an answer that names every fault found.

    rules:
      - id: no-small-groups
        title: No group is so small that people in it could be recognised
        when: data.AnalyzeData.smallest_group < 10
        result: FAIL
        because: A group of fewer than ten people would be shown.
        evidence: [data.AnalyzeData.smallest_group]

A rule fires where `when` is true. What a governance step makes of that is in `playbooks/governance.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import rfc8785
from pydantic import AfterValidator, Discriminator, Field, Tag, ValidationError

from config.errors import Invalid, Problem, Unparseable
from playbooks import complaints, expressions, schema, source
from playbooks.places import Flaw, Flawed, Path, did_you_mean, listed, path_text, shown
from playbooks.source import MAX_PROBLEMS, Source

FAIL, ASK_HUMAN, PASS = "FAIL", "ASK_HUMAN", "PASS"
NAMES = ("payload", "data", "steps", "run", "input", "text")
"""What an expression of a rule may read; `governance.names` says what each one holds."""

MAX_RULES = 100
MAX_EVIDENCE = 20


@dataclass(frozen=True, slots=True)
class Rule:
    id: str
    when: str
    result: Literal["FAIL", "ASK_HUMAN"]
    because: str  # a sentence for people
    title: str = ""
    evidence: Mapping[str, str] = field(default_factory=dict)  # name → expression, kept when it fires


class RulesInvalid(Invalid):
    """These are not rules."""

    code = "invalid_rules"


def parse(text: str | bytes) -> tuple[Rule, ...]:
    """From text: a mapping with `rules`, or the bare list. Raises RulesInvalid."""
    try:
        return _parsed(source.read(text))
    except Unparseable as fault:
        raise RulesInvalid(_summary(fault.errors), errors=fault.errors) from fault


def parse_data(data: Any) -> tuple[Rule, ...]:
    """The same from data that is parsed already. Raises RulesInvalid."""
    try:
        return _parsed(source.check(data))
    except Unparseable as fault:
        raise RulesInvalid(_summary(fault.errors), errors=fault.errors) from fault


def of_stored(rules: Iterable[Mapping[str, Any]]) -> tuple[Rule, ...]:
    """From what `as_json` gave, which has been judged before."""
    return tuple(Rule(**rule) for rule in rules)


def as_json(rules: Iterable[Rule]) -> list[dict[str, Any]]:
    """The normal form: what is left out is written out, so that equal rules have one digest."""
    return [
        {"id": rule.id, "title": rule.title, "when": rule.when, "result": rule.result, "because": rule.because}
        | {"evidence": dict(rule.evidence)}
        for rule in rules
    ]


def digest(rules: Iterable[Rule]) -> str:
    """SHA-256 of the normal form, as RFC 8785 writes it down; hexadecimal."""
    return hashlib.sha256(rfc8785.dumps({"rules": as_json(rules)})).hexdigest()


# --- The format -----------------------------------------------------------------------------------


def _expression(text: str) -> str:
    try:
        expressions.check(text)
    except expressions.BadExpression as bad:
        raise Flawed(Flaw((), bad.message, bad.remedy))
    for name in sorted(expressions.names_in(text) - set(NAMES)):
        remedy = did_you_mean(name, NAMES) or f"A rule reads {listed(NAMES)}."
        raise Flawed(Flaw((), f"The name {shown(name)} is not known to rules.", remedy))
    return text


def _evidence_noun(value: Any) -> str:
    return "evidence by name" if isinstance(value, Mapping) else "list of evidence"


Expression = Annotated[str, Field(min_length=1, max_length=expressions.MAX_CHARACTERS), AfterValidator(_expression)]
Evidence = Annotated[
    Annotated[dict[str, Expression], Field(max_length=MAX_EVIDENCE), Tag("evidence by name")]
    | Annotated[list[Expression], Field(max_length=MAX_EVIDENCE), Tag("list of evidence")],
    Discriminator(_evidence_noun),
]


class RulePart(schema.Part):
    """One rule."""

    id: Annotated[schema.Key, Field(description="Unique in the rule set.", examples=["no-small-groups"])]
    title: Annotated[schema.Title | None, Field(description="What people read instead of the id.")] = None
    when: Annotated[
        Expression,
        Field(description="A CEL condition: the rule fires where it is true.", examples=["data.Analyze.smallest < 10"]),
    ]
    result: Annotated[
        Literal["FAIL", "ASK_HUMAN"], Field(description="FAIL ends the step; ASK_HUMAN lets a person decide.")
    ]
    because: Annotated[
        str,
        Field(
            min_length=1,
            max_length=1000,
            description="The sentence shown to people.",
            examples=["A group of fewer than ten people would be shown."],
        ),
    ]
    evidence: Annotated[
        Evidence | None,
        Field(description="CEL expressions whose values are kept when it fires.", examples=[["data.Analyze.smallest"]]),
    ] = None


class RulesPart(schema.Part):
    """The rules of a rule set."""

    rules: Annotated[list[RulePart], Field(min_length=1, max_length=MAX_RULES, description="The rules.")]


RULES = complaints.Format(
    root=RulesPart,
    nouns={RulesPart: "a set of rules", RulePart: "a rule"},
    parts={"rules": RulePart},
    tags=frozenset({"evidence by name", "list of evidence"}),
    other_words={"if": "when", "condition": "when", "reason": "because", "message": "because", "name": "id"},
)


def _parsed(found: Source) -> tuple[Rule, ...]:
    shift: Path = ()
    data = found.data
    if isinstance(data, list):
        data, shift = {"rules": data}, ("rules",)
    if not isinstance(data, dict):
        remedy = "Begin with `rules:` and a list of rules below it."
        raise _invalid([Problem("", f"Rules are a list, not {shown(data)}.", remedy, found.line(()))])
    try:
        model = RulesPart.model_validate(data)
    except ValidationError as fault:
        raise _invalid(_problems(found, complaints.flaws(fault, RULES), shift)) from fault
    if flaws := list(_repeated(model)):
        raise _invalid(_problems(found, flaws, shift))
    return tuple(_rule(part) for part in model.rules)


def _repeated(model: RulesPart) -> Iterator[Flaw]:
    seen: set[str] = set()
    for position, part in enumerate(model.rules):
        if part.id in seen:
            message = f"The id {shown(part.id)} is used twice."
            yield Flaw(("rules", position, "id"), message, "Give each rule its own id.")
        seen.add(part.id)


def _rule(part: RulePart) -> Rule:
    evidence = part.evidence or {}
    named = dict(evidence) if isinstance(evidence, Mapping) else {text: text for text in evidence}
    return Rule(part.id, part.when, part.result, part.because, part.title or "", named)


def _problems(found: Source, flaws: Iterable[Flaw], shift: Path) -> list[Problem]:
    """Each with its place; a bare list has no `rules` around it, whose lines are those of the list itself."""
    unique = {(flaw.at, flaw.message): flaw for flaw in flaws}
    problems = [
        Problem(path_text(flaw.at), flaw.message, flaw.remedy, found.line(flaw.at[len(shift) :]))
        for flaw in list(unique.values())[:MAX_PROBLEMS]
    ]
    return sorted(problems, key=lambda problem: problem.line or 0)


def _invalid(problems: list[Problem]) -> RulesInvalid:
    return RulesInvalid(_summary(problems), errors=problems)


def _summary(problems: Iterable[Problem]) -> str:
    first, *others = problems
    where = ", ".join(part for part in (first.path, f"line {first.line}" if first.line else "") if part)
    more = f" And {len(others)} more." if others else ""
    return f"The rules cannot be used. {f'At {where}: ' if where else ''}{first.message}{more}"
