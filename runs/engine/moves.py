# SPDX-License-Identifier: Apache-2.0
"""What the engine asks for: values that name a step and the path where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from playbooks.definition import Step

# Steps that begin and wait for something outside -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Open:
    """Make a task for this agent, human, service or governance step."""

    step: Step
    path: str
    input: Mapping[str, Any] | None = None  # as the step maps it; None: what every step is handed


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Say `timer_fired` for this wait after `seconds`, or at `moment`, which may have passed: one of the two."""

    step: Step
    path: str
    seconds: int | None = None
    moment: datetime | None = None


@dataclass(frozen=True, slots=True)
class AwaitSignal:
    """Say `signal_received` for this wait when the signal `name` comes, or at once if it has come and was kept.

    A SetTimer for the same path may follow: the first event for the path ends both.
    """

    step: Step
    path: str
    name: str


@dataclass(frozen=True, slots=True)
class StartChild:
    """Start the run that `step.shape` (a `Child`) names, and say `child_ended`."""

    step: Step
    path: str
    input: Mapping[str, Any] | None = None  # its payload; None: that of this run


@dataclass(frozen=True, slots=True)
class Compensate:
    """Do `step`, which undoes one that was completed. The next one follows when this one has ended."""

    step: Step  # a service step: `Step.undoing`
    path: str


@dataclass(frozen=True, slots=True)
class Incident:
    """The step cannot go on by itself: an operator retries it, skips it or lets it fail."""

    step: Step
    path: str
    reason: str = ""


# What happens to steps ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Close:
    """Everything open beneath this path ends unfinished: tasks, waits, child runs. "" is the whole run."""

    path: str


@dataclass(frozen=True, slots=True)
class Skip:
    """The step is left out: its `when` is false, or what happened before leads past it."""

    step: Step
    path: str


@dataclass(frozen=True, slots=True)
class Enter:
    """A parallel, foreach or switch step begins. `items` are to be kept: paths `<path>[i]/…` mean item i."""

    step: Step
    path: str
    items: tuple[Any, ...] = ()  # of a foreach
    case: str = ""  # of a switch: the key of the case that holds


@dataclass(frozen=True, slots=True)
class Leave:
    """A parallel, foreach or switch step has ended; of the first two, so many branches have passed and failed.

    Or a step of any kind has failed before it could begin, since what it says could not be evaluated.
    """

    step: Step
    path: str
    outcome: str  # PASS or FAIL
    passed: int = 0
    failed: int = 0
    reason: str = ""


# How a run ends; always the last move ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Complete:
    """The run ends completed."""


@dataclass(frozen=True, slots=True)
class Fail:
    """The run ends failed, because of this step; "" if no step is the cause."""

    step_id: str
    path: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The run ends cancelled."""


Opening = Open | SetTimer | AwaitSignal | StartChild | Incident
StepMove = Opening | Compensate | Close | Skip | Enter | Leave
End = Complete | Fail | Cancelled
Move = StepMove | End
