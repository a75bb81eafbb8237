# SPDX-License-Identifier: Apache-2.0
"""What time does to requests: claims lapse, people are reminded, more are asked, and what nobody answers ends.

The default of a policy is the clock's doing: its actor is `system`, its reason `timeout`, and it is no person's no.
A decision is refused from the deadline on, be it that nothing here has run since (`approvals/reading.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from accounts.models import User
from approvals import notify, people, times
from approvals.claiming import CLAIM_FIELDS
from approvals.models import (
    DECIDABLE_REQUESTS,
    OPEN_REQUESTS,
    ActionRequest,
    Asked,
    Decided,
    RequestState,
)
from approvals.outcomes import Answer, Decision
from approvals.reading import RequestExpired, locked
from approvals.rights import votes_counted
from approvals.services import APPROVE, DECISION_FIELDS, REJECT, conclude
from approvals.times import Do, OnTimeout, Rung, Timetable
from audit import actions
from audit.services import SYSTEM, Line, act, record, transitioned
from config import clock, wake
from config.batch import Batch
from config.errors import Forbidden, Invalid, Problem, Refused, WrongState
from playbooks import durations
from playbooks.places import Flawed
from playbooks.policies import why_silence_approves_nothing
from runs.asking import time_out_question

EXTEND = "approvals.extend_request"
TIMEOUT = "timeout"  # the reason of everything that happens because nobody answered
TIME_FIELDS = ("timetable", "follow_up_at", "due_at", "expires_at", "extended_seconds", "next_check_at", "updated_at")
LADDER_FIELDS = (*CLAIM_FIELDS, *TIME_FIELDS[:-2], "assigned_to")


class ExtensionTooLong(Refused):
    """The deadline has been moved as far as it may be. Decide, reject it, or ask the requester to ask anew."""

    code = "extension_too_long"


@act(actions.REQUEST_DECIDE_DENIED)
def check_request(*, request_id: Any) -> None:
    """Do what the timetable of one request says: its end, or the rungs that have come."""
    request = locked(request_id, SYSTEM)
    at = clock.now()
    table = request.table
    if request.state not in OPEN_REQUESTS or request.paused_at is not None:
        return
    if table.next_at is None or table.next_at > at:
        return
    batch = Batch()
    is_over = request.expires_at is not None and request.expires_at <= at
    lines = _time_out(batch, request, table, at) if is_over else _climb(batch, request, table, at)
    record(lines, into=batch)
    batch.write()
    wake.after_commit()


# The ladder -----------------------------------------------------------------------------------------------


def _climb(batch: Batch, request: ActionRequest, table: Timetable, at: datetime) -> list[Line]:
    """Every rung whose moment has come; of several reminders, one is sent."""
    rungs = table.rungs_due(at)
    lines = []
    if any(rung.do is Do.REMIND for rung in rungs):
        number = sum(rung.do is Do.REMIND and rung.at <= at for rung in table.rungs)
        lines.append(_remind(batch, request, number, at))
    for rung in rungs:
        if rung.do is not Do.REMIND:
            lines.append(_add_people(batch, request, rung, at))
    request.keep(times.climbed(table, at))
    request.look_again(at)
    batch.update(request, *LADDER_FIELDS, state=request.state, revision=request.revision)
    return lines


def _remind(batch: Batch, request: ActionRequest, number: int, at: datetime) -> Line:
    told = waited_for(request)
    notify.tell(batch, request, "reminder", told, at)
    facts = {"notified": len(told), "number": number}
    return Line(actions.REQUEST_REMINDED, request.audit_subject(), SYSTEM, at, data=facts)


def waited_for(request: ActionRequest) -> list[int]:
    """Whose answer is missing: everybody who was asked and could answer, but for who has voted; or the requester."""
    if request.state == RequestState.CHANGES_REQUESTED:
        return [request.requester_id]
    able = [one for one in request.eligible if not one.get("barred") and _is_next(one["rules"], request.stage)]
    added = request.asked_people.filter(why__in=people.ADDED).values_list("user", flat=True)
    votes = [(vote.voter_id, vote.on_behalf_of_id) for vote in votes_counted(request)]
    asked = {one["id"] for one in able} | set(added)
    return sorted(asked - {voter for pair in votes for voter in pair})


def _is_next(rules: Sequence[str], stage: int) -> bool:
    """Whether this stage waits for a person of these rules; who stands in for others has none of their own."""
    return not rules or any(rule.startswith(f"{stage + 1}.") for rule in rules)


def _add_people(batch: Batch, request: ActionRequest, rung: Rung, at: datetime) -> Line:
    """Escalation adds, and replaces nobody."""
    wanted = people.named(rung.add)
    asked = set(request.asked_people.values_list("user", flat=True)) | {one["id"] for one in request.eligible}
    added = [person for person in wanted if person.pk not in asked]
    why = "escalated" if rung.do is Do.ESCALATE else "fallback"
    batch.insert(*(Asked(request=request, user=person, why=why, asked_at=at) for person in added))
    notify.tell(batch, request, "escalated", [person.pk for person in added], at)
    facts = {"named": list(rung.add), "added": [person.get_username() for person in added], "why": why}
    result = "SUCCESS" if wanted else "FAIL"  # nobody active bears these names
    return Line(actions.REQUEST_ESCALATED, request.audit_subject(), SYSTEM, at, result=result, data=facts)


# The end --------------------------------------------------------------------------------------------------


def _time_out(batch: Batch, request: ActionRequest, table: Timetable, at: datetime) -> list[Line]:
    wanted = table.on_timeout
    if wanted is OnTimeout.REROUTE:
        return _reroute(batch, request, table, at)
    if request.state in DECIDABLE_REQUESTS:
        if wanted is OnTimeout.REJECT:
            return conclude(batch, request, _by_default(REJECT, failed=True, at=at))
        if wanted is OnTimeout.APPROVE and silence_may_approve(request):
            return conclude(batch, request, _by_default(APPROVE, failed=False, at=at))
    return _expire(batch, request, at, wanted)


def _by_default(outcome: str, *, failed: bool, at: datetime) -> Decision:
    return Decision(Answer(outcome, reason=TIMEOUT), failed, SYSTEM, at, Decided.TIMEOUT)


def silence_may_approve(request: ActionRequest) -> bool:
    steps = request.run.version.definition.walk() if request.run else ()
    return request.action is None and not why_silence_approves_nothing(request.severity, request.form, steps)


def _expire(batch: Batch, request: ActionRequest, at: datetime, wanted: str) -> list[Line]:
    """It ends unanswered, which is an outcome of its own; so does the task that waits for it."""
    facts = {"reason": TIMEOUT, "policy": wanted}
    line = transitioned(request.expire, actor=SYSTEM, at=at, result="FAIL", note=TIMEOUT, data=facts)
    batch.update(request, *DECISION_FIELDS, state=line.from_state, revision=request.revision)
    notify.tell(batch, request, notify.CLOSED, None, at)
    if request.task is None:
        return [line]
    return [line, *time_out_question(batch=batch, task=request.task, at=at, request_id=request.id)]


def _reroute(batch: Batch, request: ActionRequest, table: Timetable, at: datetime) -> list[Line]:
    """The fallback is asked too, and all have as much time as there was at first. It happens once."""
    before, lines = request.state, []
    if before == RequestState.IN_REVIEW:
        lines.append(transitioned(request.release, actor=SYSTEM, at=at))
    request.keep(times.rerouted(table, at))
    request.assigned_to = None
    facts = {"reason": TIMEOUT, "until": _text(request.expires_at)}
    lines.append(Line(actions.REQUEST_REROUTED, request.audit_subject(), SYSTEM, at, note=TIMEOUT, data=facts))
    lines.append(_add_people(batch, request, Rung(at, Do.FALL_BACK, table.fallback), at))
    request.look_again(at)
    batch.update(request, *LADDER_FIELDS, state=before, revision=request.revision)
    return lines


# More time ------------------------------------------------------------------------------------------------


@act(actions.REQUEST_EXTEND_DENIED)
def extend_request(*, request_id: str, actor: User, by: str | float, reason: str = "") -> ActionRequest:
    """Move the deadlines of an open request, and what happens before them. `by`: seconds, or a duration (`2h`, `1d`).

    Raises NotFound, Forbidden without the permission, WrongState where nothing is due, RequestExpired,
    ExtensionTooLong beyond the cap of its policy, or of the installation, and Invalid.
    """
    request = locked(request_id, actor)
    at = clock.now()
    if not actor.has_perm(EXTEND):
        raise Forbidden(f"Giving more time takes the permission {EXTEND}.", subject=request)
    _refuse_to_extend(request, at)
    table = request.table
    span = _span(by, table)
    cap = table.extend if table.extend is not None else timedelta(seconds=settings.EXTENSION_CAP_SECONDS)
    extended = timedelta(seconds=request.extended_seconds) + span
    if extended > cap:
        left = cap - timedelta(seconds=request.extended_seconds)
        raise ExtensionTooLong(f"Deadlines may be moved by {cap} in all; {left} are left.", subject=request)
    request.keep(times.extended(table, span, at=at))
    request.extended_seconds = int(extended.total_seconds())
    request.look_again(at)
    request.updated_at = at
    request.save(update_fields=TIME_FIELDS)
    facts = {"by": span.total_seconds(), "due_at": _text(request.due_at), "expires_at": _text(request.expires_at)}
    record([Line(actions.REQUEST_EXTENDED, request.audit_subject(), actor, at, note=reason, data=facts)])
    return request


def _refuse_to_extend(request: ActionRequest, at: datetime) -> None:
    if not request.is_open:
        raise WrongState(f"The request is {request.get_state_display().lower()}.", subject=request)
    if request.paused_at is not None:
        raise WrongState("Its clock stands until the requester answers.", subject=request)
    if request.due_at is None and request.expires_at is None:
        raise WrongState("Nothing is due: there is no deadline to move.", subject=request)
    if request.expires_at is not None and request.expires_at <= at:
        raise RequestExpired(f"Its time ended on {request.expires_at:%Y-%m-%d at %H:%M} UTC.", subject=request)


def _span(by: str | float, table: Timetable) -> timedelta:
    try:
        span = times.length(by, table.calendar)
    except (Flawed, OverflowError):
        span = timedelta(0)
    if span <= timedelta(0):
        raise Invalid("That is no length of time.", errors=[Problem("by", "not a duration", durations.REMEDY)])
    return span


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
