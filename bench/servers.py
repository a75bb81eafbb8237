# SPDX-License-Identifier: Apache-2.0
"""The product's own processes, as an installation runs them: web on two processes, and the worker."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import httpx2

from bench import places  # puts scripts/ on the path

import run_server  # isort: skip

HOST = "127.0.0.1"
START_SECONDS = 60
END_SECONDS = 30


@contextmanager
def web(
    environment: Mapping[str, str], application: str = "", python: str = sys.executable
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """(address, process) of our web server; or of another application, served in just the same way."""
    port = free_port()
    command = [python, *run_server.web_command(HOST, port)[1:]]
    if application:
        command[command.index("config.asgi:application")] = application
    with _running(command, environment, f"web-{port}") as process:
        address = f"http://{HOST}:{port}"
        _await(address, process)
        yield address, process


@contextmanager
def worker(environment: Mapping[str, str], python: str = sys.executable) -> Iterator[subprocess.Popen[bytes]]:
    """Our worker, once it looks for work."""
    with _running([python, *run_server.worker_command()[1:]], environment, "worker") as process:
        time.sleep(1)
        yield process


@contextmanager
def _running(command: Sequence[str], environment: Mapping[str, str], name: str) -> Iterator[subprocess.Popen[bytes]]:
    log = places.var() / "log" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as said:
        process = subprocess.Popen(command, cwd=places.ROOT, env=dict(environment), stdout=said, stderr=said)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await(address: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        try:
            httpx2.get(f"{address}/healthz", trust_env=False)
            return
        except httpx2.TransportError:
            assert process.poll() is None, f"the web server at {address} ended by itself"
            time.sleep(0.1)
    raise SystemExit(f"bench: no answer at {address} within {START_SECONDS} s")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
