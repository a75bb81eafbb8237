# SPDX-License-Identifier: Apache-2.0
"""What became of the requests: totals, times, shares. Read from the tallies, and from what they have not counted yet.

The number of statements and their cost depend on what is open and on what closed a moment ago, not on how many requests
there ever were. The tallies may be added to while a report reads them: then it reads again.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, Q, QuerySet
from drf_spectacular.utils import OpenApiParameter

from accounts.models import User
from approvals.models import OPEN_REQUESTS, ActionRequest, RequestState, RequestTally, RequestType
from approvals.tallying import (
    AGENT,
    ALL,
    LEDGER,
    PERSON,
    ROLE,
    UNTALLIED,
    added,
    closed,
    merged,
    seconds_of,
)
from config import clock
from config.errors import Forbidden, Invalid, Problem
from runs.models import Priority

VIEW, PEOPLE = "approvals.view_statistics", "approvals.person_statistics"
PERIOD_WORDS = re.compile(r"(\d{4}(-\d{2}(-\d{2})?)?)?", re.ASCII)
MOST_NAMES = 50  # of roles, agents and people, the largest
MOST_UNCOUNTED = 2_000  # closed requests that a report counts itself; beyond that it says how many are missing
READS = 3
MEASURES = ("view", "claim", "decide")
PERCENTS = (50, 90, 95)
KNOWN = ("period", "people")
PRIORITIES = [name.lower() for name in Priority.names]


@dataclass
class Read:
    """What is known of a period: for each scope and name its figures, and what is open."""

    figures: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    open: list[Mapping[str, Any]] = field(default_factory=list)  # state, request_type, priority, role, agent, number
    uncounted: int = 0


def asked_for(query: Any) -> dict[str, Any]:
    """`period` ("" for all time, or a year, month or day of UTC) and `people` of a query. Raises Invalid."""
    problems = [
        Problem(name, "is not known here", "Known are period, people.") for name in query if name not in KNOWN
    ] + [Problem(name, "is given more than once") for name in query if len(query.getlist(name)) > 1]
    if query.get("people", "false") not in ("true", "false"):
        problems.append(Problem("people", "is neither true nor false"))
    if problems:
        raise Invalid(f"The filter {problems[0].path} {problems[0].message}.", errors=problems)
    return {"period": judged_period(query.get("period", "")), "people": query.get("people") == "true"}


def judged_period(period: str) -> str:
    """Raises Invalid."""
    if not PERIOD_WORDS.fullmatch(period) or not _days_of(period):
        remedy = "Write 2025, 2025-11 or 2025-11-03; leave it out for all time."
        raise Invalid("The period is none.", errors=[Problem("period", "is no year, month or day", remedy)])
    return period


def _days_of(period: str) -> tuple[datetime, datetime] | None:
    """From (inclusive) until; None for what no calendar has."""
    if not period:
        return datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    year, month, day = (int(part) for part in (period + "-00-00")[:10].split("-"))
    try:
        since = datetime(year, month or 1, day or 1, tzinfo=UTC)
        if day:
            return since, since + timedelta(days=1)
        return since, datetime(year + (month in (0, 12)), month % 12 + 1 if month else 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def report(user: User, *, period: str = "", people: bool = False) -> dict[str, Any]:
    """The statistics of a period as this user may see them.

    With `approvals.view_statistics` of all requests, by role and agent; else of those the user asked, and of the user's
    roles. `people` adds those who decided often enough; raises Forbidden without `approvals.person_statistics`.
    """
    sees_all = user.has_perm(VIEW)
    if people and not (sees_all and user.has_perm(PEOPLE)):
        raise Forbidden(f"Figures of single people need the permissions {VIEW} and {PEOPLE}.")
    found = _read(period, None if sees_all else user, with_people=people)
    whole = (ALL, "") if sees_all else (AGENT, str(user.pk))
    mine = [row for row in found.open if sees_all or row["requester"] == user.pk]
    return {
        "scope": "all" if sees_all else "own",
        "period": period,
        "as_of": clock.now().isoformat().replace("+00:00", "Z"),
        "uncounted": found.uncounted,
        **_totals(found.figures.get(whole, {}), mine),
        "by_role": _named(found, ROLE, lambda row: row["role"], only=None if sees_all else user.roles),
        "by_agent": _by_agent(found) if sees_all else {},
        **({"by_person": _by_person(found)} if people else {}),
    }


# Reading --------------------------------------------------------------------------------------------------


def _read(period: str, own: User | None, *, with_people: bool) -> Read:
    """All of it as of one moment: what is counted in between is read again."""
    for _ in range(READS):
        before = _folds()
        found = _read_once(period, own, with_people=with_people)
        if _folds() == before:
            break
    return found


def _folds() -> int:
    ledger = RequestTally.objects.filter(**LEDGER).values_list("figures", flat=True).first()
    return int((ledger or {}).get("folds", 0))


def _read_once(period: str, own: User | None, *, with_people: bool) -> Read:
    scopes = (ROLE, AGENT, *((PERSON,) if with_people else ()))
    rows: list[RequestTally] = []
    if own is None:
        rows += RequestTally.objects.filter(scope=ALL, name="", period=period)
        for scope in scopes:
            rows += RequestTally.objects.filter(scope=scope, period=period).order_by("-count")[:MOST_NAMES]
    else:
        mine = Q(scope=AGENT, name=str(own.pk)) | Q(scope=ROLE, name__in=own.roles)
        rows += RequestTally.objects.filter(mine, period=period)
    found = Read({(row.scope, row.name): row.figures for row in rows})
    _add_uncounted(found, period, own)
    found.open = list(_open(period, own))
    return found


def _add_uncounted(found: Read, period: str, own: User | None) -> None:
    rows = list(_of(closed().filter(UNTALLIED), period, own).order_by("id")[: MOST_UNCOUNTED + 1])
    if len(rows) > MOST_UNCOUNTED:
        found.uncounted = _of(closed().filter(UNTALLIED), period, own).order_by().count() - MOST_UNCOUNTED
    changes, _ = added(rows[:MOST_UNCOUNTED])
    for (scope, name, within), change in changes.items():
        if within == period and (own is None or _is_for(own, scope, name)):
            merged(found.figures.setdefault((scope, name), {}), change)


def _is_for(own: User, scope: str, name: str) -> bool:
    return (scope, name) == (AGENT, str(own.pk)) or (scope == ROLE and name in own.roles)


def _open(period: str, own: User | None) -> Iterable[Mapping[str, Any]]:
    rows = _of(ActionRequest.objects.filter(state__in=OPEN_REQUESTS), period, own).order_by()
    return rows.values("state", "request_type", "priority", "role", "requester").annotate(number=Count("pk"))


def _of(requests: QuerySet[Any], period: str, own: User | None) -> QuerySet[Any]:
    if own is not None:
        requests = requests.filter(Q(requester=own.pk) | Q(role__in=own.roles))
    days = _days_of(period) if period else None
    return requests.filter(created_at__gte=days[0], created_at__lt=days[1]) if days else requests


# Telling --------------------------------------------------------------------------------------------------


def _totals(figures: Mapping[str, Any], open_rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    rows = list(open_rows)
    whole = figures.get("all", {})
    by_status = dict.fromkeys(RequestState.values, 0) | _whole_numbers(whole.get("status", {}))
    by_type = dict.fromkeys(RequestType.values, 0) | _sizes(figures.get("type", {}))
    by_priority = dict.fromkeys(PRIORITIES, 0) | _sizes(figures.get("priority", {}))
    for row in rows:
        by_status[row["state"]] += row["number"]
        by_type[row["request_type"]] += row["number"]
        by_priority[Priority(row["priority"]).name.lower()] += row["number"]
    hours = _average(whole, "decide")
    return {
        "total_requests": sum(by_status.values()),
        "pending": by_status[RequestState.PENDING],
        "open": sum(by_status[state] for state in OPEN_REQUESTS),
        "by_status": by_status,
        "by_priority": by_priority,
        "by_type": by_type,
        "average_response_hours": None if hours is None else round(hours / 3600, 4),
        **_told(whole),
        "types": {name: _told(part) for name, part in sorted(figures.get("type", {}).items()) if _size(part)},
        "priorities": {name: _told(part) for name, part in sorted(figures.get("priority", {}).items()) if _size(part)},
    }


def _told(part: Mapping[str, Any]) -> dict[str, Any]:
    """Times and shares of one part."""
    return {"closed": _size(part), "times": {name: _times(part, name) for name in MEASURES}, "shares": _shares(part)}


def _times(part: Mapping[str, Any], measure: str) -> dict[str, Any]:
    """Seconds, by the clock on the wall and in working time."""
    return {"wall": _spread(part, measure), "working": _spread(part, f"{measure}_working")}


def _spread(part: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    buckets = sorted((int(bucket), number) for bucket, number in part.get("lengths", {}).get(name, {}).items())
    total = sum(number for _, number in buckets)
    if total <= 0:
        return None
    average = _average(part, name)
    spread = {f"p{percent}": round(_percentile(buckets, total, percent), 3) for percent in PERCENTS}
    return {**spread, "average": round(average or 0.0, 3), "count": total}


def _percentile(buckets: list[tuple[int, int]], total: int, percent: int) -> float:
    """The least length that so many of a hundred do not go beyond, to within half a bucket."""
    wanted, seen = total * percent / 100, 0
    for bucket, number in buckets:
        seen += number
        if seen >= wanted:
            return seconds_of(bucket)
    return seconds_of(buckets[-1][0])


def _average(part: Mapping[str, Any], name: str) -> float | None:
    number = sum(part.get("lengths", {}).get(name, {}).values())
    return part.get("milliseconds", {}).get(name, 0) / 1000 / number if number else None


def _shares(part: Mapping[str, Any]) -> dict[str, float | None]:
    numbers, status, size = part.get("numbers", {}), part.get("status", {}), _size(part)
    decided, due = numbers.get("decided", 0), numbers.get("met", 0) + numbers.get("missed", 0)
    return {
        "sla_met": _share(numbers.get("met", 0), due),
        "timed_out": _share(status.get(RequestState.EXPIRED, 0), size),
        "revised": _share(numbers.get("revised", 0), size),
        "overridden": _share(numbers.get("overridden", 0), decided),
        "undone": _share(numbers.get("undone", 0), decided),
    }


def _share(some: int, of: int) -> float | None:
    return round(some / of, 4) if of else None


def _size(part: Mapping[str, Any]) -> int:
    return int(sum(part.get("status", {}).values()))


def _sizes(parts: Mapping[str, Any]) -> dict[str, int]:
    return {name: _size(part) for name, part in parts.items()}


def _whole_numbers(given: Mapping[str, Any]) -> dict[str, int]:
    return {name: int(number) for name, number in given.items()}


def _named(found: Read, scope: str, name_of: Any, only: Collection[str] | None = None) -> dict[str, Any]:
    """By role or agent: what is open and what became of the rest."""
    opened: dict[str, int] = {}
    for row in found.open if only is None else [row for row in found.open if name_of(row) in only]:
        opened[name_of(row)] = opened.get(name_of(row), 0) + row["number"]
    parts = {name: figures.get("all", {}) for (kind, name), figures in found.figures.items() if kind == scope}
    names = [name for name in dict.fromkeys([*parts, *opened]) if opened.get(name) or _size(parts.get(name, {}))]
    return {name: {"open": opened.get(name, 0), **_told(parts.get(name, {}))} for name in sorted(names)}


def _by_agent(found: Read) -> dict[str, Any]:
    return _with_names(_named(found, AGENT, lambda row: str(row["requester"])))


def _by_person(found: Read) -> dict[str, Any]:
    """Those who have decided so often that their figures say something, and tell of no single decision."""
    parts = {name: figures.get("all", {}) for (kind, name), figures in found.figures.items() if kind == PERSON}
    least = settings.PERSON_STATISTICS_MINIMUM
    enough = {name: part for name, part in parts.items() if part.get("numbers", {}).get("decided", 0) >= least}
    return _with_names({name: _told(part) for name, part in enough.items()})


def _with_names(by_number: Mapping[str, Any]) -> dict[str, Any]:
    usernames = dict(User.objects.filter(pk__in=[int(number) for number in by_number]).values_list("pk", "username"))
    return {usernames[int(number)]: told for number, told in by_number.items()}


# For the description of the API ---------------------------------------------------------------------------

PERIOD = OpenApiParameter(
    "period",
    {"type": "string", "pattern": r"^([0-9]{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01]))?)?)?$"},
    description="A year, month or day (UTC): of the requests made in it. Empty, or without it: of all.",
)
PEOPLE_TOO = OpenApiParameter(
    "people", {"type": "string", "enum": ["true", "false"]}, description="Also who decided; needs a permission."
)
_SPREAD = {"p50": 312.5, "p90": 1260.0, "p95": 2040.0, "average": 498.2, "count": 311}
_PART = {
    "closed": 340,
    "times": {name: {"wall": _SPREAD, "working": None} for name in MEASURES},
    "shares": {"sla_met": 0.97, "timed_out": 0.01, "revised": 0.04, "overridden": 0.06, "undone": 0.0},
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["scope", "period", "as_of", "total_requests", "pending", "by_status", "by_priority", "by_type"],
    "additionalProperties": True,
    "properties": {
        "scope": {"type": "string", "enum": ["all", "own"]},
        "total_requests": {"type": "integer"},
        "pending": {"type": "integer"},
        "open": {"type": "integer"},
        "average_response_hours": {"type": ["number", "null"]},
        **{name: {"type": "object", "additionalProperties": {"type": "integer"}} for name in
           ("by_status", "by_priority", "by_type")},
    },
}  # fmt: skip
EXAMPLE: dict[str, Any] = {
    "scope": "all",
    "period": "2025-11",
    "as_of": "2025-11-03T14:00:01.250000Z",
    "uncounted": 0,
    "total_requests": 352,
    "pending": 9,
    "open": 12,
    "by_status": dict.fromkeys(RequestState.values, 0)
    | {"pending": 9, "in_review": 3, "fulfilled": 320, "rejected": 16, "expired": 4},
    "by_priority": {"critical": 2, "high": 50, "medium": 270, "low": 30},
    "by_type": dict.fromkeys(RequestType.values, 0) | {"payment_authorization": 352},
    "average_response_hours": 0.1384,
    **_PART,
    "types": {"payment_authorization": _PART},
    "priorities": {"high": _PART},
    "by_role": {"human:reviewer": {"open": 12, **_PART}},
    "by_agent": {"validator": {"open": 12, **_PART}},
}
