# SPDX-License-Identifier: Apache-2.0
"""What a published version says, as frozen values.

A document (JSON or YAML, `playbooks/parse.py`) becomes a `Definition` at the edge; everything inside,
the engine first of all, reads only these values. They are data: no ORM, no clock, no settings.
Durations are seconds. A block is a tuple of steps; composite steps hold blocks.
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


@dataclass(frozen=True, slots=True)
class Branch:
    """One block inside a composite step: a parallel branch, a switch case, a foreach body."""

    key: str
    steps: tuple[Step, ...]
    when: str = ""


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
    on_failure: str = "FAIL_RUN"
    on_reject: str = "FAIL_RUN"
    on_exhausted: Literal["FAIL", "INCIDENT"] = "FAIL"
    when: str = ""
    input: Mapping[str, Any] | None = None
    output: Mapping[str, Any] | None = None
    compensate: Call | None = None
    branches: tuple[Branch, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)  # what only one composite kind knows (join, items …)

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
class Definition:
    id: str
    steps: tuple[Step, ...]
    title: str = ""
    description: str = ""
    payload_schema: Mapping[str, Any] | None = None
    run_timeout: int | None = None  # seconds for the whole run
    form: Form = field(default_factory=Form)

    def walk(self) -> Iterator[Step]:
        """Every step, in document order, those inside composite steps included."""
        pending = list(reversed(self.steps))
        while pending:
            step = pending.pop()
            yield step
            inner = [child for branch in step.branches for child in branch.steps]
            pending.extend(reversed(inner))

    def step(self, step_id: str) -> Step:
        """Raises KeyError if no step has this id."""
        for step in self.walk():
            if step.id == step_id:
                return step
        raise KeyError(step_id)
