# SPDX-License-Identifier: Apache-2.0
"""What holds for every list: pages by cursor, and filters of which none is ever ignored."""

from __future__ import annotations

from base64 import b64encode
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from approvals.asking import create_request
from runs.services import start_run
from tests.contract.answers import json_of, pages, paths_of, problem
from tests.factories import PERMIT, founder, published
from tests.people import Api

pytestmark = pytest.mark.django_db

FILTERS = {
    "/acts/runs": "status, playbook, version, started_by, created_after, created_before, stalled, label",
    "/acts/tasks": "status, role, run, assignee, unresolved",
    "/acts/playbooks": "",
    "/hitl/requests": "status, priority, agent_id, workflow_id, request_type, role, run, order",
}
LISTS = list(FILTERS)


@pytest.fixture
def api(api_for, auditor) -> Api:
    """Of somebody who may see everything."""
    return api_for(auditor)


def fill(path: str, count: int, start: int = 0) -> None:
    """So many rows more in the list."""
    by = founder()
    for number in range(start, start + count):
        if path == "/acts/playbooks":
            published({**PERMIT, "id": f"permit_{number}"})
        elif path == "/hitl/requests":
            create_request(actor=by, role="human:police_liaison", title=f"Question {number}")
        else:
            start_run(actor=by, playbook="protest_permit", payload={"number": number})


def numbers(rows: list[dict[str, Any]]) -> list[Any]:
    return [row.get("run_id") if "current_step" not in row and "labels" in row else row["id"] for row in rows]


# Pages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", LISTS)
def test_an_empty_list_is_one_empty_page(api, path):
    assert json_of(api.get(path)) == {"results": [], "next": None, "previous": None}


@pytest.mark.parametrize("path", LISTS)
def test_pages_hold_every_row_once_newest_first_while_others_are_added(api, path):
    if path != "/acts/playbooks":
        published()
    fill(path, 7)
    existing = numbers(json_of(api.get(path))["results"])
    assert len(set(existing)) == len(existing) >= 7

    seen: list[Any] = []
    for turn, rows in enumerate(pages(api, path, limit=3)):
        assert len(rows) <= 3
        seen += numbers(rows)
        fill(path, 2, start=100 + 2 * turn)

    assert seen == existing


@pytest.mark.parametrize("path", LISTS)
def test_the_previous_page_is_the_one_before(api, path):
    if path != "/acts/playbooks":
        published()
    fill(path, 5)
    first = json_of(api.get(path, {"limit": 2}))
    assert first["previous"] is None
    second = json_of(api.get(first["next"]))

    back = json_of(api.get(second["previous"]))

    assert back["results"] == first["results"]
    assert json_of(api.get(back["next"]))["results"] == second["results"]


def test_the_links_keep_the_filters_and_the_limit(api):
    published()
    fill("/acts/runs", 5)
    first = json_of(api.get("/acts/runs", {"limit": 2, "status": ["running", "queued"], "label": "a:b"}))
    assert first["results"] == []

    first = json_of(api.get("/acts/runs", {"limit": 2, "status": ["running", "queued"], "playbook": "protest_permit"}))

    for part in ("limit=2", "status=running", "status=queued", "playbook=protest_permit"):
        assert part in first["next"]


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("limit", ["0", "-1", "201", "abc", "1.5", "1e1", "", "٣x", "9" * 5000])
def test_a_limit_that_cannot_be_is_refused(api, path, limit):
    assert paths_of(problem(api.get(path, {"limit": limit}), 422, "invalid")) == ["limit"]


def test_the_largest_limit_is_200(api):
    json_of(api.get("/acts/runs", {"limit": 200}))


def encoded(position: str) -> str:
    return b64encode(position.encode()).decode()


CURSORS = {
    "a word": "nonsense",
    "not base64": "%%%",
    "not ASCII": b64encode(b"\xff\xfe").decode(),
    "a position of words": encoded("p=nonsense"),
    "a position with NUL": encoded("p=%00"),
    "a position of a moment that is none": encoded("p=2025-13-45 00:00:00"),
    "an offset of words": encoded("o=x&p=5"),
}


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("name", CURSORS)
def test_a_cursor_of_ones_own_making_is_refused(api, path, name):
    published()

    document = problem(api.get(path, {"cursor": CURSORS[name]}), 422, "invalid")

    assert paths_of(document) == ["cursor"]


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("position", ["p=" + "9" * 400, "p=-1", "o=999999999999", "r=9&p=", "p=0001-01-01"])
def test_no_cursor_is_a_fault_of_ours(api, path, position):
    assert api.get(path, {"cursor": encoded(position)}).status_code in {200, 422}


# Filters ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", LISTS)
def test_an_unknown_filter_is_refused_and_the_known_ones_are_named(api, path):
    document = problem(api.get(path, {"statuss": "running"}), 422, "invalid")

    assert paths_of(document) == ["statuss"]
    known = ", ".join(filter(None, [FILTERS[path], "cursor, limit"]))
    assert document["errors"][0]["remedy"] == f"Known are {known}."


@pytest.mark.parametrize(
    ("path", "name"), [(path, name) for path, names in FILTERS.items() for name in names.split(", ") if name]
)
@pytest.mark.parametrize("value", ["", "\x00", "a\x00b"], ids=["empty", "NUL", "with NUL"])
def test_an_empty_or_impossible_filter_shows_nothing_at_all(api, path, name, value):
    assert paths_of(problem(api.get(path, {name: value}), 422, "invalid")) == [name]


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/acts/runs", "status=nonsense"),
        ("/acts/runs", "status=running&status=nonsense"),
        ("/acts/runs", "status=RUNNING"),
        ("/acts/runs", "version=one"),
        ("/acts/runs", "version=0"),
        ("/acts/runs", "version=1.5"),
        ("/acts/runs", "version=" + "9" * 30),
        ("/acts/runs", "created_after=yesterday"),
        ("/acts/runs", "created_after=2025-02-30T00:00:00Z"),
        ("/acts/runs", "created_after=2025-01-01T00:00:00+01:00"),
        ("/acts/runs", "created_after=0001-01-01T00:00:00%2B14:00"),
        ("/acts/runs", "created_before=9999-12-31T23:59:59-14:00"),
        ("/acts/runs", "stalled=perhaps"),
        ("/acts/runs", "stalled=1"),
        ("/acts/runs", "label=nocolon"),
        ("/acts/runs", "label=a:b&label=nocolon"),
        ("/acts/runs", "playbook=a&playbook=b"),
        ("/acts/tasks", "status=done"),
        ("/acts/tasks", "run=abc"),
        ("/acts/tasks", "run=-1"),
        ("/acts/tasks", "run=1e400"),
        ("/acts/tasks", "run=nan"),
        ("/acts/tasks", "assignee=me&assignee=you"),
        ("/acts/tasks", "unresolved=yes"),
        ("/hitl/requests", "status=open"),
        ("/hitl/requests", "priority=urgent"),
        ("/hitl/requests", "request_type=anything"),
        ("/hitl/requests", "run=99999999999999999999"),
    ],
)
def test_a_value_that_a_filter_cannot_have_is_refused_at_its_name(api, path, query):
    document = problem(api.get(f"{path}?{query}"), 422, "invalid")

    assert paths_of(document) == [query.partition("=")[0]]


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/acts/runs", "playbook=nowhere"),
        ("/acts/runs", "version=9223372036854775807"),
        ("/acts/runs", "started_by=" + "x" * 2000),
        ("/acts/runs", "label=" + quote('a"]:b')),
        ("/acts/runs", "label=a__regex:(a%2B)%2B$"),
        ("/acts/runs", "label=:"),
        ("/acts/tasks", "run=9223372036854775807"),
        ("/acts/tasks", "role=" + quote("'; DROP TABLE runs_run; --")),
        ("/hitl/requests", "agent_id=" + quote("%_\\")),
    ],
)
def test_a_value_that_nothing_has_shows_an_empty_list(api, path, query):
    published()
    fill("/acts/runs", 1)

    assert json_of(api.get(f"{path}?{query}"))["results"] == []


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/acts/runs", ["completed", "cancelled"]),
        ("/acts/tasks", ["completed", "cancelled"]),
        ("/hitl/requests", ["fulfilled", "cancelled"]),
    ],
)
def test_by_status_the_first_page_is_read_without_sorting_all_rows(api, path, words):
    with CaptureQueriesContext(connection) as seen:
        json_of(api.get(path, {"status": words}))

    (listing,) = [each["sql"] for each in seen if "LIMIT 51" in each["sql"]]
    assert all(f"'{word}'" in listing for word in words)
    assert "DISTINCT" not in listing
