# SPDX-License-Identifier: Apache-2.0
"""Running other programs so that all of them end when we do."""

from __future__ import annotations

import signal
import subprocess
import time
from types import FrameType

END_SECONDS = 20  # what a program gets to end by itself, before it is killed
LOOK_SECONDS = 0.2


def end_on_signals() -> None:
    """Let SIGTERM and SIGHUP unwind the stack as Ctrl-C does, so that every `finally` runs."""

    def leave(number: int, frame: FrameType | None) -> None:
        for each in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)  # once is enough: the way out must not be interrupted
        raise SystemExit(128 + number)

    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, leave)
    # A script's background job is born deaf to Ctrl-C, and so would be all that we start and mean to end by it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def run(command: list[str], environment: dict[str, str]) -> int:
    """Run a program to its end, or end it when we are told to end first. Gives its exit code."""
    return run_together([command], environment)[0]


def run_together(commands: list[list[str]], environment: dict[str, str]) -> list[int]:
    """Run programs side by side until the first of them ends, then end the others. Gives their exit codes."""
    children = [subprocess.Popen(command, env=environment) for command in commands]
    try:
        while all(child.poll() is None for child in children):
            time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        _await_all(children)  # Ctrl-C reached each of them as well: a second one would disturb their ending
        raise
    finally:
        for child in children:
            if child.poll() is None:
                child.send_signal(signal.SIGINT)
        _await_all(children)
    return [child.returncode for child in children]


def _await_all(children: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + END_SECONDS
    for child in children:
        try:
            child.wait(max(0.0, deadline - time.monotonic()))
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            child.kill()
            child.wait()
