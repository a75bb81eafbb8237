# SPDX-License-Identifier: Apache-2.0
"""Points at which a test lets this process die, as if killed, to see what is left and who repairs it.

The setting CRASH_AT names one of them; without it every point is inert. Settings take it only from a test.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from django.conf import settings
from django.db import connection, transaction

POINTS: frozenset[str] = frozenset({
    "start.before_commit",
    "start.after_commit",
    "claim.before_commit",
    "claim.after_commit",
    "effect.before_intended_commit",
    "effect.after_intended",
    "effect.after_call",
    "complete.before_commit",
    "complete.after_commit",
    "decide.before_commit",
    "decide.after_commit",
    "release.before_commit",
    "release.after_commit",
    "spend.before_commit",
    "spend.after_commit",
    "wake.before_notify",
    "mail.after_send",
    "lease_lost.before_commit",
})  # fmt: skip


def crash_point(name: str) -> None:
    """Die here, if this is the point: by a signal that nothing can catch, so that nothing is tidied up."""
    if name == settings.CRASH_AT:
        os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def crash_around_commit(act: str) -> Iterator[None]:
    """Around the write of an act: the points before its commit, and after it."""
    if not settings.CRASH_AT:
        yield
        return
    commits_itself = not connection.in_atomic_block
    if commits_itself:
        crash_point(f"{act}.before_commit")
    yield
    if not commits_itself:
        crash_point(f"{act}.before_commit")
    transaction.on_commit(partial(crash_point, f"{act}.after_commit"))
