# SPDX-License-Identifier: Apache-2.0
"""`manage.py rotate_secrets`: wrap the secrets that are held by the newest key of SECRETS_KEYS."""

from __future__ import annotations

from typing import Any

from accounts.commands import ActCommand
from approvals.secret_services import rewrap_secrets
from config.errors import Refused


class KeysStillNeeded(Refused):
    """Some secrets are kept under a key that is not in SECRETS_KEYS: add it again behind the newest."""


class Command(ActCommand):
    help = "Wrap all secrets that are held by the newest key of SECRETS_KEYS, so that older keys can be removed."

    def act(self, **options: Any) -> str:
        found = rewrap_secrets()
        said = f"{found.rewrapped} wrapped anew, {found.current} under the newest key already"
        if found.unreadable:
            raise KeysStillNeeded(f"{said}; {found.unreadable} not readable. {KeysStillNeeded.__doc__}")
        return f"{said}. Keys behind the newest are not needed any more."
