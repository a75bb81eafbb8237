# SPDX-License-Identifier: Apache-2.0
"""Reading one request to act on it, and whether it can be acted on at all.

Lock order: run, task, request.
"""

from __future__ import annotations

import hmac
from datetime import datetime
from functools import partial
from typing import Any

from django.db.models import CharField, Exists, OuterRef

from approvals import drift
from approvals.models import DECIDABLE_REQUESTS, DECIDED_REQUESTS, ActionRequest, Draft, Vote
from audit.services import contended
from config import clock
from config.batch import NextNumber
from config.errors import AlreadyDecided, NotFound, StaleRevision, WrongState
from config.prepared import Param, Reading
from runs.models import Run, Task


class RequestExpired(WrongState):
    """The time to decide this is over. What happens instead is for its policy to say."""

    code = "request_expired"


def for_decision(request_id: str, actor: Any, *, lock: bool = False) -> Any:
    """The request with its task, run and version, as one statement; locked if wanted. Raises NotFound."""
    if lock or contended():
        locked(request_id, actor)
    request: Any = next(iter(_one_request(request_id=request_id)), None)
    if request is None or not may_see(request, actor):
        raise _unknown(request_id)
    if request.task is not None:
        request.task.run, request.task.next_task = request.run, request.next_task
    return request


_one_request = Reading(
    lambda: (
        ActionRequest.objects.filter(pk=Param("request_id", CharField()))
        .select_related("run__version__playbook", "run__started_by", "task", "decided_by", "requester")
        .defer("run__version__document")
        .annotate(db_now=clock.Now(each_time=True), next_vote=NextNumber(Vote), next_task=NextNumber(Task))
        .annotate(has_drafts=Exists(Draft.objects.filter(request=OuterRef("pk"))))
        .order_by()
    )
)


def may_see(request: ActionRequest, actor: Any) -> bool:
    if actor.pk is None or request.requester_id == actor.pk or request.role in actor.roles:
        return True
    return ActionRequest.objects.visible_to(actor).filter(pk=request.pk).exists()


def locked(request_id: str, actor: Any) -> ActionRequest:
    """The request with its task and run, locked in that order from the run down. Raises NotFound.

    The product itself (`SYSTEM`, who has no number) sees all.
    """
    seen = ActionRequest.objects.all() if actor.pk is None else ActionRequest.objects.visible_to(actor)
    found = seen.filter(pk=request_id).values_list("run_id", "task_id").first()
    if found is None:
        raise _unknown(request_id)
    run_id, task_id = found
    runs = Run.objects.select_for_update(of=("self",)).select_related("version__playbook")
    run = runs.get(pk=run_id) if run_id is not None else None
    task = Task.objects.select_for_update(of=("self",)).get(pk=task_id) if task_id is not None else None
    if task is not None:
        task.run = run
    request = ActionRequest.objects.select_for_update(of=("self",)).get(pk=request_id)
    request.run, request.task = run, task
    return request


def _unknown(request_id: str) -> NotFound:
    return NotFound(f"There is no request {request_id}, or you may not see it.")


def refuse_unless_open(request: ActionRequest, *, at: datetime | None = None) -> None:
    """Raises AlreadyDecided, RequestExpired if its time is over at this moment, WrongState."""
    if request.state in DECIDED_REQUESTS:
        who = request.decided_by.get_username() if request.decided_by else f"The {request.get_decided_how_display()}"
        assert request.decided_at is not None
        when = f"{request.decided_at:%Y-%m-%d at %H:%M} UTC"
        raise AlreadyDecided(f"{who} decided this on {when}: {request.outcome}.", subject=request)
    if request.state not in DECIDABLE_REQUESTS:
        raise WrongState(f"The request is {request.get_state_display().lower()}.", subject=request)
    if at is not None and request.expires_at is not None and request.expires_at <= at:
        ended = f"{request.expires_at:%Y-%m-%d at %H:%M} UTC"
        raise RequestExpired(f"The time to decide ended on {ended}.", subject=request)


def refuse_unless_current(request: ActionRequest, revision: int | None, shown_digest: str = "") -> None:
    """Raises StaleRevision, with what is different, if the person was shown something else than is asked now."""
    extra = partial(drift.told, request, revision)
    if revision is not None and revision != request.revision:
        detail = f"You were shown revision {revision}; it is now {request.revision}."
        raise StaleRevision(detail, subject=request, extra=extra())
    if shown_digest and not hmac.compare_digest(shown_digest, request.digest):
        raise StaleRevision(subject=request, extra=extra())
