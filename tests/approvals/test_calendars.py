# SPDX-License-Identifier: Apache-2.0
"""Working time: what a calendar counts, by tables of cases and by properties that hold for every calendar."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals import calendars
from approvals.calendars import WEEKDAYS, Calendar, add, as_json, between, is_working, of_json, problems

OFFICE = {day: ["09:00-17:00"] for day in WEEKDAYS[:5]}
ALWAYS = {day: ["00:00-24:00"] for day in WEEKDAYS}


def calendar(zone="Europe/Berlin", hours=OFFICE, holidays=()) -> Calendar:
    return of_json({"zone": zone, "hours": hours, "holidays": list(holidays)})


def at(text: str, zone: str = "Europe/Berlin") -> datetime:
    """On the wall of that zone; `…+` is the second time that a clock set back shows it."""
    return datetime.fromisoformat(text.rstrip("+")).replace(tzinfo=ZoneInfo(zone), fold=int(text.endswith("+")))


def hours(count: float) -> timedelta:
    return timedelta(hours=count)


@pytest.mark.parametrize(
    ("asked", "length", "due"),
    [
        ("2026-03-04 10:00", 2, "2026-03-04 12:00"),  # a Wednesday
        ("2026-03-04 10:00", 7, "2026-03-04 17:00"),  # ends with the day, not on the next morning
        ("2026-03-04 10:00", 8, "2026-03-05 10:00"),
        ("2026-03-04 16:59", 1, "2026-03-05 09:59"),
        ("2026-03-04 17:00", 1, "2026-03-05 10:00"),  # shut at 17:00 sharp
        ("2026-03-04 06:00", 1, "2026-03-04 10:00"),  # before it opens
        ("2026-03-06 16:00", 2, "2026-03-09 10:00"),  # over a weekend
        ("2026-03-07 12:00", 1, "2026-03-09 10:00"),  # asked on a Saturday
        ("2026-12-24 16:00", 2, "2026-12-28 10:00"),  # 25 December is a holiday, then a weekend
        ("2026-03-27 16:00", 2, "2026-03-30 10:00"),  # over the night in which clocks go forward
        ("2026-10-23 16:00", 2, "2026-10-26 10:00"),  # over the night in which they go back
        ("2026-03-04 10:00", 0, "2026-03-04 10:00"),
        ("2026-03-07 10:00", 0, "2026-03-07 10:00"),
    ],
)
def test_working_hours_added_in_an_office(asked, length, due):
    office = calendar(holidays=["2026-12-25"])
    assert add(office, at(asked), hours(length)) == at(due)


@pytest.mark.parametrize(
    ("zone", "asked", "length", "due"),
    [
        ("America/New_York", "2026-03-04 10:00", 2, "2026-03-04 12:00"),
        ("Asia/Kolkata", "2026-03-06 16:30", 1, "2026-03-09 09:30"),  # half an hour beside the full hours of UTC
        ("Pacific/Kiritimati", "2026-03-06 16:00", 2, "2026-03-09 10:00"),  # fourteen hours before UTC
        ("Pacific/Apia", "2011-12-29 16:00", 2, "2012-01-02 10:00"),  # 30 December 2011 did not happen there
        ("Australia/Lord_Howe", "2026-04-03 16:00", 2, "2026-04-06 10:00"),  # clocks go back by half an hour
        ("UTC", "2026-03-04 10:00", 2, "2026-03-04 12:00"),
    ],
)
def test_the_clock_of_the_calendars_zone_counts(zone, asked, length, due):
    assert add(calendar(zone), at(asked, zone), hours(length)) == at(due, zone)


@pytest.mark.parametrize(
    ("night", "worked"),
    [
        # On 29 March 2026 Berlin's clocks skip 02:00 to 03:00; on 25 October they show 02:00 to 03:00 twice.
        (("2026-03-29 00:00", "2026-03-30 00:00"), 23),
        (("2026-10-25 00:00", "2026-10-26 00:00"), 25),
        (("2026-03-29 01:30", "2026-03-29 03:30"), 1),
        (("2026-10-25 01:30", "2026-10-25 03:30"), 3),
        (("2026-10-25 02:30", "2026-10-25 02:30+"), 1),
    ],
)
def test_a_night_shift_works_as_long_as_the_night_is(night, worked):
    assert between(calendar(hours=ALWAYS), *map(at, night)) == hours(worked)


@pytest.mark.parametrize(
    ("shift", "spring", "autumn"),
    [
        ("01:00-04:00", 2, 4),
        ("02:00-03:00", 0, 2),  # skipped altogether, and worked twice
        ("02:30-03:30", 0.5, 1.5),
        ("03:00-04:00", 1, 1),
    ],
)
def test_hours_that_the_clock_skips_are_not_worked_and_those_it_repeats_are_worked_twice(shift, spring, autumn):
    shifts = calendar(hours={"sunday": [shift]})
    assert between(shifts, at("2026-03-28 12:00"), at("2026-03-30 12:00")) == hours(spring)
    assert between(shifts, at("2026-10-24 12:00"), at("2026-10-26 12:00")) == hours(autumn)


def test_a_lunch_break_is_not_worked():
    halves = calendar(hours={day: ["09:00-12:00", "13:00-17:00"] for day in WEEKDAYS})
    assert add(halves, at("2026-03-04 11:00"), hours(2)) == at("2026-03-04 14:00")
    assert between(halves, at("2026-03-04 11:00"), at("2026-03-04 14:00")) == hours(2)
    assert halves.day == hours(7)


def test_hours_up_to_midnight_join_those_of_the_next_day():
    nights = calendar(hours={"friday": ["22:00-24:00"], "saturday": ["00:00-06:00"]})
    assert add(nights, at("2026-03-06 23:00"), hours(3)) == at("2026-03-07 02:00")


def test_a_day_is_worth_the_hours_of_a_mean_working_day():
    short_friday = calendar(hours={**{day: ["08:00-17:00"] for day in WEEKDAYS[:4]}, "friday": ["08:00-12:00"]})
    assert (short_friday.day, short_friday.a_week) == (hours(8), hours(40))


def test_working_time_that_never_comes_ends_where_nobody_looks_further():
    rarely = calendar(hours={"monday": ["09:00-09:01"]})
    asked = at("2026-03-04 10:00")
    assert add(rarely, asked, hours(1000)) == asked + calendars.LOOKED_AHEAD


# Properties -----------------------------------------------------------------------------------------------

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "Australia/Lord_Howe", "Asia/Gaza"]
SECONDS = st.integers(0, 21 * 365 * 86_400)
MOMENTS = SECONDS.map(lambda seconds: datetime(2009, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds))


@st.composite
def day_hours(draw) -> list[str]:
    marks = sorted(draw(st.sets(st.integers(0, 48), max_size=6)))
    spans = zip(marks[::2], marks[1::2], strict=False)
    return calendars.as_texts(tuple((start * 30, end * 30) for start, end in spans))


@st.composite
def any_calendar(draw) -> Calendar:
    week = draw(st.fixed_dictionaries({day: day_hours() for day in WEEKDAYS}).filter(lambda week: any(week.values())))
    days = draw(st.lists(st.dates(date(2009, 1, 1), date(2031, 1, 1)), max_size=20, unique=True))
    return calendar(draw(st.sampled_from(ZONES)), week, [day.isoformat() for day in days])


AMOUNTS = st.timedeltas(timedelta(0), timedelta(days=2))


@given(any_calendar(), MOMENTS, AMOUNTS)
def test_between_measures_what_was_added(each, start, amount):
    end = add(each, start, amount)
    assert end >= start
    if end < start + calendars.LOOKED_AHEAD:
        assert between(each, start, end) == amount


@given(any_calendar(), MOMENTS, AMOUNTS, AMOUNTS)
def test_adding_in_two_steps_is_adding_at_once(each, start, first, second):
    at_once = add(each, start, first + second)
    if at_once < start + calendars.LOOKED_AHEAD:
        assert add(each, add(each, start, first), second) == at_once


LENGTHS = st.timedeltas(timedelta(0), timedelta(days=60))


@given(any_calendar(), MOMENTS, LENGTHS, LENGTHS)
def test_working_time_of_two_stretches_is_that_of_both_together(each, early, first, second):
    middle, late = early + first, early + first + second
    assert between(each, early, middle) + between(each, middle, late) == between(each, early, late)
    assert timedelta(0) <= between(each, early, late) <= late - early


@given(any_calendar(), MOMENTS)
def test_a_second_counts_if_and_only_if_the_wall_clock_stands_within_the_hours(each, start):
    second = timedelta(seconds=1)
    assert between(each, start, start + second) == (second if is_working(each, start) else timedelta(0))


@given(any_calendar(), MOMENTS)
def test_all_that_is_counted_lies_on_a_working_day(each, start):
    end = add(each, start, timedelta(hours=1))
    if end == start + calendars.LOOKED_AHEAD:
        return
    local = (end - timedelta(microseconds=1)).astimezone(ZoneInfo(each.zone))
    assert local.date() not in each.holidays
    assert each.week[local.weekday()]


@given(any_calendar())
def test_a_calendar_reads_as_it_was_written(each):
    assert of_json(as_json(each)) == each
    stored = as_json(each)
    assert problems(stored["zone"], stored["hours"], stored["holidays"]) == []


@pytest.mark.parametrize("zone", ZONES)
def test_every_day_of_twenty_years_is_as_long_as_its_zone_says(zone):
    always = calendar(zone, ALWAYS)
    midnight = [
        datetime.combine(date(2010, 1, 1) + timedelta(days=number), time(), tzinfo=ZoneInfo(zone)).astimezone(UTC)
        for number in range(0, 7300, 73)
    ]
    for start, end in pairwise(midnight):
        assert between(always, start, end) == end - start


# What is wrong with a calendar ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_", "path", "said"),
    [
        ({"zone": "Mars/Olympus"}, "zone", "no time zone"),
        ({"zone": "../etc/passwd"}, "zone", "no time zone"),
        ({"hours": {}}, "hours", "no working hours"),
        ({"hours": {"monday": []}}, "hours", "no working hours"),
        ({"hours": {"funday": ["09:00-17:00"]}}, "hours.funday", "no day"),
        ({"hours": {"monday": ["9-17"]}}, "hours.monday", "no span"),
        ({"hours": {"monday": ["17:00-09:00"]}}, "hours.monday", "no span"),
        ({"hours": {"monday": ["09:00-25:00"]}}, "hours.monday", "no span"),
        ({"hours": {"monday": ["09:00-12:00", "11:00-14:00"]}}, "hours.monday", "overlap"),
        ({"hours": {"monday": ["13:00-14:00", "09:00-12:00"]}}, "hours.monday", "overlap"),
        ({"holidays": ["25.12.2026"]}, "holidays", "no date"),
        ({"holidays": ["20261225"]}, "holidays", "no date"),
        ({"holidays": ["2026-02-30"]}, "holidays", "no date"),
        ({"holidays": ["2026-01-01"] * 2001}, "holidays", "more than"),
    ],
)
def test_what_no_calendar_can_be_is_told_with_its_place(given_, path, said):
    whole = {"zone": "UTC", "hours": OFFICE, "holidays": [], **given_}
    (found,) = problems(whole["zone"], whole["hours"], whole["holidays"])
    assert found.path == path
    assert said in found.message
    assert found.remedy
