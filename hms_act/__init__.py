# SPDX-License-Identifier: Apache-2.0
"""The Python client of HMS-ACT. It knows the HTTP API and nothing else."""

from hms_act.answers import Attachment, Comment, Event, Lease, Request, Run, StoredPlaybook, Task, Version
from hms_act.client import Client
from hms_act.errors import (
    AlreadyDecided,
    Conflict,
    FieldError,
    Forbidden,
    HmsActError,
    IdempotencyInFlight,
    Invalid,
    LeaseLost,
    NonRetryable,
    NotAuthenticated,
    NotFound,
    Problem,
    RateLimited,
    ReceiptRefused,
    SecretGone,
    ServerError,
    StaleRevision,
    TokenExpired,
    Unreachable,
)
from hms_act.orchestrator import Orchestrator, Result, TaskResult
from hms_act.playbook import Playbook, Step
from hms_act.receipts import Forged, Receipt
from hms_act.retry import Retry
from hms_act.secrets import Secret
from hms_act.shortcuts import complete_task, next_task, run_playbook
from hms_act.worker import Worker

__version__ = "0.1.0"

__all__ = [
    "AlreadyDecided",
    "Attachment",
    "Client",
    "Comment",
    "Conflict",
    "Event",
    "FieldError",
    "Forbidden",
    "Forged",
    "HmsActError",
    "IdempotencyInFlight",
    "Invalid",
    "Lease",
    "LeaseLost",
    "NonRetryable",
    "NotAuthenticated",
    "NotFound",
    "Orchestrator",
    "Playbook",
    "Problem",
    "RateLimited",
    "Receipt",
    "ReceiptRefused",
    "Request",
    "Result",
    "Retry",
    "Run",
    "Secret",
    "SecretGone",
    "ServerError",
    "StaleRevision",
    "Step",
    "StoredPlaybook",
    "Task",
    "TaskResult",
    "TokenExpired",
    "Unreachable",
    "Version",
    "Worker",
    "complete_task",
    "next_task",
    "run_playbook",
]
