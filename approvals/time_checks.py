# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a policy's `time` as somebody wrote it: told when the policy, or the playbook, is published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from approvals.calendars import Calendar
from approvals.times import FIELDS, HUMAN_ROLE, LENGTHS, OnTimeout, length
from playbooks import durations
from playbooks.places import Flaw, Flawed, Path

LENGTH_AT_MOST = timedelta(days=366)  # of working time
RUNGS_AT_MOST = 20
NOBODY_NAMED = "Name a role (human:…), a user, or a list of them."
MOMENT_REMEDY = "Write a share of the time (50%), a length before the deadline (-1h), or one after the asking (4h)."


def flaws(time: Any, *, known: Mapping[str, Calendar] | None = None) -> Iterator[Flaw]:
    """`known`: the calendars there are, where that is known. Places are counted from `time`."""
    if not isinstance(time, Mapping):
        yield Flaw((), "It is no mapping.", f"Give some of {', '.join(FIELDS)}.")
        return
    found = [
        Flaw((str(name),), "There is no such field.", f"There are {', '.join(FIELDS)}.")
        for name in time
        if name not in FIELDS
    ]
    name = time.get("calendar") or ""
    calendar = known.get(name) if known is not None and isinstance(name, str) else None
    if not isinstance(name, str):
        found.append(Flaw(("calendar",), "It is no name.", "Name a calendar, or leave it out."))
    elif name and known is not None and calendar is None:
        found.append(Flaw(("calendar",), f"There is no calendar {name!r}.", _one_of(known)))
    found += _of_lengths(time, calendar)
    yield from found or (*_of_rungs(time, calendar), *_of_the_end(time))


def _one_of(names: Mapping[str, Any]) -> str:
    return f"There are {', '.join(sorted(names))}." if names else "Make one: Calendars, in the admin."


def _of_lengths(time: Mapping[str, Any], calendar: Calendar | None) -> Iterator[Flaw]:
    before, earlier = timedelta(0), ""
    for name in LENGTHS:
        if time.get(name) is None:
            continue
        span = _read(time[name], calendar)
        if span is None or not timedelta(0) < span <= LENGTH_AT_MOST:
            yield Flaw((name,), "It is no length of time from 1 second to 366 days.", durations.REMEDY)
        elif name != "extend" and span < before:
            yield Flaw((name,), f"It comes before `{earlier}`.", "Order them: follow_up, due, expires.")
        elif name != "extend":
            before, earlier = span, name


def _read(written: Any, calendar: Calendar | None) -> timedelta | None:
    if isinstance(written, bool) or not isinstance(written, (str, int, float)):
        return None
    try:
        return length(written, calendar)
    except (Flawed, OverflowError, ValueError):
        return None


def _of_rungs(time: Mapping[str, Any], calendar: Calendar | None) -> Iterator[Flaw]:
    until = _read(time.get("due") or time.get("expires"), calendar)
    reminders, escalation = time.get("reminders") or [], time.get("escalation") or []
    for name, given in (("reminders", reminders), ("escalation", escalation)):
        if not isinstance(given, list) or len(given) > RUNGS_AT_MOST:
            yield Flaw((name,), f"It is no list of at most {RUNGS_AT_MOST}.", "Give a list.")
            return
    for number, moment in enumerate(reminders):
        yield from _of_moment(("reminders", number), moment, until, calendar)
    for number, rung in enumerate(escalation):
        yield from _of_rung(("escalation", number), rung, until, calendar, needs_after=True)
    if time.get("fallback") is not None:
        yield from _of_fallback(time["fallback"], until, calendar)


def _of_rung(
    path: Path, rung: Any, until: timedelta | None, calendar: Calendar | None, *, needs_after: bool
) -> Iterator[Flaw]:
    fields = {"after", "add"} if needs_after else {"add"}
    if not isinstance(rung, Mapping) or not fields <= rung.keys() <= {"after", "add"}:
        yield Flaw(path, "It does not say when, and who is added.", "Write {after: 75%, add: human:…}.")
        return
    if "after" in rung:
        yield from _of_moment((*path, "after"), rung["after"], until, calendar)
    yield from _of_names((*path, "add"), rung["add"])


def _of_fallback(given: Any, until: timedelta | None, calendar: Calendar | None) -> Iterator[Flaw]:
    if isinstance(given, Mapping):
        yield from _of_rung(("fallback",), given, until, calendar, needs_after=False)
    else:
        yield from _of_names(("fallback",), given)
    if until is None and not (isinstance(given, Mapping) and "after" in given):
        yield Flaw(("fallback",), "Nothing says when it is asked.", "Give `due` or `expires`, or {after: …, add: …}.")


def _of_moment(path: Path, moment: Any, until: timedelta | None, calendar: Calendar | None) -> Iterator[Flaw]:
    relative = isinstance(moment, str) and (moment.endswith("%") or moment.startswith("-"))
    if relative and until is None:
        yield Flaw(path, "There is no deadline to count it from.", "Give `due` or `expires`, or a length: 4h.")
        return
    if isinstance(moment, str) and moment.endswith("%"):
        share = moment[:-1]
        if not (share.isascii() and share.isdecimal() and 0 < int(share) <= 100):
            yield Flaw(path, f"{moment!r} is no share from 1% to 100%.", MOMENT_REMEDY)
        return
    before = isinstance(moment, str) and moment.startswith("-")
    span = _read(moment[1:] if before else moment, calendar)
    if span is None or not timedelta(0) < span <= LENGTH_AT_MOST:
        yield Flaw(path, "It is no moment.", MOMENT_REMEDY)
    elif before and until is not None and span >= until:
        yield Flaw(path, "So long before the deadline, nothing has been asked yet.", MOMENT_REMEDY)


def _of_names(path: Path, given: Any) -> Iterator[Flaw]:
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not names or len(names) > RUNGS_AT_MOST:
        yield Flaw(path, "It names nobody.", NOBODY_NAMED)
        return
    for name in names:
        if not isinstance(name, str) or not name.strip() or len(name) > 150:
            yield Flaw(path, f"{name!r} is no name.", NOBODY_NAMED)
        elif ":" in name and not name.startswith(HUMAN_ROLE):
            yield Flaw(path, f"{name} is no role of people.", NOBODY_NAMED)


def _of_the_end(time: Mapping[str, Any]) -> Iterator[Flaw]:
    wanted = time.get("on_timeout")
    if wanted is not None and wanted not in list(OnTimeout):
        yield Flaw(("on_timeout",), f"{wanted!r} is no end.", f"There are {', '.join(OnTimeout)}.")
        return
    ends, expires = wanted not in (None, OnTimeout.WAIT), time.get("expires") is not None
    if ends and not expires:
        yield Flaw(("on_timeout",), "It never times out.", "Say when: `expires`.")
    if wanted == OnTimeout.WAIT and expires:
        yield Flaw(("on_timeout",), "What waits for ever does not expire.", "Leave out `expires` or `on_timeout`.")
    if wanted == OnTimeout.REROUTE and not time.get("fallback"):
        yield Flaw(("on_timeout",), "Nothing says to whom it goes.", "Give `fallback`.")
    if time.get("extend") is not None and not (expires or time.get("due") is not None):
        yield Flaw(("extend",), "There is no deadline to move.", "Give `due` or `expires`.")
