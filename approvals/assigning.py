# SPDX-License-Identifier: Apache-2.0
"""Who is to see to a request: taking a claim over, and assigning. Both are advice to people, as claims are.

Assigning replaces whoever was assigned before; nobody loses the right to decide by it.
"""

from __future__ import annotations

from accounts.models import User
from approvals import notify, rights
from approvals.claiming import CLAIM_FIELDS, claim_ttl
from approvals.models import ActionRequest, RequestState
from approvals.reading import locked, refuse_unless_open
from audit import actions
from audit.services import Line, act, record, transitioned
from config import clock
from config.errors import Forbidden, Invalid, Problem, WrongState
from runs.leases import hashed, new_token

ASSIGN = "approvals.assign_request"


@act(actions.REQUEST_CLAIM_DENIED)
def take_over(*, request_id: str, actor: User, reason: str) -> tuple[ActionRequest, str]:
    """Take a request over from whoever has claimed it: (request, token). Their claim is lost, their draft is kept.

    Raises NotFound, AlreadyDecided, RoleRequired, Forbidden, WrongState where nobody else has claimed it, Invalid
    without a reason.
    """
    request = locked(request_id, actor)
    at = clock.now()
    refuse_unless_open(request, at=at)
    rights.refuse_unless_may_decide(request, actor)
    if request.state != RequestState.IN_REVIEW or request.claimed_by_id == actor.pk:
        raise WrongState("Nobody else has claimed this request.", subject=request)
    if not reason.strip():
        raise Invalid("Say why you take it over.", errors=[Problem("reason", "missing", "Give a reason.")])
    former, token = request.claimed_by, new_token()
    assert former is not None
    given = {"by": actor, "token_hash": hashed(token), "until": at + claim_ttl(request)}
    facts = {"from": former.get_username()}
    line = transitioned(request.take_over, given, actor=actor, at=at, note=reason, data=facts)
    request.save(update_fields=CLAIM_FIELDS)
    record([line])
    notify.tell(None, request, "taken_over", [former.pk], at)
    return request, token


@act(actions.REQUEST_ASSIGN_DENIED)
def assign_request(*, request_id: str, actor: User, to: str, reason: str = "") -> ActionRequest:
    """Ask one person by name to see to it; an empty name asks nobody in particular any more.

    Raises NotFound, AlreadyDecided, WrongState, Forbidden without the permission, Invalid for somebody who may not
    decide it, and without a reason where somebody else was assigned.
    """
    request = locked(request_id, actor)
    at = clock.now()
    refuse_unless_open(request, at=at)
    if not actor.has_perm(ASSIGN):
        raise Forbidden(f"Assigning takes the permission {ASSIGN}.", subject=request)
    before, person = request.assigned_to, _assignee(request, to)
    if before == person:
        return request
    if before is not None and not reason.strip():
        raise Invalid("Say why it is taken from whom it was given to.", errors=[Problem("reason", "missing", "Why?")])
    request.assigned_to, request.updated_at = person, at
    request.save(update_fields=["assigned_to", "updated_at"])
    facts = {"to": _name(person), "from": _name(before)}
    action = actions.REQUEST_ASSIGNED if before is None else actions.REQUEST_REASSIGNED
    record([Line(action, request.audit_subject(), actor, at, note=reason, data=facts)])
    if person is not None:
        notify.tell(None, request, "assigned", [person.pk], at)
    return request


def _assignee(request: ActionRequest, username: str) -> User | None:
    """Raises Invalid for somebody who may not decide it: their having it would be no help."""
    if not username:
        return None
    person = User.objects.filter(username=username).first()
    if person is None:
        raise Invalid(f"There is no {username!r}.", errors=[Problem("to", "not known", "Give a user name.")])
    bar = rights.bar_for(request, person)
    if bar is not None:
        problem = Problem("to", bar.reason, "Name somebody who may decide it.")
        raise Invalid(f"{username} could not decide it.", errors=[problem], subject=request)
    return person


def _name(person: User | None) -> str:
    return person.get_username() if person else ""
