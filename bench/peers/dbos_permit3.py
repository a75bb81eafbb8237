# SPDX-License-Identifier: Apache-2.0
"""The contestant DBOS of `permit3`: a workflow of a step, a message that a second process sends, and a step.

Its database is the one that DBOS_URL names. Called with `person` it is the second process, which reads from stdin
the numbers of workflows that wait for a decision, and sends it.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

from dbos import DBOS, DBOSClient

from bench.contest import drive, serve

URL = os.environ["DBOS_URL"].replace("postgres://", "postgresql://", 1)
CONNECTIONS = 20
PERSON_THREADS = 4
PATIENCE_SECONDS = 60
TOPIC = "decision"
PAYLOAD = {"form_id": 123}


def main() -> None:
    DBOS(
        config={
            "name": "permit3",
            "system_database_url": URL,
            "sys_db_pool_size": CONNECTIONS,
            "max_executor_threads": 128,
            "use_listen_notify": True,
            "log_level": "ERROR",
        }
    )
    person = subprocess.Popen([sys.executable, "-m", "bench.peers.dbos_permit3", "person"], stdin=subprocess.PIPE)
    assert person.stdin is not None
    inbox = person.stdin

    @DBOS.step()
    def screen(form: dict[str, Any]) -> dict[str, Any]:
        return {"risk": "low"}

    @DBOS.step()
    def charge(form: dict[str, Any], decision: dict[str, Any]) -> dict[str, Any]:
        return {"paid": 40}

    @DBOS.workflow()
    def permit3(form: dict[str, Any]) -> dict[str, Any]:
        screen(form)
        os.write(inbox.fileno(), f"{DBOS.workflow_id}\n".encode())
        decision = DBOS.recv(TOPIC, timeout_seconds=PATIENCE_SECONDS)
        assert decision is not None, "nobody decided"
        return charge(form, decision)

    def run_once() -> float:
        began = time.perf_counter()
        assert DBOS.start_workflow(permit3, PAYLOAD).get_result() == {"paid": 40}
        return time.perf_counter() - began

    DBOS.launch()
    run_once()
    with ThreadPoolExecutor(64) as callers:

        def play(concurrency: int, seconds: float) -> dict[str, Any]:
            return {**drive(callers, concurrency, seconds, run_once), "faults": faults()}

        serve(play, dbos=version("dbos"))
    inbox.close()
    person.wait()
    DBOS.destroy()


def faults() -> list[str]:
    unfinished = [one for one in DBOS.list_workflows() if one.status != "SUCCESS"]
    return [f"{len(unfinished)} workflows have not ended well"] if unfinished else []


def person() -> None:
    client = DBOSClient(system_database_url=URL, system_database_pool_size=PERSON_THREADS)
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()

    def decide() -> None:
        while True:
            client.send(waiting.get(), {"outcome": "PASS"}, TOPIC)

    for work in [decide] * PERSON_THREADS:
        threading.Thread(target=work, daemon=True).start()
    for line in sys.stdin:
        waiting.put(line.strip())


if __name__ == "__main__":
    person() if sys.argv[1:] == ["person"] else main()
