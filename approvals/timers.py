# SPDX-License-Identifier: Apache-2.0
"""What time puts right about requests: claims that have run out, and answers by standing rules."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from approvals.claiming import CLAIM_FIELDS
from approvals.models import ActionRequest, RequestState
from approvals.services import answer_by_rule
from audit.services import SYSTEM, record, transitioned
from runs.models import LOOK_AGAIN

BATCH = 100


def look_at_requests(now: datetime) -> int:
    """Answer by standing rules, release expired claims, and look again later at whatever else is open."""
    due = ActionRequest.objects.filter(next_check_at__lte=now)
    if not due.exists():
        return 0
    by_rule = list(
        due.filter(state=RequestState.PENDING, standing_rule__isnull=False).values_list("pk", flat=True)[:BATCH]
    )
    for request_id in by_rule:
        answer_by_rule(request_id=request_id)
    return len(by_rule) + _look_at_others(now)


def _look_at_others(now: datetime) -> int:
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
