# SPDX-License-Identifier: Apache-2.0
"""Questions to be told of, and the world outside that is told: a Slack and an approval system on this machine."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.test import Client
from standardwebhooks.webhooks import Webhook

from accounts.models import User
from approvals import asking, external_services
from approvals.external_services import Terms
from approvals.models import ActionRequest, ExternalSystem, SlackAccount
from config import clock
from tests.playbooks.loopback import Heard, Service, listening

LIAISON_ROLE = "human:police_liaison"
TITLE = "Charge $40 to permit 123"
CANARY = "canary-4f1e"
SIGNING = "whsec_" + base64.b64encode(b"a secret of this approval system").decode()
SLACK_SECRET, SLACK_TOKEN = "8f742231b10e8888abcd99yyyzzz85a5", "xoxb-fixture-token"
SLACK_CALL, EXTERNAL_CALL = "/hitl/slack/interactive", "/hitl/external/clearance"


def question(by: User, **more: Any) -> ActionRequest:
    """An agent asks the liaisons; what it hands in holds a canary."""
    given = {"title": TITLE, "role": LIAISON_ROLE, "context": {"amount": 40, "why": CANARY}, **more}
    return asking.create_request(actor=by, **given)


# Slack ----------------------------------------------------------------------------------------------------


@contextmanager
def a_slack(settings: Any) -> Iterator[Service]:
    """A Slack that takes every message, and the settings to use it."""
    numbers = iter(range(1, 1000))
    lock = threading.Lock()

    def think(heard: Heard) -> tuple[int, Any]:
        given = heard.json
        with lock:
            number = next(numbers)
        return 200, {"ok": True, "channel": f"D{given['channel']}", "ts": given.get("ts") or f"1700000000.{number:06d}"}

    with listening(think=think) as service:
        settings.SLACK_TOKEN, settings.SLACK_SIGNING_SECRET = SLACK_TOKEN, SLACK_SECRET
        settings.SLACK_API = f"{service.url}/api"
        yield service


def linked(user: User, member: str = "U024BE7LH") -> SlackAccount:
    return SlackAccount.objects.create(user=user, member=member, verified_at=clock.now())


def buttons(heard: Heard) -> list[dict[str, Any]]:
    (actions,) = [block for block in heard.json["blocks"] if block["type"] == "actions"]
    return actions["elements"]


def value_of(request: ActionRequest, outcome: str = "PASS", **other: Any) -> dict[str, Any]:
    return {"request": request.pk, "revision": request.revision, "digest": request.digest, "outcome": outcome, **other}


def click_of(member: str, value: Mapping[str, Any], *, name: str = "liaison") -> dict[str, Any]:
    """The payload that Slack sends."""
    return {
        "type": "block_actions",
        "user": {"id": member, "username": name, "name": name, "team_id": "T0001"},
        "actions": [{"action_id": f"decide.{value['outcome']}", "value": json.dumps(value), "type": "button"}],
        "response_url": "https://hooks.slack.com/actions/T0001/1/abc",
    }


def clicked(payload: Mapping[str, Any], **signed: Any) -> Any:
    return clicked_as(urlencode({"payload": json.dumps(payload)}).encode(), **signed)


def clicked_as(body: bytes, *, age: int = 0, secret: str = SLACK_SECRET, at: datetime | None = None) -> Any:
    """What Slack's call answers to these bytes, signed."""
    timestamp = str(int((at or clock.now()).timestamp()) - age)
    signed = hmac.new(secret.encode(), f"v0:{timestamp}:".encode() + body, hashlib.sha256).hexdigest()
    headers = {"X-Slack-Request-Timestamp": timestamp, "X-Slack-Signature": f"v0={signed}"}
    return Client().post(SLACK_CALL, body, content_type="application/x-www-form-urlencoded", headers=headers)


# Approval systems -----------------------------------------------------------------------------------------


def connected(by: User, settings: Any, monkeypatch: Any, service: Service | None = None, **more: Any) -> ExternalSystem:
    """The system `clearance`, which is told at `service`."""
    monkeypatch.setenv("CLEARANCE_SECRET", SIGNING)
    settings.CONNECTOR_SECRETS = frozenset({"env:CLEARANCE_SECRET"})
    url = ""
    if service is not None:
        settings.CONNECTOR_HOSTS = frozenset({("127.0.0.1", service.port)})
        url = f"{service.url}/told"
    terms = Terms("env:CLEARANCE_SECRET", url, "Clearance office", **more)
    return external_services.create_system(actor=by, name="clearance", terms=terms)


def decision_of(request: ActionRequest, **more: Any) -> dict[str, Any]:
    return {
        "request_id": request.pk,
        "user_id": "4711",
        "outcome": "PASS",
        "revision": request.revision,
        "digest": request.digest,
        **more,
    }


def sent_in(decision: Mapping[str, Any], **signed: Any) -> Any:
    """What `POST /hitl/external/…` answers to a signed decision."""
    return sent_as(json.dumps(decision).encode(), **signed)


def sent_as(
    body: bytes,
    *,
    message_id: str = "msg_1",
    age: int = 0,
    secret: str = SIGNING,
    path: str = EXTERNAL_CALL,
) -> Any:
    """What it answers to these bytes, signed as the text that they are."""
    at = clock.now()
    signed_at = at.fromtimestamp(int(at.timestamp()) - age, at.tzinfo)
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(signed_at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, signed_at, body.decode(errors="replace")),
    }
    return Client().post(path, body, content_type="application/json", headers=headers)
