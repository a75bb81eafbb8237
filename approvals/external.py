# SPDX-License-Identifier: Apache-2.0
"""Telling approval systems of requests: signed by Standard Webhooks, and only at hosts that the operator listed.

What is sent says what is asked and until when, and names what an answer has to repeat (revision and digest). Of the
arguments it holds what the policy lets a message show. Its answer comes to `POST /hitl/external/{name}`.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from approvals.letters import shown_parameters
from approvals.models import ExternalNotice
from approvals.notify import link_to
from audit.canonical import canonical
from config import clock
from config.mail import Undeliverable, Undelivered
from playbooks import outbound, secret_refs
from playbooks.catalogue import Permanent

TIMEOUTS = outbound.Timeouts(connect=5, read=10, total=20)
EVENTS = {"asked": "hitl.request.created", "revised": "hitl.request.revised"}


def send(notice: ExternalNotice) -> None:
    """Raises Undelivered, Undeliverable."""
    body = canonical(message_of(notice))
    system, at = notice.system, clock.now()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "HMS-ACT",
        "webhook-id": notice.message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": _signature(notice, at, body),
    }
    outgoing = outbound.Outgoing("POST", system.url, headers, body, TIMEOUTS)
    try:
        answer = outbound.send(outgoing, hosts=settings.CONNECTOR_HOSTS)
    except outbound.NotAllowed as refusal:
        raise Undeliverable(str(refusal))
    except (outbound.ServiceUnreachable, Permanent) as fault:
        raise Undelivered(str(fault))
    if not 200 <= answer.status < 300:
        raise (Undeliverable if answer.status == 410 else Undelivered)(f"{system.name} answered {answer.status}")


def _signature(notice: ExternalNotice, at: Any, body: bytes) -> str:
    try:
        secret = secret_refs.read(notice.system.secret_ref, settings.CONNECTOR_SECRETS)
        return Webhook(secret).sign(notice.message_id, at, body.decode())
    except (secret_refs.NotListed, secret_refs.SecretUnavailable) as fault:
        raise Undelivered(str(fault))
    except (ValueError, EmptyWebhookSecretError):
        raise Undelivered(f"What is at {notice.system.secret_ref} is no signing secret: whsec_ and base64.") from None


def message_of(notice: ExternalNotice) -> dict[str, Any]:
    request = notice.request
    ending = {"outcome": request.outcome, "status": str(request.state)} if not request.is_open else {}
    due, expires = request.due_at, request.expires_at
    return {
        "type": EVENTS.get(notice.purpose, f"hitl.request.{request.state}"),
        "timestamp": notice.told_at.isoformat(),
        "data": {
            "request_id": request.pk,
            "revision": request.revision,
            "digest": request.digest,
            "title": request.title,
            "role": request.role,
            "severity": str(request.severity),
            "status": str(request.state),
            "options": [{"key": str(each["key"]), "label": str(each["label"])} for each in request.options],
            "shown": dict(shown_parameters(request)),
            "due_at": due.isoformat() if due else None,
            "expires_at": expires.isoformat() if expires else None,
            "review_url": settings.SITE_ROOT + link_to(request),
            "answer_url": f"{settings.SITE_ROOT}/hitl/external/{notice.system.name}",
            **ending,
        },
    }
