# SPDX-License-Identifier: Apache-2.0
"""Breaking the glass: one person decides alone. It is told to everybody who was to decide, and reviewed afterwards."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from approvals import asking, notify
from approvals.models import ActionRequest, RequestType, Severity
from approvals.policy import Policy
from audit import actions
from audit.services import Line
from config.batch import Batch
from runs.models import LOOK_AGAIN, Priority


def review_afterwards(
    batch: Batch, request: ActionRequest, rules: Policy, *, by: Any, at: datetime, outcome: str, reason: str
) -> list[Line]:
    """The lines of an emergency: it is loud, and a request of its own asks for the review."""
    glass = rules.break_glass
    assert glass is not None, "the policy lets somebody"
    review = ActionRequest(
        requester=by,
        role=glass.review_role,
        request_type=RequestType.CUSTOM,
        title=f"Review of a decision in an emergency: {request.title}"[:200],
        description="One person decided alone, as the policy allows in an emergency. Was it right to?",
        priority=Priority.HIGH,
        severity=Severity.HIGH,
        asked={"context": {"request": request.id, "outcome": outcome, "by": by.get_username(), "reason": reason}},
        created_at=at,
        updated_at=at,
        due_at=at + timedelta(seconds=glass.review_within_seconds),
        next_check_at=at + LOOK_AGAIN,
    )
    told = [one["id"] for one in request.eligible if one["id"] != by.pk]
    notify.tell(batch, request, notify.GLASS_BROKEN, told, at)
    facts = {"outcome": outcome, "review": review.id, "notified": len(told)}
    loud = Line(actions.REQUEST_GLASS_BROKEN, request.audit_subject(), by, at, note=reason, data=facts)
    return [loud, *asking.ask(batch, review, actor=by, at=at)]
