# SPDX-License-Identifier: Apache-2.0
"""Secrets in the client: a handle shows a mask wherever it goes, and gives the value once."""

import copy
import dataclasses
import json
import logging
import pickle

import pytest

from hms_act import Client, NotFound, Secret, SecretGone
from tests.sdk.wire import DROPPED, Answer, claimed, problem

CANARY = "sk_live_canary"
ANSWERED = {
    "id": "har_1",
    "status": "fulfilled",
    "outcome": "PASS",
    "response_data": {"api_key": "••••••••", "webhook_secret": "••••••••", "account": "acct_1"},
    "secret_fields": ["api_key", "webhook_secret"],
}
VALUES = {"request_id": "har_1", "values": {"api_key": CANARY, "webhook_secret": "whsec_canary"}}
READ, UNWRAP = "GET /hitl/requests/har_1", "POST /hitl/requests/har_1/unwrap"


@pytest.fixture
def client(wire):
    with Client(wire.url, "hmsact_key", sleep=lambda seconds: None) as made:
        yield made


@pytest.fixture
def answer(wire, client):
    wire.answers(READ, Answer(200, ANSWERED))
    return client.request("har_1").response_data


def test_reading_an_answer_fetches_no_secret(wire, answer):
    assert isinstance(answer["api_key"], Secret)
    assert answer["account"] == "acct_1"
    assert wire.calls(UNWRAP) == []


def test_revealed_it_is_the_value_and_one_call_fetches_all_of_an_answer(wire, answer):
    wire.answers(UNWRAP, Answer(200, VALUES))

    assert answer["api_key"].reveal() == CANARY
    assert answer["webhook_secret"].reveal() == "whsec_canary"
    assert len(wire.calls(UNWRAP)) == 1


def test_a_second_time_it_is_gone(wire, answer):
    wire.answers(UNWRAP, Answer(200, VALUES))
    answer["api_key"].reveal()

    with pytest.raises(SecretGone, match="revealed already"):
        answer["api_key"].reveal()
    assert len(wire.calls(UNWRAP)) == 1


def test_what_another_has_fetched_is_gone(wire, answer):
    wire.answers(UNWRAP, problem(410, "secret_gone", "It was fetched on 2025-11-03."))

    with pytest.raises(SecretGone, match="It was fetched") as refused:
        answer["api_key"].reveal()
    assert (refused.value.status, refused.value.code) == (410, "secret_gone")


@pytest.mark.parametrize("revealed", [False, True])
def test_nothing_that_shows_it_shows_the_value(wire, answer, caplog, revealed):
    wire.answers(UNWRAP, Answer(200, VALUES))
    secret = answer["api_key"]
    if revealed:
        secret.reveal()
    logging.getLogger("an agent").warning("got %s and %r", secret, answer)

    shown = [
        str(secret),
        repr(secret),
        f"{secret} {secret!r} {secret:>20}",
        "%s" % secret,  # noqa: UP031  as logging does
        json.dumps(answer),
        repr(answer),
        repr(vars(secret)),
        str(pickle.loads(pickle.dumps(answer))),
        str(copy.deepcopy(answer)),
        secret.encode().decode(),
        caplog.text,
    ]

    assert [text for text in shown if "canary" in text] == []
    assert json.loads(json.dumps(answer))["api_key"] == "••••••••"


def test_a_whole_request_can_be_turned_into_a_mapping(wire, client):
    wire.answers(READ, Answer(200, ANSWERED))

    told = dataclasses.asdict(client.request("har_1"))

    assert told["response_data"]["api_key"] == "••••••••"


def test_an_answer_that_was_lost_on_its_way_is_not_asked_for_again(wire, answer):
    wire.answers(UNWRAP, DROPPED)

    with pytest.raises(Exception, match="No answer"):
        answer["api_key"].reveal()
    assert len(wire.calls(UNWRAP)) == 1


def test_the_secret_of_a_step_is_fetched_with_the_task_that_was_handed_it(wire, client):
    wire.answers("POST /acts/tasks/next", claimed(31, data={"Ask": {"api_key": {"secret_of": "har_1"}}}))
    wire.answers(UNWRAP, Answer(200, VALUES))
    task = client.next_task("agent:validator")

    assert client.unwrap("har_1", task=task)["api_key"] == CANARY
    (heard,) = wire.calls(UNWRAP)
    assert heard.body == {"task": 31, "token": "token-31"}


def test_what_is_said_and_attached_goes_to_the_request(wire, client):
    said = {"id": 1, "author": "validator", "text": "Here it is.", "revision": 1, "created_at": None}
    file = {"id": 2, "name": "a.txt", "media_type": "text/plain", "size": 2, "sha256": "ab", "revision": 1}
    wire.answers("POST /hitl/requests/har_1/comment", Answer(201, said))
    wire.answers("POST /hitl/requests/har_1/attachments", Answer(201, file))
    wire.answers("GET /hitl/requests/har_1/comment", Answer(200, {"results": [said], "next": None}))
    wire.answers("GET /hitl/requests/har_1/attachments", Answer(200, {"results": [file], "next": None}))

    assert client.comment("har_1", "Here it is.").author == "validator"
    assert client.attach("har_1", "a.txt", b"hi").media_type == "text/plain"
    assert [one.text for one in client.comments("har_1")] == ["Here it is."]
    assert [one.sha256 for one in client.attachments("har_1")] == ["ab"]
    assert wire.calls("POST /hitl/requests/har_1/attachments")[0].body == {"name": "a.txt", "content": "aGk="}


def test_an_id_stays_one_part_of_the_address(wire, client):
    wire.answers("POST /hitl/requests/..%2Fx/unwrap", problem(404, "not_found"))

    with pytest.raises(NotFound):
        client.unwrap("../x")


def test_a_form_and_options_are_sent_as_given(wire, client):
    wire.answers("POST /hitl/requests", Answer(201, {"id": "har_1", "status": "pending"}))

    client.create_request(title="Which?", form={"type": "object"}, options=[{"key": "A"}])

    (heard,) = wire.heard
    assert (heard.body["form"], heard.body["options"]) == ({"type": "object"}, [{"key": "A"}])
