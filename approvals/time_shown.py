# SPDX-License-Identifier: Apache-2.0
"""What the decision page says about time: when it is due, who has been told since, and what silence leads to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from approvals.deadlines import silence_may_approve
from approvals.models import ActionRequest
from approvals.times import Do, OnTimeout, Rung, Timetable
from audit.shown import made_visible

ENDS = {
    OnTimeout.EXPIRE: "it ends without an answer, as a time-out. That is nobody's no.",
    OnTimeout.REJECT: "it ends as if it were rejected, by nobody: a time-out.",
    OnTimeout.APPROVE: "it is approved by nobody: its policy takes silence for consent.",
}


@dataclass(frozen=True, slots=True)
class Moment:
    at: datetime
    what: str
    is_past: bool = False

    @property
    def shown(self) -> str:
        return f"{self.at:%-d %b %Y, %H:%M} UTC"


@dataclass(frozen=True, slots=True)
class Shown:
    """`end` is what happens if nobody answers, "" if nothing does."""

    end: Moment | None
    rungs: tuple[Moment, ...]
    calendar: str
    is_paused: bool

    @property
    def next(self) -> Moment | None:
        return next((rung for rung in self.rungs if not rung.is_past), None)


def shown_of(request: ActionRequest) -> Shown | None:
    """Of an open request; None if time does nothing to it."""
    table = request.table
    if not request.is_open or (table.next_at is None and not table.rungs and table.due_at is None):
        return None
    return Shown(
        end=Moment(table.expires_at, _end(request, table)) if table.expires_at else None,
        rungs=tuple(Moment(rung.at, _said(rung), rung.done) for rung in table.rungs),
        calendar=_calendar(table),
        is_paused=request.paused_at is not None,
    )


def _end(request: ActionRequest, table: Timetable) -> str:
    wanted = table.on_timeout
    if wanted is OnTimeout.APPROVE and not silence_may_approve(request):
        wanted = OnTimeout.EXPIRE
    if wanted is OnTimeout.REROUTE:
        return f"{_are(table.fallback)} asked too, and the clock begins anew, once."
    return ENDS.get(wanted, ENDS[OnTimeout.EXPIRE])


def _said(rung: Rung) -> str:
    done = rung.done
    match rung.do:
        case Do.REMIND:
            return "Whoever had not answered was reminded." if done else "Whoever has not answered is reminded."
        case Do.ESCALATE:
            return f"{_were(rung.add) if done else _are(rung.add)} asked as well."
        case Do.FALL_BACK:
            return f"{_were(rung.add) if done else _are(rung.add)} asked, as the last."


def _are(names: tuple[str, ...]) -> str:
    return f"{_joined(names)} {'is' if len(names) == 1 else 'are'}"


def _were(names: tuple[str, ...]) -> str:
    return f"{_joined(names)} {'was' if len(names) == 1 else 'were'}"


def _joined(names: tuple[str, ...]) -> str:
    *others, last = map(made_visible, names)
    return f"{', '.join(others)} and {last}" if others else last


def _calendar(table: Timetable) -> str:
    return f"{made_visible(table.calendar_name)}, {table.calendar.zone}" if table.calendar else ""
