# SPDX-License-Identifier: Apache-2.0
"""Odd addresses, queries, headers and methods, to calls and open pages: no fault of ours, no way around a log-in."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import quote

import pytest
from django.test import Client

from tests.contract.answers import json_of, problem
from tests.hostile.calls import PAGE_QUERIES, ApiCall, api_calls, as_received, opened

pytestmark = pytest.mark.django_db

READS = [call for call in api_calls() if call.method == "GET"]
LISTS = [call for call in READS if call.template in {"/acts/runs", "/acts/tasks", "/acts/playbooks", "/hitl/requests"}]
FILES = {"/hitl/requests/{request_id}/attachments/{attachment_id}"}
MAY_HAVE_NONE = {"/hitl/requests/{request_id}/receipt", "/hitl/requests/{request_id}/draft"}  # a request, of these
JSON = "application/json"
BIG = ("0", "-1", "1.5", "1e3", "+1", " 1", "٣", "9223372036854775808", "9" * 20, "9" * 5000, "0x10", "null", "")
ODD = (
    "%00",
    "%ff",
    "%ed%a0%80",
    "%e2%80%ae",
    "%F0%9F%92%A9",
    "%0a",
    "%0d%0aX-Injected:%201",
    "'",
    '"',
    "\\",
    "%25",
    "*",
)


# Paths ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [call for call in api_calls() if "_id}" in call.template], ids=str)
def test_an_id_that_no_row_can_have_is_a_404(call, caller, ids):
    (name,) = (each for each in ("run_id", "task_id", "request_id") if f"{{{each}}}" in call.template)
    for value in (*BIG[:-1], *ODD):
        path = call.path({**ids, name: value})
        answer = caller.generic(call.method, "/", b"{}", "application/json", PATH_INFO=as_received(path))

        assert answer.status_code in {404, 422}, f"{path}: {answer.status_code}"
        problem(answer, answer.status_code, answer.json()["code"])
        assert answer.status_code == 404 or value == "0"  # a number; the body is looked at first


ODD_PATHS = (
    "//acts/runs",
    "/acts//runs",
    "///",
    "/acts/./runs",
    "/acts/../acts/runs",
    "/acts/runs/../../admin/",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/static/../manage.py",
    "/static/%2e%2e/%2e%2e/manage.py",
    "/static/..%2f..%2fmanage.py",
    "/acts/runs%2f",
    "/acts/runs/1%2fcancel",
    "/acts/runs;jsessionid=1",
    "/acts/runs;/1",
    "/acts/runs.json",
    "/acts/runs/1.json",
    "/acts/runs/",
    "/acts/runs%20",
    "/acts/runs%00",
    "/acts/runs/%00",
    "/acts/runs%0a",
    "/acts/runs?",
    "/acts/runs%3f",
    "/acts/runs%23x",
    "/acts/playbooks/%ff",
    "/acts/playbooks/..",
    "/acts/playbooks/protest_permit/versions/1/../2",
    "/ACTS/RUNS",
    "/acts/rüns",
    "/acts/runs\u202e",
    "/acts/" + "x" * 8000,
    "/" + "a/" * 4000,
    "/admin//",
    "/admin/%2e%2e/acts/runs",
    "/admin/login/%00",
    "/admin/nowhere/%ff/",
    "/admin/runs/run/%00/change/",
    "/admin/runs/run/" + "9" * 30 + "/change/",
    "/admin/approvals/actionrequest/%ff/change/",
    "/admin/accounts/user/_5F_22/change/",
    "/admin/r/1/2/",
    "/admin/r/" + "9" * 30 + "/1/",
    "/forms/%00",
    "/forms/%ff",
    "/forms/" + "x" * 3000,
    "/forms/thanks/%00",
    "/forms/thanks/a:b:c",
    "/forms/thanks/" + "x" * 3000,
    "/favicon.ico",
    "/.git/config",
    "/wp-admin/setup-config.php",
)


@pytest.mark.parametrize("path", ODD_PATHS, ids=lambda path: path[:40])
@pytest.mark.parametrize("who", ["nobody", "everybody"])
def test_an_odd_path_leads_to_nothing(path, who, caller, everybody, client_for, ids):
    client = Client() if who == "nobody" else client_for(everybody)
    for each in (client, caller):
        answer = opened(each, path)

        assert answer.status_code in {200, 301, 302, 400, 401, 404, 405}, f"{path}: {answer.status_code}"
        if answer.status_code == 200:
            assert path == "/acts/runs?"
            assert each is caller or who == "everybody"
        if answer.status_code in {301, 302}:
            assert answer.headers["Location"].startswith("/"), answer.headers["Location"]
            assert not answer.headers["Location"].startswith("//"), "leads to another host"
        assert "X-Injected" not in answer.headers


@pytest.mark.parametrize(
    "path", ["//acts/runs", "/acts/runs/", "/acts//runs", "/acts/runs%2f", "/acts/runs;x", "/acts/runs.json"]
)
def test_no_spelling_of_an_address_gets_around_the_log_in(path, ids):
    answer = opened(Client(), path)

    assert answer.status_code in {401, 404}
    assert b"protest_permit" not in answer.content


# Queries ----------------------------------------------------------------------------------------------------

ODD_QUERIES = (
    "x",
    "=",
    "&&&&",
    "%",
    "%zz",
    "a=%00",
    "%00=a",
    "a=%ff%fe",
    "a=%ed%a0%80",
    "a[]=1&a[b]=2",
    "a=1;b=2",
    "a=" + "x" * 8000,
    "&".join(f"k{n}=1" for n in range(900)),
    "status=" + "%F0%9F%92%A9",
    "status[]=running",
    "limit=" + "9" * 5000,
    "limit=٣",
    "limit=1e3",
    "limit=-1",
    "limit=0",
    "limit=",
    "limit=1&limit=2",
    "run=9223372036854775808",
    "run=" + "9" * 400,
    "version=-1",
    "created_after=0000-00-00T00:00:00Z",
    "created_after=9999-12-31T23:59:59-23:59",
    "created_after=0001-01-01T00:00:00%2B23:59",
    "created_after=1e10",
    "created_after=now",
    "created_before=2025-02-30T00:00:00Z",
    "stalled=1",
    "label=",
    "label=:",
    "label=%22:%22",
    "label=a%27b:c",
    "label=__proto__:x",
    "playbook=%22%27%5C",
    "started_by=" + "x" * 5000,
    "wait=nan",
    "wait=inf",
    "wait=-1",
    "wait=1e400",
    "wait=",
    "format=html",
    "format=../../etc/passwd",
    "_method=DELETE",
    "page=1",
    "ordering=-password",
    "cursor=%00",
    "cursor=%ff",
    "cursor=" + "A" * 5000,
)


@pytest.mark.parametrize("call", READS, ids=str)
def test_an_odd_query_is_answered_or_refused_with_a_sentence(call, caller, ids):
    for query in ODD_QUERIES:
        answer = opened(caller, f"{call.path(ids)}?{query}")

        if answer.status_code == 200:
            assert answer.headers["Content-Type"] == ("text/plain; charset=utf-8" if call.template in FILES else JSON)
        elif call.template in MAY_HAVE_NONE:
            problem(answer, 404, "not_found")
        else:
            assert answer.status_code == 422, f"{query[:80]}: {answer.status_code} {answer.content[:200]!r}"
            assert problem(answer, 422, "invalid")["errors"], query[:80]


def test_a_query_of_more_fields_than_a_form_may_have_is_a_400(caller):
    many = "&".join(f"k{n}=1" for n in range(1100))

    problem(opened(caller, f"/acts/runs?{many}"), 400, "unparseable")


CURSORS = (
    "",
    "x",
    "r=1",
    "o=1",
    "p=1",
    "p=",
    "p=%00",
    "p=\x00",
    "p=é",
    "p=-1",
    "p=9223372036854775808",
    "p=" + "9" * 400,
    "p=1e9",
    "p=NaN",
    "p=null",
    "p=[1]",
    "p=1&p=2",
    "p=2025-11-03",
    "p=2025-11-03 14:00:00+00:00",
    "p=9999-12-31 23:59:59.999999-23:59",
    "p=0001-01-01 00:00:00+23:59",
    "p=' OR 1=1 --",
    "o=-1&p=1",
    "o=99999999999999999999&p=1",
    "o=x&p=1",
    "r=x&p=1",
)


@pytest.mark.parametrize("call", LISTS, ids=str)
def test_a_cursor_that_was_tampered_with_is_refused_or_shows_a_page(call, caller, ids):
    for text in CURSORS:
        for cursor in (quote(b64encode(text.encode()).decode()), quote(text)):
            if not cursor:
                continue
            answer = opened(caller, f"{call.template}?cursor={cursor}")

            assert answer.status_code in {200, 422}, f"{text}: {answer.status_code} {answer.content[:200]!r}"
            if answer.status_code == 200:
                assert set(json_of(answer)) == {"results", "next", "previous"}


# Headers ----------------------------------------------------------------------------------------------------

NESTED = b64encode(b"[" * 40_000).decode().rstrip("=")
CREDENTIALS = (
    "Bearer",
    "Bearer ",
    "bearer\tx",
    "Bearer \x00",
    "Bearer hmsact_",
    "Bearer hmsact_\x00",
    "Bearer hmsact_\xff\xfe",
    "Bearer hmsact_" + "x" * 60_000,
    "Bearer hmsact_' OR 1=1 --",
    "Bearer " + "x" * 60_000,
    "Bearer ..",
    "Bearer a.b.c",
    "Bearer \xff.\xff.\xff",
    f"Bearer {NESTED}.e30.x",
    f"Bearer e30.{NESTED}.x",
    "Bearer eyJhbGciOiJub25lIn0.eyJ1c2VyX2lkIjoxfQ.",
    "Bearer eyJhbGciOiJIUzI1NiIsImNyaXQiOlsieCJdfQ.e30.x",
    "Bearer e30.e30.",
    "Bearer null",
    "Basic \xff",
    "Digest username=x",
    "\x00",
    "",
    "Bearer hmsact_a, Bearer hmsact_b",
)


@pytest.mark.parametrize("credential", CREDENTIALS, ids=lambda text: repr(text[:30]))
def test_whatever_is_no_credential_is_a_401(credential):
    problem(Client().get("/acts/runs", headers={"Authorization": credential}), 401, "not_authenticated")


def test_a_refresh_token_of_any_make_is_a_401():
    for token in ("x", "..", "a.b.c", f"{NESTED[:4000]}.e30.x", "\x01", "é", "e30.e30.", "{}"):
        answer = Client().post("/auth/token/refresh", {"refresh": token}, content_type="application/json")
        problem(answer, 401, "not_authenticated")


HEADERS: tuple[dict[str, str], ...] = (
    {"Accept": "\xff"},
    {"Accept": "*"},
    {"Accept": ",,,"},
    {"Accept": "application/json;q=x"},
    {"Accept": "application/json; indent=99999999"},
    {"Accept": "application/json; indent=-1"},
    {"Accept": "text/event-stream"},
    {"Accept": "a/b," * 2000},
    {"Accept-Language": "\xff-\xff, " * 300},
    {"Accept-Encoding": "x" * 5000},
    {"Host": "evil.example.org"},
    {"Host": "testserver:99999"},
    {"Host": "test server"},
    {"Host": "[::1"},
    {"Host": ""},
    {"X-Forwarded-Host": "evil.example.org"},
    {"X-Forwarded-For": "\x00, 1.2.3.4"},
    {"X-HTTP-Method-Override": "DELETE"},
    {"X-Original-URL": "/admin/"},
    {"X-Request-ID": "a\r\nb"},
    {"Cookie": "\xff"},
    {"Cookie": "sessionid"},
    {"Cookie": 'sessionid="aaaaaaaaaaaa\\000"'},
    {"Cookie": "sessionid=" + "x" * 5000},
    {"Cookie": 'csrftoken="\\000\\377"'},
    {"Cookie": "messages=[[[[[["},
    {"Cookie": ";;;=;="},
    {"Content-Length": "-1"},
    {"Content-Length": "x"},
    {"Content-Length": "9" * 400},
    {"Range": "bytes=-1"},
    {"If-None-Match": "\xff"},
    {"If-Modified-Since": "\xff"},
    {"If-Match": "\xff"},
    {"Idempotency-Key": "\xff" * 300},
    {"Referer": "\x00"},
    {"Origin": "null"},
    {"User-Agent": "\x00\xff" * 1000},
)


@pytest.mark.parametrize("headers", HEADERS, ids=lambda headers: str(headers)[:50])
@pytest.mark.parametrize(
    "path", ["/acts/runs", "/admin/", "/forms/protest_permit", "/api/schema", "/healthz", "/nowhere"]
)
def test_an_odd_header_breaks_nothing(headers, path, caller, everybody, client_for, ids):
    for client in (Client(), client_for(everybody), caller):
        answer = client.get(path, headers=headers)

        assert answer.status_code < 500, f"{path} {str(headers)[:80]}: {answer.status_code}"


@pytest.mark.parametrize(
    "headers", [{"If-Match": value} for value in ("\xff", '"', "x", '"x', "W/", ",", '"a", b', '""')]
)
def test_an_odd_if_match_is_refused(headers, api_for, validator, ids):
    answer = api_for(validator).post(
        f"/acts/tasks/{ids['task_id']}/heartbeat", {"token": ids["token"]}, headers=headers
    )

    assert answer.status_code in {409, 422}
    problem(answer, answer.status_code, "stale_revision" if answer.status_code == 409 else "invalid")


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "\x7f", "x" * 256, "\t"])
def test_an_odd_idempotency_key_is_refused_or_is_none(key, api_for, validator, ids):
    body = {"playbook": "protest_permit"}
    answer = api_for(validator).post("/acts/run", body, headers={"Idempotency-Key": key})

    problem(answer, 422, "invalid")


# Open pages -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/forms/protest_permit", "/admin/login/", "/api/docs", "/api/schema"])
def test_no_open_page_breaks_on_an_odd_query(path, ids):
    for query in (*PAGE_QUERIES, *ODD_QUERIES):
        answer = opened(Client(), f"{path}?{query}")

        assert answer.status_code in {200, 301, 302, 400, 404, 503}, f"{query[:80]}: {answer.status_code}"
        assert "evil.example.org" not in answer.headers.get("Location", "")


# Methods ----------------------------------------------------------------------------------------------------

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "get", "\u00e9")


@pytest.mark.parametrize("template", sorted({call.template for call in api_calls()}))
def test_a_method_a_call_does_not_have_is_a_405(template, caller, ids, nothing_moved):
    has = {call.method for call in api_calls() if call.template == template}
    for method in METHODS:
        if method.upper() in has:
            continue
        answer = caller.generic(method, ApiCall(method, template).path(ids), b"{}", content_type="application/json")

        problem(answer, 405, "method_not_allowed")
        assert has <= {name.strip() for name in answer.headers["Allow"].split(",")}
