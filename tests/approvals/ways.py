# SPDX-License-Identifier: Apache-2.0
"""The ways a decision can come in, each as a function: (who, request) → decide(outcome, reason, …) → the refusal.

What is returned is the code, or the words, of the refusal; "" if it was let through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.test import Client

from approvals.claiming import claim_request
from approvals.models import ActionRequest
from config.errors import Refused
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


def _api_of(who: Any) -> Api:
    _, token = key_of(who)
    api = Api()
    api.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return api


WAYS: Mapping[str, Callable[[Any, ActionRequest], Decide]] = {"page": by_page, "api": by_api, "task": by_task}
