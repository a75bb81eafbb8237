# SPDX-License-Identifier: Apache-2.0
"""When and by which channel a person is told: a pure function of how grave it is and what they wish.

- High and critical are mailed at once; critical also in the middle of somebody's quiet hours.
- All else keeps out of quiet hours, and its mails wait for the summary of whoever has asked for one.
- Who has linked Slack is told there first; with both channels the mail follows ten minutes later, if still needed.

Quiet hours and summaries are by the clock on the person's own wall, on the days when it is put forward or back, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

MAIL_AFTER = timedelta(minutes=10)  # behind the message in Slack
A_DAY = timedelta(days=1)


class Urgency(StrEnum):
    NORMAL = "normal"
    HIGH = "high"  # mailed at once, but not at night
    CRITICAL = "critical"  # mailed at once


class Reach(StrEnum):
    MAIL = "mail"
    SLACK = "slack"
    BOTH = "both"


class Rhythm(StrEnum):
    AT_ONCE = "at_once"
    HOURLY = "hourly"
    DAILY = "daily"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person has chosen. Without quiet hours both ends are None; they may reach over midnight."""

    zone: str = "UTC"
    quiet_from: time | None = None
    quiet_until: time | None = None
    reach: Reach = Reach.MAIL
    rhythm: Rhythm = Rhythm.AT_ONCE
    summary_at: time = time(9)  # of the day, on the person's clock


@dataclass(frozen=True, slots=True)
class Plan:
    mail_at: datetime | None = None
    in_summary: bool = False  # the mail is a line of the summary sent then
    slack_at: datetime | None = None


@cache
def zones() -> frozenset[str]:
    """The names of the time zones that this machine knows."""
    return frozenset(available_timezones())


def plan(urgency: Urgency, wishes: Wishes, *, has_slack: bool, at: datetime) -> Plan:
    """How to tell somebody what is to be told from `at` on."""
    start = at if urgency == Urgency.CRITICAL else awake(wishes, at)
    reach = wishes.reach if has_slack else Reach.MAIL
    slack_at = start if reach != Reach.MAIL else None
    if urgency != Urgency.NORMAL:
        return Plan(mail_at=start, slack_at=slack_at)
    if reach == Reach.SLACK:
        return Plan(slack_at=slack_at)
    if wishes.rhythm != Rhythm.AT_ONCE:
        return Plan(mail_at=next_summary(wishes, at), in_summary=True, slack_at=slack_at)
    if reach == Reach.BOTH:
        return Plan(mail_at=awake(wishes, start + MAIL_AFTER), slack_at=slack_at)
    return Plan(mail_at=start)


def awake(wishes: Wishes, at: datetime) -> datetime:
    """`at`, or the end of the quiet hours that it falls into."""
    begin, end = wishes.quiet_from, wishes.quiet_until
    if begin is None or end is None or begin == end:
        return at
    local = at.astimezone(ZoneInfo(wishes.zone))
    now = local.time()
    over_midnight = begin > end
    is_quiet = (now >= begin or now < end) if over_midnight else begin <= now < end
    if not is_quiet:
        return at
    day = local.date() + (A_DAY if over_midnight and now >= begin else timedelta(0))
    return _moment(day.year, day.month, day.day, end, wishes.zone, after=at)


def next_summary(wishes: Wishes, at: datetime) -> datetime:
    """When the first summary after `at` is sent: on the full hour or at the chosen time of day, never at night."""
    local = at.astimezone(ZoneInfo(wishes.zone))
    if wishes.rhythm == Rhythm.HOURLY:
        # By elapsed time: an hour that the clock shows twice has two summaries, one that it leaves out has none.
        into = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        return awake(wishes, at - into + timedelta(hours=1))
    day = local.date() + (A_DAY if local.time() >= wishes.summary_at else timedelta(0))
    return awake(wishes, _moment(day.year, day.month, day.day, wishes.summary_at, wishes.zone, after=at))


def _moment(year: int, month: int, day: int, wall: time, zone: str, *, after: datetime) -> datetime:
    """When the clock of the zone shows this, as UTC. A time that it shows twice is the first that is still to come;
    one that it leaves out is as long after the change as it would have been after the hour before."""
    first, second = (
        datetime(year, month, day, wall.hour, wall.minute, wall.second, tzinfo=ZoneInfo(zone), fold=fold)
        for fold in (0, 1)
    )
    found = first.astimezone(UTC)
    return found if found > after else second.astimezone(UTC)
