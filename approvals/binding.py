# SPDX-License-Identifier: Apache-2.0
"""What a decision binds: the digest is over this, and over nothing else."""

from __future__ import annotations

from typing import Any

from approvals.models import ActionRequest


def what_is_asked(request: ActionRequest) -> dict[str, Any]:
    """Exactly what a decision binds. Any change to it is a new revision with another digest."""
    said = {
        "request": request.id,
        "revision": request.revision,
        "title": request.title,
        "description": request.description,
        "asked": request.asked,
        "form": request.form,
        "options": request.options,
        "policy": request.policy,
        "requester": str(request.requester_id),
        "run": str(request.run_id or ""),
        "severity": request.severity,
    }
    return said if request.action is None else {**said, "action": request.action}
