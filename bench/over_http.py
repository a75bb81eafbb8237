# SPDX-License-Identifier: Apache-2.0
"""The contestant HMS-ACT of `permit3`, over HTTP: real web and worker processes, and clients that know the API alone.

Only that runs have ended is read from the database, in one statement for all of them: to ask for each run over and
over would measure the asking.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPException
from typing import Any

from django.db import connection

from bench import servers, world
from bench.calling import Caller
from bench.contest import drive, serve
from bench.engine import PATIENCE_SECONDS, faults
from runs.models import Run, RunState

THREADS = 4  # of the agent, and of the person
BATCH = 16
LOOK_SECONDS = 0.005
INBOX_SECONDS = 0.02


def main() -> None:
    world.migrate()
    people = world.people()
    world.publish(world.PERMIT3)
    keys = {user.username: world.key_of(user) for user in (people.starter, people.validator, people.liaison)}
    with ExitStack() as stack:
        address, _ = stack.enter_context(servers.web(os.environ))
        stack.enter_context(servers.worker(os.environ))
        callers = stack.enter_context(ThreadPoolExecutor(64))
        clients = stack.enter_context(Clients(address, keys))

        def play(concurrency: int, seconds: float) -> dict[str, Any]:
            return {**drive(callers, concurrency, seconds, clients.run_once), "faults": faults()}

        serve(play)


class Clients:
    """Who starts, the agent, the person, and who looks whether runs have ended: each on connections of their own."""

    def __init__(self, address: str, keys: Mapping[str, str]) -> None:
        self._address, self._keys = address, keys
        self._mine = threading.local()
        self._ended: dict[int, threading.Event] = {}
        self._claimed: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()
        self._asked: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._seen: set[str] = set()
        self._leaving = threading.Event()
        self._looking = threading.Thread(target=self._look)

    def __enter__(self) -> Clients:
        agent, person = "validator", "liaison"
        works = [(agent, self._claim), (person, self._read_inbox)]
        works += [(agent, self._complete), (person, self._approve)] * THREADS
        for name, work in works:
            threading.Thread(target=self._go_on, args=(name, work), daemon=True).start()
        self._looking.start()
        self.run_once()
        return self

    def __exit__(self, *fault: object) -> None:
        self._leaving.set()
        self._looking.join()

    def run_once(self) -> float:
        """The seconds from before the call that starts a run to when its end is seen."""
        if not hasattr(self._mine, "starter"):
            self._mine.starter = Caller(self._address, self._keys["starter"])
        began = time.perf_counter()
        run_id = self._mine.starter.post("/acts/run", playbook="permit3", payload=world.PAYLOAD)["run_id"]
        ended = self._ended.setdefault(run_id, threading.Event())
        assert ended.wait(PATIENCE_SECONDS), f"run {run_id} has not ended"
        return time.perf_counter() - began

    def _go_on(self, name: str, work: Callable[[Caller], None]) -> None:
        caller = Caller(self._address, self._keys[name])
        try:
            while not self._leaving.is_set():
                work(caller)
        except (OSError, HTTPException):
            if not self._leaving.is_set():
                raise

    def _claim(self, agent: Caller) -> None:
        found = agent.post("/acts/tasks/next", role=world.AGENT, wait=30, limit=BATCH)
        for lease in found["tasks"] if found else []:
            self._claimed.put(lease)

    def _complete(self, agent: Caller) -> None:
        lease = self._claimed.get()
        answer = {"token": lease["token"], "outcome": "PASS", "output": world.OUTPUT}
        agent.post(f"/acts/tasks/{lease['task']['id']}/complete", **answer)

    def _read_inbox(self, person: Caller) -> None:
        inbox = person.get("/hitl/requests?status=pending")["results"]
        new = [request["id"] for request in inbox if request["id"] not in self._seen]
        self._seen.update(new)
        for request_id in new:
            self._asked.put(request_id)
        time.sleep(INBOX_SECONDS)

    def _approve(self, person: Caller) -> None:
        person.post(f"/hitl/requests/{self._asked.get()}/fulfill", notes="fine")

    def _look(self) -> None:
        """Tell those who wait for them which runs have ended."""
        while not self._leaving.wait(LOOK_SECONDS):
            waited_for = list(self._ended)
            completed = Run.objects.filter(pk__in=waited_for, state=RunState.COMPLETED)
            for run_id in completed.values_list("pk", flat=True) if waited_for else []:
                self._ended.pop(run_id).set()
        connection.close()
