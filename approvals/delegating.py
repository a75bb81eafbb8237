# SPDX-License-Identifier: Apache-2.0
"""The acts by which somebody lets another decide in their place: for one request, for a time, or while they are away.

A delegation lends the giver's own right. Who may decide only by delegation cannot pass it on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from accounts.models import User
from approvals import notify, rights
from approvals.models import ActionRequest, Delegation, RequestType, Severity
from approvals.reading import locked, refuse_unless_open
from audit import actions
from audit.services import Line, act, record
from config import clock
from config.errors import Forbidden, Invalid, NotFound, Problem, WrongState

MANAGE = "approvals.manage_delegations"
LONGEST = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a delegation is bounded by; nothing said is no bound."""

    role: str = ""
    request_type: str = ""
    max_severity: str = Severity.CRITICAL


EVERYTHING = Scope()


@act(actions.DELEGATION_CHANGE_DENIED)
def delegate_request(
    *, request_id: str, actor: User, to: str, until: datetime | None = None, reason: str = ""
) -> Delegation:
    """Let somebody else decide one request in the actor's place, until a moment or for the installation's default.

    Raises NotFound, RoleRequired, Forbidden if the actor could not decide it by a right of their own, Invalid.
    """
    request = locked(request_id, actor)
    at = clock.now()
    refuse_unless_open(request, at=at)
    if rights.right_to_vote(request, actor, rights.rules_of(request)).on_behalf_of is not None:
        raise Forbidden("You stand in for somebody else, and what is lent is not lent on.", subject=request)
    delegate = _delegate(to, giver=actor)
    ends_at = until or at + timedelta(seconds=settings.DELEGATION_SECONDS)
    given = Delegation(giver=actor, delegate=delegate, request=request, starts_at=at, ends_at=ends_at, reason=reason)
    _make(given, actor=actor, at=at)
    notify.tell(None, request, "delegated", [delegate.pk], at)
    return given


@act(actions.DELEGATION_CHANGE_DENIED)
def delegate_for_a_time(
    *,
    actor: User,
    giver: str,
    to: str,
    starts_at: datetime,
    ends_at: datetime,
    scope: Scope = EVERYTHING,
    is_away: bool = False,
    reason: str = "",
) -> Delegation:
    """Let `to` decide for `giver` in [starts_at, ends_at), within the scope. `is_away`: the giver is out of office.

    People delegate for themselves; for others, who has the permission. Raises Forbidden, Invalid.
    """
    person = User.objects.filter(username=giver).first()
    if person is None or (person.pk != actor.pk and not actor.has_perm(MANAGE)):
        raise Forbidden(f"You may delegate for yourself alone; for others it takes the permission {MANAGE}.")
    at = clock.now()
    given = Delegation(
        giver=person,
        delegate=_delegate(to, giver=person),
        role=scope.role,
        request_type=scope.request_type,
        max_severity=scope.max_severity,
        is_away=is_away,
        reason=reason,
        starts_at=starts_at,
        ends_at=ends_at,
    )
    _refuse_faults(given, at)
    return _make(given, actor=actor, at=at)


@act(actions.DELEGATION_CHANGE_DENIED)
def revoke_delegation(*, delegation_id: int, actor: User, reason: str = "") -> Delegation:
    """End it now: also a vote that is being thought about counts no more. Raises NotFound, Forbidden, WrongState."""
    seen = Delegation.objects.visible_to(actor).select_for_update(of=("self",))
    given = seen.filter(pk=delegation_id).first()
    if given is None:
        raise NotFound(f"There is no delegation {delegation_id}, or you may not see it.")
    if actor.pk not in (given.giver_id, given.delegate_id) and not actor.has_perm(MANAGE):
        raise Forbidden("Only who gave it, who received it, and administrators revoke a delegation.", subject=given)
    at = clock.now()
    if given.over_at <= at:
        raise WrongState("It is over already.", subject=given)
    given.revoked_at, given.revoked_by = at, actor
    given.save(update_fields=["revoked_at", "revoked_by"])
    record([Line(actions.DELEGATION_REVOKED, given.audit_subject(), actor, at, note=reason)])
    return given


def _make(given: Delegation, *, actor: User, at: datetime) -> Delegation:
    if not given.starts_at < given.ends_at <= given.starts_at + LONGEST or given.ends_at <= at:
        problem = Problem("until", "It is no time to come.", f"At most {LONGEST.days} days, and not in the past.")
        raise Invalid("A delegation ends after it starts.", errors=[problem])
    given.made_by, given.made_at = actor, at
    given.save(force_insert=True)
    facts = {
        "giver": given.giver.get_username(),
        "delegate": given.delegate.get_username(),
        "role": given.role,
        "request_type": given.request_type,
        "max_severity": given.max_severity,
        "starts_at": given.starts_at.isoformat(),
        "ends_at": given.ends_at.isoformat(),
        "away": given.is_away,
    }
    acting_for = given.giver.get_username() if given.giver_id != actor.pk else ""
    subject = given.audit_subject() if given.request is None else given.request.audit_subject()
    action = actions.DELEGATION_MADE if given.request is None else actions.REQUEST_DELEGATED
    record([Line(action, subject, actor, at, note=given.reason, data=facts, acting_for=acting_for)])
    return given


def _delegate(username: str, *, giver: User) -> User:
    """Somebody with a clearance of their own: an active person. Raises Invalid."""
    person = User.objects.filter(username=username).first()
    remedy = "Name an active person by their user name."
    if person is None or not person.is_active or not person.is_human:
        raise Invalid(f"{username!r} is nobody who could decide.", errors=[Problem("to", "not a person", remedy)])
    if person.pk == giver.pk:
        raise Invalid("Nobody stands in for themselves.", errors=[Problem("to", "the same person", remedy)])
    return person


def _refuse_faults(given: Delegation, at: datetime) -> None:
    problems = []
    if given.role and given.role not in given.giver.roles:
        problems.append(Problem("role", f"{given.giver} is not in it.", "Name a role of theirs, or none."))
    if given.request_type not in ("", *RequestType.values):
        problems.append(
            Problem("request_type", "It is no type of request.", f"One of {', '.join(RequestType.values)}.")
        )
    if given.max_severity not in Severity.values:
        problems.append(Problem("max_severity", "It is no severity.", f"One of {', '.join(Severity.values)}."))
    if problems:
        raise Invalid("The delegation cannot be like this.", errors=problems)


def grants_open_to(request: ActionRequest) -> list[Delegation]:
    """Delegations of this one request that are in force."""
    return list(Delegation.objects.in_force().filter(request=request).select_related("giver", "delegate"))
