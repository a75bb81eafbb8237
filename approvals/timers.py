# SPDX-License-Identifier: Apache-2.0
"""What time puts right about requests: claims that have run out, deadlines, and answers by standing rules."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction

from approvals.claiming import CLAIM_FIELDS
from approvals.deadlines import check_request
from approvals.models import ActionRequest, RequestState
from approvals.services import answer_by_rule
from audit.services import SYSTEM, record, transitioned
from runs import due

BATCH = 100
TRY_AGAIN = timedelta(minutes=1)  # what could not be put right holds up none of the others


def look_at_requests(now: datetime) -> int:
    """Answer by standing rules, release expired claims, and look again later at whatever else is open."""
    waiting = ActionRequest.objects.filter(next_check_at__lte=now)
    if not waiting.exists():
        return 0
    by_rule = list(
        waiting.filter(state=RequestState.PENDING, standing_rule__isnull=False).values_list("pk", flat=True)[:BATCH]
    )
    for request_id in by_rule:
        answer_by_rule(request_id=request_id)
    return len(by_rule) + _look_at_others(now)


def _look_at_others(now: datetime) -> int:
    """Release expired claims; what a timetable says is done for each request by itself, afterwards."""
    with transaction.atomic():
        seen = ActionRequest.objects.select_for_update(of=("self",), skip_locked=True).select_related("task")
        rows = list(seen.filter(next_check_at__lte=now).order_by("next_check_at")[:BATCH])
        lines = []
        for request in rows:
            if request.state == RequestState.IN_REVIEW and request.claim_is_over(now):
                lines.append(transitioned(request.lapse, actor=SYSTEM, at=now))
            request.look_again(now)
        come = [request for request in rows if request.next_check_at is not None and request.next_check_at <= now]
        for request in come:
            request.next_check_at = now + TRY_AGAIN
        ActionRequest.objects.bulk_update(rows, CLAIM_FIELDS)
        record(lines)
    due.each([request.pk for request in come], lambda request_id: check_request(request_id=request_id))
    return len(rows)
