# SPDX-License-Identifier: Apache-2.0
"""`/hitl/requests…`: ask a human, see what became of it, decide."""

from __future__ import annotations

from typing import Any

import django_filters
from django.conf import settings
from django.db.models import OuterRef, QuerySet, Subquery
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.calls import Call
from approvals import asking, claiming, reading, revising, services
from approvals import described as shown
from approvals.models import ActionRequest, Decided, Receipt, ReceiptState, RequestState, RequestType, Severity
from approvals.secrets import secret_fields
from config.api import NothingIn, TextField, WholeField, validated
from config.errors import NotFound
from config.lists import CursorPages, WholeNumber
from config.openapi import described, listed
from runs.api import WAIT_HEADER, HumanRoleField, WaitField
from runs.models import Priority

DECIDING = (
    *("role_required", "already_decided", "wrong_state", "lease_lost", "token_expired", "request_expired"),
    "step_up_required",
)
PRIORITIES = [name.lower() for name in Priority.names]
PROPOSAL = ("playbook", "version", "payload", "call", "input", "executor")
EXECUTORS = [("engine", "this installation does it"), ("caller", "whoever asks does it")]


class OptionIn(serializers.Serializer[Any]):
    key = serializers.RegexField(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
    label = TextField(required=False, default="", allow_blank=True, max_length=200)  # type: ignore[assignment]  # no DRF's
    ends = serializers.ChoiceField(required=False, default="", choices=[("", "goes on"), ("fail", "rejects")])


class CreateIn(serializers.Serializer[Any]):
    agent_id = TextField(required=False, default="", allow_blank=True, max_length=150)
    request_type = serializers.ChoiceField(required=False, default="custom", choices=RequestType.choices)
    title = TextField(max_length=200)
    description = TextField(required=False, default="", allow_blank=True, max_length=20_000)
    required_fields = serializers.DictField(required=False, default=dict, child=TextField(max_length=500))
    form = serializers.DictField(required=False, default=None, allow_null=True)
    options = OptionIn(many=True, required=False, default=list)
    priority = serializers.ChoiceField(required=False, default="medium", choices=PRIORITIES)
    severity = serializers.ChoiceField(required=False, default="medium", choices=Severity.choices)
    context = serializers.DictField(required=False, default=dict)  # type: ignore[assignment]  # not DRF's attribute
    workflow_id = TextField(required=False, default="", allow_blank=True, max_length=100)
    role = HumanRoleField()
    playbook = TextField(required=False, default="", allow_blank=True, max_length=100)
    version = WholeField(required=False, default=None, allow_null=True, min_value=1, max_value=10**9 - 1)
    payload = serializers.DictField(required=False, default=dict)
    call = TextField(required=False, default="", allow_blank=True, max_length=200)
    input = serializers.DictField(required=False, default=dict)
    executor = serializers.ChoiceField(required=False, default="", allow_blank=True, choices=EXECUTORS)
    policy = serializers.DictField(required=False, default=None, allow_null=True)


class ReviseIn(serializers.Serializer[Any]):
    """What shall be asked instead; what is left out stays."""

    title = TextField(required=False, max_length=200)
    description = TextField(required=False, allow_blank=True, max_length=20_000)
    context = serializers.DictField(required=False)  # type: ignore[assignment]  # not DRF's attribute
    payload = serializers.DictField(required=False)
    input = serializers.DictField(required=False)
    reason = TextField(required=False, default="", allow_blank=True, max_length=10_000)
    revision = WholeField(required=False, default=None, allow_null=True, min_value=1, max_value=2**31 - 1)


class WaitIn(serializers.Serializer[Any]):
    wait = WaitField(in_query=True)


class FulfillIn(serializers.Serializer[Any]):
    response_data = serializers.DictField(required=False, default=dict)
    notes = TextField(required=False, default="", allow_blank=True, max_length=10_000)
    outcome = TextField(required=False, default=services.APPROVE, max_length=64)
    reason_code = TextField(required=False, default="", allow_blank=True, max_length=64)
    constraints = serializers.DictField(required=False, default=None, allow_null=True)
    emergency = serializers.BooleanField(required=False, default=False)
    fulfilled_by = TextField(required=False, default="", allow_blank=True, max_length=150)
    revision = WholeField(required=False, default=None, allow_null=True, min_value=1, max_value=2**31 - 1)
    token = TextField(required=False, default="", allow_blank=True, max_length=100)  # of a claim


class RejectIn(serializers.Serializer[Any]):
    reason = TextField(required=False, default="", allow_blank=True, max_length=10_000)
    reason_code = TextField(required=False, default="", allow_blank=True, max_length=64)
    rejected_by = TextField(required=False, default="", allow_blank=True, max_length=150)
    revision = WholeField(required=False, default=None, allow_null=True, min_value=1, max_value=2**31 - 1)
    token = TextField(required=False, default="", allow_blank=True, max_length=100)  # of a claim


class RequestOut(serializers.Serializer[Any]):
    id = serializers.CharField()
    agent_id = serializers.CharField(source="requester.username")
    request_type = serializers.ChoiceField(choices=RequestType.choices)
    title = serializers.CharField()
    description = serializers.CharField()
    required_fields = serializers.DictField()
    form = serializers.SerializerMethodField()
    priority = serializers.SerializerMethodField()
    severity = serializers.CharField()
    context = serializers.SerializerMethodField()  # type: ignore[assignment]  # the same
    role = serializers.CharField()
    options = serializers.SerializerMethodField()
    action = serializers.SerializerMethodField()
    policy = serializers.SerializerMethodField()
    stage = serializers.IntegerField()
    revision = serializers.IntegerField()
    digest = serializers.CharField()
    status = serializers.ChoiceField(source="state", choices=RequestState.choices)
    outcome = serializers.CharField()
    decided_how = serializers.ChoiceField(choices=[("", ""), *Decided.choices])
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    assigned_to = serializers.SerializerMethodField()
    follow_up_at = serializers.DateTimeField(allow_null=True)
    due_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)
    fulfilled_by = serializers.SerializerMethodField()
    fulfilled_at = serializers.SerializerMethodField()
    response_data = serializers.SerializerMethodField()
    secret_fields = serializers.SerializerMethodField()
    notes = serializers.CharField()
    rejection_reason = serializers.CharField()
    reason_code = serializers.CharField()
    constraints = serializers.SerializerMethodField()
    exchange = serializers.SerializerMethodField()
    workflow_id = serializers.CharField()
    run_id = serializers.IntegerField(allow_null=True)
    task_id = serializers.IntegerField(allow_null=True)
    supersedes = serializers.CharField(source="supersedes_id", allow_null=True)
    held_until = serializers.DateTimeField(allow_null=True)  # an approval that can still be undone

    def get_priority(self, request: ActionRequest) -> str:
        return Priority(request.priority).name.lower()

    @extend_schema_field(shown.OPTIONS)
    def get_options(self, request: ActionRequest) -> Any:
        return request.options

    @extend_schema_field(shown.FORM)
    def get_form(self, request: ActionRequest) -> Any:
        return request.form

    @extend_schema_field(shown.ANYTHING)
    def get_context(self, request: ActionRequest) -> Any:
        return request.asked.get("context", request.asked)

    @extend_schema_field(shown.MAYBE_OBJECT)
    def get_action(self, request: ActionRequest) -> Any:
        return request.action

    @extend_schema_field(shown.OBJECT)
    def get_policy(self, request: ActionRequest) -> Any:
        return request.policy

    @extend_schema_field(shown.MAYBE_OBJECT)
    def get_constraints(self, request: ActionRequest) -> Any:
        return request.constraints

    @extend_schema_field(shown.EXCHANGE)
    def get_exchange(self, request: ActionRequest) -> Any:
        return request.exchange

    @extend_schema_field(shown.ANSWER)
    def get_response_data(self, request: ActionRequest) -> Any:
        """As it is stored: secrets never are."""
        return request.response_data

    def get_secret_fields(self, request: ActionRequest) -> list[str]:
        return sorted(secret_fields(request, request.response_data or {}))

    def get_assigned_to(self, request: ActionRequest) -> str | None:
        return request.assigned_to.get_username() if request.assigned_to else None

    def get_fulfilled_by(self, request: ActionRequest) -> str | None:
        return request.decided_by.get_username() if request.decided_by else None

    @extend_schema_field(serializers.DateTimeField(allow_null=True))
    def get_fulfilled_at(self, request: ActionRequest) -> Any:
        return serializers.DateTimeField().to_representation(request.decided_at) if request.decided_at else None


class RequestFilter(django_filters.FilterSet):
    status = django_filters.MultipleChoiceFilter(field_name="state", choices=RequestState.choices)
    priority = django_filters.ChoiceFilter(choices=[(p, p) for p in PRIORITIES], method="by_priority")
    agent_id = django_filters.CharFilter(field_name="requester__username")
    request_type = django_filters.ChoiceFilter(choices=RequestType.choices)
    role = django_filters.CharFilter()
    run = WholeNumber(field_name="run_id")

    class Meta:
        model = ActionRequest
        fields: list[str] = []

    def by_priority(self, requests: QuerySet[ActionRequest], name: str, value: str) -> QuerySet[ActionRequest]:
        return requests.filter(priority=Priority[value.upper()])


class RequestPages(CursorPages):
    ordering = ("-created_at", "-id")


def _requests(request: Request) -> QuerySet[ActionRequest]:
    held = Receipt.objects.filter(request=OuterRef("pk"), state=ReceiptState.HELD).values("not_before")
    seen = ActionRequest.objects.visible_to(request.user).annotate(held_until=Subquery(held[:1]))
    return seen.select_related("requester", "decided_by", "assigned_to")


def one_request(request: Request, request_id: str) -> ActionRequest:
    found = _requests(request).filter(pk=request_id).first()
    if found is None:
        raise NotFound(f"There is no request {request_id}, or you may not see it.")
    return found


@listed("list_requests", "List the requests you may see", RequestOut, shows=shown.REQUEST)
class Requests(Call, ListAPIView[ActionRequest]):
    """GET /hitl/requests: those you may see. POST: ask a human; 201 with the request."""

    serializer_class = RequestOut
    pagination_class = RequestPages
    filterset_class = RequestFilter

    def get_queryset(self) -> QuerySet[ActionRequest]:
        return _requests(self.request)

    @described(
        "create_request",
        "Ask a person",
        about="Members of the role are told by mail, and find it in their inbox.",
        asks=CreateIn,
        example=shown.CREATE,
        answers={201: RequestOut},
        shows=shown.REQUEST,
        refuses=("invalid_policy",),
    )
    def post(self, request: Request) -> Response:
        given = validated(CreateIn, request.data)
        given["priority"] = Priority[given["priority"].upper()]
        given.setdefault("role", settings.REVIEW_ROLE)
        proposal = {name: given.pop(name) for name in PROPOSAL}
        made = asking.create_request(actor=self.actor, proposal=proposal, **given)
        if made.standing_rule_id is not None and made.action is not None:
            services.answer_by_rule(request_id=made.pk)  # here, where a receipt can be signed
        return Response(RequestOut(one_request(request, made.pk)).data, status=201)


class RequestCall(Call):
    """A call on one request, which may be held against its ETag."""

    limit_scope = "decide"

    def etag_now(self, **named: Any) -> str | None:
        return reading.locked(named["request_id"], self.actor).etag

    def told(self, request_id: str) -> Response:
        """The request as it is now."""
        return Response(RequestOut(one_request(self.request, request_id)).data)


class OneRequest(RequestCall):
    """GET /hitl/requests/{id}. With `?wait=` the answer comes once it is closed, or after so many seconds.

    PATCH: ask something else instead, as a new revision; votes on what was asked before count no more.
    """

    @described(
        "get_request",
        "See a request, or wait for its answer",
        queries=[shown.WAIT],
        answers={200: RequestOut},
        shows=shown.REQUEST,
        etag=True,
    )
    def get(self, request: Request, request_id: str) -> Response:
        wait = validated(WaitIn, request.query_params.dict())["wait"]
        found = one_request(request, request_id)
        headers = {"ETag": found.etag, **({WAIT_HEADER: str(wait)} if wait and found.is_open else {})}
        return Response(RequestOut(found).data, headers=headers)

    @described(
        "revise_request",
        "Ask something else instead",
        asks=ReviseIn,
        example=shown.REVISE,
        answers={200: RequestOut},
        shows=shown.REVISED,
        refuses=("forbidden", "wrong_state", "already_decided"),
    )
    def patch(self, request: Request, request_id: str) -> Response:
        given = validated(ReviseIn, request.data)
        about = {"reason": given.pop("reason"), "revision": given.pop("revision")}
        revising.revise_request(request_id=request_id, actor=self.actor, changes=given, **about)
        return self.told(request_id)


class Fulfill(RequestCall):
    """POST /hitl/requests/{id}/fulfill: approve, or answer; the decider is the authenticated person."""

    @described(
        "fulfill_request",
        "Approve, or answer",
        asks=FulfillIn,
        example=shown.FULFILL,
        answers={200: RequestOut},
        shows=shown.FULFILLED,
        refuses=DECIDING,
    )
    def post(self, request: Request, request_id: str) -> Response:
        given = validated(FulfillIn, request.data)
        services.decide(
            request_id=request_id,
            actor=self.actor,
            outcome=given["outcome"],
            reason=given["notes"],
            reason_code=given["reason_code"],
            response_data=given["response_data"],
            constraints=given["constraints"],
            emergency=given["emergency"],
            revision=given["revision"],
            token=given["token"],
            claimed_decider=given["fulfilled_by"],
        )
        return Response(RequestOut(one_request(request, request_id)).data)


class ClaimIn(serializers.Serializer[Any]):
    token = TextField(required=False, default="", allow_blank=True, max_length=100)


class ClaimedOut(serializers.Serializer[Any]):
    token = serializers.CharField()
    expires_at = serializers.DateTimeField()
    request = RequestOut()


class Claim(RequestCall):
    """POST /hitl/requests/{id}/claim: tell others that you are at it. With `token`: renew that claim."""

    repeatable = False  # its answer holds a token

    @described(
        "claim_request",
        "Claim a request, or renew the claim",
        asks=ClaimIn,
        example={},
        answers={200: ClaimedOut},
        shows=shown.CLAIMED,
        refuses=("role_required", "already_decided", "wrong_state", "lease_lost", "token_expired"),
    )
    def post(self, request: Request, request_id: str) -> Response:
        token = validated(ClaimIn, request.data)["token"]
        if token:
            claimed = claiming.renew_claim(request_id=request_id, actor=self.actor, token=token)
        else:
            claimed, token = claiming.claim_request(request_id=request_id, actor=self.actor)
        assert claimed.claim_expires_at is not None
        until = serializers.DateTimeField().to_representation(claimed.claim_expires_at)
        return Response(
            {
                "token": token,
                "expires_at": until,
                "request": RequestOut(one_request(request, request_id)).data,
            }
        )


class Release(RequestCall):
    """POST /hitl/requests/{id}/release: give it back to its role."""

    @described(
        "release_request",
        "Give a request back",
        asks=NothingIn,
        example={},
        answers={200: RequestOut},
        shows=shown.REQUEST,
        refuses=("wrong_state",),
    )
    def post(self, request: Request, request_id: str) -> Response:
        validated(NothingIn, request.data)
        claiming.release_request(request_id=request_id, actor=self.actor)
        return Response(RequestOut(one_request(request, request_id)).data)


class Reject(RequestCall):
    """POST /hitl/requests/{id}/reject: refuse, with a reason."""

    @described(
        "reject_request",
        "Reject, with a reason",
        asks=RejectIn,
        example=shown.REJECT,
        answers={200: RequestOut},
        shows=shown.REJECTED,
        refuses=DECIDING,
    )
    def post(self, request: Request, request_id: str) -> Response:
        given = validated(RejectIn, request.data)
        services.decide(
            request_id=request_id,
            actor=self.actor,
            outcome=services.REJECT,
            reason=given["reason"],
            reason_code=given["reason_code"],
            revision=given["revision"],
            token=given["token"],
            claimed_decider=given["rejected_by"],
        )
        return Response(RequestOut(one_request(request, request_id)).data)
