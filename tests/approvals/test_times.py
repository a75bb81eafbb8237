# SPDX-License-Identifier: Apache-2.0
"""When a request is due, reminded of, escalated and over: by its policy's `time`, from the moment of asking."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals import calendars, time_checks, times
from approvals.calendars import WEEKDAYS
from approvals.times import Do, OnTimeout, Timetable, frozen
from playbooks.places import path_text

OFFICE = calendars.of_json(
    {"zone": "Europe/Berlin", "hours": {day: ["09:00-17:00"] for day in WEEKDAYS[:5]}, "holidays": []}
)
FRIDAY = datetime(2026, 3, 6, 15, 0, tzinfo=UTC)  # 16:00 in Berlin: an hour before the weekend


def on_friday(**time) -> Timetable:
    return frozen(time, FRIDAY)


def in_office(**time) -> Timetable:
    return frozen({"calendar": "office", **time}, FRIDAY, OFFICE)


def told(moment: datetime | None) -> str:
    return f"{moment:%a %H:%M}" if moment else ""


@pytest.mark.parametrize(
    ("written", "by_the_clock", "in_the_office"),
    [
        ("1h", "Fri 16:00", "Fri 16:00"),
        ("2h", "Fri 17:00", "Mon 09:00"),
        (7200, "Fri 17:00", "Mon 09:00"),
        ("1d", "Sat 15:00", "Mon 15:00"),
        ("P1DT1H", "Sat 16:00", "Mon 16:00"),
        ("2d", "Sun 15:00", "Tue 15:00"),
        ("1w", "Fri 15:00", "Fri 15:00"),
    ],
)
def test_a_length_is_counted_on_the_calendar_or_by_the_clock(written, by_the_clock, in_the_office):
    assert told(on_friday(due=written).due_at) == by_the_clock
    assert told(in_office(due=written).due_at) == in_the_office


@pytest.mark.parametrize(
    ("moment", "comes"),
    [("50%", "Fri 15:30"), ("100%", "Fri 16:00"), ("-15m", "Fri 15:45"), ("10m", "Fri 15:10"), (600, "Fri 15:10")],
)
def test_a_reminder_comes_after_a_share_before_the_deadline_or_after_the_asking(moment, comes):
    (rung,) = on_friday(due="1h", reminders=[moment]).rungs
    assert (rung.do, told(rung.at)) == (Do.REMIND, comes)


def test_a_share_of_working_time_is_working_time():
    (rung,) = in_office(due="4h", reminders=["75%"]).rungs
    assert told(rung.at) == "Mon 10:00"


def test_without_a_due_date_shares_count_to_the_end():
    (rung,) = on_friday(expires="4h", reminders=["50%"]).rungs
    assert told(rung.at) == "Fri 17:00"


def test_the_ladder_is_climbed_in_the_order_of_its_moments():
    table = on_friday(
        due="4h",
        expires="8h",
        follow_up="30m",
        reminders=["-1h", "50%"],
        escalation=[{"after": "75%", "add": "human:legal"}, {"after": "5h", "add": ["anna", "human:chief"]}],
        fallback="human:board",
    )
    assert [(told(rung.at), rung.do, rung.add) for rung in table.rungs] == [
        ("Fri 15:30", Do.REMIND, ()),
        ("Fri 17:00", Do.REMIND, ()),
        ("Fri 18:00", Do.REMIND, ()),
        ("Fri 18:00", Do.ESCALATE, ("human:legal",)),
        ("Fri 19:00", Do.FALL_BACK, ("human:board",)),
        ("Fri 20:00", Do.ESCALATE, ("anna", "human:chief")),
    ]
    assert (table.on_timeout, told(table.expires_at), told(table.follow_up_at)) == ("expire", "Fri 23:00", "Fri 15:30")
    assert told(table.next_at) == "Fri 15:30"


def test_a_fallback_that_the_end_leads_to_is_asked_at_the_end():
    table = on_friday(due="1h", expires="2h", fallback="human:board", on_timeout="reroute")
    assert (table.rungs, table.fallback) == ((), ("human:board",))


def test_nothing_said_is_no_deadline():
    assert frozen({}, FRIDAY) == Timetable()
    assert Timetable().next_at is None


def test_what_is_due_is_done_once():
    table = on_friday(due="1h", reminders=["50%", "-5m"])
    half_past = FRIDAY + timedelta(minutes=30)
    assert [told(rung.at) for rung in table.rungs_due(half_past)] == ["Fri 15:30"]
    after = times.climbed(table, half_past)
    assert after.rungs_due(half_past) == []
    assert told(after.next_at) == "Fri 15:55"


def test_a_paused_clock_leaves_as_much_working_time_as_there_was():
    table = in_office(due="4h", expires="8h", reminders=["75%"])
    monday_noon = datetime(2026, 3, 9, 11, 0, tzinfo=UTC)
    after = times.resumed(table, paused_at=FRIDAY + timedelta(minutes=30), at=monday_noon)
    # 3.5 h were left until it is due and 7.5 h until it ends.
    assert (told(after.due_at), told(after.expires_at)) == ("Mon 14:30", "Tue 10:30")
    assert told(after.rungs[0].at) == "Mon 13:30"


def test_a_deadline_that_had_passed_before_the_pause_stays_where_it_was():
    table = on_friday(due="1h", expires="3h")
    after = times.resumed(table, paused_at=FRIDAY + timedelta(hours=2), at=FRIDAY + timedelta(hours=10))
    assert (told(after.due_at), told(after.expires_at)) == ("Fri 16:00", "Sat 02:00")


def test_an_extension_moves_all_that_is_still_to_come():
    table = times.climbed(in_office(due="4h", expires="8h", reminders=["25%", "75%"]), FRIDAY + timedelta(hours=1))
    after = times.extended(table, timedelta(hours=2), at=FRIDAY + timedelta(hours=1))
    assert (told(after.due_at), told(after.expires_at)) == ("Mon 13:00", "Tue 09:00")
    assert [(told(rung.at), rung.done) for rung in after.rungs] == [("Fri 16:00", True), ("Mon 12:00", False)]


def test_a_rerouted_request_has_as_much_time_again_and_then_expires():
    table = in_office(due="2h", expires="4h", reminders=["50%"], fallback="human:board", on_timeout="reroute")
    assert table.expires_at is not None
    after = times.rerouted(table, table.expires_at)
    assert (told(after.due_at), told(after.expires_at)) == ("Mon 13:00", "Mon 15:00")
    assert (after.on_timeout, after.next_at) == (OnTimeout.EXPIRE, after.expires_at)


MINUTES = st.integers(1, 10_000).map(lambda minutes: timedelta(minutes=minutes))


@given(st.sampled_from([None, OFFICE]), st.integers(1, 40), MINUTES, MINUTES)
def test_a_pause_neither_takes_working_time_nor_gives_any(calendar, hours, before, lasted):
    table = frozen({"expires": f"{hours}h", "calendar": "office" if calendar else ""}, FRIDAY, calendar)
    assert table.expires_at is not None
    paused_at = min(FRIDAY + before, table.expires_at)
    at = paused_at + lasted
    after = times.resumed(table, paused_at=paused_at, at=at).expires_at
    assert after is not None
    if calendar is None:
        assert after - at == table.expires_at - paused_at
    else:
        assert calendars.between(calendar, at, after) == calendars.between(calendar, paused_at, table.expires_at)


@pytest.mark.parametrize("calendar", [None, OFFICE])
def test_what_is_stored_reads_as_it_was(calendar):
    time = {
        "calendar": "office" if calendar else "",
        "follow_up": "1h",
        "due": "1d",
        "expires": "2d",
        "reminders": ["50%"],
        "escalation": [{"after": "75%", "add": ["anna"]}],
        "fallback": {"after": "1d", "add": "human:board"},
        "on_timeout": "reject",
        "extend": "1d",
    }
    table = times.climbed(frozen(time, FRIDAY, calendar), FRIDAY + timedelta(hours=1))
    stored = times.as_json(table)
    read = times.of_json(stored, follow_up_at=table.follow_up_at, due_at=table.due_at, expires_at=table.expires_at)
    assert read == table
    assert times.of_json({}, follow_up_at=None, due_at=None, expires_at=None) == Timetable()


# What is wrong with it ------------------------------------------------------------------------------------

GOOD = {
    "calendar": "office",
    "follow_up": "1h",
    "due": "1d",
    "expires": "2d",
    "reminders": ["50%", "-PT1H", "90m", 600],
    "escalation": [{"after": "75%", "add": "human:legal"}, {"after": "-1h", "add": ["anna", "human:chief"]}],
    "fallback": "human:board",
    "on_timeout": "expire",
    "extend": "3d",
}


def test_a_whole_time_has_no_problem():
    assert list(time_checks.flaws(GOOD, known={"office": OFFICE})) == []
    assert list(time_checks.flaws({})) == []
    assert times.names_in(GOOD) == {"human:legal", "anna", "human:chief", "human:board"}


@pytest.mark.parametrize(
    ("wrong", "path", "said"),
    [
        ({"calender": "office"}, "calender", "no such field"),
        ({"calendar": 7}, "calendar", "no name"),
        ({"calendar": "shop"}, "calendar", "no calendar 'shop'"),
        ({"due": "soon"}, "due", "no length"),
        ({"due": True}, "due", "no length"),
        ({"due": 0}, "due", "no length"),
        ({"due": ["1h"]}, "due", "no length"),
        ({"expires": "1100d"}, "expires", "no length"),
        ({"due": "3d"}, "expires", "before `due`"),
        ({"follow_up": "2d", "due": "1d"}, "due", "before `follow_up`"),
        ({"reminders": "50%"}, "reminders", "no list"),
        ({"reminders": ["50%"] * 21}, "reminders", "no list"),
        ({"reminders": ["150%"]}, "reminders[0]", "no share"),
        ({"reminders": ["0%"]}, "reminders[0]", "no share"),
        ({"reminders": ["half"]}, "reminders[0]", "no moment"),
        ({"reminders": ["50%", None]}, "reminders[1]", "no moment"),
        ({"reminders": ["-2d"]}, "reminders[0]", "nothing has been asked yet"),
        ({"due": None, "expires": None, "on_timeout": None, "extend": None, "escalation": [], "fallback": None,
          "reminders": ["-1h"]},
         "reminders[0]", "no deadline"),
        ({"escalation": ["human:legal"]}, "escalation[0]", "does not say when"),
        ({"escalation": [{"after": "1h"}]}, "escalation[0]", "does not say when"),
        ({"escalation": [{"after": "1h", "add": "anna", "to": "ben"}]}, "escalation[0]", "does not say when"),
        ({"escalation": [{"after": "1h", "add": []}]}, "escalation[0].add", "nobody"),
        ({"escalation": [{"after": "1h", "add": "agent:bot"}]}, "escalation[0].add", "no role of people"),
        ({"escalation": [{"after": "1h", "add": [7]}]}, "escalation[0].add", "no name"),
        ({"fallback": {}}, "fallback", "does not say"),
        ({"fallback": "svc:x"}, "fallback", "no role of people"),
        ({"on_timeout": "explode"}, "on_timeout", "no end"),
        ({"on_timeout": "wait"}, "on_timeout", "waits for ever"),
        ({"on_timeout": "reject", "expires": None}, "on_timeout", "never times out"),
        ({"on_timeout": "reroute", "fallback": None}, "on_timeout", "to whom"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place_and_what_to_do(wrong, path, said):
    (found,) = time_checks.flaws({**GOOD, **wrong}, known={"office": OFFICE})
    assert (path_text(found.at), said in found.message) == (path, True)
    assert found.remedy


def test_an_extension_needs_something_to_extend():
    (found,) = time_checks.flaws({"extend": "1d"})
    assert (path_text(found.at), found.message) == ("extend", "There is no deadline to move.")


def test_a_time_that_is_no_mapping_is_told_so():
    (found,) = time_checks.flaws(["1h"])
    assert found.at == ()


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["1h", "50%", "-1h"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["after", "add"]), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(times.FIELDS), ANY))
def test_whatever_has_no_problem_can_be_frozen(time):
    if not list(time_checks.flaws({**time, "calendar": None})):
        table = frozen({**time, "calendar": None}, FRIDAY)

        ends = {"due": table.due_at, "expires": table.expires_at, "follow_up": table.follow_up_at}
        assert {name for name, moment in ends.items() if moment} == {name for name in ends if time.get(name)}
        assert all(moment >= FRIDAY for moment in ends.values() if moment)
