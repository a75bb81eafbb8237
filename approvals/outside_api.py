# SPDX-License-Identifier: Apache-2.0
"""`/hitl/slack/interactive` and `/hitl/external/{name}`: calls that carry a signature in place of a credential."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from approvals import incoming, outside_described
from approvals.models import RequestState
from approvals.models.outside import LONGEST_ID
from approvals.slack import DECIDE
from config.api import TextField, WholeField, parse_json, validated
from config.errors import Unparseable
from config.openapi import described

REQUEST_ID = r"^har_[0-9a-f]{12}$"


class ButtonIn(serializers.Serializer[Any]):
    """What a button of ours carries, as Slack hands it back."""

    request = serializers.RegexField(REQUEST_ID)
    revision = WholeField(min_value=1, max_value=2**31 - 1)
    digest = serializers.RegexField(r"^[0-9a-f]{64}$")
    outcome = TextField(max_length=64)


class SlackInteractive(APIView):
    """POST /hitl/slack/interactive: somebody clicked. Always 200 to a signed click, with what came of it."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @described(
        "slack_click",
        "Take in a click in Slack",
        asks=outside_described.CLICK,
        example=outside_described.CLICK_EXAMPLE,
        answers={200: outside_described.CLICKED},
        shows=outside_described.CLICKED_EXAMPLE,
        refuses=("bad_signature", "stale_message", "replayed"),
    )
    def post(self, request: Request) -> Response:
        headers = request.headers
        said = incoming.click(
            body=request._request.body,
            timestamp=headers.get("X-Slack-Request-Timestamp", ""),
            signature=headers.get("X-Slack-Signature", ""),
            payload=_clicked,
        )
        return Response({"response_type": "ephemeral", "replace_original": False, "text": said})


def _clicked(body: bytes) -> Mapping[str, Any]:
    """Who clicked, by their stable id, and what the button carries; None for the one that opens the page."""
    try:
        fields = parse_qs(body.decode("ascii"), max_num_fields=10)
    except ValueError:
        raise Unparseable("This is no form.") from None
    payload = parse_json(fields.get("payload", [""])[0].encode())
    try:
        member, (clicked, *_) = str(payload["user"]["id"]), payload["actions"]
        is_decision = str(clicked["action_id"]).startswith(f"{DECIDE}.")
        value = str(clicked["value"]) if is_decision else ""
    except (KeyError, TypeError, ValueError):
        raise Unparseable("This is no click on one of our buttons.") from None
    return {"member": member, "value": validated(ButtonIn, parse_json(value.encode())) if is_decision else None}


class DecisionIn(serializers.Serializer[Any]):
    request_id = serializers.RegexField(REQUEST_ID, help_text="Of the request, as it was told.")
    user_id = TextField(max_length=LONGEST_ID, help_text="Who decided, by the system's stable id; never a name.")
    outcome = TextField(max_length=64, help_text="`PASS`, `FAIL`, or an option's key.")
    reason = TextField(required=False, default="", allow_blank=True, max_length=10_000)
    response_data = serializers.DictField(required=False, default=dict)
    revision = WholeField(min_value=1, max_value=2**31 - 1, help_text="The revision that the person was shown.")
    digest = serializers.RegexField(
        r"^[0-9a-f]{64}$", required=False, default="", help_text="Of what the person was shown."
    )


class DecidedOut(serializers.Serializer[Any]):
    request_id = serializers.CharField(source="pk")
    status = serializers.ChoiceField(source="state", choices=RequestState.choices)
    outcome = serializers.CharField()


class ExternalDecision(APIView):
    """POST /hitl/external/{name}: a decision made in an approval system, as its person here."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @described(
        "external_decision",
        "Take in a decision of an approval system",
        asks=DecisionIn,
        example=outside_described.DECISION,
        answers={200: DecidedOut},
        shows=outside_described.DECIDED,
        refuses=(
            "bad_signature", "stale_message", "replayed", "not_linked", "role_required", "forbidden",
            "already_decided", "wrong_state", "request_expired", "stale_revision", "step_up_required", "proposal_void",
            "no_signing_key", "secret_not_supported",
        ),
    )  # fmt: skip
    def post(self, request: Request, system: str) -> Response:
        decided = incoming.external_decision(
            name=system,
            body=request._request.body,
            headers={key.lower(): value for key, value in request.headers.items()},
            read=lambda body: validated(DecisionIn, parse_json(body)),
        )
        return Response(DecidedOut(decided).data)
