# SPDX-License-Identifier: Apache-2.0
"""What calls on runs and tasks read, and what they show."""

from __future__ import annotations

import math
from typing import Any

from django.core.validators import RegexValidator
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from audit import actions
from audit.models import Entry
from config.api import TextField, TruthField, WholeField
from config.errors import Invalid, Problem
from playbooks.definition import StepKind
from runs import described as shown
from runs import services
from runs.advance import deadline
from runs.incidents import CHOICES
from runs.leases import Lease
from runs.models import Priority, Resolution, Run, RunState, Task, TaskState
from runs.prefer import LONGEST_WAIT_SECONDS
from runs.progress import Line, Progress, progress_of

LOG_LINES = 50
HUMAN_ROLE = "^human:[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"
MAPPED = "What the step maps; null where it is handed all there is. Of a switch, the case that it took."
PRIORITIES = [name.lower() for name in Priority.names]


# Reading --------------------------------------------------------------------------------------------------


class StartIn(serializers.Serializer[Any]):
    exactly_one_of = ("playbook", "protocol_id")

    playbook = TextField(required=False, max_length=100, help_text="Its id. Send this or `protocol_id`.")
    protocol_id = WholeField(required=False, min_value=1, max_value=2**53 - 1, help_text="Its number.")
    version = WholeField(
        required=False, min_value=1, max_value=2**31 - 1, help_text="Without it, the newest published one."
    )
    payload = serializers.DictField(required=False, default=dict)
    labels = serializers.DictField(required=False, default=dict, child=TextField(max_length=200))
    priority = serializers.ChoiceField(required=False, default="medium", choices=PRIORITIES)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if sum(name in attrs for name in self.exactly_one_of) != 1:
            raise Invalid(
                "Name the playbook once.", errors=[Problem("playbook", "send either playbook or protocol_id")]
            )
        return attrs


class WaitField(serializers.FloatField):
    """For how many seconds a call may be kept waiting. In a query everything is text."""

    def __init__(self, *, in_query: bool = False) -> None:
        self.in_query = in_query
        super().__init__(required=False, default=0, min_value=0, max_value=LONGEST_WAIT_SECONDS)

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or (isinstance(data, str) and not self.in_query):
            self.fail("invalid")
        seconds: float = super().to_internal_value(data)
        if math.isnan(seconds):  # is neither below the least nor above the most
            self.fail("invalid")
        return seconds


class NextIn(serializers.Serializer[Any]):
    role = TextField(max_length=110)
    wait = WaitField()
    limit = WholeField(required=False, default=1, min_value=1, max_value=services.MAX_CLAIM)


class TokenIn(serializers.Serializer[Any]):
    token = TextField(max_length=100)


class ReleaseIn(TokenIn):
    note = TextField(required=False, default="", allow_blank=True, max_length=10_000)


class CompleteIn(serializers.Serializer[Any]):
    token = TextField(required=False, default="", allow_blank=True, max_length=100)
    outcome = TextField(max_length=64)
    output = serializers.JSONField(required=False, default=None, allow_null=True)
    note = TextField(required=False, default="", allow_blank=True, max_length=10_000)


class FailIn(TokenIn):
    error_type = TextField(required=False, default="", allow_blank=True, max_length=100)
    message = TextField(required=False, default="", allow_blank=True, max_length=10_000)
    retryable = TruthField(required=False, default=True)


class OptionField(TextField):
    """The word of an outcome."""

    def __init__(self) -> None:
        super().__init__(max_length=64, validators=[RegexValidator(r"^[A-Za-z0-9][A-Za-z0-9_.-]*\Z")])


@extend_schema_field({"type": "string", "pattern": HUMAN_ROLE})
class HumanRoleField(TextField):
    """A role of people. The act refuses any other, with a sentence."""

    def __init__(self) -> None:
        super().__init__(required=False, max_length=110)


class AskIn(TokenIn):
    reason = TextField(max_length=10_000)
    context = serializers.DictField(required=False, default=dict)  # type: ignore[assignment]  # not DRF's attribute
    options = serializers.ListField(required=False, default=list, max_length=20, child=OptionField())
    severity = serializers.ChoiceField(required=False, default="medium", choices=["low", "medium", "high", "critical"])
    role = HumanRoleField()


class ReasonIn(serializers.Serializer[Any]):
    reason = TextField(required=False, default="", allow_blank=True, max_length=10_000)


class TerminateIn(serializers.Serializer[Any]):
    reason = TextField(max_length=10_000)


class SignalIn(serializers.Serializer[Any]):
    data = serializers.JSONField(  # type: ignore[assignment]  # not DRF's attribute
        required=False, default=None, allow_null=True, help_text="The output of the step that waits for the signal."
    )


class ResolveIn(serializers.Serializer[Any]):
    resolution = serializers.ChoiceField(choices=[choice.value for choice in CHOICES])
    reason = TextField(max_length=10_000)
    output = serializers.JSONField(
        required=False, default=None, allow_null=True, help_text="Of a step that is skipped: what it would have given."
    )


# Showing --------------------------------------------------------------------------------------------------


class StartOut(serializers.Serializer[Any]):
    run_id = serializers.IntegerField()
    status = serializers.CharField()


class RunListOut(serializers.Serializer[Any]):
    run_id = serializers.IntegerField(source="pk")
    playbook = serializers.CharField(source="version.playbook.slug")
    version = serializers.IntegerField(source="version.number")
    status = serializers.ChoiceField(source="state", choices=RunState.choices)
    labels = serializers.DictField()
    priority = serializers.SerializerMethodField()
    started_by = serializers.CharField(source="started_by.username")
    created_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)
    stalled_at = serializers.DateTimeField(allow_null=True)

    def get_priority(self, run: Run) -> str:
        return Priority(run.priority).name.lower()


class RunOut(RunListOut):
    """A run with its steps and the end of its log."""  # in a fixed number of statements, whatever its length

    current_step = serializers.SerializerMethodField()
    current_steps = serializers.SerializerMethodField()
    payload = serializers.DictField()
    steps = serializers.SerializerMethodField()
    incidents = serializers.SerializerMethodField()
    parent_run = serializers.IntegerField(source="parent.run_id", allow_null=True, default=None)
    parent_task = serializers.IntegerField(source="parent_id", allow_null=True)
    child_runs = serializers.SerializerMethodField()
    log = serializers.SerializerMethodField()

    def to_representation(self, run: Run) -> dict[str, Any]:
        self._progress: Progress = progress_of(run)
        return dict(super().to_representation(run))

    def get_current_steps(self, run: Run) -> list[str]:
        return list(self._progress.current)

    def get_current_step(self, run: Run) -> str | None:
        return next(iter(self._progress.current), None)

    @extend_schema_field(shown.STEPS)
    def get_steps(self, run: Run) -> dict[str, dict[str, Any]]:
        return {step: _line_json(line) for step, line in self._progress.steps.items()}

    @extend_schema_field(shown.INCIDENTS)
    def get_incidents(self, run: Run) -> list[dict[str, Any]]:
        return [
            {"task": task.pk, "step": task.step, "path": task.path, "reason": task.fault or task.retry_reason}
            for task in self._progress.incidents
        ]

    @extend_schema_field(shown.CHILD_RUNS)
    def get_child_runs(self, run: Run) -> list[dict[str, Any]]:
        return [
            {"run_id": child.pk, "path": child.parent.path, "status": child.state}
            for child in self._progress.children
            if child.parent is not None
        ]

    @extend_schema_field(shown.LOG)
    def get_log(self, run: Run) -> list[dict[str, Any]]:
        told = Entry.objects.filter(run_id=run.pk, action__in=STATUS_WORDS).order_by("-id")[:LOG_LINES]
        return [{"t": entry.at, "step": entry.step, "status": _status_word(entry)} for entry in reversed(list(told))]


def _line_json(line: Line) -> dict[str, Any]:
    told = {"status": line.status, "outcome": line.outcome or None, "output": line.output, "attempts": line.attempts}
    return told if line.items is None else {**told, "items": dict(line.items)}


STATUS_WORDS = {
    actions.TASK_CLAIMED: "running",
    actions.TASK_AWAITING: "waiting",
    actions.TASK_COMPLETED: "done",
    actions.TASK_FAILED: "failed",
    actions.TASK_REJECTED: "failed",
    actions.TASK_RELEASED: "waiting",
    actions.TASK_LEASE_LOST: "waiting",
    actions.TASK_INCIDENT: "failed",
    actions.TASK_CANCELLED: "cancelled",
}


def _status_word(entry: Entry) -> str:
    return "failed" if entry.result == "FAIL" else STATUS_WORDS[entry.action]


class TaskOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    run_id = serializers.IntegerField()
    step = serializers.CharField()
    path = serializers.CharField()
    attempt = serializers.IntegerField()
    kind = serializers.CharField()
    role = serializers.CharField()
    status = serializers.ChoiceField(source="state", choices=TaskState.choices)
    assignee = serializers.CharField(source="assignee.username", allow_null=True)
    outcome = serializers.CharField()
    input = serializers.SerializerMethodField()
    item = serializers.JSONField(allow_null=True)
    output = serializers.JSONField(allow_null=True)
    note = serializers.CharField()
    error_type = serializers.CharField()
    error_message = serializers.CharField()
    retry_reason = serializers.CharField()
    resolution = serializers.ChoiceField(choices=[("", ""), *Resolution.choices])
    resolved_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    claimed_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(source="lease_expires_at", allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)

    @extend_schema_field({"type": ["object", "null"], "additionalProperties": {}, "description": MAPPED})
    def get_input(self, task: Task) -> dict[str, Any] | None:
        """Without the list of a foreach step, which may be long: each of its tasks has its `item`."""
        return None if task.kind == StepKind.FOREACH else task.input


def lease_json(lease: Lease) -> dict[str, Any]:
    """A claimed task with its token, as `tasks/next` answers it."""
    task, step = lease.task, lease.task.definition
    call = {"action": step.call.action, "arguments": dict(step.call.arguments)} if step.call else None
    return {
        "task": {
            "id": task.pk,
            "run_id": task.run_id,
            "step": task.step,
            "path": task.path,
            "attempt": task.attempt,
            "role": task.role,
            "call": call["action"] if call else None,
            "arguments": call["arguments"] if call else {},
            "options": [option.key for option in step.options],
            "input": lease.input,
            "payload": task.run.payload,
            "data": lease.data,
            "approval": _approval(task),
            "deadline": moment_json(deadline(task)),
        },
        "token": lease.token,
        "fence": lease.fence,
        "expires_at": moment_json(lease.expires_at),
    }


def _approval(task: Task) -> dict[str, Any] | None:
    """The answer to what was asked in mid-task, without what only the one who asked may know."""
    return {k: v for k, v in task.approval.items() if k != "asked_with"} if task.approval else None


def moment_json(value: Any) -> Any:
    return None if value is None else serializers.DateTimeField().to_representation(value)
