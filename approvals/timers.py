# SPDX-License-Identifier: Apache-2.0
"""What time puts right about requests: a claim that has run out goes back to its role."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from approvals.models import ActionRequest, RequestState
from approvals.services import CLAIM_FIELDS
from audit.services import SYSTEM, record, transitioned
from runs.models import LOOK_AGAIN

BATCH = 100


def look_at_requests(now: datetime) -> int:
    """Release expired claims, and look again later at whatever else is open."""
    if not ActionRequest.objects.filter(next_check_at__lte=now).exists():
        return 0
    with transaction.atomic():
        due = ActionRequest.objects.select_for_update(of=("self",), skip_locked=True).select_related("task")
        rows = list(due.filter(next_check_at__lte=now).order_by("next_check_at")[:BATCH])
        lines = []
        for request in rows:
            if request.state == RequestState.IN_REVIEW:
                lines.append(transitioned(request.lapse, actor=SYSTEM, at=now))
            request.next_check_at = now + LOOK_AGAIN
        ActionRequest.objects.bulk_update(rows, CLAIM_FIELDS)
        record(lines)
    return len(rows)
