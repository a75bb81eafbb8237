# SPDX-License-Identifier: Apache-2.0
"""What the description of the API shows of the calls on runs and tasks: answers that no serializer makes, examples.

A test sends every example to the server and holds the answer against the description.
"""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

STARTED = {"run_id": 9001, "status": "queued"}
START = {
    "playbook": "protest_permit",
    "payload": {"form_id": 123},
    "labels": {"district": "north"},
    "priority": "medium",
}
WHEN, LATER = "2025-11-03T14:00:01.250000Z", "2025-11-03T14:01:01.250000Z"

RUN_ROW = {
    "run_id": 9001,
    "playbook": "protest_permit",
    "version": 1,
    "status": "running",
    "labels": {"district": "north"},
    "priority": "medium",
    "started_by": "portal",
    "created_at": WHEN,
    "ended_at": None,
    "stalled_at": None,
}
RUN = {
    **RUN_ROW,
    "current_step": "AI-Screen",
    "current_steps": ["AI-Screen"],
    "payload": {"form_id": 123},
    "steps": {"AI-Screen": {"status": "running", "outcome": None, "output": None, "attempts": 1}},
    "incidents": [],
    "parent_run": None,
    "parent_task": None,
    "child_runs": [],
    "log": [{"t": "2025-11-03T14:00:03.001000Z", "step": "AI-Screen", "status": "running"}],
}
CANCELLED_RUN = {**RUN, "status": "cancelling"}
TERMINATED_RUN = {**RUN, "status": "terminated", "current_step": None, "current_steps": [], "ended_at": LATER}
TERMINATE = {"reason": "It was started by mistake."}
SIGNAL = {"data": {"amount": "40.00", "currency": "USD"}}
CANCEL = {"reason": "The applicant withdrew."}

TASK = {
    "id": 40812,
    "run_id": 9001,
    "step": "AI-Screen",
    "path": "AI-Screen",
    "attempt": 1,
    "kind": "agent",
    "role": "agent:validator",
    "status": "running",
    "assignee": "validator",
    "outcome": "",
    "input": None,
    "item": None,
    "output": None,
    "note": "",
    "error_type": "",
    "error_message": "",
    "retry_reason": "",
    "resolution": "",
    "resolved_at": None,
    "created_at": WHEN,
    "claimed_at": WHEN,
    "expires_at": LATER,
    "ended_at": None,
}
NEXT = {"role": "agent:validator", "wait": 0, "limit": 1}
LEASE = {
    "task": {
        "id": 40812,
        "run_id": 9001,
        "step": "AI-Screen",
        "path": "AI-Screen",
        "attempt": 1,
        "role": "agent:validator",
        "call": "ai_validator.check_form",
        "arguments": {},
        "options": [],
        "input": {"form_id": 123, "data": {}},
        "payload": {"form_id": 123},
        "data": {},
        "approval": None,
        "deadline": None,
    },
    "token": "lease_Zk1oV0tqcEdjN2ZrU0p3WXl6Qm1n",
    "fence": 1,
    "expires_at": LATER,
}
TOKEN = {"token": LEASE["token"]}
COMPLETE = {**TOKEN, "outcome": "PASS", "output": {"risk": "low"}, "note": "Nothing speaks against it."}
COMPLETED_TASK = {
    **TASK,
    "status": "completed",
    "outcome": "PASS",
    "output": {"risk": "low"},
    "note": "Nothing speaks against it.",
    "expires_at": None,
    "ended_at": LATER,
}
FAIL = {**TOKEN, "error_type": "Timeout", "message": "The register did not answer.", "retryable": True}
FAILED_TASK = {
    **TASK,
    "status": "failed",
    "error_type": "Timeout",
    "error_message": "The register did not answer.",
    "retry_reason": "Attempt 1 of 4; the next in 1.4 s.",
    "expires_at": None,
    "ended_at": LATER,
}
RESOLVE = {"resolution": "skip", "reason": "Checked by telephone.", "output": {"risk": "low"}}
RESOLVED_TASK = {
    **FAILED_TASK,
    "status": "incident",
    "retry_reason": "Attempt 4 of 4 was the last.",
    "resolution": "skip",
    "resolved_at": LATER,
}
KEPT = {"expires_at": LATER, "cancel_requested": False, "paused": False}
ASK = {
    **TOKEN,
    "reason": "The crowd is larger than my limit. May I pass it?",
    "context": {"crowd": 5200},
    "options": ["pass", "shorten"],
    "severity": "high",
    "role": "human:police_liaison",
}
ASKED = {"request_id": "har_3f9c0a7be412", "status": "awaiting_approval"}
RESUMED = {
    **LEASE,
    "task": {**LEASE["task"], "approval": {"request": ASKED["request_id"], "outcome": "PASS", "by": "liaison"}},  # type: ignore[dict-item]
    "fence": 2,
}
RELEASE = {**TOKEN, "note": "I am being restarted."}
RELEASED_TASK = {**TASK, "status": "pending", "expires_at": None}

STEPS = {
    "type": "object",
    "description": "By the id of the step: how its newest attempt stands. A step inside a foreach step is one line for "
    "all items: `items` says how many stand where, and the outputs are in the output of the foreach step.",
    "additionalProperties": {
        "type": "object",
        "required": ["status", "outcome", "output", "attempts"],
        "properties": {
            "status": {"type": "string"},
            "outcome": {"type": ["string", "null"]},
            "output": {"description": "Any JSON."},
            "attempts": {"type": "integer"},
            "items": {"type": "object", "additionalProperties": {"type": "integer"}},
        },
    },
}
INCIDENTS = {
    "type": "array",
    "description": "Steps that wait for an operator, the oldest first, at most 50.",
    "items": {
        "type": "object",
        "required": ["task", "step", "path", "reason"],
        "properties": {
            "task": {"type": "integer"},
            "step": {"type": "string"},
            "path": {"type": "string"},
            "reason": {"type": "string"},
        },
    },
}
CHILD_RUNS = {
    "type": "array",
    "description": "The runs that steps of this one have started, the newest first, at most 50.",
    "items": {
        "type": "object",
        "required": ["run_id", "path", "status"],
        "properties": {"run_id": {"type": "integer"}, "path": {"type": "string"}, "status": {"type": "string"}},
    },
}
LOG = {
    "type": "array",
    "description": "The last 50 moves, oldest first.",
    "items": {
        "type": "object",
        "required": ["t", "step", "status"],
        "properties": {
            "t": {"type": "string", "format": "date-time"},
            "step": {"type": "string"},
            "status": {"enum": ["running", "waiting", "done", "failed", "cancelled"]},
        },
    },
}


class LeasedTaskOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    run_id = serializers.IntegerField()
    step = serializers.CharField()
    path = serializers.CharField(help_text="Where the task stands in its run.")
    attempt = serializers.IntegerField()
    role = serializers.CharField()
    call = serializers.CharField(allow_null=True, help_text="What to do, in the playbook's words.")
    arguments = serializers.DictField()
    options = serializers.ListField(child=serializers.CharField(), help_text="Outcomes beside PASS and FAIL.")
    input = serializers.DictField(help_text="The payload, and `data`.")
    payload = serializers.DictField()
    data = serializers.DictField(help_text="Outputs of earlier steps, by the id of the step.")  # type: ignore[assignment]  # not DRF's attribute
    approval = serializers.DictField(allow_null=True, help_text="The answer to what was asked in mid-task.")
    deadline = serializers.DateTimeField(allow_null=True)


class LeaseOut(serializers.Serializer[Any]):
    task = LeasedTaskOut()
    token = serializers.CharField(help_text="Send it with every call on this task. Nobody else has it.")
    fence = serializers.IntegerField(help_text="Rises with each claim; hand it to what you write to.")
    expires_at = serializers.DateTimeField(help_text="From then on the token is refused. Heartbeats move it.")


class LeasesOut(serializers.Serializer[Any]):
    tasks = LeaseOut(many=True)


class KeptOut(serializers.Serializer[Any]):
    expires_at = serializers.DateTimeField()
    cancel_requested = serializers.BooleanField(help_text="Stop if you can; what you report is recorded.")
    paused = serializers.BooleanField()


class AskedOut(serializers.Serializer[Any]):
    request_id = serializers.CharField()
    status = serializers.CharField()
