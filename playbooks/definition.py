# SPDX-License-Identifier: Apache-2.0
"""What a published version says, as frozen values.

A document (JSON or YAML, `playbooks/parse.py`) becomes a `Definition` at the edge; everything inside,
the engine first of all, reads only these values. They are data: no ORM, no clock, no settings.
Durations are seconds. A block is a tuple of steps; composite steps hold blocks. Step ids are unique in a definition,
and no block holds itself, so an id alone says where a step stands (`Definition.places`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal


class StepKind(StrEnum):
    AGENT = "agent"  # a task for an agent:* role, claimed over the API
    HUMAN = "human"  # opens an action request for a human:* role
    SERVICE = "service"  # a catalogued action run by the worker, or a task for an API client of svc:*
    GOVERNANCE = "governance"  # checks rules over the data
    PARALLEL = "parallel"
    FOREACH = "foreach"
    SWITCH = "switch"
    WAIT = "wait"
    PLAYBOOK = "playbook"  # a child run


MAX_NESTING = 8
"""How deep steps may stand in steps; those of the playbook itself are the first level."""

PERFORMED_KINDS = frozenset({StepKind.AGENT, StepKind.HUMAN, StepKind.SERVICE})
"""Kinds that one performer carries out as a task. The others only shape the run."""


@dataclass(frozen=True, slots=True)
class RetryRule:
    """The first rule whose `error_type` equals the fault's decides; `reason` is written to the log."""

    error_type: str
    action: Literal["RETRY", "FAIL", "DEFAULT"]
    delay_seconds: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Temporal's names. `maximum_attempts` counts the first attempt too: 1 = no retry, 0 = no limit."""

    maximum_attempts: int = 4
    initial_interval: float = 1.0
    backoff_coefficient: float = 2.0
    maximum_interval: float | None = None  # None: 100 x initial_interval
    jitter: Literal["none", "full"] = "full"
    non_retryable_error_types: tuple[str, ...] = ()
    rules: tuple[RetryRule, ...] = ()


@dataclass(frozen=True, slots=True)
class Timeouts:
    schedule_to_start: int | None = None
    start_to_close: int | None = None
    schedule_to_close: int | None = None
    heartbeat: int | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """The action a performer is asked to do: `hms_ach.charge` with `{"amount": "40.00", …}`."""

    action: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Option:
    """An outcome a step declares. `ends="fail"`: choosing it is a verdict that ends the run failed."""

    key: str
    label: str
    ends: Literal["", "fail"] = ""


# Steps of steps -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Branch:
    """One block inside a composite step: a parallel branch, a switch case, a foreach body."""

    key: str
    steps: tuple[Step, ...]
    when: str = ""  # of a case: a CEL condition
    case: str = ""  # of a case: the outcome of the step that the switch is `on`


@dataclass(frozen=True, slots=True)
class Parallel:
    """Its branches run side by side. Tolerated failures go with the join ALL."""

    join: Literal["ALL", "ANY", "ALL_DONE"] | int = "ALL"  # a number: so many have to pass
    on_branch_failure: Literal["FAIL_FAST", "WAIT_ALL"] = "FAIL_FAST"  # once the join cannot be met any more
    max_concurrency: int | None = None
    tolerated_failure_count: int | None = None
    tolerated_failure_percentage: float | None = None


@dataclass(frozen=True, slots=True)
class Foreach:
    """Its one branch runs for each item; it fails as soon as more items have failed than are tolerated."""

    items: str  # CEL, gives a list
    max_concurrency: int | None = None
    tolerated_failure_count: int | None = None
    tolerated_failure_percentage: float | None = None


@dataclass(frozen=True, slots=True)
class Switch:
    """Its first branch that holds runs; a last one without condition always holds."""

    on: str = ""  # the id of the earlier step whose outcome `Branch.case` means

    def condition(self, case: Branch) -> str:
        """In CEL; "" for the default."""
        return f'steps["{self.on}"].outcome == "{case.case}"' if case.case else case.when


@dataclass(frozen=True, slots=True)
class Wait:
    """For a while, until a moment, or for a signal: one of the three is given."""

    duration: int | None = None  # seconds
    until: str = ""  # a moment in ISO 8601 with its offset, or CEL that gives one
    signal: str = ""
    timeout: int | None = None  # seconds after which a signal that has not come is a failure


@dataclass(frozen=True, slots=True)
class Child:
    """A run of another playbook, in Temporal's words; the step's `input` is its payload."""

    playbook: str
    version: int | None = None  # None: the newest published
    parent_close_policy: Literal["TERMINATE", "ABANDON", "REQUEST_CANCEL"] = "TERMINATE"


@dataclass(frozen=True, slots=True)
class Governance:
    """Holds what the run has come to against rules. ASK_HUMAN asks the step's role, if it has one."""

    rules: tuple[str, ...] = ()  # rule sets, as `privacy` or `privacy@3`; (): the default layer


Shape = Parallel | Foreach | Switch | Wait | Child | Governance


# When a step fails ----------------------------------------------------------------------------------------

Ending = Literal["FAIL_RUN", "CONTINUE", "SKIP_DOWNSTREAM"]
"""FAIL_RUN hands the failure on to the step around, whose join may bear it; at the top it ends the run failed.
SKIP_DOWNSTREAM leaves out the rest of the block, which then counts as passed."""


@dataclass(frozen=True, slots=True)
class Jump:
    """BRANCH to a later step of the same block; those between are skipped."""

    to: str


@dataclass(frozen=True, slots=True)
class Handler:
    """BRANCH to steps of its own, and then do what `then` says. If one of them fails, the failure goes on."""

    steps: tuple[Step, ...]
    then: Ending = "FAIL_RUN"


Reaction = Ending | Jump | Handler


@dataclass(frozen=True, slots=True)
class Step:
    id: str
    kind: StepKind
    role: str = ""
    call: Call | None = None
    title: str = ""
    description: str = ""
    options: tuple[Option, ...] = ()
    form: Mapping[str, Any] | None = None  # JSON Schema of what a person fills in
    policy: Mapping[str, Any] | None = None  # who may decide; read by the approvals room
    severity: Literal["low", "medium", "high", "critical"] = "medium"
    priority: Literal["low", "medium", "high", "critical"] = "medium"
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    timeouts: Timeouts = field(default_factory=Timeouts)
    timeout_policy: Literal["", "RETRY", "FAIL_RUN", "ALERT_ONLY"] = ""  # "": what each clock does by itself
    max_minutes: int | None = None
    token_ttl_seconds: int | None = None
    effect: Literal["keyed", "query_first", "once"] = "keyed"
    on_failure: Reaction = "FAIL_RUN"
    on_reject: Reaction = "FAIL_RUN"
    on_exhausted: Literal["FAIL", "INCIDENT"] = "FAIL"
    when: str = ""
    input: Mapping[str, Any] | None = None
    output: Mapping[str, Any] | None = None
    output_schema: Mapping[str, Any] | None = None  # JSON Schema of the result, before `output` maps it
    compensate: Call | None = None
    branches: tuple[Branch, ...] = ()
    shape: Shape | None = None  # what only steps of its kind know

    @property
    def undoing(self) -> Step:
        """The service step that undoes this one by its `compensate`, under the same retries and clocks."""
        assert self.compensate is not None, f"{self.id} has no compensate"
        return Step(
            id=self.id,
            kind=StepKind.SERVICE,
            role=self.role if self.kind is StepKind.SERVICE else f"svc:{self.id}",
            call=self.compensate,
            title=self.title,
            priority=self.priority,
            retries=self.retries,
            timeouts=self.timeouts,
            effect=self.effect,
            on_exhausted="INCIDENT",
        )

    def handlers(self) -> Iterator[tuple[str, Handler]]:
        """The steps that run when this one has failed or was rejected, each with the name of its field."""
        if isinstance(self.on_failure, Handler):
            yield "on_failure", self.on_failure
        if isinstance(self.on_reject, Handler):
            yield "on_reject", self.on_reject

    def blocks(self) -> Iterator[tuple[str, tuple[Step, ...]]]:
        """Every list of steps inside, with the key of its branch or the field of its handler."""
        yield from ((branch.key, branch.steps) for branch in self.branches)
        yield from ((name, handler.steps) for name, handler in self.handlers())

    def ends_failed(self, outcome: str) -> bool:
        """Whether `outcome` is a verdict that ends the run failed: FAIL, or an option marked `ends: fail`."""
        declared = {option.key: option.ends for option in self.options}
        return declared.get(outcome, "fail" if outcome == "FAIL" else "") == "fail"

    def allows(self, outcome: str) -> bool:
        return outcome in {"PASS", "FAIL"} or any(option.key == outcome for option in self.options)


@dataclass(frozen=True, slots=True)
class Form:
    """The web form of a playbook, generated from `payload_schema`."""

    public: bool = False  # offered to people without a log-in at /forms/<playbook>
    title: str = ""
    intro: str = ""
    thanks: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """A step, and where it stands in its list of steps."""

    step: Step
    block: tuple[Step, ...]
    index: int


@dataclass(frozen=True, slots=True)
class Definition:
    id: str
    steps: tuple[Step, ...]
    title: str = ""
    description: str = ""
    payload_schema: Mapping[str, Any] | None = None
    run_timeout: int | None = None  # seconds for the whole run
    form: Form = field(default_factory=Form)
    places: Mapping[str, Place] = field(init=False, repr=False, compare=False)  # by step id

    def __post_init__(self) -> None:
        object.__setattr__(self, "places", {place.step.id: place for place in _places(self.steps)})

    def walk(self) -> Iterator[Step]:
        """Every step, in document order, those inside other steps included."""
        return (place.step for place in self.places.values())

    def step(self, step_id: str) -> Step:
        """Raises KeyError if no step has this id."""
        return self.places[step_id].step


def _places(block: tuple[Step, ...]) -> Iterator[Place]:
    for index, step in enumerate(block):
        yield Place(step, block, index)
        for _, inner in step.blocks():
            yield from _places(inner)
