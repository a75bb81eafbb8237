# SPDX-License-Identifier: Apache-2.0
"""The lists of requests are answered from an index, by any of status, priority and agent, in either order."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from approvals.models import ActionRequest, RequestState
from config import clock
from runs.models import LOOK_AGAIN
from tests.contract.answers import json_of
from tests.people import agent

pytestmark = pytest.mark.django_db

ROWS = 6_000
FILTERS = {"status": "pending", "priority": "high", "agent_id": "agent-3"}
CASES = [
    (chosen, order)
    for size in range(4)
    for chosen in itertools.combinations(FILTERS, size)
    for order in ("created_at", "-created_at")
]


@pytest.fixture(scope="module")
def many(shared_db: None) -> None:
    """Rows of all kinds, as the planner meets them: few of them open."""
    agents, start = [agent(f"agent-{number}") for number in range(8)], clock.now()
    rows = [
        ActionRequest(
            requester=agents[number // 4 % 8],
            role="human:reviewer",
            title=f"Question {number}",
            priority=number % 4,
            digest="0" * 64,
            created_at=start + timedelta(seconds=number),
            updated_at=start,
            next_check_at=start + LOOK_AGAIN,
        )
        for number in range(ROWS)
    ]
    ActionRequest.objects.bulk_create(rows, batch_size=500)
    for ended, state in enumerate((RequestState.CANCELLED, RequestState.EXPIRED, RequestState.NOT_REQUIRED), start=1):
        closed = [row.pk for number, row in enumerate(rows) if number // 32 % 7 in (ended, ended + 3)]
        ActionRequest.objects.filter(pk__in=closed).update(state=state, next_check_at=None)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def plan_of(sql: str) -> str:
    explain = "EXPLAIN " if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN "
    with connection.cursor() as cursor:
        cursor.execute(explain + sql)
        plan = "\n".join(" ".join(map(str, row)) for row in cursor.fetchall())
    return plan.split("CORRELATED")[0].split("SubPlan")[0]  # of the list itself, not of what each row is asked besides


def listing_of(seen: Any) -> str:
    (listing,) = [
        each["sql"]
        for each in seen
        if 'FROM "approvals_actionrequest"' in each["sql"] and "LIMIT" in each["sql"] and "COUNT" not in each["sql"]
    ]
    return str(listing)


@pytest.mark.parametrize(("chosen", "order"), CASES, ids=[f"{'+'.join(c) or 'all'} {o}" for c, o in CASES])
def test_a_page_is_read_from_an_index_in_its_order(api_for, auditor, many, chosen, order):
    api = api_for(auditor)
    query: dict[str, Any] = {"order": order, **{name: FILTERS[name] for name in chosen}}
    with CaptureQueriesContext(connection) as seen:
        found = json_of(api.get("/hitl/requests", query))["results"]

    assert len(found) > 10
    dates = [each["created_at"] for each in found]
    assert dates == sorted(dates, reverse=order.startswith("-"))
    for name, wanted in query.items():
        assert name == "order" or {each[name] for each in found} == {wanted}
    plan = plan_of(listing_of(seen))
    assert "Seq Scan on approvals_actionrequest" not in plan
    assert "request_" in plan, plan
    if len(chosen) < len(FILTERS):  # of all three a few rows are left, and to sort those costs nothing
        assert "Sort" not in plan, plan
        assert "TEMP B-TREE" not in plan, plan


def test_the_next_page_is_read_from_where_the_last_one_ended(api_for, auditor, many):
    api = api_for(auditor)
    first = json_of(api.get("/hitl/requests", {"status": "pending", "limit": 5}))
    with CaptureQueriesContext(connection) as seen:
        second = json_of(api.get(first["next"]))["results"]

    assert len(second) == 5
    assert "request_state_created" in plan_of(listing_of(seen))
