# SPDX-License-Identifier: Apache-2.0
"""Asking: the question of a step, of an agent in mid-task, or of an agent outside any run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import IntegrityError

from accounts.models import KIND_OF_ROLE, Kind, User, is_role
from approvals import clocks, notify, people, policies, policy_document, proposals, rights, standing
from approvals.answers import form_of, options_of
from approvals.binding import what_is_asked
from approvals.lending import Grant
from approvals.models import EMERGENCY, ActionRequest, Asked, RequestTemplate
from approvals.policy import Eligible, Policy, unsatisfiable, with_counts
from approvals.policy_document import PolicyInvalid
from approvals.repeating import is_asked_twice, open_already, question_digest, refuse_over_limit
from approvals.secrets import refuse_without_ring
from approvals.templating import Question, filled, template_for
from audit import actions
from audit.canonical import digest
from audit.services import SYSTEM, Line, act, record
from config import clock, wake
from config.batch import Batch
from config.errors import Forbidden, Invalid, Problem
from config.guard import Moved
from config.prepared import fresh
from runs.inputs import Known
from runs.models import LOOK_AGAIN, Priority, Task


def open_requests(tasks: Sequence[Task], at: datetime, batch: Batch, known: Known) -> list[Line]:
    """Ask the questions of steps that people answer, in the batch that makes their tasks; mail their roles."""
    members: dict[str, Sequence[Any]] = {}
    lines: list[Line] = []
    for task in tasks:
        request = _question_of(task, at, known.handed(task))
        if task.role not in members:
            members[task.role] = rights.in_role(role=task.role)
        lines += ask(batch, request, actor=SYSTEM, at=at, declared=task.definition.policy, members=members[task.role])
    return lines


def _question_of(task: Task, at: datetime, given: Mapping[str, Any]) -> ActionRequest:
    step, run = task.definition, task.run
    return fresh(
        ActionRequest,
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
    request = fresh(
        ActionRequest,
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
        created_at=at,
        updated_at=at,
        next_check_at=at + LOOK_AGAIN,
    )
    return request.pk, ask(batch, request, actor=actor, at=at, declared=step.policy)


def _refuse_role_of_machines(role: str) -> None:
    if not is_role(role) or KIND_OF_ROLE[role.partition(":")[0]] != Kind.HUMAN:
        raise Invalid(f"{role!r} is no role of people.", errors=[Problem("role", "not a human role", "human:…")])


@act(actions.REQUEST_CREATE_DENIED, one_write=True)
def create_request(
    *,
    actor: User,
    title: str = "",
    role: str = "",
    request_type: str = "",
    description: str | None = None,
    required_fields: Mapping[str, str] | None = None,
    form: Mapping[str, Any] | None = None,
    options: Sequence[Mapping[str, Any]] = (),
    priority: Priority | None = None,
    severity: str = "",
    context: Mapping[str, Any] | None = None,
    agent_id: str = "",
    workflow_id: str = "",
    policy: Mapping[str, Any] | None = None,
    template: str = "",
    proposal: Mapping[str, Any] | None = None,
) -> ActionRequest:
    """An agent asks a human, outside any step; `policy` says who decides, if not one member of the role.

    What is left out, the template says: the one named, or that of the type. What is to be answered: `required_fields`
    ({name: description}), or a `form` (JSON Schema); `options` are outcomes. `proposal` is what an approval permits
    (`approvals/proposals.py`). The same question as one of the actor's that is open is that one, `is_duplicate` set.
    Raises Forbidden, RateLimited, SecretNotSupported, and Invalid for a role that people do not hold, for what is no
    policy, form or option, and for what could not be done if it were approved.
    """
    _refuse_to_ask(actor, agent_id)
    used = template_for(template, request_type)
    asked = Question(
        title=title,
        description=description,
        request_type=request_type,
        required_fields={} if form is not None and required_fields is None else required_fields,
        role=role,
        priority=priority,
        severity=severity,
        context=dict(context or {}),
        policy=policy,
    )
    question = filled(asked, used)
    _refuse_role_of_machines(question.role)
    declared = _judged(question.policy)
    action = proposals.checked(actor, proposal or {})
    at = clock.now()
    request = _request_of(question, used, actor=actor, workflow_id=workflow_id, at=at)
    request.action, request.options = action, options_of(options)
    request.form = form_of(request.request_type, question.required_fields or {}, form)
    refuse_without_ring(request)
    request.question_digest = question_digest(request, declared)
    return _ask_once(request, declared, actor=actor, at=at)


def _refuse_to_ask(actor: User, agent_id: str) -> None:
    if agent_id and agent_id != actor.get_username():
        raise Forbidden(f"You may not ask on behalf of {agent_id!r}: leave agent_id out, or send your own name.")
    if actor.is_human and not (actor.roles or actor.has_perm("runs.start")):
        raise Forbidden("Asking is for agents, programs, and people who work in a role or may start runs.")


def _request_of(
    question: Question, used: RequestTemplate | None, *, actor: User, workflow_id: str, at: datetime
) -> ActionRequest:
    frozen = {} if used is None or used.is_as_it_came else {"template": used.frozen()}
    return fresh(
        ActionRequest,
        requester=actor,
        role=question.role,
        request_type=question.request_type,
        title=question.title,
        description=question.description or "",
        priority=Priority.MEDIUM if question.priority is None else question.priority,
        severity=question.severity,
        required_fields=dict(question.required_fields or {}),
        asked={"context": question.context, **frozen},
        template=used,
        workflow_id=workflow_id,
        created_at=at,
        updated_at=at,
        next_check_at=at + LOOK_AGAIN,
    )


def _ask_once(
    request: ActionRequest, declared: Mapping[str, Any] | None, *, actor: User, at: datetime
) -> ActionRequest:
    """The request, asked; or the open one that asks the same, told to be that by `is_duplicate`."""
    batch = Batch()
    same = open_already(request)
    if same is not None:
        record([Line(actions.REQUEST_REPEATED, same.audit_subject(), actor, at)], into=batch)
        same.is_duplicate, request = True, same
    else:
        refuse_over_limit(actor, at)
        record(ask(batch, request, actor=actor, at=at, declared=declared), into=batch)
    _write(batch)
    wake.after_commit()
    return request


def _write(batch: Batch) -> None:
    """Raises Moved where the same question came in between: the next try finds it."""
    try:
        batch.write()
    except IntegrityError as fault:
        if is_asked_twice(fault):
            raise Moved from fault
        raise


def _judged(written: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Raises PolicyInvalid."""
    problems = [
        Problem(".".join(["policy", *map(str, flaw.at)]), flaw.message, flaw.remedy)
        for flaw in policy_document.flaws(written or {})
    ]
    if problems:
        raise PolicyInvalid(f"The policy cannot be used. {problems[0].message}", errors=problems)
    return written


def ask(
    batch: Batch,
    request: ActionRequest,
    *,
    actor: Any,
    at: datetime,
    declared: Mapping[str, Any] | None = None,
    members: Sequence[Any] | None = None,
) -> list[Line]:
    """Freeze who may decide, and ask them: the lines that must be recorded. `members` are those of the request's role.

    `declared` is the policy as it is written, judged before.
    """
    members = list[Any](rights.in_role(role=request.role)) if members is None else members
    rules = policy_document.written(declared, role=request.role, named=policies.published)
    is_of_role = rules.is_simple and rules.roles == (request.role,)
    able = rights.eligible(request, rules, members if is_of_role else None)
    rules = with_counts(rules, able)
    request.policy = policy_document.as_json(rules)
    request.eligible = [person.as_json() for person in able]
    request.digest = digest(what_is_asked(request))
    clocks.begin(request, rules.time, at=at)
    batch.insert(request)
    if not is_of_role or rules.break_glass is not None:
        batch.insert(*_let_in(request, rules, able, {user.pk for user in members}, at))
    rule = standing.answering(request, at) if any(user.has_standing_rule for user in members) else None
    if rule is not None:
        request.standing_rule, request.next_check_at = rule, at
    told = [] if rule is not None else _to_tell(rules, able)
    if not is_of_role or any(user.has_lent for user in members):
        told += _stand_ins(request, told, at)
    if rule is None:
        notify.tell(batch, request, notify.ASKED, told, at)
    subject = request.audit_subject()
    facts = {"requester": str(request.requester_id), "notified": len(told)}
    private = {"title": request.title, "description": request.description, "asked": request.asked}
    lines = [Line(actions.REQUEST_CREATED, subject, actor, at, to_state="pending", data=facts, private=private)]
    lacking = unsatisfiable(rules, able)
    if lacking:
        lines.append(_alert(batch, request, lacking, at))
    return lines


def _let_in(
    request: ActionRequest, rules: Policy, able: Sequence[Eligible], in_role: Collection[int], at: datetime
) -> list[Asked]:
    """Those who are not of its role and have to see it: by a rule, or to break the glass."""
    why = dict.fromkeys((one.id for one in able), "rule")
    if rules.break_glass is not None:
        officers = [user.pk for user in rights.in_role(role=rules.break_glass.role)]
        why = {**dict.fromkeys(officers, EMERGENCY), **why}
    return [Asked(request=request, user_id=pk, why=word, asked_at=at) for pk, word in why.items() if pk not in in_role]


def _to_tell(rules: Policy, able: Sequence[Eligible]) -> list[int]:
    """Who is told first: the people of the first stage."""
    first = {rule.id for rule in rules.stages[0].rules}
    return [person.id for person in able if first & set(person.rules)]


def _stand_ins(request: ActionRequest, told: Sequence[int], at: datetime) -> list[int]:
    """Who is told beside them, since they stand in for some of them. With who could decide it is kept who stands in,
    and who was out of office."""
    lent = people.lent_by([one["id"] for one in request.eligible], at)
    grants = people.stand_ins(lent, request)
    known = {*told, *rights.makers(request)}
    added = {each.delegate: each for each in grants if each.giver in told and each.delegate not in known}
    request.eligible = [
        *(_with_stand_ins(one, lent, grants) for one in request.eligible),
        *({"id": pk, "name": grant.delegate_name, "rules": [], "for": grant.giver_name} for pk, grant in added.items()),
    ]
    return list(added)


def _with_stand_ins(one: Mapping[str, Any], lent: Sequence[Grant], grants: Sequence[Grant]) -> dict[str, Any]:
    away = any(grant.away for grant in lent if grant.giver == one["id"])
    names = [grant.delegate_name for grant in grants if grant.giver == one["id"]]
    return {**one, **({"away": True} if away else {}), **({"lent_to": names} if names else {})}


def _alert(batch: Batch, request: ActionRequest, lacking: Sequence[str], at: datetime) -> Line:
    """Nobody can satisfy the policy as things stand: operators are told at once, instead of waiting for ever."""
    operators = User.objects.filter(rights.has("runs.control"), is_active=True, kind=Kind.HUMAN).distinct()
    told = operators.values_list("pk", flat=True)
    notify.tell(batch, request, "unsatisfiable", list(told), at)
    facts = {"notified": len(told)}
    note = " ".join(lacking)
    subject = request.audit_subject()
    return Line(actions.REQUEST_UNSATISFIABLE, subject, SYSTEM, at, result="FAIL", note=note, data=facts)
