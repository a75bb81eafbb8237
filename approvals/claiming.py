# SPDX-License-Identifier: Apache-2.0
"""Claims of people: a lease on a request, which tells others who is at it. The row lock decides, and not the claim."""

from __future__ import annotations

import hmac
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from accounts.models import Kind, User, roles_of
from approvals.models import OPEN_REQUESTS, ActionRequest, RequestState
from approvals.reading import locked, refuse_unless_open
from approvals.rights import bar_for, refuse_unless_may_decide
from audit import actions
from audit.context import origin
from audit.services import Line, act, record, transitioned
from config import clock
from config.errors import Forbidden, LeaseLost, Refused, RoleRequired, WrongState
from playbooks.definition import StepKind
from runs.leases import Lease, hashed, new_token

CLAIM_FIELDS = (
    "state", "claimed_by", "claim_token_hash", "claim_expires_at", "claimed_at", "first_claimed_at", "lapsed_by",
    "lapsed_token_hash", "paused_at", "next_check_at", "updated_at",
)  # fmt: skip


ASKED_KINDS = (StepKind.HUMAN, StepKind.GOVERNANCE)
"""Kinds of step that an answer ends; of any other, it answers who asked in mid-task."""


class TokenExpired(Refused):
    """Your claim on this request has ended. Renew it, then send your decision again; nothing you wrote was lost."""

    code = "token_expired"


def claim_requests(*, role: str, actor: User, limit: int) -> list[Lease]:
    """`POST /acts/tasks/next` for a people's role: the oldest open requests this person may decide, as tasks."""
    if actor.kind != Kind.HUMAN:
        raise Forbidden("Tasks of people are for people; agents and services cannot claim them.")
    if role not in roles_of(actor.pk):
        raise RoleRequired(f"Only members of {role} may claim its tasks.")
    waiting = ActionRequest.objects.filter(role=role, state=RequestState.PENDING, task__kind__in=ASKED_KINDS)
    locked = waiting.order_by("created_at", "id").select_for_update(of=("self",), skip_locked=True)
    mine = []
    for request in locked.select_related("task__run__version__playbook", "task__run__started_by"):
        if bar_for(request, actor) is None:
            mine.append(request)
        if len(mine) == limit:
            break
    return [_claimed(request, actor=actor, at=clock.now()) for request in mine]


def _claimed(request: ActionRequest, *, actor: User, at: datetime) -> Lease:
    token, task = new_token(), request.task
    assert task is not None
    until = _claim(request, token, actor=actor, at=at)
    handed = request.asked["input"]
    return Lease(task, token, task.fence, until, handed, handed.get("data", {}))


def _claim(request: ActionRequest, token: str, *, actor: User, at: datetime) -> datetime:
    until = at + claim_ttl(request)
    line = transitioned(request.claim, {"by": actor, "token_hash": hashed(token), "until": until}, actor=actor, at=at)
    request.save(update_fields=CLAIM_FIELDS)
    record([line])
    return until


def claim_ttl(request: ActionRequest) -> timedelta:
    """How long a claim holds: the step's `token_ttl`, or 15 minutes on pages and the installation's over the API."""
    default = settings.PAGE_LEASE_SECONDS if origin().channel == "admin" else settings.HUMAN_LEASE_SECONDS
    declared = request.task.definition.token_ttl_seconds if request.task is not None else None
    return timedelta(seconds=declared or default)


@act(actions.REQUEST_CLAIM_DENIED)
def claim_request(*, request_id: str, actor: User) -> tuple[ActionRequest, str]:
    """Claim one request, to tell others that you are at it: (request, token). A claim is advice to people.

    Raises NotFound, AlreadyDecided, RoleRequired, Forbidden, and WrongState while another holds it.
    """
    request = locked(request_id, actor)
    refuse_unless_open(request)
    refuse_unless_may_decide(request, actor)
    at, token = clock.now(), new_token()
    if request.state == RequestState.IN_REVIEW and not request.claim_is_over(at) and request.claimed_by_id != actor.pk:
        who = request.claimed_by.get_username() if request.claimed_by else "Somebody"
        raise WrongState(f"{who} is reviewing this until {request.claim_expires_at:%H:%M} UTC.", subject=request)
    if request.state == RequestState.IN_REVIEW:
        record([transitioned(request.release, actor=actor, at=at)])
    _claim(request, token, actor=actor, at=at)
    return request, token


@act(actions.REQUEST_CLAIM_DENIED)
def renew_claim(*, request_id: str, actor: User, token: str) -> ActionRequest:
    """Hold a claim for its full time from now, also one that has run out if nobody else has claimed since.

    Renewals are recorded, and end at a cap counted from the claim. Raises LeaseLost, TokenExpired at the cap.
    """
    request = locked(request_id, actor)
    refuse_unless_open(request)
    at = clock.now()
    lapsed = request.state == RequestState.PENDING
    _refuse_foreign_claim(request, token, actor, lapsed=lapsed)
    assert request.claimed_at is not None, "a claim has a beginning"
    cap = request.claimed_at + timedelta(seconds=settings.CLAIM_CAP_SECONDS)
    if at >= cap:
        raise TokenExpired("This claim was renewed as long as claims may be. Claim the request anew.", subject=request)
    if lapsed:
        _claim(request, token, actor=actor, at=at)
    request.claim_expires_at = min(at + claim_ttl(request), cap)
    request.look_again(at)
    request.save(update_fields=["claim_expires_at", "next_check_at"])
    facts = {"until": request.claim_expires_at.isoformat()}
    record([Line(actions.REQUEST_CLAIM_RENEWED, request.audit_subject(), actor, at, data=facts)])
    return request


def _refuse_foreign_claim(request: ActionRequest, token: str, actor: User, *, lapsed: bool) -> None:
    holder, known = (
        (request.lapsed_by_id, request.lapsed_token_hash)
        if lapsed
        else (request.claimed_by_id, request.claim_token_hash)
    )
    if holder != actor.pk or not hmac.compare_digest(known, hashed(token)):
        raise LeaseLost("This claim is not yours, or another has claimed the request since.", subject=request)


def renew_human_task(*, task_id: int, actor: User, token: str) -> datetime:
    """`heartbeat` and `renew` on a human task: the claim on its request. Returns when it ends."""
    open_one = ActionRequest.objects.filter(task=task_id, state__in=OPEN_REQUESTS).values_list("pk", flat=True).first()
    if open_one is None:
        raise WrongState("This task asks nobody anything now.")
    request = renew_claim(request_id=open_one, actor=actor, token=token)
    assert request.claim_expires_at is not None
    return request.claim_expires_at


@act(actions.REQUEST_CLAIM_DENIED)
def release_request(*, request_id: str, actor: User) -> ActionRequest:
    """Give a claimed request back to its role. Raises NotFound, WrongState."""
    request = locked(request_id, actor)
    if request.state != RequestState.IN_REVIEW or request.claimed_by_id != actor.pk:
        raise WrongState("You have not claimed this request.", subject=request)
    record([release(request, actor=actor, at=clock.now())])
    return request


def release(request: ActionRequest, *, actor: Any, at: datetime) -> Line:
    line = transitioned(request.release, actor=actor, at=at)
    request.save(update_fields=CLAIM_FIELDS)
    return line


def refuse_lost_claim(request: ActionRequest, token: str, actor: User, *, at: datetime) -> None:
    """Raise unless the claim under `token` still holds: TokenExpired if it can be renewed, else LeaseLost."""
    lapsed = request.state == RequestState.PENDING
    _refuse_foreign_claim(request, token, actor, lapsed=lapsed)
    if lapsed or request.claim_is_over(at):
        links = {"renew": f"/hitl/requests/{request.pk}/claim"}
        raise TokenExpired(subject=request, extra=links)
