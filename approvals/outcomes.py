# SPDX-License-Identifier: Apache-2.0
"""What is said to a request, and what becomes final of it, as values that travel from who decides to what follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from approvals.models import Decided, Secret, Vote


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody says to a request."""

    outcome: str
    reason: str = ""
    reason_code: str = ""
    response_data: Mapping[str, Any] | None = None
    constraints: Mapping[str, Any] | None = None  # narrower than what was asked
    claimed_decider: str = ""  # `fulfilled_by` of a body: unverified


@dataclass(frozen=True, slots=True)
class Decision:
    """A request's final answer, by whom and how."""

    answer: Answer
    failed: bool
    by: Any  # a user, or SYSTEM
    at: datetime
    how: Decided = Decided.PERSON
    vote: Vote | None = None
    sealed: Sequence[Secret] = ()  # what was secret in the answer, which itself holds masks
    carried_out_by: Any = None  # SYSTEM, where it takes effect later by the clock; else who decided
