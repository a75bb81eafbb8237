# SPDX-License-Identifier: Apache-2.0
"""`/acts/run`, `/acts/runs…`, `/acts/tasks…`: read a request, call one service, show the result."""

from __future__ import annotations

import math
from typing import Any

import django_filters
from django.core.validators import RegexValidator
from django.db import connection
from django.db.models import BooleanField, Q, QuerySet
from django.db.models.expressions import RawSQL
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema_field
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.calls import Call
from audit import actions
from audit.models import Entry
from config import wake
from config.api import TextField, TruthField, WholeField, validated
from config.errors import Invalid, NotFound, Problem
from config.lists import AnyOf, CursorPages, Moment, TrueOrFalse, WholeNumber
from config.openapi import described, described_anew, listed
from playbooks.definition import StepKind
from runs import asking, performers, services, stopping, waits
from runs import described as shown
from runs.advance import deadline, locked_task
from runs.incidents import CHOICES, resolve_incident
from runs.leases import Lease
from runs.models import Priority, Resolution, Run, RunState, Task, TaskState
from runs.prefer import LONGEST_WAIT_SECONDS, asking_again
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
            "deadline": _moment(deadline(task)),
        },
        "token": lease.token,
        "fence": lease.fence,
        "expires_at": _moment(lease.expires_at),
    }


def _approval(task: Task) -> dict[str, Any] | None:
    """The answer to what was asked in mid-task, without what only the one who asked may know."""
    return {k: v for k, v in task.approval.items() if k != "asked_with"} if task.approval else None


def _moment(value: Any) -> Any:
    return None if value is None else serializers.DateTimeField().to_representation(value)


# Calls ----------------------------------------------------------------------------------------------------


class StartRun(Call):
    """POST /acts/run: 202 with the run's number; 403, 409 nothing published, 422 unknown or unfit."""

    @described(
        "start_run",
        "Start a run of a playbook",
        asks=StartIn,
        example=shown.START,
        answers={202: StartOut},
        shows=shown.STARTED,
        refuses=("wrong_state",),
    )
    def post(self, request: Request) -> Response:
        given = validated(StartIn, request.data)
        given["priority"] = Priority[given["priority"].upper()]
        run = services.start_run(actor=self.actor, **given)
        return Response({"run_id": run.pk, "status": "queued"}, status=202)


class LabelFilter(django_filters.CharFilter):
    """`label=key:value`, once or more: runs that carry all of them."""

    takes_several = True

    def filter(self, runs: QuerySet[Run], value: str) -> QuerySet[Run]:
        for label in self.parent.data.getlist("label"):
            key, colon, wanted = label.partition(":")
            if not colon:
                raise Invalid("The filter label has no colon.", errors=[Problem("label", "has no colon", "key:value")])
            runs = _labelled(runs, key, wanted)
        return runs


def _labelled(runs: QuerySet[Run], key: str, wanted: str) -> QuerySet[Run]:
    if connection.features.supports_json_field_contains:
        return runs.filter(labels__contains={key: wanted})
    # Not `labels__<key>`: a key is the caller's, and may read like a look-up of Django's.
    carries = "EXISTS (SELECT 1 FROM json_each(runs_run.labels) WHERE key = %s AND value = %s)"
    return runs.filter(RawSQL(carries, [key, wanted], output_field=BooleanField()))  # noqa: S611  # the text is ours


class RunFilter(django_filters.FilterSet):
    status = AnyOf(field_name="state", choices=RunState.choices)
    playbook = django_filters.CharFilter(field_name="version__playbook__slug")
    version = WholeNumber(field_name="version__number")
    started_by = django_filters.CharFilter(field_name="started_by__username")
    created_after = Moment(field_name="created_at", lookup_expr="gt")
    created_before = Moment(field_name="created_at", lookup_expr="lt")
    stalled = TrueOrFalse(field_name="stalled_at", lookup_expr="isnull", exclude=True)
    label = LabelFilter()

    class Meta:
        model = Run
        fields: list[str] = []


def _runs(request: Request) -> QuerySet[Run]:
    return Run.objects.visible_to(request.user).select_related("version__playbook", "started_by")


@listed("list_runs", "List the runs you may see", RunListOut, shows=shown.RUN_ROW)
class Runs(Call, ListAPIView[Run]):
    """GET /acts/runs: the runs you may see, newest first."""

    serializer_class = RunListOut
    pagination_class = CursorPages
    filterset_class = RunFilter

    def get_queryset(self) -> QuerySet[Run]:
        return _runs(self.request)


class OneRun(Call):
    """GET /acts/runs/{id}: the run, its steps and the end of its log; 404 unknown or invisible."""

    @described("get_run", "See a run", answers={200: RunOut}, shows=shown.RUN, etag=True)
    def get(self, request: Request, run_id: int) -> Response:
        run = _run(request, run_id)
        return Response(RunOut(run).data, headers={"ETag": run.etag})


def _run(request: Request, run_id: int) -> Run:
    run = _runs(request).select_related("parent").filter(pk=run_id).first()
    if run is None:
        raise NotFound(f"There is no run {run_id}, or you may not see it.")
    return run


class RunCall(Call):
    """A call on one run, which may be held against its ETag."""

    def etag_now(self, **named: Any) -> str | None:
        run = Run.objects.select_for_update(of=("self",)).filter(pk=named["run_id"]).first()
        return run.etag if run else None


class CancelRun(RunCall):
    """PATCH /acts/runs/{id}/cancel: the run; 403, 404, 409 when it has ended."""

    @described(
        "cancel_run",
        "Cancel a run",
        asks=ReasonIn,
        example=shown.CANCEL,
        answers={200: RunOut},
        shows=shown.CANCELLED_RUN,
        refuses=("wrong_state",),
    )
    def patch(self, request: Request, run_id: int) -> Response:
        given = validated(ReasonIn, request.data)
        stopping.cancel_run(run_id=run_id, actor=self.actor, **given)
        return Response(RunOut(_run(request, run_id)).data)


class TerminateRun(RunCall):
    """PATCH /acts/runs/{id}/terminate: end it at once, and undo nothing; 403, 404, 409 when it has ended."""

    @described(
        "terminate_run",
        "End a run at once",
        asks=TerminateIn,
        example=shown.TERMINATE,
        answers={200: RunOut},
        shows=shown.TERMINATED_RUN,
        refuses=("wrong_state",),
    )
    def patch(self, request: Request, run_id: int) -> Response:
        given = validated(TerminateIn, request.data)
        stopping.terminate_run(run_id=run_id, actor=self.actor, **given)
        return Response(RunOut(_run(request, run_id)).data)


class SendSignal(RunCall):
    """POST /acts/runs/{id}/signals/{name}: tell it that something has happened; kept until a step waits for it."""

    @described(
        "send_signal",
        "Send a run a signal",
        asks=SignalIn,
        example=shown.SIGNAL,
        answers={200: RunOut},
        shows=shown.RUN,
        refuses=("wrong_state",),
    )
    def post(self, request: Request, run_id: int, signal: str) -> Response:
        given = validated(SignalIn, request.data)
        waits.send_signal(run_id=run_id, actor=self.actor, name=signal, **given)
        return Response(RunOut(_run(request, run_id)).data)


class NextTask(Call):
    """POST /acts/tasks/next: claim the next ready task of a role; 204 when there is none within `wait` seconds."""

    repeatable = False  # its answer holds a token
    limit_scope = "claim"

    @described(
        "next_task",
        "Claim the next task of a role",
        asks=NextIn,
        example=shown.NEXT,
        answers={
            200: PolymorphicProxySerializer("Claimed", [shown.LeaseOut, shown.LeasesOut], None),
            204: None,
        },
        shows=shown.LEASE,
        refuses=("role_required",),
    )
    def post(self, request: Request) -> Response:
        given = validated(NextIn, request.data)
        leases = services.claim_tasks(role=given["role"], actor=self.actor, limit=given["limit"])
        if not leases:
            waits_for = wake.TASKS if performers.of_role(given["role"]) is None else wake.INBOX
            return Response(status=204, headers=asking_again(given["wait"], waits_for) if given["wait"] else None)
        if given["limit"] > 1:
            return Response({"tasks": [lease_json(lease) for lease in leases]})
        return Response(lease_json(leases[0]))


class TaskFilter(django_filters.FilterSet):
    status = AnyOf(field_name="state", choices=TaskState.choices)
    role = django_filters.CharFilter()
    run = WholeNumber(field_name="run_id")
    assignee = django_filters.CharFilter(method="by_assignee")
    unresolved = TrueOrFalse(method="by_unresolved")

    class Meta:
        model = Task
        fields: list[str] = []

    def by_assignee(self, tasks: QuerySet[Task], name: str, value: str) -> QuerySet[Task]:
        if value == "me":
            return tasks.filter(assignee=self.request.user.pk)
        return tasks.filter(assignee__username=value)

    def by_unresolved(self, tasks: QuerySet[Task], name: str, value: bool) -> QuerySet[Task]:
        """Incidents that wait for an operator; or all else."""
        waiting = Q(state=TaskState.INCIDENT, resolved_at__isnull=True)
        return tasks.filter(waiting if value else ~waiting)


def _tasks(request: Request) -> QuerySet[Task]:
    return Task.objects.visible_to(request.user).select_related("assignee")


@listed("list_tasks", "List the tasks of the runs you may see", TaskOut, shows=shown.TASK)
class Tasks(Call, ListAPIView[Task]):
    """GET /acts/tasks: the tasks of the runs you may see, newest first."""

    serializer_class = TaskOut
    pagination_class = CursorPages
    filterset_class = TaskFilter

    def get_queryset(self) -> QuerySet[Task]:
        return _tasks(self.request)


class OneTask(Call):
    """GET /acts/tasks/{id}."""

    @described("get_task", "See a task", answers={200: TaskOut}, shows=shown.TASK, etag=True)
    def get(self, request: Request, task_id: int) -> Response:
        task = _tasks(request).filter(pk=task_id).first()
        if task is None:
            raise NotFound(f"There is no task {task_id}, or you may not see it.")
        return Response(TaskOut(task).data, headers={"ETag": task.etag})


class TaskCall(Call):
    """A call on one task, which may be held against its ETag."""

    limit_scope = "claim"

    def etag_now(self, **named: Any) -> str | None:
        if not Task.objects.filter(pk=named["task_id"]).exists():
            return None
        _, task = locked_task(named["task_id"])
        return task.etag


class CompleteTask(TaskCall):
    """POST /acts/tasks/{id}/complete: the task; 404, 409 lease_lost, 422 an outcome it does not declare."""

    @described(
        "complete_task",
        "Report the outcome of a task",
        asks=CompleteIn,
        example=shown.COMPLETE,
        answers={200: TaskOut},
        shows=shown.COMPLETED_TASK,
        refuses=("role_required", "lease_lost", "wrong_state", "already_decided", "token_expired"),
    )
    def post(self, request: Request, task_id: int) -> Response:
        given = validated(CompleteIn, request.data)
        return Response(TaskOut(services.complete_task(task_id=task_id, actor=self.actor, **given)).data)


class FailTask(TaskCall):
    """POST /acts/tasks/{id}/fail: report a fault; the step's policy decides what follows."""

    @described(
        "fail_task",
        "Report a fault",
        asks=FailIn,
        example=shown.FAIL,
        answers={200: TaskOut},
        shows=shown.FAILED_TASK,
        refuses=("role_required", "lease_lost"),
    )
    def post(self, request: Request, task_id: int) -> Response:
        given = validated(FailIn, request.data)
        return Response(TaskOut(services.fail_task(task_id=task_id, actor=self.actor, **given)).data)


class Heartbeat(TaskCall):
    """POST /acts/tasks/{id}/heartbeat: the lease holds for another `token_ttl` from now."""

    renewal = False

    @described(
        "heartbeat",
        "Keep a lease",
        asks=TokenIn,
        example=shown.TOKEN,
        answers={200: shown.KeptOut},
        shows=shown.KEPT,
        refuses=("role_required", "lease_lost", "wrong_state", "already_decided", "token_expired"),
    )
    def post(self, request: Request, task_id: int) -> Response:
        given = validated(TokenIn, request.data)
        task = services.extend_lease(task_id=task_id, actor=self.actor, renewal=self.renewal, **given)
        return Response(
            {
                "expires_at": _moment(task.lease_expires_at),
                "cancel_requested": task.run.state in (RunState.CANCELLING, RunState.CANCELLED),
                "paused": task.run.state in (RunState.PAUSING, RunState.PAUSED),
            }
        )


@described_anew("POST", "renew_lease", "Keep a lease, and have it recorded")
class Renew(Heartbeat):
    """POST /acts/tasks/{id}/renew: as a heartbeat, and recorded."""

    renewal = True


class RequestApproval(TaskCall):
    """POST /acts/tasks/{id}/request-approval: ask a person before going on; the lease ends."""

    @described(
        "request_approval",
        "Ask a person in mid-task",
        asks=AskIn,
        example=shown.ASK,
        answers={200: shown.AskedOut},
        shows=shown.ASKED,
        refuses=("role_required", "lease_lost"),
    )
    def post(self, request: Request, task_id: int) -> Response:
        given = validated(AskIn, request.data)
        request_id, task = asking.request_approval(task_id=task_id, actor=self.actor, **given)
        return Response({"request_id": request_id, "status": task.state})


class Resume(TaskCall):
    """POST /acts/tasks/{id}/resume: take up an approved task; 200 with a new token and fence."""

    repeatable = False  # its answer holds a token

    @described(
        "resume_task",
        "Take up an approved task",
        asks=TokenIn,
        example=shown.TOKEN,
        answers={200: shown.LeaseOut},
        shows=shown.RESUMED,
        refuses=("role_required", "lease_lost", "wrong_state"),
    )
    def post(self, request: Request, task_id: int) -> Response:
        given = validated(TokenIn, request.data)
        return Response(lease_json(asking.resume_task(task_id=task_id, actor=self.actor, **given)))


class ReleaseTask(TaskCall):
    """POST /acts/tasks/{id}/release: give the task back to its role."""

    @described(
        "release_task",
        "Give a task back",
        asks=ReleaseIn,
        example=shown.RELEASE,
        answers={200: TaskOut},
        shows=shown.RELEASED_TASK,
        refuses=("role_required", "lease_lost"),
    )
    def post(self, request: Request, task_id: int) -> Response:
        given = validated(ReleaseIn, request.data)
        return Response(TaskOut(services.release_task(task_id=task_id, actor=self.actor, **given)).data)


class ResolveIncident(TaskCall):
    """POST /acts/tasks/{id}/resolve: try an incident again, leave it out, or let it fail; 403, 404, 409."""

    limit_scope = "create"

    @described(
        "resolve_incident",
        "Resolve an incident",
        asks=ResolveIn,
        example=shown.RESOLVE,
        answers={200: TaskOut},
        shows=shown.RESOLVED_TASK,
        refuses=("wrong_state",),
    )
    def post(self, request: Request, task_id: int) -> Response:
        given = validated(ResolveIn, request.data)
        return Response(TaskOut(resolve_incident(task_id=task_id, actor=self.actor, **given)).data)
