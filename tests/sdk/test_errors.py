# SPDX-License-Identifier: Apache-2.0
"""An answer that is a refusal becomes an exception of the right type, with everything the server said."""

from __future__ import annotations

import pickle

import pytest

import hms_act
from hms_act import (
    AlreadyDecided,
    Client,
    Conflict,
    Forbidden,
    HmsActError,
    IdempotencyInFlight,
    Invalid,
    LeaseLost,
    NotAuthenticated,
    NotFound,
    RateLimited,
    Retry,
    ServerError,
    StaleRevision,
    Unreachable,
)
from tests.sdk.wire import Answer, Wire, problem

TYPES = [
    (400, "unparseable", Invalid),
    (401, "not_authenticated", NotAuthenticated),
    (403, "forbidden", Forbidden),
    (403, "role_required", Forbidden),
    (404, "not_found", NotFound),
    (405, "method_not_allowed", Invalid),
    (409, "wrong_state", Conflict),
    (409, "lease_lost", LeaseLost),
    (409, "already_decided", AlreadyDecided),
    (409, "stale_revision", StaleRevision),
    (409, "idempotency_in_flight", IdempotencyInFlight),
    (412, "precondition_failed", StaleRevision),
    (413, "too_large", Invalid),
    (415, "unsupported_media_type", Invalid),
    (422, "invalid", Invalid),
    (422, "idempotency_mismatch", Invalid),
    (429, "rate_limited", RateLimited),
    (418, "teapot", HmsActError),
    (500, "internal", ServerError),
    (503, "unavailable", ServerError),
]


@pytest.fixture
def once(wire: Wire) -> Client:
    return Client(wire.url, "hmsact_key", retry=Retry(attempts=1))


@pytest.mark.parametrize(("status", "code", "kind"), TYPES)
def test_a_problem_is_raised_as_its_own_type_with_status_code_title_and_detail(wire, once, status, code, kind):
    wire.answers("GET /acts/runs/1", problem(status, code, "what went wrong"))

    with pytest.raises(HmsActError) as raised:
        once.run(1)

    error = raised.value
    assert type(error) is kind
    assert (error.status, error.code, error.title, error.detail) == (status, code, "Refused", "what went wrong")
    assert "what went wrong" in str(error)


def test_several_errors_keep_their_place_and_remedy(wire, once):
    errors = [
        {"path": "steps[1].role", "line": 12, "message": "This role is unknown.", "remedy": "Write agent:validator."},
        {"path": "title", "message": "This is too long."},
    ]
    wire.answers("POST /acts/playbooks", problem(422, "invalid", "The document is not valid.", errors=errors))

    with pytest.raises(Invalid) as raised:
        once.create_playbook({"id": "x"})

    assert [(e.path, e.line, e.remedy) for e in raised.value.errors] == [
        ("steps[1].role", 12, "Write agent:validator."),
        ("title", None, ""),
    ]
    assert str(raised.value) == (
        "The document is not valid.; line 12, steps[1].role: This role is unknown. Write agent:validator.; "
        "title: This is too long."
    )


def test_a_refusal_that_is_no_problem_document_still_has_its_type(wire, once):
    wire.answers("GET /acts/runs/1", Answer(404, "<h1>Not here</h1>"))

    with pytest.raises(NotFound, match="404 Not Found"):
        once.run(1)


def test_an_unknown_credential_says_where_a_credential_is_looked_for(wire, once):
    wire.answers("GET /acts/runs/1", problem(401, "not_authenticated", "No credentials were given."))

    with pytest.raises(NotAuthenticated, match="HMS_ACT_TOKEN"):
        once.run(1)


def test_a_server_that_is_not_there_is_named_with_what_to_check(wire):
    gone = Wire()
    gone.close()
    client = Client(gone.url, "hmsact_key", retry=Retry(attempts=1))

    with pytest.raises(Unreachable) as raised:
        client.run(1)

    assert gone.url in str(raised.value)
    assert "HMS_ACT_URL" in str(raised.value)


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://localhost", "http://", "http://localhost:port", "not an address"]
)
def test_what_is_no_web_address_is_refused_at_once(url):
    with pytest.raises(Unreachable, match="HMS_ACT_URL must be an address"):
        Client(url, "hmsact_key")


def test_a_redirect_is_not_followed_because_a_credential_would_travel_with_it(wire, once):
    wire.answers("GET /acts/runs/1", Answer(301, headers={"Location": "https://elsewhere.example/acts/runs/1"}))

    with pytest.raises(Unreachable, match=r"redirects to https://elsewhere\.example"):
        once.run(1)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(200, "<h1>Welcome to another server</h1>"), "not_json"),
        (Answer(200, {"hello": "world"}), "unexpected_answer"),
        (Answer(200, ["a", "list"]), "unexpected_answer"),
        (Answer(204), "unexpected_answer"),
    ],
)
def test_an_answer_of_another_kind_of_server_is_a_server_error_and_no_crash(wire, once, answer, code):
    wire.answers("GET /acts/runs/1", answer)

    with pytest.raises(ServerError) as raised:
        once.run(1)

    assert raised.value.code == code


def test_a_page_of_another_kind_of_server_is_a_server_error_too(wire, once):
    wire.answers("GET /acts/runs", Answer(200, {"results": [{"no": "run"}], "next": None}))

    with pytest.raises(ServerError):
        list(once.runs())


@pytest.mark.parametrize("kind", [LeaseLost, RateLimited, Unreachable, NotFound])
def test_an_error_survives_the_way_between_processes(kind):
    original = kind(hms_act.Problem(409, code="c", detail="why", retry_after=3.0))

    copy = pickle.loads(pickle.dumps(original))

    assert type(copy) is kind
    assert copy.problem == original.problem
