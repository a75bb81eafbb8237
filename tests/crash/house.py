# SPDX-License-Identifier: Apache-2.0
"""Processes of the product on the database of a test, some of which die at a point named by the test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from django.conf import settings

from runs.models import Run
from tests.config.web import served
from tests.crash import actions as _registered  # noqa: F401  service actions that playbooks here call
from tests.factories import actions_of, reloaded, steps

PATIENCE_SECONDS = 90  # a test that needs them has failed

Environment = Mapping[str, str]


def until(happened: Callable[[], Any], what: str = "it") -> Any:
    end = time.monotonic() + PATIENCE_SECONDS
    while not (found := happened()):
        assert time.monotonic() < end, f"{what} did not happen"
        time.sleep(0.02)
    return found


# Ticks ----------------------------------------------------------------------------------------------------


def begin_tick(environment: Environment) -> subprocess.Popen[str]:
    """One pass over all that is due, as a process of its own."""
    command = [sys.executable, "manage.py", "tick"]
    return subprocess.Popen(
        command, cwd=settings.BASE_DIR, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def tick_dies(environment: Environment, point: str) -> None:
    process = begin_tick({**environment, "HMS_ACT_CRASH_AT": point})
    said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == -signal.SIGKILL, said


# Web ------------------------------------------------------------------------------------------------------


def web_dies(environment: Environment, log: Path, point: str, path: str, **call: Any) -> None:
    """A call that a web server does not answer, because it dies at this point."""
    with served({**environment, "HMS_ACT_CRASH_AT": point}, log) as web:
        try:
            answer = web.post(path, **call)
        except httpx2.TransportError:
            return
    raise AssertionError(f"{path} was answered: {answer.status_code} {answer.text}\n{log.read_text()}")


# Workers --------------------------------------------------------------------------------------------------


@contextmanager
def worker(environment: Environment, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = begin_worker(environment, log)
    try:
        until(lambda: "waiting for what is due" in log.read_text(), "the worker's start")
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def begin_worker(environment: Environment, log: Path) -> subprocess.Popen[bytes]:
    with log.open("a") as output:
        command = [sys.executable, "manage.py", "worker"]
        return subprocess.Popen(command, cwd=settings.BASE_DIR, env=environment, stdout=output, stderr=output)


def kill(pid: int) -> bool:
    """Whether there was something to kill."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


# Runs -----------------------------------------------------------------------------------------------------


def charging(*names: str, **step: Any) -> dict[str, Any]:
    """A playbook of service steps, each of which charges once at the receiver."""
    return steps(*({"id": name, "role": "svc:finance", "call": "crash.charge", **step} for name in names or ["pay"]))


def has_ended(run: Run) -> bool:
    return not reloaded(run).is_open


def told(run: Run) -> Counter[str]:
    """How often each act stands in the log of the run."""
    return Counter(actions_of(run))
