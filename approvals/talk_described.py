# SPDX-License-Identifier: Apache-2.0
"""What the description of the API shows of secrets, comments, attachments and drafts: answers by hand, examples."""

from __future__ import annotations

from approvals.described import WHEN

COMMENT = {"id": 12, "author": "liaison", "text": "The cost centre has changed.", "revision": 1, "created_at": WHEN}
COMMENTING = {"text": "The cost centre has changed."}
ATTACHMENT = {
    "id": 7,
    "name": "invoice.pdf",
    "media_type": "application/pdf",
    "size": 48213,
    "sha256": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
    "revision": 1,
    "uploaded_by": "validator",
    "created_at": WHEN,
    "href": "/hitl/requests/har_3f9c0a7be412/attachments/7",
}
ATTACHING = {"name": "notes.txt", "content": "VGhlIGludm9pY2UgaXMgb3Vycy4="}
IN_PARTS = {
    "type": "object",
    "required": ["file"],
    "properties": {"file": {"type": "string", "format": "binary", "description": "With its name."}},
    "example": {"file": "The budget of the year."},
}
FILE = {"type": "string", "format": "binary", "description": "The file as it was attached, for saving."}
DRAFT = {
    "outcome": "PASS",
    "notes": "The budget has",
    "response_data": {"cost_centre": "47"},
    "revision": 1,
    "saved_at": WHEN,
}
DRAFTING = {"outcome": "PASS", "notes": "The budget has", "response_data": {"cost_centre": "47"}}
UNWRAPPED = {"request_id": "har_3f9c0a7be412", "values": {"api_key": "sk_live_51Hx…"}}
REPLACING = {"response_data": {"api_key": "sk_live_72Qy…"}}
SECRETS = {
    "request_id": "har_3f9c0a7be412",
    "secrets": [
        {"field": "api_key", "state": "held", "given_at": WHEN, "expires_at": "2025-11-04T14:00:01.250000Z"},
    ],
}
REVOKED = {**SECRETS, "secrets": [{**SECRETS["secrets"][0], "state": "revoked"}]}  # type: ignore[dict-item]
VALUES = {"type": "object", "additionalProperties": True, "description": "The secret values, by field."}
