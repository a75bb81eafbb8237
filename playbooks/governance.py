# SPDX-License-Identifier: Apache-2.0
"""Holding what a run has come to against rules: (rule sets, names) → a finding. Pure, so that it can be simulated.

FAIL beats ASK_HUMAN beats PASS. It fails closed: a rule whose condition has no value counts as fired with FAIL, and
the finding says which expression, where, and what was there; so does a check without any rules.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from playbooks import expressions
from playbooks.expressions import Unevaluable
from playbooks.normal import digest
from playbooks.rules import ASK_HUMAN, FAIL, PASS, Rule

MAX_EVIDENCE_CHARACTERS = 4000  # of one value as JSON; a longer one is kept as its digest


@dataclass(frozen=True, slots=True)
class Checked:
    """A published version of a rule set, as it was held against a run."""

    slug: str
    title: str
    concern: str
    number: int
    digest: str
    rules: tuple[Rule, ...]

    @property
    def name(self) -> str:
        return f"{self.slug}@{self.number}"


@dataclass(frozen=True, slots=True)
class Fired:
    rule_set: str
    version: int
    sha256: str
    concern: str
    rule: str
    title: str
    result: str
    because: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    fault: str = ""  # why the rule had no value; it failed because of that


@dataclass(frozen=True, slots=True)
class Finding:
    result: str  # PASS, FAIL or ASK_HUMAN
    fired: tuple[Fired, ...]
    checked: tuple[Checked, ...]

    @property
    def because(self) -> str:
        """In a line or a few, for people: why it did not pass."""
        return "\n".join(f"{fired.rule_set}, {fired.title or fired.rule}: {fired.because}" for fired in self.fired)

    def rule_sets(self) -> list[dict[str, Any]]:
        """What was checked, in words, numbers and digests."""
        return [{"rule_set": each.slug, "version": each.number, "sha256": each.digest} for each in self.checked]

    def fired_rules(self) -> list[str]:
        return [f"{fired.rule_set}@{fired.version}/{fired.rule}" for fired in self.fired]

    def as_json(self) -> dict[str, Any]:
        checked = [
            {**told, "concern": each.concern, "rules": len(each.rules)}
            for told, each in zip(self.rule_sets(), self.checked, strict=True)
        ]
        return {"result": self.result, "fired": [_told(fired) for fired in self.fired], "checked": checked}


def names(
    *,
    payload: Mapping[str, Any],
    data: Mapping[str, Any],
    steps: Mapping[str, Any],
    run: Mapping[str, Any],
    input: Mapping[str, Any],
    mapped: bool,
) -> dict[str, Any]:
    """What the expressions of rules read.

    `text` is all text in what is checked, however deep, a line each: in the step's `input` where it is mapped, else in
    the outputs of earlier steps; so a rule can look for what must stand nowhere. It is one text, because an expression
    is compiled anew for each text that it is held against.
    """
    text = "\n".join(_texts(input if mapped else data))
    return {"payload": payload, "data": data, "steps": steps, "run": run, "input": input, "text": text}


def check(rule_sets: Sequence[Checked], known: Mapping[str, Any], missing: Sequence[str] = ()) -> Finding:
    """`missing` are the rule sets that were to be checked and of which nothing is published."""
    absent = list(missing) if rule_sets or missing else ["the default layer"]
    fired = (*(_not_there(name) for name in absent), *_fired_of(rule_sets, known))
    results = {each.result for each in fired}
    result = FAIL if FAIL in results else ASK_HUMAN if ASK_HUMAN in results else PASS
    return Finding(result, fired, tuple(rule_sets))


def _not_there(name: str) -> Fired:
    because = "Its rules are not there to be checked, so nothing vouches for this."
    return Fired(name, 0, "", "compliance", "no-rules", "", FAIL, because, fault=f"{name} has no published rules")


def _fired_of(rule_sets: Sequence[Checked], known: Mapping[str, Any]) -> Iterator[Fired]:
    for rule_set in rule_sets:
        for rule in rule_set.rules:
            fired = _judged(rule_set, rule, known)
            if fired is not None:
                yield fired


def _judged(rule_set: Checked, rule: Rule, known: Mapping[str, Any]) -> Fired | None:
    at = f"{rule_set.name}/{rule.id}"
    of = (rule_set.slug, rule_set.number, rule_set.digest, rule_set.concern, rule.id, rule.title)
    try:
        holds = expressions.evaluate(rule.when, known, at=at)
        if not isinstance(holds, bool):
            raise Unevaluable(f"`{rule.when}` at {at} is neither true nor false.")
    except Unevaluable as fault:
        because = f"The rule could not be judged, so it counts as broken. {rule.because}"
        return Fired(*of, FAIL, because, fault=str(fault))
    return Fired(*of, rule.result, rule.because, _evidence(rule, known, at)) if holds else None


def _evidence(rule: Rule, known: Mapping[str, Any], at: str) -> dict[str, Any]:
    kept = {}
    for name, text in rule.evidence.items():
        try:
            value = expressions.as_data(expressions.evaluate(text, known, at=at), text=text, at=at)
        except Unevaluable as fault:
            value = {"no_value": str(fault)}
        kept[name] = _bounded(value)
    return kept


def _bounded(value: Any) -> Any:
    length = len(json.dumps(value))
    return value if length <= MAX_EVIDENCE_CHARACTERS else {"characters": length, "sha256": digest({"value": value})}


def _told(fired: Fired) -> dict[str, Any]:
    told = asdict(fired)
    return told if fired.fault else {name: value for name, value in told.items() if name != "fault"}


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case Mapping():
            for key, each in value.items():
                yield key
                yield from _texts(each)
        case list() | tuple():
            for each in value:
                yield from _texts(each)
