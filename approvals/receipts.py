# SPDX-License-Identifier: Apache-2.0
"""From a decision to what it permits: `mint()` the receipt in the deciding act, `carry_out()` what was approved.

Three records stand for one act: the proposed action (the request's first revision), the approved one (the receipt)
and the effective one (its spending), each with a digest. What is done is the effective action alone, and only where it
is what was approved. `mint()` and `carry_out()` add to the batch of the deciding act, so that vote, request, receipt,
task and run move together or not at all; a held receipt is carried out by the sweep, in an act of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from approvals import constraints, proof, proposals, rights, signing
from approvals.changes import changes_between
from approvals.models import ActionRequest, Receipt, ReceiptState, Spending, Vote
from approvals.models.receipts import Executor
from approvals.outcomes import Decision
from approvals.secrets import handles
from audit.services import SYSTEM, Line, transitioned
from config.batch import Batch, numbers
from config.errors import Invalid, Problem, Refused
from config.prepared import fresh
from playbooks.definition import StepKind
from runs import leases
from runs.asking import answer_asking_task, answer_human_task
from runs.models import Run, Task
from runs.services import begin_run, next_check_of_run

ANSWERED_KINDS = (StepKind.HUMAN, StepKind.GOVERNANCE)
"""Kinds of step that an answer ends; of any other, it answers who asked in mid-task."""
RECEIPT_FIELDS = ("state", "uses", "closed_at", "next_check_at")
RECEIPT_LABEL = "receipt"  # of the runs that an approval has started


class ActionMismatch(Refused):
    """This is not what was approved, so it was refused, and the receipt is as it was. Ask leave for what you mean."""

    code = "action_mismatch"


# Minting --------------------------------------------------------------------------------------------------


def mint(request: ActionRequest, decision: Decision, *, batch: Batch) -> Receipt | None:
    """The receipt of an approval, signed, in the batch of the deciding act.

    None where nothing needs one: the product itself lets a step go on, in a process that has no key. Raises Invalid
    for conditions that cannot be set, ProposalVoid if what was proposed cannot be done any more, NoSigningKey.
    """
    if decision.by is SYSTEM and not signing.can_sign() and request.action is None:
        return None
    action, executor, at = approved_action(request), proposals.executor_of(request), decision.at
    hold = rights.rules_of(request).hold_seconds
    not_before = at + timedelta(seconds=hold)
    kept = _conditions(request, decision.answer.constraints, executor, not_before)
    if executor == Executor.ENGINE:
        proposals.startable(request)
    receipt = fresh(
        Receipt,
        request=request,
        revision=request.revision,
        executor=executor,
        action=action,
        digest=proof.action_digest(request.id, request.revision, action),
        proposed_digest=_proposed_digest(request, action),
        content_digest=request.digest,
        outcome=decision.answer.outcome,
        voters=_voters(request, decision),
        constraints=kept,
        uses_allowed=kept.get(constraints.USES, 1),
        minted_at=at,
        not_before=not_before,
        not_after=_end(request, kept, not_before),
        state=ReceiptState.HELD if hold else ReceiptState.READY,
    )
    receipt.look_again(at)
    signing.sign(receipt)
    batch.insert(receipt)
    return receipt


def approved_action(request: ActionRequest) -> dict[str, Any]:
    """Exactly what an approval of this revision permits."""
    return _action_of(request, request.action, request.asked)


def _action_of(request: ActionRequest, action: Mapping[str, Any] | None, asked: Any) -> dict[str, Any]:
    if action is not None:
        return dict(action)
    if request.task_id is None:
        return {"asked": asked}
    return {"run": str(request.run_id), "task": str(request.task_id), "asked": asked}


def _proposed_digest(request: ActionRequest, approved: Mapping[str, Any]) -> str:
    """Of the first revision. What was not edited is approved as it was proposed."""
    if request.revision == 1:
        return proof.action_digest(request.id, 1, approved)
    first = request.revisions.get(number=1).content
    return proof.action_digest(request.id, 1, _action_of(request, first.get("action"), first["asked"]))


def _conditions(
    request: ActionRequest, given: Mapping[str, Any] | None, executor: str, not_before: datetime
) -> dict[str, Any]:
    if not given:
        return {}
    if request.action is None:
        problem = Problem("constraints", "nothing is proposed", "Leave them out.")
        raise Invalid("Conditions are for a call or a run that is proposed; this is a question.", errors=[problem])
    permitted = rights.rules_of(request).constraints
    is_ours = executor == Executor.ENGINE
    return constraints.checked(given, permitted=permitted, action=request.action, is_ours=is_ours, at=not_before)


def _end(request: ActionRequest, kept: Mapping[str, Any], not_before: datetime) -> datetime | None:
    """Until when it may be spent. Who asked in mid-task has as long as their task waits for them."""
    if request.task is not None and request.task.kind not in ANSWERED_KINDS:
        return not_before + leases.ttl(request.task)
    return datetime.fromisoformat(kept[constraints.NOT_AFTER]) if constraints.NOT_AFTER in kept else None


def _voters(request: ActionRequest, decision: Decision) -> list[dict[str, Any]]:
    """Everybody whose vote stands behind it, the last one last."""
    earlier: Iterable[Vote] = ()
    if not rights.rules_of(request).is_simple:
        earlier = rights.votes_counted(request, "voter", "on_behalf_of")
    return [_voter(vote) for vote in (*earlier, *([decision.vote] if decision.vote is not None else []))]


def _voter(vote: Vote) -> dict[str, Any]:
    said = {"name": vote.voter.get_username(), "outcome": vote.outcome, "at": proof.moment(vote.voted_at)}
    return {**said, "for": vote.on_behalf_of.get_username()} if vote.on_behalf_of is not None else said


def facts_of(receipt: Receipt) -> dict[str, Any]:
    """What the entry of the decision says of its receipt."""
    said = {"receipt": receipt.id, "action_sha256": receipt.digest, "nonce": receipt.nonce, "key": receipt.key_id}
    return {**said, "held_until": proof.moment(receipt.not_before)} if receipt.state == ReceiptState.HELD else said


# Carrying out ---------------------------------------------------------------------------------------------


def carry_out(
    receipt: Receipt | None, request: ActionRequest, decision: Decision, *, batch: Batch, stored: str = ""
) -> list[Line]:
    """Do what was decided, in the caller's batch, which holds the receipt; the caller records the lines.

    A step goes on, or its agent may; what was proposed is started; what the caller does is left to the caller.
    `stored` is the state in which the receipt was written before, if it was.
    """
    if receipt is not None and receipt.executor == Executor.ENGINE:
        return _start(receipt, decision, batch=batch, stored=stored)
    task = request.task
    if task is None:
        return []
    lines = answer_task(batch, request, task, decision)
    if receipt is None or task.kind not in ANSWERED_KINDS:
        return lines
    effective = effective_step(task, request)
    return [*lines, *_use_up(receipt, effective, at=decision.at, batch=batch, stored=stored, task=task)]


def answer_task(batch: Batch, request: ActionRequest, task: Task, decision: Decision) -> list[Line]:
    """Hand the decision on: it ends a human step, or answers the agent that asked in mid-task."""
    answer = decision.answer
    approval: dict[str, Any] = {
        "request": request.id,
        "outcome": answer.outcome,
        "by": decision.by.get_username(),
        "reason": answer.reason,
        "vote": str(decision.vote.pk) if decision.vote is not None else "",
    }
    handed_on: dict[str, Any] = {
        "batch": batch,
        "task": task,
        "actor": decision.carried_out_by or decision.by,
        "at": decision.at,
        "outcome": answer.outcome,
        "note": answer.reason,
    }
    output: Any = handles(request, answer.response_data) if answer.response_data else None
    if task.kind == StepKind.GOVERNANCE:
        output = request.asked["context"]["finding"]
    if task.kind in ANSWERED_KINDS:
        return answer_human_task(**handed_on, output=output, approval=approval)
    return answer_asking_task(**handed_on, failed=decision.failed, approval={**approval, "response_data": output})


def effective_step(task: Task, request: ActionRequest) -> dict[str, Any]:
    """What a step really is that goes on now: its version and call from the run, its input as it was handed."""
    version, call = task.run.version, task.definition.call
    asked = {
        **request.asked,
        "playbook": version.playbook.slug,
        "version": version.number,
        "version_sha256": version.digest,
        "step": task.step,
        "call": {"action": call.action, "arguments": dict(call.arguments)} if call else None,
    }
    return {"run": str(task.run_id), "task": str(task.pk), "asked": asked}


def _start(receipt: Receipt, decision: Decision, *, batch: Batch, stored: str) -> list[Line]:
    """The run that was proposed, begun in the name of who proposed it, under the number of its receipt."""
    request, at = receipt.request, decision.at
    version = proposals.startable(request)
    (run_id,) = numbers(Run, 1)
    run = fresh(
        Run,
        id=run_id,
        version=version,
        payload=proposals.payload_of(receipt.action),
        labels={RECEIPT_LABEL: receipt.id},
        priority=request.priority,
        started_by=request.requester,
        created_at=at,
        next_check_at=next_check_of_run(version.definition, at),
    )
    spent = _use_up(receipt, proposals.effective_in(run), at=at, batch=batch, stored=stored, run=run)
    started, *others = begin_run(batch, run, actor=decision.carried_out_by or decision.by, at=at)
    return [*spent, replace(started, acting_for=request.requester.get_username()), *others]


def _use_up(
    receipt: Receipt, effective: Mapping[str, Any], *, at: datetime, batch: Batch, stored: str, **done: Any
) -> list[Line]:
    """Spend a receipt in the act that mints or releases it: what is done must be what was approved."""
    found = proof.action_digest(receipt.request_id, receipt.revision, effective)
    if found != receipt.digest:
        changes = [one.as_json() for one in changes_between(receipt.action, dict(effective))]
        raise ActionMismatch(subject=receipt, extra={"changes": changes})
    line = transitioned(receipt.spend, actor=SYSTEM, at=at, data={"digest": found, "use": 1})
    batch.insert(fresh(Spending, receipt=receipt, number=1, action=dict(effective), digest=found, spent_at=at, **done))
    if not stored:
        return []  # it is born spent, and the entry of the decision tells of it
    batch.update(receipt, *RECEIPT_FIELDS, state=stored, uses=0)
    return [line]
