# SPDX-License-Identifier: Apache-2.0
"""`statistics`: a report over 1,000,000 requests takes at most three times as long as one over 10,000.

And the lists of the API, by status, priority and agent, over the million. What is open is the same in both: it is
bounded by what people can answer, not by the years.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from approvals import statistics, tallying
from approvals.models import ActionRequest, RequestState, RequestTally
from audit import triggers
from bench import figures, world
from config import clock

FEW, MANY = 10_000, 1_000_000
OPEN = 2_000
TIMES = 15
DAYS = 90
AGENTS = 20

_FILL = """
    INSERT INTO approvals_actionrequest (id, requester_id, role, request_type, title, description, severity, priority,
        revision, asked, required_fields, options, policy, eligible, stage, exchange, digest, question_digest, state,
        claim_token_hash, lapsed_token_hash, workflow_id, outcome, decided_how, decided_by_id, decided_at, notes,
        rejection_reason, reason_code, claimed_decider, created_at, updated_at, paused_seconds, next_check_at,
        tallied_as, timetable, extended_seconds)
    SELECT 'har_' || lpad(to_hex(n), 12, '0'), %(agent)s + n %% {agents}, 'human:panel',
        (ARRAY['api_key', 'legal_document', 'payment_authorization', 'custom'])[n %% 4 + 1], 'Question ' || n, '',
        'medium', n %% 4, 1, '{{}}', '{{}}', '[]', '{{}}', '[]', 0, '[]', repeat('0', 64), '', s.state, '', '', '',
        CASE WHEN s.decided THEN 'PASS' ELSE '' END, CASE WHEN s.decided THEN 'person' ELSE '' END,
        CASE WHEN s.decided THEN %(person)s END, CASE WHEN s.decided THEN c.at + (n %% 7200) * interval '1 second' END,
        '', '', '', '', c.at, c.at, 0, CASE WHEN s.open THEN c.at + interval '1 year' END, '', '{{}}', 0
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) n,
        LATERAL (SELECT %(now)s::timestamptz - (n %% {days}) * interval '1 day'
            - (n %% 86400) * interval '1 second' AS at) c,
        LATERAL (SELECT n <= %(open)s AS open) o,
        LATERAL (SELECT o.open, NOT o.open AND n %% 10 < 8 AS decided,
            CASE WHEN o.open THEN 'pending' WHEN n %% 10 < 8 THEN 'fulfilled' WHEN n %% 10 = 8 THEN 'expired'
                 ELSE 'cancelled' END AS state) s
"""


def main() -> None:
    world.migrate()
    people = world.people()
    agents = [world._user(f"asker-{number}", "agent") for number in range(AGENTS)]
    viewer = User.objects.get(username="author")
    fill(people, agents, 1, FEW)
    few = [_timed(lambda: statistics.report(viewer)) for _ in range(TIMES)]
    fill(people, agents, FEW + 1, MANY)
    many = [_timed(lambda: statistics.report(viewer)) for _ in range(TIMES)]
    with CaptureQueriesContext(connection) as seen:
        told = statistics.report(viewer)
    lists = {name: [_timed(read) for _ in range(TIMES)] for name, read in pages(agents[3]).items()}
    figures.finish(
        figures.Report(
            "statistics",
            bars=[
                figures.Bar(
                    f"a report over {MANY:,} requests", "ms", many, at_most=3.0,
                    other=figures.Other(f"over {FEW:,}", few),
                ),
                figures.Bar("a report", "statements", [float(len(seen))], at_most=19),
                *(figures.Bar(f"a page of {name}", "ms", took, at_most=50.0) for name, took in lists.items()),
            ],
            beside={"open": OPEN},
            faults=faults(told),
        )
    )  # fmt: skip


def fill(people: world.World, agents: list[User], first: int, last: int) -> None:
    """These requests, closed but for the first few, and counted."""
    given: dict[str, Any] = {
        "agent": agents[0].pk, "person": people.liaison.pk, "first": first, "last": last, "now": clock.now(),
        "open": OPEN,
    }  # fmt: skip
    with connection.cursor() as cursor, triggers.disabled():  # in life no request is born closed
        cursor.execute("SET statement_timeout = 0")
        cursor.execute(_FILL.format(agents=AGENTS, days=DAYS), given)
    while tallying.tally_closed(clock.now()):
        pass
    world.analyze()


def pages(agent: User) -> dict[str, Callable[[], object]]:
    """The first page of each list, by what narrows it, in both orders."""
    narrow: dict[str, dict[str, Any]] = {
        "status": {"state": RequestState.FULFILLED},
        "priority": {"priority": 1},
        "agent": {"requester": agent.pk},
    }
    wanted: dict[str, dict[str, Any]] = {"all": {}}
    for name, by in narrow.items():
        wanted |= {f"{had}+{name}": {**old, **by} for had, old in list(wanted.items())}

    def reading(by: dict[str, Any], order: tuple[str, str]) -> Callable[[], object]:
        return lambda: list(ActionRequest.objects.filter(**by).order_by(*order)[:51])

    orders = {"newest": ("-created_at", "-id"), "oldest": ("created_at", "id")}
    return {f"{name}, {word}": reading(by, order) for name, by in wanted.items() for word, order in orders.items()}


def _timed(read: Callable[[], object]) -> float:
    began = time.perf_counter()
    read()
    return 1000 * (time.perf_counter() - began)


def faults(told: dict[str, Any]) -> list[str]:
    wrong = [] if told["total_requests"] == MANY else [f"{told['total_requests']} requests of {MANY}"]
    left = ActionRequest.objects.exclude(state=RequestState.PENDING).filter(tallying.UNTALLIED).count()
    rows = RequestTally.objects.filter(scope="all").count()
    least = timedelta(days=DAYS).days
    return [*wrong, *([f"{left} are not counted"] if left else []), *([] if rows > least else [f"{rows} periods"])]
