# SPDX-License-Identifier: Apache-2.0
"""Who may decide, and what votes add up to: pure functions of the frozen policy, the people and their votes.

A policy is stages in order; a stage is satisfied when every one of its rules has the approvals it wants; the first
rule whose rejections are reached ends the request rejected. It is frozen into each request when that is made, and
its people are checked live, when they vote. Its written form is read by `approvals/policy_document.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from approvals.lending import Grant

SEVERITIES = ("low", "medium", "high", "critical")  # the harm if wrong, rising
SESSION, STEP_UP = "session", "step_up"
ASSURANCE = ("link", SESSION, STEP_UP)  # how sure we are who votes, rising
NONE: Mapping[Any, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Rule:
    """So many people out of these. `id` is its place, `1.2`: the second rule of the first stage."""

    id: str = "1.1"
    role: str = ""
    users: tuple[str, ...] = ()  # user names
    permission: str = ""  # app.codename
    approvals: int = 1
    percent: int = 0  # of those who may; turned into `approvals` when the policy is frozen
    rejections: int = 1  # so many end it; the default is a veto of each
    exclusive: bool = False  # whoever is counted here is not counted for another exclusive rule

    @property
    def whom(self) -> str:
        return self.role or self.permission or ", ".join(self.users)

    def admits(self, person: Person) -> bool:
        return (
            (bool(self.role) and self.role in person.roles)
            or person.name in self.users
            or (bool(self.permission) and self.permission in person.permissions)
        )


@dataclass(frozen=True, slots=True)
class Stage:
    rules: tuple[Rule, ...]
    name: str = ""


@dataclass(frozen=True, slots=True)
class Reasons:
    """Which votes must say why, in words or by a code."""

    on_reject: bool = True
    on_approve_from: str = ""  # a severity; "": never
    codes: Mapping[str, str] = field(default_factory=dict)  # code → label; a rejection names one, if there are any


@dataclass(frozen=True, slots=True)
class BreakGlass:
    """Who may decide alone in an emergency: loud, recorded, and reviewed afterwards."""

    role: str
    review_role: str
    review_within_seconds: int = 86_400


@dataclass(frozen=True, slots=True)
class Edits:
    """Whether deciders may change what is asked. Whoever does becomes a maker, unless the change only narrows."""

    allowed: bool = False
    narrowing: Mapping[str, str] = field(default_factory=dict)  # dotted field → down (a number may only fall) or subset


@dataclass(frozen=True, slots=True)
class Policy:
    stages: tuple[Stage, ...]
    name: str = ""  # of the policy object it was frozen from, with its version
    version: int = 0
    distinct_from_steps: tuple[str, ...] = ()  # who did or decided one of these steps of the run may not decide
    forbid_self_approval: bool = True  # four eyes: makers of what is asked may not decide
    reasons: Reasons = Reasons()
    assurance: Mapping[str, str] = field(default_factory=dict)  # severity → the least assurance; others: session
    hold_seconds: int = 0  # between an approval and what follows, in which it can be taken back
    blind: bool = False  # nobody sees another's vote before their own
    constraints: tuple[str, ...] = ()  # what an approver may narrow: ceiling, allowed, not_after, uses
    break_glass: BreakGlass | None = None
    edits: Edits = Edits()
    time: Mapping[str, Any] = field(default_factory=dict)  # read by `approvals/times.py`
    notify: Mapping[str, Any] = field(default_factory=dict)  # read by `approvals/notify.py`

    @property
    def is_simple(self) -> bool:
        """One approval of one kind of people decides it."""
        return len(self.stages) == 1 and len(self.stages[0].rules) == 1 and self.stages[0].rules[0].approvals == 1

    @property
    def rules(self) -> Iterator[Rule]:
        return (rule for stage in self.stages for rule in stage.rules)

    @property
    def roles(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(rule.role for rule in self.rules if rule.role))

    @property
    def votes_wanted(self) -> int:
        """At least so many people decide."""
        return sum(max(rule.approvals for rule in stage.rules) for stage in self.stages)

    def assurance_for(self, severity: str) -> str:
        return self.assurance.get(severity, SESSION)


@dataclass(frozen=True, slots=True)
class Person:
    """What counts of a voter, read when they vote."""

    id: int
    kind: str
    active: bool
    roles: frozenset[str]
    name: str = ""
    permissions: frozenset[str] = frozenset()
    grants: tuple[Grant, ...] = ()  # by which they lend their right, or borrow somebody's, at any time


@dataclass(frozen=True, slots=True)
class Cast:
    """A vote on the current revision."""

    voter: int
    stage: int
    outcome: str
    failed: bool
    rules: frozenset[str]  # ids of the rules of its stage that the voter fitted


@dataclass(frozen=True, slots=True)
class Bar:
    """Why a person may not decide. `code` is the refusal's; `reason` is shown on the disabled button."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Missing:
    """A rule of the current stage that waits for `wanted` more approvals."""

    rule: Rule
    wanted: int


@dataclass(frozen=True, slots=True)
class Tally:
    """What the votes add up to. `outcome` is None while more are needed."""

    stage: int
    outcome: str | None = None
    failed: bool = False
    missing: tuple[Missing, ...] = ()
    diverged: bool = False  # blind votes that differ: they are opened, and everybody votes again


# Who ------------------------------------------------------------------------------------------------------


def bar(
    policy: Policy,
    person: Person,
    *,
    stage: int = 0,
    makers: Mapping[int, str] = NONE,
    doers: Mapping[int, str] = NONE,
    voters: Collection[int] = (),
    lent: Collection[str] = (),
) -> Bar | None:
    """None if the person may vote now.

    `makers`: user id → what made them a maker ("started this run"). `doers`: user id → which of the steps that others
    must have done they did. `voters` have voted on this revision already. `lent`: ids of the rules that somebody who
    may decide has delegated to this person.
    """
    if person.kind != "human":
        return Bar("forbidden", "Only people decide; agents and services never do.")
    if not person.active:
        return Bar("forbidden", "This account is not active.")
    if not lent and not any(rule.admits(person) for rule in policy.rules):
        return Bar("role_required", f"Only members of {_either(policy.rules)} may decide this.")
    if policy.forbid_self_approval and person.id in makers:
        return Bar("forbidden", f"You {makers[person.id]}, so somebody else must decide this.")
    if person.id in doers:
        return Bar("forbidden", f"You {doers[person.id]}, and this must be decided by somebody else.")
    if person.id in voters:
        return Bar("forbidden", "You have approved this already. It waits for the approval of somebody else.")
    if not rules_of(policy, person, stage=stage, lent=lent):
        return Bar("forbidden", f"{_either(policy.stages[stage].rules)} must vote first.")
    return None


def rules_of(policy: Policy, person: Person, *, stage: int, lent: Collection[str] = ()) -> tuple[Rule, ...]:
    """The rules of this stage that the person's vote counts for."""
    return tuple(rule for rule in policy.stages[stage].rules if rule.admits(person) or rule.id in lent)


def _either(rules: Iterator[Rule] | Sequence[Rule]) -> str:
    return " or ".join(dict.fromkeys(rule.whom for rule in rules))


# What the votes add up to ---------------------------------------------------------------------------------


def tally(policy: Policy, votes: Sequence[Cast], *, stage: int) -> Tally:
    """Of the votes cast in this stage, and whether the request goes on to the next or is decided."""
    here = [vote for vote in votes if vote.stage == stage]
    rules = policy.stages[stage].rules
    if policy.blind:
        waiting = tuple(_unheard(rules, here))
        if waiting or _is_divided(here):
            return Tally(stage, missing=waiting, diverged=not waiting)
    for rule in rules:
        against = [vote for vote in here if vote.failed and rule.id in vote.rules]
        if len(against) >= rule.rejections:
            return Tally(stage, outcome=against[-1].outcome, failed=True)
    for outcome in dict.fromkeys(vote.outcome for vote in here if not vote.failed):
        if not _missing(rules, here, outcome):
            is_last = stage + 1 == len(policy.stages)
            return Tally(stage, outcome=outcome) if is_last else Tally(stage + 1, missing=_all(policy, stage + 1))
    leading = _leading(here)
    return Tally(stage, missing=_missing(rules, here, leading))


def _is_divided(votes: Sequence[Cast]) -> bool:
    return len({vote.outcome for vote in votes}) > 1


def _unheard(rules: Sequence[Rule], votes: Sequence[Cast]) -> Iterator[Missing]:
    """How many have not voted yet at all."""
    for rule in rules:
        heard = sum(rule.id in vote.rules for vote in votes)
        if heard < rule.approvals:
            yield Missing(rule, rule.approvals - heard)


def _leading(votes: Sequence[Cast]) -> str:
    counted = [vote.outcome for vote in votes if not vote.failed]
    return max(counted, key=counted.count, default="")


def _all(policy: Policy, stage: int) -> tuple[Missing, ...]:
    return tuple(Missing(rule, rule.approvals) for rule in policy.stages[stage].rules)


def _missing(rules: Sequence[Rule], votes: Sequence[Cast], outcome: str) -> tuple[Missing, ...]:
    """What the rules still want, if this outcome is to win."""
    agreeing = [vote for vote in votes if vote.outcome == outcome and not vote.failed]
    seated = _seated([rule for rule in rules if rule.exclusive], agreeing)
    found = []
    for rule in rules:
        have = seated[rule.id] if rule.exclusive else sum(rule.id in vote.rules for vote in agreeing)
        if have < rule.approvals:
            found.append(Missing(rule, rule.approvals - have))
    return tuple(found)


def _seated(rules: Sequence[Rule], votes: Sequence[Cast]) -> dict[str, int]:
    """How many approvals each exclusive rule gets when nobody is counted twice, and as many as can be are counted.

    Kuhn's algorithm on voters and the seats of the rules: there are never more than a few dozen of either.
    """
    seats = [(rule.id, number) for rule in rules for number in range(rule.approvals)]
    taken: dict[tuple[str, int], Cast] = {}

    def sit(vote: Cast, tried: set[tuple[str, int]]) -> bool:
        for seat in seats:
            if seat[0] not in vote.rules or seat in tried:
                continue
            tried.add(seat)
            if seat not in taken or sit(taken[seat], tried):
                taken[seat] = vote
                return True
        return False

    for vote in votes:
        sit(vote, set())
    return {rule.id: sum(seat[0] == rule.id for seat in taken) for rule in rules}


# Whether it can be decided at all -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Eligible:
    """Somebody who could decide when the request was made, by which rules; `barred` says why not, after all."""

    id: int
    name: str
    rules: tuple[str, ...]
    barred: str = ""

    def as_json(self) -> dict[str, Any]:
        said = {"id": self.id, "name": self.name, "rules": list(self.rules)}
        return {**said, "barred": self.barred} if self.barred else said


def with_counts(policy: Policy, eligible: Sequence[Eligible]) -> Policy:
    """Each `percent` as a number of approvals: of those who may decide now, rounded up, and at least one."""
    if not any(rule.percent for rule in policy.rules):
        return policy

    def counted(rule: Rule) -> Rule:
        able = sum(rule.id in person.rules and not person.barred for person in eligible)
        return replace(rule, approvals=max(1, -(-able * rule.percent // 100)), percent=0) if rule.percent else rule

    stages = tuple(replace(stage, rules=tuple(counted(rule) for rule in stage.rules)) for stage in policy.stages)
    return replace(policy, stages=stages)


def unsatisfiable(policy: Policy, eligible: Sequence[Eligible]) -> list[str]:
    """Sentences on the rules that too few people can satisfy, be it that all of them agree."""
    free = [person for person in eligible if not person.barred]
    found = []
    for rule in policy.rules:
        able = sum(rule.id in person.rules for person in free)
        if able < rule.approvals:
            found.append(f"{rule.approvals} of {rule.whom} must approve, and {able} can.")
    if not found and len(free) < policy.votes_wanted:
        found.append(f"{policy.votes_wanted} people must approve, and {len(free)} can.")
    return found
