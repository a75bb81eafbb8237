# SPDX-License-Identifier: Apache-2.0
"""Who may decide a request, and why not: the rules of its frozen policy held against people as they are now."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import Permission
from django.db.models import (
    Aggregate,
    BigIntegerField,
    CharField,
    Exists,
    OuterRef,
    Prefetch,
    Q,
    QuerySet,
    TextField,
    Value,
)

from accounts.models import Kind, User, is_role, members_of
from approvals import people, policy, policy_document
from approvals.lending import kin, lent_to
from approvals.models import ActionRequest, Revision, RuleState, StandingRule, Vote
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
        permissions=frozenset(_held(now.pk)) if _wanted(rules) else frozenset(),
        grants=tuple(people.grants_with([now.pk])) if now.has_grants else (),
    )


_user = Reading(
    lambda: User.objects.filter(pk=Param("user_id", BigIntegerField())).annotate(
        group_names=Names("groups__name", Value("\n")), has_grants=people.is_party()
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
        permissions=frozenset(_held_known(user)) if _wanted(rules) else frozenset(),
        grants=tuple(people.grants_known(user)),
    )


def _wanted(rules: policy.Policy) -> set[str]:
    return {rule.permission for rule in rules.rules if rule.permission}


def _held(user_id: int) -> set[str]:
    """The permissions that this person has been given. Being superuser is not a right."""
    given = Permission.objects.filter(Q(user=user_id) | Q(group__user=user_id))
    return {f"{app}.{code}" for app, code in given.values_list("content_type__app_label", "codename")}


def _held_known(user: Any) -> set[str]:
    """Read once for each instance, which lives as long as one call."""
    if not hasattr(user, "_held_known"):
        user._held_known = _held(user.pk)
    found: set[str] = user._held_known
    return found


# Whether they may -----------------------------------------------------------------------------------------


def bar_for(request: ActionRequest, actor: Any) -> policy.Bar | None:
    """Why this person may not decide this request now; None if they may."""
    rules = rules_of(request)
    return bar_of(request, person(actor, rules), rules)


def bar_of(
    request: ActionRequest,
    who: policy.Person,
    rules: policy.Policy,
    *,
    stage: int | None = None,
    borrows: bool = True,
) -> policy.Bar | None:
    found = standing_of(request, who, rules, stage=stage, borrows=borrows)
    return found if isinstance(found, policy.Bar) else None


def standing_of(
    request: ActionRequest,
    who: policy.Person,
    rules: policy.Policy,
    *,
    stage: int | None = None,
    borrows: bool = True,
) -> Right | policy.Bar:
    """The right by which this person's vote would count now, or what bars them.

    It is their own, by a rule or because it was escalated to them; else it is lent, if it `borrows`.
    """
    stage = request.stage if stage is None else stage
    right = _own_right(request, who, rules, stage=stage)
    if not right.rules and borrows:
        right = _borrowed_right(request, who, rules, stage=stage) or right
    voted, against = voters(request, rules), makers(request)
    found = policy.bar(
        rules,
        who,
        stage=stage,
        makers={**against, **_kin(request, who, against)},
        doers=doers(request, rules),
        voters=voted,
        lent=right.rules,
    )
    return found or _bar_of_one_voice(request, who, voted) or right


def _own_right(request: ActionRequest, who: policy.Person, rules: policy.Policy, *, stage: int) -> Right:
    admitted = policy.rules_of(rules, who, stage=stage)
    if not admitted and people.is_escalated_to(who.id, request):
        admitted = rules.stages[stage].rules
    return Right(frozenset(rule.id for rule in admitted))


def _borrowed_right(request: ActionRequest, who: policy.Person, rules: policy.Policy, *, stage: int) -> Right | None:
    """Of the first who lends their own right to this person now, and could use it themselves."""
    if not any(grant.delegate == who.id for grant in who.grants):
        return None
    for grant in lent_to(who.id, who.grants, request, clock.now()):
        giver = person(User(pk=grant.giver), rules)
        found = standing_of(request, giver, rules, stage=stage, borrows=False)
        if isinstance(found, Right):
            return Right(found.rules, on_behalf_of=grant.giver)
    return None


def _kin(request: ActionRequest, who: policy.Person, others: Mapping[int, str]) -> dict[int, str]:
    """Whoever stands in for a maker, or is stood in for by one, is a maker."""
    why = kin(who.id, others, who.grants, request, clock.now()) if who.grants else ""
    return {who.id: why} if why else {}


def _bar_of_one_voice(request: ActionRequest, who: policy.Person, voted: Collection[int]) -> policy.Bar | None:
    """Two people of whom one stands in for the other are one voice: both never count in one request."""
    why = _kin(request, who, dict.fromkeys(voted, "has voted")).get(who.id)
    return policy.Bar("forbidden", f"You {why}: of the two of you, one counts.") if why else None


def refuse_unless_may_decide(request: ActionRequest, actor: Any) -> None:
    right_to_vote(request, actor, rules_of(request))


def right_to_vote(request: ActionRequest, actor: Any, rules: policy.Policy) -> Right:
    """The right by which this vote counts. Raises RoleRequired or Forbidden."""
    found = standing_of(request, person(actor, rules), rules)
    if isinstance(found, Right):
        return found
    raise _refusal(found, request)


def refuse(found: policy.Bar | None, request: ActionRequest) -> None:
    if found is not None:
        raise _refusal(found, request)


def _refusal(found: policy.Bar, request: ActionRequest) -> Refused:
    refusal = RoleRequired if found.code == "role_required" else Forbidden
    return refusal(found.reason, subject=request)


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
        editors = [each.made_by_id for each in request.revisions.all() if each.made_by_id and not each.keeps_votes]
        found |= dict.fromkeys(editors, "changed what is asked")
    return found


def doers(request: ActionRequest, rules: policy.Policy) -> dict[int, str]:
    """User id → which of the steps they did or decided whose doers may not decide this one."""
    if not rules.distinct_from_steps or request.run_id is None:
        return {}
    known = getattr(request, "_doings", None)
    if known is None:
        known = _doings([request.run_id], rules.distinct_from_steps)
    mine = [(who, step, why) for run_id, who, step, why in known if run_id == request.run_id]
    return {who: f"{why} {step}" for who, step, why in mine if step in rules.distinct_from_steps}


def know_doers(requests: Iterable[ActionRequest]) -> None:
    """Read at once, for many requests, what `doers` is asked of each."""
    barring = [(one, rules_of(one).distinct_from_steps) for one in requests if one.run_id is not None]
    asked = {one.run_id for one, steps in barring if steps and one.run_id is not None}
    if not asked:
        return
    known = _doings(asked, {step for _, steps in barring for step in steps})
    for one, _ in barring:
        one._doings = known  # type: ignore[attr-defined]


def _doings(runs: Collection[int], steps: Collection[str]) -> list[tuple[int, int, str, str]]:
    """(run, person, step, what they did) of these steps of these runs; what they decided comes last, and counts."""
    tasks = Task.objects.filter(run__in=runs, step__in=steps, assignee__isnull=False)
    votes = Vote.objects.filter(request__run__in=runs, request__task__step__in=steps)
    done = [(*row, "did the step") for row in tasks.values_list("run", "assignee", "step")]
    told = votes.values_list("request__run", "voter", "request__task__step")
    return done + [(*row, "decided on the step") for row in told]


def voters(request: ActionRequest, rules: policy.Policy) -> set[int]:
    """Who has voted on this revision already, where one vote is not enough."""
    if rules.is_simple:
        return set()
    pairs = [(vote.voter_id, vote.on_behalf_of_id) for vote in votes_counted(request)]
    return {pk for pair in pairs for pk in pair if pk is not None}


def votes_cast(request: ActionRequest) -> list[policy.Cast]:
    """The votes on what is asked now."""
    return [
        policy.Cast(vote.voter_id, vote.stage, vote.outcome, fails(request, vote.outcome), frozenset(vote.rules))
        for vote in votes_counted(request)
    ]


def votes_counted(request: ActionRequest, *with_people: str) -> list[Vote]:
    """Those on this revision, and on earlier ones that it only narrows, in order; each with the people named."""
    voided = [each.number for each in request.revisions.all() if not each.keeps_votes] if request.revision > 1 else []
    votes = request.votes.select_related(*with_people) if with_people else request.votes.all()
    return sorted((vote for vote in votes if vote.revision >= max(voided, default=1)), key=lambda vote: vote.pk)


_EDITORS = Revision.objects.only("request", "number", "made_by", "keeps_votes")
WITH_WHAT_BARS = ("votes", "asked_people", Prefetch("revisions", _EDITORS))
"""What is read with many requests, to say of each what bars a person from it."""


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
            has_lent=people.has_lent(),
            has_standing_rule=Exists(
                StandingRule.objects.filter(role=OuterRef("groups__name"), state=RuleState.ACTIVE)
            ),
        )
        .order_by("pk")
    )
)
"""The active members of a role; each also says whether a standing rule answers requests to it, and whether
they have ever lent their right."""
