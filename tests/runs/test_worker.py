# SPDX-License-Identifier: Apache-2.0
"""`manage.py worker`, as real processes on a real database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from django.conf import settings

from runs.models import Run, Task, TaskState, WorkerHost
from tests.factories import reloaded, started, steps, tasks_of
from tests.process_tree import is_alive, tree
from tests.runs import actions as called

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE = 90.0  # seconds; a test that needs them has failed


@pytest.fixture
def worker(process_environment, tmp_path, monkeypatch) -> Iterator[subprocess.Popen[str]]:
    monkeypatch.setenv("HMS_ACT_TEST_MARKS", str(tmp_path))
    environment = {
        **process_environment,
        "HMS_ACT_ACTIONS": "tests.runs.actions",
        "HMS_ACT_TEST_MARKS": str(tmp_path),
        "HMS_ACT_CALL_TIMEOUT": "5",
        "PYTHONPATH": str(settings.BASE_DIR),
    }
    command = [sys.executable, "manage.py", "worker"]
    process = subprocess.Popen(
        command, cwd=settings.BASE_DIR, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert "waiting for what is due" in process.stdout.readline()
    yield process
    process.terminate()
    process.wait(30)


def until(happened: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def pay(**more):
    return steps({"id": "pay", "role": "svc:finance", "call": "tests.charge $40"}, **more)


def ended(run: Run) -> bool:
    return reloaded(run).state not in ("running", "queued")


def test_it_performs_what_is_due_and_stops_when_told(worker):
    runs = [started(pay()) for _ in range(5)]
    until(lambda: all(ended(run) for run in runs))

    assert {reloaded(run).state for run in runs} == {"completed"}
    assert len(called.marks()) == 5
    until(WorkerHost.objects.exists)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    assert "stopped" in worker.stdout.read()
    assert not WorkerHost.objects.exists()


def test_a_cluster_ends_with_its_supervisor_and_with_each_of_its_own_parents(worker):
    until(lambda: len(_members(worker)) == settings.WORKERS + 4)  # and its guard, monitor and pusher
    members = _members(worker)

    worker.kill()
    worker.wait()

    until(lambda: not any(is_alive(each) for each in members))


def test_a_cluster_whose_guard_is_killed_is_started_anew(worker):
    first = started(pay())
    until(lambda: ended(first))
    members = _members(worker)
    os.kill(members[1], signal.SIGKILL)

    second = started(pay())
    until(lambda: ended(second))

    assert not any(is_alive(each) for each in members)
    until(lambda: WorkerHost.objects.filter(restarts=1).exists())


def test_the_kill_of_a_busy_process_costs_a_lease_and_nothing_else(worker):
    story = steps({"id": "wait", "role": "svc:slow", "call": "tests.slow", "token_ttl": 3})
    run = started(story, payload={"seconds": 1})
    until(lambda: called.marks("started"))
    os.kill(int(called.marks("started")[0]), signal.SIGKILL)
    until(lambda: ended(run))

    (task,) = tasks_of(run)
    assert (reloaded(run).state, task.lease_losses, task.fence) == ("completed", 1, 2)
    assert len(set(called.marks())) == 1, "one effect key, however often it was asked for"


def test_a_call_that_takes_too_long_is_a_fault_and_the_worker_goes_on(worker):
    story = steps({"id": "wait", "role": "svc:slow", "call": "tests.slow", "retries": 0})
    run = started(story, payload={"seconds": 60})
    until(lambda: ended(run))

    (task,) = tasks_of(run)
    assert (task.state, task.error_type) == (TaskState.FAILED, "Timeout")
    after = started(pay(id="after"))
    until(lambda: ended(after))


def _members(worker: subprocess.Popen[str]) -> list[int]:
    """The cluster's first process, its guard, and those that the guard started."""
    return tree(worker.pid)[1:]


def test_nothing_is_left_held_when_it_stops(worker):
    run = started(steps({"id": "wait", "role": "svc:slow", "call": "tests.slow"}), payload={"seconds": 1})
    until(lambda: called.marks("started"))
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0

    assert reloaded(run).state == "completed"
    assert not Task.objects.filter(state=TaskState.RUNNING).exists()


def test_without_its_database_it_says_so_and_ends(process_environment):
    environment = {**process_environment, "DATABASE_URL": "postgres://nobody:nothing@127.0.0.1:1/none"}
    command = [sys.executable, "manage.py", "worker"]

    ended = subprocess.run(
        command, cwd=settings.BASE_DIR, env=environment, text=True, capture_output=True, timeout=PATIENCE
    )

    assert ended.returncode != 0
    assert "Connection refused" in ended.stderr
