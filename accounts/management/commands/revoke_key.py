# SPDX-License-Identifier: Apache-2.0
"""End an API key."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from accounts.commands import ActCommand
from accounts.models import public_part
from accounts.services import revoke_key
from audit.services import SYSTEM


class Command(ActCommand):
    help = "End an API key at once, and every lease it holds."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "prefix", help="the key's public beginning, hmsact_ and eight more; more of it does no harm"
        )
        parser.add_argument("--reason", required=True, help="kept in the action log")

    def act(self, *, prefix: str, reason: str, **options: Any) -> str:
        key = revoke_key(token_key=public_part(prefix.removesuffix("…")), reason=reason, actor=SYSTEM)
        return f"Revoked {key} of {key.user.username}."
