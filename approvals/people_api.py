# SPDX-License-Identifier: Apache-2.0
"""`/hitl/requests/{id}/…`: who sees to a request, who decides in whose place, and by when."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from approvals import assigning, deadlines, delegating
from approvals import described as shown
from approvals.api import ClaimedOut, RequestCall, RequestOut, one_request
from config.api import TextField, validated
from config.openapi import described

CANNOT = ("role_required", "already_decided", "wrong_state", "request_expired")


def _reason(max_length: int = 2_000) -> TextField:
    return TextField(required=False, default="", allow_blank=True, max_length=max_length)


class TakeOverIn(serializers.Serializer[Any]):
    reason = TextField(max_length=2_000)


class AssignIn(serializers.Serializer[Any]):
    to = TextField(max_length=150, allow_blank=True)  # a user name; empty: nobody in particular
    reason = _reason()


class DelegateIn(serializers.Serializer[Any]):
    to = TextField(max_length=150)
    until = serializers.DateTimeField(required=False, default=None, allow_null=True)
    reason = _reason(500)


class DelegationOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    request_id = serializers.CharField()
    giver = serializers.CharField(source="giver.username")
    delegate = serializers.CharField(source="delegate.username")
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()


class ExtendIn(serializers.Serializer[Any]):
    by = TextField(max_length=30)  # a duration: 2h, 1d, PT30M
    reason = _reason()


class TakeOver(RequestCall):
    """POST /hitl/requests/{id}/takeover: claim what somebody else has claimed, and say why."""

    repeatable = False  # its answer holds a token

    @described(
        "take_over_request",
        "Take a request over",
        asks=TakeOverIn,
        example={"reason": "She has been called away."},
        answers={200: ClaimedOut},
        shows=shown.CLAIMED,
        refuses=CANNOT,
    )
    def post(self, request: Request, request_id: str) -> Response:
        given = validated(TakeOverIn, request.data)
        claimed, token = assigning.take_over(request_id=request_id, actor=self.actor, **given)
        assert claimed.claim_expires_at is not None
        until = serializers.DateTimeField().to_representation(claimed.claim_expires_at)
        told = RequestOut(one_request(request, request_id), context={"reader": self.actor}).data
        return Response({"token": token, "expires_at": until, "request": told})


class Assign(RequestCall):
    """POST /hitl/requests/{id}/assign: ask one person by name to see to it."""

    @described(
        "assign_request",
        "Assign a request to somebody",
        asks=AssignIn,
        example={"to": "liaison"},
        answers={200: RequestOut},
        shows={**shown.REQUEST, "assigned_to": "liaison"},
        refuses=CANNOT,
    )
    def post(self, request: Request, request_id: str) -> Response:
        assigning.assign_request(request_id=request_id, actor=self.actor, **validated(AssignIn, request.data))
        return Response(RequestOut(one_request(request, request_id), context={"reader": self.actor}).data)


class Delegate(RequestCall):
    """POST /hitl/requests/{id}/delegate: let somebody else decide it in your place."""

    @described(
        "delegate_request",
        "Let somebody decide in your place",
        asks=DelegateIn,
        example={"to": "colleague", "reason": "I am in court."},
        answers={201: DelegationOut},
        shows={
            "id": 7,
            "request_id": "har_3f9c0a7be412",
            "giver": "liaison",
            "delegate": "colleague",
            "starts_at": shown.WHEN,
            "ends_at": "2025-11-17T14:00:01.250000Z",
        },
        refuses=CANNOT,
    )
    def post(self, request: Request, request_id: str) -> Response:
        given = validated(DelegateIn, request.data)
        made = delegating.delegate_request(request_id=request_id, actor=self.actor, **given)
        return Response(DelegationOut(made).data, status=201)


class Extend(RequestCall):
    """POST /hitl/requests/{id}/extend: give more time, up to the cap."""

    @described(
        "extend_request",
        "Give more time",
        asks=ExtendIn,
        example={"by": "2h", "reason": "The expert is asked."},
        answers={200: RequestOut},
        shows=shown.REQUEST,
        refuses=("wrong_state", "request_expired", "extension_too_long"),
    )
    def post(self, request: Request, request_id: str) -> Response:
        deadlines.extend_request(request_id=request_id, actor=self.actor, **validated(ExtendIn, request.data))
        return Response(RequestOut(one_request(request, request_id), context={"reader": self.actor}).data)
