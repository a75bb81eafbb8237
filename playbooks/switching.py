# SPDX-License-Identifier: Apache-2.0
"""What is never deleted but disabled, and enabled again: connectors, and approval systems outside."""

from __future__ import annotations

from typing import Any

from accounts.models import User
from audit.services import Line, record
from config import clock
from config.errors import Invalid, Problem, WrongState

ENABLED, DISABLED = "enabled", "disabled"


def switch(row: Any, *, to_enabled: bool, actor: User, reason: str, action: str) -> None:
    """Written, and recorded as `action`. Raises WrongState where it is so already, Invalid without a reason."""
    before, after = (DISABLED, ENABLED) if to_enabled else (ENABLED, DISABLED)
    if row.is_enabled == to_enabled:
        raise WrongState(f"{row.name} is {after} already.", subject=row)
    if not reason.strip():
        raise Invalid("Say why: the reason is kept in the log.", errors=[Problem("reason", "is empty")])
    row.is_enabled, row.changed_at = to_enabled, clock.now()
    row.save(update_fields=["is_enabled", "changed_at"])
    record([Line(action, row.audit_subject(), actor, row.changed_at, before, after, note=reason.strip())])
