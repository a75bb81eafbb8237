# SPDX-License-Identifier: Apache-2.0
"""Who may do what over HTTP: the rows of the API."""

from __future__ import annotations

from typing import Any

from tests.contract.rows import ADMINISTRATORS, ASKERS, AUTHORS, FRESH, STARTERS, WHY, Act, Body, Path, row
from tests.contract.world import CANARY, EVERYBODY, LIAISON_ROLE
from tests.factories import PERMIT
from tests.people import PASSWORD

CREDENTIALS = {"username": "liaison", "password": PASSWORD}
_ID = r"(?P<slug>[A-Za-z0-9][A-Za-z0-9_.-]{0,99})"
_VERSION = rf"^acts/playbooks/{_ID}/versions/(?P<number>[0-9]{{1,9}})"
_REQUEST = r"^hitl/requests/(?P<request_id>har_[0-9a-f]{12})"
PLAYBOOK = "/acts/playbooks/protest_permit"
_RULE_SET = r"^acts/rulesets/(?P<rule_set>[A-Za-z0-9_-]{1,60})"
_RULES = rf"{_RULE_SET}/versions/(?P<number>[0-9]{{1,9}})"
OTHER_RULES = {"rules": [{"id": "c", "when": "payload.y", "result": "FAIL", "because": "No."}]}
NEW_RULES = {**OTHER_RULES, "id": "fresh", "title": "Fresh", "concern": "safety"}


def task(act: str = "") -> Path:
    return lambda world: f"/acts/tasks/{world.held.task.pk}{act}"


def held(**more: Any) -> Body:
    return lambda world, caller: {"token": world.held.token, **more}


def request(act: str = "") -> Path:
    return lambda world: f"/hitl/requests/{world.asked.pk}{act}"


def secret(act: str = "") -> Path:
    return lambda world: f"/hitl/requests/{world.secret.pk}{act}"


TALKERS = ("agent", "service", "liaison")  # who have a part in the run
FILE = {"name": "notes.txt", "content": "bm90ZXM="}
OTHER_SECRET = {"response_data": {"api_key": "sk_live_other"}}


def permitted(act: str) -> Path:
    return lambda world: f"/hitl/requests/{world.permitted.pk}{act}"


API = [
    row("auth/token", Act("POST", EVERYBODY, CREDENTIALS), public=True),
    row("auth/token/refresh", public=True),
    row("acts/run", Act("POST", STARTERS, {"playbook": "protest_permit", "payload": {"name": "Ann"}})),
    row("acts/runs"),
    row(
        "acts/runs/<number:run_id>",
        at=[lambda world: f"/acts/runs/{world.run.pk}", lambda world: f"/acts/runs/{world.decided.run_id}"],
    ),
    row(
        "acts/runs/<number:run_id>/cancel",
        Act("PATCH", ADMINISTRATORS, WHY),
        at=lambda world: f"/acts/runs/{world.run.pk}/cancel",
    ),
    row(
        "acts/runs/<number:run_id>/terminate",
        Act("PATCH", ADMINISTRATORS, WHY),
        at=lambda world: f"/acts/runs/{world.run.pk}/terminate",
    ),
    row(
        "acts/runs/<number:run_id>/signals/<str:signal>",
        Act("POST", ("agent", "service", "liaison", *ADMINISTRATORS), {"data": {"amount": "40.00"}}),
        at=lambda world: f"/acts/runs/{world.run.pk}/signals/paid",
    ),
    row("acts/events"),
    row("acts/tasks"),
    row(
        "acts/tasks/next",
        Act("POST", ("agent",), lambda world, caller: {"role": world.approved.task.role, "limit": 1, "wait": 0}),
        Act("POST", ("service",), {"role": "svc:finance"}),
        Act("POST", ("liaison",), {"role": LIAISON_ROLE}),
    ),
    row(
        "acts/tasks/<number:task_id>",
        at=[task(), lambda world: f"/acts/tasks/{world.asked.task_id}"],
    ),
    row(
        "acts/tasks/<number:task_id>/complete",
        Act("POST", ("agent",), held(outcome="PASS")),
        Act("POST", ("liaison",), {"outcome": "PASS"}, at=lambda world: f"/acts/tasks/{world.asked.task_id}/complete"),
        at=task("/complete"),
    ),
    row("acts/tasks/<number:task_id>/fail", Act("POST", ("agent",), held(error_type="Busy")), at=task("/fail")),
    row("acts/tasks/<number:task_id>/heartbeat", Act("POST", ("agent",), held()), at=task("/heartbeat")),
    row("acts/tasks/<number:task_id>/renew", Act("POST", ("agent",), held()), at=task("/renew")),
    row("acts/tasks/<number:task_id>/release", Act("POST", ("agent",), held()), at=task("/release")),
    row(
        "acts/tasks/<number:task_id>/request-approval",
        Act("POST", ("agent",), held(reason="May I?", role=LIAISON_ROLE)),
        at=task("/request-approval"),
    ),
    row(
        "acts/tasks/<number:task_id>/resolve",
        *(Act("POST", ADMINISTRATORS, {"resolution": how, **WHY}) for how in ("retry", "skip", "fail")),
        at=lambda world: f"/acts/tasks/{world.incident.pk}/resolve",
    ),
    row(
        "acts/tasks/<number:task_id>/resume",
        Act("POST", ("agent",), lambda world, caller: {"token": world.approved.token}),
        at=lambda world: f"/acts/tasks/{world.approved.task.pk}/resume",
    ),
    row("acts/playbooks", Act("POST", AUTHORS, FRESH)),
    row("acts/playbooks/schema"),
    row("acts/playbooks/validate", Act("POST", (), FRESH)),
    row(rf"^acts/playbooks/{_ID}\Z", at=PLAYBOOK),
    row(
        rf"^acts/playbooks/{_ID}/versions\Z",
        Act("POST", AUTHORS, {"clone": 1}),
        Act("POST", AUTHORS, {**PERMIT, "title": "Changed"}),
        at=f"{PLAYBOOK}/versions",
    ),
    row(rf"{_VERSION}\Z", Act("PUT", AUTHORS, {**PERMIT, "title": "Changed"}), at=f"{PLAYBOOK}/versions/2"),
    row(rf"{_VERSION}/publish\Z", Act("POST", ADMINISTRATORS, {}), at=f"{PLAYBOOK}/versions/2/publish"),
    row(rf"{_VERSION}/retire\Z", Act("POST", ADMINISTRATORS, {}), at=f"{PLAYBOOK}/versions/1/retire"),
    row("acts/rulesets", Act("POST", ADMINISTRATORS, NEW_RULES)),
    row(rf"{_RULE_SET}\Z", at="/acts/rulesets/fair"),
    row(rf"{_RULE_SET}/versions\Z", Act("POST", ADMINISTRATORS, OTHER_RULES), at="/acts/rulesets/fair/versions"),
    row(rf"{_RULES}\Z", Act("PUT", ADMINISTRATORS, OTHER_RULES), at="/acts/rulesets/fair/versions/2"),
    row(rf"{_RULES}/publish\Z", Act("POST", ADMINISTRATORS, {}), at="/acts/rulesets/fair/versions/2/publish"),
    row(rf"{_RULES}/retire\Z", Act("POST", ADMINISTRATORS, WHY), at="/acts/rulesets/fair/versions/1/retire"),
    row("hitl/requests", Act("POST", ASKERS, {"title": "May I?", "role": LIAISON_ROLE})),
    row(
        rf"{_REQUEST}\Z",
        Act("PATCH", ("agent",), {"title": "May we?"}),
        at=[
            lambda world: f"/hitl/requests/{world.wondered.pk}",
            request(),
            lambda world: f"/hitl/requests/{world.decided.pk}",
        ],
    ),
    row(
        rf"{_REQUEST}/answer\Z",
        Act("POST", ("agent",), {"answer": "Because."}),
        at=lambda world: f"/hitl/requests/{world.wondered.pk}/answer",
    ),
    row("hitl/receipt-keys"),
    row(rf"{_REQUEST}/receipt\Z", at=permitted("/receipt")),
    row(
        rf"{_REQUEST}/spend\Z",
        Act("POST", ("agent",), {"call": "treasury.pay", "input": {"to": CANARY}}),
        at=permitted("/spend"),
    ),
    row(rf"{_REQUEST}/revoke\Z", Act("POST", ("agent", "liaison"), WHY), at=permitted("/revoke")),
    row(
        rf"{_REQUEST}/undo\Z",
        Act("POST", ("liaison",), {}),
        at=lambda world: f"/hitl/requests/{world.held_back.pk}/undo",
    ),
    row(rf"{_REQUEST}/request-info\Z", Act("POST", ("liaison",), {"question": "Why?"}), at=request("/request-info")),
    row(
        rf"{_REQUEST}/request-changes\Z",
        Act("POST", ("liaison",), {"feedback": "Less."}),
        at=request("/request-changes"),
    ),
    row(rf"{_REQUEST}/claim\Z", Act("POST", ("liaison",), {}), at=request("/claim")),
    row(
        rf"{_REQUEST}/release\Z",
        Act("POST", ("liaison",), {}),
        at=lambda world: f"/hitl/requests/{world.claimed.pk}/release",
    ),
    row(
        rf"{_REQUEST}/takeover\Z",
        Act("POST", ("liaison",), WHY),
        at=lambda world: f"/hitl/requests/{world.elsewhere.pk}/takeover",
    ),
    row(rf"{_REQUEST}/assign\Z", Act("POST", ADMINISTRATORS, {"to": "liaison"}), at=request("/assign")),
    row(rf"{_REQUEST}/delegate\Z", Act("POST", ("liaison",), {"to": "colleague"}), at=request("/delegate")),
    row(
        rf"{_REQUEST}/extend\Z",
        Act("POST", ADMINISTRATORS, {"by": "1h"}),
        at=lambda world: f"/hitl/requests/{world.timed.pk}/extend",
    ),
    row(rf"{_REQUEST}/fulfill\Z", Act("POST", ("liaison",), {}), at=request("/fulfill")),
    row(
        rf"{_REQUEST}/cancel\Z",
        Act("POST", ("agent",), WHY),
        at=lambda world: f"/hitl/requests/{world.wondered.pk}/cancel",
    ),
    row("hitl/templates"),
    row("hitl/statistics"),
    row(rf"{_REQUEST}/reject\Z", Act("POST", ("liaison",), WHY), at=request("/reject")),
    row(rf"{_REQUEST}/comment\Z", Act("POST", TALKERS, {"text": "Is it open?"}), at=request("/comment")),
    row(rf"{_REQUEST}/attachments\Z", Act("POST", TALKERS, FILE), at=request("/attachments")),
    row(
        rf"{_REQUEST}/attachments/(?P<attachment_id>[0-9]{{1,18}})\Z",
        at=lambda world: request(f"/attachments/{world.attached.pk}")(world),
    ),
    row(rf"{_REQUEST}/draft\Z", Act("POST", ("liaison",), {"notes": "So far"}), at=request("/draft")),
    row(rf"{_REQUEST}/unwrap\Z", Act("POST", ("agent",), {}), at=secret("/unwrap")),
    row(rf"{_REQUEST}/revoke-secret\Z", Act("POST", ("liaison",), {}), at=secret("/revoke-secret")),
    row(rf"{_REQUEST}/replace-secret\Z", Act("POST", ("liaison",), OTHER_SECRET), at=secret("/replace-secret")),
    row("hitl/slack/interactive", public=True),
    row(
        r"^hitl/external/(?P<system>[A-Za-z0-9_-]{1,60})\Z",
        at=lambda world: f"/hitl/external/{world.system.name}",
        public=True,
    ),
    row("api/schema", public=True),
    row("api/docs", public=True),
]
