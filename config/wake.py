# SPDX-License-Identifier: Apache-2.0
"""Telling waiters that there may be something to do. A wake-up is never the guarantee: everybody also looks by clock.

A wake-up says for whom there may be something, in words; so an agent that waits for a task is not woken by each
decision of others. Which word a written row means is said by its model (`wakes`).

NOTIFY is sent after the commit, and each word at most once in two milliseconds: inside the transition's transaction
it makes PostgreSQL queue the commits (measured: a third of the throughput is left). It goes over a connection of its
own, which neither waits for the disk nor is waited for: the act has been answered by then.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import psycopg
from django.db import connection, transaction
from psycopg import pq

from config.crash import crash_point

if TYPE_CHECKING:
    from config.batch import Batch  # which makes models: the web process knows of this module before Django is set up

log = logging.getLogger(__name__)

CHANNEL = "hms_act"
COALESCE_SECONDS = 0.002

WORK: Final = "work"  # for our own worker: a step to perform, a message to send, an earlier time to look at
TASKS: Final = "tasks"  # to be claimed by agents
INBOX: Final = "inbox"  # a request that people may decide
REQUESTS: Final = "requests"  # whatever has become of one: for whoever asked
ALL: Final = frozenset({WORK, TASKS, INBOX, REQUESTS})

_NOTIFY, _NOTIFY_SQL = b"wake", f"SELECT pg_notify('{CHANNEL}', $1)".encode()


def after_commit(batch: Batch | None = None) -> None:
    """Wake the waiters once the current transaction is committed: those of the rows in `batch`, or all."""
    words = ALL if batch is None else frozenset(word for row in batch.written() for word in getattr(row, "wakes", ()))
    # What could not be told is committed all the same.
    transaction.on_commit(lambda: _send(words), robust=True)


def words_of(payload: str) -> frozenset[str]:
    """For whom a wake-up is."""
    return frozenset(payload.split())


def listening_parameters() -> dict[str, Any]:
    """Of a direct psycopg connection for LISTEN, of its own for each process and opened after any fork."""
    parameters = {**connection.get_connection_params(), "autocommit": True}
    for name in ("cursor_factory", "context", "prepare_threshold"):
        parameters.pop(name, None)
    return parameters


def _send(words: frozenset[str]) -> None:
    crash_point("wake.before_notify")
    if connection.vendor == "postgresql":
        _ringer.ring(words)


class _Ringer:
    """One connection of a process over which wake-ups are sent, and their answers read when the next one is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: psycopg.Connection[Any] | None = None
        self._owner: tuple[int, str] = (0, "")  # process and database
        self._rung: dict[str, float] = {}  # word → when; "" is of every wake-up

    def ring(self, words: frozenset[str]) -> None:
        with self._lock:
            now = time.monotonic()
            fresh = [word for word in sorted(words | {""}) if now - self._rung.get(word, 0.0) >= COALESCE_SECONDS]
            if not fresh:
                return
            payload = " ".join(filter(None, fresh))
            if self._has_said(payload) or self._has_said(payload):  # the second time over a new connection
                self._rung.update(dict.fromkeys(fresh, now))

    def _has_said(self, payload: str) -> bool:
        try:
            self._say(payload)
        except psycopg.Error as fault:
            log.warning("a wake-up could not be sent; who waits looks by the clock: %s", fault)
            self.close()
            return False
        return True

    def _say(self, payload: str) -> None:
        session = self._session()
        self._read_answers(session)
        session.send_query_prepared(_NOTIFY, [payload.encode()])
        session.pipeline_sync()
        session.flush()

    def _session(self) -> Any:
        owner = (os.getpid(), str(connection.settings_dict["NAME"]))
        if self._connection is None or self._connection.closed or self._owner != owner:
            self._connection, self._owner = _connected(), owner
        return self._connection.pgconn

    @staticmethod
    def _read_answers(session: Any) -> None:
        """Of the wake-ups before, as far as they have come. Raises psycopg.OperationalError once it is lost."""
        session.consume_input()
        nothings = 0  # one follows each answer, two stand at the end
        while nothings < 2 and not session.is_busy():
            answer = session.get_result()
            nothings = nothings + 1 if answer is None else 0
            if answer is not None and answer.status == pq.ExecStatus.FATAL_ERROR:
                raise psycopg.OperationalError(answer.error_message.decode(errors="replace"))

    def close(self) -> None:
        if self._connection is not None and self._owner[0] == os.getpid():
            self._connection.close()
        self._connection = None


def _connected() -> psycopg.Connection[Any]:
    found = psycopg.connect(**listening_parameters())
    found.execute("SET synchronous_commit = off")  # there is nothing in it to be kept
    found.pgconn.prepare(_NOTIFY, _NOTIFY_SQL)
    found.pgconn.nonblocking = 1
    found.pgconn.enter_pipeline_mode()
    assert found.pgconn.pipeline_status == pq.PipelineStatus.ON
    return found


_ringer = _Ringer()


def hang_up() -> None:
    """Close the connection; the next wake-up opens another."""
    _ringer.close()
