# SPDX-License-Identifier: Apache-2.0
"""Calls that wait, against a real server: what comes up is handed out at once, and waiting costs next to nothing.

Time is real here, for the server is another process.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from approvals.services import decide
from runs.models import Task
from tests.config.web import served
from tests.contract.answers import json_of
from tests.factories import founder, published, started, waiting_for_a_person
from tests.people import key_of

pytestmark = pytest.mark.django_db(transaction=True)

NEXT = "/acts/tasks/next"
MANY = 50
TRIES = 3  # a machine that is busy with other things may be late, but not each time


@pytest.fixture
def web(process_environment: dict[str, str], tmp_path: Path) -> Iterator[httpx2.Client]:
    with served(process_environment, tmp_path / "web.log") as client:
        yield client


@pytest.fixture
def token(validator: Any) -> str:
    founder()
    return key_of(validator)[1]


@pytest.fixture
def headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


class WaitingCall:
    """POST /acts/tasks/next, sent and not yet answered; a socket, and no thread of ours."""

    def __init__(self, web: httpx2.Client, token: str, wait: int = 40, role: str = "agent:validator") -> None:
        address = web.base_url.host, web.base_url.port
        body = json.dumps({"role": role, "wait": wait})
        self._socket = socket.create_connection(address, timeout=30)
        self._socket.sendall(
            f"POST {NEXT} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )

    def fileno(self) -> int:
        return self._socket.fileno()

    def answer(self) -> tuple[int, Any]:
        """(status, body), waiting for it."""
        received = b"".join(iter(lambda: self._socket.recv(65536), b""))
        head, _, body = received.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body) if body else None

    def hang_up(self) -> None:
        self._socket.close()


def answered(calls: list[WaitingCall], seconds: float = 0.0) -> list[WaitingCall]:
    return select.select(calls, [], [], seconds)[0]


def until(happened: Callable[[], Any], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def threads_of(web: httpx2.Client) -> int:
    """How many threads the server has."""
    (server,) = [
        folder
        for folder in Path("/proc").glob("[0-9]*")
        if f"--port={web.base_url.port}".encode() in _command_line(folder)
    ]
    return len(list((server / "task").iterdir()))


def _command_line(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:  # it has ended meanwhile
        return b""


def test_a_task_that_comes_up_is_handed_out_within_a_second(web, token):
    took = []
    for _ in range(TRIES):
        call = WaitingCall(web, token)
        assert not answered([call], 1.0)
        run = started()
        began = time.monotonic()
        status, claim = call.answer()
        took.append(time.monotonic() - began)
        assert (status, claim["task"]["run_id"]) == (200, run.pk)

    assert min(took) < 1.0, took


def test_fifty_waiting_calls_cost_no_thread_and_hold_up_nobody(web, token, headers):
    json_of(web.get("/acts/runs", headers=headers))
    before = threads_of(web)
    calls = [WaitingCall(web, token) for _ in range(MANY)]
    assert not answered(calls, 3.0)

    took = []
    for _ in range(TRIES):
        began = time.monotonic()
        json_of(web.get("/acts/runs", headers=headers))
        took.append(time.monotonic() - began)
    assert min(took) < 1.0, took
    assert threads_of(web) <= before + 1  # asyncio's own, which looks up names

    runs = {started().pk for _ in range(3)}
    done: set[WaitingCall] = set()
    until(lambda: done.update(answered(calls)) or len(done) >= 3)
    claims = [call.answer() for call in done]

    assert {status for status, _ in claims} == {200}
    assert {claim["task"]["run_id"] for _, claim in claims} == runs, "each to one of them"
    assert not [call for call in answered(calls, 1.0) if call not in done], "the others wait on"
    for call in calls:
        call.hang_up()


def test_whoever_hangs_up_while_waiting_is_given_nothing(web, token):
    gone = WaitingCall(web, token)
    assert not answered([gone], 1.5)
    gone.hang_up()
    time.sleep(1.0)

    run = started()

    time.sleep(1.5)
    assert [task.state for task in Task.objects.filter(run=run)] == ["pending"], "claimed for nobody"
    status, claim = WaitingCall(web, token, wait=0).answer()
    assert (status, claim["task"]["run_id"], claim["fence"]) == (200, run.pk, 1)


def test_a_call_that_does_not_wait_is_answered_at_once(web, token):
    began = time.monotonic()

    assert WaitingCall(web, token, wait=0).answer() == (204, None)
    assert time.monotonic() - began < 5


def test_a_question_can_be_waited_for_until_it_is_answered(web, headers, validator, liaison):
    request = waiting_for_a_person(validator)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(web.get, f"/hitl/requests/{request.pk}?wait=40", headers=headers)
        time.sleep(1.5)
        assert not waiting.done()
        decide(request_id=request.pk, actor=liaison, outcome="PASS")
        began = time.monotonic()
        answer = json_of(waiting.result())

    assert answer["status"] == "fulfilled"
    assert time.monotonic() - began < 5


def test_a_question_that_is_not_answered_in_time_is_shown_as_it_is(web, headers, validator):
    request = waiting_for_a_person(validator)
    began = time.monotonic()

    answer = web.get(f"/hitl/requests/{request.pk}?wait=2", headers=headers)

    assert json_of(answer)["status"] == "pending"
    assert time.monotonic() - began >= 2
    assert "HMS-Act-Wait" not in answer.headers


def test_a_body_sent_in_chunks_is_read_like_any_other(web, headers):
    published()
    chunks = iter([b'{"playbook": "protest', b'_permit", "payload": ', b'{"form_id": 123}}'])
    as_json = {**headers, "Content-Type": "application/json"}

    started_ = web.post("/acts/run", content=chunks, headers=as_json)

    run = json_of(started_, 202)["run_id"]
    assert json_of(web.get(f"/acts/runs/{run}", headers=headers))["payload"] == {"form_id": 123}
