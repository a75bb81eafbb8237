# SPDX-License-Identifier: Apache-2.0
"""Who may decide a request, and why not: the rules of its frozen policy held against people as they are now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import Permission
from django.db.models import Aggregate, BigIntegerField, CharField, Exists, OuterRef, Q, QuerySet, TextField, Value

from accounts.models import Kind, User, is_role, members_of
from approvals import policy, policy_document
from approvals.models import ActionRequest, RuleState, StandingRule, Vote
from audit.context import origin
from config import clock
from config.errors import Forbidden, Refused, RoleRequired
from config.prepared import Param, Reading
from runs.models import Task

STEP_UP_HOLDS = timedelta(minutes=5)


class StepUpRequired(Refused):
    """This decision needs your password once more, given within the last five minutes."""

    status = 403
    code = "step_up_required"


@dataclass(frozen=True, slots=True)
class Right:
    """To vote in a request's current stage: by which rules, and for whom."""

    rules: frozenset[str]
    on_behalf_of: int | None = None


def rules_of(request: ActionRequest) -> policy.Policy:
    return policy_document.read(request.policy)


# The person -----------------------------------------------------------------------------------------------


class Names(Aggregate):
    """Names in one text, a line each."""

    output_field = TextField()

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return super().as_sql(compiler, connection, function="string_agg", **extra)

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return super().as_sql(compiler, connection, function="group_concat", **extra)


def person(user: Any, rules: policy.Policy) -> policy.Person:
    """Read anew: the session or key may be older than a change of roles."""
    now: Any = _user(user_id=user.pk)[0]
    names = (now.group_names or "").split("\n")
    return policy.Person(
        id=now.pk,
        kind=now.kind,
        active=now.is_active,
        roles=frozenset(name for name in names if is_role(name)),
        name=now.username,
        permissions=frozenset(_held(now.pk, rules)),
    )


_user = Reading(
    lambda: User.objects.filter(pk=Param("user_id", BigIntegerField())).annotate(
        group_names=Names("groups__name", Value("\n"))
    )
)


def person_known(user: Any, rules: policy.Policy) -> policy.Person:
    """For showing: as the user's own instance says, without asking the database again."""
    return policy.Person(
        id=user.pk,
        kind=user.kind,
        active=user.is_active,
        roles=user.roles,
        name=user.get_username(),
        permissions=frozenset(_held(user.pk, rules)),
    )


def _held(user_id: int, rules: policy.Policy) -> set[str]:
    """Which of the permissions that the policy names this person has been given. Being superuser is not a right."""
    wanted = {rule.permission for rule in rules.rules if rule.permission}
    if not wanted:
        return set()
    given = Permission.objects.filter(Q(user=user_id) | Q(group__user=user_id))
    names = {f"{app}.{code}" for app, code in given.values_list("content_type__app_label", "codename")}
    return wanted & names


# Whether they may -----------------------------------------------------------------------------------------


def bar_for(request: ActionRequest, actor: Any) -> policy.Bar | None:
    """Why this person may not decide this request now; None if they may."""
    rules = rules_of(request)
    return bar_of(request, person(actor, rules), rules)


def bar_of(
    request: ActionRequest, who: policy.Person, rules: policy.Policy, *, stage: int | None = None
) -> policy.Bar | None:
    return policy.bar(
        rules,
        who,
        stage=request.stage if stage is None else stage,
        makers=makers(request),
        doers=doers(request, rules),
        voters=voters(request, rules),
    )


def refuse_unless_may_decide(request: ActionRequest, actor: Any) -> None:
    right_to_vote(request, actor, rules_of(request))


def right_to_vote(request: ActionRequest, actor: Any, rules: policy.Policy) -> Right:
    """The right by which this vote counts. Raises RoleRequired or Forbidden."""
    who = person(actor, rules)
    refuse(bar_of(request, who, rules), request)
    return Right(frozenset(rule.id for rule in policy.rules_of(rules, who, stage=request.stage)))


def refuse(found: policy.Bar | None, request: ActionRequest) -> None:
    if found is not None:
        refusal = RoleRequired if found.code == "role_required" else Forbidden
        raise refusal(found.reason, subject=request)


def assurance(at: datetime) -> str:
    """How sure it is, now, who is acting."""
    came = origin()
    if came.authenticated_at is not None and at - came.authenticated_at <= STEP_UP_HOLDS:
        return policy.STEP_UP
    return came.assurance


def needs_password(request: ActionRequest, rules: policy.Policy) -> bool:
    """Whether this decision asks for the password once more."""
    wanted = rules.assurance_for(request.severity)
    return wanted == policy.STEP_UP and assurance(clock.now()) != policy.STEP_UP


def refuse_weak_assurance(request: ActionRequest, rules: policy.Policy, *, at: datetime) -> str:
    """The assurance of this vote. Raises StepUpRequired, and Forbidden where a link is not enough."""
    have, wanted = assurance(at), rules.assurance_for(request.severity)
    if policy.ASSURANCE.index(have) >= policy.ASSURANCE.index(wanted):
        return have
    if wanted == policy.STEP_UP:
        raise StepUpRequired(subject=request)
    raise Forbidden("Log in to decide this.", subject=request)


# What speaks against it -----------------------------------------------------------------------------------


def makers(request: ActionRequest) -> dict[int, str]:
    """User id → what made them a maker of what is asked; makers never decide where four eyes are required."""
    found = {request.requester_id: "asked for this"}
    if request.run is not None:
        found[request.run.started_by_id] = "started this run"
    if request.revision > 1:
        edited = request.revisions.filter(made_by__isnull=False, keeps_votes=False)
        found |= dict.fromkeys(edited.values_list("made_by", flat=True), "changed what is asked")
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
    """Who has voted on this revision already, where one vote is not enough."""
    if rules.is_simple:
        return set()
    votes = votes_counted(request).values_list("voter", "on_behalf_of")
    return {pk for pair in votes for pk in pair if pk is not None}


def votes_cast(request: ActionRequest) -> list[policy.Cast]:
    """The votes on what is asked now."""
    votes = votes_counted(request).order_by("id")
    return [
        policy.Cast(vote.voter_id, vote.stage, vote.outcome, fails(request, vote.outcome), frozenset(vote.rules))
        for vote in votes
    ]


def votes_counted(request: ActionRequest) -> QuerySet[Vote]:
    """Those on this revision, and on earlier ones that it only narrows."""
    if request.revision == 1:
        return request.votes.filter(revision=1)
    broken = request.revisions.filter(keeps_votes=False).order_by("-number").values_list("number", flat=True)
    return request.votes.filter(revision__gte=broken.first() or 1)


def fails(request: ActionRequest, outcome: str) -> bool:
    """Whether this outcome is a verdict that speaks against."""
    ends = {option["key"]: option["ends"] for option in request.options}
    return ends.get(outcome, "fail" if outcome == "FAIL" else "") == "fail"


# Who could decide when it was made ------------------------------------------------------------------------


def eligible(
    request: ActionRequest, rules: policy.Policy, members: Sequence[Any] | None = None
) -> list[policy.Eligible]:
    """Everybody whom a rule names, with what bars them. `members` are those of the only rule's role, if read."""
    found: dict[int, tuple[str, list[str]]] = {}
    for rule in rules.rules:
        for user in members if members is not None else people_of(rule):
            found.setdefault(user.pk, (user.username, []))[1].append(rule.id)
    against = {**doers(request, rules), **(makers(request) if rules.forbid_self_approval else {})}
    return [policy.Eligible(pk, name, tuple(ids), against.get(pk, "")) for pk, (name, ids) in found.items()]


def people_of(rule: policy.Rule) -> Sequence[Any]:
    """The active people of a rule."""
    if rule.role:
        return in_role(role=rule.role)
    people: QuerySet[User] = User.objects.filter(is_active=True, kind=Kind.HUMAN).order_by("pk")
    if rule.users:
        return list(people.filter(username__in=rule.users))
    return list(people.filter(has(rule.permission)).distinct())


def has(permission: str) -> Q:
    app, _, code = permission.partition(".")
    given = Permission.objects.filter(content_type__app_label=app, codename=code)
    return Q(user_permissions__in=given) | Q(groups__permissions__in=given)


in_role = Reading(
    lambda: (
        members_of(Param("role", CharField()))
        .annotate(
            has_standing_rule=Exists(StandingRule.objects.filter(role=OuterRef("groups__name"), state=RuleState.ACTIVE))
        )
        .order_by("pk")
    )
)
"""The active members of a role; each also says whether a standing rule answers requests to it."""
