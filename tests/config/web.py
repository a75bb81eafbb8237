# SPDX-License-Identifier: Apache-2.0
"""A real web server on the database of the test."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx2

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60
END_SECONDS = 10  # less than any test lets a call wait


@contextmanager
def served(environment: Mapping[str, str], log: Path, *options: str) -> Iterator[httpx2.Client]:
    """A client of `uvicorn config.asgi:application`, which is ended at the end."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "config.asgi:application", "--lifespan=off", f"--port={port}"]
    with log.open("w") as output:
        server = subprocess.Popen([*command, *options], env=environment, cwd=ROOT, stdout=output, stderr=output)
        try:
            with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=90, trust_env=False) as client:
                _await(client, server, log)
                yield client
        finally:
            server.terminate()
            server.wait(END_SECONDS)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await(client: httpx2.Client, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        assert server.poll() is None, log.read_text()
        try:
            client.get("/healthz")
        except httpx2.TransportError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"no answer within {START_SECONDS} s: {log.read_text()}")
