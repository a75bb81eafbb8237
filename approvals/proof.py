# SPDX-License-Identifier: Apache-2.0
"""What binds an approval to an act: the digest of an action, and what of a receipt is signed. Pure.

    digest     SHA-256 over the canonical JSON (RFC 8785) of {action, request, revision}
    statement  what the signature covers: its canonical JSON, as bytes

Whoever has the action can compute the digest, and whoever has the statement and the public key can verify it, both
without us (`hms_act/receipts.py` does).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from audit.canonical import canonical, digest


def action_digest(request_id: str, revision: int, action: Mapping[str, Any]) -> str:
    return digest({"action": action, "request": request_id, "revision": revision})


def statement(receipt: Any, *, log: str) -> dict[str, Any]:
    """Texts, whole numbers and null alone, so that every writer of JSON gives the same bytes."""
    return {
        "v": 1,
        "log": log,
        "receipt": receipt.id,
        "request": receipt.request_id,
        "revision": receipt.revision,
        "executor": str(receipt.executor),
        "action_sha256": receipt.digest,
        "proposed_sha256": receipt.proposed_digest,
        "content_sha256": receipt.content_digest,
        "outcome": receipt.outcome,
        "voters": receipt.voters,
        "constraints": receipt.constraints,
        "uses": receipt.uses_allowed,
        "nonce": receipt.nonce,
        "minted_at": moment(receipt.minted_at),
        "not_before": moment(receipt.not_before),
        "not_after": moment(receipt.not_after),
        "key": receipt.key_id,
    }


def signed_bytes(receipt: Any, *, log: str) -> bytes:
    return canonical(statement(receipt, log=log))


def moment(at: datetime | None) -> str | None:
    """RFC 3339 UTC to the microsecond, as the database keeps it."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
