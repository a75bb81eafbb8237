# SPDX-License-Identifier: Apache-2.0
"""Screening an application for a protest permit: a pure function of form, calendar and day, with reasons in words.

A rule that refuses ends the application; one that notes something leaves it to the person who decides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

CITY = Path(__file__).with_name("city.json")
ADDRESS = re.compile(r"[^@\s,;<>]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,63}")
PLAN_CHARACTERS_PER_1000 = 100  # a plan for thousands in two lines is worth a second look

Booking = tuple[str, date]  # place and day


class Weight(StrEnum):
    OK = "ok"
    NOTED = "noted"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    weight: Weight
    says: str


@dataclass(frozen=True, slots=True)
class Place:
    name: str
    capacity: int


@dataclass(frozen=True, slots=True)
class Calendar:
    """What the city knows: its places and days off, and who has, or asks for, which place on which day."""

    places: Mapping[str, Place]
    holidays: Mapping[str, str]  # MM-DD → name
    notice_days: int
    horizon_days: int
    crowded_share: float
    granted: Mapping[Booking, int] = field(default_factory=dict)  # → the number of the application
    asked_for: Mapping[Booking, int] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path = CITY) -> Calendar:
        city = json.loads(path.read_text())
        places = {key: Place(**place) for key, place in city.pop("places").items()}
        return cls(places=places, **city)

    def knowing(self, *, granted: Mapping[Booking, int], asked_for: Mapping[Booking, int]) -> Calendar:
        return replace(self, granted=granted, asked_for=asked_for)

    def holiday(self, day: date) -> str:
        return self.holidays.get(f"{day:%m-%d}", "")


@dataclass(frozen=True, slots=True)
class Screening:
    findings: tuple[Finding, ...]

    @property
    def outcome(self) -> Literal["PASS", "FAIL"]:
        return "FAIL" if self._has(Weight.REFUSED) else "PASS"

    @property
    def risk(self) -> Literal["low", "medium", "high"]:
        if self._has(Weight.REFUSED):
            return "high"
        return "medium" if self._has(Weight.NOTED) else "low"

    @property
    def suggestion(self) -> str:
        return {"low": "APPROVE", "medium": "APPROVE WITH CARE", "high": "REJECT"}[self.risk]

    @property
    def note(self) -> str:
        """Why, in a sentence or two: what speaks against, or that nothing does."""
        against = [finding.says for finding in self.findings if finding.weight != Weight.OK]
        return " ".join(against) or "Nothing speaks against this application."

    def as_output(self) -> dict[str, Any]:
        findings = [f"{f.check.capitalize()}, {f.weight}: {f.says}" for f in self.findings]
        return {"suggestion": self.suggestion, "risk": self.risk, "findings": findings}

    def _has(self, weight: Weight) -> bool:
        return any(finding.weight == weight for finding in self.findings)


def screen(application: Mapping[str, Any], calendar: Calendar, today: date) -> Screening:
    """What the rules find. The application may be anything: what is missing or malformed is refused in words."""
    day = booked_day(application)
    place = calendar.places.get(str(application.get("place")))
    findings = (
        _date(day, calendar, today),
        _place(application, place),
        *_free(application, day, place, calendar),
        *_crowd(application, place, calendar),
        _email(application),
    )
    return Screening(findings)


def booked_day(application: Mapping[str, Any]) -> date | None:
    try:
        return date.fromisoformat(application.get("event_date", ""))
    except (TypeError, ValueError):
        return None


def booking_of(application: Mapping[str, Any]) -> Booking | None:
    """The place and the day an application asks for; None if it names no such thing."""
    day, place = booked_day(application), application.get("place")
    return (place, day) if day is not None and isinstance(place, str) else None


def in_words(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


# The rules ------------------------------------------------------------------------------------------------


def _date(day: date | None, calendar: Calendar, today: date) -> Finding:
    if day is None:
        return _refused("date", "The application names no date.")
    if day <= today:
        return _refused("date", f"{in_words(day)} is not in the future.")
    if day < today + timedelta(days=calendar.notice_days):
        return _refused("date", f"{in_words(day)} is too soon: {calendar.notice_days} days' notice is needed.")
    if day > today + timedelta(days=calendar.horizon_days):
        return _refused("date", f"{in_words(day)} is more than {calendar.horizon_days} days ahead.")
    if name := calendar.holiday(day):
        return _refused("date", f"{in_words(day)} is {name}, a city holiday.")
    return _ok("date", f"{in_words(day)} is {(day - today).days} days ahead and no city holiday.")


def _place(application: Mapping[str, Any], place: Place | None) -> Finding:
    if place is None:
        return _refused("place", f"The city has no place called “{application.get('place', '')}”.")
    return _ok("place", f"{place.name} is a public place of the city.")


def _free(
    application: Mapping[str, Any], day: date | None, place: Place | None, calendar: Calendar
) -> Iterator[Finding]:
    if day is None or place is None:
        return
    wanted = (str(application["place"]), day)
    where = f"{place.name} on {in_words(day)}"
    if number := calendar.granted.get(wanted):
        yield _refused("free", f"{where} is taken: application {number} was approved.")
    elif number := calendar.asked_for.get(wanted):
        yield _noted("free", f"{where} is also asked for by application {number}, which came earlier.")
    else:
        yield _ok("free", f"{where} is free.")


def _crowd(application: Mapping[str, Any], place: Place | None, calendar: Calendar) -> Iterator[Finding]:
    size = application.get("crowd_size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        yield _refused("crowd", "The application does not say how many people are expected.")
        return
    if place is None:
        return
    holds = f"{place.name} holds {place.capacity:,}"
    if size > place.capacity:
        yield _refused("crowd", f"{size:,} people are expected, and {holds}.")
    elif size > calendar.crowded_share * place.capacity:
        yield _noted("crowd", f"It will be crowded: {size:,} people are expected, and {holds}.")
    else:
        yield _ok("crowd", f"{size:,} people are expected, and {holds}.")
    plan = application.get("crowd_control_plan")
    if size >= 1000 and (not isinstance(plan, str) or len(plan) < PLAN_CHARACTERS_PER_1000 * size // 1000):
        yield _noted("plan", f"The crowd-control plan is short for {size:,} people.")


def _email(application: Mapping[str, Any]) -> Finding:
    address = application.get("email")
    if isinstance(address, str) and len(address) <= 254 and ADDRESS.fullmatch(address):
        return _ok("e-mail", "The e-mail address looks valid.")
    return _refused("e-mail", "The e-mail address cannot be right, and the permit is sent by mail.")


def _ok(check: str, says: str) -> Finding:
    return Finding(check, Weight.OK, says)


def _noted(check: str, says: str) -> Finding:
    return Finding(check, Weight.NOTED, says)


def _refused(check: str, says: str) -> Finding:
    return Finding(check, Weight.REFUSED, says)
