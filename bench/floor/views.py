# SPDX-License-Identifier: Apache-2.0
"""Completing a task with DRF and nothing else: three writes by the ORM, or the same as one statement."""

from __future__ import annotations

from typing import Any

from django.db import connection, transaction
from django.urls import path
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from bench.floor.models import Log, Task

ONE_STATEMENT = """
WITH ended AS (
    UPDATE task SET state = 'done', outcome = %s WHERE id = %s AND state = 'claimed' RETURNING run_id, id
), told AS (
    INSERT INTO log (run_id, task_id, kind, actor) SELECT run_id, id, 'completed', %s FROM ended
)
INSERT INTO task (run_id, step, role) SELECT run_id, 2, 'agent:validator' FROM ended RETURNING id
"""


class CompleteIn(serializers.Serializer[Any]):
    token = serializers.CharField(max_length=100)
    outcome = serializers.ChoiceField(choices=["PASS", "FAIL"])
    output = serializers.JSONField()
    note = serializers.CharField(max_length=200, required=False)


class Complete(APIView):
    """Three writes in one transaction."""

    def post(self, request: Request, number: int) -> Response:
        given = CompleteIn(data=request.data)
        given.is_valid(raise_exception=True)
        opened = self.complete(number, given.validated_data["outcome"], request.user.get_username())
        return Response({"task": number, "state": "done", "next": opened}, status=200 if opened else 409)

    def complete(self, number: int, outcome: str, actor: str) -> int | None:
        """The number of the task that follows; None if this one was not claimed."""
        with transaction.atomic():
            if not Task.objects.filter(pk=number, state="claimed").update(state="done", outcome=outcome):
                return None
            following = Task.objects.create(run_id=number, step=2, role="agent:validator", payload={"form_id": 123})
            Log.objects.create(run_id=number, task_id=number, kind="completed", actor=actor, data={"outcome": outcome})
        return following.pk


class CompleteAtOnce(Complete):
    def complete(self, number: int, outcome: str, actor: str) -> int | None:
        with connection.cursor() as cursor:
            cursor.execute(ONE_STATEMENT, [outcome, number, actor])
            found = cursor.fetchone()
        return found[0] if found else None


urlpatterns = [
    path("three-writes/<int:number>/complete", Complete.as_view()),
    path("one-statement/<int:number>/complete", CompleteAtOnce.as_view()),
]
