# SPDX-License-Identifier: Apache-2.0
"""Counting what became of requests, once each, so that a report need not read them all.

A request is counted when it has closed, by the sweep, in all time, in its year, month and day (of its creation, in
UTC), each for all requests, for its role, for its agent, and for the person who decided. What the sweep has not counted
yet is read as it stands (`approvals/statistics.py`), so that reports are exact however late the sweep is; an approval
taken back is uncounted and counted again. Why no trigger: it would make every decision wait for the same few rows.

Figures are `{"all": part, "type": {name: part}, "priority": {name: part}}`. A part holds counts, sums, and for each
length of time a histogram whose buckets are 5 % wide: percentiles are off by half of that, and sums are exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet

from approvals import calendars
from approvals.models import (
    OPEN_REQUESTS,
    ActionRequest,
    Decided,
    RequestState,
    RequestTally,
    Revision,
)
from runs.models import Priority

BATCH = 500
MOST_BATCHES = 10  # in one sweep
ALL, ROLE, AGENT, PERSON = "all", "role", "agent", "person"
LEDGER: dict[str, Any] = {"scope": ALL, "name": "", "period": ""}  # its row is locked by whoever counts
STEP = math.log(1.05)
LEAST_SECONDS = 0.1
BY_PEOPLE = (Decided.PERSON, Decided.BREAK_GLASS)

Part = dict[str, Any]
Key = tuple[str, str, str]  # scope, name, period


@dataclass(frozen=True, slots=True)
class Fact:
    """What the statistics say of one closed request, in the state under which it is counted."""

    state: str
    request_type: str
    priority: str
    role: str
    agent: int
    person: int | None
    created_at: datetime
    lengths: Mapping[str, float]  # seconds until it was viewed, claimed, decided; also in working time, where known
    is_decided: bool
    met_due: bool | None  # None where nothing was due
    revisions: int  # beside the first
    is_overridden: bool  # a person decided otherwise than was proposed: rejected it, or changed it first

    def places(self, *, days_only: bool = False) -> Iterator[Key]:
        """The figures that it is counted in."""
        scopes = [(ALL, ""), (ROLE, self.role), (AGENT, str(self.agent))]
        if self.person is not None:
            scopes.append((PERSON, str(self.person)))
        for scope, name in scopes:
            yield from ((scope, name, period) for period in periods_of(self.created_at)[3 if days_only else 0 :])


def periods_of(at: datetime) -> tuple[str, ...]:
    """All time, the year, the month, the day."""
    return "", f"{at:%Y}", f"{at:%Y-%m}", f"{at:%Y-%m-%d}"


def bucket_of(seconds: float) -> int:
    return math.floor(math.log(max(seconds, LEAST_SECONDS) / LEAST_SECONDS) / STEP)


def seconds_of(bucket: int) -> float:
    """The middle of a bucket, in proportion."""
    return LEAST_SECONDS * math.exp((bucket + 0.5) * STEP)


# Figures --------------------------------------------------------------------------------------------------


def count(figures: dict[str, Any], fact: Fact, sign: int = 1) -> None:
    """Add one request to the figures, or take it out again."""
    named = (("type", fact.request_type), ("priority", fact.priority))
    parts = [figures.setdefault("all", {})]
    parts += [figures.setdefault(what, {}).setdefault(name, {}) for what, name in named]
    for part in parts:
        _count(part, fact, sign)


def _count(part: Part, fact: Fact, sign: int) -> None:
    _add(part, "status", fact.state, sign)
    numbers = {
        "decided": fact.is_decided,
        "overridden": fact.is_overridden,
        "undone": fact.is_decided and fact.state == RequestState.SUPERSEDED,
        "revised": fact.revisions > 0,
        "revisions": fact.revisions,
        "met": fact.met_due is True,
        "missed": fact.met_due is False,
    }
    for name, number in numbers.items():
        if number:
            _add(part, "numbers", name, sign * int(number))
    for name, seconds in fact.lengths.items():
        _add(part.setdefault("lengths", {}), name, str(bucket_of(seconds)), sign)
        _add(part, "milliseconds", name, sign * round(1000 * seconds))


def _add(part: Part, group: str, name: str, number: int) -> None:
    within = part.setdefault(group, {})
    within[name] = within.get(name, 0) + number


def merged(into: dict[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers added, place by place."""
    for name, value in other.items():
        if isinstance(value, Mapping):
            merged(into.setdefault(name, {}), value)
        else:
            into[name] = into.get(name, 0) + value
    return into


# The facts of a request -----------------------------------------------------------------------------------


def closed() -> QuerySet[ActionRequest]:
    edited = Revision.objects.filter(request=OuterRef("pk"), number__gt=1, made_by__isnull=False)
    return (
        ActionRequest.objects.exclude(state__in=OPEN_REQUESTS)
        .annotate(was_edited=Exists(edited.exclude(made_by=OuterRef("requester"))))
        .only(
            "id", "state", "tallied_as", "request_type", "priority", "role", "requester", "decided_by", "decided_how",
            "decided_at", "created_at", "first_viewed_at", "first_claimed_at", "due_at", "revision", "timetable",
        )
    )  # fmt: skip


UNTALLIED = ~Q(tallied_as=F("state"))


def fact_of(request: Any, state: str = "") -> Fact:
    """`request` is one of `closed()`; `state` another that it was counted in."""
    state = state or request.state
    by_person = request.decided_how in BY_PEOPLE
    return Fact(
        state=state,
        request_type=request.request_type,
        priority=Priority(request.priority).name.lower(),
        role=request.role,
        agent=request.requester_id,
        person=request.decided_by_id if by_person else None,
        created_at=request.created_at,
        lengths=dict(_lengths(request)),
        is_decided=request.decided_at is not None,
        met_due=_met_due(request, state),
        revisions=request.revision - 1,
        is_overridden=by_person and (state == RequestState.REJECTED or request.was_edited),
    )


def _lengths(request: Any) -> Iterator[tuple[str, float]]:
    moments = {"view": request.first_viewed_at, "claim": request.first_claimed_at}
    if request.decided_how in BY_PEOPLE:
        moments["decide"] = request.decided_at
    for name, moment in moments.items():
        if moment is not None:
            yield name, max(0.0, (moment - request.created_at).total_seconds())
            working = working_seconds(request, moment)
            if working is not None:
                yield f"{name}_working", working


def working_seconds(request: Any, until: datetime) -> float | None:
    """By the calendar that the request was made on; None where it has none."""
    stored = (request.timetable or {}).get("calendar")
    if not stored:
        return None
    return calendars.between(calendars.of_json(stored), request.created_at, until).total_seconds()


def _met_due(request: Any, state: str) -> bool | None:
    if request.due_at is None:
        return None
    if request.decided_at is not None:
        return bool(request.decided_at <= request.due_at)
    return False if state == RequestState.EXPIRED else None


# The sweep ------------------------------------------------------------------------------------------------


def tally_closed(now: datetime) -> int:
    """Count what has closed since, in batches. Returns how many requests; 0 while another process is at it."""
    done = 0
    for _ in range(MOST_BATCHES):
        counted = _tally_batch()
        done += counted
        if counted < BATCH:
            break
    return done


def _tally_batch() -> int:
    if not ActionRequest.objects.exclude(state__in=OPEN_REQUESTS).filter(UNTALLIED).exists():
        return 0
    RequestTally.objects.get_or_create(**LEDGER)
    with transaction.atomic():
        ledger = RequestTally.objects.select_for_update(skip_locked=True).filter(**LEDGER).first()
        if ledger is None:
            return 0
        rows = list(closed().filter(UNTALLIED).select_for_update(of=("self",), skip_locked=True).order_by("id")[:BATCH])
        changes, counts = added(rows)
        _write(changes, counts)
        ActionRequest.objects.filter(pk__in=[row.pk for row in rows]).update(tallied_as=F("state"))
    return len(rows)


def added(rows: Iterable[Any]) -> tuple[dict[Key, dict[str, Any]], dict[Key, int]]:
    """What these requests add to which figures, and how many requests to each.

    Counted by the day, and the days then added up: a request is in four figures of a day and in sixteen in all.
    """
    changes: dict[Key, dict[str, Any]] = {}
    counts: dict[Key, int] = {}
    for row in rows:
        again = [(row.tallied_as, -1)] if row.tallied_as else []
        for state, sign in [*again, (row.state, 1)]:
            fact = fact_of(row, state)
            for key in fact.places(days_only=True):
                count(changes.setdefault(key, {}), fact, sign)
                counts[key] = counts.get(key, 0) + sign
    for (scope, name, day), change in list(changes.items()):
        for period in ("", day[:4], day[:7]):
            longer = (scope, name, period)
            merged(changes.setdefault(longer, {}), change)
            counts[longer] = counts.get(longer, 0) + counts[scope, name, day]
    return changes, counts


def _write(changes: Mapping[Key, Mapping[str, Any]], counts: Mapping[Key, int]) -> None:
    """In the transaction that holds the ledger. Its `folds` says how often this has happened."""
    wanted = Q()
    for scope, name, period in changes:
        wanted |= Q(scope=scope, name=name, period=period)
    there = {(row.scope, row.name, row.period): row for row in RequestTally.objects.filter(wanted)} if changes else {}
    new = []
    for key, change in changes.items():
        row = there.get(key)
        if row is None:
            scope, name, period = key
            row = RequestTally(scope=scope, name=name, period=period)
            new.append(row)
        row.figures = cleaned(merged(row.figures, change))
        row.count += counts[key]
        if key == (ALL, "", ""):
            row.figures["folds"] = row.figures.get("folds", 0) + 1
    RequestTally.objects.bulk_create(new)
    RequestTally.objects.bulk_update(there.values(), ["figures", "count"])


def cleaned(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Without zeros, so that figures which say the same are equal."""
    found: dict[str, Any] = {}
    for name, value in figures.items():
        value = cleaned(value) if isinstance(value, Mapping) else value
        if value:
            found[name] = value
    return found


@dataclass(slots=True)
class Recount:
    """What the tallies would be if they were made anew, for tests and for operators who doubt them."""

    figures: dict[Key, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def made(cls) -> Recount:
        found = cls()
        for row in closed().iterator(chunk_size=BATCH):
            fact = fact_of(row)
            for key in fact.places():
                count(found.figures.setdefault(key, {}), fact)
        found.figures = {key: cleaned(figures) for key, figures in found.figures.items()}
        return found
