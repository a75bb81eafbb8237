# SPDX-License-Identifier: Apache-2.0
"""Working time: pure functions of a calendar and moments.

A moment is working time if the clock on the wall of the calendar's zone stands within the hours of that weekday, and
the day is no holiday. So nothing is counted in the hour that a clock skips in spring, and the hour that it repeats in
autumn counts twice if the calendar works in it. Spans are half-open: an office that closes at 17:00 is shut at 17:00.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from config.errors import Problem

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MINUTES_PER_DAY = 24 * 60
DAY = timedelta(days=1)
HOLIDAYS_AT_MOST = 2_000
LOOKED_AHEAD = timedelta(days=4 * 366)
"""Beyond this no working time is looked for: a deadline that far away stands there, however much is left."""

Hours = tuple[tuple[int, int], ...]  # (from, to) in minutes since midnight, in order, apart from each other

_SPAN = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\s*-\s*(?:([01]\d|2[0-3]):([0-5]\d)|24:00)")


@dataclass(frozen=True)
class Calendar:
    """Hours of each weekday (Monday first), dates without any, and the zone whose clock counts."""

    zone: str
    week: tuple[Hours, ...]
    holidays: frozenset[date] = frozenset()

    @cached_property
    def day(self) -> timedelta:
        """What `1d` is worth: the hours of a mean working day of the week."""
        worked = [hours for hours in self.week if hours]
        return self.a_week / len(worked)

    @cached_property
    def a_week(self) -> timedelta:
        return timedelta(minutes=sum(end - start for hours in self.week for start, end in hours))

    def hours_of(self, day: date) -> Hours:
        return () if day in self.holidays else self.week[day.weekday()]


def add(calendar: Calendar, at: datetime, working: timedelta) -> datetime:
    """The first moment by which so much working time has gone by since `at` (aware). UTC.

    Nothing added is `at` itself; an amount that ends with the working day ends there, not on the next morning. What
    does not fit into LOOKED_AHEAD ends with it.
    """
    at = at.astimezone(UTC)
    left = working
    if left <= timedelta(0):
        return at
    horizon = at + LOOKED_AHEAD
    for start, end in spans(calendar, at, horizon):
        if end - start >= left:
            return start + left
        left -= end - start
    return horizon


def between(calendar: Calendar, start: datetime, end: datetime) -> timedelta:
    """The working time in [start, end); none if `end` is not later."""
    return sum((shuts - opens for opens, shuts in spans(calendar, start, end)), timedelta(0))


def is_working(calendar: Calendar, at: datetime) -> bool:
    local = at.astimezone(ZoneInfo(calendar.zone))
    minutes = timedelta(hours=local.hour, minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    return any(
        timedelta(minutes=start) <= minutes < timedelta(minutes=end) for start, end in calendar.hours_of(local.date())
    )


def spans(calendar: Calendar, since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The stretches of working time within [since, until), in order, each within one day of UTC and one offset."""
    # In UTC: two moments of one zone are compared by the wall clock, which may show the later one as the earlier.
    since, until = since.astimezone(UTC), until.astimezone(UTC)
    day = since.date()
    while datetime(day.year, day.month, day.day, tzinfo=UTC) < until:
        for start, end in _spans_of(calendar, day):
            if since < end and start < until:
                yield max(start, since), min(end, until)
        day += DAY


@lru_cache(maxsize=10_000)
def _spans_of(calendar: Calendar, utc_day: date) -> tuple[tuple[datetime, datetime], ...]:
    """Working time within one day of UTC, in order."""
    found = []
    for start, end, offset in _offsets_on(calendar.zone, utc_day):
        for opens, shuts in _on_the_wall(calendar, start + offset, end + offset):
            found.append((opens - offset, shuts - offset))
    return tuple(found)


def _on_the_wall(calendar: Calendar, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Working hours between two readings of the wall clock, which here runs without a jump."""
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    while midnight < end:
        for first, last in calendar.hours_of(midnight.date()):
            opens = max(start, midnight + timedelta(minutes=first))
            shuts = min(end, midnight + timedelta(minutes=last))
            if opens < shuts:
                yield opens, shuts
        midnight += DAY


@lru_cache(maxsize=10_000)
def _offsets_on(zone: str, utc_day: date) -> tuple[tuple[datetime, datetime, timedelta], ...]:
    """The day of UTC in pieces, in each of which the zone keeps one offset. No zone changes twice within a day."""
    clock = ZoneInfo(zone)
    start = datetime(utc_day.year, utc_day.month, utc_day.day, tzinfo=UTC)
    end = start + DAY
    before, after = _offset(clock, start), _offset(clock, end)
    if before == after:
        return ((start, end, before),)
    early, late = start, end
    while late - early > timedelta(seconds=1):
        middle = (early + (late - early) / 2).replace(microsecond=0)
        early, late = (middle, late) if _offset(clock, middle) == before else (early, middle)
    return tuple(piece for piece in ((start, late, before), (late, end, after)) if piece[0] < piece[1])


def _offset(zone: ZoneInfo, at: datetime) -> timedelta:
    offset = at.astimezone(zone).utcoffset()
    assert offset is not None, f"{zone} knows no time at {at}"
    return offset


# As it is written, and as it is frozen into requests ------------------------------------------------------


def as_json(calendar: Calendar) -> dict[str, Any]:
    return {
        "zone": calendar.zone,
        "hours": {day: as_texts(hours) for day, hours in zip(WEEKDAYS, calendar.week, strict=True) if hours},
        "holidays": sorted(day.isoformat() for day in calendar.holidays),
    }


def as_texts(hours: Hours) -> list[str]:
    return [f"{_clock(start)}-{_clock(end)}" for start, end in hours]


def of_json(stored: Mapping[str, Any]) -> Calendar:
    """Of what `as_json` gave, which is known to be right."""
    return _of_json(
        stored["zone"],
        tuple(tuple(stored["hours"].get(day, ())) for day in WEEKDAYS),
        tuple(stored["holidays"]),
    )


@lru_cache(maxsize=256)
def _of_json(zone: str, week: tuple[tuple[str, ...], ...], holidays: tuple[str, ...]) -> Calendar:
    read = tuple(tuple(_minutes(text) for text in day) for day in week)
    return Calendar(zone, read, frozenset(map(date.fromisoformat, holidays)))


def problems(zone: str, hours: Mapping[str, Sequence[str]], holidays: Sequence[str]) -> list[Problem]:
    """What is wrong with a calendar as somebody wrote it: {weekday: ["09:00-17:00", …]}, dates as YYYY-MM-DD."""
    found = [*_of_zone(zone)]
    for day, texts in hours.items():
        if day not in WEEKDAYS:
            found.append(Problem(f"hours.{day}", "It is no day of the week.", f"Use {', '.join(WEEKDAYS)}."))
        else:
            found += _of_hours(f"hours.{day}", texts)
    if not any(hours.values()):
        found.append(Problem("hours", "It has no working hours.", "Give at least one day hours, as 09:00-17:00."))
    if len(holidays) > HOLIDAYS_AT_MOST:
        found.append(Problem("holidays", f"They are more than {HOLIDAYS_AT_MOST}.", "Leave past years out."))
    return found + [problem for each in holidays for problem in _of_holiday(each)]


def _of_zone(zone: str) -> Iterator[Problem]:
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        yield Problem("zone", "It is no time zone.", "Use a name of the IANA list, as Europe/Berlin.")


def _of_hours(path: str, texts: Sequence[str]) -> Iterator[Problem]:
    spans = []
    for text in texts:
        span = _minutes(text)
        if span is None or span[0] >= span[1]:
            yield Problem(path, f"{text!r} is no span of hours.", "Write from-to, as 09:00-17:00; midnight is 24:00.")
        else:
            spans.append(span)
    for (_, end), (start, _) in pairwise(spans):
        if start < end:
            yield Problem(path, "Its hours overlap, or are out of order.", "Write 09:00-12:00, then 13:00-17:00.")


def _of_holiday(text: str) -> Iterator[Problem]:
    try:
        read = date.fromisoformat(text)
    except ValueError:
        read = None
    if read is None or read.isoformat() != text:
        yield Problem("holidays", f"{text!r} is no date.", "Write it as 2026-12-25.")


def _minutes(text: str) -> Any:
    """(from, to) in minutes, or None."""
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        return None
    start = int(found[1]) * 60 + int(found[2])
    end = int(found[3]) * 60 + int(found[4]) if found[3] else MINUTES_PER_DAY
    return start, end


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
