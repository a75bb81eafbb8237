# SPDX-License-Identifier: Apache-2.0
"""`latency`: how soon an idle installation goes on, with its real web and worker processes, over HTTP.

Decision: from before the person's call to when the service step's action has begun in the worker. Start: from before
the call that starts a run to when the agent, whose call for a task has been waiting, has its answer.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from bench import figures, servers, world
from bench.calling import Caller
from bench.engine import PATIENCE_SECONDS, faults
from runs.models import Task, TaskState

ROUNDS = 5
EACH = 12  # of both, in a round
WARM_UP = 3
QUIET_SECONDS = (0.2, 0.6)  # before each, so that everybody has gone to sleep
LOOK_SECONDS = 0.02


def main() -> None:
    world.migrate()
    people = world.people()
    world.publish(world.PERMIT3)
    keys = {user.username: world.key_of(user) for user in (people.starter, people.validator, people.liaison)}
    with ExitStack() as stack:
        address, _ = stack.enter_context(servers.web(os.environ))
        stack.enter_context(servers.worker(os.environ))
        waiting = stack.enter_context(ThreadPoolExecutor(1))
        city = City({name: Caller(address, key) for name, key in keys.items()}, waiting)
        played = [city.play(times) for times in (WARM_UP, *[EACH] * ROUNDS)][1:]
    started, decided = ([1000 * statistics.median(one) for one in side] for side in zip(*played, strict=True))
    figures.finish(
        figures.Report(
            "latency",
            bars=[
                figures.Bar("p50, decision to service step", "ms", decided, at_most=10, aim=3),
                figures.Bar("p50, start to the first claim", "ms", started, at_most=15),
            ],
            faults=faults(),
        )
    )


class City:
    """Who starts, the agent and the person, of whom only one does anything at a time."""

    def __init__(
        self, callers: dict[str, Caller], waiting: ThreadPoolExecutor, quiet: tuple[float, float] = QUIET_SECONDS
    ) -> None:
        self._callers, self._waiting, self._quiet_seconds = callers, waiting, quiet

    def play(self, times: int) -> tuple[list[float], list[float]]:
        """(from start to claim, from decision to service step): the seconds of each of so many runs."""
        started, decided = zip(*(self._run_once() for _ in range(times)), strict=True)
        return list(started), list(decided)

    def _run_once(self) -> tuple[float, float]:
        run_id, lease, started = self._start()
        answer = {"token": lease["token"], "outcome": "PASS", "output": world.OUTPUT}
        self._callers["validator"].post(f"/acts/tasks/{lease['task']['id']}/complete", **answer)
        return started, self._decide(run_id)

    def _start(self) -> tuple[int, Any, float]:
        claim = self._waiting.submit(self._claim)
        self._quiet()
        began = time.time()
        run_id = self._callers["starter"].post("/acts/run", playbook="permit3", payload=world.PAYLOAD)["run_id"]
        lease, at = claim.result(PATIENCE_SECONDS)
        assert lease["task"]["run_id"] == run_id
        return run_id, lease, at - began

    def _claim(self) -> tuple[Any, float]:
        """(the lease, when it was there)."""
        lease = self._callers["validator"].post("/acts/tasks/next", role=world.AGENT, wait=60)
        return lease, time.time()

    def _decide(self, run_id: int) -> float:
        person = self._callers["liaison"]
        (request,) = person.get(f"/hitl/requests?status=pending&run={run_id}")["results"]
        self._quiet()
        began = time.time()
        person.post(f"/hitl/requests/{request['id']}/fulfill", notes="fine")
        paid = Task.objects.filter(run=run_id, by_worker=True, state=TaskState.COMPLETED)
        return float(_until(paid.first).output["started_at"]) - began

    def _quiet(self) -> None:
        time.sleep(random.uniform(*self._quiet_seconds))  # noqa: S311  it guards nothing


def _until(found: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE_SECONDS
    while (answer := found()) is None:
        assert time.monotonic() < end, "the service step has not ended"
        time.sleep(LOOK_SECONDS)
    return answer
