# SPDX-License-Identifier: Apache-2.0
"""What a connector sends, and what each answer means for the step."""

from __future__ import annotations

import base64
import json
import logging
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection
from standardwebhooks.webhooks import Webhook

from audit.models import Disclosure
from config.errors import Invalid
from playbooks import catalogue, connectors
from playbooks.catalogue import ActionCall, Permanent, Verdict
from playbooks.connector_services import Terms, create_connector, disable_connector, enable_connector
from playbooks.models import Connector
from playbooks.outbound import AnswerUnusable, NotAllowed
from runs import jobs
from tests.factories import actions_of, later, published, reloaded, started, steps, tasks_of
from tests.playbooks.loopback import listening

pytestmark = pytest.mark.django_db

CANARY = 'canary-5f2c9e/+A="quoted"'
SIGNING = "whsec_" + base64.b64encode(b"signing-canary-of-24-byte").decode()
PUBLISH = steps({"id": "deploy", "role": "svc:exporter", "call": "exporter.publish", "retries": 2}, id="publish")


@pytest.fixture
def service(settings, monkeypatch):
    with listening() as service:
        settings.CONNECTOR_HOSTS = frozenset({("127.0.0.1", service.port)})
        settings.CONNECTOR_SECRETS = frozenset({"env:LICENCE_TOKEN", "env:LICENCE_SIGNING"})
        monkeypatch.setenv("LICENCE_TOKEN", CANARY)
        monkeypatch.setenv("LICENCE_SIGNING", SIGNING)
        yield service


@pytest.fixture
def connect(service, administrator):
    def make(**terms: Any) -> Connector:
        given = {"url": f"{service.url}/licences", "title": "The exporter's portal", **terms}
        return create_connector(actor=administrator, name="exporter.publish", terms=Terms(**given))

    return make


def given(**changes: Any) -> ActionCall:
    whole = ActionCall({"copies": 2}, {"license_id": 123}, {"fetch_data": {"name": "ACME"}}, 12, "deploy", 1, "k" * 64)
    return replace(whole, **changes)


# What is sent ---------------------------------------------------------------------------------------------


def test_the_service_is_sent_what_the_step_knows_under_the_effects_key(service, connect):
    service.says(200, {"publication": "P-1"})

    output = connectors.call(connect(headers={"X-Office": "BIS"}), given())

    assert output == {"publication": "P-1"}
    (heard,) = service.heard
    assert (heard.method, heard.path) == ("POST", "/licences")
    assert heard.json == {
        "call": "exporter.publish",
        "step": "deploy",
        "arguments": {"copies": 2},
        "payload": {"license_id": 123},
        "data": {"fetch_data": {"name": "ACME"}},
    }
    said = {name: heard.headers[name] for name in ("idempotency-key", "hms-act-run", "hms-act-attempt", "x-office")}
    assert said == {"idempotency-key": "k" * 64, "hms-act-run": "12", "hms-act-attempt": "1", "x-office": "BIS"}
    assert heard.headers["content-type"] == "application/json"
    assert "authorization" not in heard.headers


def test_a_repetition_is_the_same_byte_for_byte_so_that_the_service_can_know_it(service, connect):
    connector = connect()
    for attempt in (1, 2):
        connectors.call(connector, given(attempt=attempt, run_id=11 + attempt))

    first, second = service.heard
    assert first.body == second.body
    assert (first.headers["hms-act-attempt"], second.headers["hms-act-attempt"]) == ("1", "2")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_the_method_is_the_connectors(service, connect, method):
    connectors.call(connect(method=method), given())

    assert service.heard[0].method == method


# What came of it ------------------------------------------------------------------------------------------


def test_a_service_can_be_asked_what_came_of_an_earlier_request(service, connect):
    connector = connect(query_url=f"{service.url}/licences/by-key/{{key}}", secret_ref="env:LICENCE_TOKEN")
    service.says(200, {"publication": "P-1"})

    assert connectors.query(connector, given()) == {"publication": "P-1"}
    (heard,) = service.heard
    assert (heard.method, heard.path, heard.body) == ("GET", f"/licences/by-key/{'k' * 64}", b"")
    assert heard.headers["authorization"] == f"Bearer {CANARY}"


def test_not_found_means_that_nothing_came_of_it_and_a_fault_is_a_fault(service, connect):
    connector = connect(query_url=f"{service.url}/licences/{{key}}")
    service.says(404, {})
    assert connectors.query(connector, given()) is None
    service.says(503, {})
    with pytest.raises(connectors.ServiceFault):
        connectors.query(connector, given())


@pytest.mark.parametrize("url", ["https://elsewhere.example/{key}", "/licences", "/{key}/{key}", "ftp://{key}"])
def test_an_address_to_ask_at_is_held_to_the_rules_of_the_other(service, connect, url):
    with pytest.raises(Invalid):
        connect(query_url=f"{service.url}{url}" if url.startswith("/") else url)


def test_only_a_connector_that_can_be_asked_serves_a_step_that_asks_first(service, connect):
    connector = connect()
    assert not catalogue.can_query(connector.name)
    type(connector).objects.update(query_url=f"{service.url}/licences/{{key}}")
    assert catalogue.can_query(connector.name)


def test_what_the_step_maps_is_sent_too(service, connect):
    connectors.call(connect(), given(input={"licence": 7}))
    assert service.heard[0].json["input"] == {"licence": 7}


# Secrets --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "value"),
    [("Authorization", f"Bearer {CANARY}"), ("X-Api-Key", CANARY), ("authorization", f"Bearer {CANARY}")],
)
def test_a_secret_is_sent_in_its_header(service, connect, header, value):
    connectors.call(connect(secret_ref="env:LICENCE_TOKEN", secret_header=header), given())

    assert service.heard[0].headers[header.lower()] == value


def test_a_secret_in_a_file_is_read_anew_at_each_call(service, connect, settings, tmp_path):
    file = tmp_path / "token"
    settings.CONNECTOR_SECRETS = frozenset({f"file:{file}"})
    connector = connect(secret_ref=f"file:{file}")
    for content in ("first-token\n", "second-token\n"):
        file.write_text(content)
        connectors.call(connector, given())

    sent = [heard.headers["authorization"] for heard in service.heard]
    assert sent == ["Bearer first-token", "Bearer second-token"]


@pytest.mark.parametrize("value", ["", "  ", "short", "two\nlines-of-it", "snowman-\u2603-token"])
def test_what_cannot_be_a_secret_is_a_fault_that_does_not_repeat_it(service, connect, monkeypatch, value):
    connector = connect(secret_ref="env:LICENCE_TOKEN")
    monkeypatch.setenv("LICENCE_TOKEN", value)

    with pytest.raises(connectors.SecretUnavailable) as fault:
        connectors.call(connector, given())

    assert not value.strip() or value.strip() not in str(fault.value)
    assert service.heard == []


def test_a_file_that_is_not_there_is_a_fault_that_may_pass(connect, settings, tmp_path):
    settings.CONNECTOR_SECRETS = frozenset({f"file:{tmp_path}/gone"})

    with pytest.raises(connectors.SecretUnavailable, match="No such file"):
        connectors.call(connect(secret_ref=f"file:{tmp_path}/gone"), given())


def test_a_reference_taken_off_the_list_is_not_read_any_more(service, connect, settings):
    connector = connect(secret_ref="env:LICENCE_TOKEN")
    settings.CONNECTOR_SECRETS = frozenset()

    with pytest.raises(NotAllowed, match="HMS_ACT_CONNECTOR_SECRETS"):
        connectors.call(connector, given())
    assert service.heard == []


def test_a_signed_request_is_verified_by_whoever_holds_the_secret(service, connect):
    connector = connect(signing_ref="env:LICENCE_SIGNING")
    for _ in range(2):
        connectors.call(connector, given())

    for heard in service.heard:
        assert Webhook(SIGNING).verify(heard.body, dict(heard.headers)) == heard.json
        assert heard.headers["webhook-id"] == "k" * 64, "a repetition is known for one"


def test_a_signing_secret_that_is_none_is_a_fault(connect, monkeypatch):
    connector = connect(signing_ref="env:LICENCE_SIGNING")
    monkeypatch.setenv("LICENCE_SIGNING", "whsec_====")

    with pytest.raises(connectors.SecretUnavailable, match="no signing secret"):
        connectors.call(connector, given())


def test_a_secret_stands_nowhere_though_the_service_repeats_it(service, connect, caplog, worker_user):
    caplog.set_level(logging.DEBUG)
    connect(secret_ref="env:LICENCE_TOKEN")
    service.says(400, {"you said": f"Bearer {CANARY}", CANARY: "x"}, X_Echo="y")
    started(PUBLISH)
    jobs.tick()
    service.says(200, {"echo": [f"Bearer {CANARY}"], CANARY: {"nested": CANARY}})
    answered = started(PUBLISH)
    jobs.tick()

    assert tasks_of(answered)[0].output == {"echo": ["Bearer [secret]"], "[secret]": {"nested": "[secret]"}}
    forms = {CANARY, json.dumps(CANARY)[1:-1], "canary-5f2c9e"}
    for kept in (everything_kept(), caplog.text):
        assert not any(form in kept for form in forms)


def everything_kept() -> str:
    """All rows of all tables, and what the disclosures say when they are opened."""
    texts = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT * FROM "{table}"')
            texts.append(str(cursor.fetchall()))
    for disclosure in Disclosure.objects.all():
        for item in disclosure.items:
            padded = item["disclosure"] + "=" * (-len(item["disclosure"]) % 4)
            texts.append(base64.urlsafe_b64decode(padded).decode())
    assert len(texts) > 20
    return "\n".join(texts)


# What the answer means ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "body"), [(200, b""), (204, b""), (202, b" \n")])
def test_no_answer_beside_the_status_is_an_empty_output(service, connect, status, body):
    service.says(status, body)

    assert connectors.call(connect(), given()) == {}


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (301, connectors.ServiceRefused),
        (304, connectors.ServiceRefused),
        (400, connectors.ServiceRefused),
        (401, connectors.ServiceRefused),
        (404, connectors.ServiceRefused),
        (422, connectors.ServiceRefused),
        (408, connectors.ServiceBusy),
        (409, connectors.ServiceBusy),
        (425, connectors.ServiceBusy),
        (429, connectors.ServiceBusy),
        (500, connectors.ServiceFault),
        (503, connectors.ServiceFault),
        (599, connectors.ServiceFault),
    ],
)
def test_a_status_is_the_fault_it_stands_for(service, connect, status, fault):
    service.says(status, {"error": "no such licence"} if status != 304 else b"")

    with pytest.raises(fault, match=f"The exporter's portal answered {status}") as raised:
        connectors.call(connect(), given())

    assert isinstance(raised.value, Permanent) == (fault is connectors.ServiceRefused)


def test_a_status_that_means_no_is_a_verdict(service, connect):
    service.says(409, {"reason": "embargo"})

    with pytest.raises(Verdict, match="embargo"):
        connectors.call(connect(verdict_statuses=(409, 451)), given())


def test_what_the_service_asks_for_is_told(service, connect):
    service.says(429, Retry_After="120")

    with pytest.raises(connectors.ServiceBusy, match="left alone until, or for: 120"):
        connectors.call(connect(), given())


def test_of_what_the_service_says_little_is_kept_and_nothing_that_cannot_be(service, connect):
    service.says(500, b"\x00\x1b[31mno\r\n\xff\xe2\x80\xae" + b"y" * 5000)

    with pytest.raises(connectors.ServiceFault) as raised:
        connectors.call(connect(), given())

    said = str(raised.value)
    assert "[31mno" in said
    assert said.isprintable()
    assert len(said) < 300


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>", "not JSON"),
        (b"[1, 2]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b'{"a": 1, "a": 2}', "stands twice"),
        (b'{"a": 1e999}', "A number is"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": 9007199254740993}', "2\\^53"),
        (b'{"a": "\\u0000"}', "NUL"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "nested deeper"),
    ],
)
def test_an_answer_that_cannot_be_kept_is_not_asked_for_again(service, connect, body, reason):
    service.says(200, body)

    with pytest.raises(AnswerUnusable, match=f"did as asked.*{reason}"):
        connectors.call(connect(), given())


def test_a_host_taken_off_the_list_is_not_called_any_more(service, connect, settings):
    connector = connect()
    settings.CONNECTOR_HOSTS = frozenset()

    with pytest.raises(NotAllowed, match="HMS_ACT_CONNECTOR_HOSTS"):
        connectors.call(connector, given())
    assert service.heard == []


def test_a_call_takes_no_longer_than_the_worker_gives_any_action(service, connect, settings):
    connector = connect(total_seconds=30, read_seconds=30)
    settings.CALL_TIMEOUT_SECONDS = 7

    assert connectors._total_seconds(connector) == 7


# In a run -------------------------------------------------------------------------------------------------


def test_a_playbook_that_calls_a_connector_can_be_published_and_run(service, connect):
    connect()
    assert "exporter.publish" in catalogue.names()
    service.says(201, {"publication": "P-1"})

    run = started(PUBLISH, payload={"license_id": 123})
    jobs.tick()

    (task,) = tasks_of(run)
    assert (task.state, task.outcome, task.output) == ("completed", "PASS", {"publication": "P-1"})
    assert reloaded(run).state == "completed"
    assert service.heard[0].json["payload"] == {"license_id": 123}
    assert "effect.confirmed" in actions_of(run)


def test_an_unknown_call_cannot_be_published():
    with pytest.raises(Exception, match="cannot be published"):
        published(steps({"id": "deploy", "role": "svc:exporter", "call": "exporter.unknown"}, id="unknown"))


def test_a_fault_that_may_pass_is_tried_again_under_the_same_key(service, connect):
    connect()
    service.says(503, Retry_After="2")
    run = started(PUBLISH)
    jobs.tick()
    service.says(200, {"publication": "P-1"})
    later(minutes=10)
    jobs.tick()

    assert [(task.state, task.error_type) for task in tasks_of(run)] == [("failed", "ServiceFault"), ("completed", "")]
    first, second = service.heard
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


def test_a_refusal_for_good_is_not_tried_again(service, connect):
    connect()
    service.says(404, {"error": "no such licence"})
    run = started(PUBLISH)
    jobs.tick()
    later(minutes=10)
    jobs.tick()

    (task,) = tasks_of(run)
    assert (task.state, task.error_type) == ("failed", "ServiceRefused")
    assert "no such licence" in task.error_message
    assert len(service.heard) == 1


def test_the_services_no_ends_the_step_with_fail(service, connect):
    connect(verdict_statuses=(451,))
    service.says(451, {"reason": "embargo"})
    run = started(PUBLISH)
    jobs.tick()

    (task,) = tasks_of(run)
    assert (task.state, task.outcome) == ("completed", "FAIL")
    assert "embargo" in task.note


def test_while_a_connector_is_disabled_its_steps_wait_for_it(service, connect, administrator):
    connector = connect()
    disable_connector(actor=administrator, connector_id=connector.pk, reason="The portal moves tonight.")
    run = started(PUBLISH)
    jobs.tick()

    assert service.heard == []
    assert tasks_of(run)[0].error_type == "ConnectorDisabled"
    assert "exporter.publish is disabled" in tasks_of(run)[0].error_message
    enable_connector(actor=administrator, connector_id=connector.pk, reason="It has moved.")
    later(minutes=10)
    jobs.tick()
    assert reloaded(run).state == "completed"
    assert len(service.heard) == 1
