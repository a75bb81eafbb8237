# SPDX-License-Identifier: Apache-2.0
"""What the description of the API shows of receipts: answers by hand, examples."""

from __future__ import annotations

from typing import Any

WHEN = "2025-11-03T14:00:01.250000Z"
LATER = "2025-11-03T14:00:09.000000Z"
DIGEST = "4b1e09a3a2c1d6b8f1f7b8f0a0f3c0c8ad4e7c1f9a0f7fbbf9a1a2f3b4c5d6e7"

ACTION: dict[str, Any] = {
    "type": "object",
    "additionalProperties": True,
    "description": "Exactly what was approved. Its digest stands in the statement.",
}
STATEMENT: dict[str, Any] = {
    "type": "object",
    "additionalProperties": True,
    "description": "What the signature covers: the canonical JSON (RFC 8785) of this object.",
}

PAY = {"call": "treasury.pay", "input": {"amount": "82000.00", "currency": "USD", "to": "registry"}}
READY = {
    "id": "rcp_5d0f3a9c21be",
    "request_id": "har_3f9c0a7be412",
    "status": "ready",
    "executor": "caller",
    "action": PAY,
    "statement": {
        "v": 1,
        "log": "act/6f1d2c3b-4a59-4c1e-9d7f-0b8a7c6d5e4f",
        "receipt": "rcp_5d0f3a9c21be",
        "request": "har_3f9c0a7be412",
        "revision": 1,
        "executor": "caller",
        "action_sha256": DIGEST,
        "proposed_sha256": DIGEST,
        "content_sha256": "9c1185a5c5e9fc54612808977ee8f548b2258d31fb8b8a9a6c0dd5b1d9f1d0f3",
        "outcome": "PASS",
        "voters": [{"name": "liaison", "outcome": "PASS", "at": WHEN}],
        "constraints": {},
        "uses": 1,
        "nonce": "0f8b6a1d2c3e4f50617283940a1b2c3d",
        "minted_at": WHEN,
        "not_before": WHEN,
        "not_after": None,
        "key": "1f2e3d4c5b6a7988",
    },
    "signature": "c2lnbmVkIGJ5IHRoZSB3ZWIgcHJvY2VzcyBpbiB3aGljaCBpdCB3YXMgZGVjaWRlZCwgNjQgYnl0ZXMgbG9uZw==",
    "uses": 0,
    "spendings": [],
}
SPEND = PAY
SPENT = {
    **READY,
    "status": "spent",
    "uses": 1,
    "spendings": [{"number": 1, "digest": DIGEST, "spent_at": LATER, "spent_by": "validator", "run_id": None}],
}
REVOKE = {"reason": "The invoice was withdrawn."}
REVOKED = {**READY, "status": "revoked"}
UNDO = {"reason": "I meant the other one."}
KEYS = {
    "log": "act/6f1d2c3b-4a59-4c1e-9d7f-0b8a7c6d5e4f",
    "keys": [
        {
            "id": "1f2e3d4c5b6a7988",
            "public_key": "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
            "created_at": WHEN,
            "distrusted_at": None,
        }
    ],
}
