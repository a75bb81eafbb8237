# SPDX-License-Identifier: Apache-2.0
"""Deciding. Every way of deciding (page, API, command line, mail, chat, another system) ends in `decide()`.

A decision is checked against one reading, or under locks where votes are counted: state, revision, digest, person.
What is written is guarded by what was read, so of two decisions at once one wins, and the other is told so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from django.db import transaction

from accounts.models import User
from approvals import notify, policy, receipts, rights, signing, standing
from approvals.answers import answer_problems
from approvals.claiming import CLAIM_FIELDS, refuse_lost_claim
from approvals.emergencies import review_afterwards
from approvals.holding import revoke_of_ended
from approvals.models import OPEN_REQUESTS, ActionRequest, Decided, ReceiptState, RequestState, Secret, Vote
from approvals.outcomes import Answer, Decision
from approvals.reading import for_decision, refuse_unless_current, refuse_unless_open
from approvals.revising import first_revision, revised
from approvals.secrets import kept, masked, refuse_repeated
from approvals.talk import drop_drafts
from audit import actions
from audit.context import origin
from audit.services import SYSTEM, Line, act, record, require_locks, transitioned
from config import wake
from config.batch import Batch
from config.crash import crash_around_commit
from config.errors import Forbidden, Invalid, Problem, WrongState
from config.prepared import fresh
from runs.models import Task

APPROVE, REJECT = "PASS", "FAIL"
DECISION_FIELDS = (
    "state", "outcome", "decided_by", "decided_how", "decided_at", "response_data", "notes", "rejection_reason",
    "reason_code", "constraints", "claimed_decider", "claim_token_hash", "claim_expires_at", "paused_at",
    "next_check_at", "updated_at",
)  # fmt: skip
VOTE_FIELDS = (*CLAIM_FIELDS, "stage")
REVISION_FIELDS = (*CLAIM_FIELDS, "stage", "revision", "policy", "digest")


@act(actions.REQUEST_DECIDE_DENIED, one_write=True)
def decide(
    *,
    request_id: str,
    actor: User,
    outcome: str,
    reason: str = "",
    reason_code: str = "",
    response_data: Mapping[str, Any] | None = None,
    constraints: Mapping[str, Any] | None = None,
    revision: int | None = None,
    shown_digest: str = "",
    claimed_decider: str = "",
    token: str = "",
    emergency: bool = False,
) -> ActionRequest:
    """A person's vote, and the decision if it is the last one needed: vote, request, task and run move together.

    `revision` and `shown_digest` say what the person was shown; if it is not what is asked now, StaleRevision.
    `token` is of a claim, if the person decides under one: after its end, TokenExpired. `emergency` decides alone
    where the policy lets this person break the glass.
    Raises NotFound, AlreadyDecided, RequestExpired, RoleRequired, Forbidden (maker, not a person), StepUpRequired,
    Invalid.
    """
    request = for_decision(request_id, actor)
    at = request.db_now
    refuse_unless_open(request, at=at)
    if token:
        refuse_lost_claim(request, token, actor, at=at)
    refuse_unless_current(request, revision, shown_digest)
    rules = rights.rules_of(request)
    if not rules.is_simple or emergency:
        require_locks()  # or two votes at once would each think the other missing
    right = _right_in_emergency(request, actor, rules) if emergency else rights.right_to_vote(request, actor, rules)
    assurance = rights.refuse_weak_assurance(request, rules, at=at)
    answer = Answer(outcome, reason, reason_code, response_data, constraints, claimed_decider)
    failed = _refuse_bad_answer(request, rules, answer, emergency=emergency)
    vote = _vote(request, actor, answer, right, assurance, at=at)
    answer, sealed = _parted(request, answer, by=actor, at=at, failed=failed)
    decision = Decision(answer, failed, actor, at, Decided.BREAK_GLASS if emergency else Decided.PERSON, vote, sealed)
    if not rules.is_simple and not emergency:
        cast = policy.Cast(actor.pk, vote.stage, outcome, failed, right.rules)
        tally = policy.tally(rules, [*rights.votes_cast(request), cast], stage=request.stage)
        if tally.outcome is None:
            return _go_on(request, rules, decision, tally)
    batch = Batch()
    lines = conclude(batch, request, decision)
    if emergency:
        lines += review_afterwards(batch, request, rules, by=actor, at=at, outcome=outcome, reason=reason)
    record(lines, into=batch)
    with crash_around_commit("decide"):
        batch.write()
    wake.after_commit(batch)
    if request.has_drafts:
        transaction.on_commit(partial(drop_drafts, request.pk))
    return request


def _parted(
    request: ActionRequest, answer: Answer, *, by: User, at: datetime, failed: bool
) -> tuple[Answer, Sequence[Secret]]:
    """(the answer with masks, the sealed rest): nothing that follows knows a secret. A rejection keeps none at all."""
    given = answer.response_data
    if not given:
        return answer, ()
    refuse_repeated(request, given, said=[answer.reason, answer.claimed_decider])
    if failed:
        return replace(answer, response_data=masked(request, given)), ()
    shown, sealed = kept(request, given, by=by, at=at)
    return replace(answer, response_data=shown), sealed


def conclude(batch: Batch, request: ActionRequest, decision: Decision) -> list[Line]:
    """Make a decision final: request, vote, and what follows from it, in the caller's batch; the caller records."""
    line = _concluded(request, decision)
    request.claimed_decider = decision.answer.claimed_decider
    if decision.vote is not None:
        batch.insert(decision.vote)
    batch.insert(*decision.sealed)
    receipt = None if decision.failed else receipts.mint(request, decision, batch=batch)
    if receipt is not None:
        line = replace(line, data={**line.data, **receipts.facts_of(receipt)})
    is_held = receipt is not None and receipt.state == ReceiptState.HELD
    lines = [line] if is_held else [line, *receipts.carry_out(receipt, request, decision, batch=batch)]
    notify.tell(batch, request, notify.DECIDED, None, decision.at)
    batch.update(request, *DECISION_FIELDS, state=line.from_state, revision=request.revision)
    return lines


def _vote(request: Any, actor: User, answer: Answer, right: rights.Right, assurance: str, *, at: datetime) -> Vote:
    return fresh(
        Vote,
        id=request.next_vote,
        request=request,
        revision=request.revision,
        voter=actor,
        on_behalf_of_id=right.on_behalf_of,
        outcome=answer.outcome,
        reason=answer.reason,
        reason_code=answer.reason_code,
        stage=request.stage,
        rules=sorted(right.rules),
        assurance=assurance,
        digest=request.digest,
        channel=origin().channel,
        voted_at=at,
    )


def _go_on(request: ActionRequest, rules: policy.Policy, decision: Decision, tally: policy.Tally) -> ActionRequest:
    """One vote of several: the request stays open, and free for the next person."""
    vote, at, actor = decision.vote, decision.at, decision.by
    assert vote is not None
    before, revision = request.state, request.revision
    lines = [_voted(request, decision, tally)]
    if before == RequestState.IN_REVIEW and request.claimed_by_id == actor.pk:
        lines.append(transitioned(request.release, actor=actor, at=at))
    request.stage, request.updated_at = tally.stage, at
    batch = Batch()
    batch.insert(vote)
    if tally.diverged:
        lines += _reconcile(batch, request, rules, at=at)
        batch.update(request, *REVISION_FIELDS, state=before, revision=revision)
    else:
        batch.update(request, *VOTE_FIELDS, state=before, revision=revision)
    record(lines, into=batch)
    batch.write()
    return request


def _voted(request: ActionRequest, decision: Decision, tally: policy.Tally) -> Line:
    vote, answer = decision.vote, decision.answer
    assert vote is not None
    facts = {
        "outcome": answer.outcome,
        "revision": vote.revision,
        "content_hash": vote.digest,
        "stage": vote.stage,
        "rules": list(vote.rules),
        "assurance": vote.assurance,
        "next_stage": tally.stage,
        "missing": {missing.rule.id: missing.wanted for missing in tally.missing},
    }
    private = {"response_data": answer.response_data} if answer.response_data else {}
    return Line(
        actions.REQUEST_VOTED, request.audit_subject(), decision.by, decision.at, note=answer.reason, data=facts,
        private=private, acting_for=_lender(vote),
    )  # fmt: skip


def _lender(vote: Vote) -> str:
    return vote.on_behalf_of.get_username() if vote.on_behalf_of is not None else ""


def _reconcile(batch: Batch, request: ActionRequest, rules: policy.Policy, *, at: datetime) -> list[Line]:
    """Blind votes that differ are opened, and everybody votes again, knowing of the others."""
    opened = replace(rules, blind=False)
    reason = "The votes, given without knowledge of each other, differ. They are open now; vote again."
    diverged = Line(actions.REQUEST_DIVERGED, request.audit_subject(), SYSTEM, at, result="FAIL", note=reason)
    if request.revision == 1:
        batch.insert(first_revision(request))
    line, revision = revised(request, {}, by=None, reason=reason, at=at, rules=opened)
    batch.insert(revision)
    notify.tell(batch, request, notify.REVISED, [one["id"] for one in request.eligible], at)
    return [diverged, line]


def _right_in_emergency(request: ActionRequest, actor: User, rules: policy.Policy) -> rights.Right:
    """Raises RoleRequired and Forbidden: makers break no glass either."""
    who = rights.person(actor, rules)
    if rules.break_glass is None:
        raise Forbidden("Its policy knows no emergency: it is decided by all whom it names.", subject=request)
    alone = policy.Policy(
        stages=(policy.Stage((policy.Rule(id="emergency", role=rules.break_glass.role),)),),
        distinct_from_steps=rules.distinct_from_steps,
    )
    rights.refuse(rights.bar_of(request, who, alone, stage=0, borrows=False), request)
    return rights.Right(frozenset({"emergency"}))


def _concluded(request: ActionRequest, decision: Decision) -> Line:
    answer = decision.answer
    by = None if decision.by is SYSTEM else decision.by
    given: dict[str, Any] = {"by": by, "outcome": answer.outcome, "how": decision.how}
    if decision.failed:
        given["reason"] = answer.reason
        method = request.reject
    else:
        given |= {"response_data": dict(answer.response_data) if answer.response_data else None, "notes": answer.reason}
        method = request.fulfill
    request.reason_code = answer.reason_code
    request.constraints = dict(answer.constraints) if answer.constraints else None
    facts: dict[str, Any] = {"outcome": answer.outcome, "revision": request.revision, "content_hash": request.digest}
    if decision.how != Decided.PERSON:
        facts["how"] = str(decision.how)
    if answer.reason_code:
        facts["reason_code"] = answer.reason_code
    if answer.constraints:
        facts["constraints"] = dict(answer.constraints)
    if decision.vote is not None:
        facts |= {"rules": list(decision.vote.rules), "assurance": decision.vote.assurance}
    private = {"response_data": answer.response_data} if answer.response_data else {}
    line = transitioned(
        method, given, actor=decision.by, at=decision.at, note=answer.reason, data=facts, private=private,
        result="FAIL" if decision.failed else "SUCCESS",
    )  # fmt: skip
    return replace(line, acting_for=_lender(decision.vote)) if decision.vote is not None else line


def complete_human_task(*, task_id: int, actor: User, token: str, outcome: str, output: Any, note: str) -> Task:
    """`complete` on a human task: `decide()` under all its rules; a repetition of it answers the same."""
    newest = ActionRequest.objects.filter(task=task_id).select_related("task").order_by("-created_at", "-id").first()
    if newest is None:
        raise WrongState("This task asks nobody anything now.")
    same = (newest.decided_by_id, newest.outcome) == (actor.pk, outcome)
    if same and note == (newest.rejection_reason or newest.notes):
        return _task(task_id)
    decide(request_id=newest.id, actor=actor, outcome=outcome, reason=note, response_data=output, token=token)
    return _task(task_id)


def _task(task_id: int) -> Task:
    return Task.objects.select_related("run__version__playbook").get(pk=task_id)


def close_requests(tasks: Sequence[Task], at: datetime, expired: bool) -> list[Line]:
    """Their tasks have ended without them: open questions are not required any more, or have expired."""
    rows = ActionRequest.objects.select_for_update(of=("self",)).filter(task__in=tasks, state__in=OPEN_REQUESTS)
    lines = []
    for request in rows.select_related("task").order_by("id"):
        lines.append(transitioned(request.expire if expired else request.become_not_required, actor=SYSTEM, at=at))
        request.save(update_fields=CLAIM_FIELDS)
        notify.tell(None, request, notify.CLOSED, None, at)
    return [*lines, *revoke_of_ended(tasks, at)]


def _refuse_bad_answer(request: ActionRequest, rules: policy.Policy, answer: Answer, *, emergency: bool) -> bool:
    """Whether the outcome is a verdict that fails. Raises Invalid."""
    known = list(dict.fromkeys([APPROVE, REJECT, *(option["key"] for option in request.options)]))
    if answer.outcome not in known:
        remedy = f"Use one of {', '.join(known)}."
        problem = Problem("outcome", "not declared", remedy)
        raise Invalid(f"{answer.outcome!r} is not among the options.", errors=[problem])
    failed = rights.fails(request, answer.outcome)
    _refuse_missing_reason(request, rules, answer, failed=failed, emergency=emergency)
    _refuse_bad_constraints(rules, answer, failed=failed)
    if not failed and request.form is not None:
        problems = answer_problems(request, answer.response_data or {})
        if problems:
            raise Invalid("The answer does not fit the form.", errors=problems)
    return failed


def _refuse_missing_reason(
    request: ActionRequest, rules: policy.Policy, answer: Answer, *, failed: bool, emergency: bool
) -> None:
    reasons, problems = rules.reasons, []
    from_severity = reasons.on_approve_from
    high = bool(from_severity) and policy.SEVERITIES.index(request.severity) >= policy.SEVERITIES.index(from_severity)
    if not answer.reason.strip() and ((failed and reasons.on_reject) or (not failed and high) or emergency):
        problems.append(Problem("reason", "missing", "Give a reason."))
    if failed and reasons.codes and answer.reason_code not in reasons.codes:
        problems.append(Problem("reason_code", "not one of the policy's", f"Use one of {', '.join(reasons.codes)}."))
    if answer.reason_code and not reasons.codes:
        problems.append(Problem("reason_code", "its policy has none", "Leave it out."))
    if problems:
        raise Invalid("Say why you reject." if failed else "Say why.", errors=problems)


def _refuse_bad_constraints(rules: policy.Policy, answer: Answer, *, failed: bool) -> None:
    if not answer.constraints:
        return
    if failed:
        raise Invalid("A rejection has no conditions.", errors=[Problem("constraints", "not here", "Leave them out.")])
    unknown = [name for name in answer.constraints if name not in rules.constraints]
    if unknown:
        remedy = f"This policy allows {', '.join(rules.constraints)}." if rules.constraints else "Leave them out."
        problems = [Problem(f"constraints.{name}", "not allowed here", remedy) for name in unknown]
        raise Invalid("The policy does not allow these conditions.", errors=problems)


# Decided by nobody ----------------------------------------------------------------------------------------


@act(actions.REQUEST_DECIDE_DENIED)
def answer_by_rule(*, request_id: str) -> None:
    """Approve a request in the name of its standing rule; if that answers no more, ask people."""
    request = for_decision(request_id, SYSTEM, lock=True)
    if request.state != RequestState.PENDING or request.standing_rule_id is None:
        return
    if request.action is not None and not signing.can_sign():
        standing.leave_to_people(request, request.db_now)  # what is proposed is not done without a receipt
        return
    used = standing.use_rule(request.standing_rule_id, request, request.db_now)
    if used is None:
        standing.leave_to_people(request, request.db_now)
        return
    rule, lines = used
    answer = Answer(APPROVE, reason=f"Standing rule {rule.pk}: {rule.title}")
    decide_by_nobody(request, answer, Decided.STANDING_RULE, first=lines)


def decide_by_nobody(request: Any, answer: Answer, how: Decided, *, first: Sequence[Line] = ()) -> None:
    """Make an answer final that no person gave, in the caller's transaction, which has locked the request."""
    failed = rights.fails(request, answer.outcome)
    batch = Batch()
    lines = conclude(batch, request, Decision(answer, failed, SYSTEM, request.db_now, how))
    record([*first, *lines], into=batch)
    batch.write()
    wake.after_commit()
