# SPDX-License-Identifier: Apache-2.0
"""`/acts/tasks…`: claim, report, give back, resolve. Each reads a request, calls one service, shows the result."""

from __future__ import annotations

from typing import Any

import django_filters
from django.db.models import Q, QuerySet
from drf_spectacular.utils import PolymorphicProxySerializer
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.calls import Call
from config import wake
from config.api import validated
from config.errors import NotFound
from config.lists import AnyOf, CursorPages, TrueOrFalse, WholeNumber
from config.openapi import described, described_anew, listed
from runs import asking, performers, services
from runs import described as shown
from runs.advance import locked_task
from runs.api_shapes import (
    AskIn,
    CompleteIn,
    FailIn,
    NextIn,
    ReleaseIn,
    ResolveIn,
    TaskOut,
    TokenIn,
    lease_json,
    moment_json,
)
from runs.incidents import resolve_incident
from runs.models import RunState, Task, TaskState
from runs.prefer import asking_again


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
                "expires_at": moment_json(task.lease_expires_at),
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
