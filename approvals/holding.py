# SPDX-License-Identifier: Apache-2.0
"""The hold: an approval that waits before it has effect, so that it can be undone; and its end.

While it is held nothing has moved, so that to undo it is to revoke the receipt and ask the same again. Once released
it is carried out in the act of the sweep; after that there is nothing to undo, only to compensate.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from datetime import datetime
from typing import Any

from accounts.models import User
from approvals import clocks, notify, rights
from approvals.binding import what_is_asked
from approvals.models import ActionRequest, Asked, Receipt, ReceiptState, Vote
from approvals.models.receipts import Executor, receipt_of
from approvals.outcomes import Answer, Decision
from approvals.proposals import ProposalVoid
from approvals.reading import locked
from approvals.receipts import ANSWERED_KINDS, RECEIPT_FIELDS, carry_out
from approvals.secret_services import withdraw_secrets
from audit import actions
from audit.canonical import digest
from audit.services import SYSTEM, Line, act, record, transitioned
from config import clock, wake
from config.batch import Batch
from config.crash import crash_around_commit
from config.errors import Forbidden, Invalid, Problem, Refused, WrongState
from runs import due
from runs.models import LOOK_AGAIN, Task

BATCH = 100
ASKED_AGAIN = (
    "task", "run", "workflow_id", "requester", "role", "request_type", "title", "description", "severity", "priority",
    "asked", "action", "required_fields", "form", "options", "policy", "eligible", "template",
)  # fmt: skip


class TooLateToUndo(Refused):
    """It has taken effect, so it cannot be undone any more."""

    code = "too_late_to_undo"


# Undoing --------------------------------------------------------------------------------------------------


@act(actions.REQUEST_UNDO_DENIED)
def undo(*, request_id: str, actor: User, reason: str = "") -> ActionRequest:
    """Take back an approval that is still held; the same is asked again: the new request.

    Raises TooLateToUndo, which names the way that is left, Forbidden for whoever neither voted nor may decide,
    WrongState where nothing was approved.
    """
    request = locked(request_id, actor)
    receipt, at = receipt_of(request), clock.now()
    if receipt is None or receipt.state == ReceiptState.REVOKED:
        raise WrongState("Nothing here was approved that could be undone.", subject=request)
    _refuse_others(request, actor)
    if receipt.state != ReceiptState.HELD or at >= receipt.not_before:
        raise TooLateToUndo(f"It has taken effect. {way_left(receipt)}", subject=request)
    receipt.request = request
    lines = [
        transitioned(receipt.revoke, actor=actor, at=at, note=reason),
        transitioned(request.supersede, actor=actor, at=at, note=reason),
    ]
    batch = Batch()
    batch.update(receipt, *RECEIPT_FIELDS, state=ReceiptState.HELD, uses=0)
    batch.update(request, "state", "updated_at", "next_check_at", state=lines[1].from_state)
    again, asked = _ask_again(request, actor=actor, at=at, batch=batch)
    lines += withdraw_secrets(request, actor=actor, at=at)
    record([*lines, asked], into=batch)
    batch.write()
    wake.after_commit()
    return again


def _ask_again(request: ActionRequest, *, actor: User, at: datetime, batch: Batch) -> tuple[ActionRequest, Line]:
    """The same question, of the same people under the same policy, with its time from now."""
    again = ActionRequest(supersedes=request, created_at=at, updated_at=at, next_check_at=at + LOOK_AGAIN)
    for name in ASKED_AGAIN:
        setattr(again, name, getattr(request, name))
    clocks.begin(again, rights.rules_of(request).time, at=at)
    again.digest = digest(what_is_asked(again))
    people = [one["id"] for one in again.eligible]
    batch.insert(again)
    asked = request.asked_people.values_list("user", "why")
    batch.insert(*(Asked(request=again, user_id=user, why=why, asked_at=at) for user, why in asked))
    notify.tell(batch, request, notify.CLOSED, None, at)
    notify.tell(batch, again, notify.ASKED, people, at)
    if request.task is not None and request.task.kind not in ANSWERED_KINDS:
        request.task.approval = {**(request.task.approval or {}), "request": again.id}
        batch.update(request.task, "approval", state=request.task.state)
    facts = {"requester": str(again.requester_id), "notified": len(people), "asked_again": request.id}
    private = {"title": again.title, "description": again.description, "asked": again.asked}
    subject = again.audit_subject()
    return again, Line(actions.REQUEST_CREATED, subject, actor, at, to_state="pending", data=facts, private=private)


def may_undo(request: ActionRequest, actor: User) -> bool:
    voted = Vote.objects.filter(request=request, revision=request.revision, voter=actor.pk).exists()
    return actor.is_human and (voted or rights.bar_for(request, actor) is None)


def _refuse_others(request: ActionRequest, actor: User) -> None:
    if not may_undo(request, actor):
        raise Forbidden("Only who voted, and who may decide this, may undo its approval.", subject=request)


def way_left(receipt: Receipt) -> str:
    """What can be done about an approval that has taken effect, in a sentence."""
    if receipt.executor == Executor.CALLER and receipt.state == ReceiptState.READY:
        return f"It has not been used yet: revoke it by POST /hitl/requests/{receipt.request_id}/revoke."
    if receipt.executor == Executor.CALLER:
        return "Ask whoever did it to reverse it, by a request of its own."
    run_id = receipt.request.run_id or receipt.spendings.values_list("run", flat=True).first()
    way = f"Cancel run {run_id} (PATCH /acts/runs/{run_id}/cancel)"
    return f"{way}: what its steps have done is undone by their `compensate`, where they have one."


# Revoking -------------------------------------------------------------------------------------------------


@act(actions.RECEIPT_REVOKE_DENIED)
def revoke(*, request_id: str, actor: User, reason: str) -> Receipt:
    """Take back an approval that nobody has used yet; it is not asked again. A reason is needed.

    For who voted, who may decide, and who asked. Raises WrongState, Forbidden, Invalid.
    """
    request = locked(request_id, actor)
    receipt, at = receipt_of(request), clock.now()
    if not reason.strip():
        raise Invalid("Say why you take it back.", errors=[Problem("reason", "missing", "Give a reason.")])
    if receipt is None or not receipt.is_open:
        raise WrongState("There is no approval here that could still be used.", subject=request)
    if receipt.executor == Executor.STEP:
        raise WrongState("This approval is of a step: undo it while it is held, or cancel the run.", subject=request)
    if request.requester_id != actor.pk:
        _refuse_others(request, actor)
    receipt.request = request
    line, batch = transitioned(receipt.revoke, actor=actor, at=at, note=reason), Batch()
    batch.update(receipt, *RECEIPT_FIELDS, state=line.from_state, uses=receipt.uses)
    record([line, *withdraw_secrets(request, actor=actor, at=at)], into=batch)
    batch.write()
    return receipt


def revoke_of_ended(tasks: Iterable[Task], at: datetime) -> list[Line]:
    """Their tasks have ended without what was approved: called in the act that ended them."""
    rows = Receipt.objects.select_for_update(of=("self",)).filter(request__task__in=list(tasks))
    lines = []
    for receipt in rows.filter(state__in=[ReceiptState.HELD, ReceiptState.READY]).order_by("id"):
        lines.append(transitioned(receipt.revoke, actor=SYSTEM, at=at, note="its task has ended without it"))
        receipt.save(update_fields=RECEIPT_FIELDS)
    return lines


# What time does -------------------------------------------------------------------------------------------


def look_at_receipts(now: datetime) -> int:
    """Release what was held long enough, and carry it out; end what was not used in time."""
    rows = Receipt.objects.filter(next_check_at__lte=now).order_by("next_check_at")
    return due.each(list(rows.values_list("request", flat=True)[:BATCH]), lambda pk: check_receipt(request_id=pk))


@act(actions.RECEIPT_RELEASE_DENIED)
def check_receipt(*, request_id: str) -> None:
    """Do what is due for the open receipt of one request, if anything is."""
    request = locked(request_id, SYSTEM)
    now = clock.now()
    receipt = Receipt.objects.select_for_update(of=("self",)).filter(request=request, next_check_at__lte=now).first()
    if receipt is None:
        return
    receipt.request = request
    if receipt.state == ReceiptState.HELD:
        _release(receipt, at=now)
    elif receipt.not_after is not None and receipt.not_after <= now:
        _write(receipt, transitioned(receipt.expire, actor=SYSTEM, at=now))
    else:
        receipt.look_again(now)
        receipt.write("next_check_at", state=receipt.state)


def _release(receipt: Receipt, *, at: datetime) -> None:
    """The hold is over: the approval takes effect, by the clock, in one act. What has drifted meanwhile is void."""
    held, batch = copy(receipt), Batch()
    released = transitioned(receipt.release, actor=SYSTEM, at=at)
    try:
        lines = carry_out(receipt, receipt.request, _decision(receipt, at), batch=batch, stored=ReceiptState.HELD)
    except ProposalVoid as void:
        _write(held, transitioned(held.revoke, actor=SYSTEM, at=at, result="FAIL", note=void.detail))
        return
    if receipt.state == ReceiptState.READY:
        batch.update(receipt, *RECEIPT_FIELDS, state=ReceiptState.HELD, uses=0)
    record([released, *lines], into=batch)
    with crash_around_commit("release"):
        batch.write()
    wake.after_commit()


def _write(receipt: Receipt, line: Line) -> None:
    batch = Batch()
    batch.update(receipt, *RECEIPT_FIELDS, state=line.from_state, uses=receipt.uses)
    record([line], into=batch)
    batch.write()


def _decision(receipt: Receipt, at: datetime) -> Decision:
    """What was decided, as it takes effect now by the clock."""
    request: Any = receipt.request
    vote = (
        Vote.objects.filter(request=request, revision=receipt.revision, outcome=receipt.outcome).order_by("id").last()
    )
    answer = Answer(request.outcome, request.notes, response_data=request.response_data)
    by = request.decided_by or SYSTEM
    return Decision(answer, failed=False, by=by, at=at, how=request.decided_how, vote=vote, carried_out_by=SYSTEM)
