# SPDX-License-Identifier: Apache-2.0
"""The web process: how many connections it holds, how it waits, what it serves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from django.db import connection

from accounts.services import revoke_key
from tests.config.web import served
from tests.factories import founder, started
from tests.people import key_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]  # it is about the web process

REQUESTS, AT_ONCE = 120, 12


@pytest.fixture
def web(process_environment: dict[str, str], tmp_path: Path) -> Iterator[httpx2.Client]:
    with served(process_environment, tmp_path / "web.log") as client:
        yield client


def bearer(user: Any) -> dict[str, str]:
    _, token = key_of(user)
    return {"Authorization": f"Bearer {token}"}


def connections_of_others() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        (count,) = cursor.fetchone()
    return int(count)


def many(web: httpx2.Client, path: str, headers: dict[str, str]) -> list[int]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda _: web.get(path, headers=headers).status_code, range(REQUESTS)))


@pytest.mark.postgresql
def test_many_requests_at_once_use_one_connection(web, validator):
    before = connections_of_others()
    headers = bearer(validator)

    statuses = many(web, "/acts/runs", headers)

    assert set(statuses) == {200}
    assert before <= 1  # of `served`, which asked for /healthz
    assert connections_of_others() == 1


@pytest.mark.postgresql
def test_two_processes_use_two_connections(process_environment, tmp_path, validator):
    headers = bearer(validator)
    with served(process_environment, tmp_path / "web.log", "--workers=2") as web:
        statuses = many(web, "/acts/runs", headers)

        assert set(statuses) == {200}
        assert connections_of_others() <= 2


def test_a_call_that_waits_gets_the_task_that_comes_up_meanwhile(web, validator):
    headers = bearer(validator)
    founder()
    with ThreadPoolExecutor() as pool:
        body = {"role": "agent:validator", "wait": 30}
        waiting = pool.submit(web.post, "/acts/tasks/next", json=body, headers=headers)
        time.sleep(1.5)  # real time: the server is another process
        run = started()
        began = time.monotonic()
        answer = waiting.result()

    assert answer.status_code == 200
    assert answer.json()["task"]["run_id"] == run.pk
    assert time.monotonic() - began < 5


def test_calls_that_wait_in_vain_end_with_204_and_hold_up_nobody(web, validator):
    headers = bearer(validator)
    with ThreadPoolExecutor() as pool:
        body = {"role": "agent:validator", "wait": 4}
        began = time.monotonic()
        waiting = [pool.submit(web.post, "/acts/tasks/next", json=body, headers=headers) for _ in range(4)]
        assert web.get("/acts/runs", headers=headers).status_code == 200
        another_took = time.monotonic() - began
        answers = [each.result() for each in waiting]
        waiting_took = time.monotonic() - began

    assert {answer.status_code for answer in answers} == {204}
    assert not any("HMS-Act-Wait" in answer.headers for answer in answers)
    assert another_took < 3
    assert waiting_took >= 4


def test_a_server_that_is_told_to_end_answers_the_calls_that_wait_and_ends(process_environment, tmp_path, validator):
    headers = bearer(validator)
    body = {"role": "agent:validator", "wait": 55}
    with ThreadPoolExecutor() as pool:
        with served(process_environment, tmp_path / "web.log") as web:
            agents = httpx2.Client(base_url=web.base_url, timeout=90, trust_env=False)
            waiting = pool.submit(agents.post, "/acts/tasks/next", json=body, headers=headers)
            time.sleep(1.5)  # real time: the server is another process
            assert not waiting.done()
        # `served` has told the server to end, and would have failed had it stayed for as long as the call may wait.
        answer = waiting.result()

    assert answer.status_code == 204


def test_a_key_revoked_while_its_call_waits_is_refused(web, validator, administrator):
    key, token = key_of(validator)
    headers = {"Authorization": f"Bearer {token}"}
    with ThreadPoolExecutor() as pool:
        body = {"role": "agent:validator", "wait": 30}
        waiting = pool.submit(web.post, "/acts/tasks/next", json=body, headers=headers)
        time.sleep(1)  # real time: the server is another process
        revoke_key(token_key=key.token_key, actor=administrator, reason="left")
        answer = waiting.result()

    assert answer.status_code == 401


@pytest.mark.sqlite  # in production `collectstatic` comes first
def test_the_files_of_the_pages_are_served_and_nothing_is_warned_of(process_environment, tmp_path):
    log = tmp_path / "web.log"
    with served(process_environment, log, "--log-level=warning") as web:
        answer = web.get("/static/unfold/css/styles.css")

    assert answer.status_code == 200
    assert len(answer.content) == int(answer.headers["Content-Length"])
    assert answer.headers["Content-Type"].startswith("text/css")
    assert log.read_text() == ""
