# SPDX-License-Identifier: Apache-2.0
"""Policies as people write them, in a playbook's step or as an object of their own, become frozen values.

    stages:
      - name: legal
        rules:
          - {role: "human:legal", approvals: 1}
          - {role: "human:finance", percent: 50}
    hold: 10m
    reasons: {on_approve_from: high, codes: {incomplete: "The file is incomplete"}}

The short form of a step, `{required_approvals: 2, forbid_self_approval: true}`, is one stage with one rule for the
role of the step. `use: fees` takes the newest published version of a policy object; what is written beside it wins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, ValidationError

from accounts.models import KIND_OF_ROLE, Kind, is_role
from approvals.policy import (
    ASSURANCE,
    NONE,
    SESSION,
    SEVERITIES,
    BreakGlass,
    Edits,
    Policy,
    Reasons,
    Rule,
    Stage,
)
from config.errors import Invalid, Problem, Unparseable
from playbooks import complaints, durations, schema, source
from playbooks.places import Flaw, Flawed, path_text, shown
from playbooks.source import MAX_PROBLEMS

MAX_STAGES, MAX_RULES, MAX_PEOPLE, MAX_CODES = 10, 20, 50, 30
MAX_HOLD_SECONDS = 7 * 86_400
CONSTRAINTS = ("ceiling", "allowed", "not_after", "uses")
Level = Literal["low", "medium", "high", "critical"]


class PolicyInvalid(Invalid):
    """This is no policy."""

    code = "invalid_policy"


# The format -----------------------------------------------------------------------------------------------


def _people(role: str) -> str:
    if not is_role(role) or KIND_OF_ROLE[role.partition(":")[0]] != Kind.HUMAN:
        raise Flawed(
            Flaw((), f"{shown(role)} is no role of people.", "People decide: write a role such as human:legal.")
        )
    return role


def _span(value: float | str) -> int:
    found = durations.seconds(value) if isinstance(value, str) else value
    if not 0 <= found <= durations.MAX_SECONDS:
        raise Flawed(Flaw((), f"{shown(value)} is out of range.", durations.REMEDY))
    return int(found)


def _hold(value: float | str) -> int:
    found = _span(value)
    if found > MAX_HOLD_SECONDS:
        raise Flawed(Flaw((), "A hold is seven days at most.", "Write a shorter one, such as `10m`."))
    return found


def _permission(name: str) -> str:
    if name.count(".") != 1:
        raise Flawed(Flaw((), f"{shown(name)} is no permission.", "Write it as runs.control."))
    return name


Role = Annotated[str, Field(max_length=110), AfterValidator(_people)]
Span = Annotated[int | float | str, AfterValidator(_span)]
Name = Annotated[str, Field(min_length=1, max_length=150)]


class RulePart(schema.Part):
    """So many people out of these."""

    role: Annotated[Role | None, Field(description="Members of this role.", examples=["human:legal"])] = None
    users: Annotated[
        list[Name] | None, Field(max_length=MAX_PEOPLE, description="These people, by user name.", examples=[["ana"]])
    ] = None
    permission: Annotated[
        Annotated[str, AfterValidator(_permission)] | None,
        Field(description="People with this permission.", examples=["runs.control"]),
    ] = None
    approvals: Annotated[int | None, Field(ge=1, le=100, description="How many of them must approve.")] = None
    percent: Annotated[int | None, Field(ge=1, le=100, description="What share of them must approve.")] = None
    rejections: Annotated[int | None, Field(ge=1, le=100, description="How many rejections end it; 1 is a veto.")] = (
        None
    )
    exclusive: Annotated[bool | None, Field(description="Whoever counts here counts for no other such rule.")] = None


class StagePart(schema.Part):
    """Rules that must all be satisfied before the next stage begins."""

    name: Annotated[Name | None, Field(description="What people read.")] = None
    rules: Annotated[list[RulePart], Field(min_length=1, max_length=MAX_RULES, description="The rules.")]


class ReasonsPart(schema.Part):
    """Which votes must say why."""

    on_reject: Annotated[bool | None, Field(description="A rejection says why, in words.")] = None
    on_approve_from: Annotated[Level | None, Field(description="From this severity on, an approval does too.")] = None
    codes: Annotated[
        dict[schema.Key, Name] | None,
        Field(max_length=MAX_CODES, description="A rejection names one of these.", examples=[{"late": "Too late"}]),
    ] = None


class BreakGlassPart(schema.Part):
    """Who may decide alone in an emergency."""

    role: Annotated[Role, Field(description="Who may.", examples=["human:duty_officer"])]
    review_role: Annotated[Role, Field(description="Who reviews it afterwards.", examples=["human:audit"])]
    review_within: Annotated[Span | None, Field(description="Until when, as `1d`.", examples=["1d"])] = None


class EditsPart(schema.Part):
    """Whether deciders may change what is asked."""

    allowed: Annotated[bool | None, Field(description="They may.")] = None
    narrowing: Annotated[
        dict[Name, Literal["down", "subset"]] | None,
        Field(
            max_length=MAX_CODES,
            description="Changes that keep the votes: a number that falls, a list that loses items.",
            examples=[{"input.amount": "down"}],
        ),
    ] = None


def _assurance_noun(value: Any) -> str:
    return "assurance by severity" if isinstance(value, Mapping) else "assurance word"


Assurance = Annotated[
    Annotated[Literal["link", "session", "step_up"], Tag("assurance word")]
    | Annotated[dict[Level, Literal["link", "session", "step_up"]], Tag("assurance by severity")],
    Discriminator(_assurance_noun),
]


class PolicyPart(schema.Part):
    """Who may decide."""

    use: Annotated[schema.Key | None, Field(description="The policy object to start from.", examples=["fees"])] = None
    stages: Annotated[
        list[StagePart] | None, Field(min_length=1, max_length=MAX_STAGES, description="Stages, in order.")
    ] = None
    required_approvals: Annotated[
        int | None, Field(ge=1, le=100, description="How many of the step's role must approve.", examples=[2])
    ] = None
    distinct_from_steps: Annotated[
        list[Name] | None, Field(max_length=100, description="Who did one of these steps may not decide.")
    ] = None
    forbid_self_approval: Annotated[bool | None, Field(description="Makers may not decide: four eyes.")] = None
    reject_needs_reason: Annotated[bool | None, Field(description="A rejection says why.")] = None
    reasons: Annotated[ReasonsPart | None, Field(description="Which votes must say why.")] = None
    assurance: Annotated[
        Assurance | None, Field(description="How sure it must be who votes.", examples=["step_up"])
    ] = None
    hold: Annotated[
        Annotated[int | float | str, AfterValidator(_hold)] | None,
        Field(description="Time to take an approval back before it has effect.", examples=["10m"]),
    ] = None
    blind: Annotated[bool | None, Field(description="Nobody sees another's vote before their own.")] = None
    constraints: Annotated[
        list[Literal["ceiling", "allowed", "not_after", "uses"]] | None,
        Field(max_length=len(CONSTRAINTS), description="What an approver may narrow.", examples=[["ceiling"]]),
    ] = None
    break_glass: Annotated[BreakGlassPart | None, Field(description="Who may decide alone in an emergency.")] = None
    edits: Annotated[EditsPart | None, Field(description="Whether deciders may change what is asked.")] = None
    time: Annotated[dict[str, Any] | None, Field(description="Deadlines, reminders, escalation.")] = None
    notify: Annotated[dict[str, Any] | None, Field(description="How people are told.")] = None


POLICY = complaints.Format(
    root=PolicyPart,
    nouns={
        PolicyPart: "a policy", StagePart: "a stage", RulePart: "a rule", ReasonsPart: "the reasons",
        BreakGlassPart: "the emergency", EditsPart: "the edits",
    },
    parts={
        "stages": StagePart, "rules": RulePart, "reasons": ReasonsPart, "break_glass": BreakGlassPart,
        "edits": EditsPart,
    },
    tags=frozenset({"assurance word", "assurance by severity"}),
    other_words={"count": "approvals", "quorum": "approvals", "four_eyes": "forbid_self_approval"},
)  # fmt: skip


# Reading --------------------------------------------------------------------------------------------------

Named = Callable[[str], tuple[Mapping[str, Any], int] | None]
"""A policy object's published document and its version, by name."""

Complaint = Callable[[Mapping[str, Any]], Iterator[Flaw]]
_sections: dict[str, Complaint] = {}


def register_section(name: str, complaints_of: Complaint) -> None:
    """Let whoever reads `time` or `notify` say what is wrong with it, with places counted from that section."""
    _sections[name] = complaints_of


def flaws(document: Mapping[str, Any]) -> list[Flaw]:
    """All that is wrong with a written policy by itself, with where."""
    try:
        part = PolicyPart.model_validate(dict(document))
    except ValidationError as fault:
        return list(complaints.flaws(fault, POLICY))
    return list(_odd(part))


def parse(text: str) -> dict[str, Any]:
    """A policy document from JSON or YAML, judged. Raises PolicyInvalid with the lines."""
    try:
        found = source.read(text)
    except Unparseable as fault:
        raise PolicyInvalid(_summary(fault.errors), errors=fault.errors) from fault
    if not isinstance(found.data, dict):
        raise PolicyInvalid("A policy is a mapping.", errors=[Problem("", "not a mapping", "Begin with `stages:`.")])
    problems = [Problem(path_text(f.at), f.message, f.remedy, found.line(f.at)) for f in flaws(found.data)]
    if problems:
        problems = sorted(problems[:MAX_PROBLEMS], key=lambda problem: problem.line or 0)
        raise PolicyInvalid(_summary(problems), errors=problems)
    return found.data


def written(document: Mapping[str, Any] | None, *, role: str, named: Named = lambda name: None) -> Policy:
    """The policy that a judged document says, for a request to `role`. Raises PolicyInvalid for a name without one."""
    given = dict(document or {})
    name, version = given.pop("use", ""), 0
    if name:
        found = named(name)
        if found is None:
            remedy = "Publish it in the admin under Policies, or name another."
            raise PolicyInvalid(
                f"No policy {name!r} is published.", errors=[Problem("policy.use", "not known", remedy)]
            )
        given, version = {**found[0], **given}, found[1]
    part = PolicyPart.model_validate(given)
    return Policy(
        stages=_stages(part, role),
        name=name,
        version=version,
        distinct_from_steps=tuple(part.distinct_from_steps or ()),
        forbid_self_approval=part.forbid_self_approval is not False,
        reasons=_reasons(part),
        assurance=_assurance(part.assurance),
        hold_seconds=_hold(part.hold or 0),
        blind=bool(part.blind),
        constraints=tuple(part.constraints or ()),
        break_glass=_break_glass(part.break_glass),
        edits=Edits(bool(part.edits and part.edits.allowed), dict((part.edits and part.edits.narrowing) or NONE)),
        time=part.time or NONE,
        notify=part.notify or NONE,
    )


def _odd(part: PolicyPart) -> Iterator[Flaw]:
    if part.stages and part.required_approvals is not None:
        yield Flaw(("required_approvals",), "The stages say how many approve.", "Leave one of the two out.")
    for at, rule in (
        (("stages", i, "rules", j), r) for i, s in enumerate(part.stages or ()) for j, r in enumerate(s.rules)
    ):
        if sum(bool(one) for one in (rule.role, rule.users, rule.permission)) > 1:
            yield Flaw(at, "A rule names its people in one way.", "Keep one of role, users, permission.")
        if rule.approvals and rule.percent:
            yield Flaw((*at, "percent"), "A rule counts or takes a share.", "Keep approvals or percent.")
    for name, complaints_of in _sections.items():
        for flaw in complaints_of(getattr(part, name) or {}):
            yield flaw._replace(at=(name, *flaw.at))


def _stages(part: PolicyPart, role: str) -> tuple[Stage, ...]:
    if not part.stages:
        return (Stage((Rule(role=role, approvals=part.required_approvals or 1),)),)
    return tuple(
        Stage(tuple(_rule(rule, f"{i}.{j}", role) for j, rule in enumerate(stage.rules, 1)), stage.name or "")
        for i, stage in enumerate(part.stages, 1)
    )


def _rule(part: RulePart, place: str, role: str) -> Rule:
    names_people = part.role or part.users or part.permission
    return Rule(
        id=place,
        role=part.role or ("" if names_people else role),
        users=tuple(part.users or ()),
        permission=part.permission or "",
        approvals=part.approvals or 1,
        percent=part.percent or 0,
        rejections=part.rejections or 1,
        exclusive=bool(part.exclusive),
    )


def _reasons(part: PolicyPart) -> Reasons:
    given = part.reasons or ReasonsPart()
    on_reject = part.reject_needs_reason if given.on_reject is None else given.on_reject
    return Reasons(on_reject is not False, given.on_approve_from or "", dict(given.codes or NONE))


def _assurance(given: Any) -> Mapping[str, str]:
    if given is None:
        return NONE
    levels = dict.fromkeys(SEVERITIES, given) if isinstance(given, str) else given
    return {severity: level for severity, level in levels.items() if level != SESSION}


def _break_glass(part: BreakGlassPart | None) -> BreakGlass | None:
    if part is None:
        return None
    within = _span(part.review_within) if part.review_within is not None else 86_400
    return BreakGlass(part.role, part.review_role, within)


def _summary(problems: Sequence[Problem]) -> str:
    first, *others = problems
    where = ", ".join(part for part in (first.path, f"line {first.line}" if first.line else "") if part)
    more = f" And {len(others)} more." if others else ""
    return f"The policy cannot be used. {f'At {where}: ' if where else ''}{first.message}{more}"


# Frozen ---------------------------------------------------------------------------------------------------


def as_json(policy: Policy) -> dict[str, Any]:
    """What a request keeps: everything that differs from the default, so that most are a line."""
    said: dict[str, Any] = {"stages": [_stage_json(stage) for stage in policy.stages]}
    if policy.name:
        said |= {"use": policy.name, "version": policy.version}
    if not policy.forbid_self_approval:
        said["forbid_self_approval"] = False
    for name in ("distinct_from_steps", "constraints"):
        if getattr(policy, name):
            said[name] = list(getattr(policy, name))
    for name in ("assurance", "time", "notify"):
        if getattr(policy, name):
            said[name] = dict(getattr(policy, name))
    if policy.reasons != Reasons():
        reasons = policy.reasons
        said["reasons"] = {
            "on_reject": reasons.on_reject, "on_approve_from": reasons.on_approve_from, "codes": dict(reasons.codes)
        }  # fmt: skip
    if policy.hold_seconds:
        said["hold_seconds"] = policy.hold_seconds
    if policy.blind:
        said["blind"] = True
    if policy.break_glass is not None:
        glass = policy.break_glass
        said["break_glass"] = {
            "role": glass.role, "review_role": glass.review_role, "review_within_seconds": glass.review_within_seconds
        }  # fmt: skip
    if policy.edits != Edits():
        said["edits"] = {"allowed": policy.edits.allowed, "narrowing": dict(policy.edits.narrowing)}
    return said


def _stage_json(stage: Stage) -> dict[str, Any]:
    rules = [_rule_json(rule) for rule in stage.rules]
    return {"name": stage.name, "rules": rules} if stage.name else {"rules": rules}


def _rule_json(rule: Rule) -> dict[str, Any]:
    default = Rule()
    said = {name: getattr(rule, name) for name in Rule.__slots__}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in said.items()
        if name == "id" or value != getattr(default, name)
    }


def read(stored: Mapping[str, Any]) -> Policy:
    """From what a request keeps. Requests of the first release keep the short form."""
    if "stages" not in stored:
        return _read_short(stored)
    stages = tuple(
        Stage(tuple(Rule(**{**rule, "users": tuple(rule.get("users", ()))}) for rule in s["rules"]), s.get("name", ""))
        for s in stored["stages"]
    )
    reasons, glass, edits = stored.get("reasons"), stored.get("break_glass"), stored.get("edits")
    return Policy(
        stages=stages,
        name=stored.get("use", ""),
        version=stored.get("version", 0),
        distinct_from_steps=tuple(stored.get("distinct_from_steps", ())),
        forbid_self_approval=stored.get("forbid_self_approval", True),
        reasons=Reasons(**reasons) if reasons else Reasons(),
        assurance=stored.get("assurance", NONE),
        hold_seconds=stored.get("hold_seconds", 0),
        blind=stored.get("blind", False),
        constraints=tuple(stored.get("constraints", ())),
        break_glass=BreakGlass(**glass) if glass else None,
        edits=Edits(**edits) if edits else Edits(),
        time=stored.get("time", NONE),
        notify=stored.get("notify", NONE),
    )


def _read_short(stored: Mapping[str, Any]) -> Policy:
    return Policy(
        stages=(Stage((Rule(role=stored.get("role", ""), approvals=stored.get("required_approvals", 1)),)),),
        distinct_from_steps=tuple(stored.get("distinct_from_steps", ())),
        forbid_self_approval=stored.get("forbid_self_approval", True),
        reasons=Reasons(on_reject=stored.get("reject_needs_reason", True)),
    )


assert {"link", "session", "step_up"} == set(ASSURANCE), "the words of the format are those of the rules"
