# SPDX-License-Identifier: Apache-2.0
"""Each method of the client is one call of the HTTP API, sent as the API's reference writes it."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from hms_act import Client, NotAuthenticated, NotFound, ServerError, StaleRevision, TokenExpired
from hms_act.client import REMEMBERED_TOKENS
from tests.sdk.wire import NOW, Answer, Heard, claimed, in_seconds, problem, task_body

RUN = {
    "run_id": 9001,
    "playbook": "protest_permit",
    "version": 2,
    "status": "running",
    "current_step": "AI-Screen",
    "current_steps": ["AI-Screen"],
    "payload": {"form_id": 123},
    "steps": {"AI-Screen": {"status": "running", "outcome": None, "output": None, "attempts": 1}},
    "log": [{"t": "14:00:01", "step": "AI-Screen", "status": "running"}],
    "a_field_of_the_future": 1,
}
REQUEST = {
    "id": "har_39a1528657a7",
    "agent_id": "stripe-agent",
    "request_type": "api_key",
    "title": "Stripe API Key Required",
    "required_fields": {"api_key": "Stripe API Key"},
    "priority": "high",
    "status": "pending",
    "created_at": "2024-06-01T12:00:00Z",
    "fulfilled_by": None,
}
VERSION = {"version": 1, "state": "draft", "digest": "sha256:1"}
PLAYBOOK = {"id": "protest_permit", "number": 7, "title": "", "versions": [VERSION], "current_version": None}

CALLS = [  # what is called, what is sent (method and path, body), what is answered
    (lambda c: c.cancel_run(9001), "PATCH /acts/runs/9001/cancel", {}, RUN),
    (lambda c: c.cancel_run(9001, reason="moved"), "PATCH /acts/runs/9001/cancel", {"reason": "moved"}, RUN),
    (
        lambda c: c.complete_task(31, token="t"),
        "POST /acts/tasks/31/complete",
        {"token": "t", "outcome": "PASS"},
        task_body(),
    ),
    (
        lambda c: c.complete_task(31, "FAIL", {"risk": "high"}, "too many", token="t"),
        "POST /acts/tasks/31/complete",
        {"token": "t", "outcome": "FAIL", "output": {"risk": "high"}, "note": "too many"},
        task_body(),
    ),
    (
        lambda c: c.complete_task(31, output=0, token="t"),
        "POST /acts/tasks/31/complete",
        {"token": "t", "outcome": "PASS", "output": 0},
        task_body(),
    ),
    (
        lambda c: c.fail_task(31, error_type="Timeout", message="no answer", retryable=False, token="t"),
        "POST /acts/tasks/31/fail",
        {"token": "t", "error_type": "Timeout", "message": "no answer", "retryable": False},
        task_body(),
    ),
    (
        lambda c: c.fail_task(31, error_type="Timeout", token="t"),
        "POST /acts/tasks/31/fail",
        {"token": "t", "error_type": "Timeout", "message": ""},
        task_body(),
    ),
    (lambda c: c.release(31, token="t"), "POST /acts/tasks/31/release", {"token": "t"}, task_body()),
    (lambda c: c.renew(31, token="t"), "POST /acts/tasks/31/renew", {"token": "t"}, {"expires_at": in_seconds(60)}),
    (
        lambda c: c.heartbeat(31, token="t"),
        "POST /acts/tasks/31/heartbeat",
        {"token": "t"},
        {"expires_at": in_seconds(60)},
    ),
    (
        lambda c: c.terminate_run(9001, reason="a mistake"),
        "PATCH /acts/runs/9001/terminate",
        {"reason": "a mistake"},
        {"run_id": 9001, "status": "terminated"},
    ),
    (
        lambda c: c.send_signal(9001, "paid", {"amount": "40.00"}),
        "POST /acts/runs/9001/signals/paid",
        {"data": {"amount": "40.00"}},
        {"run_id": 9001, "status": "running"},
    ),
    (
        lambda c: c.send_signal(9001, "paid"),
        "POST /acts/runs/9001/signals/paid",
        {},
        {"run_id": 9001, "status": "running"},
    ),
    (
        lambda c: c.resolve_incident(31, "skip", reason="by hand", output={"n": 1}),
        "POST /acts/tasks/31/resolve",
        {"resolution": "skip", "reason": "by hand", "output": {"n": 1}},
        task_body(),
    ),
    (lambda c: c.create_playbook({"id": "p"}), "POST /acts/playbooks", {"id": "p"}, PLAYBOOK),
    (lambda c: c.add_version("p", {"id": "p"}), "POST /acts/playbooks/p/versions", {"id": "p"}, VERSION),
    (lambda c: c.publish_version("p", 1), "POST /acts/playbooks/p/versions/1/publish", {}, VERSION),
    (
        lambda c: c.create_request(title="Which?", agent_id="stripe-agent"),
        "POST /hitl/requests",
        {"title": "Which?", "agent_id": "stripe-agent"},
        REQUEST,
    ),
    (
        lambda c: c.fulfill("har_1", response_data={"api_key": "sk"}, notes="here"),
        "POST /hitl/requests/har_1/fulfill",
        {"response_data": {"api_key": "sk"}, "notes": "here"},
        REQUEST,
    ),
    (
        lambda c: c.fulfill("har_1", outcome="more_information", revision=2),
        "POST /hitl/requests/har_1/fulfill",
        {"response_data": {}, "notes": "", "outcome": "more_information", "revision": 2},
        REQUEST,
    ),
    (
        lambda c: c.release(31, note="wrong language", token="t"),
        "POST /acts/tasks/31/release",
        {"token": "t", "note": "wrong language"},
        task_body(),
    ),
    (lambda c: c.reject("har_1", reason="no"), "POST /hitl/requests/har_1/reject", {"reason": "no"}, REQUEST),
]


@pytest.mark.parametrize(("call", "said", "body", "answer"), CALLS)
def test_a_call_that_changes_something_is_sent_with_credential_and_key(wire, client, call, said, body, answer):
    wire.answers(said, Answer(200, answer))

    call(client)

    (heard,) = wire.heard
    assert heard.body == body
    assert heard.headers["authorization"] == "Bearer hmsact_key"
    assert heard.headers["content-type"] == "application/json"
    assert heard.headers["idempotency-key"]


@pytest.mark.parametrize(
    ("playbook", "named"),
    [("protest_permit", {"playbook": "protest_permit"}), (7, {"protocol_id": 7})],
    ids=["by its id", "by its number"],
)
def test_a_run_is_started(wire, client, playbook, named):
    wire.answers("POST /acts/run", Answer(202, {"run_id": 9001, "status": "queued"}))

    run = client.start_run(playbook, payload={"license_id": 123}, version=2, labels={"team": "east"}, priority="high")

    assert (run.id, run.status, run.ended) == (9001, "queued", False)
    chosen = {"version": 2, "labels": {"team": "east"}, "priority": "high"}
    assert wire.heard[0].body == {**named, "payload": {"license_id": 123}, **chosen}


def test_a_run_is_read_with_everything_the_server_said(wire, client):
    wire.answers("GET /acts/runs/9001", Answer(200, RUN, {"ETag": '"3"'}))

    run = client.run(9001)

    assert (run.playbook, run.version, run.status, run.current_step) == ("protest_permit", 2, "running", "AI-Screen")
    assert run.current_steps == ("AI-Screen",)
    assert run.steps["AI-Screen"]["attempts"] == 1
    assert run.log[0]["status"] == "running"
    assert run.etag == '"3"'
    assert run.raw["a_field_of_the_future"] == 1


def test_a_run_that_ended_is_waited_for(wire, client, waits):
    ended = {**RUN, "status": "completed", "current_step": None}
    wire.answers("GET /acts/runs/9001", Answer(200, RUN), Answer(200, RUN), Answer(200, ended))

    assert client.wait_for_run(9001).status == "completed"

    assert len(waits) == 2


def test_waiting_for_a_run_can_be_limited(wire, client):
    wire.answers("GET /acts/runs/9001", Answer(200, RUN))

    with pytest.raises(TimeoutError, match="it goes on"):
        client.wait_for_run(9001, timeout=0)


# --- tasks


def test_a_task_is_claimed(wire, client):
    offered = {"options": ["MORE"], "arguments": {"strict": True}}
    wire.answers("POST /acts/tasks/next", claimed(deadline="2024-06-01T13:00:00Z", ttl=90, **offered))

    task = client.next_task("agent:validator", wait=5)

    assert wire.heard[0].body == {"role": "agent:validator", "wait": 5}
    assert (task.id, task.run_id, task.step, task.path, task.attempt) == (31, 9001, "AI-Screen", "AI-Screen", 1)
    assert (task.role, task.call, task.payload) == ("agent:validator", "ai_validator.check_form", {"form_id": 123})
    assert (task.options, task.arguments) == (("MORE",), {"strict": True})
    assert (task.token, task.fence) == ("token-31", 1)
    assert task.deadline == NOW + timedelta(hours=1)
    assert task.expires_at == NOW + timedelta(seconds=90)
    assert task.ttl_seconds == 90


def test_a_token_is_not_shown_where_a_task_is_printed(wire, client):
    wire.answers("POST /acts/tasks/next", claimed())

    assert "token-31" not in repr(client.next_task("agent:validator"))


def test_no_task_is_none(wire, client):
    wire.answers("POST /acts/tasks/next", Answer(204))

    assert client.next_task("agent:validator") is None


def test_a_long_wait_is_made_of_waits_the_server_allows(wire, client):
    wire.answers("POST /acts/tasks/next", Answer(204), Answer(204), claimed())

    assert client.next_task("agent:validator", wait=150).id == 31

    assert [heard.body["wait"] for heard in wire.heard] == [60, 60, 30]


def test_several_tasks_are_claimed_at_once(wire, client):
    first, second = claimed(31).body, claimed(32).body
    wire.answers("POST /acts/tasks/next", Answer(200, {"tasks": [first, second]}))
    wire.answers("POST /acts/tasks/32/complete", Answer(200, task_body(32)))

    tasks = client.next_tasks("agent:validator", limit=2)

    assert wire.heard[0].body["limit"] == 2
    assert [task.id for task in tasks] == [31, 32]
    client.complete_task(32)
    assert wire.calls("POST /acts/tasks/32/complete")[0].body["token"] == "token-32"


def test_the_token_of_a_claimed_task_is_remembered_for_every_act_on_it(wire, client):
    wire.answers("POST /acts/tasks/next", claimed())
    for act in ("heartbeat", "renew"):
        wire.answers(f"POST /acts/tasks/31/{act}", Answer(200, {"expires_at": in_seconds(60)}))
    for act in ("complete", "complete", "fail", "release"):
        wire.answers(f"POST /acts/tasks/31/{act}", Answer(200, task_body()))
    client.next_task("agent:validator")

    client.heartbeat(31)
    client.renew(31)
    client.complete_task(31)
    client.complete_task(31)  # completing twice is harmless, so the token is kept
    client.fail_task(31, error_type="E")
    client.release(31)

    assert [heard.body["token"] for heard in wire.heard[1:]] == ["token-31"] * 6


def test_a_task_claimed_again_has_its_new_token(wire, client):
    again = claimed(31).body | {"token": "token-of-the-second-claim"}
    wire.answers("POST /acts/tasks/next", claimed(31), Answer(200, again))
    wire.answers("POST /acts/tasks/31/complete", Answer(200, task_body()))
    client.next_task("agent:validator")
    client.next_task("agent:validator")

    client.complete_task(31)

    assert wire.heard[-1].body["token"] == "token-of-the-second-claim"


def test_only_the_last_tokens_are_kept_so_that_a_worker_does_not_grow(wire, client):
    many = [claimed(number).body for number in range(1, REMEMBERED_TOKENS + 2)]
    wire.answers("POST /acts/tasks/next", Answer(200, {"tasks": many}))
    for number in (1, 2):
        wire.answers(f"POST /acts/tasks/{number}/complete", Answer(200, task_body(number)))
    client.next_tasks("agent:validator", limit=len(many))

    client.complete_task(1)
    client.complete_task(2)

    assert "token" not in wire.heard[-2].body
    assert wire.heard[-1].body["token"] == "token-2"


def test_a_human_task_is_decided_without_a_token(wire, client):
    wire.answers("POST /acts/tasks/40/complete", Answer(200, task_body(40)))

    client.complete_task(40, outcome="FAIL", note="No stewards.")

    assert wire.heard[0].body == {"outcome": "FAIL", "note": "No stewards."}


def test_a_heartbeat_tells_how_long_the_lease_lasts_and_what_is_asked_of_the_holder(wire, client):
    answer = {"expires_at": in_seconds(45), "cancel_requested": True, "paused": False}
    wire.answers("POST /acts/tasks/31/heartbeat", Answer(200, answer))

    lease = client.heartbeat(31, token="t")

    assert (lease.ttl_seconds, lease.cancel_requested, lease.paused) == (45, True, False)


# --- lists


def test_a_list_is_read_page_by_page_and_only_as_far_as_it_is_asked_for(wire, client):
    pages = [{"results": [{**RUN, "run_id": n}], "next": f"http://inside.example/acts/runs?cursor=c{n}&status=running"}
             for n in (1, 2)]  # fmt: skip
    wire.answers("GET /acts/runs", Answer(200, pages[0]), Answer(200, pages[1]))

    runs = client.runs(status="running")

    assert wire.heard == []
    assert next(runs).id == 1
    assert next(runs).id == 2
    assert [heard.query for heard in wire.heard] == [{"status": "running"}, {"cursor": "c1", "status": "running"}]


def test_a_list_ends_with_its_last_page_and_never_leaves_the_configured_address(wire, client):
    wire.answers(
        "GET /hitl/requests",
        Answer(
            200, {"results": [REQUEST], "next": "https://elsewhere.example/hitl/requests?cursor=x", "previous": None}
        ),
        Answer(200, {"results": [], "next": None, "previous": None}),
    )

    requests = list(client.requests(status="pending"))

    assert [request.id for request in requests] == ["har_39a1528657a7"]
    assert requests[0].created_at == NOW
    assert requests[0].fulfilled_by == ""
    assert wire.heard[1].query == {"cursor": "x"}


def test_filters_are_written_as_the_api_reads_them(wire, client):
    wire.answers("GET /acts/runs", Answer(200, {"results": [], "next": None}))

    list(client.runs(stalled=True, playbook=None, created_after=NOW, version=2, label="team=east"))

    assert wire.heard[0].query == {
        "stalled": "true",
        "created_after": "2024-06-01 12:00:00+00:00",
        "version": "2",
        "label": "team=east",
    }


def test_tasks_and_playbooks_are_listed_and_read(wire, client):
    wire.answers("GET /acts/tasks", Answer(200, {"results": [task_body()], "next": None}))
    wire.answers("GET /acts/tasks/31", Answer(200, task_body()))
    wire.answers("GET /acts/playbooks", Answer(200, {"results": [PLAYBOOK], "next": None}))
    wire.answers("GET /acts/playbooks/protest_permit", Answer(200, PLAYBOOK))
    wire.answers("GET /acts/playbooks/schema", Answer(200, {"$schema": "x"}))

    assert [(task.id, task.status, task.outcome) for task in client.tasks(assignee="me")] == [(31, "completed", "PASS")]
    assert client.task(31).token == ""
    assert [playbook.number for playbook in client.playbooks()] == [7]
    assert client.playbook("protest_permit").versions == (VERSION,)
    assert client.playbook_schema() == {"$schema": "x"}


def test_a_request_can_be_waited_for(wire, client):
    wire.answers("GET /hitl/requests/har_1", Answer(200, REQUEST, {"ETag": '"r1"'}))

    request = client.request("har_1", wait=30)

    assert wire.heard[0].query == {"wait": "30"}
    assert (request.etag, request.closed) == ('"r1"', False)


@pytest.mark.parametrize(
    ("status", "closed"),
    [
        ("in_review", False),
        ("info_requested", False),
        ("fulfilled", True),
        ("rejected", True),
        ("cancelled", True),
        ("expired", True),
        ("superseded", True),
        ("not_required", True),
    ],
)
def test_a_request_tells_whether_an_answer_may_still_come(wire, client, status, closed):
    wire.answers("GET /hitl/requests/har_1", Answer(200, {**REQUEST, "status": status}))

    assert client.request("har_1").closed is closed


def test_a_decision_can_be_bound_to_what_was_read(wire, client):
    wire.answers("POST /hitl/requests/har_1/fulfill", Answer(200, REQUEST))

    client.fulfill("har_1", if_match='"r1"')

    assert wire.heard[0].headers["if-match"] == '"r1"'


def test_a_request_that_was_read_is_decided_as_it_was_read(wire, client):
    wire.answers("GET /hitl/requests/har_39a1528657a7", Answer(200, REQUEST, {"ETag": '"1-pending"'}))
    for act in ("fulfill", "reject"):
        wire.answers(f"POST /hitl/requests/har_39a1528657a7/{act}", Answer(200, REQUEST))
    read = client.request("har_39a1528657a7")

    client.fulfill(read)
    client.reject(read, reason="no")

    assert [heard.headers["if-match"] for heard in wire.heard[1:]] == ['"1-pending"', '"1-pending"']
    assert not [heard for heard in wire.heard[1:] if "revision" in heard.body]


def test_a_request_out_of_a_list_is_decided_in_the_revision_it_had_there(wire, client):
    row = {**REQUEST, "revision": 2}
    wire.answers("GET /hitl/requests", Answer(200, {"results": [row], "next": None}))
    for act in ("fulfill", "reject"):
        wire.answers(f"POST /hitl/requests/har_39a1528657a7/{act}", Answer(200, REQUEST))
    (listed,) = client.requests()

    client.fulfill(listed)
    client.reject(listed, reason="no", revision=1)

    assert [heard.body["revision"] for heard in wire.heard[1:]] == [2, 1], "what the caller names goes before"
    assert not [heard for heard in wire.heard[1:] if "if-match" in heard.headers]


def test_a_decision_on_what_has_changed_says_so(wire, client):
    wire.answers("POST /hitl/requests/har_1/fulfill", problem(409, "stale_revision", "It is revision 2 now."))

    with pytest.raises(StaleRevision, match="It is revision 2 now"):
        client.fulfill("har_1", if_match='"r1"')


def test_a_run_that_was_read_is_cancelled_as_it_was_read(wire, client):
    wire.answers("GET /acts/runs/9001", Answer(200, RUN, {"ETag": '"3"'}))
    wire.answers("PATCH /acts/runs/9001/cancel", Answer(200, RUN), Answer(200, RUN))
    read = client.run(9001)

    client.cancel_run(read)
    client.cancel_run(read.id)

    assert [heard.headers.get("if-match") for heard in wire.heard[1:]] == ['"3"', None]


def test_what_was_read_is_terminated_and_resolved_as_it_was_read_and_signalled_whatever_it_is(wire, client):
    body = {"run_id": 9001, "status": "running"}
    wire.answers("GET /acts/runs/9001", Answer(200, body, {"ETag": '"4"'}))
    wire.answers("GET /acts/tasks/31", Answer(200, task_body(), {"ETag": '"1-incident"'}))
    wire.answers("PATCH /acts/runs/9001/terminate", problem(409, "stale_revision"))
    wire.answers("POST /acts/tasks/31/resolve", problem(409, "stale_revision"))
    wire.answers("POST /acts/runs/9001/signals/paid", Answer(200, body))
    run, task = client.run(9001), client.task(31)

    with pytest.raises(StaleRevision):
        client.terminate_run(run, reason="over")
    with pytest.raises(StaleRevision):
        client.resolve_incident(task, "retry", reason="mended")
    client.send_signal(run, "paid", idempotency_key="payment-7")

    terminate, resolve, signal = wire.heard[2:]
    assert (terminate.headers["if-match"], resolve.headers["if-match"]) == ('"4"', '"1-incident"')
    assert "if-match" not in signal.headers
    assert signal.headers["idempotency-key"] == "payment-7"


def test_a_run_tells_its_incidents_and_the_runs_around_it(wire, client):
    incident = {"task": 31, "step": "a", "path": "each[1]/a", "reason": "Broken"}
    started = {"run_id": 9002, "path": "sub", "status": "running"}
    body = {"run_id": 9001, "status": "running", "incidents": [incident], "parent_run": 8, "child_runs": [started]}
    wire.answers("GET /acts/runs/9001", Answer(200, body))
    wire.answers("GET /acts/tasks/31", Answer(200, task_body(item={"n": 1}, resolution="skip", error_type="Broken")))

    run, task = client.run(9001), client.task(31)

    assert (run.incidents, run.parent_run, run.child_runs) == ((incident,), 8, (started,))
    assert (task.item, task.resolution, task.error_type) == ({"n": 1}, "skip", "Broken")


def test_a_version_that_was_read_is_published_as_it_was_read(wire, client):
    wire.answers("GET /acts/playbooks/p/versions/1", Answer(200, VERSION, {"ETag": '"sha256:1-draft"'}))
    wire.answers("POST /acts/playbooks/p/versions/1/publish", Answer(200, VERSION))
    read = client.version("p", 1)

    client.publish_version("p", read)

    assert wire.heard[1].headers["if-match"] == '"sha256:1-draft"'


def test_a_task_that_was_read_is_ended_as_it_was_read(wire, client):
    wire.answers("GET /acts/tasks/40", Answer(200, task_body(40), {"ETag": '"0-awaiting_approval"'}))
    wire.answers("POST /acts/tasks/40/complete", Answer(200, task_body(40)))
    read = client.task(40)

    client.complete_task(read, outcome="FAIL", note="No stewards.")

    assert wire.heard[1].headers["if-match"] == '"0-awaiting_approval"'
    assert wire.heard[1].body == {"outcome": "FAIL", "note": "No stewards."}


def test_a_task_that_was_claimed_is_ended_under_its_own_token_and_no_etag(wire, client):
    again = claimed(31).body | {"token": "token-of-the-second-claim"}
    wire.answers("POST /acts/tasks/next", claimed(31), Answer(200, again))
    wire.answers("GET /acts/tasks/31", Answer(200, task_body(31), {"ETag": '"2-running"'}))
    wire.answers("POST /acts/tasks/31/complete", *[Answer(200, task_body())] * 3)
    first, second = (client.next_task("agent:validator") for _ in range(2))

    for task in (first, second, client.task(31)):  # who reads it again still holds it
        client.complete_task(task)

    heard = wire.calls("POST /acts/tasks/31/complete")
    assert [one.body["token"] for one in heard] == ["token-31", *["token-of-the-second-claim"] * 2]
    assert not [one for one in heard if "if-match" in one.headers]


def test_an_agent_asks_in_mid_task_and_resumes_under_a_new_token(wire, client):
    wire.answers("POST /acts/tasks/next", claimed())
    asked = Answer(200, {"request_id": "har_1", "status": "awaiting_approval"})
    wire.answers("POST /acts/tasks/31/request-approval", asked)
    again = claimed(31, approval={"outcome": "proceed", "by": "amina"}).body
    again |= {"token": "token-after-the-answer", "fence": 2}
    wire.answers("POST /acts/tasks/31/resume", Answer(200, again))
    wire.answers("POST /acts/tasks/31/complete", Answer(200, task_body()))
    client.next_task("agent:validator")

    assert client.request_approval(31, reason="Deploy?", options=["proceed"], severity="critical") == "har_1"
    task = client.resume(31)
    client.complete_task(31)

    assert wire.heard[1].body == {
        "token": "token-31",
        "reason": "Deploy?",
        "context": {},
        "options": ["proceed"],
        "severity": "critical",
    }
    assert (wire.heard[2].body, task.fence) == ({"token": "token-31"}, 2)
    assert (task.approval["outcome"], task.approval["by"]) == ("proceed", "amina")
    assert wire.heard[3].body["token"] == "token-after-the-answer"


def test_a_claim_that_has_ended_is_told_apart(wire, client):
    wire.answers("POST /acts/tasks/31/complete", problem(409, "token_expired"))

    with pytest.raises(TokenExpired):
        client.complete_task(31, token="t")


def test_an_id_cannot_lead_to_another_path(wire, client):
    wire.answers("GET /hitl/requests/..%2F..%2Facts%2Fruns", problem(404))

    with pytest.raises(NotFound):
        client.request("../../acts/runs")


# --- documents


def test_a_text_is_sent_as_it_is_so_that_line_numbers_are_its_authors(wire, client):
    text = "# Protest permits\nid: protest_permit\nsteps: []\n"
    wire.answers("POST /acts/playbooks/validate", Answer(200, {"valid": False, "errors": []}))

    assert client.validate_playbook(text) == {"valid": False, "errors": []}

    (heard,) = wire.heard
    assert heard.text == text
    assert heard.headers["content-type"] == "application/yaml"
    assert "idempotency-key" not in heard.headers


def test_what_json_cannot_say_is_refused_before_it_is_sent(client):
    with pytest.raises(ValueError, match="JSON"):
        client.start_run("p", payload={"x": float("nan")})
    with pytest.raises(ValueError, match="surrogates"):
        client.start_run("p", payload={"x": "\ud800"})


# --- who speaks


def test_address_and_credential_come_from_the_environment(wire, environment):
    wire.answers("GET /acts/runs/9001", Answer(200, RUN))

    Client().run(9001)

    assert wire.heard[0].headers["authorization"] == "Bearer hmsact_key"


def test_without_a_credential_none_is_sent(wire, environment):
    environment.delenv("HMS_ACT_TOKEN")
    wire.answers("GET /acts/runs/9001", Answer(200, RUN))

    Client().run(9001)

    assert "authorization" not in wire.heard[0].headers


def test_an_address_may_have_a_path(wire):
    wire.answers("GET /hms/acts/runs/9001", Answer(200, RUN))

    assert Client(f"{wire.url}/hms/", "k").run(9001).id == 9001


def test_after_a_log_in_the_client_speaks_as_that_user(wire, client):
    wire.answers("POST /auth/token", Answer(200, {"access": "jwt-1", "refresh": "refresh-1"}))
    wire.answers("GET /acts/runs/9001", Answer(200, RUN))

    client.log_in("liaison", "secret")
    client.run(9001)

    logged_in, read = wire.heard
    assert logged_in.body == {"username": "liaison", "password": "secret"}
    assert not {"authorization", "idempotency-key"} & logged_in.headers.keys()
    assert read.headers["authorization"] == "Bearer jwt-1"


def test_an_expired_jwt_is_renewed_and_the_call_sent_again_under_its_key(wire):
    kept = []
    client = Client(wire.url, "jwt-1", refresh_token="refresh-1", on_tokens=kept.append)
    wire.answers("POST /acts/run", problem(401), Answer(202, {"run_id": 9001, "status": "queued"}))
    wire.answers("POST /auth/token/refresh", Answer(200, {"access": "jwt-2"}))

    assert client.start_run("p").id == 9001

    first, renewal, second = wire.heard
    assert renewal.body == {"refresh": "refresh-1"}
    assert second.headers["authorization"] == "Bearer jwt-2"
    assert second.headers["idempotency-key"] == first.headers["idempotency-key"]
    assert [(tokens.access, tokens.refresh) for tokens in kept] == [("jwt-2", "refresh-1")]


def test_a_log_in_that_cannot_be_renewed_is_told_as_such(wire):
    client = Client(wire.url, "jwt-1", refresh_token="refresh-1")
    wire.answers("GET /acts/runs/9001", problem(401, "not_authenticated", "The token has expired."))
    wire.answers("POST /auth/token/refresh", problem(401, "not_authenticated", "Expired too."))

    with pytest.raises(NotAuthenticated, match=r"The token has expired\. .*log in again"):
        client.run(9001)


def test_a_renewal_that_is_not_understood_is_a_server_error(wire):
    client = Client(wire.url, "jwt-1", refresh_token="refresh-1")
    wire.answers("GET /acts/runs/9001", problem(401))
    wire.answers("POST /auth/token/refresh", Answer(200, {}))

    with pytest.raises(ServerError):
        client.run(9001)


def test_threads_that_find_a_jwt_expired_renew_it_once(wire):
    client = Client(wire.url, "jwt-1", refresh_token="refresh-1")
    all_refused = threading.Barrier(4)

    def answer(heard: Heard) -> Answer:
        if heard.headers["authorization"] == "Bearer jwt-2":
            return Answer(200, RUN)
        all_refused.wait(timeout=10)
        return problem(401)

    wire.always("GET /acts/runs/9001", answer)
    wire.answers("POST /auth/token/refresh", Answer(200, {"access": "jwt-2", "refresh": "refresh-2"}))

    with ThreadPoolExecutor(4) as pool:
        assert [run.id for run in pool.map(client.run, [9001] * 4)] == [9001] * 4

    assert len(wire.calls("POST /auth/token/refresh")) == 1


def test_a_child_process_has_connections_of_its_own(wire, client):
    wire.always("GET /acts/runs/9001", Answer(200, RUN))
    client.run(9001)

    child = os.fork()
    if child == 0:
        os._exit(0 if all(client.run(9001).id == 9001 for _ in range(20)) else 1)
    for _ in range(20):
        assert client.run(9001).id == 9001

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(wire.heard) == 41
