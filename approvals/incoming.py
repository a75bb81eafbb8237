# SPDX-License-Identifier: Apache-2.0
"""Decisions that arrive signed from outside: a click in Slack, a message of an approval system.

In this order: the signature over the very bytes that came, the time (five minutes at most), whether the same message
has been acted on, who its author is here, and then `decide()` with all its rules. Whatever is refused on the way is
recorded. That a message was seen is written in the transaction of what came of it: a sender that got no answer may
send it again.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from accounts.models import User
from approvals import slack
from approvals.models import (
    ActionRequest,
    ExternalSystem,
    ExternalUser,
    Notification,
    SeenMessage,
    SlackAccount,
)
from approvals.models.messages import Channel
from approvals.services import decide
from audit import actions
from audit.context import coming_from, origin
from audit.services import act
from config import clock, wake
from config.errors import Forbidden, NotFound, Refused, Unavailable
from playbooks import secret_refs

TO_REVIEW = "to_review"


class BadSignature(Forbidden):
    """The signature does not fit. Sign exactly the bytes that are sent, with the secret of this system."""

    code = "bad_signature"


class StaleMessage(Forbidden):
    """The message is older than five minutes, or from the future. Send it anew, with the time of now."""

    code = "stale_message"


class Replayed(Refused):
    """This message has been acted on already. What came of it then stands."""

    code = "replayed"


class NotLinked(Forbidden):
    """Nobody here is known to be the person who sent this. Link the account first."""

    code = "not_linked"


def _once(source: str, message_id: str, perform: Callable[[], Any]) -> Any:
    """Perform it, if this message has not been acted on; a refusal of it is final, too, and stays recorded."""
    with transaction.atomic():
        try:
            _remember(system_id=source, message_id=message_id)
            return perform()
        except Refused as refused:
            refusal = refused
    raise refusal


@act(actions.OUTSIDE_DENIED)
def _remember(*, system_id: str, message_id: str) -> None:
    try:
        with transaction.atomic():
            SeenMessage.objects.create(source=system_id, message_id=message_id, seen_at=clock.now())
    except IntegrityError:
        raise Replayed from None


# Slack ----------------------------------------------------------------------------------------------------


def click(*, body: bytes, timestamp: str, signature: str, payload: Callable[[bytes], Mapping[str, Any]]) -> str:
    """One click on a button: the sentence for who clicked. Raises BadSignature, StaleMessage, Replayed, Invalid."""
    authenticate_slack(system_id="slack", body=body, timestamp=timestamp, signature=signature)
    given = payload(body)
    asked = given["value"]
    if asked is None:
        return ""  # the button that opens the page: there is nothing to decide
    try:
        return str(_once("slack", signature, lambda: _decide_by_click(given["member"], asked)))
    except Replayed:
        raise
    except Refused as refusal:
        return refusal.detail


@act(actions.OUTSIDE_DENIED)
def authenticate_slack(*, system_id: str, body: bytes, timestamp: str, signature: str) -> None:
    if not slack.is_signed(body, timestamp, signature):
        raise BadSignature
    if not slack.is_fresh(timestamp, clock.now()):
        raise StaleMessage


def _decide_by_click(member: str, asked: Mapping[str, Any]) -> str:
    person = member_behind(system_id="slack", member=member)
    request = ActionRequest.objects.filter(pk=asked["request"]).first()
    if request is not None and request.is_open and (why := slack.only_on_page(request)):
        return _to_review(person, request, why)
    with coming_from("slack", credential=f"slack:{member}", request_id=origin().request_id):
        try:
            decide(
                request_id=asked["request"],
                actor=person,
                outcome=asked["outcome"],
                revision=asked["revision"],
                shown_digest=asked["digest"],
            )
        except Refused as refusal:
            if request is None or not request.is_open or refusal.status == 404:
                raise
            return _to_review(person, request, refusal.detail)
    return "Done: your decision is recorded."


@act(actions.OUTSIDE_DENIED)
def member_behind(*, system_id: str, member: str) -> User:
    """Who this member of the workspace is here, by their stable id; a name proves nothing."""
    found = SlackAccount.objects.filter(member=member, ended_at__isnull=True).select_related("user").first()
    if found is None:
        raise NotLinked("Link your Slack account first: in HMS-ACT, under How you are told.")
    return found.user


def _to_review(person: User, request: ActionRequest, why: str) -> str:
    """Slack shows no answer to a click; the sentence follows as a message."""
    at = clock.now()
    row = Notification(
        request=request,
        recipient=person,
        purpose=TO_REVIEW,
        channel=Channel.SLACK,
        told_at=at,
        due_at=at,
        is_routed=True,
    )
    row.save(force_insert=True)
    wake.after_commit()
    return f"Open to review: {why}"


# Approval systems -----------------------------------------------------------------------------------------


def external_decision(
    *, name: str, body: bytes, headers: Mapping[str, str], read: Callable[[bytes], Mapping[str, Any]]
) -> ActionRequest:
    """A decision made in a system outside, as its person here. Raises whatever refuses it."""
    system = authenticate_system(system_id=name, body=body, headers=headers)
    message_id = headers.get("webhook-id", "")
    given = read(body)
    decided: ActionRequest = _once(
        f"external:{system.name}", message_id, lambda: _decide_from_outside(system, message_id, given)
    )
    return decided


@act(actions.OUTSIDE_DENIED)
def authenticate_system(*, system_id: str, body: bytes, headers: Mapping[str, str]) -> ExternalSystem:
    """The system that has signed these bytes. Raises NotFound, StaleMessage, BadSignature, Unavailable."""
    system = ExternalSystem.objects.filter(name=system_id, is_enabled=True).first()
    if system is None:
        raise NotFound(f"There is no approval system {system_id}, or it is disabled.")
    timestamp = headers.get("webhook-timestamp", "")
    if not slack.is_fresh(timestamp, clock.now()):
        raise StaleMessage
    if not 1 <= len(headers.get("webhook-id", "")) <= 200 or not _is_signed(secret_of(system), body, headers):
        raise BadSignature
    return system


def secret_of(system: ExternalSystem) -> str:
    try:
        return secret_refs.read(system.secret_ref, settings.CONNECTOR_SECRETS)
    except (secret_refs.NotListed, secret_refs.SecretUnavailable):
        raise Unavailable("The secret of this system cannot be read here. Tell an administrator.") from None


def _is_signed(secret: str, body: bytes, headers: Mapping[str, str]) -> bool:
    """By Standard Webhooks. The library would hold the time against this host's clock; the database's is ours."""
    at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    try:
        wanted = Webhook(secret).sign(headers["webhook-id"], at, body.decode())
    except (ValueError, EmptyWebhookSecretError):
        return False  # a body that is no text, or a secret that is none
    given = headers.get("webhook-signature", "").split(" ")
    return any(hmac.compare_digest(wanted.encode(), each.encode("utf-8", "replace")) for each in given)


def _decide_from_outside(system: ExternalSystem, message_id: str, given: Mapping[str, Any]) -> ActionRequest:
    person = person_behind(system_id=system.name, outside_id=given["user_id"])
    with coming_from("external", credential=f"external:{system.name}", request_id=origin().request_id):
        return decide(
            request_id=given["request_id"],
            actor=person,
            outcome=given["outcome"],
            reason=given["reason"],
            response_data=given["response_data"] or None,
            revision=given["revision"],
            shown_digest=given["digest"],
        )


@act(actions.OUTSIDE_DENIED)
def person_behind(*, system_id: str, outside_id: str) -> User:
    """Who this person of that system is here."""
    links = ExternalUser.objects.filter(system__name=system_id, outside_id=outside_id, ended_at__isnull=True)
    found = links.select_related("user").first()
    if found is None:
        raise NotLinked
    return found.user
