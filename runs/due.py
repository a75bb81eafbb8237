# SPDX-License-Identifier: Apache-2.0
"""What is due: the one place that looks at the clock for what nobody is calling about.

`sweep()` moves what time has made due (retries, lost leases); a *source* names rows that a worker process must
act on (a service task to perform, a mail to send). Rooms above register theirs. Looking is idempotent and safe
beside any number of others: rows are locked with SKIP LOCKED, and every act checks again under its lock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import InterfaceError, OperationalError

from config import clock
from config.mail import DueMail, due_mails

log = logging.getLogger(__name__)

BATCH = 100


@dataclass(frozen=True, slots=True)
class Source:
    """Rows that wait for a worker: `find(limit)` → ids, soonest first; `perform(id)` claims, then acts."""

    find: Callable[[int], Sequence[int]]
    perform: Callable[[int], None]
    oldest: Callable[[], datetime | None]  # since when the longest-waiting one is due


_sources: dict[str, Source] = {}
_sweeps: list[Callable[[datetime], int]] = []


def register_source(name: str, source: Source) -> None:
    _sources[name] = source


def register_sweep(function: Callable[[datetime], int]) -> None:
    """`function(now)` puts right what time made due, in batches, and returns how many rows it moved."""
    if function not in _sweeps:
        _sweeps.append(function)


def sources() -> dict[str, Source]:
    return _sources


def sweep() -> int:
    """One pass of every room's timers. Returns how many rows moved."""
    now = clock.now()
    return sum(function(now) for function in tuple(_sweeps))


def each(row_ids: Sequence[int], act: Callable[[int], object]) -> int:
    """`act(row_id)` for each row of a sweep. One that cannot be put right holds up none of the others."""
    for row_id in row_ids:
        try:
            act(row_id)
        except (OperationalError, InterfaceError):
            raise  # of the database, and not of this row
        except Exception:
            log.exception("%s of %s; it is tried again, after the others", act, row_id)
    return len(row_ids)


def tickets(limit: int) -> list[tuple[str, int]]:
    """(source, id) of what waits for a worker, at most `limit`. Names only: nothing is claimed here."""
    found: list[tuple[str, int]] = []
    for name, source in _sources.items():
        if len(found) >= limit:
            break
        found += [(name, row_id) for row_id in source.find(limit - len(found))]
    return found


def oldest_due() -> datetime | None:
    """Since when the longest-waiting row of any source is due; None when nothing waits."""
    moments = [moment for source in _sources.values() if (moment := source.oldest()) is not None]
    return min(moments, default=None)


# Mails ----------------------------------------------------------------------------------------------------


def mail_source(kind: type[DueMail], perform: Callable[[int], None]) -> Source:
    return Source(
        find=lambda limit: list(due_mails(kind).values_list("pk", flat=True)[:limit]),
        perform=perform,
        oldest=lambda: due_mails(kind).values_list("due_at", flat=True).first(),
    )
