# SPDX-License-Identifier: Apache-2.0
"""The acts on action requests. Every way of deciding (page, API, command line) ends in `decide()`.

Lock order: run, task, request. A decision is checked under those locks: state, revision, digest, person.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import BigIntegerField, CharField

from accounts.models import KIND_OF_ROLE, Kind, User, is_role, members_of, roles_of
from approvals import policy
from approvals.models import (
    DECIDABLE_REQUESTS,
    OPEN_REQUESTS,
    ActionRequest,
    Notification,
    RequestState,
    RequestType,
    Severity,
    Vote,
)
from approvals.secrets import masked
from audit import actions
from audit.canonical import digest
from audit.context import origin
from audit.services import SYSTEM, Line, act, contended, record, require_locks, transitioned
from config import clock
from config.batch import Batch, NextNumber
from config.crash import crash_around_commit
from config.errors import (
    AlreadyDecided,
    Forbidden,
    Invalid,
    LeaseLost,
    NotFound,
    Problem,
    Refused,
    RoleRequired,
    StaleRevision,
    WrongState,
)
from config.prepared import Param, Reading
from playbooks.definition import StepKind
from playbooks.payloads import payload_problems
from runs import wake
from runs.asking import answer_asking_task, answer_human_task
from runs.inputs import Known
from runs.leases import Lease, hashed, new_token
from runs.models import LOOK_AGAIN, Priority, Run, Task

APPROVE, REJECT = "PASS", "FAIL"
ASKED_KINDS = (StepKind.HUMAN, StepKind.GOVERNANCE)
"""Kinds of step that an answer ends; of any other, it answers who asked in mid-task."""
DECISION_FIELDS = (
    "state", "outcome", "decided_by", "decided_at", "response_data", "notes", "rejection_reason", "claimed_decider",
    "claim_token_hash", "claim_expires_at", "next_check_at", "updated_at",
)  # fmt: skip
CLAIM_FIELDS = (
    "state", "claimed_by", "claim_token_hash", "claim_expires_at", "claimed_at", "lapsed_by", "lapsed_token_hash",
    "next_check_at", "updated_at",
)  # fmt: skip


class TokenExpired(Refused):
    """Your claim on this request has ended. Renew it, then send your decision again; nothing you wrote was lost."""

    code = "token_expired"


# Asking ---------------------------------------------------------------------------------------------------


def open_requests(tasks: Sequence[Task], at: datetime, batch: Batch, known: Known) -> list[Line]:
    """Ask the questions of steps that people answer, in the batch that makes their tasks; mail their roles."""
    members: dict[str, list[int]] = {}
    lines: list[Line] = []
    for task in tasks:
        request = _question_of(task, at, known.handed(task))
        if task.role not in members:
            members[task.role] = _members(task.role)
        lines += _ask(batch, request, actor=SYSTEM, at=at, people=members[task.role])
    return lines


def _question_of(task: Task, at: datetime, given: Mapping[str, Any]) -> ActionRequest:
    step, run = task.definition, task.run
    return ActionRequest(
        task=task,
        run=run,
        requester_id=run.started_by_id,
        role=task.role,
        title=step.title or f"{step.id.replace('-', ' ').replace('_', ' ')}: {run.version.playbook}",
        description=step.description,
        severity=step.severity,
        priority=task.priority,
        asked=_asked(task, given),
        form=dict(step.form) if step.form else None,
        options=[{"key": o.key, "label": o.label, "ends": o.ends} for o in step.options],
        policy=policy.frozen(task.role, step.policy).as_json(),
        created_at=at,
        updated_at=at,
        next_check_at=at + LOOK_AGAIN,
    )


def _asked(task: Task, given: Mapping[str, Any]) -> dict[str, Any]:
    """What the decision is about: the step of the version, its call, and what it is handed."""
    version, call = task.run.version, task.definition.call
    return {
        "playbook": version.playbook.slug,
        "version": version.number,
        "version_sha256": version.digest,
        "step": task.step,
        "call": {"action": call.action, "arguments": dict(call.arguments)} if call else None,
        "input": dict(given),
    }


def ask_in_mid_task(
    task: Task,
    *,
    batch: Batch,
    actor: User,
    at: datetime,
    role: str,
    reason: str,
    context: Mapping[str, Any],
    options: Sequence[str],
    severity: str,
) -> tuple[str, list[Line]]:
    """The question of an agent that stops in the middle of its task, in the batch that ends its lease."""
    role = role or settings.REVIEW_ROLE
    _refuse_role_of_machines(role)
    step, run = task.definition, task.run
    request = ActionRequest(
        task=task,
        run=run,
        requester=actor,
        role=role,
        title=reason[:200] or f"{step.title or step.id}: may it go on?",
        description=reason if len(reason) > 200 else "",
        severity=severity,
        priority=task.priority,
        asked={**_asked(task, Known(run).handed(task)), "context": dict(context)},
        options=[{"key": word, "label": word, "ends": ""} for word in options],
        policy=policy.frozen(role, step.policy).as_json(),
        created_at=at,
        updated_at=at,
        next_check_at=at + LOOK_AGAIN,
    )
    return request.pk, _ask(batch, request, actor=actor, at=at)


def _refuse_role_of_machines(role: str) -> None:
    if not is_role(role) or KIND_OF_ROLE[role.partition(":")[0]] != Kind.HUMAN:
        raise Invalid(f"{role!r} is no role of people.", errors=[Problem("role", "not a human role", "human:…")])


@act(actions.REQUEST_CREATE_DENIED, one_write=True)
def create_request(
    *,
    actor: User,
    title: str,
    role: str,
    request_type: str = RequestType.CUSTOM,
    description: str = "",
    required_fields: Mapping[str, str] | None = None,
    priority: Priority = Priority.MEDIUM,
    severity: str = Severity.MEDIUM,
    context: Mapping[str, Any] | None = None,
    agent_id: str = "",
    workflow_id: str = "",
) -> ActionRequest:
    """An agent asks a human, outside any step. Raises Forbidden, and Invalid for a role that people do not hold."""
    if agent_id and agent_id != actor.get_username():
        raise Forbidden(f"You may not ask on behalf of {agent_id!r}: leave agent_id out, or send your own name.")
    if actor.is_human and not (actor.roles or actor.has_perm("runs.start")):
        raise Forbidden("Asking is for agents, programs, and people who work in a role or may start runs.")
    _refuse_role_of_machines(role)
    at = clock.now()
    request = ActionRequest(
        requester=actor,
        role=role,
        request_type=request_type,
        title=title,
        description=description,
        priority=priority,
        severity=severity,
        required_fields=dict(required_fields or {}),
        asked={"context": dict(context or {})},
        form=_form_of(required_fields or {}),
        policy=policy.frozen(role, None).as_json(),
        workflow_id=workflow_id,
        created_at=at,
        updated_at=at,
        next_check_at=at + LOOK_AGAIN,
    )
    batch = Batch()
    record(_ask(batch, request, actor=actor, at=at), into=batch)
    batch.write()
    wake.after_commit()
    return request


def _members(role: str) -> list[int]:
    return [user.pk for user in _in_role(role=role)]


_in_role = Reading(lambda: members_of(Param("role", CharField())).only("pk"))


def _ask(
    batch: Batch, request: ActionRequest, *, actor: Any, at: datetime, people: Sequence[int] | None = None
) -> list[Line]:
    """`people` are the members of its role, if they have been read already."""
    request.digest = digest(what_is_asked(request))
    people = _members(request.role) if people is None else people
    batch.insert(
        request, *(Notification(request=request, recipient_id=pk, purpose="asked", due_at=at) for pk in people)
    )
    facts = {"requester": str(request.requester_id), "notified": len(people)}
    private = {"title": request.title, "description": request.description, "asked": request.asked}
    subject = request.audit_subject()
    return [Line(actions.REQUEST_CREATED, subject, actor, at, to_state="pending", data=facts, private=private)]


def what_is_asked(request: ActionRequest) -> dict[str, Any]:
    """Exactly what a decision binds. Any change to it is a new revision with another digest."""
    return {
        "request": request.id,
        "revision": request.revision,
        "title": request.title,
        "description": request.description,
        "asked": request.asked,
        "form": request.form,
        "options": request.options,
        "policy": request.policy,
        "requester": str(request.requester_id),
        "run": str(request.run_id or ""),
        "severity": request.severity,
    }


def _form_of(required_fields: Mapping[str, str]) -> dict[str, Any] | None:
    """`{field: description}` as a JSON Schema of required texts."""
    if not required_fields:
        return None
    fields = {name: {"type": "string", "minLength": 1, "title": text} for name, text in required_fields.items()}
    return {"type": "object", "properties": fields, "required": list(fields)}


# Claiming -------------------------------------------------------------------------------------------------


def claim_requests(*, role: str, actor: User, limit: int) -> list[Lease]:
    """`POST /acts/tasks/next` for a people's role: the oldest open requests this person may decide, as tasks."""
    person = _person(actor)
    if person.kind != Kind.HUMAN:
        raise Forbidden("Tasks of people are for people; agents and services cannot claim them.")
    if role not in person.roles:
        raise RoleRequired(f"Only members of {role} may claim its tasks.")
    waiting = ActionRequest.objects.filter(role=role, state=RequestState.PENDING, task__kind=StepKind.HUMAN)
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
    _refuse_unless_open(request)
    refuse_unless_may_decide(request, actor)
    at, token = clock.now(), new_token()
    if request.state == RequestState.IN_REVIEW and not _is_over(request, at) and request.claimed_by_id != actor.pk:
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
    _refuse_unless_open(request)
    at = clock.now()
    lapsed = request.state == RequestState.PENDING
    _refuse_foreign_claim(request, token, actor, lapsed=lapsed)
    assert request.claimed_at is not None, "a claim has a beginning"
    cap = request.claimed_at + timedelta(seconds=settings.CLAIM_CAP_SECONDS)
    if at >= cap:
        raise TokenExpired("This claim was renewed as long as claims may be. Claim the request anew.", subject=request)
    if lapsed:
        _claim(request, token, actor=actor, at=at)
    request.claim_expires_at = request.next_check_at = min(at + claim_ttl(request), cap)
    request.save(update_fields=["claim_expires_at", "next_check_at"])
    facts = {"until": request.claim_expires_at.isoformat()}
    record([Line(actions.REQUEST_CLAIM_RENEWED, request.audit_subject(), actor, at, data=facts)])
    return request


def _is_over(request: ActionRequest, at: datetime) -> bool:
    return request.claim_expires_at is not None and request.claim_expires_at <= at


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
    record([_release(request, actor=actor, at=clock.now())])
    return request


def _release(request: ActionRequest, *, actor: Any, at: datetime) -> Line:
    line = transitioned(request.release, actor=actor, at=at)
    request.save(update_fields=CLAIM_FIELDS)
    return line


# Deciding -------------------------------------------------------------------------------------------------


@act(actions.REQUEST_DECIDE_DENIED, one_write=True)
def decide(
    *,
    request_id: str,
    actor: User,
    outcome: str,
    reason: str = "",
    response_data: Mapping[str, Any] | None = None,
    revision: int | None = None,
    shown_digest: str = "",
    claimed_decider: str = "",
    token: str = "",
) -> ActionRequest:
    """A person's decision: vote, request, task and run move together, or nothing does.

    `revision` and `shown_digest` say what the person was shown; if it is not what is asked now, StaleRevision.
    `token` is of a claim, if the person decides under one: after its end, TokenExpired.
    Raises NotFound, AlreadyDecided, RoleRequired, Forbidden (maker, not a person), Invalid.
    """
    request = _read(request_id, actor)
    at = request.db_now
    _refuse_unless_open(request)
    if token:
        refuse_lost_claim(request, token, actor, at=at)
    _refuse_unless_current(request, revision, shown_digest)
    wanted = policy.read(request.policy).required_approvals
    if wanted > 1:
        require_locks()  # or two votes at once would each think the other missing
    refuse_unless_may_decide(request, actor)
    failed = _refuse_bad_answer(request, outcome, reason, response_data)
    vote = Vote(
        pk=request.next_vote,
        request=request,
        revision=request.revision,
        voter=actor,
        outcome=outcome,
        reason=reason,
        digest=request.digest,
        channel=origin().channel,
        voted_at=at,
    )
    agreed = 1 if wanted == 1 or failed else request.votes.filter(revision=vote.revision, outcome=outcome).count() + 1
    if not failed and agreed < wanted:
        return _wait_for_more(request, vote, response_data, agreed=agreed, wanted=wanted)
    line = _conclude(request, actor, at, outcome=outcome, reason=reason, response_data=response_data, failed=failed)
    request.claimed_decider = claimed_decider
    batch, lines = Batch(), [line]
    batch.insert(vote)
    if request.task is not None:
        lines += _answer_task(batch, request, request.task, vote, response_data, failed=failed)
    batch.update(request, *DECISION_FIELDS, state=line.from_state, revision=request.revision)
    record(lines, into=batch)
    with crash_around_commit("decide"):
        batch.write()
    wake.after_commit()
    return request


def _wait_for_more(
    request: ActionRequest, vote: Vote, response_data: Mapping[str, Any] | None, *, agreed: int, wanted: int
) -> ActionRequest:
    """One of several approvals: the request stays open, and free for the next person."""
    at, actor = vote.voted_at, vote.voter
    facts = {
        "outcome": vote.outcome,
        "revision": vote.revision,
        "content_hash": vote.digest,
        "approvals": agreed,
        "required": wanted,
    }
    private = {"response_data": masked(request, response_data)} if response_data else {}
    subject = request.audit_subject()
    lines = [Line(actions.REQUEST_VOTED, subject, actor, at, note=vote.reason, data=facts, private=private)]
    before = request.state
    if before == RequestState.IN_REVIEW and request.claimed_by_id == actor.pk:
        lines.append(transitioned(request.release, actor=actor, at=at))
    request.updated_at = at
    batch = Batch()
    batch.insert(vote)
    batch.update(request, *CLAIM_FIELDS, state=before, revision=vote.revision)
    record(lines, into=batch)
    batch.write()
    return request


def _read(request_id: str, actor: User) -> Any:
    """The request with its task, run and version, as one statement; nothing is locked. Raises NotFound."""
    if contended():
        locked(request_id, actor)
    request: Any = next(iter(_one_request(request_id=request_id)), None)
    if request is None or not _may_see(request, actor):
        raise NotFound(f"There is no request {request_id}, or you may not see it.")
    if request.task is not None:
        request.task.run, request.task.next_task = request.run, request.next_task
    return request


_one_request = Reading(
    lambda: (
        ActionRequest.objects.filter(pk=Param("request_id", CharField()))
        .select_related("run__version__playbook", "run__started_by", "task", "decided_by")
        .defer("run__version__document")
        .annotate(db_now=clock.Now(each_time=True), next_vote=NextNumber(Vote), next_task=NextNumber(Task))
        .order_by()
    )
)


def _may_see(request: ActionRequest, actor: User) -> bool:
    if request.role in actor.roles:
        return True
    return ActionRequest.objects.visible_to(actor).filter(pk=request.pk).exists()


def _answer_task(
    batch: Batch,
    request: ActionRequest,
    task: Task,
    vote: Vote,
    response_data: Mapping[str, Any] | None,
    *,
    failed: bool,
) -> list[Line]:
    """Hand the decision on: it ends a human step, or answers the agent that asked in mid-task."""
    approval: dict[str, Any] = {
        "request": request.id,
        "outcome": vote.outcome,
        "by": vote.voter.get_username(),
        "reason": vote.reason,
        "vote": str(vote.pk),
    }
    handed_on: dict[str, Any] = {
        "batch": batch,
        "task": task,
        "actor": vote.voter,
        "at": vote.voted_at,
        "outcome": vote.outcome,
        "note": vote.reason,
    }
    output = masked(request, response_data) if response_data else None
    if task.kind == StepKind.GOVERNANCE:
        output = request.asked["context"]["finding"]
    if task.kind in ASKED_KINDS:
        return answer_human_task(**handed_on, output=output, approval=approval)
    return answer_asking_task(**handed_on, failed=failed, approval={**approval, "response_data": output})


def _conclude(
    request: ActionRequest, actor: User, at: datetime, *, outcome: str, reason: str, response_data: Any, failed: bool
) -> Line:
    answer: dict[str, Any] = {"by": actor, "outcome": outcome}
    if failed:
        answer["reason"] = reason
        method = request.reject
    else:
        answer |= {"response_data": dict(response_data) if response_data else None, "notes": reason}
        method = request.fulfill
    facts = {"outcome": outcome, "revision": request.revision, "content_hash": request.digest}
    private = {"response_data": masked(request, response_data)} if response_data else {}
    return transitioned(
        method, answer, actor=actor, at=at, note=reason, data=facts, private=private,
        result="FAIL" if failed else "SUCCESS",
    )  # fmt: skip


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


def refuse_lost_claim(request: ActionRequest, token: str, actor: User, *, at: datetime) -> None:
    """Raise unless the claim under `token` still holds: TokenExpired if it can be renewed, else LeaseLost."""
    lapsed = request.state == RequestState.PENDING
    _refuse_foreign_claim(request, token, actor, lapsed=lapsed)
    if lapsed or _is_over(request, at):
        links = {"renew": f"/hitl/requests/{request.pk}/claim"}
        raise TokenExpired(subject=request, extra=links)


def _task(task_id: int) -> Task:
    return Task.objects.select_related("run__version__playbook").get(pk=task_id)


def close_requests(tasks: Sequence[Task], at: datetime, expired: bool) -> list[Line]:
    """Their tasks have ended without them: open questions are not required any more, or have expired."""
    rows = ActionRequest.objects.select_for_update(of=("self",)).filter(task__in=tasks, state__in=OPEN_REQUESTS)
    lines = []
    for request in rows.select_related("task").order_by("id"):
        lines.append(transitioned(request.expire if expired else request.become_not_required, actor=SYSTEM, at=at))
        request.save(update_fields=CLAIM_FIELDS)
    return lines


# Checks ---------------------------------------------------------------------------------------------------


def makers(request: ActionRequest) -> dict[int, str]:
    """User id → what made them a maker of what is asked; makers never decide where four eyes are required."""
    found = {request.requester_id: "asked for this"}
    if request.run is not None:
        found[request.run.started_by_id] = "started this run"
    return found


def doers(request: ActionRequest, rules: policy.Policy) -> dict[int, str]:
    """User id → which of the steps they did or decided whose doers may not decide this one."""
    if not rules.distinct_from_steps or request.run_id is None:
        return {}
    tasks = Task.objects.filter(run=request.run_id, step__in=rules.distinct_from_steps, assignee__isnull=False)
    votes = Vote.objects.filter(request__run=request.run_id, request__task__step__in=rules.distinct_from_steps)
    done = {pk: f"did the step {step}" for pk, step in tasks.values_list("assignee", "step")}
    return done | {pk: f"decided on the step {step}" for pk, step in votes.values_list("voter", "request__task__step")}


def voters(request: ActionRequest, rules: policy.Policy) -> set[int]:
    """Who has approved this revision already, where one approval is not enough."""
    if rules.required_approvals == 1:
        return set()
    return set(request.votes.filter(revision=request.revision).values_list("voter", flat=True))


def bar_for(request: ActionRequest, actor: User) -> policy.Bar | None:
    """Why this person may not decide this request; None if they may."""
    rules = policy.read(request.policy)
    return policy.bar(
        rules,
        _person(actor),
        makers=makers(request),
        doers=doers(request, rules),
        voters=voters(request, rules),
    )


def refuse_unless_may_decide(request: ActionRequest, actor: User) -> None:
    found = bar_for(request, actor)
    if found is not None:
        refusal = RoleRequired if found.code == "role_required" else Forbidden
        raise refusal(found.reason, subject=request)


def _person(actor: User) -> policy.Person:
    """Read anew: the session or key may be older than a change of roles."""
    (now,) = _user(user_id=actor.pk)
    return policy.Person(id=now.pk, kind=now.kind, active=now.is_active, roles=roles_of(now.pk))


_user = Reading(lambda: User.objects.filter(pk=Param("user_id", BigIntegerField())))


def locked(request_id: str, actor: User) -> ActionRequest:
    """The request with its task and run, locked in that order from the run down. Raises NotFound."""
    seen = ActionRequest.objects.visible_to(actor).filter(pk=request_id).values_list("run_id", "task_id").first()
    if seen is None:
        raise NotFound(f"There is no request {request_id}, or you may not see it.")
    run_id, task_id = seen
    runs = Run.objects.select_for_update(of=("self",)).select_related("version__playbook")
    run = runs.get(pk=run_id) if run_id is not None else None
    task = Task.objects.select_for_update(of=("self",)).get(pk=task_id) if task_id is not None else None
    if task is not None:
        task.run = run
    request = ActionRequest.objects.select_for_update(of=("self",)).get(pk=request_id)
    request.run, request.task = run, task
    return request


def _refuse_unless_open(request: ActionRequest) -> None:
    if request.state in (RequestState.FULFILLED, RequestState.REJECTED):
        who, when = request.decided_by, request.decided_at
        assert who is not None
        assert when is not None
        raise AlreadyDecided(
            f"{who.get_username()} decided this on {when:%Y-%m-%d at %H:%M} UTC: {request.outcome}.", subject=request
        )
    if request.state not in DECIDABLE_REQUESTS:
        raise WrongState(f"The request is {request.get_state_display().lower()}.", subject=request)


def _refuse_unless_current(request: ActionRequest, revision: int | None, shown_digest: str) -> None:
    if revision is not None and revision != request.revision:
        raise StaleRevision(f"You were shown revision {revision}; it is now {request.revision}.", subject=request)
    if shown_digest and not hmac.compare_digest(shown_digest, request.digest):
        raise StaleRevision(subject=request)


def _refuse_bad_answer(request: ActionRequest, outcome: str, reason: str, response_data: Any) -> bool:
    """Whether the outcome is a verdict that fails. Raises Invalid."""
    ends = {option["key"]: option["ends"] for option in request.options}
    known = list(dict.fromkeys([APPROVE, REJECT, *ends]))
    if outcome not in known:
        remedy = f"Use one of {', '.join(known)}."
        raise Invalid(f"{outcome!r} is not among the options.", errors=[Problem("outcome", "not declared", remedy)])
    failed = ends.get(outcome, "fail" if outcome == REJECT else "") == "fail"
    if failed and not reason.strip() and policy.read(request.policy).reject_needs_reason:
        raise Invalid("Say why you reject.", errors=[Problem("reason", "missing", "Give a reason.")])
    if not failed and request.form is not None:
        problems = payload_problems(request.form, response_data or {})
        if problems:
            raise Invalid("The answer does not fit the form.", errors=problems)
    return failed
