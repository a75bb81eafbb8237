# SPDX-License-Identifier: Apache-2.0
"""`/hitl/requests/{id}/unwrap`, `revoke-secret`, `replace-secret`: secrets that people gave as answers."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from approvals import secret_services
from approvals import talk_described as shown
from approvals.api import RequestCall
from approvals.models import ActionRequest, SecretState
from config.api import NothingIn, TextField, WholeField, validated
from config.openapi import described


class UnwrapIn(serializers.Serializer[Any]):
    task = WholeField(required=False, default=None, allow_null=True, min_value=1, max_value=10**18 - 1)
    token = TextField(required=False, default="", allow_blank=True, max_length=100)  # of the task


class UnwrapOut(serializers.Serializer[Any]):
    request_id = serializers.CharField()
    values = serializers.SerializerMethodField()

    @extend_schema_field(shown.VALUES)
    def get_values(self, told: Any) -> Any:
        return told["values"]


class ReplaceIn(serializers.Serializer[Any]):
    response_data = serializers.DictField()


class SecretOut(serializers.Serializer[Any]):
    field = serializers.CharField()
    state = serializers.ChoiceField(choices=SecretState.choices)
    given_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()


class SecretsOut(serializers.Serializer[Any]):
    request_id = serializers.CharField(source="pk")
    secrets = serializers.SerializerMethodField()

    @extend_schema_field(SecretOut(many=True))
    def get_secrets(self, request: ActionRequest) -> Any:
        return SecretOut(request.secrets.order_by("id"), many=True).data


class Unwrap(RequestCall):
    """POST /hitl/requests/{id}/unwrap: the secrets of the answer, once, for the program that asked; then 410."""

    repeatable = False  # its answer is stored nowhere

    @described(
        "unwrap_secret",
        "Fetch the secrets of an answer, once",
        asks=UnwrapIn,
        example={},
        answers={200: UnwrapOut},
        shows=shown.UNWRAPPED,
        refuses=("wrong_state", "lease_lost", "secret_damaged", "secret_gone"),
    )
    def post(self, request: Request, request_id: str) -> Response:
        given = validated(UnwrapIn, request.data)
        values = secret_services.unwrap(
            request_id=request_id, actor=self.actor, task_id=given["task"], token=given["token"]
        )
        told = UnwrapOut({"request_id": request_id, "values": values}).data
        return Response(told, headers={"Cache-Control": "no-store"})


class RevokeSecret(RequestCall):
    """POST /hitl/requests/{id}/revoke-secret: who gave the secrets takes them back, before they are fetched."""

    @described(
        "revoke_secret",
        "Take back the secrets you gave",
        asks=NothingIn,
        example={},
        answers={200: SecretsOut},
        shows=shown.REVOKED,
        refuses=("wrong_state", "secret_gone"),
    )
    def post(self, request: Request, request_id: str) -> Response:
        validated(NothingIn, request.data)
        revoked = secret_services.revoke_secret(request_id=request_id, actor=self.actor)
        return Response(SecretsOut(revoked).data)


class ReplaceSecret(RequestCall):
    """POST /hitl/requests/{id}/replace-secret: who gave a secret gives another, before it is fetched."""

    @described(
        "replace_secret",
        "Give another secret in place of yours",
        asks=ReplaceIn,
        example=shown.REPLACING,
        answers={200: SecretsOut},
        shows=shown.SECRETS,
        refuses=("wrong_state", "secret_gone", "secret_not_supported"),
    )
    def post(self, request: Request, request_id: str) -> Response:
        values = validated(ReplaceIn, request.data)["response_data"]
        replaced = secret_services.replace_secret(request_id=request_id, actor=self.actor, values=values)
        return Response(SecretsOut(replaced).data)
