# SPDX-License-Identifier: Apache-2.0
"""The worker performs tasks one by one, tells how each ended, and loses none: not to errors, outages or stops."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from hms_act import Client, Forbidden, HmsActError, NonRetryable, NotAuthenticated, Retry, Task, Worker
from hms_act import worker as worker_module
from hms_act.worker import Result, safe_seconds
from tests.sdk.wire import (
    DROPPED,
    NO_TASK,
    PATIENCE_SECONDS,
    Answer,
    Wire,
    claimed,
    in_seconds,
    problem,
    task_body,
)

ROLE = "agent:validator"
NEXT = "POST /acts/tasks/next"
COMPLETE = "POST /acts/tasks/31/complete"
FAIL = "POST /acts/tasks/31/fail"
RELEASE = "POST /acts/tasks/31/release"
HEARTBEAT = "POST /acts/tasks/31/heartbeat"

SHORT = 0.3  # a lease of so many seconds needs a heartbeat every 0.1


@pytest.fixture(autouse=True)
def _outages_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "OUTAGE", Retry(initial_interval=0.001, maximum_interval=0.01))


@pytest.fixture(autouse=True)
def _no_task_by_default(wire: Wire) -> None:
    wire.always(NEXT, NO_TASK)


@pytest.fixture
def worker(client: Client) -> Worker:
    return Worker(client)


@contextmanager
def running(worker: Worker, *, stop: bool = True) -> Iterator[list[BaseException]]:
    """The worker at work in a thread of its own; in the end stopped, unless the test does that, and waited for."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            worker.run()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield raised
    finally:
        if stop:
            worker.stop()
        thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive(), "the worker did not stop"


def performs(wire: Wire, worker: Worker, handler: Callable[[Task], object], *, until: str) -> list[BaseException]:
    worker.register(ROLE, handler)
    with running(worker) as raised:
        wire.wait_for(until)
    return raised


def extends(*, ttl: float = SHORT, **more: bool) -> Answer:
    return Answer(200, {"expires_at": in_seconds(ttl), "cancel_requested": False, "paused": False, **more})


# --- how a task ends


@pytest.mark.parametrize(
    ("returned", "sent"),
    [
        ("PASS", {"outcome": "PASS"}),
        ("FAIL", {"outcome": "FAIL"}),
        (("PASS", {"risk": "low"}), {"outcome": "PASS", "output": {"risk": "low"}}),
        ({"outcome": "PASS"}, {"outcome": "PASS"}),
        (
            {"outcome": "FAIL", "output": [1], "note": "The crowd is too large."},
            {"outcome": "FAIL", "output": [1], "note": "The crowd is too large."},
        ),
        (Result("PASS", note="n"), {"outcome": "PASS", "note": "n"}),
    ],
)
def test_what_a_handler_returns_completes_its_task(wire, worker, returned, sent):
    seen = []
    wire.answers(NEXT, claimed())
    wire.answers(COMPLETE, Answer(200, task_body()))

    performs(wire, worker, lambda task: (seen.append(task), returned)[1], until=COMPLETE)

    assert [(task.id, task.payload) for task in seen] == [(31, {"form_id": 123})]
    assert wire.calls(COMPLETE)[0].body == {"token": "token-31", **sent}


def test_a_handler_is_registered_by_decoration(wire, client):
    worker = Worker(client)
    wire.answers(NEXT, claimed())
    wire.answers(COMPLETE, Answer(200, task_body()))

    @worker.handles(ROLE)
    def check(task: Task) -> str:
        return "PASS"

    with running(worker):
        wire.wait_for(COMPLETE)

    assert check(None) == "PASS"
    assert wire.calls(NEXT)[0].body["role"] == ROLE


def test_a_handler_that_raises_is_reported_by_its_exceptions_name(wire, worker, caplog):
    wire.answers(NEXT, claimed())
    wire.answers(FAIL, Answer(200, task_body()))

    def check(task: Task) -> str:
        raise LookupError("there is no form 123")

    performs(wire, worker, check, until=FAIL)

    fault = {"error_type": "LookupError", "message": "there is no form 123"}
    assert wire.calls(FAIL)[0].body == {"token": "token-31", **fault}
    assert "LookupError" in caplog.text


def test_a_fault_that_would_repeat_is_reported_as_not_retryable(wire, worker):
    class FormWithdrawn(NonRetryable):
        """The applicant took it back."""

    wire.answers(NEXT, claimed())
    wire.answers(FAIL, Answer(200, task_body()))

    def check(task: Task) -> str:
        raise FormWithdrawn("by the applicant")

    performs(wire, worker, check, until=FAIL)

    assert wire.calls(FAIL)[0].body["error_type"] == "FormWithdrawn"
    assert wire.calls(FAIL)[0].body["retryable"] is False


@pytest.mark.parametrize(
    "returned", [None, True, 3, {"result": "PASS"}, {"outcome": "PASS", "nots": ""}, ("PASS", 1, 2)]
)
def test_what_is_no_result_is_a_fault_that_says_what_a_handler_returns(wire, worker, returned):
    wire.answers(NEXT, claimed())
    wire.answers(FAIL, Answer(200, task_body()))

    performs(wire, worker, lambda task: returned, until=FAIL)

    body = wire.calls(FAIL)[0].body
    assert (body["error_type"], body["retryable"]) == ("InvalidResult", False)
    assert "a handler returns an outcome" in body["message"]


@pytest.mark.parametrize(
    "output",
    [datetime.now(UTC), float("nan"), {1, 2}, "half a pair: \ud800"],
    ids=["a date", "NaN", "a set", "surrogate"],
)
def test_an_output_that_json_cannot_say_is_a_fault_and_no_end_of_the_worker(wire, worker, output):
    wire.answers(NEXT, claimed())
    wire.answers(FAIL, Answer(200, task_body()))

    assert performs(wire, worker, lambda task: ("PASS", output), until=FAIL) == []

    body = wire.calls(FAIL)[0].body
    assert (body["error_type"], body["retryable"]) == ("InvalidResult", False)
    assert "cannot be sent as JSON" in body["message"]


def test_a_message_is_sent_without_the_characters_no_server_takes(wire, worker):
    wire.answers(NEXT, claimed())
    wire.answers(FAIL, Answer(200, task_body()))

    def check(task: Task) -> str:
        raise OSError("cannot open permit\udcff\0.pdf")

    performs(wire, worker, check, until=FAIL)

    assert wire.calls(FAIL)[0].body["message"] == "cannot open permit?\ufffd.pdf"


def test_an_outcome_the_step_does_not_declare_is_reported_as_a_fault(wire, worker):
    wire.answers(NEXT, claimed())
    wire.answers(COMPLETE, problem(422, "invalid", "The step has no outcome MAYBE."))
    wire.answers(FAIL, Answer(200, task_body()))

    performs(wire, worker, lambda task: "MAYBE", until=FAIL)

    body = wire.calls(FAIL)[0].body
    assert (body["error_type"], body["retryable"]) == ("InvalidResult", False)
    assert "no outcome MAYBE" in body["message"]


def test_a_library_that_exits_does_not_take_the_worker_with_it(wire, worker):
    wire.answers(NEXT, claimed(31), claimed(32))
    wire.answers(FAIL, Answer(200, task_body()))
    wire.answers("POST /acts/tasks/32/complete", Answer(200, task_body(32)))

    def check(task: Task) -> str:
        if task.id == 31:
            sys.exit("bye")
        return "PASS"

    performs(wire, worker, check, until="POST /acts/tasks/32/complete")

    assert wire.calls(FAIL)[0].body["error_type"] == "SystemExit"


def test_a_very_long_message_is_cut(wire, worker):
    wire.answers(NEXT, claimed())
    wire.answers(FAIL, Answer(200, task_body()))

    def check(task: Task) -> str:
        raise RuntimeError("x" * 100_000)

    performs(wire, worker, check, until=FAIL)

    assert wire.calls(FAIL)[0].body["message"] == "x" * 2_000


def test_a_report_the_server_cannot_take_is_logged_and_work_goes_on(wire, worker, caplog):
    wire.answers(NEXT, claimed(31), claimed(32))
    wire.answers(COMPLETE, problem(500, "", "It broke."))
    wire.answers("POST /acts/tasks/32/complete", Answer(200, task_body(32)))

    performs(wire, worker, lambda task: "PASS", until="POST /acts/tasks/32/complete")

    assert "task 31: its end could not be reported: It broke." in caplog.text


# --- the lease


def test_heartbeats_are_sent_while_a_handler_works_and_none_after(wire, worker):
    wire.answers(NEXT, claimed(ttl=SHORT))
    wire.answers(HEARTBEAT, *[extends()] * 3)
    wire.always(HEARTBEAT, extends(ttl=60, paused=True))
    wire.answers(COMPLETE, Answer(200, task_body()))

    def check(task: Task) -> str:
        wait_until(lambda: task.signals.paused)
        return "PASS"

    performs(wire, worker, check, until=COMPLETE)

    order = [heard.call for heard in wire.heard if heard.call in (HEARTBEAT, COMPLETE)]
    assert order == [HEARTBEAT] * 4 + [COMPLETE]
    assert wire.calls(HEARTBEAT)[0].body == {"token": "token-31"}


def test_a_handler_sees_that_its_run_is_being_cancelled(wire, worker):
    wire.answers(NEXT, claimed(ttl=3 * SHORT))
    wire.always(HEARTBEAT, extends(ttl=60, cancel_requested=True))
    wire.answers(COMPLETE, Answer(200, task_body()))

    def check(task: Task) -> tuple[str, bool]:
        at_first = task.cancel_requested
        wait_until(lambda: task.cancel_requested)
        return "PASS", at_first

    performs(wire, worker, check, until=COMPLETE)

    assert wire.calls(COMPLETE)[0].body["output"] is False


def test_a_lost_lease_is_seen_by_the_handler_and_its_result_is_not_sent(wire, worker, caplog):
    seen = []
    wire.answers(NEXT, claimed(31, ttl=SHORT), claimed(32))
    wire.answers(HEARTBEAT, problem(409, "lease_lost", "Another worker holds it."))
    wire.answers("POST /acts/tasks/32/complete", Answer(200, task_body(32)))

    def check(task: Task) -> str:
        if task.id == 31:
            wait_until(lambda: task.lease_lost)
        seen.append((task.id, task.lease_lost))
        return "PASS"

    performs(wire, worker, check, until="POST /acts/tasks/32/complete")

    assert seen == [(31, True), (32, False)]
    assert wire.calls(COMPLETE) == []
    assert "task 31: the lease is lost: Another worker holds it." in caplog.text
    assert "its result (PASS) does not count" in caplog.text


def test_a_result_refused_as_late_is_logged_and_work_goes_on(wire, worker, caplog):
    wire.answers(NEXT, claimed(31), claimed(32))
    wire.answers(COMPLETE, problem(409, "lease_lost", "It ran out."))
    wire.answers("POST /acts/tasks/32/complete", Answer(200, task_body(32)))

    performs(wire, worker, lambda task: "PASS", until="POST /acts/tasks/32/complete")

    assert "task 31: the lease was lost; its result (PASS) does not count" in caplog.text


def test_a_revoked_key_ends_the_lease_for_the_handler_too(wire, worker):
    wire.answers(NEXT, claimed(ttl=SHORT))
    wire.always(HEARTBEAT, problem(401, "not_authenticated"))
    wire.always(NEXT, problem(401, "not_authenticated", "The key was revoked."))
    lost = threading.Event()

    def check(task: Task) -> str:
        wait_until(lambda: task.lease_lost)
        lost.set()
        return "PASS"

    worker.register(ROLE, check)
    with pytest.raises(NotAuthenticated):
        worker.run()

    assert lost.is_set()
    assert wire.calls(COMPLETE) == []


def test_a_lease_that_cannot_be_extended_is_taken_for_lost_before_its_end(wire, worker):
    wire.answers(NEXT, claimed(ttl=SHORT))
    wire.always(HEARTBEAT, DROPPED)
    lost = threading.Event()

    def check(task: Task) -> str:
        wait_until(lambda: task.lease_lost)
        lost.set()
        return "PASS"

    worker.register(ROLE, check)
    with running(worker):
        assert lost.wait(PATIENCE_SECONDS)

    assert wire.calls(COMPLETE) == []


@pytest.mark.parametrize(("ttl", "safe"), [(0.3, 0.15), (2, 1), (5, 4), (10, 9), (60, 54), (600, 540)])
def test_a_lease_is_relied_on_until_a_tenth_or_a_second_before_its_end(ttl, safe):
    assert safe_seconds(ttl) == pytest.approx(safe)


# --- the server


@pytest.mark.parametrize(
    "trouble", [DROPPED, problem(503), problem(500), problem(429, headers={"Retry-After": "0"})], ids=str
)
def test_trouble_at_the_server_is_waited_out_and_told_once(wire, worker, caplog, trouble):
    caplog.set_level(logging.INFO, "hms_act.worker")
    wire.answers(NEXT, *[trouble] * 5, claimed())
    wire.answers(COMPLETE, Answer(200, task_body()))

    performs(wire, worker, lambda task: "PASS", until=COMPLETE)

    assert caplog.text.count("no task can be claimed for now") == 1
    assert caplog.text.count("the server answers again") == 1


def test_a_result_is_delivered_after_a_restart_of_the_server(wire, waits):
    worker = Worker(Client(wire.url, "k", retry=Retry(attempts=2), sleep=waits.append))
    wire.answers(NEXT, claimed())
    wire.answers(COMPLETE, *[DROPPED, problem(503)] * 3, Answer(200, task_body()))
    worker.register(ROLE, lambda task: ("PASS", {"risk": "low"}))

    with running(worker):
        wire.wait_for(COMPLETE, times=7)

    assert {heard.text for heard in wire.calls(COMPLETE)} == {
        '{"token":"token-31","outcome":"PASS","output":{"risk":"low"}}'
    }


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (problem(401, "not_authenticated", "The key was revoked."), NotAuthenticated),
        (problem(403, "role_required", "You do not have the role agent:validator."), Forbidden),
        (problem(422, "invalid", "There is no such role."), HmsActError),
    ],
)
def test_a_worker_that_may_not_claim_ends_with_the_reason(wire, client, refusal, kind):
    wire.always(NEXT, refusal)
    worker = Worker(client, concurrency=3)
    worker.register(ROLE, lambda task: "PASS")

    with pytest.raises(kind):
        worker.run()


# --- several at a time


def test_as_many_tasks_as_agreed_are_in_hand_at_a_time_and_no_more(wire, client):
    together = threading.Barrier(3)
    numbers = range(1, 7)
    wire.answers(NEXT, *[claimed(number) for number in numbers])
    for number in numbers:
        wire.answers(f"POST /acts/tasks/{number}/complete", Answer(200, task_body(number)))
    worker, in_hand, most = Worker(client, concurrency=3), set(), []

    def check(task: Task) -> str:
        in_hand.add(task.id)
        together.wait(PATIENCE_SECONDS)  # breaks if fewer than three are performed at a time
        most.append(len(in_hand))
        together.wait(PATIENCE_SECONDS)
        in_hand.discard(task.id)
        return "PASS"

    worker.register(ROLE, check)
    with running(worker):
        for number in numbers:
            wire.wait_for(f"POST /acts/tasks/{number}/complete")

    assert max(most) == 3


def test_the_roles_of_a_worker_are_asked_in_turn(wire, worker):
    asked = {"agent:validator": claimed(31), "agent:translator": claimed(32, role="agent:translator")}

    def answer(heard) -> Answer:
        return asked.pop(heard.body["role"], NO_TASK)

    wire.always(NEXT, answer)
    wire.answers(COMPLETE, Answer(200, task_body()))
    wire.answers("POST /acts/tasks/32/complete", Answer(200, task_body(32)))
    worker.register("agent:validator", lambda task: "PASS")
    worker.register("agent:translator", lambda task: "DONE")

    with running(worker):
        wire.wait_for(COMPLETE)
        wire.wait_for("POST /acts/tasks/32/complete")

    assert wire.calls(COMPLETE)[0].body["outcome"] == "PASS"
    assert wire.calls("POST /acts/tasks/32/complete")[0].body["outcome"] == "DONE"


def test_a_role_has_one_handler(worker):
    worker.register(ROLE, lambda task: "PASS")

    with pytest.raises(ValueError, match="already"):
        worker.register(ROLE, lambda task: "FAIL")


def test_a_worker_without_a_handler_says_so(worker):
    with pytest.raises(ValueError, match="needs a handler"):
        worker.run()


def test_a_worker_runs_once(wire, worker):
    worker.register(ROLE, lambda task: "PASS")
    with running(worker):
        wire.wait_for(NEXT)

    with pytest.raises(RuntimeError, match="runs once"):
        worker.run()


# --- the stop


def test_a_stop_lets_what_is_in_hand_finish_and_claims_nothing_more(wire, worker):
    wire.answers(NEXT, claimed())
    wire.answers(COMPLETE, Answer(200, task_body()))
    started, finish = threading.Event(), threading.Event()

    def check(task: Task) -> str:
        started.set()
        assert finish.wait(PATIENCE_SECONDS)
        return "PASS"

    worker.register(ROLE, check)
    with running(worker, stop=False):
        assert started.wait(PATIENCE_SECONDS)
        claims = len(wire.calls(NEXT))
        worker.stop()
        finish.set()

    assert len(wire.calls(COMPLETE)) == 1
    assert len(wire.calls(NEXT)) == claims == 1


def test_what_does_not_finish_within_the_grace_is_released_and_its_late_result_is_not_sent(wire, client):
    worker = Worker(client, grace_seconds=0.05)
    wire.answers(NEXT, claimed())
    wire.answers(RELEASE, Answer(200, task_body()))
    started, finish, finished = threading.Event(), threading.Event(), threading.Event()

    def check(task: Task) -> str:
        started.set()
        assert finish.wait(PATIENCE_SECONDS)
        finished.set()
        return "PASS"

    worker.register(ROLE, check)
    with running(worker):
        assert started.wait(PATIENCE_SECONDS)
    finish.set()

    assert finished.wait(PATIENCE_SECONDS)
    wait_until(lambda: not any(t.name.startswith("hms-act-worker") for t in threading.enumerate()))
    assert wire.calls(RELEASE)[0].body == {"token": "token-31"}
    assert wire.calls(COMPLETE) == []


def test_a_second_stop_ends_the_grace(wire, client, monkeypatch):
    monkeypatch.setattr(worker_module, "IMPATIENCE_SECONDS", 0)
    worker = Worker(client, grace_seconds=3_600)
    wire.answers(NEXT, claimed())
    wire.answers(RELEASE, Answer(200, task_body()))
    started, finish = threading.Event(), threading.Event()

    def check(task: Task) -> str:
        started.set()
        assert finish.wait(PATIENCE_SECONDS)
        return "PASS"

    worker.register(ROLE, check)
    with running(worker, stop=False):
        assert started.wait(PATIENCE_SECONDS)
        worker.stop()
        worker.stop()
    finish.set()

    assert len(wire.calls(RELEASE)) == 1


def test_an_echo_of_a_stop_does_not_end_the_grace(wire, worker):
    wire.answers(NEXT, claimed())
    wire.answers(COMPLETE, Answer(200, task_body()))
    started, finish = threading.Event(), threading.Event()

    def check(task: Task) -> str:
        started.set()
        assert finish.wait(PATIENCE_SECONDS)
        return "PASS"

    worker.register(ROLE, check)
    with running(worker, stop=False):
        assert started.wait(PATIENCE_SECONDS)
        worker.stop()
        worker.stop()
        wait_until(worker._bell.empty)
        finish.set()

    assert len(wire.calls(COMPLETE)) == 1


def test_a_task_that_arrives_after_the_stop_was_asked_for_is_released_unperformed(wire, worker):
    polled, stop_asked = threading.Event(), threading.Event()

    def answer_late(heard) -> Answer:
        polled.set()
        assert stop_asked.wait(PATIENCE_SECONDS)
        return claimed()

    wire.always(NEXT, answer_late)
    wire.answers(RELEASE, Answer(200, task_body()))
    performed = []
    worker.register(ROLE, lambda task: performed.append(task))

    with running(worker, stop=False):
        assert polled.wait(PATIENCE_SECONDS)
        worker.stop()
        wait_until(worker._stopping.is_set)
        stop_asked.set()

    assert len(wire.calls(RELEASE)) == 1
    assert performed == []


def test_a_stop_does_not_wait_for_an_outage_to_end(wire, worker, monkeypatch):
    monkeypatch.setattr(worker_module, "OUTAGE", Retry(initial_interval=3_600, maximum_interval=3_600))
    wire.always(NEXT, problem(503))
    worker.register(ROLE, lambda task: "PASS")

    with running(worker):
        wire.wait_for(NEXT)


SCRIPT = """
import logging, sys
from hms_act import Worker
logging.basicConfig(stream=sys.stdout, format="%(message)s")
logging.getLogger("hms_act").setLevel("INFO")
worker = Worker(grace_seconds=float(sys.argv[1]))

@worker.handles("agent:validator")
def check(task):
    print("started", flush=True)
    sys.stdin.readline()
    return "PASS"

worker.run()
print("ended well", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_a_worker_process_after_its_task(wire, environment, number):
    wire.answers(NEXT, claimed())
    wire.answers(COMPLETE, Answer(200, task_body()))

    with worker_process(grace_seconds=60) as process:
        process.send_signal(number)
        assert process.stdout.readline() == "stopping: 1 task(s) in hand\n"
        process.stdin.write("\n")
        process.stdin.flush()
        rest = process.stdout.read()

    assert "task 31 (AI-Screen): PASS" in rest
    assert rest.endswith("ended well\n")
    assert process.returncode == 0


def test_a_signal_stops_a_worker_process_whose_task_takes_too_long_and_releases_it(wire, environment):
    wire.answers(NEXT, claimed())
    wire.answers(RELEASE, Answer(200, task_body()))

    with worker_process(grace_seconds=0.1) as process:
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()

    assert "task 31 (AI-Screen): released" in rest
    assert rest.endswith("ended well\n")
    assert process.returncode == 0


@contextmanager
def worker_process(*, grace_seconds: float) -> Iterator[subprocess.Popen[str]]:
    """A worker in a process of its own, that has begun with its first task."""
    command = [sys.executable, "-c", SCRIPT, str(grace_seconds)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=os.environ.copy()) as process:
        try:
            assert process.stdout.readline() == "performing agent:validator, 1 at a time\n"
            assert process.stdout.readline() == "started\n"
            yield process
            process.wait(PATIENCE_SECONDS)
        finally:
            process.kill()


def wait_until(condition: Callable[[], bool]) -> None:
    ticks = threading.Event()
    for _ in range(int(PATIENCE_SECONDS / 0.005)):
        if condition():
            return
        ticks.wait(0.005)
    raise AssertionError("it did not come about")
