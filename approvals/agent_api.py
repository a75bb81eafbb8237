# SPDX-License-Identifier: Apache-2.0
"""`/hitl/requests/{id}/cancel`, `/hitl/templates`, `/hitl/statistics`: what whoever asks needs beside asking."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.calls import Call
from approvals import described as shown
from approvals import statistics
from approvals.api import RequestCall, RequestOut
from approvals.cancelling import cancel_request
from approvals.models import RequestTemplate, RequestType, Severity
from config.api import TextField, validated
from config.lists import CursorPages
from config.openapi import described, listed
from runs.models import Priority


class CancelIn(serializers.Serializer[Any]):
    reason = TextField(required=False, default="", allow_blank=True, max_length=10_000)


class Cancel(RequestCall):
    """POST /hitl/requests/{id}/cancel: whoever asked takes the question back. To stop waiting for it is not to."""

    limit_scope = "create"

    @described(
        "cancel_request",
        "Take a question back",
        asks=CancelIn,
        example=shown.CANCEL,
        answers={200: RequestOut},
        shows=shown.CANCELLED,
        refuses=("already_decided", "wrong_state"),
    )
    def post(self, request: Request, request_id: str) -> Response:
        given = validated(CancelIn, request.data)
        cancel_request(request_id=request_id, actor=self.actor, reason=given["reason"])
        return self.told(request_id)


class TemplateOut(serializers.ModelSerializer[RequestTemplate]):
    request_type = serializers.ChoiceField(choices=RequestType.choices)
    severity = serializers.ChoiceField(choices=Severity.choices)
    priority = serializers.SerializerMethodField()
    required_fields = serializers.DictField(child=serializers.CharField())
    reasons = serializers.DictField(child=serializers.CharField())
    reversible = serializers.BooleanField(source="is_reversible")

    class Meta:
        model = RequestTemplate
        fields = (
            "name", "title", "request_type", "title_pattern", "description_pattern", "required_fields", "role",
            "priority", "severity", "policy", "reasons", "reversible", "revision",
        )  # fmt: skip

    def get_priority(self, template: RequestTemplate) -> str:
        return Priority(template.priority).name.lower()


class TemplatePages(CursorPages):
    ordering = ("name",)


@listed("list_templates", "List the templates in use", TemplateOut, shows=shown.TEMPLATE)
class Templates(Call, ListAPIView[RequestTemplate]):
    """GET /hitl/templates: what a request may name as its `template`."""

    serializer_class = TemplateOut
    pagination_class = TemplatePages

    def get_queryset(self) -> QuerySet[RequestTemplate]:
        return RequestTemplate.objects.filter(is_active=True)


class Statistics(Call):
    """GET /hitl/statistics: what became of the requests; of all of them, or, without the permission, of one's own."""

    @described(
        "get_statistics",
        "See what became of the requests",
        queries=[statistics.PERIOD, statistics.PEOPLE_TOO],
        answers={200: statistics.SCHEMA},
        shows=statistics.EXAMPLE,
        refuses=("forbidden",),
    )
    def get(self, request: Request) -> Response:
        return Response(statistics.report(self.actor, **statistics.asked_for(request.query_params)))
