# SPDX-License-Identifier: Apache-2.0
"""The command line: what each command sends and shows, what it remembers, and how it ends."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hms_act import Client, Retry, __version__, cli
from hms_act.cli import main
from tests.sdk.wire import DROPPED, Answer, Wire, claimed, problem, task_body

RUN = {
    "run_id": 9001,
    "playbook": "protest_permit",
    "version": 1,
    "status": "running",
    "current_step": "Human-Approve",
    "steps": {
        "AI-Screen": {"status": "completed", "outcome": "PASS", "output": None, "attempts": 2},
        "Human-Approve": {"status": "awaiting_approval", "outcome": None, "output": None, "attempts": 1},
    },
    "log": [
        {"t": "2024-06-01T12:00:01Z", "step": "AI-Screen", "status": "done"},
        {"t": "2024-06-01T12:00:02Z", "step": "Human-Approve", "status": "waiting"},
    ],
}
REQUEST = {
    "id": "har_39a1528657a7",
    "title": "Approve the crowd-control plan",
    "role": "human:police_liaison",
    "priority": "high",
    "status": "pending",
    "created_at": "2024-06-01T12:00:00Z",
}
STARTED = Answer(202, {"run_id": 9001, "status": "queued"})

pytestmark = pytest.mark.usefixtures("environment", "_no_second_attempts")


@pytest.fixture
def _no_second_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "RETRY", Retry(attempts=1))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state" / "hms-act"


# --- runs


def test_run_starts_a_run(wire, capsys):
    wire.answers("POST /acts/run", STARTED)

    code = main(["run", "protest_permit", "--payload", '{"form_id": 123}', "--version", "2", "--label", "team=east"])

    assert (code, capsys.readouterr().out) == (0, "Run 9001: queued\n")
    sent = {"playbook": "protest_permit", "payload": {"form_id": 123}, "version": 2, "labels": {"team": "east"}}
    assert wire.heard[0].body == sent


def test_run_takes_a_playbooks_number_and_a_payload_from_a_file_or_standard_input(wire, tmp_path, monkeypatch):
    wire.always("POST /acts/run", STARTED)
    (tmp_path / "payload.json").write_text('{"license_id": 123}')
    monkeypatch.setattr("sys.stdin", io.StringIO('{"license_id": 124}'))

    assert main(["run", "7", "--payload", f"@{tmp_path}/payload.json"]) == 0
    assert main(["run", "7", "--payload", "@-"]) == 0

    assert [heard.body for heard in wire.heard] == [
        {"protocol_id": 7, "payload": {"license_id": 123}},
        {"protocol_id": 7, "payload": {"license_id": 124}},
    ]


@pytest.mark.parametrize(("status", "code"), [("completed", 0), ("failed", 1), ("cancelled", 1), ("terminated", 1)])
def test_run_waits_for_the_end_and_tells_it_by_its_exit_code(wire, capsys, status, code):
    wire.answers("POST /acts/run", STARTED)
    wire.answers("GET /acts/runs/9001", Answer(200, {**RUN, "status": status}))

    assert main(["run", "protest_permit", "--wait"]) == code

    assert capsys.readouterr().out == f"Run 9001: {status}\n"


def test_show_prints_steps_and_log_as_aligned_tables(wire, capsys):
    wire.answers("GET /acts/runs/9001", Answer(200, RUN))

    assert main(["show", "9001"]) == 0

    assert capsys.readouterr().out == (
        "Run 9001: protest_permit v1, running\n"
        "\n"
        "STEP           STATUS             OUTCOME  ATTEMPTS\n"
        "AI-Screen      completed          PASS     2\n"
        "Human-Approve  awaiting_approval           1\n"
        "\n"
        "TIME                  STEP           STATUS\n"
        "2024-06-01T12:00:01Z  AI-Screen      done\n"
        "2024-06-01T12:00:02Z  Human-Approve  waiting\n"
    )


def test_what_others_wrote_cannot_move_the_cursor_or_reorder_the_line(wire, capsys):
    hostile = {**REQUEST, "title": "Harmless\x1b[2J\u202egnp.exe\nhar_0  low"}
    wire.answers("GET /hitl/requests", Answer(200, {"results": [hostile], "next": None}))

    assert main(["inbox"]) == 0

    out = capsys.readouterr().out
    assert "Harmless<U+001B>[2J<U+202E>gnp.exe har_0 low\n" in out
    assert len(out.splitlines()) == 2


# --- tasks


def test_show_tells_items_incidents_and_child_runs(wire, capsys):
    line = {"status": "incident", "outcome": None, "attempts": 1, "items": {"completed": 3, "incident": 1}}
    incident = {"task": 31, "step": "a", "path": "each[1]/a", "reason": "Broken: it is broken"}
    started = {"run_id": 9002, "path": "sub", "status": "running"}
    more = {"steps": {"a": line}, "incidents": [incident], "parent_run": 8, "child_runs": [started]}
    wire.answers("GET /acts/runs/9001", Answer(200, {**RUN, **more}))

    assert main(["show", "9001"]) == 0

    out = capsys.readouterr().out
    assert "running (started by run 8)" in out
    assert "3 completed, 1 incident" in out
    assert "31        each[1]/a  Broken: it is broken" in out
    assert "9002       sub    running" in out


# --- what stops a run, moves it, and puts it right


def test_terminate_ends_a_run_with_a_reason(wire, capsys):
    wire.answers("PATCH /acts/runs/9001/terminate", Answer(200, {"run_id": 9001, "status": "terminated"}))

    assert main(["terminate", "9001", "--reason", "a mistake"]) == 0

    assert wire.heard[0].body == {"reason": "a mistake"}
    assert capsys.readouterr().out == "Run 9001: terminated\n"


def test_signal_sends_what_is_given(wire, capsys):
    wire.always("POST /acts/runs/9001/signals/paid", Answer(200, {"run_id": 9001, "status": "running"}))

    assert main(["signal", "9001", "paid", "--data", '{"amount": "40.00"}']) == 0
    assert main(["signal", "9001", "paid"]) == 0

    assert [heard.body for heard in wire.heard] == [{"data": {"amount": "40.00"}}, {}]
    assert capsys.readouterr().out.splitlines()[0] == "Run 9001: paid was sent; running"


STUCK = task_body(
    status="incident",
    path="each[1]/AI-Screen",
    ended_at="2024-06-01T12:00:00Z",
    error_type="Timeout",
    error_message="No answer.",
)


def test_incidents_lists_what_waits_for_an_operator(wire, capsys):
    wire.answers("GET /acts/tasks", Answer(200, {"results": [STUCK], "next": None}))

    assert main(["incidents", "--run", "9001", "--role", "agent:validator"]) == 0

    query = {"status": "incident", "unresolved": "true", "run": "9001", "role": "agent:validator"}
    assert wire.heard[0].query == query
    header, line = capsys.readouterr().out.splitlines()
    assert header.split() == ["TASK", "RUN", "WHERE", "SINCE", "(UTC)", "WHY"]
    told = ["31", "9001", "each[1]/AI-Screen", "2024-06-01 12:00", "Timeout: No answer."]
    assert [cell.strip() for cell in line.split("  ") if cell] == told


def test_no_incident_says_so(wire, capsys):
    wire.answers("GET /acts/tasks", Answer(200, {"results": [], "next": None}))

    assert main(["incidents"]) == 0

    assert capsys.readouterr().out == "Nothing waits for an operator\n"


@pytest.mark.parametrize(("how", "said"), [("retry", "tried again"), ("skip", "left out"), ("fail", "let fail")])
def test_resolve_puts_an_incident_right(wire, capsys, how, said):
    wire.answers("POST /acts/tasks/31/resolve", Answer(200, STUCK))

    assert main(["resolve", "31", how, "--reason", "by hand"]) == 0

    assert wire.heard[0].body == {"resolution": how, "reason": "by hand"}
    assert capsys.readouterr().out == f"Task 31: {said}\n"


def test_next_claims_a_task_and_complete_ends_it_in_another_process_without_a_token(wire, capsys, state):
    wire.answers("POST /acts/tasks/next", claimed())
    wire.answers("POST /acts/tasks/31/complete", Answer(200, task_body()))

    assert main(["next", "agent:validator", "--wait", "5"]) == 0
    assert main(["complete", "31", "--outcome", "PASS", "--note", "checked", "--output", '{"risk": "low"}']) == 0

    assert wire.heard[0].body == {"role": "agent:validator", "wait": 5}
    sent = {"token": "token-31", "outcome": "PASS", "output": {"risk": "low"}, "note": "checked"}
    assert wire.heard[1].body == sent
    out = capsys.readouterr().out
    assert out.startswith("Task 31: AI-Screen\n")
    assert '  payload      {"form_id": 123}\n' in out
    assert out.endswith("Task 31: PASS\n")
    assert "token-31" not in out


def test_what_is_remembered_can_be_read_by_its_owner_alone(wire, state):
    wire.answers("POST /acts/tasks/next", claimed())
    before = os.umask(0)
    try:
        main(["next", "agent:validator"])
    finally:
        os.umask(before)

    (file,) = state.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


def test_without_xdg_state_home_it_is_remembered_under_the_home_directory(wire, environment, tmp_path):
    environment.delenv("XDG_STATE_HOME")
    environment.setenv("HOME", str(tmp_path))
    wire.answers("POST /acts/tasks/next", claimed())

    main(["next", "agent:validator"])

    assert len(list((tmp_path / ".config" / "hms-act").iterdir())) == 1


def test_a_token_is_never_sent_to_another_server(wire, environment):
    wire.answers("POST /acts/tasks/next", claimed())
    main(["next", "agent:validator"])
    other = Wire()
    other.answers("POST /acts/tasks/31/complete", Answer(200, task_body()))

    main(["--url", other.url, "complete", "31", "--outcome", "PASS"])

    assert "token" not in other.heard[0].body
    other.close()


def test_tokens_of_last_week_are_forgotten(wire, state):
    wire.answers("POST /acts/tasks/next", claimed(31), claimed(32))
    main(["next", "agent:validator"])
    (old,) = state.iterdir()
    os.utime(old, (time.time() - 8 * 86_400,) * 2)

    main(["next", "agent:validator"])

    assert [file.name.rsplit("-", 1)[1] for file in state.iterdir()] == ["32.json"]


def test_next_says_that_there_is_no_task(wire, capsys):
    wire.answers("POST /acts/tasks/next", Answer(204), Answer(204))

    assert main(["next", "agent:validator", "--wait", "0"]) == 0
    assert main(["next", "agent:validator", "--wait", "0", "--json"]) == 0

    assert capsys.readouterr().out == "No task for agent:validator\nnull\n"


# --- requests


def test_inbox_lists_what_waits_for_a_person(wire, capsys):
    wire.answers("GET /hitl/requests", Answer(200, {"results": [REQUEST], "next": None}))

    assert main(["inbox"]) == 0

    query = {"status": ["pending", "in_review"], "order": "created_at"}  # what a colleague reviews still waits
    assert wire.heard[0].query == query
    assert capsys.readouterr().out == (
        "REQUEST           PRIORITY  ROLE                  SINCE (UTC)       TITLE\n"
        "har_39a1528657a7  high      human:police_liaison  2024-06-01 12:00  Approve the crowd-control plan\n"
    )


def test_an_empty_inbox_says_so(wire, capsys):
    wire.answers("GET /hitl/requests", Answer(200, {"results": [], "next": None}))

    assert main(["inbox"]) == 0

    assert capsys.readouterr().out == "Nothing is waiting\n"


def read(etag: str) -> Answer:
    return Answer(200, {**REQUEST, "id": "har_1"}, {"ETag": etag})


READ = "GET /hitl/requests/har_1"
FULFILL, REJECT = (f"POST /hitl/requests/har_1/{act}" for act in ("fulfill", "reject"))
FULFILLED, REJECTED = (Answer(200, {"id": "har_1", "status": state}) for state in ("fulfilled", "rejected"))
STALE = problem(409, "stale_revision", 'It changed since you read it: its ETag is "2-pending" now.')


def test_approve_fulfils_a_request_as_it_reads_it(wire, capsys):
    wire.answers(READ, read('"2-pending"'))
    wire.answers(FULFILL, FULFILLED)

    assert main(["approve", "har_1", "--note", "Plan is sound.", "--data", '{"stewards": 12}', "--revision", "2"]) == 0

    sent = {"response_data": {"stewards": 12}, "notes": "Plan is sound.", "revision": 2}
    assert (wire.heard[1].body, wire.heard[1].headers["if-match"]) == (sent, '"2-pending"')
    assert capsys.readouterr().out == "har_1: fulfilled\n"


def test_reject_rejects_a_request_as_it_reads_it_with_a_reason(wire, capsys):
    wire.answers(READ, read('"1-pending"'))
    wire.answers(REJECT, REJECTED)

    assert main(["reject", "har_1", "--reason", "No stewards."]) == 0

    assert (wire.heard[1].body, wire.heard[1].headers["if-match"]) == ({"reason": "No stewards."}, '"1-pending"')
    assert capsys.readouterr().out == "har_1: rejected\n"


def test_show_prints_all_that_a_request_asks(wire, capsys):
    asked = {
        **REQUEST,
        "id": "har_1",
        "revision": 2,
        "run_id": 9001,
        "agent_id": "validator",
        "description": "Two streets are closed.\nThe bridge is not.",
        "required_fields": {"stewards": "How many stewards?"},
        "options": [{"key": "LATER"}],
        "context": {"crowd": 250},
        "response_data": {"api_key": "sk-secret"},
    }
    wire.answers(READ, Answer(200, asked, {"ETag": '"2-pending"'}))

    assert main(["show", "har_1"]) == 0

    assert capsys.readouterr().out == (
        "Request har_1: Approve the crowd-control plan\n"
        "  status       pending\n"
        "  revision     2\n"
        "  run          9001\n"
        "  role         human:police_liaison\n"
        "  asked by     validator\n"
        "  since (UTC)  2024-06-01 12:00\n"
        "  priority     high\n"
        "  description  Two streets are closed. The bridge is not.\n"
        '  fields       {"stewards": "How many stewards?"}\n'
        '  options      [{"key": "LATER"}]\n'
        '  context      {"crowd": 250}\n'
    )


@pytest.mark.parametrize(
    ("command", "call", "answer"),
    [
        (["approve", "har_1"], FULFILL, FULFILLED),
        (["reject", "har_1", "--reason", "No stewards."], REJECT, REJECTED),
    ],
)
def test_a_request_is_decided_as_it_was_shown_and_not_as_it_has_become(wire, capsys, command, call, answer):
    wire.answers(READ, read('"1-pending"'), read('"2-pending"'))
    wire.answers(call, STALE, STALE, answer)
    main(["show", "har_1"])

    assert [main(command), main(command)] == [1, 1]
    main(["show", "har_1"])
    assert main(command) == 0

    assert [heard.headers["if-match"] for heard in wire.calls(call)] == ['"1-pending"', '"1-pending"', '"2-pending"']
    said = "hms-act: har_1 has changed since it was read: hms-act show har_1, then decide again\n"
    assert capsys.readouterr().err == said * 2


def test_once_decided_a_request_is_no_longer_remembered(wire, state):
    wire.answers(READ, read('"1-pending"'), read('"1-fulfilled"'))
    wire.answers(FULFILL, FULFILLED, problem(409, "already_decided", "You decided this already."))
    main(["show", "har_1"])
    (file,) = state.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    assert main(["approve", "har_1"]) == 0

    assert list(state.iterdir()) == []
    assert main(["approve", "har_1"]) == 1
    assert wire.heard[-1].headers["if-match"] == '"1-fulfilled"'


# --- playbooks


@pytest.mark.parametrize(
    ("name", "text", "content_type", "id"),
    [
        ("a.yaml", "# permits\nid: protest_permit\ntasks: []\n", "application/yaml", "protest_permit"),
        ("b.yml", 'id: "protest_permit" # quoted\n', "application/yaml", "protest_permit"),
        ("licence.yaml", "tasks:\n  - id: fetch_data\n", "application/yaml", "licence"),
        ("c.json", '{"id": "CensusDailyUpdate", "tasks": []}', "application/json", "CensusDailyUpdate"),
        ("renewal.json", '{"tasks": []}', "application/json", "renewal"),
    ],
)
def test_push_stores_a_file_as_it_is_and_publishes_it(wire, capsys, tmp_path, name, text, content_type, id):
    (tmp_path / name).write_text(text)
    version = {"version": 1, "state": "draft", "digest": "d"}
    wire.answers("POST /acts/playbooks/validate", Answer(200, {"valid": True, "publishable": True}))
    wire.answers("POST /acts/playbooks", Answer(201, {"id": id, "versions": [version]}))
    wire.answers(f"GET /acts/playbooks/{id}/versions/1", Answer(200, version, {"ETag": '"d-draft"'}))
    warning = {"code": "role_missing", "path": "steps[0].role", "message": "Nobody has the role.", "remedy": "Mend it."}
    published = {"version": 1, "state": "published", "warnings": [warning]}
    wire.answers(f"POST /acts/playbooks/{id}/versions/1/publish", Answer(200, published))

    assert main(["playbooks", "push", str(tmp_path / name)]) == 0

    stored = wire.calls("POST /acts/playbooks")[0]
    assert (stored.text, stored.headers["content-type"], stored.query) == (text, content_type, {"id": id})
    out = capsys.readouterr().out
    assert out == f"{id} version 1: published (new)\nwarning: steps[0].role: Nobody has the role. Mend it.\n"


JUDGED = {
    "valid": True,
    "errors": [{"code": "no_such_step", "path": "steps[0].when", "line": 3, "message": "No.", "remedy": "Mend it."}],
    "warnings": [{"code": "role_missing", "path": "steps[0].role", "message": "Nobody.", "remedy": "Make it."}],
}


@pytest.mark.parametrize(("publishable", "code"), [(True, 0), (False, 1)])
def test_validate_tells_each_finding_with_place_remedy_and_code(wire, capsys, tmp_path, publishable, code):
    (tmp_path / "p.yaml").write_text("tasks: []\n")
    wire.answers("POST /acts/playbooks/validate", Answer(200, {**JUDGED, "publishable": publishable}))

    assert main(["playbooks", "validate", str(tmp_path / "p.yaml")]) == code

    (sent,) = wire.calls("POST /acts/playbooks/validate")
    assert (sent.text, sent.headers["content-type"]) == ("tasks: []\n", "application/yaml")
    assert capsys.readouterr().out.splitlines() == [
        "error: line 3, steps[0].when: No. Mend it. [no_such_step]",
        "warning: steps[0].role: Nobody. Make it. [role_missing]",
        "It can be published." if publishable else "It cannot be published.",
    ]


def test_push_can_leave_a_draft(wire, capsys, tmp_path):
    (tmp_path / "p.yaml").write_text("tasks: []\n")
    answer = {"id": "permit", "versions": [{"version": 1, "state": "draft", "digest": "d"}]}
    wire.answers("POST /acts/playbooks", Answer(201, answer))

    assert main(["playbooks", "push", str(tmp_path / "p.yaml"), "--no-publish", "--id", "permit"]) == 0

    assert capsys.readouterr().out == "permit version 1: draft (new)\n"


def test_push_tells_every_error_of_a_document_on_a_line_of_its_own(wire, capsys, tmp_path):
    (tmp_path / "p.json").write_text("not json")
    errors = [
        {"path": "", "line": 1, "message": "This is not JSON.", "remedy": "Look for a missing comma."},
        {"path": "steps[1].role", "message": "This role is unknown.", "remedy": ""},
    ]
    wire.answers("POST /acts/playbooks/validate", Answer(200, {"valid": False, "errors": errors}))

    assert main(["playbooks", "push", str(tmp_path / "p.json")]) == 1

    assert capsys.readouterr().err == (
        "hms-act: The playbook is not valid\n"
        "  line 1: This is not JSON. Look for a missing comma.\n"
        "  steps[1].role: This role is unknown.\n"
    )


# --- who speaks


def test_a_log_in_is_kept_for_this_server_and_used_and_renewed(wire, environment, capsys, state, monkeypatch):
    environment.delenv("HMS_ACT_TOKEN")
    monkeypatch.setattr("getpass.getpass", lambda: "secret")
    wire.answers("POST /auth/token", Answer(200, {"access": "jwt-1", "refresh": "refresh-1"}))
    wire.answers("GET /acts/runs/9001", Answer(200, RUN), problem(401), Answer(200, RUN), Answer(200, RUN))
    wire.answers("POST /auth/token/refresh", Answer(200, {"access": "jwt-2"}))

    assert main(["login", "--username", "liaison"]) == 0
    for _ in range(3):
        assert main(["show", "9001"]) == 0

    assert wire.heard[0].body == {"username": "liaison", "password": "secret"}
    sent = [heard.headers["authorization"] for heard in wire.calls("GET /acts/runs/9001")]
    assert sent == ["Bearer jwt-1", "Bearer jwt-1", "Bearer jwt-2", "Bearer jwt-2"]
    assert capsys.readouterr().out.startswith(f"Logged in to {wire.url} as liaison\n")
    (file,) = state.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "secret" not in file.read_text()


def test_a_password_may_come_from_standard_input(wire, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse \n"))
    wire.answers("POST /auth/token", Answer(200, {"access": "a", "refresh": "r"}))

    assert main(["login", "--username", "liaison", "--password-stdin"]) == 0

    assert wire.heard[0].body["password"] == "correct horse "


def test_a_token_in_the_environment_goes_before_a_log_in(wire, capsys, monkeypatch):
    monkeypatch.setattr("getpass.getpass", lambda: "secret")
    wire.answers("POST /auth/token", Answer(200, {"access": "jwt-1", "refresh": "refresh-1"}))
    wire.answers("GET /acts/runs/9001", Answer(200, RUN))

    main(["login", "--username", "liaison"])
    main(["show", "9001"])

    assert "HMS_ACT_TOKEN is set and goes before it" in capsys.readouterr().out
    assert wire.heard[1].headers["authorization"] == "Bearer hmsact_key"


def test_after_a_log_out_nothing_is_left(wire, environment, capsys, state, monkeypatch):
    monkeypatch.setattr("getpass.getpass", lambda: "secret")
    wire.answers("POST /auth/token", Answer(200, {"access": "jwt-1", "refresh": "refresh-1"}))
    main(["login", "--username", "liaison"])

    assert main(["logout"]) == 0
    assert main(["logout"]) == 0

    assert list(state.iterdir()) == []
    assert f"There was no log-in to {wire.url}" in capsys.readouterr().out


def test_a_wrong_password_is_one_line(wire, capsys, monkeypatch):
    monkeypatch.setattr("getpass.getpass", lambda: "wrong")
    wire.answers("POST /auth/token", problem(401, "not_authenticated", "The password is wrong."))

    assert main(["login", "--username", "liaison"]) == 1

    assert capsys.readouterr().err.startswith("hms-act: The password is wrong.")


# --- --json


JSON_CASES = [
    (["show", "9001"], "GET /acts/runs/9001", Answer(200, RUN), RUN),
    (["run", "p"], "POST /acts/run", STARTED, {"run_id": 9001, "status": "queued"}),
    (["inbox"], "GET /hitl/requests", Answer(200, {"results": [REQUEST], "next": None}), [REQUEST]),
    (["show", "har_1"], READ, Answer(200, REQUEST), REQUEST),
    (["approve", "har_1"], FULFILL, Answer(200, REQUEST), REQUEST),
    (["reject", "har_1", "--reason", "x"], REJECT, Answer(200, REQUEST), REQUEST),
    (["complete", "31", "--outcome", "PASS"], "POST /acts/tasks/31/complete", Answer(200, task_body()), task_body()),
]


@pytest.mark.parametrize(("command", "call", "answer", "shown"), JSON_CASES, ids=lambda value: str(value)[:20])
@pytest.mark.parametrize("place", ["before", "after"])
def test_json_prints_what_the_server_answered(wire, capsys, command, call, answer, shown, place):
    wire.always(READ, Answer(200, REQUEST))
    wire.answers(call, answer)

    assert main(["--json", *command] if place == "before" else [*command, "--json"]) == 0

    assert json.loads(capsys.readouterr().out) == shown


def test_json_of_a_claimed_task_has_no_token(wire, capsys):
    wire.answers("POST /acts/tasks/next", claimed())

    main(["next", "agent:validator", "--json"])

    shown = json.loads(capsys.readouterr().out)
    assert (shown["task"]["id"], shown["fence"], shown["expires_at"]) == (31, 1, "2024-06-01T12:01:00+00:00")
    assert "token" not in shown


# --- how it ends


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (problem(403, "role_required", "You do not have the role."), 1, "hms-act: You do not have the role.\n"),
        (problem(404, "not_found", "There is no run 9001."), 1, "hms-act: There is no run 9001.\n"),
        (problem(409, "already_decided", "Decided by amina."), 1, "hms-act: Decided by amina.\n"),
        (problem(429, "rate_limited", "Too many calls."), 1, "hms-act: Too many calls.\n"),
        (problem(500, "", ""), 3, "hms-act: Refused\n"),
        (problem(503, "starting", "The server is starting."), 3, "hms-act: The server is starting.\n"),
    ],
)
def test_a_refusal_is_one_line_and_an_exit_code(wire, capsys, answer, code, said):
    wire.answers("GET /acts/runs/9001", answer)

    assert main(["show", "9001"]) == code

    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", said)


@pytest.mark.parametrize(
    "answer", [DROPPED, Answer(302, headers={"Location": "/login"}), Answer(200, "<h1>Hello</h1>")]
)
def test_a_server_that_does_not_answer_as_hms_act_is_unreachable(wire, capsys, answer):
    wire.answers("GET /acts/runs/9001", answer)

    assert main(["show", "9001"]) == 3

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert wire.url in captured.err


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["show"], "the following arguments are required: RUN|REQUEST"),
        (["show", "abc"], "argument RUN|REQUEST: 'abc' is neither the number of a run nor the id of a request, har_…"),
        (["approve", "9001"], "argument REQUEST: '9001' is not the id of a request, har_…"),
        (["reject", "har_/../9001", "--reason", "x"], "'har_/../9001' is not the id of a request, har_…"),
        (["terminate", "9001"], "the following arguments are required: --reason"),
        (["resolve", "31", "skip"], "the following arguments are required: --reason"),
        (["resolve", "31", "ignore", "--reason", "x"], "invalid choice: 'ignore'"),
        (["resolve", "31", "skip", "--reason", "x", "--output", "{"], "{ is not JSON"),
        (["complete", "31"], "the following arguments are required: --outcome"),
        (["reject", "har_1"], "the following arguments are required: --reason"),
        (["run", "p", "--label", "east"], "'east' is not KEY=VALUE"),
        (["run", "p", "--payload", "{form: 1}"], "{form: 1} is not JSON"),
        (["run", "p", "--payload", '{"x": NaN}'], "NaN is no JSON number"),
        (["run", "p", "--payload", "@/no/such/file"], "cannot read /no/such/file: No such file or directory"),
        (["playbooks", "push", "/no/such/file.yaml"], "cannot read /no/such/file.yaml"),
        (["playbooks"], "the following arguments are required: COMMAND"),
    ],
)
def test_wrong_usage_is_one_line_that_says_what_is_wrong(capsys, command, said):
    assert main(command) == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("hms-act: ")
    assert said in captured.err
    assert captured.err.count("\n") == 1


def test_help_tells_the_commands(capsys):
    assert main(["--help"]) == 0

    out = capsys.readouterr().out
    for command in ("run", "show", "next", "complete", "inbox", "approve", "reject", "cancel", "events", "login"):
        assert f"\n    {command}" in out


def test_the_version_is_told(capsys):
    assert main(["--version"]) == 0

    assert capsys.readouterr().out == f"hms-act {__version__}\n"


def test_an_interruption_is_quiet(wire, monkeypatch, capsys):
    def interrupt(self: object, run_id: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Client, "wait_for_run", interrupt)
    wire.answers("POST /acts/run", STARTED)

    assert main(["run", "p", "--wait"]) == 130

    assert "Traceback" not in capsys.readouterr().err


def test_a_damaged_state_file_is_one_line_that_names_it(wire, capsys, state):
    wire.answers("POST /acts/tasks/next", claimed())
    main(["next", "agent:validator"])
    (file,) = state.iterdir()
    file.write_text("{")

    assert main(["complete", "31", "--outcome", "PASS"]) == 1

    assert str(file) in capsys.readouterr().err


def test_the_program_ends_without_a_traceback_when_nobody_listens():
    gone = Wire()
    gone.close()

    command = [sys.executable, "-m", "hms_act", "--url", gone.url, "show", "9001"]
    ended = subprocess.run(command, capture_output=True, text=True)

    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr.startswith(f"hms-act: No answer from HMS-ACT at {gone.url}: ")
    assert ended.stderr.endswith("Is the server running, and is HMS_ACT_URL its address?\n")
    assert ended.stderr.count("\n") == 1


def test_a_reader_that_has_seen_enough_is_no_error(wire, environment):
    many = [{**REQUEST, "id": f"har_{number}"} for number in range(5_000)]
    wire.answers("GET /hitl/requests", Answer(200, {"results": many, "next": None}))

    shell = f"{sys.executable} -m hms_act inbox | head -1"
    ended = subprocess.run(["bash", "-c", shell], capture_output=True, text=True)

    assert ended.stdout.startswith("REQUEST")
    assert ended.stderr == ""
