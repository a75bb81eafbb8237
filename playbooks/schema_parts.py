# SPDX-License-Identifier: Apache-2.0
"""What steps of several kinds have: retries, clocks, outcomes to choose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    Tag,
)

from playbooks.schema_values import Key, Part, Seconds, Title, WholeSeconds, outcomes_as_engine, unique_keys

MAX_RETRIES = 1000


class RetryRulePart(Part):
    """What to do about one type of error. The first rule whose `error_type` equals the fault's decides."""

    error_type: Annotated[str, Field(min_length=1, max_length=200, description="The exact error type.")]
    action: Annotated[Literal["RETRY", "FAIL", "DEFAULT"], Field(description="DEFAULT leaves it to the policy.")]
    delay: Annotated[Seconds | None, Field(description="How long to wait before the retry.")] = None
    reason: Annotated[str | None, Field(max_length=500, description="Written to the log.")] = None


class RetryPolicyPart(Part):
    """How often, and how soon, a fault is tried again."""

    maximum_attempts: Annotated[
        int | None,
        Field(ge=0, le=MAX_RETRIES + 1, description="The first attempt counts: 1 = no retry. 0 = no limit."),
    ] = None
    initial_interval: Annotated[Seconds | None, Field(description="The wait before the first retry.")] = None
    backoff_coefficient: Annotated[
        float | None, Field(ge=1, le=100, description="Each wait is this many times the one before.")
    ] = None
    maximum_interval: Annotated[
        Seconds | None, Field(description="No wait is longer. Default: 100 times `initial_interval`.")
    ] = None
    jitter: Annotated[
        Literal["none", "full"] | None, Field(description="`full` waits a random part of the interval.")
    ] = None
    non_retryable_error_types: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=200)]] | None,
        Field(max_length=100, description="Error types that fail at once."),
    ] = None
    retry_rules: Annotated[list[RetryRulePart] | None, Field(max_length=100, description="First match decides.")] = None


def _retries_noun(value: Any) -> str:
    return "retry policy" if isinstance(value, Mapping) else "number of retries"


Retries = Annotated[
    Annotated[RetryPolicyPart, Tag("retry policy")]
    | Annotated[int, Field(ge=0, le=MAX_RETRIES), Tag("number of retries")],
    Discriminator(_retries_noun),
    Field(
        description="How often a fault is tried again: a number (3 = four attempts), or a policy.",
        examples=[3],
    ),
]


class TimeoutsPart(Part):
    """The four clocks of a task, in seconds or as durations."""

    schedule_to_start: Annotated[WholeSeconds | None, Field(description="Until someone claims it.")] = None
    start_to_close: Annotated[WholeSeconds | None, Field(description="For one attempt.")] = None
    schedule_to_close: Annotated[WholeSeconds | None, Field(description="For all attempts together.")] = None
    heartbeat: Annotated[WholeSeconds | None, Field(description="Between two signs of life.")] = None


class OptionPart(Part):
    """An outcome that a performer may choose."""

    key: Annotated[Key, Field(description="The outcome.", examples=["approve-with-conditions"])]
    label: Annotated[Title | None, Field(description="What people read on the button.")] = None
    ends: Annotated[Literal["", "fail"] | None, Field(description="`fail`: choosing it ends the run failed.")] = None


def _option_noun(value: Any) -> str:
    return "option with a label" if isinstance(value, Mapping) else "option key"


Option = Annotated[
    Annotated[OptionPart, Tag("option with a label")] | Annotated[Key, Tag("option key")], Discriminator(_option_noun)
]

Options = Annotated[list[Option], Field(max_length=20), AfterValidator(unique_keys), AfterValidator(outcomes_as_engine)]
