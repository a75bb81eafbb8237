# SPDX-License-Identifier: Apache-2.0
"""What the description of the API shows of the calls in `approvals/outside_api.py`."""

CLICK = {
    "application/x-www-form-urlencoded": {
        "type": "object",
        "required": ["payload"],
        "properties": {"payload": {"type": "string", "description": "JSON, as Slack sends it of `block_actions`."}},
    }
}
CLICK_EXAMPLE = {
    "payload": '{"type": "block_actions", "user": {"id": "U024BE7LH"}, "actions": [{"action_id": "open"}]}'
}
CLICKED = {
    "type": "object",
    "required": ["response_type", "replace_original", "text"],
    "properties": {
        "response_type": {"type": "string"},
        "replace_original": {"type": "boolean"},
        "text": {"type": "string", "description": "What came of it, for who clicked."},
    },
}
CLICKED_EXAMPLE = {
    "response_type": "ephemeral",
    "replace_original": False,
    "text": "Done: your decision is recorded.",
}
DECISION = {
    "request_id": "har_3f9c0a7be412",
    "user_id": "4711",
    "outcome": "PASS",
    "reason": "The budget has room.",
    "revision": 1,
    "digest": "9c1185a5c5e9fc54612808977ee8f548b2258d31fb8b8a9a6c0dd5b1d9f1d0f3",
}
DECIDED = {"request_id": "har_3f9c0a7be412", "status": "fulfilled", "outcome": "PASS"}
