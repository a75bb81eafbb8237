# SPDX-License-Identifier: Apache-2.0
"""`/hitl/requests…`: ask a human, see what became of it, decide."""

from __future__ import annotations

import re
from typing import Any

import django_filters
from django.db.models import CharField, OuterRef, Prefetch, QuerySet, Subquery
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.calls import Call
from accounts.models import User
from approvals import asking, claiming, reading, revising, services
from approvals import described as shown
from approvals.models import ActionRequest, Decided, Receipt, ReceiptState, RequestState, RequestType, Severity
from approvals.reading import may_see
from approvals.secrets import secret_fields
from config import wake
from config.api import NothingIn, TextField, WholeField, validated
from config.errors import NotFound
from config.lists import AnyOf, CursorPages, WholeNumber
from config.openapi import described, listed
from config.prepared import Param, Reading
from runs.api_shapes import HumanRoleField, WaitField
from runs.models import Priority
from runs.prefer import wait_headers, wait_of

ETAG = re.compile(r'"[^"]*"')  # with or without the W/ that a proxy may have put before it
ORDERS = {"-created_at": ("-created_at", "-id"), "created_at": ("created_at", "id")}
DECIDING = (
    *("role_required", "already_decided", "wrong_state", "lease_lost", "token_expired", "request_expired"),
    *("step_up_required", "proposal_void", "no_signing_key"),
)
PRIORITIES = [name.lower() for name in Priority.names]
PROPOSAL = ("playbook", "version", "payload", "call", "input", "executor")
EXECUTORS = [("engine", "this installation does it"), ("caller", "whoever asks does it")]


class OptionIn(serializers.Serializer[Any]):
    key = serializers.RegexField(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
    label = TextField(required=False, default="", allow_blank=True, max_length=200)  # type: ignore[assignment]  # no DRF's
    ends = serializers.ChoiceField(required=False, default="", choices=[("", "goes on"), ("fail", "rejects")])


class CreateIn(serializers.Serializer[Any]):
    """What is left out, the template says: the one named, or that of the type."""

    agent_id = TextField(required=False, default="", allow_blank=True, max_length=150)
    template = TextField(required=False, max_length=60)
    request_type = serializers.ChoiceField(required=False, choices=RequestType.choices)
    title = TextField(required=False, max_length=200)
    description = TextField(required=False, allow_blank=True, max_length=20_000)
    required_fields = serializers.DictField(required=False, child=TextField(max_length=500))
    form = serializers.DictField(required=False, default=None, allow_null=True)
    options = OptionIn(many=True, required=False, default=list)
    priority = serializers.ChoiceField(required=False, choices=PRIORITIES)
    severity = serializers.ChoiceField(required=False, choices=Severity.choices)
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
    template = serializers.SerializerMethodField()
    supersedes = serializers.CharField(source="supersedes_id", allow_null=True)
    held_until = serializers.DateTimeField(allow_null=True)  # an approval that can still be undone
    superseded_by = serializers.SerializerMethodField()
    duplicate = serializers.BooleanField(source="is_duplicate", help_text="It was open when it was asked again.")
    wait_url = serializers.SerializerMethodField()
    events_url = serializers.SerializerMethodField()

    def get_superseded_by(self, request: Any) -> str | None:
        if request.state != RequestState.SUPERSEDED:
            return None
        return next((each.pk for each in request.superseded_by.all()), None)

    def get_wait_url(self, request: ActionRequest) -> str:
        return f"/hitl/requests/{request.pk}?wait=30"

    def get_events_url(self, request: ActionRequest) -> str:
        return f"/acts/events?request_id={request.pk}"

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

    def get_template(self, request: ActionRequest) -> str | None:
        return request.template.name if request.template else None

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
    # Not DISTINCT, as the library would: that sorts every row that fits by all of its columns.
    status = AnyOf(field_name="state", choices=RequestState.choices)
    priority = django_filters.ChoiceFilter(choices=[(p, p) for p in PRIORITIES], method="by_priority")
    agent_id = django_filters.CharFilter(method="by_agent")
    workflow_id = django_filters.CharFilter()
    request_type = django_filters.ChoiceFilter(choices=RequestType.choices)
    role = django_filters.CharFilter()
    run = WholeNumber(field_name="run_id")
    order = django_filters.ChoiceFilter(choices=[(each, each) for each in ORDERS], method="in_order")

    class Meta:
        model = ActionRequest
        fields: list[str] = []

    def by_priority(self, requests: QuerySet[ActionRequest], name: str, value: str) -> QuerySet[ActionRequest]:
        return requests.filter(priority=Priority[value.upper()])

    def by_agent(self, requests: QuerySet[ActionRequest], name: str, value: str) -> QuerySet[ActionRequest]:
        """By its number, looked up first: joined, its index would not give the order of creation."""
        agent = User.objects.filter(username=value).values_list("pk", flat=True).first()
        return requests.filter(requester=agent) if agent is not None else requests.none()

    def in_order(self, requests: QuerySet[ActionRequest], name: str, value: str) -> QuerySet[ActionRequest]:
        return requests  # the pages see to it


class RequestPages(CursorPages):
    """Newest first, unless the query says `order=created_at`."""

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: Any) -> tuple[str, ...]:
        return ORDERS.get(request.query_params.get("order", ""), ORDERS["-created_at"])


def _requests(request: Request) -> QuerySet[ActionRequest]:
    seen = _to_show(ActionRequest.objects.visible_to(request.user))
    return seen.prefetch_related(Prefetch("superseded_by", ActionRequest.objects.only("pk", "supersedes")))


def _to_show(requests: QuerySet[ActionRequest]) -> QuerySet[ActionRequest]:
    held = Receipt.objects.filter(request=OuterRef("pk"), state=ReceiptState.HELD).values("not_before")
    return requests.annotate(held_until=Subquery(held[:1])).select_related(
        "requester", "decided_by", "assigned_to", "template"
    )


def one_request(request: Request, request_id: str) -> ActionRequest:
    found = next(iter(_one_to_show(request_id=request_id)), None)
    if found is None or not may_see(found, request.user):
        raise NotFound(f"There is no request {request_id}, or you may not see it.")
    return found


_one_to_show = Reading(
    lambda: _to_show(ActionRequest.objects.filter(pk=Param("request_id", CharField())).order_by())
)  # read at each look of whoever waits for an answer


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
        about="Members of the role are told by mail, and find it in their inbox. The same question again, while it is "
        "open, is answered with that request (200, `duplicate` is true), and asks nobody a second time. Wait for the "
        "answer by `wait_url`, or follow `events_url`.",
        asks=CreateIn,
        example=shown.CREATE,
        answers={201: RequestOut, 200: RequestOut},
        shows=shown.REQUEST,
        refuses=("invalid_policy", "secret_not_supported"),
        etag=True,
    )
    def post(self, request: Request) -> Response:
        given = validated(CreateIn, request.data)
        if "priority" in given:
            given["priority"] = Priority[given["priority"].upper()]
        proposal = {name: given.pop(name) for name in PROPOSAL}
        made = asking.create_request(actor=self.actor, proposal=proposal, **given)
        if made.standing_rule_id is not None and made.action is not None and not made.is_duplicate:
            services.answer_by_rule(request_id=made.pk)  # here, where a receipt can be signed
        found = one_request(request, made.pk)
        found.is_duplicate = made.is_duplicate
        headers = {"ETag": found.etag, "Location": f"/hitl/requests/{found.pk}"}
        status = 200 if made.is_duplicate else 201
        return Response(RequestOut(found).data, status=status, headers=headers)


class RequestCall(Call):
    """A call on one request, which may be held against its ETag."""

    limit_scope = "decide"

    def etag_now(self, **named: Any) -> str | None:
        return reading.locked(named["request_id"], self.actor).etag

    def told(self, request_id: str) -> Response:
        """The request as it is now."""
        return Response(RequestOut(one_request(self.request, request_id)).data)


class OneRequest(RequestCall):
    """GET /hitl/requests/{id}: reading changes nothing, and carries nothing out. With `wait` (or `Prefer: wait=30`) the
    answer comes once the request is closed, or after so many seconds. With `If-None-Match` it comes once the request is
    another than that one, and is 304 if it is not.

    PATCH: ask something else instead, as a new revision; votes on what was asked before count no more.
    """

    @described(
        "get_request",
        "See a request, or wait for its answer",
        queries=[shown.WAIT, shown.PREFER, shown.IF_NONE_MATCH],
        answers={200: RequestOut, 304: None},
        shows=shown.REQUEST,
        etag=True,
    )
    def get(self, request: Request, request_id: str) -> Response:
        wait = wait_of(request, validated(WaitIn, request.query_params.dict())["wait"])
        found = one_request(request, request_id)
        known = request.headers.get("If-None-Match")
        is_known = known is not None and found.etag in ETAG.findall(known)
        is_awaited = found.is_open if known is None else is_known and found.is_open
        waiting = wait_headers(request, wait, is_empty_handed=is_awaited, waits_for=wake.REQUESTS)
        headers = {"ETag": found.etag, **waiting}
        if is_known:
            return Response(status=304, headers=headers)
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
        refuses=(*DECIDING, "secret_not_supported"),
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
