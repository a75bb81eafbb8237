# SPDX-License-Identifier: Apache-2.0
"""The form of a refusal: a problem document (RFC 9457), with the members that some codes add to it."""

from __future__ import annotations

from typing import Any

PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "Why a call was refused (RFC 9457). Programs go by `code`, people by `detail`.",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "description": "`urn:hms-act:problem:` and the code."},
        "title": {"type": "string"},
        "status": {"type": "integer", "description": "The HTTP status once more."},
        "detail": {"type": "string", "description": "A sentence: what is wrong, and what to do."},
        "code": {"type": "string", "description": "A promise: codes keep their meaning."},
        "errors": {
            "type": "array",
            "description": "Each fault of the input by itself, where there may be several.",
            "items": {
                "type": "object",
                "required": ["path", "message"],
                "properties": {
                    "code": {"type": "string", "description": "For programs, where there is one."},
                    "path": {"type": "string", "description": "The field, as in `labels.a` or `steps[2].role`."},
                    "line": {"type": "integer", "description": "In a document that came as text."},
                    "message": {"type": "string"},
                    "remedy": {"type": "string"},
                },
            },
        },
        "changes": {
            "type": "array",
            "description": "What is different: `stale_revision`, `proposal_void`, `action_mismatch`.",
            "items": {
                "type": "object",
                "required": ["path"],
                "properties": {
                    "path": {"type": "string"},
                    "before": {"description": "Any JSON. Not there if the place is new."},
                    "after": {"description": "Any JSON. Not there if the place is gone."},
                },
            },
        },
        "revision": {"type": "integer", "description": "With `stale_revision`: the revision that is asked now."},
        "digest": {"type": "string", "description": "With `stale_revision`: of what is asked now."},
        "approved": {"type": "string", "description": "With `action_mismatch`: the digest of what was approved."},
        "effective": {"type": "string", "description": "With `action_mismatch`: the digest of what was to be done."},
        "not_before": {"type": "string", "format": "date-time", "description": "With `receipt_held`: valid from then."},
        "renew": {"type": "string", "description": "With `token_expired`: where the claim can be made anew."},
    },
    "example": {
        "type": "urn:hms-act:problem:lease_lost",
        "title": "Lease lost",
        "status": 409,
        "detail": "The lease ended at 2025-11-03T14:01:00+00:00. Claim the next task; heartbeats keep a lease.",
        "code": "lease_lost",
    },
}
