# SPDX-License-Identifier: Apache-2.0
"""The same question again, and how many questions one may ask.

An agent that is started again asks what it asked before. While that request is open, it is the answer, and no second
person is asked; whoever means two things says so by `workflow_id`. Limits are counted without a lock: calls at the same
moment may go past one by as many as they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError
from django.db.models import BigIntegerField, Count, DateTimeField, F, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from accounts.models import User
from approvals.models import OPEN_REQUESTS, ActionRequest
from audit.canonical import digest
from config.errors import RateLimited
from config.prepared import Param, Reading

HOUR = timedelta(hours=1)
OPEN_RETRY_SECONDS = 60  # somebody has to answer first, and nobody knows when


def question_digest(request: ActionRequest, declared: Mapping[str, Any] | None) -> str:
    """Of all that its requester sent, and of nothing that the moment adds. The priority is no part of the question."""
    return digest(
        {
            "role": request.role,
            "request_type": request.request_type,
            "title": request.title,
            "description": request.description,
            "severity": request.severity,
            "asked": request.asked,
            "action": request.action,
            "required_fields": request.required_fields,
            "form": request.form,
            "options": request.options,
            "policy": dict(declared or {}),
            "workflow_id": request.workflow_id,
        }
    )


def open_already(request: ActionRequest) -> ActionRequest | None:
    """The open request that asks the same for the same requester."""
    same = ActionRequest.objects.filter(requester=request.requester_id, question_digest=request.question_digest)
    return same.filter(state__in=OPEN_REQUESTS).first()


def is_asked_twice(fault: IntegrityError) -> bool:
    """Whether the same question came in between. Then it is there, and another try finds it."""
    return "one_open_per_question" in str(fault) or "question_digest" in str(fault)


# Limits ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Used:
    """Of one user: (how many, at most) now open, and asked within an hour; at most 0 is no limit."""

    open_now: int
    most_open: int
    this_hour: int
    most_this_hour: int


def refuse_over_limit(actor: User, at: datetime) -> None:
    """Raises RateLimited with the seconds to wait."""
    used = use_of(actor, at)
    if 0 < used.most_open <= used.open_now:
        detail = f"{used.open_now} of your requests are open, and no more than {used.most_open} may be."
        raise RateLimited(detail, headers={"Retry-After": str(OPEN_RETRY_SECONDS)})
    if 0 < used.most_this_hour <= used.this_hour:
        detail = f"You have asked {used.this_hour} times within an hour, and may {used.most_this_hour} times."
        raise RateLimited(detail, headers={"Retry-After": str(_seconds_until_one_more(actor, used, at))})


def use_of(actor: User, at: datetime) -> Used:
    row: Any = _use(user_id=actor.pk, since=at - HOUR)[0]
    own_open, own_hourly = row.own_open, row.own_hourly
    return Used(
        open_now=row.open_now,
        most_open=settings.OPEN_REQUESTS_LIMIT if own_open is None else own_open,
        this_hour=row.this_hour,
        most_this_hour=settings.REQUESTS_PER_HOUR if own_hourly is None else own_hourly,
    )


def _asked_by(user: Any) -> QuerySet[ActionRequest]:
    """Outside of any step: what playbooks ask is limited by their runs."""
    return ActionRequest.objects.filter(requester=user, task__isnull=True).order_by()


def _counted(requests: QuerySet[ActionRequest]) -> Any:
    """A number, in a statement about something else."""
    number = requests.values("requester").annotate(number=Count("pk")).values("number")
    return Coalesce(Subquery(number, output_field=BigIntegerField()), 0)


def _reading() -> QuerySet[User]:
    mine = _asked_by(OuterRef("pk"))
    return User.objects.filter(pk=Param("user_id", BigIntegerField())).annotate(
        own_open=F("ask_limit__open_requests"),
        own_hourly=F("ask_limit__per_hour"),
        open_now=_counted(mine.filter(state__in=OPEN_REQUESTS)),
        this_hour=_counted(mine.filter(created_at__gt=Param("since", DateTimeField()))),
    )


def _seconds_until_one_more(actor: User, used: Used, at: datetime) -> int:
    newest = _asked_by(actor.pk).filter(created_at__gt=at - HOUR).order_by("-created_at")
    leaving = newest[used.most_this_hour - 1 : used.most_this_hour].values_list("created_at", flat=True)
    return max(1, math.ceil((leaving[0] + HOUR - at).total_seconds()))


_use = Reading(_reading)
