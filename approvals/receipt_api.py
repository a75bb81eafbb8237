# SPDX-License-Identifier: Apache-2.0
"""`/hitl/requests/{id}/receipt`, `spend`, `revoke`, `undo`, and the public keys: what an approval permits."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.calls import Call
from approvals import described as requests_shown
from approvals import holding, proof, spending
from approvals import receipts_described as shown
from approvals.api import RequestCall, RequestOut, one_request
from approvals.models import Receipt, ReceiptState, SigningKey, Spending
from approvals.models.receipts import Executor, receipt_of
from audit.services import log_origin
from config.api import TextField, validated
from config.errors import NotFound
from config.openapi import described
from playbooks.calls import ACTION


class SpendIn(serializers.Serializer[Any]):
    call = serializers.RegexField(ACTION, required=False, default="", allow_blank=True, max_length=200)
    input = serializers.DictField(required=False, default=dict)


class RevokeIn(serializers.Serializer[Any]):
    reason = TextField(max_length=10_000)


class UndoIn(serializers.Serializer[Any]):
    reason = TextField(required=False, default="", allow_blank=True, max_length=10_000)


class SpendingOut(serializers.Serializer[Any]):
    number = serializers.IntegerField()
    digest = serializers.CharField()
    spent_at = serializers.DateTimeField()
    spent_by = serializers.SerializerMethodField()
    run_id = serializers.IntegerField(allow_null=True)

    def get_spent_by(self, spent: Spending) -> str | None:
        return spent.spent_by.get_username() if spent.spent_by else None


class ReceiptOut(serializers.Serializer[Any]):
    id = serializers.CharField()
    request_id = serializers.CharField()
    status = serializers.ChoiceField(source="state", choices=ReceiptState.choices)
    executor = serializers.ChoiceField(choices=Executor.choices)
    action = serializers.SerializerMethodField()
    statement = serializers.SerializerMethodField()
    signature = serializers.CharField()
    uses = serializers.IntegerField()
    spendings = SpendingOut(many=True)

    @extend_schema_field(shown.ACTION)
    def get_action(self, receipt: Receipt) -> Any:
        return receipt.action

    @extend_schema_field(shown.STATEMENT)
    def get_statement(self, receipt: Receipt) -> Any:
        return proof.statement(receipt, log=log_origin())


class KeyOut(serializers.Serializer[Any]):
    id = serializers.CharField()
    public_key = serializers.CharField()
    created_at = serializers.DateTimeField()
    distrusted_at = serializers.DateTimeField(allow_null=True)


class KeysOut(serializers.Serializer[Any]):
    log = serializers.CharField()
    keys = KeyOut(many=True)


def _answer(request: Request, request_id: str) -> Response:
    asked = one_request(request, request_id)
    receipt = receipt_of(asked)
    if receipt is None:
        raise NotFound("This request has no receipt: nothing was approved here.", subject=asked)
    return Response(ReceiptOut(receipt).data)


class ReceiptKeys(Call):
    """GET /hitl/receipt-keys: the public keys that prove receipts, newest first."""

    @described(
        "list_receipt_keys",
        "List the public keys that prove receipts",
        answers={200: KeysOut},
        shows=shown.KEYS,
    )
    def get(self, request: Request) -> Response:
        return Response(KeysOut({"log": log_origin(), "keys": SigningKey.objects.all()}).data)


class OneReceipt(Call):
    """GET /hitl/requests/{id}/receipt: what was approved, signed, and how it was used."""

    @described(
        "get_receipt",
        "See the receipt of an approval",
        answers={200: ReceiptOut},
        shows=shown.READY,
    )
    def get(self, request: Request, request_id: str) -> Response:
        return _answer(request, request_id)


class Spend(RequestCall):
    """POST /hitl/requests/{id}/spend: use an approval for exactly what is about to be done."""

    @described(
        "spend_receipt",
        "Use an approval",
        about="Say what you are about to do. Do it only after a 200: the approval is used by it.",
        asks=SpendIn,
        example=shown.SPEND,
        answers={200: ReceiptOut},
        shows=shown.SPENT,
        refuses=(
            "action_mismatch",
            "receipt_spent",
            "receipt_expired",
            "receipt_held",
            "receipt_revoked",
            "receipt_untrusted",
            "wrong_state",
        ),
    )
    def post(self, request: Request, request_id: str) -> Response:
        given = validated(SpendIn, request.data)
        spending.spend(request_id=request_id, actor=self.actor, **given)
        return _answer(request, request_id)


class Revoke(RequestCall):
    """POST /hitl/requests/{id}/revoke: take back an approval that was not used."""

    @described(
        "revoke_receipt",
        "Take back an approval that was not used",
        asks=RevokeIn,
        example=shown.REVOKE,
        answers={200: ReceiptOut},
        shows=shown.REVOKED,
        refuses=("wrong_state",),
    )
    def post(self, request: Request, request_id: str) -> Response:
        holding.revoke(request_id=request_id, actor=self.actor, **validated(RevokeIn, request.data))
        return _answer(request, request_id)


class Undo(RequestCall):
    """POST /hitl/requests/{id}/undo: take back an approval that is held; 200 with the request that asks again."""

    @described(
        "undo_approval",
        "Undo an approval that is held",
        asks=UndoIn,
        example=shown.UNDO,
        answers={200: RequestOut},
        shows=requests_shown.REQUEST,
        refuses=("too_late_to_undo", "wrong_state"),
    )
    def post(self, request: Request, request_id: str) -> Response:
        again = holding.undo(request_id=request_id, actor=self.actor, **validated(UndoIn, request.data))
        return Response(RequestOut(one_request(request, again.pk)).data)
