# SPDX-License-Identifier: Apache-2.0
"""Where a task of a `HITLStateMachine` stands, as values that are kept as JSON and read again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from hms_act.answers import Json, Request, moment

APPROVED_STATUS = "fulfilled"
A_NO = ("rejected", "expired")  # a person's, and that of a question that nobody answered in time


class TaskState(StrEnum):
    PENDING = "pending"  # known, and not begun
    RUNNING = "running"
    AWAITING_APPROVAL = "awaiting_approval"  # a person is asked
    APPROVED = "approved"  # and may be resumed, once
    REJECTED = "rejected"
    COMPLETED = "completed"
    FAILED = "failed"


ENDED = frozenset({TaskState.REJECTED, TaskState.COMPLETED, TaskState.FAILED})


class InvalidTransition(Exception):
    """The task is in a state that does not allow it."""


class DuplicateTask(Exception):
    """There is a task of this id that has not ended."""


class UnknownTask(KeyError):
    """There is no task of this id here."""

    def __str__(self) -> str:
        return f"there is no task {self.args[0]!r}: start it first"


@dataclass(frozen=True, slots=True)
class InterruptPoint:
    """What a person is asked, and why. `request_id` is the request on the server, `har_…`."""

    reason: str
    context: Json = field(default_factory=dict)
    options: tuple[str, ...] = ()  # the first is the one that goes on
    severity: str = "medium"  # low, medium, high or critical: the harm if the answer is wrong
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    request_id: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {
            "reason": self.reason,
            "context": dict(self.context),
            "options": list(self.options),
            "severity": self.severity,
            "created_at": self.created_at.isoformat(),
            "request_id": self.request_id,
        }

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> InterruptPoint:
        created_at = moment(kept.get("created_at")) or datetime.now(UTC)
        options = tuple(kept.get("options") or ())
        return cls(**{**kept, "created_at": created_at, "options": options})

    @classmethod
    def from_request(cls, request: Request) -> InterruptPoint:
        return cls(
            reason=request.description or request.title,
            context=request.context,
            options=tuple(str(each["key"]) for each in request.raw.get("options") or ()),
            severity=request.severity or "medium",
            created_at=request.created_at or datetime.now(UTC),
            request_id=request.id,
        )


@dataclass(slots=True)
class TaskContext:
    """One task. `approval_data` is what became of its question: `status, outcome, by, at, reason`."""

    task_id: str
    state: TaskState = TaskState.PENDING
    current_step: str = ""
    history: list[str] = field(default_factory=list)  # the steps that are done
    metadata: dict[str, Any] = field(default_factory=dict)
    interrupt_point: InterruptPoint | None = None
    approval_data: dict[str, Any] = field(default_factory=dict)
    error: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON can say it, if its metadata can be."""
        return {
            "task_id": self.task_id,
            "state": str(self.state),
            "current_step": self.current_step,
            "history": list(self.history),
            "metadata": dict(self.metadata),
            "interrupt_point": self.interrupt_point.to_dict() if self.interrupt_point else None,
            "approval_data": dict(self.approval_data),
            "error": self.error,
        }

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> TaskContext:
        asked = kept.get("interrupt_point")
        point = InterruptPoint.from_dict(asked) if asked else None
        return cls(**{**kept, "state": TaskState(kept["state"]), "interrupt_point": point})

    def take(self, request: Request) -> None:
        """What the server says of its question."""
        self.interrupt_point = InterruptPoint.from_request(request)
        self.state = _state_of(request)
        if not request.closed:
            return
        at = request.fulfilled_at or request.updated_at
        self.approval_data = {
            "status": request.status,
            "outcome": request.outcome,
            "by": request.fulfilled_by,
            "at": at.isoformat() if at else "",
            "reason": request.rejection_reason or request.notes,
        }
        if self.state == TaskState.FAILED:
            self.error = f"the question was closed without an answer: {request.status}"


def _state_of(request: Request) -> TaskState:
    """A question that was taken back, or is not needed any more, is nobody's no."""
    if not request.closed:
        return TaskState.AWAITING_APPROVAL
    if request.status == APPROVED_STATUS:
        return TaskState.APPROVED
    return TaskState.REJECTED if request.status in A_NO else TaskState.FAILED
