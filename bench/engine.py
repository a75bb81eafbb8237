# SPDX-License-Identifier: Apache-2.0
"""The contestant HMS-ACT of `permit3`: callers, agent and worker in one process, the person in another.

All go through the service functions. A dispatcher claims the agent's tasks in batches and finds the service's as our
worker finds them; a few threads do the steps, which do nothing themselves.
"""

from __future__ import annotations

import queue
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import ceil
from typing import Any

from audit import actions
from audit.models import Entry
from bench import inside, world
from bench.actions import called
from bench.contest import drive, serve
from bench.waking import Bell
from config import wake
from config.prepared import Reading
from runs import due, jobs, services
from runs.broker import MOST_IN_A_TICKET
from runs.leases import Lease
from runs.models import Run, RunState

STEP_THREADS = 4
BATCH = 16
PATIENCE_SECONDS = 60  # with one run; then something is wrong

# What the log of one run tells, in any order.
LOG_OF_A_RUN = sorted(
    [
        actions.RUN_STARTED,
        *[actions.TASK_CLAIMED, actions.TASK_COMPLETED],
        *[actions.TASK_AWAITING, actions.REQUEST_CREATED, actions.REQUEST_FULFILLED],
        *[actions.TASK_APPROVED, actions.TASK_COMPLETED],
        *[actions.TASK_CLAIMED, actions.EFFECT_INTENDED, actions.EFFECT_CONFIRMED, actions.TASK_COMPLETED],
        actions.RUN_COMPLETED,
    ]
)


def main() -> None:
    world.migrate()
    world.people()
    world.publish(world.PERMIT3)
    with Engine() as engine, ThreadPoolExecutor(64) as callers:

        def play(concurrency: int, seconds: float) -> dict[str, Any]:
            return {**drive(callers, concurrency, seconds, engine.run_once), "faults": faults()}

        serve(play)


class Engine:
    """Starts runs and waits for their ends; what lies between is done by its threads and the person's process."""

    def __init__(self) -> None:
        self._people = world.known()
        self._ended: dict[int, threading.Event] = {}
        self._todo: queue.Queue[Callable[[], None]] = queue.Queue(STEP_THREADS)  # the rest waits in the database
        self._found: set[int] = set()  # service tasks that a thread has, or is about to have
        self._bell = Bell(wake.TASKS, wake.WORK)
        self._person = subprocess.Popen(inside.command("person"), stdin=subprocess.PIPE)
        for work in (self._dispatch, *[self._do_steps] * STEP_THREADS):
            threading.Thread(target=work, daemon=True).start()

    def __enter__(self) -> Engine:
        self.run_once()  # the person is there
        return self

    def __exit__(self, *fault: object) -> None:
        assert self._person.stdin is not None
        self._person.stdin.close()  # for which it waits
        self._person.wait()

    def run_once(self) -> float:
        """The seconds from before the start of a run to its end."""
        began = time.perf_counter()
        run = services.start_run(actor=self._people.starter, playbook="permit3", payload=world.PAYLOAD)
        ended = self._ended.setdefault(run.pk, threading.Event())
        assert ended.wait(PATIENCE_SECONDS), f"run {run.pk} has not ended"
        del self._ended[run.pk]
        return time.perf_counter() - began

    def _dispatch(self) -> None:
        while True:
            if not self._agent_tasks() + self._service_tasks():
                self._bell.wait()

    def _agent_tasks(self) -> int:
        leases = services.claim_tasks(role=world.AGENT, actor=self._people.validator, limit=BATCH)
        for lease in leases:
            self._todo.put(partial(self._screen, lease))
        return len(leases)

    def _service_tasks(self) -> int:
        found = [number for number in _waiting_for_worker(BATCH + len(self._found)) if number not in self._found]
        self._found.update(found)
        together = min(MOST_IN_A_TICKET, ceil(len(found) / STEP_THREADS))
        for first in range(0, len(found), together or 1):
            self._todo.put(partial(self._perform, found[first : first + together]))
        return len(found)

    def _do_steps(self) -> None:
        while True:
            self._todo.get()()

    def _screen(self, lease: Lease) -> None:
        validator = self._people.validator
        services.complete_task(
            task_id=lease.task.pk, actor=validator, token=lease.token, outcome="PASS", output=world.OUTPUT
        )

    def _perform(self, numbers: list[int]) -> None:
        called.runs = []
        jobs.perform("task", *numbers)
        self._found.difference_update(numbers)
        for run_id in called.runs:
            self._ended.setdefault(run_id, threading.Event()).set()


# As our worker finds them, but for what else is due there: it also sends messages, which no peer does.
_for_worker = Reading(lambda: jobs.service_tasks().waiting().only("pk")[: due.BATCH])


def _waiting_for_worker(limit: int) -> list[int]:
    return [task.pk for task in _for_worker()[:limit]]


def faults() -> list[str]:
    """What is wrong with the runs so far, all of which should have ended."""
    found = []
    if unfinished := Run.objects.exclude(state=RunState.COMPLETED).count():
        found.append(f"{unfinished} runs have not ended")
    logs: dict[int, list[str]] = {}
    for entry in Entry.objects.exclude(run_id=None).only("run_id", "action").iterator():
        logs.setdefault(entry.run_id or 0, []).append(entry.action)
    if wrong := [run_id for run_id, log in logs.items() if sorted(log) != LOG_OF_A_RUN]:
        found.append(f"{len(wrong)} of {len(logs)} runs have another log: {sorted(logs[wrong[0]])}")
    if len(logs) != Run.objects.count():
        found.append(f"{len(logs)} logs of {Run.objects.count()} runs")
    return found
