# SPDX-License-Identifier: Apache-2.0
"""The contestant Restate of `permit3`: a workflow of a step, a promise that a second process resolves, and a step.

`SERVER`: the program restate-server, which it starts, with a service process that it calls. `service PORT INGRESS`:
that process, whose workflows tell the person what waits. `person INGRESS`: the person, who reads that from stdin.
"""

from __future__ import annotations

import asyncio
import os
import queue
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import restate
from hypercorn.asyncio import serve as serve_asgi
from hypercorn.config import Config

from bench.calling import Caller
from bench.contest import drive, serve

HOST = "127.0.0.1"
PERSON_THREADS = 4
START_SECONDS = 60
PAYLOAD = {"form_id": 123}
STREAMS = 2**31 - 1  # as its makers advise for production

# The service ----------------------------------------------------------------------------------------------

permit3 = restate.Workflow("permit3")
_inbox: list[int] = []  # the file in which the person reads what waits


@permit3.main()
async def run(ctx: restate.WorkflowContext, form: dict[str, Any]) -> dict[str, Any]:
    await ctx.run_typed("screen", lambda: {"risk": "low"})
    await ctx.run_typed("ask", lambda: os.write(_inbox[0], f"{ctx.key()}\n".encode()))
    await ctx.promise("decision").value()
    return await ctx.run_typed("charge", lambda: {"paid": 40})


@permit3.handler()
async def decide(ctx: restate.WorkflowSharedContext, decision: dict[str, Any]) -> None:
    await ctx.promise("decision").resolve(decision)


def service(port: str, ingress: str) -> None:
    person = subprocess.Popen(_command("person", ingress), stdin=subprocess.PIPE)
    assert person.stdin is not None
    _inbox.append(person.stdin.fileno())
    config = Config()
    config.bind = [f"{HOST}:{port}"]
    config.h2_max_concurrent_streams = config.keep_alive_max_requests = config.keep_alive_timeout = STREAMS
    asyncio.run(serve_asgi(restate.app([permit3]), config))  # type: ignore[arg-type, unused-ignore]


# The person -----------------------------------------------------------------------------------------------


def person(ingress: str) -> None:
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()

    def approve() -> None:
        caller = Caller(ingress, "")
        while True:
            caller.post(f"/permit3/{waiting.get()}/decide", outcome="PASS")

    for work in [approve] * PERSON_THREADS:
        threading.Thread(target=work, daemon=True).start()
    for line in sys.stdin:
        waiting.put(line.strip())


# The contestant -------------------------------------------------------------------------------------------


def main(server: str) -> None:
    ports = dict(zip(("ingress", "admin", "node", "service"), _free_ports(4), strict=True))
    ingress = f"http://{HOST}:{ports['ingress']}"
    mine = threading.local()

    def run_once() -> float:
        if not hasattr(mine, "caller"):
            mine.caller = Caller(ingress, "")
        began = time.perf_counter()
        answer = mine.caller.post(f"/permit3/{uuid.uuid4()}/run", **PAYLOAD)
        assert answer == {"paid": 40}, answer
        return time.perf_counter() - began

    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="hms-act-restate-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.enter_context(_running([server], _settings(folder, ports)))
        stack.enter_context(_running(_command("service", str(ports["service"]), ingress), dict(os.environ)))
        _register(f"http://{HOST}:{ports['admin']}", f"http://{HOST}:{ports['service']}")
        callers = stack.enter_context(ThreadPoolExecutor(64))
        run_once()

        def play(concurrency: int, seconds: float) -> dict[str, Any]:
            # A caller waits for its run's result, so that what has been counted has ended.
            return {**drive(callers, concurrency, seconds, run_once), "faults": []}

        serve(play, restate_server=_version_of(server), restate_sdk=version("restate-sdk"))


def _settings(folder: Path, ports: dict[str, int]) -> dict[str, str]:
    """Its defaults, but for places and ports."""
    return {
        **os.environ,
        "RESTATE_BASE_DIR": str(folder),
        "RESTATE_LISTEN_MODE": "tcp",
        "RESTATE_BIND_ADDRESS": f"{HOST}:{ports['node']}",
        "RESTATE_ADVERTISED_ADDRESS": f"http://{HOST}:{ports['node']}",
        "RESTATE_INGRESS__BIND_ADDRESS": f"{HOST}:{ports['ingress']}",
        "RESTATE_ADMIN__BIND_ADDRESS": f"{HOST}:{ports['admin']}",
        "RESTATE_DISABLE_TELEMETRY": "true",
        "RESTATE_LOG_FILTER": "error",
    }


def _register(admin: str, service_address: str) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            Caller(admin, "").post("/deployments", uri=service_address)
            return
        except (OSError, AssertionError):
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


@contextmanager
def _running(command: list[str], environment: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "bench.peers.restate_permit3", *words]


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind((HOST, 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _version_of(server: str) -> str:
    return subprocess.run([server, "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["service", port, ingress]:
            service(port, ingress)
        case ["person", ingress]:
            person(ingress)
        case [server]:
            main(server)
