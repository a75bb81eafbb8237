# SPDX-License-Identifier: Apache-2.0
"""Between `manage.py worker` and the cluster of processes it supervises: signs of progress up, death down.

The supervisor holds the reading end of a pipe into which the cluster's processes say what they do. So it knows a
cluster that is still starting from one that stands still, and a process that is at work from one that is not,
without asking the database. The cluster, for its part, does not outlive its supervisor: on Linux the kernel ends
each of its processes with its parent; elsewhere the process that looks for work ends them all when nobody reads.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import signal
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO

from django.conf import settings
from django.core.management import call_command
from django.db import connections

LOOKED, TOOK_UP, PUT_DOWN = b"l", b"t", b"p"  # for what is due; a ticket; it again, however it ended
SIGN = struct.Struct("=ci")  # a word and the process that says it; so short that a write is never torn
SIGNS_AT_ONCE = 10_000
SET_DEATH_SIGNAL = 1  # prctl's PR_SET_PDEATHSIG
KILLED_AFTER_SECONDS = 10  # django-q2 ends a process that much after its call should have ended, or sooner


class Cluster:
    """One life of the cluster, as its supervisor sees it. Times are of the monotonic clock.

    It is forked: what django-q2 forks in its turn has everything loaded already, and so has it, in no time.
    """

    def __init__(self, holder: str) -> None:
        ours, theirs = os.pipe()
        self._signs = FileIO(ours)
        os.set_blocking(ours, False)
        self.started_at = time.monotonic()
        self.looked_at: float | None = None  # for the first time: it has started
        self.moved_at = self.started_at  # when it last took up a ticket, or could not be expected to
        self._at_work: dict[int, float] = {}  # process → since when it has a ticket
        connections.close_all()  # each is of one process alone
        gc.collect()
        gc.freeze()  # what is there now is never looked through again, which would copy the pages that all share
        fork = multiprocessing.get_context("fork")
        self._process = fork.Process(target=serve, args=[holder, os.getpid(), self._signs, theirs])
        self._process.start()
        os.close(theirs)

    def listen(self) -> None:
        """Take in what has been said since the last time."""
        now = time.monotonic()
        for word, process in SIGN.iter_unpack(self._signs.read(SIGNS_AT_ONCE * SIGN.size) or b""):
            if word == LOOKED and self.looked_at is None:
                self.looked_at = self.moved_at = now
            elif word == TOOK_UP:
                self.moved_at = self._at_work[process] = now
            elif word == PUT_DOWN:
                self._at_work.pop(process, None)

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

    def has_ended(self) -> bool:
        return self._process.exitcode is not None

    def end(self, seconds: float) -> bool:
        """Let it finish what it holds; whether it did in time."""
        self._process.terminate()
        self._process.join(seconds)
        return self.has_ended()

    def kill(self) -> None:
        """End whatever is left of it."""
        group = self._process.pid
        assert group is not None
        with suppress(ProcessLookupError):  # all of it has ended already, or it has no group yet
            os.killpg(group, signal.SIGKILL)
        self._process.kill()
        self._process.join()
        self._signs.close()


def _is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


# Within the cluster ---------------------------------------------------------------------------------------

_signs: int | None = None  # where to say what we do; None in a process that nobody supervises
_parent = 0


def serve(holder: str, supervisor: int, read: FileIO, signs: int) -> None:
    """Be, with all that this process forks, the cluster of that supervisor, from which it was forked."""
    global _signs, _parent
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    read.close()  # so that nobody reads once the supervisor has gone
    os.set_blocking(signs, False)
    os.environ["HMS_ACT_HOLDER"] = holder
    _signs, _parent = signs, supervisor
    os.register_at_fork(before=_become_parent, after_in_child=_end_with_parent)
    _end_with_parent()
    call_command("qcluster")


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
