# SPDX-License-Identifier: Apache-2.0
"""`/acts/run` and `/acts/runs…`: read a request, call one service, show the result."""

from __future__ import annotations

from typing import Any

import django_filters
from django.db import connection
from django.db.models import BooleanField, QuerySet
from django.db.models.expressions import RawSQL
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.calls import Call
from config.api import validated
from config.errors import Invalid, NotFound, Problem
from config.lists import AnyOf, CursorPages, Moment, TrueOrFalse, WholeNumber
from config.openapi import described, listed
from runs import described as shown
from runs import services, stopping, waits
from runs.api_shapes import ReasonIn, RunListOut, RunOut, SignalIn, StartIn, StartOut, TerminateIn
from runs.models import Priority, Run, RunState


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
