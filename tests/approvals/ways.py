# SPDX-License-Identifier: Apache-2.0
"""The ways a decision can come in, each as a function: (who, request) → decide(outcome, reason, …) → the refusal.

What is returned is the code, or the words, of the refusal; "" if it was let through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from django.test import Client, override_settings

from approvals.claiming import claim_request
from approvals.models import ActionRequest, ExternalSystem, ExternalUser
from config import clock
from config.errors import Refused
from tests.approvals.outside import (
    SIGNING,
    SLACK_SECRET,
    SLACK_TOKEN,
    click_of,
    clicked,
    decision_of,
    linked,
    sent_in,
    value_of,
)
from tests.approvals.pages import page_of
from tests.people import BACKEND, Api, key_of

Decide = Callable[..., str]


def by_page(who: Any, request: ActionRequest) -> Decide:
    """The decision page. What was shown is read off it, where it shows a form."""
    browser = Client()
    browser.force_login(who, backend=BACKEND)

    def decide(*, outcome: str, reason: str, response_data: Any = None, **said: Any) -> str:
        typed = {"outcome": outcome, "reason": reason, "confirmed": "read", "revision": request.revision, **said}
        answers = {f"answer-{name}": value for name, value in (response_data or {}).items()}
        answer = browser.post(page_of(request), {**typed, **answers, "digest": request.digest})
        return "" if answer.status_code == 303 else str(answer.status_code)

    return decide


def by_api(who: Any, request: ActionRequest) -> Decide:
    """`POST /hitl/requests/{id}/fulfill` and `reject`, with a key. The SDK and the command line speak these."""
    api = _api_of(who)

    def decide(*, outcome: str, reason: str, response_data: Any = None, **said: Any) -> str:
        if outcome == "FAIL":
            answer = api.post(f"/hitl/requests/{request.pk}/reject", {"reason": reason, **said})
        else:
            body = {"outcome": outcome, "notes": reason, "response_data": response_data or {}, **said}
            answer = api.post(f"/hitl/requests/{request.pk}/fulfill", body)
        return "" if answer.status_code == 200 else answer.json()["code"]

    return decide


def by_task(who: Any, request: ActionRequest) -> Decide:
    """`POST /acts/tasks/{id}/complete` on a human task, under a claim where one can be had."""
    api = _api_of(who)
    try:
        _, token = claim_request(request_id=request.pk, actor=who)
    except Refused:
        token = "not-a-claim"

    def decide(*, outcome: str, reason: str, response_data: Any = None, **said: Any) -> str:
        body = {"token": token, "outcome": outcome, "note": reason, "output": response_data or {}}
        answer = api.post(f"/acts/tasks/{request.task_id}/complete", body)
        return "" if answer.status_code == 200 else answer.json()["code"]

    return decide


def by_system_outside(who: Any, request: ActionRequest) -> Decide:
    """`POST /hitl/external/{system}`, of an approval system in which this person is linked."""
    at = clock.now()
    reference = "env:CLEARANCE_SECRET"
    system = ExternalSystem.objects.create(name="clearance", secret_ref=reference, created_at=at, changed_at=at)
    ExternalUser.objects.create(system=system, outside_id="4711", user=who, linked_at=at, linked_by=who)

    def decide(*, outcome: str, reason: str, response_data: Any = None, **said: Any) -> str:
        answered = {"reason": reason, "response_data": response_data or {}}
        with override_settings(CONNECTOR_SECRETS=frozenset({reference})), pytest.MonkeyPatch.context() as environment:
            environment.setenv("CLEARANCE_SECRET", SIGNING)
            answer = sent_in(decision_of(request, outcome=outcome, **answered))
        return "" if answer.status_code == 200 else answer.json()["code"]

    return decide


def by_slack(who: Any, request: ActionRequest) -> Decide:
    """A click in Slack, which has no words: what needs a reason is not decided there."""
    linked(who)

    def decide(*, outcome: str, **said: Any) -> str:
        with override_settings(SLACK_TOKEN=SLACK_TOKEN, SLACK_SIGNING_SECRET=SLACK_SECRET):
            answer = clicked(click_of("U024BE7LH", value_of(request, outcome)))
        words = answer.json()["text"]
        return "" if words.startswith("Done") else words

    return decide


def _api_of(who: Any) -> Api:
    _, token = key_of(who)
    api = Api()
    api.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return api


WAYS: Mapping[str, Callable[[Any, ActionRequest], Decide]] = {
    "page": by_page,
    "api": by_api,
    "task": by_task,
    "outside": by_system_outside,
    "slack": by_slack,
}
