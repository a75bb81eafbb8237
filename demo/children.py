# SPDX-License-Identifier: Apache-2.0
"""The programs of the demonstration, started and ended together.

Each has a process group of its own, so that Ctrl-C reaches only us, and we end them in good order; what each
says goes to a file of its own. Should we be killed outright, the kernel tells them to end.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

END_SECONDS = 8.0  # what all of them together get to end by themselves
LOOK_SECONDS = 0.05
SET_DEATH_SIGNAL = 1  # prctl's PR_SET_PDEATHSIG
LINES_SHOWN = 12  # of what a program said last


@dataclass(frozen=True, slots=True)
class Child:
    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def last_words(self) -> str:
        said = self.log.read_text(errors="replace").strip().splitlines()
        return "\n".join(f"    {line}" for line in said[-LINES_SHOWN:])


class Children:
    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder, self._environment = folder, dict(environment)
        self._children: list[Child] = []
        folder.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, arguments: Sequence[str], **more: str) -> Child:
        """Start `python …`; `more` is added to its environment."""
        log = self._folder / f"{name}.log"
        with open(log, "wb") as said:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                env={**self._environment, **more},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent,  # we have one thread, so this is safe
            )
        child = Child(name, process, log)
        self._children.append(child)
        return child

    def ended(self) -> Child | None:
        """The first that ended, which none should by itself."""
        return next((child for child in self._children if not child.is_alive), None)

    def end(self) -> list[str]:
        """End all, in the order opposite to their start; the names of those that had to be killed."""
        deadline = time.monotonic() + END_SECONDS
        for child in reversed(self._children):
            if child.is_alive:
                child.process.terminate()
        while any(child.is_alive for child in self._children) and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
        stubborn = [child for child in self._children if child.is_alive]
        for child in stubborn:
            for pid in [*_descendants(child.process.pid), child.process.pid]:
                _kill(pid)
            child.process.wait()
        return [child.name for child in stubborn]


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it ended meanwhile


def _descendants(pid: int) -> list[int]:
    """Those of a program that cannot end them itself any more: a worker's cluster is a session of its own."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True).stdout
    pairs = [(int(child), int(parent)) for child, parent in (line.split() for line in listed.splitlines())]
    found, parents = [], {pid}
    while parents:
        parents = {child for child, parent in pairs if parent in parents}
        found += sorted(parents)
    return found


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_DEATH_SIGNAL, signal.SIGTERM)
