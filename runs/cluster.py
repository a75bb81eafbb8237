# SPDX-License-Identifier: Apache-2.0
"""Between `manage.py worker` and the cluster of processes it supervises: signs of progress up, death down.

The supervisor holds the reading end of a pipe into which the cluster's processes say what they do. So it knows a
cluster that is still starting from one that stands still, and a process that is at work from one that is not,
without asking the database. The cluster, for its part, does not outlive its supervisor: on Linux the kernel ends
each of its processes with its parent; elsewhere the process that looks for work ends them all when nobody reads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

LOOKED, TOOK_UP, PUT_DOWN = b"l", b"t", b"p"  # for what is due; a ticket; it again, however it ended
SIGN = struct.Struct("=ci")  # a word and the process that says it; so short that a write is never torn
SET_DEATH_SIGNAL = 1  # prctl's PR_SET_PDEATHSIG
KILLED_AFTER_SECONDS = 10  # django-q2 ends a process that much after its call should have ended, or sooner


class Cluster:
    """One life of the cluster, as its supervisor sees it. Times are of the monotonic clock."""

    def __init__(self, holder: str) -> None:
        self._signs, theirs = os.pipe()
        os.set_blocking(self._signs, False)
        self.started_at = time.monotonic()
        self.looked_at: float | None = None  # for the first time: it has started
        self.moved_at = self.started_at  # when it last took up a ticket, or could not be expected to
        self._at_work: dict[int, float] = {}  # process → since when it has a ticket
        command = [sys.executable, sys.argv[0], "worker", f"--under={os.getpid()}", f"--signs={theirs}"]
        environment = {**os.environ, "HMS_ACT_HOLDER": holder}
        self.process = subprocess.Popen(command, env=environment, start_new_session=True, pass_fds=[theirs])
        os.close(theirs)

    def listen(self) -> None:
        """Take in what has been said since the last time."""
        now = time.monotonic()
        for word, process in SIGN.iter_unpack(self._read()):
            if word == LOOKED and self.looked_at is None:
                self.looked_at = self.moved_at = now
            elif word == TOOK_UP:
                self.moved_at = self._at_work[process] = now
            elif word == PUT_DOWN:
                self._at_work.pop(process, None)

    def _read(self) -> bytes:
        try:
            return os.read(self._signs, 64 * 1024 // SIGN.size * SIGN.size)
        except BlockingIOError:
            return b""

    def excuse(self) -> None:
        """No progress could be expected up to now."""
        self.moved_at = time.monotonic()

    def start_seconds(self) -> float:
        """How long it took, or has taken so far, to start."""
        return (self.looked_at or time.monotonic()) - self.started_at

    def quiet_seconds(self) -> float:
        """Since when no process took up a ticket."""
        return time.monotonic() - self.moved_at

    def at_work(self) -> int:
        """How many of its processes have a ticket in hand. A process that died with one has not put it down."""
        overdue = time.monotonic() - settings.CALL_TIMEOUT_SECONDS - KILLED_AFTER_SECONDS
        self._at_work = {p: since for p, since in self._at_work.items() if since > overdue and _is_there(p)}
        return len(self._at_work)

    def end(self, seconds: float) -> bool:
        """Let it finish what it holds; whether it did in time."""
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """End whatever is left of it."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return  # all of it has ended already
        finally:
            self.process.wait()
            os.close(self._signs)


def _is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


# Within the cluster ---------------------------------------------------------------------------------------

_signs: int | None = None  # where to say what we do; None in a process that nobody supervises
_parent = 0


def serve(*, supervisor: int, signs: int) -> None:
    """Make this process, and all that it forks, the cluster of that supervisor."""
    global _signs, _parent
    _signs, _parent = signs, supervisor
    os.set_blocking(signs, False)
    os.set_inheritable(signs, False)  # a program that an action runs is no part of the cluster
    os.register_at_fork(before=_become_parent, after_in_child=_end_with_parent)
    _end_with_parent()


def _become_parent() -> None:
    global _parent
    _parent = os.getpid()


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != _parent:  # it was sooner
        os.kill(os.getpid(), signal.SIGKILL)


def say_looked() -> None:
    _say(LOOKED)


@contextmanager
def with_ticket() -> Iterator[None]:
    """Around what a process does with a ticket."""
    _say(TOOK_UP)
    try:
        yield
    finally:
        _say(PUT_DOWN)


def _say(word: bytes) -> None:
    if _signs is None:
        return
    try:
        os.write(_signs, SIGN.pack(word, os.getpid()))
    except BlockingIOError:
        return  # the supervisor is behind, and will miss this sign among very many
    except BrokenPipeError:
        os.killpg(os.getpgrp(), signal.SIGKILL)  # it has gone, and so do we
