# SPDX-License-Identifier: Apache-2.0
"""The clocks of a task, one meaning each (Temporal's): a pure function of what the step declares and what happened.

| clock | runs | when it runs out |
| --- | --- | --- |
| schedule_to_start | from claimable until claimed | the step fails; another attempt would wait as long |
| start_to_close | from claimed until ended, each attempt | a fault, retried by policy |
| heartbeat | from the last sign of life of the holder | a fault, retried by policy |
| schedule_to_close | from the first attempt until the step has ended | the step fails |
| max_minutes | as schedule_to_close | the run is flagged as stalled, and goes on |

`timeout_policy` overrides what the four do: RETRY, FAIL_RUN, or ALERT_ONLY, which flags like max_minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from playbooks.definition import Step


class Clock(StrEnum):
    SCHEDULE_TO_START = "schedule_to_start"
    START_TO_CLOSE = "start_to_close"
    SCHEDULE_TO_CLOSE = "schedule_to_close"
    HEARTBEAT = "heartbeat"
    MAX_MINUTES = "max_minutes"


ERROR_TYPES = {
    Clock.SCHEDULE_TO_START: "ScheduleToStartTimeout",
    Clock.START_TO_CLOSE: "StartToCloseTimeout",
    Clock.SCHEDULE_TO_CLOSE: "ScheduleToCloseTimeout",
    Clock.HEARTBEAT: "HeartbeatTimeout",
}
"""What retry rules match."""

_RETRIED = frozenset({Clock.START_TO_CLOSE, Clock.HEARTBEAT})


class Consequence(StrEnum):
    RETRY = "RETRY"
    FAIL_RUN = "FAIL_RUN"
    ALERT_ONLY = "ALERT_ONLY"


@dataclass(frozen=True, slots=True)
class Moments:
    """What happened to a task so far. `claimable_at` only while it waits, `claimed_at` and `lease_ends_at` only
    while it is held."""

    scheduled_at: datetime  # when the step's first attempt was made
    claimable_at: datetime | None = None
    claimed_at: datetime | None = None
    lease_ends_at: datetime | None = None
    flagged: bool = False  # stalled already; a flag is raised once


@dataclass(frozen=True, slots=True)
class Deadline:
    clock: Clock
    at: datetime
    consequence: Consequence


def deadlines(step: Step, moments: Moments) -> list[Deadline]:
    """Every clock that runs for the task now, soonest first."""
    running = (
        Deadline(clock, at, consequence)
        for clock, at in _running(step, moments)
        if not ((consequence := consequence_of(step, clock)) == Consequence.ALERT_ONLY and moments.flagged)
    )
    return sorted(running, key=lambda deadline: deadline.at)


def consequence_of(step: Step, clock: Clock) -> Consequence:
    if clock == Clock.MAX_MINUTES:
        return Consequence.ALERT_ONLY
    if step.timeout_policy:
        return Consequence(step.timeout_policy)
    return Consequence.RETRY if clock in _RETRIED else Consequence.FAIL_RUN


def lease_seconds(step: Step, default: int) -> int:
    """How long a claim or heartbeat holds: `token_ttl`, and never longer than the heartbeat clock."""
    seconds = step.token_ttl_seconds or default
    return min(seconds, step.timeouts.heartbeat) if step.timeouts.heartbeat else seconds


def _running(step: Step, moments: Moments) -> Iterator[tuple[Clock, datetime]]:
    times = step.timeouts
    if moments.claimable_at is not None and times.schedule_to_start is not None:
        yield Clock.SCHEDULE_TO_START, moments.claimable_at + timedelta(seconds=times.schedule_to_start)
    if moments.claimed_at is not None and times.start_to_close is not None:
        yield Clock.START_TO_CLOSE, moments.claimed_at + timedelta(seconds=times.start_to_close)
    if moments.lease_ends_at is not None and times.heartbeat is not None:
        yield Clock.HEARTBEAT, moments.lease_ends_at
    if times.schedule_to_close is not None:
        yield Clock.SCHEDULE_TO_CLOSE, moments.scheduled_at + timedelta(seconds=times.schedule_to_close)
    if step.max_minutes is not None:
        yield Clock.MAX_MINUTES, moments.scheduled_at + timedelta(minutes=step.max_minutes)
