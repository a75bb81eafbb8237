# SPDX-License-Identifier: Apache-2.0
"""The command line: taking back, what has happened, and what became of the requests."""

from __future__ import annotations

import json

import pytest

from hms_act import Retry, cli
from hms_act.cli import main
from tests.sdk.wire import Answer, problem

pytestmark = pytest.mark.usefixtures("environment", "_no_second_attempts")

ASKED = {
    "id": "7",
    "type": "hitl.request.created",
    "data": {
        "at": "2024-06-01T12:00:00Z",
        "actor": "validator",
        "result": "SUCCESS",
        "request_id": "har_1",
        "title": "Approve the plan",
    },
}
REFUSED = {
    "id": "9",
    "type": "hitl.request.decide_denied",
    "data": {"at": "2024-06-01T12:00:02Z", "actor": "clerk", "result": "DENIED", "code": "role_required", "run_id": 4},
}


@pytest.fixture
def _no_second_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "RETRY", Retry(attempts=1))


def page(*events: dict, after: str, more: bool = False) -> Answer:
    return Answer(200, {"results": list(events), "after": after, "more": more})


# --- cancel


def test_cancel_takes_a_question_back(wire, capsys):
    wire.answers("POST /hitl/requests/har_1/cancel", Answer(200, {"id": "har_1", "status": "cancelled"}))

    assert main(["cancel", "har_1", "--reason", "no longer needed"]) == 0

    assert wire.heard[0].body == {"reason": "no longer needed"}
    assert capsys.readouterr().out == "har_1: cancelled\n"


def test_cancel_cancels_a_run(wire, capsys):
    wire.answers("PATCH /acts/runs/9001/cancel", Answer(200, {"run_id": 9001, "status": "cancelling"}))

    assert main(["cancel", "9001"]) == 0

    assert wire.heard[0].body == {}
    assert capsys.readouterr().out == "Run 9001: cancelling\n"


def test_what_is_decided_is_not_taken_back(wire, capsys):
    wire.answers("POST /hitl/requests/har_1/cancel", problem(409, "already_decided", "amina decided this."))

    assert main(["cancel", "har_1"]) == 1

    assert capsys.readouterr().err == "hms-act: amina decided this.\n"


# --- events


def test_events_tells_what_has_happened_from_the_beginning_to_the_end_of_the_log(wire, capsys):
    wire.answers("GET /acts/events", page(ASKED, after="7", more=True), page(REFUSED, after="12"))

    assert main(["events"]) == 0

    assert [heard.query["after"] for heard in wire.heard] == ["0", "7"]
    assert {heard.query["wait"] for heard in wire.heard} == {"0"}
    assert capsys.readouterr().out == (
        "7  2024-06-01 12:00:00  hitl.request.created  validator  har_1  Approve the plan\n"
        "9  2024-06-01 12:00:02  hitl.request.decide_denied  clerk  refused (role_required)  run 4\n"
    )


def test_events_asks_for_what_it_is_told_to(wire):
    wire.answers("GET /acts/events", page(after="7"))
    command = "events --after 7 --type hitl.request.created --type run.* --run 4 --request har_39a1528657a7"

    assert main(command.split()) == 0

    asked = {"after": "7", "type": ["hitl.request.created", "run.*"], "run_id": "4", "request_id": "har_39a1528657a7"}
    assert wire.heard[0].query == {**asked, "wait": "0"}


def test_events_follows_from_now_on_until_it_is_refused(wire, capsys):
    end = problem(401, "not_authenticated", "The key was revoked.")
    wire.answers("GET /acts/events", page(after="6"), page(ASKED, after="7"), page(after="7"), end)

    assert main(["events", "--follow", "--json"]) == 1

    assert [heard.query["after"] for heard in wire.heard] == ["now", "6", "7", "7"]
    assert [heard.query.get("wait") for heard in wire.heard] == [None, "30", "30", "30"]
    captured = capsys.readouterr()
    assert [json.loads(line) for line in captured.out.splitlines()] == [ASKED]
    assert captured.err.startswith("hms-act: The key was revoked.")


def test_a_follower_that_was_interrupted_goes_on_where_it_was(wire):
    wire.answers("GET /acts/events", page(ASKED, after="7"), problem(403, "forbidden", "Enough."))

    assert main(["events", "--follow", "--after", "5"]) == 1

    assert [heard.query["after"] for heard in wire.heard] == ["5", "7"]


def test_what_others_wrote_stays_on_its_line(wire, capsys):
    hostile = {**ASKED, "data": {**ASKED["data"], "title": "A\x1b[2J\nB"}}
    wire.answers("GET /acts/events", page(hostile, after="7"))

    assert main(["events"]) == 0

    assert capsys.readouterr().out.endswith("har_1  A<U+001B>[2J B\n")


@pytest.mark.parametrize("place", ["now", "-1", "\u0661"])
def test_a_place_is_a_number(capsys, place):
    assert main(["events", f"--after={place}"]) == 2

    assert "is not the id of an event" in capsys.readouterr().err


# --- statistics

SPREAD = {"p50": 312.5, "p90": 7200.0, "p95": 172_800.0, "average": 42.0, "count": 311}
PART = {"times": {"view": {"wall": None}, "claim": {}, "decide": {"wall": SPREAD, "working": None}}}
REPORT = {
    "period": "2025-11",
    "uncounted": 0,
    "total_requests": 352,
    "open": 12,
    "pending": 9,
    "by_status": {"pending": 9, "expired": 0},
    "by_priority": {"high": 352},
    "by_type": {"api_key": 352},
    **PART,
    "shares": {"sla_met": 0.97, "undone": None},
    "by_role": {"human:reviewer": {"open": 12, **PART}},
    "by_agent": {},
}


def test_statistics_tells_totals_times_and_shares(wire, capsys):
    wire.answers("GET /hitl/statistics", Answer(200, REPORT))

    assert main(["statistics", "--period", "2025-11"]) == 0

    assert wire.heard[0].query == {"period": "2025-11"}
    assert capsys.readouterr().out == (
        "352 requests of 2025-11: 12 open, 9 of them untouched\n"
        "\n"
        "STATUS   REQUESTS\npending  9\n"
        "\n"
        "PRIORITY  REQUESTS\nhigh      352\n"
        "\n"
        "TYPE     REQUESTS\napi_key  352\n"
        "\n"
        "UNTIL    P50      P90    P95    AVERAGE  REQUESTS\n"
        "decided  5.2 min  2.0 h  2.0 d  42.0 s   311\n"
        "\n"
        "SHARE    OF THEM\nsla met  97.0%\n"
        "\n"
        "ROLE            OPEN  DECIDED IN (P50)\nhuman:reviewer  12    5.2 min\n"
    )


def test_statistics_prints_json_and_says_what_is_not_counted_yet(wire, capsys):
    wire.always("GET /hitl/statistics", Answer(200, {**REPORT, "uncounted": 3, "by_person": {"amina": PART}}))

    assert main(["statistics", "--people", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["uncounted"] == 3
    assert main(["statistics", "--people"]) == 0

    assert wire.heard[1].query == {"people": "true"}
    said = capsys.readouterr().out
    assert "(3 more are not counted yet)" in said
    assert said.endswith("PERSON  DECIDED IN (P50)\namina   5.2 min\n")
