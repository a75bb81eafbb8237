# SPDX-License-Identifier: Apache-2.0
"""The acts on calendars: make one, change it. None is deleted: policies name them.

A change counts for requests that are made from then on; those that are open keep their deadlines.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, connections, transaction

from accounts.models import User
from approvals import calendars
from approvals.models import Calendar
from audit import actions
from audit.services import Line, act, record
from config import clock
from config.errors import Forbidden, Invalid, NotFound, Problem

MANAGE = "approvals.manage_calendars"
DEFAULT = "default"
HOLIDAY_NAME_AT_MOST = 100


@dataclass(frozen=True, slots=True)
class Terms:
    """All of a calendar that can be changed."""

    title: str
    zone: str
    hours: Mapping[str, Sequence[str]]  # weekday → ["09:00-17:00", …]
    holidays: Mapping[str, str] = field(default_factory=dict)  # date → its name


OFFICE_HOURS = Terms("Office hours", "UTC", {day: ["09:00-17:00"] for day in calendars.WEEKDAYS[:5]})


@act(actions.CALENDAR_CHANGE_DENIED)
def create_calendar(*, actor: User, slug: str, terms: Terms) -> Calendar:
    """Raises Forbidden, and Invalid with all faults at once."""
    _require(actor)
    at = clock.now()
    calendar = _written(Calendar(slug=slug, created_at=at), terms)
    try:
        with transaction.atomic():
            calendar.save(force_insert=True)
    except IntegrityError:
        raise Invalid(f"There is a calendar {slug!r} already.", errors=[Problem("slug", "It is taken.")])
    record([Line(actions.CALENDAR_CREATED, calendar.audit_subject(), actor, at, data=_facts(calendar))])
    return calendar


@act(actions.CALENDAR_CHANGE_DENIED)
def change_calendar(*, actor: User, slug: str, terms: Terms) -> Calendar:
    """For requests made from now on. Raises Forbidden, NotFound, Invalid."""
    _require(actor)
    calendar = Calendar.objects.select_for_update().filter(slug=slug).first()
    if calendar is None:
        raise NotFound(f"There is no calendar {slug!r}.")
    before = _told(calendar)
    after = _told(_written(calendar, terms))
    changed = sorted(name for name in after if before[name] != after[name])
    if not changed:
        return calendar
    calendar.save(update_fields=changed)
    facts = {"fields": changed, **_facts(calendar)}
    record([Line(actions.CALENDAR_CHANGED, calendar.audit_subject(), actor, clock.now(), data=facts)])
    return calendar


def named(names: Iterable[str]) -> dict[str, calendars.Calendar]:
    """Those calendars, as they are now."""
    wanted = set(filter(None, names))
    return {each.slug: each.working_time for each in Calendar.objects.filter(slug__in=wanted)} if wanted else {}


def known() -> dict[str, calendars.Calendar]:
    return {each.slug: each.working_time for each in Calendar.objects.all()}


def after_migrate(using: str = "default", **kwargs: Any) -> None:
    if using == "default" and Calendar._meta.db_table in connections[using].introspection.table_names():
        seed()


def seed() -> None:
    """The calendar that every installation has from its first migration on. One that is there is left as it is."""
    terms = OFFICE_HOURS
    told = {"title": terms.title, "zone": terms.zone, "hours": dict(terms.hours), "created_at": clock.now()}
    Calendar.objects.get_or_create(slug=DEFAULT, defaults=told)


def _require(actor: User) -> None:
    if not actor.has_perm(MANAGE):
        raise Forbidden("Only administrators make and change calendars.")


def _written(calendar: Calendar, terms: Terms) -> Calendar:
    """The calendar with these terms. Raises Invalid."""
    problems = calendars.problems(terms.zone, terms.hours, list(terms.holidays))
    if not terms.title.strip():
        problems.append(Problem("title", "It is empty.", "Write what people shall read."))
    if any(len(name) > HOLIDAY_NAME_AT_MOST for name in terms.holidays.values()):
        problems.append(Problem("holidays", "A name is too long.", f"At most {HOLIDAY_NAME_AT_MOST} characters."))
    if problems:
        raise Invalid("The calendar cannot be like this.", errors=problems)
    calendar.title, calendar.zone = terms.title.strip(), terms.zone
    calendar.hours = {
        day: [text.strip() for text in terms.hours[day]] for day in calendars.WEEKDAYS if terms.hours.get(day)
    }
    calendar.holidays = dict(sorted(terms.holidays.items()))
    return calendar


def _told(calendar: Calendar) -> dict[str, Any]:
    return {name: getattr(calendar, name) for name in ("title", "zone", "hours", "holidays")}


def _facts(calendar: Calendar) -> dict[str, Any]:
    return {"zone": calendar.zone, "hours": calendar.hours, "holidays": len(calendar.holidays)}
