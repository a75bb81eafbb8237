# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL dies under load: once one of its processes, once the whole server.

What was committed is kept; web and worker come back by themselves; who got no answer sends the call again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
import with_postgres
from django.conf import settings

from audit import actions
from tests.config.web import served
from tests.crash.house import until, worker

pytestmark = pytest.mark.postgresql

CLIENTS, STARTS_OF_EACH = 3, 20
PAUSE_SECONDS = 0.1  # of a client between two starts
DOWN_SECONDS = 1.0  # that the server stays away, at least


@pytest.fixture
def cluster() -> Iterator[with_postgres.Cluster]:
    # Acknowledged commits survive the death of the server's processes; a power cut is not tried.
    with with_postgres.running_cluster(synchronous_commit="on") as running:
        yield running


@pytest.fixture
def prepared(cluster, receiver, tmp_path) -> dict[str, str]:
    """The environment of our processes on that server, whose database is migrated."""
    environment = {
        **os.environ,
        **cluster.server().environment(),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "HMS_ACT_ACTIONS": "tests.crash.actions",
        "HMS_ACT_CALL_TIMEOUT": "5",
        "HMS_ACT_TEST_RECEIVER": receiver.url,
        "HMS_ACT_VAR": str(tmp_path / "var"),
        "PYTHONPATH": str(settings.BASE_DIR),
    }
    ran(environment, "manage.py", "migrate", "--verbosity=0")
    return environment


def ran(environment: Mapping[str, str], *command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command], cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Client(threading.Thread):
    """Starts runs one after the other; sends each again, under its key, until it has an answer."""

    def __init__(self, name: str, url: httpx2.URL, token: str) -> None:
        super().__init__(name=name)
        self._url, self._token = url, token
        self.started: dict[str, int] = {}  # key → run
        self.answers: Counter[Any] = Counter()  # status, or the fault that came instead of one

    def run(self) -> None:
        with httpx2.Client(base_url=self._url, timeout=30, trust_env=False) as web:
            for number in range(STARTS_OF_EACH):
                key = f"{self.name}-{number}"
                self.started[key] = until(lambda key=key: self._start(web, key), f"the start {key}")
                time.sleep(PAUSE_SECONDS)

    def _start(self, web: httpx2.Client, key: str) -> int | None:
        headers = {"Authorization": f"Bearer {self._token}", "Idempotency-Key": key}
        try:
            answer = web.post("/acts/run", json={"playbook": "story", "labels": {"key": key}}, headers=headers)
        except httpx2.TransportError as fault:
            self.answers[type(fault).__name__] += 1
            return None
        self.answers[answer.status_code] += 1
        return answer.json()["run_id"] if answer.status_code == 202 else None


def test_what_was_committed_is_kept_and_everybody_comes_back(cluster, prepared, receiver, tmp_path: Path):
    token = ran(prepared, "-m", "tests.crash.prepare")
    log = tmp_path / "web.log"
    with served(prepared, log, "--workers=2") as web, worker(prepared, tmp_path / "worker.log"):
        clients = [Client(f"client{number}", web.base_url, token) for number in range(CLIENTS)]
        for client in clients:
            client.start()

        until(lambda: acknowledged(clients) >= 10, "the first starts")
        kept = [entries(cluster)]
        kill_a_session(cluster)
        until(lambda: acknowledged(clients) >= 25, "starts after the death of a session")
        kept.append(entries(cluster))
        cluster.kill()
        until(lambda: web.get("/readyz").status_code == 503, "word that the database is away")
        assert web.get("/healthz").status_code == 200
        time.sleep(DOWN_SECONDS)
        cluster.start_again()
        until(lambda: web.get("/readyz").status_code == 200, "word that it is back")
        for client in clients:
            client.join()
        until(lambda: states(cluster).keys() == {"completed"}, "the end of all runs")

    answers = sum((client.answers for client in clients), Counter())
    assert {each for each in answers if isinstance(each, int)} == {202, 503}, answers
    for before in kept:
        assert before <= entries(cluster)
    assert_one_run_for_each_key(cluster, {key: run for client in clients for key, run in client.started.items()})
    assert_each_run_has_its_entries(cluster)
    assert_each_effect_is_known(cluster, receiver)


def acknowledged(clients: list[Client]) -> int:
    return sum(len(client.started) for client in clients)


def asked(cluster: with_postgres.Cluster, question: str) -> list[tuple[Any, ...]]:
    """Patient, because a server that lost a process refuses everybody for a moment."""

    def answer() -> tuple[list[tuple[Any, ...]]] | None:
        try:
            with psycopg.connect(cluster.url) as connection:
                return (connection.execute(question).fetchall(),)
        except psycopg.OperationalError:
            return None

    (rows,) = until(answer, "an answer of the database")
    return rows


def kill_a_session(cluster: with_postgres.Cluster) -> None:
    """The one in the oldest transaction, if any is in one: PostgreSQL then ends all sessions, and recovers."""
    sessions = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    victim = asked(cluster, f"{sessions} ORDER BY xact_start NULLS LAST LIMIT 1")[0][0]
    os.kill(victim, signal.SIGKILL)


def entries(cluster: with_postgres.Cluster) -> set[tuple[Any, ...]]:
    return set(asked(cluster, "SELECT id, entry_hash FROM audit_entry"))


def states(cluster: with_postgres.Cluster) -> dict[str, int]:
    return dict(asked(cluster, "SELECT state, count(*) FROM runs_run GROUP BY state"))


def assert_one_run_for_each_key(cluster: with_postgres.Cluster, started: dict[str, int]) -> None:
    assert len(started) == CLIENTS * STARTS_OF_EACH
    assert dict(asked(cluster, "SELECT labels->>'key', id FROM runs_run")) == started
    assert len(asked(cluster, "SELECT id FROM runs_run")) == len(started)


def assert_each_run_has_its_entries(cluster: with_postgres.Cluster) -> None:
    lost = dict(asked(cluster, "SELECT run_id, sum(lease_losses)::int FROM runs_task GROUP BY run_id"))
    logs: dict[int, Counter[str]] = {run: Counter() for run in lost}
    for run, action in asked(cluster, "SELECT run_id, action FROM audit_entry WHERE run_id IS NOT NULL"):
        logs[run][action] += 1
    for run, log in logs.items():
        log.pop(actions.TASK_COMPLETE_DENIED, None)  # told again too late
        assert log == +Counter({
            actions.RUN_STARTED: 1,
            actions.TASK_CLAIMED: 2 + lost[run],
            actions.EFFECT_INTENDED: 2 + lost[run],
            actions.TASK_LEASE_LOST: lost[run],
            actions.EFFECT_CONFIRMED: 2,
            actions.TASK_COMPLETED: 2,
            actions.RUN_COMPLETED: 1,
        })  # fmt: skip


def assert_each_effect_is_known(cluster: with_postgres.Cluster, receiver: Any) -> None:
    known = dict(asked(cluster, "SELECT key, (result->>'charge')::int FROM runs_effect WHERE state = 'confirmed'"))
    assert known == receiver.effects
    assert len(known) == 2 * CLIENTS * STARTS_OF_EACH
