# SPDX-License-Identifier: Apache-2.0
"""Spending a receipt: whoever is about to do what was approved shows it, exactly, and may do it once.

The digest is computed anew from what is really about to be done; the nonce is claimed by a guarded write, so that of
any number of attempts at the same moment as many succeed as the receipt permits. Everything else fails closed: the
receipt stays as it was, a DENIED entry says why, and who approved is told by mail.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction

from accounts.models import User
from approvals import constraints, proof, proposals, signing
from approvals.changes import changes_between
from approvals.models import ActionRequest, Receipt, ReceiptAlert, ReceiptState, RequestState, Spending, Vote
from approvals.models.receipts import Executor, receipt_of
from approvals.receipts import RECEIPT_FIELDS, RECEIPT_LABEL, ActionMismatch, approved_action
from audit import actions
from audit.services import SYSTEM, Actor, Line, act, contended, record, transitioned
from config import clock
from config.batch import Batch
from config.crash import crash_around_commit
from config.errors import Forbidden, NotFound, Refused, WrongState
from playbooks.catalogue import Permanent
from runs.models import Task

log = logging.getLogger(__name__)

SPEND_FOR_OTHERS = "approvals.spend"


class ReceiptSpent(Refused):
    """This approval has been used. What it permitted has been done; ask anew for another."""

    code = "receipt_spent"


class ReceiptExpired(Refused):
    """The time in which this approval could be used is over. Ask anew."""

    code = "receipt_expired"


class ReceiptHeld(Refused):
    """This approval may still be undone. It can be used from `not_before` on."""

    code = "receipt_held"


class ReceiptRevoked(Refused):
    """This approval was taken back."""

    code = "receipt_revoked"


class ReceiptUntrusted(Refused):
    """The receipt proves nothing: its signature or its key is not ours. Nothing may be done on it."""

    code = "receipt_untrusted"


class NotApproved(Permanent):
    """The worker is about to do something else than what was approved."""


ALARMING = (ActionMismatch, ReceiptSpent, ReceiptExpired, ReceiptRevoked, ReceiptUntrusted)
"""Refusals that somebody should hear of: an honest executor does not come upon them."""


# By whoever asked -----------------------------------------------------------------------------------------


def spend(*, request_id: str, actor: User, call: str = "", input: Mapping[str, Any] | None = None) -> Spending:
    """Use an approval for `call` with `input`, which are about to be done; with neither, for the question itself.

    Raises ActionMismatch, ReceiptSpent, ReceiptExpired, ReceiptHeld, ReceiptRevoked, ReceiptUntrusted; NotFound,
    Forbidden for a request of others, WrongState where nothing was approved or where others do it.
    """
    try:
        return _spend(request_id=request_id, actor=actor, call=call, input=input)
    except ALARMING as refusal:
        alert(refusal)
        raise


@act(actions.RECEIPT_SPEND_DENIED, one_write=True)
def _spend(*, request_id: str, actor: User, call: str, input: Mapping[str, Any] | None) -> Spending:
    receipt = _readable(request_id, actor)
    at = clock.now()
    refuse_unless_good(receipt, at=at)
    given = {"call": call, "input": dict(input or {})} if call or input else approved_action(receipt.request)
    digest = refuse_unless_approved(receipt, given)
    batch = Batch()
    spending, line = used(receipt, given, digest, actor=actor, at=at, batch=batch)
    record([line], into=batch)
    with crash_around_commit("spend"):
        batch.write()
    return spending


def _readable(request_id: str, actor: User) -> Receipt:
    if contended():
        list(Receipt.objects.select_for_update(of=("self",)).filter(request=request_id).order_by("id"))
    request = ActionRequest.objects.visible_to(actor).filter(pk=request_id).first()
    if request is None:
        raise NotFound(f"There is no request {request_id}, or you may not see it.")
    if request.requester_id != actor.pk and (actor.is_human or not actor.has_perm(SPEND_FOR_OTHERS)):
        raise Forbidden("Only who asked uses an approval, and services that were given leave to.", subject=request)
    receipt = receipt_of(request)
    if receipt is None:
        what = "was not approved" if request.state != RequestState.FULFILLED else "has no receipt"
        raise WrongState(f"The request {what}, so there is nothing to use.", subject=request)
    if receipt.executor == Executor.STEP and receipt.is_open:
        raise WrongState("This approval is used as its task is resumed or goes on.", subject=receipt)
    return receipt


# The checks -----------------------------------------------------------------------------------------------


def refuse_unless_good(receipt: Receipt, *, at: datetime) -> None:
    """Raise unless the receipt proves an approval that may be used at this moment."""
    if why := signing.why_untrusted(receipt):
        raise ReceiptUntrusted(f"The receipt proves nothing: {why}. Nothing may be done on it.", subject=receipt)
    if receipt.state == ReceiptState.SPENT:
        raise ReceiptSpent(subject=receipt)
    if receipt.state == ReceiptState.REVOKED:
        raise ReceiptRevoked(subject=receipt)
    if receipt.state == ReceiptState.EXPIRED or (receipt.not_after is not None and at >= receipt.not_after):
        raise ReceiptExpired(subject=receipt)
    if receipt.state == ReceiptState.HELD or at < receipt.not_before:
        moment = proof.moment(receipt.not_before)
        detail = f"This approval may still be undone. It can be used from {moment} on."
        raise ReceiptHeld(detail, subject=receipt, extra={"not_before": moment})


def refuse_unless_approved(receipt: Receipt, effective: Mapping[str, Any]) -> str:
    """The digest of what is about to be done. Raises ActionMismatch unless it is what was approved."""
    digest = proof.action_digest(receipt.request_id, receipt.revision, effective)
    if digest == receipt.digest and not receipt.constraints:
        return digest
    why = constraints.departure(receipt.constraints, receipt.action, effective)
    if why or not receipt.constraints:
        how = f": {why}" if why and receipt.constraints else ""
        detail = f"This is not what was approved{how}. It was refused, and the receipt is as it was."
        changes = [one.as_json() for one in changes_between(receipt.action, dict(effective))]
        extra = {"approved": receipt.digest, "effective": digest, "changes": changes}
        raise ActionMismatch(detail, subject=receipt, extra=extra)
    return digest


def used(
    receipt: Receipt,
    effective: Mapping[str, Any],
    digest: str,
    *,
    actor: Actor,
    at: datetime,
    batch: Batch,
    task: Task | None = None,
) -> tuple[Spending, Line]:
    """Claim the nonce in the caller's batch: (the spending, the line to record)."""
    before, uses = receipt.state, receipt.uses
    method = receipt.spend if uses + 1 == receipt.uses_allowed else receipt.use
    line = transitioned(method, actor=actor, at=at, data={"digest": digest, "use": uses + 1})
    spending = Spending(
        receipt=receipt,
        number=receipt.uses,
        action=dict(effective),
        digest=digest,
        spent_by_id=actor.pk,
        task=task,
        spent_at=at,
    )
    batch.update(receipt, *RECEIPT_FIELDS, state=before, uses=uses)
    batch.insert(spending)
    return spending, line


# By the engine --------------------------------------------------------------------------------------------


def resume(task: Task, *, actor: Actor, at: datetime, batch: Batch) -> list[Line]:
    """The agent that asked in mid-task takes it up again: its approval is used, in the batch that gives the lease."""
    receipt = _of_task(task)
    if receipt is None:
        return []  # decided before there were receipts
    refuse_unless_good(receipt, at=at)
    effective = approved_action(receipt.request)
    digest = refuse_unless_approved(receipt, effective)
    return [used(receipt, effective, digest, actor=actor, at=at, batch=batch, task=task)[1]]


def _of_task(task: Task) -> Receipt | None:
    asked = (task.approval or {}).get("request", "")
    return receipt_of(asked) if asked else None


def let_lapse(task: Task, *, at: datetime, batch: Batch) -> list[Line]:
    """Nobody took the approved task up again, so that it is offered to others: the approval is of no use to them."""
    receipt = _of_task(task)
    if receipt is None or receipt.state != ReceiptState.READY:
        return []
    line = transitioned(receipt.expire, actor=SYSTEM, at=at)
    batch.update(receipt, *RECEIPT_FIELDS, state=ReceiptState.READY, uses=receipt.uses)
    return [line]


def check_call(task: Task) -> None:
    """Before the worker makes a call of a run that an approval started: it is what was approved, still, or is not made.

    Raises NotApproved, which no retry mends.
    """
    number = task.run.labels.get(RECEIPT_LABEL)
    if number is None:
        return
    receipt = Receipt.objects.select_related("request").filter(pk=number, spendings__run=task.run_id).first()
    if receipt is None:
        raise NotApproved(f"no approval has started this run, though it names the receipt {number}")
    if why := signing.why_untrusted(receipt):
        _deny(ReceiptUntrusted(f"The receipt proves nothing: {why}.", subject=receipt))
    try:
        refuse_unless_approved(receipt, proposals.effective_in(task.run))
    except ActionMismatch as refusal:
        _deny(refusal)


def _deny(refusal: Refused) -> None:
    receipt = refusal.subject
    with transaction.atomic():
        data = {"code": refusal.code}
        subject, at = receipt.audit_subject(), clock.now()
        record([
            Line(actions.RECEIPT_SPEND_DENIED, subject, SYSTEM, at, result="DENIED", note=refusal.detail, data=data)
        ])  # fmt: skip
    alert(refusal)
    raise NotApproved(refusal.detail)


# Telling --------------------------------------------------------------------------------------------------


def alert(refusal: Refused) -> None:
    """Tell who approved, once for each kind of refusal, and the server's log each time. Runs after the refused act."""
    receipt = refusal.subject
    if not isinstance(receipt, Receipt):
        return
    log.error("%s was refused for %s: %s", receipt, refusal.code, refusal.detail)
    voters = Vote.objects.filter(request=receipt.request_id, revision=receipt.revision).values_list("voter", flat=True)
    at = clock.now()
    with transaction.atomic():
        for voter in sorted(set(voters)):
            ReceiptAlert.objects.get_or_create(
                receipt_id=receipt.pk, recipient_id=voter, purpose=refusal.code, defaults={"due_at": at}
            )
