# SPDX-License-Identifier: Apache-2.0
"""What holds for every call: who is let in, what a body may be, and how a refusal looks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from audit.models import Entry
from config.api import MAX_BODY_BYTES, MAX_DEPTH, MAX_KEYS, MAX_SAFE_INTEGER
from playbooks.models import Playbook
from runs.models import Run
from tests.contract.answers import json_of, paths_of, problem
from tests.factories import published, started
from tests.people import PASSWORD, Api, agent

pytestmark = pytest.mark.django_db

START = "/acts/run"


@pytest.fixture
def api(api_for, validator) -> Api:
    published()
    return api_for(validator)


def sent(api: Any, body: bytes, *, content_type: str = "application/json", path: str = START) -> Any:
    return api.generic("POST", path, body, content_type=content_type)


# Who is let in ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/acts/run"),
        ("GET", "/acts/runs"),
        ("GET", "/acts/runs/1"),
        ("PATCH", "/acts/runs/1/cancel"),
        ("POST", "/acts/tasks/next"),
        ("GET", "/acts/playbooks/schema"),
        ("POST", "/hitl/requests/har_0123456789ab/fulfill"),
    ],
)
def test_without_a_credential_every_call_is_refused_and_says_how_to_get_in(method, path):
    document = problem(Client().generic(method, path), 401, "not_authenticated")

    assert "Authorization: Bearer" in document["detail"]


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Bearer a b", "Bearer hmsact_unknown", "Bearer not.a.jwt", "bearer x", "Bearer \xff"],
)
def test_a_credential_that_opens_nothing_is_refused(header):
    problem(Client().get("/acts/runs", headers={"Authorization": header}), 401, "not_authenticated")


@pytest.mark.parametrize("header", ["Basic dXNlcjpwYXNz", "Token hmsact_x", "hmsact_x"])
def test_another_scheme_than_bearer_is_no_credential(header):
    problem(Client().get("/acts/runs", headers={"Authorization": header}), 401, "not_authenticated")


def test_a_password_is_exchanged_for_tokens_that_open_the_api(liaison):
    tokens = json_of(Api().post("/auth/token", {"username": "liaison", "password": PASSWORD}))
    assert set(tokens) == {"access", "refresh"}

    renewed = json_of(Api().post("/auth/token/refresh", {"refresh": tokens["refresh"]}))
    assert set(renewed) == {"access"}
    for access in (tokens["access"], renewed["access"]):
        json_of(Client().get("/acts/runs", headers={"Authorization": f"Bearer {access}"}))


def test_a_wrong_password_is_a_401_that_does_not_say_which_half_was_wrong(liaison):
    wrong = problem(Api().post("/auth/token", {"username": "liaison", "password": "x"}), 401, "not_authenticated")
    nobody = problem(Api().post("/auth/token", {"username": "nobody", "password": "x"}), 401, "not_authenticated")

    assert wrong["detail"] == nobody["detail"]


def test_a_refresh_token_opens_nothing_but_the_refresh(liaison):
    tokens = json_of(Api().post("/auth/token", {"username": "liaison", "password": PASSWORD}))

    refused = Client().get("/acts/runs", headers={"Authorization": f"Bearer {tokens['refresh']}"})
    problem(refused, 401, "not_authenticated")
    problem(Api().post("/auth/token/refresh", {"refresh": tokens["access"]}), 401, "not_authenticated")


def test_a_person_on_our_pages_may_read_by_session_and_changes_nothing_without_the_csrf_token(client_for, liaison):
    published()
    browser = client_for(liaison, enforce_csrf_checks=True)

    json_of(browser.get("/acts/runs"))
    problem(browser.post(START, "{}", content_type="application/json"), 403, "forbidden")


# Addresses and methods --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/acts/nowhere",
        "/acts/runs/9001/nowhere",
        "/acts/runs/9001",
        "/acts/runs/000",
        "/acts/runs/-1",
        "/acts/runs/1e3",
        "/acts/runs/99999999999999999999999",
        "/acts/runs/",
        "/acts/tasks/9001",
        "/acts/playbooks/nowhere",
        "/acts/playbooks/protest_permit/versions/99",
        "/hitl/requests/har_000000000000",
        "/hitl/requests/har_XYZ",
        "/hitl/requests/1",
        "/hitl/nowhere",
        "/auth/nowhere",
        "/api/nowhere",
    ],
)
def test_an_unknown_address_is_a_404_document(api, path):
    problem(api.get(path), 404, "not_found")


def test_what_may_not_be_seen_answers_as_if_it_did_not_exist(api_for):
    run = started()
    stranger = api_for(agent("stranger", "agent:elsewhere"))

    invisible = problem(stranger.get(f"/acts/runs/{run.pk}"), 404, "not_found")
    unknown = problem(stranger.get(f"/acts/runs/{run.pk + 1}"), 404, "not_found")

    assert invisible["detail"] == unknown["detail"].replace(str(run.pk + 1), str(run.pk))


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/acts/run", {"POST"}),
        ("DELETE", "/acts/runs", {"GET"}),
        ("DELETE", "/acts/runs/1", {"GET"}),
        ("POST", "/acts/runs/1/cancel", {"PATCH"}),
        ("GET", "/acts/tasks/next", {"POST"}),
        ("PUT", "/acts/tasks/1/complete", {"POST"}),
        ("DELETE", "/acts/playbooks/protest_permit", {"GET"}),
        ("PATCH", "/acts/playbooks/protest_permit/versions/1", {"GET", "PUT"}),
        ("GET", "/auth/token", {"POST"}),
        ("BREW", "/acts/run", {"POST"}),
        ("TRACE", "/acts/runs", {"GET"}),
    ],
)
def test_a_method_a_call_does_not_have_is_a_405_that_names_those_it_has(api, method, path, allowed):
    answer = api.generic(method, path, b"{}", content_type="application/json")

    problem(answer, 405, "method_not_allowed")
    assert allowed <= {name.strip() for name in answer.headers["Allow"].split(",")} <= allowed | {"HEAD", "OPTIONS"}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "BREW"])
@pytest.mark.parametrize("path", ["/admin/", "/admin/accounts/user/", "/admin/login/", "/forms/protest_permit", "/"])
def test_pages_are_read_or_sent_and_know_no_other_method(client_for, superuser, method, path):
    answer = client_for(superuser).generic(method, path)

    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD, POST")


def test_head_is_get_without_the_body(api):
    answer = api.head("/acts/runs")

    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "image/*"])
def test_only_json_is_answered(api, accept):
    problem(api.get("/acts/runs", headers={"Accept": accept}), 406, "not_acceptable")


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/*", "text/html, */*;q=0.1"])
def test_whoever_takes_json_among_others_gets_it(api, accept):
    json_of(api.get("/acts/runs", headers={"Accept": accept}))


# Bodies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml", "", "x"],
)
def test_a_body_of_another_kind_is_a_415(api, content_type):
    problem(sent(api, b'{"playbook": "protest_permit"}', content_type=content_type), 415, "unsupported_media_type")
    assert not Run.objects.exists()


def test_yaml_is_for_documents_alone(api):
    problem(sent(api, b"playbook: protest_permit", content_type="application/yaml"), 415, "unsupported_media_type")


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "APPLICATION/JSON"])
def test_json_is_json_however_its_type_is_written(api, content_type):
    answer = sent(api, b'{"playbook": "protest_permit", "payload": {"form_id": 1}}', content_type=content_type)

    json_of(answer, 202)


NOT_JSON = {
    "a word": b"playbook",
    "half an object": b'{"playbook": ',
    "two values": b"{} {}",
    "nothing but space": b"   ",
    "single quotes": b"{'playbook': 'protest_permit'}",
    "a trailing comma": b'{"playbook": "protest_permit",}',
    "NaN": b'{"payload": {"x": NaN}}',
    "infinity": b'{"payload": {"x": -Infinity}}',
    "a number beyond all floats": b'{"payload": {"x": 1e309}}',
    "an integer beyond 2^53": b'{"payload": {"x": 9007199254740993}}',
    "an integer of five thousand digits": b'{"payload": {"x": ' + b"9" * 5000 + b"}}",
    "Latin-1": '{"payload": {"name": "Müller"}}'.encode("latin-1"),
    "UTF-16": '{"payload": {}}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"payload": {}}',
    "NUL in a text": b'{"payload": {"x": "a\\u0000b"}}',
    "NUL in a key": b'{"payload": {"a\\u0000b": 1}}',
    "half a surrogate pair": b'{"payload": {"x": "\\ud800"}}',
    "half a surrogate pair as a key": b'{"payload": {"\\udfff": 1}}',
    "a key twice": b'{"playbook": "a", "playbook": "protest_permit"}',
    "a key twice, far inside": b'{"payload": {"a": [{"b": 1, "b": 2}]}}',
}


@pytest.mark.parametrize("name", NOT_JSON)
def test_a_body_that_cannot_be_read_or_kept_is_a_400_with_the_reason(api, name):
    document = problem(sent(api, NOT_JSON[name]), 400, "unparseable")

    assert document["detail"] != "The body cannot be read.", "a reason is given"
    assert not Run.objects.exists()


def nested(levels: int) -> bytes:
    return b'{"playbook": "protest_permit", "payload": {"form_id": 1, "x": ' + b"[" * levels + b"]" * levels + b"}}"


def keyed(count: int) -> bytes:
    """A start with so many keys in all."""
    payload = {f"k{number}": 1 for number in range(count - 2)}
    return json.dumps({"playbook": "protest_permit", "payload": payload}).encode()


def of_size(size: int) -> bytes:
    start, end = b'{"playbook": "protest_permit", "payload": {"text": "', b'"}}'
    return start + b"x" * (size - len(start) - len(end)) + end


def with_integer(number: int) -> bytes:
    return json.dumps({"playbook": "protest_permit", "payload": {"n": number}}).encode()


@pytest.mark.parametrize(
    ("at_the_cap", "beyond", "status", "code"),
    [
        (nested(MAX_DEPTH - 2), nested(MAX_DEPTH - 1), 400, "unparseable"),
        (keyed(MAX_KEYS), keyed(MAX_KEYS + 1), 400, "unparseable"),
        (with_integer(MAX_SAFE_INTEGER), with_integer(MAX_SAFE_INTEGER + 1), 400, "unparseable"),
        (with_integer(-MAX_SAFE_INTEGER), with_integer(-MAX_SAFE_INTEGER - 1), 400, "unparseable"),
        (of_size(MAX_BODY_BYTES), of_size(MAX_BODY_BYTES + 1), 413, "too_large"),
    ],
    ids=["depth", "keys", "integers", "negative integers", "bytes"],
)
def test_each_cap_of_the_parser_lets_the_largest_through_and_refuses_the_next(api, at_the_cap, beyond, status, code):
    json_of(sent(api, at_the_cap), 202)

    problem(sent(api, beyond), status, code)
    assert Run.objects.count() == 1


def test_nesting_of_a_hundred_thousand_levels_is_refused_like_any_other(api):
    problem(sent(api, b"[" * 100_000), 400, "unparseable")


def test_what_was_accepted_comes_back_unchanged(api):
    payload = {
        "text": "Grüße, 你好, \U0001f9ed, \u202e, \ufffe, \u2028, \x7f, <b>&amp;</b>, {{ 7*7 }}, ' OR 1=1 --",
        "numbers": [0, -1, 1.5, 1e-7, 1e15, 123456789.125, MAX_SAFE_INTEGER],
        "deep": {"": [[], {}, None, True, False]},
        "$ref": "x",
        "a.b[0]": {"__proto__": 1, "length": -1},
    }
    run_id = json_of(api.post(START, {"playbook": "protest_permit", "payload": payload}), 202)["run_id"]

    assert json_of(api.get(f"/acts/runs/{run_id}"))["payload"] == payload


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"7", b"true"])
def test_a_body_that_is_no_object_is_a_422(api, body):
    problem(sent(api, body), 422, "invalid")


def test_no_body_at_all_is_an_empty_object(api):
    document = problem(api.generic("POST", START), 422, "invalid")

    assert paths_of(document) == ["playbook"]


def test_an_unknown_field_is_refused_and_the_known_ones_are_named(api):
    document = problem(api.post(START, {"playbok": "protest_permit", "payload": {}}), 422, "invalid")

    assert paths_of(document) == ["playbok"]
    assert "playbook, priority, protocol_id, version" in document["errors"][0]["remedy"]


def test_all_wrong_fields_are_told_at_once(api):
    body = {"playbook": "protest_permit", "payload": [], "priority": "urgent", "version": 0, "labels": {"a": {}}}

    assert set(paths_of(problem(api.post(START, body), 422, "invalid"))) == {
        "payload",
        "priority",
        "version",
        "labels.a",
    }


# Refusals and the log ---------------------------------------------------------------------------------------


def test_a_refused_call_changes_nothing_and_leaves_an_entry_with_its_code(api_for, finance):
    published()
    before = Playbook.objects.count()

    problem(api_for(finance).post(START, {"playbook": "protest_permit"}), 403, "forbidden")

    entry = Entry.objects.latest("id")
    assert (entry.action, entry.result, entry.code, entry.actor_name, entry.channel) == (
        "run.start_denied",
        "DENIED",
        "forbidden",
        "finance",
        "api",
    )
    assert (Run.objects.count(), Playbook.objects.count()) == (0, before)


def test_a_fault_of_our_own_says_nothing_of_our_insides(api_for, validator, monkeypatch):
    def breaks(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("secret of the house")

    monkeypatch.setattr("runs.services.claim_tasks", breaks)
    api = api_for(validator)
    api.raise_request_exception = False

    answer = api.post("/acts/tasks/next", {"role": "agent:validator"})

    document = problem(answer, 500, "fault")
    assert "secret" not in json.dumps(document)


def test_every_answer_carries_the_number_that_the_log_knows_the_request_by(api):
    answer = api.post(START, {"playbook": "protest_permit", "payload": {"form_id": 1}})

    assert answer.headers["X-Request-ID"] == Entry.objects.latest("id").content["request"]
