# SPDX-License-Identifier: Apache-2.0
"""Taking a question back. Only whoever asked it may: a no is for deciders, and a silence for the clock."""

from __future__ import annotations

from accounts.models import User
from approvals import notify
from approvals.claiming import CLAIM_FIELDS
from approvals.models import OPEN_REQUESTS, ActionRequest, RequestState
from approvals.reading import locked, refuse_unless_open
from audit import actions
from audit.services import act, record, transitioned
from config import clock, wake
from config.errors import Forbidden, WrongState


@act(actions.REQUEST_CANCEL_DENIED)
def cancel_request(*, request_id: str, actor: User, reason: str = "") -> ActionRequest:
    """Close an open question without an answer; cancelled twice is cancelled once.

    Raises NotFound, Forbidden, AlreadyDecided, and WrongState where it is closed, or is the question of a run's step.
    """
    request = locked(request_id, actor)
    if request.requester_id != actor.pk:
        raise Forbidden("Only who asked a question takes it back.", subject=request)
    if request.task_id is not None:
        remedy = f"cancel the run: PATCH /acts/runs/{request.run_id}/cancel"
        raise WrongState(f"A step of run {request.run_id} waits for this answer; {remedy}.", subject=request)
    if request.state == RequestState.CANCELLED:
        return request
    if request.state not in OPEN_REQUESTS:
        refuse_unless_open(request)
    line = transitioned(request.cancel, actor=actor, at=clock.now(), note=reason)
    request.save(update_fields=[*CLAIM_FIELDS, "paused_at"])
    notify.tell(None, request, notify.CLOSED, None, line.at)
    record([line])
    wake.after_commit()
    return request
