# SPDX-License-Identifier: Apache-2.0
"""Trust a signing key no more."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from accounts.commands import ActCommand
from approvals.signing import distrust
from audit.services import SYSTEM


class Command(ActCommand):
    help = "Trust the receipts under a signing key no more: nothing is done on them from now on."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key", help="the key's id, as GET /hitl/receipt-keys lists it")
        parser.add_argument("--reason", required=True, help="kept in the action log")

    def act(self, *, key: str, reason: str, **options: Any) -> str:
        row = distrust(key_id=key, reason=reason, actor=SYSTEM)
        return f"Distrusted {row}. Give the web processes another RECEIPT_SIGNING_KEY if they still sign with it."
