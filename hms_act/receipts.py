# SPDX-License-Identifier: Apache-2.0
"""Receipts: proof of an approval, which anybody can verify without the server.

    receipt = client.spend(request.id, call="treasury.pay", input=payment)
    receipt.verify(keys, call="treasury.pay", input=payment)     # raises Forged, unless it is of just this

`verify` needs the extra `hms-act[receipts]`. Keep the public keys (`client.receipt_keys()`) where you trust them:
whoever hands you both the receipt and the key could have made both.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = Mapping[str, Any]

MISSING_EXTRA = "to verify receipts, install hms-act[receipts]"


class Forged(Exception):
    """The receipt is not what it seems: nothing may be done on it."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was approved, by whom, until when; signed."""

    id: str
    request_id: str
    status: str  # held, ready, spent, revoked, expired
    action: Json
    statement: Json  # what the signature covers
    signature: str  # base64
    uses: int = 0
    spendings: tuple[Json, ...] = ()
    raw: Json = field(default_factory=dict, repr=False)

    @classmethod
    def from_answer(cls, answer: Json) -> Receipt:
        return cls(
            id=answer["id"],
            request_id=answer["request_id"],
            status=answer["status"],
            action=answer["action"],
            statement=answer["statement"],
            signature=answer["signature"],
            uses=answer["uses"],
            spendings=tuple(answer["spendings"]),
            raw=answer,
        )

    def verify(self, keys: Mapping[str, str], *, call: str = "", input: Json | None = None) -> None:
        """Raise Forged unless one of `keys` (id → base64 of 32 bytes) has signed an approval of this very action.

        With `call`, the action must be that call with that `input`; where conditions let it differ, the action that
        the server has recorded as done. It asks nobody: whether the receipt was used since, only the server knows.
        """
        _verify_signature(self.statement, self.signature, keys)
        if self.statement.get("receipt") != self.id or self.statement.get("request") != self.request_id:
            raise Forged("the signed statement is of another receipt")
        if action_digest(self.statement, self.action) != self.statement.get("action_sha256"):
            raise Forged("the signed statement is of another action")
        if call:
            self._verify_call({"call": call, "input": dict(input or {})})

    def _verify_call(self, wanted: Json) -> None:
        digest = action_digest(self.statement, wanted)
        if digest == self.statement.get("action_sha256"):
            return
        if self.statement.get("constraints") and any(spent.get("digest") == digest for spent in self.spendings):
            return
        raise Forged("what was approved is another action than this")


def action_digest(statement: Json, action: Json) -> str:
    """SHA-256 over the canonical JSON of {action, request, revision}."""
    bound = {"action": action, "request": statement.get("request"), "revision": statement.get("revision")}
    return hashlib.sha256(_canonical(bound)).hexdigest()


def _verify_signature(statement: Json, signature: str, keys: Mapping[str, str]) -> None:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError as fault:
        raise ImportError(MISSING_EXTRA) from fault
    public = keys.get(str(statement.get("key")))
    if public is None:
        raise Forged(f"the key {statement.get('key')} is not among those that are trusted")
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public))
        key.verify(base64.b64decode(signature), _canonical(statement))
    except (InvalidSignature, ValueError) as fault:
        raise Forged("the signature is not of this statement") from fault


def _canonical(value: Any) -> bytes:
    try:
        import rfc8785
    except ImportError as fault:
        raise ImportError(MISSING_EXTRA) from fault
    return bytes(rfc8785.dumps(value))
