# SPDX-License-Identifier: Apache-2.0
"""Whether a fault is tried again, when, and why: a pure function of the policy and the fault.

The formula is Temporal's: delay(n) = min(initial_interval * backoff_coefficient ** (n - 1), maximum_interval),
n counting the retries, with full jitter (uniform between 0 and the delay) where the policy says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from playbooks.definition import RetryPolicy

MAXIMUM_INTERVAL_FACTOR = 100  # of initial_interval, where the policy names no maximum


@dataclass(frozen=True, slots=True)
class Fault:
    error_type: str
    retryable: bool = True  # what the performer said, or the clock's consequence
    clock: str = ""  # the clock that ran out, if it was one


@dataclass(frozen=True, slots=True)
class TryAgain:
    delay_seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    reason: str


def after_fault(policy: RetryPolicy, fault: Fault, *, attempt: int, random: Callable[[], float]) -> TryAgain | GiveUp:
    """Decide after the `attempt`-th attempt failed; `random` gives numbers in [0, 1)."""
    if not fault.retryable and fault.clock:
        return GiveUp(f"the clock {fault.clock} ran out, which is not retried")
    if not fault.retryable:
        return GiveUp("the performer said that trying again is of no use")
    rule = next((rule for rule in policy.rules if rule.error_type == fault.error_type), None)
    if rule is not None and rule.action == "FAIL":
        return GiveUp(rule.reason or f"a rule ends it on {fault.error_type}")
    if rule is None and fault.error_type in policy.non_retryable_error_types:
        return GiveUp(f"{fault.error_type} is declared non-retryable")
    if policy.maximum_attempts and attempt >= policy.maximum_attempts:
        return GiveUp(f"attempt {attempt} of {policy.maximum_attempts} was the last")
    if rule is not None and rule.action == "RETRY" and rule.delay_seconds is not None:
        return TryAgain(rule.delay_seconds, rule.reason or f"a rule retries {fault.error_type}")
    delay = backoff(policy, retry=attempt)
    if policy.jitter == "full":
        delay *= random()
    of = f" of {policy.maximum_attempts}" if policy.maximum_attempts else ""
    reason = (rule.reason if rule else "") or f"attempt {attempt}{of} failed with {fault.error_type or 'a fault'}"
    return TryAgain(delay, reason)


def backoff(policy: RetryPolicy, *, retry: int) -> float:
    """Seconds before the `retry`-th retry (from 1), without jitter."""
    ceiling = policy.maximum_interval
    if ceiling is None:
        ceiling = policy.initial_interval * MAXIMUM_INTERVAL_FACTOR
    try:
        delay = policy.initial_interval * math.pow(policy.backoff_coefficient, retry - 1)
    except OverflowError:
        return ceiling
    return min(delay, ceiling)
