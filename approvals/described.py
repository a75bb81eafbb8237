# SPDX-License-Identifier: Apache-2.0
"""What the description of the API shows of the calls in `approvals/api.py`: answers by hand, examples.

A test sends every example to the server and holds the answer against the description.
"""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter

WHEN = "2025-11-03T14:00:01.250000Z"

WAIT = OpenApiParameter(
    "wait",
    {"type": "number", "minimum": 0, "maximum": 60},
    description="Seconds to wait for the request to be closed.",
)
PREFER = OpenApiParameter(
    "Prefer", str, OpenApiParameter.HEADER, description="`wait=30` is another way to say `?wait=30`."
)
IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match", str, OpenApiParameter.HEADER, description="The ETag of what you know already."
)
OPTIONS = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["key", "label", "ends"],
        "properties": {
            "key": {"type": "string", "description": "The outcome."},
            "label": {"type": "string"},
            "ends": {"type": "string", "description": "`fail` on an outcome that rejects."},
        },
    },
}
ANYTHING = {"description": "Any JSON."}
OBJECT = {"type": "object", "additionalProperties": True}
MAYBE_OBJECT = {"type": ["object", "null"], "additionalProperties": True}
EXCHANGE = {
    "type": "array",
    "description": "Questions to the requester, their answers, and what is to be changed, in order.",
    "items": {
        "type": "object",
        "required": ["kind", "by", "at", "text"],
        "properties": {
            "kind": {"enum": ["question", "answer", "changes"]},
            "by": {"type": "string"},
            "at": {"type": "string", "format": "date-time"},
            "text": {"type": "string"},
        },
    },
}
ANSWER = {"type": ["object", "null"], "additionalProperties": True, "description": "Secrets are masked."}
FORM = {"type": ["object", "null"], "additionalProperties": True, "description": "JSON Schema of the answer."}

CREATE = {
    "request_type": "payment_authorization",
    "title": "Pay the registry's fee",
    "description": "The registry charges $40 for each licence.",
    "required_fields": {"cost_centre": "Which cost centre pays?"},
    "priority": "high",
    "context": {"invoice": "2025-117"},
    "workflow_id": "licence-renewal-42",
    "role": "human:police_liaison",
}
REQUEST: dict[str, Any] = {
    "id": "har_3f9c0a7be412",
    "agent_id": "validator",
    "request_type": "payment_authorization",
    "title": "Pay the registry's fee",
    "description": "The registry charges $40 for each licence.",
    "required_fields": {"cost_centre": "Which cost centre pays?"},
    "form": {
        "type": "object",
        "properties": {"cost_centre": {"type": "string", "minLength": 1, "title": "Which cost centre pays?"}},
        "required": ["cost_centre"],
    },
    "priority": "high",
    "severity": "medium",
    "context": {"invoice": "2025-117"},
    "role": "human:police_liaison",
    "options": [],
    "action": None,
    "policy": {"stages": [{"rules": [{"id": "1.1", "role": "human:police_liaison"}]}]},
    "stage": 0,
    "revision": 1,
    "digest": "9c1185a5c5e9fc54612808977ee8f548b2258d31fb8b8a9a6c0dd5b1d9f1d0f3",
    "status": "pending",
    "outcome": "",
    "decided_how": "",
    "created_at": WHEN,
    "updated_at": WHEN,
    "assigned_to": None,
    "follow_up_at": None,
    "due_at": None,
    "expires_at": None,
    "fulfilled_by": None,
    "fulfilled_at": None,
    "response_data": None,
    "secret_fields": [],
    "notes": "",
    "rejection_reason": "",
    "reason_code": "",
    "constraints": None,
    "exchange": [],
    "workflow_id": "licence-renewal-42",
    "run_id": None,
    "task_id": None,
    "template": "payment_authorization",
    "supersedes": None,
    "held_until": None,
    "superseded_by": None,
    "duplicate": False,
    "wait_url": "/hitl/requests/har_3f9c0a7be412?wait=30",
    "events_url": "/acts/events?request_id=har_3f9c0a7be412",
}
CANCEL = {"reason": "The registry waived the fee."}
CANCELLED = {**REQUEST, "status": "cancelled"}
TEMPLATE = {
    "name": "payment_authorization",
    "title": "Payment",
    "request_type": "payment_authorization",
    "title_pattern": "Pay {amount} {currency} to {payee}",
    "description_pattern": "",
    "required_fields": {"cost_centre": "Which cost centre pays?"},
    "role": "human:reviewer",
    "priority": "medium",
    "severity": "medium",
    "policy": "",
    "reasons": {"not_ours": "The invoice is not ours."},
    "reversible": False,
    "revision": 1,
}
FULFILL = {"response_data": {"cost_centre": "4711"}, "notes": "The budget has room.", "revision": 1}
FULFILLED = {
    **REQUEST,
    "status": "fulfilled",
    "outcome": "PASS",
    "decided_how": "person",
    "fulfilled_by": "liaison",
    "fulfilled_at": WHEN,
    "response_data": {"cost_centre": "4711"},
    "notes": "The budget has room.",
}
REJECT = {"reason": "The invoice is not ours.", "revision": 1}
REJECTED = {
    **REQUEST,
    "status": "rejected",
    "outcome": "FAIL",
    "decided_how": "person",
    "fulfilled_by": "liaison",
    "fulfilled_at": WHEN,
    "rejection_reason": "The invoice is not ours.",
}
REVISE = {"context": {"invoice": "2025-118"}, "reason": "It was the wrong invoice.", "revision": 1}
REVISED = {**REQUEST, "context": {"invoice": "2025-118"}, "revision": 2}
ASK = {"question": "Which account is it to be paid from?"}
ASKED = {
    **REQUEST,
    "status": "info_requested",
    "exchange": [{"kind": "question", "by": "liaison", "at": WHEN, "text": "Which account is it to be paid from?"}],
}
REPLY = {"answer": "From the account for licences."}
WANTED = {"feedback": "Ask for one licence at a time."}
SENT_BACK = {
    **REQUEST,
    "status": "changes_requested",
    "exchange": [{"kind": "changes", "by": "liaison", "at": WHEN, "text": "Ask for one licence at a time."}],
}
CLAIMED = {
    "token": "lease_Zk1oV0tqcEdjN2ZrU0p3WXl6Qm1n",
    "expires_at": "2025-11-03T22:00:01.250000Z",
    "request": {**REQUEST, "status": "in_review"},
}
