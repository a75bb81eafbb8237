# SPDX-License-Identifier: Apache-2.0
"""When a request is due and what happens until then: a pure function of a policy's `time` and the moment of asking.

All lengths of one policy are counted on one calendar; without one, on the clock that never stops. They become moments
when the request is made, and stay what they were however its calendar is changed later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from approvals import calendars
from approvals.calendars import Calendar
from playbooks import durations

FIELDS = (
    "calendar", "follow_up", "due", "expires", "reminders", "escalation", "fallback", "on_timeout", "extend",
)  # fmt: skip
LENGTHS = ("follow_up", "due", "expires", "extend")
HUMAN_ROLE = "human:"  # what a name of a role begins with, among those of users


class OnTimeout(StrEnum):
    WAIT = "wait"  # it stays open, overdue
    EXPIRE = "expire"  # it ends as a time-out, which is its own outcome
    REJECT = "reject"  # it ends as a time-out, and its step goes on as if it were rejected
    REROUTE = "reroute"  # the fallback is asked, and the clock begins anew, once; then it expires
    APPROVE = "approve"  # low severity and reversible actions alone; anything else expires


class Do(StrEnum):
    REMIND = "remind"  # whoever has not answered
    ESCALATE = "escalate"  # more people may decide, beside those who could
    FALL_BACK = "fall_back"  # the last to be asked


@dataclass(frozen=True, slots=True)
class Rung:
    """One thing that happens while nobody answers. `add`: names of roles and users."""

    at: datetime
    do: Do
    add: tuple[str, ...] = ()
    done: bool = False


@dataclass(frozen=True, slots=True)
class Timetable:
    """What time does to one request, as it was frozen, and how far it has come."""

    calendar: Calendar | None = None
    calendar_name: str = ""
    follow_up_at: datetime | None = None
    due_at: datetime | None = None
    expires_at: datetime | None = None
    rungs: tuple[Rung, ...] = ()
    on_timeout: OnTimeout = OnTimeout.WAIT
    fallback: tuple[str, ...] = ()
    extend: timedelta | None = None  # how far the deadlines may be moved altogether; None: as the installation says
    due: timedelta | None = None  # the lengths, for a clock that begins anew
    expires: timedelta | None = None

    @property
    def next_at(self) -> datetime | None:
        """When something is to be done next."""
        waiting = [rung.at for rung in self.rungs if not rung.done]
        return min([*waiting, *([self.expires_at] if self.expires_at else [])], default=None)

    def moved(self, moment: datetime, by: timedelta) -> datetime:
        return later(self.calendar, moment, by)

    def rungs_due(self, now: datetime) -> list[Rung]:
        return [rung for rung in self.rungs if not rung.done and rung.at <= now]


def later(calendar: Calendar | None, at: datetime, by: timedelta) -> datetime:
    return at + by if calendar is None else calendars.add(calendar, at, by)


def length(written: str | float, calendar: Calendar | None) -> timedelta:
    """Seconds, or a duration; on a calendar a day and a week are worth their working hours. Raises Flawed."""
    if not isinstance(written, str):
        return timedelta(seconds=written)
    weeks, days, hours, minutes, seconds = durations.counts(written)
    a_day = timedelta(days=1) if calendar is None else calendar.day
    a_week = timedelta(weeks=1) if calendar is None else calendar.a_week
    return weeks * a_week + days * a_day + timedelta(hours=hours, minutes=minutes, seconds=seconds)


# Freezing -------------------------------------------------------------------------------------------------


def frozen(time: Mapping[str, Any], at: datetime, calendar: Calendar | None = None) -> Timetable:
    """The timetable of a request that is asked `at`, under a `time` without problems."""
    lengths = {name: length(time[name], calendar) for name in LENGTHS if time.get(name) is not None}
    due, expires = lengths.get("due"), lengths.get("expires")
    until = due if due is not None else expires
    on_timeout = OnTimeout(time.get("on_timeout") or (OnTimeout.EXPIRE if expires else OnTimeout.WAIT))
    rungs = sorted(_rungs(time, until, on_timeout, calendar), key=lambda rung: rung[0])
    return Timetable(
        calendar=calendar,
        calendar_name=time.get("calendar") or "",
        follow_up_at=_after(calendar, at, lengths.get("follow_up")),
        due_at=_after(calendar, at, due),
        expires_at=_after(calendar, at, expires),
        rungs=tuple(Rung(later(calendar, at, offset), do, add) for offset, do, add in rungs),
        on_timeout=on_timeout,
        fallback=names_of(fallback_of(time)[1]),
        extend=lengths.get("extend"),
        due=due,
        expires=expires,
    )


def _after(calendar: Calendar | None, at: datetime, by: timedelta | None) -> datetime | None:
    return None if by is None else later(calendar, at, by)


_Rung = tuple[timedelta, Do, tuple[str, ...]]  # how long after the asking, what, whom


def _rungs(
    time: Mapping[str, Any], until: timedelta | None, on_timeout: OnTimeout, calendar: Calendar | None
) -> Iterator[_Rung]:
    """`until`: from the asking to the deadline, which shares and lengths before it count from."""
    if (follow_up := time.get("follow_up")) is not None:
        yield length(follow_up, calendar), Do.REMIND, ()
    for moment in time.get("reminders") or ():
        yield _offset(moment, until, calendar), Do.REMIND, ()
    for rung in time.get("escalation") or ():
        yield _offset(rung["after"], until, calendar), Do.ESCALATE, names_of(rung["add"])
    after, names = fallback_of(time)
    if names and (after is not None or on_timeout is not OnTimeout.REROUTE):
        offset = _offset("100%" if after is None else after, until, calendar)
        yield offset, Do.FALL_BACK, names_of(names)


def fallback_of(time: Mapping[str, Any]) -> tuple[Any, Any]:
    """(after, names): when the fallback is asked, where that is said, and who."""
    given = time.get("fallback") or ()
    return (given.get("after"), given["add"]) if isinstance(given, Mapping) else (None, given)


def names_of(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _offset(moment: str | float, until: timedelta | None, calendar: Calendar | None) -> timedelta:
    """How long after the asking. Raises Flawed."""
    if not isinstance(moment, str):
        return timedelta(seconds=moment)
    if moment.endswith("%"):
        assert until is not None, "a share of nothing"
        return until * (float(moment[:-1]) / 100)
    if moment.startswith("-"):
        assert until is not None, "before nothing"
        return max(timedelta(0), until - length(moment[1:], calendar))
    return length(moment, calendar)


# While it is open -----------------------------------------------------------------------------------------


def resumed(table: Timetable, *, paused_at: datetime, at: datetime) -> Timetable:
    """The clock has stood still: what was to come is as far away as it was, in working time."""

    def moved(moment: datetime) -> datetime:
        if table.calendar is None:
            return at + (moment - paused_at)
        return calendars.add(table.calendar, at, calendars.between(table.calendar, paused_at, moment))

    return _with_moments(table, moved, since=paused_at)


def extended(table: Timetable, by: timedelta, *, at: datetime) -> Timetable:
    """All that is still to come happens so much later; a deadline that has passed is so far away from now."""
    after = _with_moments(table, lambda moment: table.moved(moment, by), since=at)
    return replace(after, due_at=table.moved(max(table.due_at, at), by)) if table.due_at else after


def _with_moments(table: Timetable, moved: Callable[[datetime], datetime], *, since: datetime) -> Timetable:
    def later_one(moment: datetime | None) -> datetime | None:
        return moved(moment) if moment is not None and moment >= since else moment

    return replace(
        table,
        follow_up_at=later_one(table.follow_up_at),
        due_at=later_one(table.due_at),
        expires_at=later_one(table.expires_at),
        rungs=tuple(rung if rung.done else replace(rung, at=moved(max(rung.at, since))) for rung in table.rungs),
    )


def climbed(table: Timetable, now: datetime) -> Timetable:
    """With every rung marked that was due."""
    return replace(table, rungs=tuple(replace(rung, done=True) if rung.at <= now else rung for rung in table.rungs))


def rerouted(table: Timetable, at: datetime) -> Timetable:
    """The fallback is asked, with as much time as there was; next time it expires."""
    return replace(
        table,
        due_at=_after(table.calendar, at, table.due),
        expires_at=_after(table.calendar, at, table.expires),
        rungs=tuple(replace(rung, done=True) for rung in table.rungs),
        on_timeout=OnTimeout.EXPIRE,
    )


# As it is stored ------------------------------------------------------------------------------------------


def as_json(table: Timetable) -> dict[str, Any]:
    """Without the three deadlines, which are columns."""
    return {
        "calendar": {"name": table.calendar_name, **calendars.as_json(table.calendar)} if table.calendar else None,
        "rungs": [
            {"at": rung.at.isoformat(), "do": rung.do, "add": list(rung.add), "done": rung.done} for rung in table.rungs
        ],
        "on_timeout": table.on_timeout,
        "fallback": list(table.fallback),
        **{name: _seconds(getattr(table, name)) for name in ("extend", "due", "expires")},
    }


def of_json(
    stored: Mapping[str, Any], *, follow_up_at: datetime | None, due_at: datetime | None, expires_at: datetime | None
) -> Timetable:
    """Of a request; nothing stored is no deadline at all."""
    if not stored:
        return Timetable(follow_up_at=follow_up_at, due_at=due_at, expires_at=expires_at)
    calendar = stored["calendar"]
    return Timetable(
        calendar=calendars.of_json(calendar) if calendar else None,
        calendar_name=calendar["name"] if calendar else "",
        follow_up_at=follow_up_at,
        due_at=due_at,
        expires_at=expires_at,
        rungs=tuple(
            Rung(datetime.fromisoformat(rung["at"]), Do(rung["do"]), tuple(rung["add"]), rung["done"])
            for rung in stored["rungs"]
        ),
        on_timeout=OnTimeout(stored["on_timeout"]),
        fallback=tuple(stored["fallback"]),
        **{name: _length_of(stored[name]) for name in ("extend", "due", "expires")},
    )


def _seconds(span: timedelta | None) -> float | None:
    return None if span is None else span.total_seconds()


def _length_of(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


def names_in(time: Mapping[str, Any]) -> set[str]:
    """Every role and user that a `time` without problems names."""
    rungs = [names_of(rung["add"]) for rung in time.get("escalation") or ()]
    return {name for names in [*rungs, names_of(fallback_of(time)[1])] for name in names}
