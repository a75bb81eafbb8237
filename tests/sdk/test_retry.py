# SPDX-License-Identifier: Apache-2.0
"""A call is sent again when it may succeed unchanged: after a wait, under the same key, and not for ever."""

from __future__ import annotations

from datetime import timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hms_act import Client, Conflict, IdempotencyInFlight, Problem, RateLimited, Retry, ServerError, Unreachable
from tests.sdk.wire import DROPPED, NOW, Answer, Wire, claimed, problem

STARTED = Answer(202, {"run_id": 9001, "status": "queued"})
START = "POST /acts/run"

TRANSIENT = {
    "the connection is dropped": DROPPED,
    "the gateway has no server": problem(502),
    "the server is starting": problem(503, "starting"),
    "the gateway gave up": problem(504),
    "there were too many calls": problem(429, "rate_limited", headers={"Retry-After": "2"}),
    "the first sending is still in flight": problem(409, "idempotency_in_flight"),
}


@pytest.mark.parametrize("trouble", TRANSIENT.values(), ids=TRANSIENT.keys())
def test_a_call_is_sent_again_under_the_same_key_when(wire, client, trouble):
    wire.answers(START, trouble, trouble, STARTED)

    run = client.start_run("protest_permit", payload={"form_id": 123})

    assert run.id == 9001
    sent = wire.calls(START)
    assert len(sent) == 3
    assert len({heard.headers["idempotency-key"] for heard in sent}) == 1
    assert len({heard.text for heard in sent}) == 1


def test_two_calls_have_two_keys(wire, client):
    wire.answers(START, STARTED, STARTED)

    client.start_run("protest_permit")
    client.start_run("protest_permit")

    first, second = wire.calls(START)
    assert first.headers["idempotency-key"] != second.headers["idempotency-key"]


def test_the_callers_own_key_is_used(wire, client):
    wire.answers(START, STARTED)

    client.start_run("protest_permit", idempotency_key="form-123")

    assert wire.calls(START)[0].headers["idempotency-key"] == "form-123"


def test_a_claim_has_no_key_and_is_still_sent_again(wire, client):
    wire.answers("POST /acts/tasks/next", DROPPED, claimed())

    assert client.next_task("agent:validator").id == 31

    assert all("idempotency-key" not in heard.headers for heard in wire.heard)


@pytest.mark.parametrize("answer", [problem(409, "wrong_state"), problem(500)], ids=["a refusal", "a failure"])
def test_what_would_happen_again_is_not_sent_again(wire, client, answer):
    wire.answers(START, answer)

    with pytest.raises((Conflict, ServerError)):
        client.start_run("protest_permit")

    assert len(wire.heard) == 1


def test_attempts_are_bounded_and_the_last_error_is_told(wire, waits):
    wire.always(START, problem(503, "starting", "The server is starting."))
    client = Client(wire.url, "hmsact_key", retry=Retry(attempts=3), sleep=waits.append)

    with pytest.raises(ServerError, match="is starting"):
        client.start_run("protest_permit")

    assert len(wire.heard) == 3
    assert len(waits) == 2


@pytest.mark.parametrize(
    "retry_after", ["7", format_datetime(NOW + timedelta(seconds=7), usegmt=True)], ids=["seconds", "a date"]
)
def test_the_wait_the_server_asks_for_is_kept(wire, client, waits, retry_after):
    wire.answers(START, problem(429, "rate_limited", headers={"Retry-After": retry_after}), STARTED)

    client.start_run("protest_permit")

    assert 7 <= waits[0] <= 7.5


def test_a_wait_longer_than_a_minute_is_told_to_the_caller_instead(wire, client, waits):
    wire.answers(START, problem(429, "rate_limited", headers={"Retry-After": "3600"}))

    with pytest.raises(RateLimited) as raised:
        client.start_run("protest_permit")

    assert raised.value.retry_after == 3600
    assert waits == []


def test_a_retry_after_that_says_nothing_is_as_none(wire, client, waits):
    wire.answers(START, problem(429, "rate_limited", headers={"Retry-After": "soon"}), STARTED)

    client.start_run("protest_permit")

    assert waits[0] <= 0.5


def test_a_server_that_restarts_is_found_again():
    first, restarted = Wire(), []

    def restart(_: float) -> None:
        restarted.append(Wire(first.port))
        restarted[0].answers(START, STARTED)

    client = Client(first.url, "hmsact_key", sleep=restart)
    first.answers(START, STARTED)
    client.start_run("protest_permit")
    first.close()

    assert client.start_run("protest_permit").id == 9001

    assert [heard.call for heard in restarted[0].heard] == [START]
    restarted[0].close()


# --- the arithmetic


@given(
    failures=st.integers(1, 5_000),
    initial=st.floats(0.001, 10),
    maximum=st.floats(0.001, 100),
    share=st.floats(0, 1),
)
def test_backoff_is_a_random_share_of_a_doubling_interval_up_to_its_maximum(failures, initial, maximum, share):
    retry = Retry(initial_interval=initial, maximum_interval=maximum)

    wait = retry.backoff(failures, draw=lambda low, high: low + share * (high - low))

    ceiling = min(initial * 2 ** (failures - 1), maximum) if failures < 1_000 else maximum
    assert wait == pytest.approx(share * min(ceiling, maximum))


@given(
    attempts=st.integers(1, 20),
    failures=st.integers(1, 40),
    asked=st.none() | st.floats(0, 200),
    kind=st.sampled_from([Unreachable, RateLimited, IdempotencyInFlight, Conflict]),
)
def test_there_is_a_next_attempt_only_if_it_can_help_and_never_earlier_than_asked(attempts, failures, asked, kind):
    retry = Retry(attempts=attempts)
    error = kind(Problem(0, retry_after=asked))

    wait = retry.wait_after(error, failures)

    hopeless = kind is Conflict or failures >= attempts or (asked or 0) > retry.longest_retry_after
    assert (wait is None) == hopeless
    if wait is not None:
        assert (asked or 0) <= wait <= (asked or 0) + retry.maximum_interval
