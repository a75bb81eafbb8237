# SPDX-License-Identifier: Apache-2.0
"""Telling people: every act that somebody should hear of adds its due rows here, in its own transaction.

What is written is who and what; by which channel and when is found out by the worker, as each person wishes it
(`approvals/routing.py`), so that an act reads nothing for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.urls import reverse

from approvals.models import ActionRequest, Broadcast, Notification
from approvals.models.messages import ASKED, CLOSED, DECIDED, ENDINGS, GLASS_BROKEN
from config.batch import Batch
from config.prepared import fresh

REVISED = "revised"
CONCERNS_OTHERS = (ASKED, REVISED, *ENDINGS)
"""What is told to others than the people named: to approval systems, and an ending to whoever was told before."""


def tell(batch: Batch | None, request: ActionRequest, purpose: str, people: Sequence[int] | None, at: datetime) -> None:
    """Add the due rows of this news to what the act writes; without a batch, in its transaction.

    `people` are user ids; None for the endings, `decided` and `closed`, which go to whoever was told before.
    """
    rows: list[Any] = [
        fresh(Notification, request=request, recipient_id=pk, purpose=purpose, due_at=at, told_at=at)
        for pk in dict.fromkeys(people or ())
    ]
    if purpose in CONCERNS_OTHERS:
        news = fresh(Broadcast, request=request, revision=request.revision, purpose=purpose, due_at=at, told_at=at)
        rows.append(news)
    if batch is not None:
        batch.insert(*rows)
        return
    for row in rows:
        row.save(force_insert=True)


def link_to(request: ActionRequest) -> str:
    return reverse("admin:approvals_actionrequest_decide", args=[request.pk])


__all__ = ["ASKED", "CLOSED", "DECIDED", "GLASS_BROKEN", "REVISED", "link_to", "tell"]
