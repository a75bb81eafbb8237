# SPDX-License-Identifier: Apache-2.0
"""Bodies that nobody sends by accident, to every call that takes one: a sentence, and never a fault of ours."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from config.api import MAX_BODY_BYTES
from tests.approvals.outside import SLACK_SECRET, SLACK_TOKEN, clicked_as, connected, sent_as
from tests.contract.answers import problem
from tests.hostile.calls import WITH_A_BODY, ApiCall, api_calls
from tests.people import Api

pytestmark = pytest.mark.django_db

JSON = "application/json"
WITH_BODIES = [call for call in api_calls() if call.method in WITH_A_BODY]
CALLS = [call for call in WITH_BODIES if not call.is_signed]
SIGNED = {"/hitl/slack/interactive": clicked_as, "/hitl/external/{system}": sent_as}


refused_unread = pytest.mark.once  # before any of it reaches a database


def sent(api: Api, call: ApiCall, ids: dict[str, Any], body: bytes, content_type: str = JSON) -> Any:
    return api.generic(call.method, call.path(ids), body, content_type=content_type)


UNREADABLE = {
    "a thousand arrays": b"[" * 1000 + b"]" * 1000,
    "a thousand objects": b'{"a":' * 1000 + b"1" + b"}" * 1000,
    "a hundred thousand arrays, never closed": b"[" * 100_000,
    "arrays in a field": b'{"payload": ' + b"[" * 100 + b"]" * 100 + b"}",
    "brackets closed before they open": b"]" * 100 + b"[" * 100,
    "NUL in a value": b'{"payload": {"x": "a\\u0000"}}',
    "NUL in a key": b'{"\\u0000": 1}',
    "NUL as it is": b'{"x": "\x00"}',
    "NUL alone": b"\x00",
    "a control character as it is": b'{"x": "\x01"}',
    "half a pair": b'{"payload": {"x": "\\ud83d"}}',
    "half a pair as a key": b'{"\\udc00": 1}',
    "a pair the wrong way round": b'{"x": "\\udc00\\ud800"}',
    "half a pair in UTF-8": b'{"x": "\xed\xa0\x80"}',
    "a key twice": b'{"token": "a", "token": "b"}',
    "a key twice, written differently": b'{"token": "a", "\\u0074oken": "b"}',
    "NaN": b'{"x": NaN}',
    "Infinity": b'{"x": Infinity}',
    "minus infinity": b'{"x": -Infinity}',
    "beyond all floats": b'{"x": 1e309}',
    "beyond all floats, below": b'{"x": -1e309}',
    "an exponent of a million digits": b'{"x": 1e' + b"9" * 1000 + b"}",
    "2^53 + 1": b'{"x": 9007199254740993}',
    "2^53 + 1 as a float": b'{"x": 9007199254740993.0}',
    "2^63": b'{"x": 9223372036854775808}',
    "1e300": b'{"x": [1e300]}',
    "five thousand digits": b'{"x": ' + b"1" * 5000 + b"}",
    "a leading zero": b'{"x": 007}',
    "a plus": b'{"x": +1}',
    "hexadecimal": b'{"x": 0x1F}',
    "ten thousand keys and one": json.dumps({f"k{n}": 1 for n in range(10_001)}).encode(),
    "ten thousand keys and one in many objects": json.dumps([{"k": 1}] * 10_001).encode(),
    "a byte order mark": b'\xef\xbb\xbf{"x": 1}',
    "UTF-16": '{"x": 1}'.encode("utf-16"),
    "UTF-32": '{"x": 1}'.encode("utf-32-le"),
    "Latin-1": '{"x": "é"}'.encode("latin-1"),
    "overlong UTF-8": b'{"x": "\xc0\xaf"}',
    "compressed": gzip.compress(b'{"x": 1}'),
    "something behind it": b'{"x": 1} x',
    "two values": b'{"x": 1}{"x": 2}',
    "a comment": b'{"x": 1 /* no */}',
    "a trailing comma": b'{"x": 1,}',
    "single quotes": b"{'x': 1}",
    "half a value": b'{"x": "',
    "half an escape": b'{"x": "\\u12"}',
    "only space": b" \n\t ",
    "a form": b"playbook=protest_permit&payload=%7B%7D",
    "XML with an entity": b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>',
}


@refused_unread
@pytest.mark.parametrize("call", CALLS, ids=str)
def test_what_cannot_be_read_is_a_400_with_the_reason(caller, call, ids, nothing_moved):
    for name, body in UNREADABLE.items():
        answer = sent(caller, call, ids, body)

        if _checks_documents(call, answer):
            continue  # what is wrong with a document is this call's own answer
        assert answer.status_code == 400, f"{name}: {answer.status_code} {answer.content[:300]!r}"
        document = problem(answer, 400, answer.json()["code"])
        assert document["code"] in {"unparseable", "unparseable_document"}, name
        assert len(document["detail"]) > 20, f"{name}: {document['detail']}"


@refused_unread
@pytest.mark.parametrize("call", WITH_BODIES, ids=str)
def test_a_body_beyond_the_cap_is_a_413(caller, call, ids, nothing_moved):
    problem(sent(caller, call, ids, b'{"x": "' + b"x" * MAX_BODY_BYTES + b'"}'), 413, "too_large")


WRONG_KINDS = (
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    "text/plain",
    "text/html; charset=utf-8",
    "application/xml",
    "application/octet-stream",
    "application/problem+json",
    "application/jsonx",
    "application/json/x",
    "json",
    ";",
    "/",
    "*/*",
    "application/*",
    "\xff",
    "a" * 5000,
    "",
)


@refused_unread
@pytest.mark.parametrize("call", CALLS, ids=str)
def test_a_body_of_another_kind_is_a_415(caller, call, ids, nothing_moved):
    for kind in WRONG_KINDS:
        if kind.startswith("multipart/") and call.template.endswith("/attachments"):
            continue  # files are sent in parts too: tests/approvals/test_talk.py
        answer = sent(caller, call, ids, b'{"x": 1}', kind)

        assert answer.status_code == 415, f"{kind!r}: {answer.status_code} {answer.content[:300]!r}"
        problem(answer, 415, "unsupported_media_type")


ODD_BUT_JSON = (
    "application/json; charset=utf-16",
    "application/json; charset=no-such-charset",
    'application/json; charset="',
    "application/json;;;",
    "application/json; boundary=x",
    "APPLICATION/JSON",
)


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_json_is_read_as_utf8_whatever_its_type_claims_besides(caller, call, ids, nothing_moved):
    for kind in ODD_BUT_JSON:
        answer = sent(caller, call, ids, '{"no such field": "é"}'.encode(), kind)

        assert answer.status_code == 422 or _checks_documents(call, answer), f"{kind}: {answer.content[:300]!r}"


NO_OBJECTS = (b"[]", b"null", b'"text"', b"7", b"1.5", b"true", b'[{"x": 1}]')


def _checks_documents(call: ApiCall, answer: Any) -> Any:
    validating = call.template == "/acts/playbooks/validate" and answer.status_code == 200
    return validating and answer.json()["valid"] is False and answer.json()["errors"]


@refused_unread
@pytest.mark.parametrize("call", CALLS, ids=str)
@pytest.mark.parametrize("body", NO_OBJECTS)
def test_a_body_that_is_no_object_is_a_422(caller, call, body, ids, nothing_moved):
    answer = sent(caller, call, ids, body)

    assert answer.status_code == 422 or _checks_documents(call, answer), answer.content[:300]


@pytest.fixture
def outside(everybody: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What may send signed calls: a Slack, and an approval system."""
    settings.SLACK_TOKEN, settings.SLACK_SIGNING_SECRET = SLACK_TOKEN, SLACK_SECRET
    connected(everybody, settings, monkeypatch)


@pytest.mark.parametrize("call", [call for call in WITH_BODIES if call.is_signed], ids=str)
def test_a_body_that_is_not_signed_is_a_403_whatever_it_holds(caller, call, ids, outside, nothing_moved):
    for body in (*UNREADABLE.values(), *NO_OBJECTS):
        answer = sent(caller, call, ids, body)

        assert answer.json()["code"] in {"bad_signature", "stale_message"}
        problem(answer, 403, answer.json()["code"])


@pytest.mark.parametrize("template", SIGNED)
def test_a_signed_body_that_cannot_be_read_is_refused_with_the_reason(template, ids, outside, nothing_moved):
    for body in (*UNREADABLE.values(), *NO_OBJECTS):
        answer = SIGNED[template](body)

        assert answer.status_code in {400, 403, 422}, f"{body[:40]!r}: {answer.status_code} {answer.content[:300]!r}"
        assert answer.status_code != 403 or not _is_text(body)  # what is no text has no signature
        problem(answer, answer.status_code, answer.json()["code"])


def _is_text(body: bytes) -> bool:
    return body.decode(errors="ignore").encode() == body


WRONG_TYPES: dict[str, list[dict[str, Any]]] = {
    "/acts/run": [
        {"playbook": 7},
        {"playbook": True},
        {"playbook": None},
        {"playbook": ["protest_permit"]},
        {"playbook": ""},
        {"playbook": " "},
        {"protocol_id": "1"},
        {"protocol_id": True},
        {"protocol_id": 1.5},
        {"protocol_id": 0},
        {"protocol_id": -1},
        *(
            {"playbook": "protest_permit", **field}
            for field in (
                {"version": "1"},
                {"version": True},
                {"version": 2**31},
                {"payload": None},
                {"payload": []},
                {"payload": "{}"},
                {"labels": {"a": 1}},
                {"labels": {"a": None}},
                {"labels": {"a": ""}},
                {"labels": [["a", "b"]]},
                {"priority": 0},
                {"priority": "MEDIUM"},
                {"priority": ["medium"]},
                {"priority": {}},
            )
        ),
    ],
    "/acts/tasks/next": [
        {"role": 7},
        {"role": None},
        *(
            {"role": "agent:validator", **field}
            for field in (
                {"wait": "5"},
                {"wait": True},
                {"wait": -1},
                {"wait": 61},
                {"wait": None},
                {"wait": [1]},
                {"limit": "1"},
                {"limit": True},
                {"limit": 1.5},
                {"limit": 0},
                {"limit": 21},
            )
        ),
    ],
    "/acts/tasks/{task_id}/complete": [
        {"outcome": 1},
        {"outcome": True},
        {"outcome": "x" * 65},
        {"outcome": "PASS", "token": 7},
        {"outcome": "PASS", "token": ["x"]},
        {"outcome": "PASS", "note": 7},
        {"outcome": "PASS", "note": None},
        {"outcome": "PASS", "note": "x" * 10_001},
    ],
    "/acts/tasks/{task_id}/fail": [
        {"token": "x", "retryable": "no"},
        {"token": "x", "retryable": 0},
        {"token": "x", "retryable": None},
        {"token": "x", "error_type": 5},
        {"token": "x", "message": {}},
    ],
    "/acts/tasks/{task_id}/request-approval": [
        {"token": "x", "reason": 7},
        {"token": "x", "reason": " \n "},
        {"token": "x", "reason": "r", "context": []},
        {"token": "x", "reason": "r", "options": "yes"},
        {"token": "x", "reason": "r", "options": {"a": 1}},
        {"token": "x", "reason": "r", "options": [1]},
        {"token": "x", "reason": "r", "options": ["two words"]},
        {"token": "x", "reason": "r", "options": ["a\n"]},
        {"token": "x", "reason": "r", "options": [f"o{n}" for n in range(21)]},
    ],
    "/hitl/requests": [
        {"title": 7},
        {"title": "\u2003"},
        {"title": "x" * 201},
        {"title": "t", "required_fields": ["a"]},
        {"title": "t", "required_fields": {"a": 1}},
        {"title": "t", "context": "c"},
        {"title": "t", "request_type": 1},
        {"title": "t", "workflow_id": 1},
    ],
    "/hitl/requests/{request_id}/fulfill": [
        {"response_data": []},
        {"response_data": None},
        {"notes": 7},
        {"outcome": 7},
        {"outcome": ""},
        {"revision": "1"},
        {"revision": True},
        {"revision": 0},
        {"revision": 2**31},
    ],
    "/hitl/requests/{request_id}/request-info": [{"question": ""}, {"question": 7}, {}],
    "/hitl/requests/{request_id}/answer": [{"answer": ""}, {"answer": 7}, {}],
    "/hitl/requests/{request_id}/request-changes": [{"feedback": ""}, {"feedback": 7}, {}],
    "/hitl/requests/{request_id}/reject": [{"reason": 7}, {"reason": None}, {"revision": "1"}],
    "/auth/token": [{"username": 7, "password": "x"}, {"username": "x", "password": 7}, {"username": "x"}],
    "/auth/token/refresh": [{"refresh": 7}, {"refresh": ["x"]}, {"refresh": "x" * 5000}],
}


@pytest.mark.parametrize("template", WRONG_TYPES)
def test_a_field_of_another_type_is_a_422_and_never_taken_for_what_it_resembles(
    template, api_for, everybody, ids, nothing_moved
):
    """Numbers are not texts, texts are not numbers, 0 and "no" are not false, space is not an answer."""
    api = api_for(everybody)
    for body in WRONG_TYPES[template]:
        answer = api.post(template.format(**ids), body)

        assert answer.status_code == 422, f"{body}: {answer.status_code} {answer.content[:300]!r}"
        assert problem(answer, 422, "invalid")["errors"], body
