# SPDX-License-Identifier: Apache-2.0
"""Telling waiters that there may be something to do. A wake-up is never the guarantee: everybody also looks by clock.

NOTIFY is sent after the commit and at most once in two milliseconds: inside the transition's transaction it
makes PostgreSQL queue the commits (measured: a third of the throughput is left). It is a transaction of its own, and
there is nothing in it to be kept: it does not wait for the disk.
"""

from __future__ import annotations

import time
from typing import Any

from django.db import connection, transaction

from config.crash import crash_point
from config.prepared import rows_of

CHANNEL = "hms_act"
COALESCE_SECONDS = 0.002

_NOTIFY = "SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, '')"  # `true`: within it alone

_last_sent = 0.0


def after_commit() -> None:
    """Wake the waiters once the current transaction is committed."""
    transaction.on_commit(_send, robust=True)  # what could not be told is committed all the same


def listening_parameters() -> dict[str, Any]:
    """Of a direct psycopg connection for LISTEN, of its own for each process and opened after any fork."""
    parameters = {**connection.get_connection_params(), "autocommit": True}
    for name in ("cursor_factory", "context", "prepare_threshold"):
        parameters.pop(name, None)
    return parameters


def _send() -> None:
    global _last_sent
    crash_point("wake.before_notify")
    if connection.vendor != "postgresql" or time.monotonic() - _last_sent < COALESCE_SECONDS:
        return
    _last_sent = time.monotonic()
    rows_of(_NOTIFY, [CHANNEL])
