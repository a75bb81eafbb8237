# SPDX-License-Identifier: Apache-2.0
"""Whether a fault is tried again, when, and why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playbooks.definition import RetryPolicy, RetryRule
from runs.retry import Fault, GiveUp, TryAgain, after_fault, backoff

STEADY = RetryPolicy(maximum_attempts=4, initial_interval=2.0, backoff_coefficient=3.0, jitter="none")


def decided(policy: RetryPolicy, error_type: str = "Busy", *, attempt: int = 1, retryable: bool = True, random=0.5):
    return after_fault(policy, Fault(error_type, retryable), attempt=attempt, random=lambda: random)


@pytest.mark.parametrize(("retry", "seconds"), [(1, 2.0), (2, 6.0), (3, 18.0), (4, 54.0), (5, 162.0), (6, 200.0)])
def test_the_delay_grows_by_the_coefficient_up_to_a_hundred_times_the_first(retry, seconds):
    assert backoff(STEADY, retry=retry) == seconds


def test_a_named_maximum_holds():
    assert backoff(RetryPolicy(initial_interval=2.0, maximum_interval=5.0), retry=9) == 5.0


@given(st.floats(0.001, 3600), st.floats(1.0, 1000), st.floats(0.001, 86400), st.integers(1, 10**6))
def test_no_delay_is_negative_or_beyond_the_maximum(initial, coefficient, maximum, retry):
    policy = RetryPolicy(initial_interval=initial, backoff_coefficient=coefficient, maximum_interval=maximum)

    assert 0 <= backoff(policy, retry=retry) <= maximum


@given(st.integers(1, 50))
def test_delays_never_shrink(retry):
    assert backoff(STEADY, retry=retry) <= backoff(STEADY, retry=retry + 1)


@given(st.floats(0, 1, exclude_max=True))
def test_full_jitter_lies_between_nothing_and_the_delay(random):
    policy = RetryPolicy(initial_interval=10.0, jitter="full")
    verdict = decided(policy, random=random)

    assert isinstance(verdict, TryAgain)
    assert verdict.delay_seconds == 10.0 * random


def test_the_last_attempt_is_not_repeated_and_the_reason_says_so():
    assert decided(STEADY, attempt=3) == TryAgain(18.0, "attempt 3 of 4 failed with Busy")
    assert decided(STEADY, attempt=4) == GiveUp("attempt 4 of 4 was the last")


def test_the_default_is_finite():
    assert isinstance(decided(RetryPolicy(), attempt=4), GiveUp)


def test_no_limit_has_to_be_asked_for():
    assert isinstance(decided(RetryPolicy(maximum_attempts=0), attempt=10_000), TryAgain)


def test_what_the_performer_calls_hopeless_is_not_tried_again():
    assert isinstance(decided(STEADY, retryable=False), GiveUp)


def test_a_declared_type_is_not_tried_again_and_only_the_exact_type():
    policy = RetryPolicy(non_retryable_error_types=("BadCard",))

    assert decided(policy, "BadCard") == GiveUp("BadCard is declared non-retryable")
    assert isinstance(decided(policy, "BadCardReader"), TryAgain)


def test_the_first_matching_rule_decides_with_its_reason():
    rules = (
        RetryRule("Busy", "RETRY", delay_seconds=60.0, reason="the bank opens a minute later"),
        RetryRule("Busy", "FAIL"),
        RetryRule("Closed", "FAIL", reason="nobody is there"),
        RetryRule("Odd", "DEFAULT", reason="nobody knows why"),
    )
    policy = RetryPolicy(rules=rules, jitter="none", initial_interval=1.0)

    assert decided(policy, "Busy") == TryAgain(60.0, "the bank opens a minute later")
    assert decided(policy, "Closed") == GiveUp("nobody is there")
    assert decided(policy, "Odd") == TryAgain(1.0, "nobody knows why")


def test_a_rule_cannot_retry_beyond_the_attempts():
    policy = RetryPolicy(maximum_attempts=2, rules=(RetryRule("Busy", "RETRY", delay_seconds=1.0),))

    assert isinstance(decided(policy, attempt=2), GiveUp)
