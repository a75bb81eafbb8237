# SPDX-License-Identifier: Apache-2.0
"""The lease: the time-bound right to act on a task. A random token, stored hashed, a rising fence, and an end."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from audit.canonical import digest
from config.errors import LeaseLost
from runs.clocks import lease_seconds
from runs.models import Task, TaskState


@dataclass(frozen=True, slots=True)
class Lease:
    """A claimed task with what its holder needs to do it. `token` is known to nobody else."""

    task: Task
    token: str
    fence: int
    expires_at: datetime
    input: Mapping[str, Any]
    data: Mapping[str, Any] = field(default_factory=dict)  # outputs of earlier steps, by step id


def new_token() -> str:
    return f"lease_{secrets.token_urlsafe(24)}"  # 192 bits


def hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def ttl(task: Task) -> timedelta:
    """How long a claim or a heartbeat holds: the step's `token_ttl`, or the installation's default."""
    default = 2 * settings.CALL_TIMEOUT_SECONDS if task.by_worker else settings.AGENT_LEASE_SECONDS
    return timedelta(seconds=lease_seconds(task.definition, default))


def refuse_unless_held(task: Task, *, token: str, actor: Any, at: datetime) -> None:
    """Raise LeaseLost unless `actor` holds the task under `token` at this moment.

    From `lease_expires_at` on every call with the token is refused, reaped or not: one rule that anyone can state.
    """
    same = task.assignee_id == actor.pk and hmac.compare_digest(task.token_hash, hashed(token))
    if task.state != TaskState.RUNNING or not same:
        raise LeaseLost(subject=task)
    assert task.lease_expires_at is not None
    if at >= task.lease_expires_at:
        ended = task.lease_expires_at.isoformat(timespec="seconds")
        raise LeaseLost(f"The lease ended at {ended}. Claim the next task; heartbeats keep a lease.", subject=task)


def answer_digest(token: str, *what: Any) -> str:
    """Recognises the repetition of a completing call: the same token and the same body."""
    return digest([hashed(token), *what])
