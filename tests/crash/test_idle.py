# SPDX-License-Identifier: Apache-2.0
"""A process killed while idle leaves the queue of its cluster locked; the supervisor notices by what is not done."""

from __future__ import annotations

import time

import pytest
from django.conf import settings

from runs.models import Task, WorkerHost
from tests.crash.house import charging, has_ended, kill, until, worker
from tests.factories import started
from tests.process_tree import children, tree

pytestmark = pytest.mark.django_db(transaction=True)

STALL_SECONDS = 6  # in which a supervisor on a quick machine notices


def test_each_kill_of_idle_processes_costs_a_few_seconds_however_often_and_on_a_cluster_however_fresh(
    environment, receiver, tmp_path
):
    began = time.monotonic()
    with worker(environment, tmp_path / "worker.log") as supervisor:
        until(lambda: len(tree(supervisor.pid)) == whole_family(), "the start of the cluster")
        start_seconds = time.monotonic() - began
        for restarts in (1, 2):
            kill_performers(supervisor.pid)
            run = started(charging())
            until(lambda run=run: has_ended(run), "the end of the run")

            assert seconds_waited(run) <= STALL_SECONDS + 2 * start_seconds
            until(lambda n=restarts: WorkerHost.objects.filter(restarts=n).exists(), "the count of restarts")


def whole_family() -> int:
    """The supervisor; the cluster's first process, its guard, monitor and pusher; and those that perform."""
    return 5 + settings.WORKERS


def kill_performers(supervisor: int) -> None:
    (first,) = children(supervisor)
    (guard,) = children(first)
    for performer in children(guard)[: settings.WORKERS]:
        kill(performer)


def seconds_waited(run) -> float:
    task = Task.objects.get(run=run)
    return (task.claimed_at - task.created_at).total_seconds()
