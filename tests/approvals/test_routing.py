# SPDX-License-Identifier: Apache-2.0
"""When and by which channel a person is told, as a table of zones, hours and wishes."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import pytest

from approvals.routing import MAIL_AFTER, Plan, Reach, Rhythm, Urgency, Wishes, awake, next_summary, plan

NIGHT = {"quiet_from": time(22), "quiet_until": time(7)}
BERLIN = Wishes(zone="Europe/Berlin", **NIGHT)
NEW_YORK = Wishes(zone="America/New_York", **NIGHT)
KOLKATA = Wishes(zone="Asia/Kolkata", **NIGHT)
LUNCH = Wishes(zone="Europe/Berlin", quiet_from=time(12), quiet_until=time(13, 30))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("wishes", "at", "until"),
    [
        (Wishes(), "2026-01-15 03:00", "2026-01-15 03:00"),
        (BERLIN, "2026-01-15 12:00", "2026-01-15 12:00"),
        (BERLIN, "2026-01-15 21:00", "2026-01-16 06:00"),  # 22:00 there, which is when it begins
        (BERLIN, "2026-01-15 20:59", "2026-01-15 20:59"),
        (BERLIN, "2026-01-15 03:00", "2026-01-15 06:00"),
        (BERLIN, "2026-01-15 06:00", "2026-01-15 06:00"),  # 07:00 there, which is when it ends
        (BERLIN, "2026-07-15 20:00", "2026-07-16 05:00"),  # in summer an hour earlier by UTC
        (NEW_YORK, "2026-01-15 04:00", "2026-01-15 12:00"),  # the evening before, there
        (NEW_YORK, "2026-01-15 20:00", "2026-01-15 20:00"),
        (KOLKATA, "2026-01-15 17:00", "2026-01-16 01:30"),  # a zone of half an hour
        (LUNCH, "2026-01-15 11:30", "2026-01-15 12:30"),
        (LUNCH, "2026-01-15 12:30", "2026-01-15 12:30"),
        # The night in which the clock is put forward (29 March 2026) is an hour shorter, the other an hour longer.
        (BERLIN, "2026-03-28 22:00", "2026-03-29 05:00"),
        (BERLIN, "2026-10-24 21:00", "2026-10-25 06:00"),
        (NEW_YORK, "2026-03-08 04:00", "2026-03-08 11:00"),
        # An end that the clock leaves out, and one that it shows twice.
        (Wishes("Europe/Berlin", time(22), time(2, 30)), "2026-03-29 00:00", "2026-03-29 01:30"),
        (Wishes("Europe/Berlin", time(22), time(2, 30)), "2026-10-25 00:10", "2026-10-25 00:30"),
        (Wishes("Europe/Berlin", time(22), time(2, 30)), "2026-10-25 01:10", "2026-10-25 01:30"),
    ],
)
def test_quiet_hours_end_by_the_clock_on_the_persons_own_wall(wishes, at, until):
    assert awake(wishes, utc(at)) == utc(until)


@pytest.mark.parametrize(
    ("wishes", "at", "sent"),
    [
        (Wishes(rhythm=Rhythm.HOURLY), "2026-01-15 09:20", "2026-01-15 10:00"),
        (Wishes(rhythm=Rhythm.HOURLY), "2026-01-15 09:00", "2026-01-15 10:00"),
        (Wishes(zone="Asia/Kolkata", rhythm=Rhythm.HOURLY), "2026-01-15 09:20", "2026-01-15 09:30"),
        (Wishes(rhythm=Rhythm.DAILY), "2026-01-15 08:59", "2026-01-15 09:00"),
        (Wishes(rhythm=Rhythm.DAILY), "2026-01-15 09:00", "2026-01-16 09:00"),
        (Wishes("Europe/Berlin", rhythm=Rhythm.DAILY), "2026-03-28 09:00", "2026-03-29 07:00"),
        (Wishes("Europe/Berlin", rhythm=Rhythm.DAILY), "2026-10-24 09:00", "2026-10-25 08:00"),
        # The clock shows 02:00 to 03:00 twice: two summaries; and then not at all: none.
        (Wishes("Europe/Berlin", rhythm=Rhythm.HOURLY), "2026-10-25 00:30", "2026-10-25 01:00"),
        (Wishes("Europe/Berlin", rhythm=Rhythm.HOURLY), "2026-10-25 01:30", "2026-10-25 02:00"),
        (Wishes("Europe/Berlin", rhythm=Rhythm.HOURLY), "2026-03-29 00:30", "2026-03-29 01:00"),
        # Never in somebody's quiet hours.
        (Wishes("Europe/Berlin", time(22), time(7), rhythm=Rhythm.HOURLY), "2026-01-15 20:30", "2026-01-16 06:00"),
    ],
)
def test_a_summary_comes_on_the_hour_or_at_the_time_of_day_that_was_chosen(wishes, at, sent):
    assert next_summary(wishes, utc(at)) == utc(sent)


DAY, EVENING = utc("2026-01-15 12:00"), utc("2026-01-15 22:00")  # 13:00 and 23:00 in Berlin
MORNING = utc("2026-01-16 06:00")
DAILY = Wishes("Europe/Berlin", time(22), time(7), rhythm=Rhythm.DAILY)
BOTH = Wishes("Europe/Berlin", time(22), time(7), Reach.BOTH)
SLACK = Wishes("Europe/Berlin", time(22), time(7), Reach.SLACK)
NINE = utc("2026-01-16 08:00")  # in Berlin


@pytest.mark.parametrize(
    ("urgency", "wishes", "has_slack", "at", "expected"),
    [
        (Urgency.NORMAL, BERLIN, False, DAY, Plan(mail_at=DAY)),
        (Urgency.NORMAL, BERLIN, False, EVENING, Plan(mail_at=MORNING)),
        (Urgency.HIGH, BERLIN, False, EVENING, Plan(mail_at=MORNING)),
        (Urgency.CRITICAL, BERLIN, False, EVENING, Plan(mail_at=EVENING)),
        (Urgency.NORMAL, DAILY, False, DAY, Plan(mail_at=NINE, in_summary=True)),
        (Urgency.HIGH, DAILY, False, DAY, Plan(mail_at=DAY)),
        (Urgency.CRITICAL, DAILY, False, EVENING, Plan(mail_at=EVENING)),
        (Urgency.NORMAL, BOTH, True, DAY, Plan(mail_at=DAY + MAIL_AFTER, slack_at=DAY)),
        (Urgency.NORMAL, BOTH, True, EVENING, Plan(mail_at=MORNING + MAIL_AFTER, slack_at=MORNING)),
        (Urgency.HIGH, BOTH, True, DAY, Plan(mail_at=DAY, slack_at=DAY)),
        (Urgency.NORMAL, SLACK, True, DAY, Plan(slack_at=DAY)),
        (Urgency.CRITICAL, SLACK, True, EVENING, Plan(mail_at=EVENING, slack_at=EVENING)),
        # Who has not linked an account, or whose Slack is off, is mailed whatever they wish.
        (Urgency.NORMAL, SLACK, False, DAY, Plan(mail_at=DAY)),
    ],
)
def test_grave_things_are_mailed_at_once_and_all_else_as_its_reader_wishes(urgency, wishes, has_slack, at, expected):
    assert plan(urgency, wishes, has_slack=has_slack, at=at) == expected


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"])
@pytest.mark.parametrize("rhythm", [Rhythm.HOURLY, Rhythm.DAILY])
def test_through_a_whole_year_nothing_is_sent_at_night_or_in_the_past(zone, rhythm):
    wishes = Wishes(zone, time(21, 45), time(6, 15), rhythm=rhythm, summary_at=time(2, 30))
    at = utc("2026-01-01 00:07")
    while at < utc("2027-01-01 00:00"):
        end, summary = awake(wishes, at), next_summary(wishes, at)
        assert end >= at
        assert awake(wishes, end) == end
        assert summary > at
        assert awake(wishes, summary) == summary
        at += timedelta(hours=3, minutes=11)
