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
from typing import Any

from django.db import InterfaceError, OperationalError, connection, models

from config import clock
from config.mail import DueRow, due_mails
from config.prepared import moment, rows_of, with_constants

log = logging.getLogger(__name__)

BATCH = 100


@dataclass(frozen=True, slots=True)
class Source:
    """Rows that wait for a worker, soonest first, and since which moment; `perform(id)` claims, then acts.

    Where `waiting` compares with the clock, it does so by `DUE_NOW`.
    """

    waiting: Callable[[], models.QuerySet[Any]]
    since: str  # the field of that moment
    perform: Callable[[int], None]
    perform_all: Callable[[Sequence[int]], None] | None = None  # several, one after the other, claimed at once
    is_news: bool = False  # to be told to somebody: it steps aside for the steps of runs, but not for long


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look saw."""

    now: datetime
    tickets: Sequence[tuple[str, int]]  # (source, id) of what waits for a worker
    oldest: datetime | None  # since when the longest-waiting of them is due
    next_check: datetime | None  # when there is something to sweep

    @property
    def is_to_sweep(self) -> bool:
        return self.next_check is not None and self.next_check <= self.now


DUE_NOW = clock.Now(each_time=True, as_begun=True)

_sources: dict[str, Source] = {}
_sweeps: dict[Callable[[datetime], int], type[models.Model]] = {}


def register_source(name: str, source: Source) -> None:
    _sources[name] = source


def register_sweep(function: Callable[[datetime], int], model: type[models.Model]) -> None:
    """`function(now)` puts right what time made due, in batches, and returns how many rows it moved.

    They are rows of `model` whose `next_check_at` has come.
    """
    _sweeps[function] = model


def sources() -> dict[str, Source]:
    return _sources


def checked_models() -> list[type[models.Model]]:
    """Whose rows are looked at again at `next_check_at`, as long as they are open."""
    return list(dict.fromkeys(_sweeps.values()))


def sweep() -> int:
    """One pass of every room's timers. Returns how many rows moved."""
    now = clock.now()
    return sum(function(now) for function in tuple(_sweeps))


def each(row_ids: Sequence[Any], act: Callable[[Any], object]) -> int:
    """`act(row_id)` for each row of a sweep. One that cannot be put right holds up none of the others."""
    for row_id in row_ids:
        try:
            act(row_id)
        except (OperationalError, InterfaceError):
            raise  # of the database, and not of this row
        except Exception:
            log.exception("%s of %s; it is tried again, after the others", act, row_id)
    return len(row_ids)


def look() -> Sight:
    """All that is to be known before anything is done, in one statement. Names only: nothing is claimed here."""
    sql, params = _looking()
    rows = rows_of(sql, [param() if callable(param) else param for param in params])
    waiting = [(what, row_id, moment(at)) for what, row_id, at in rows if what in _sources]
    checks = [moment(at) for what, _, at in rows if what == CHECK and at is not None]
    (now,) = (moment(at) for what, _, at in rows if what == NOW)
    assert now is not None
    return Sight(
        now=now,
        tickets=[(source, row_id) for source, row_id, _ in waiting],
        oldest=min((since for _, _, since in waiting if since is not None), default=None),
        next_check=min((at for at in checks if at is not None), default=None),
    )


def oldest_due() -> datetime | None:
    """Since when the longest-waiting row of any source is due; None when nothing waits."""
    return look().oldest


NOW, CHECK = "now", "check"  # beside the names of sources, in the rows of a look
_made: dict[Any, tuple[str, Sequence[Any]]] = {}


def _looking() -> tuple[str, Sequence[Any]]:
    """(the statement, its values); made once."""
    key = (connection.vendor, *_sources.values(), *_sweeps)
    if key not in _made:
        _made[key] = _make()
    return _made[key]


def _make() -> tuple[str, Sequence[Any]]:
    """Its rows: (source, id, since when), (CHECK, nothing, the next moment to sweep at), (NOW, nothing, the time)."""
    parts: list[str] = []
    values: list[Any] = []
    for name, source in _sources.items():
        rows = source.waiting().annotate(row=models.F("pk"), since=models.F(source.since))
        sql, params = rows.values_list("row", "since")[:BATCH].query.sql_with_params()
        parts.append(f"SELECT '{name}', found.row, found.since FROM ({sql}) AS found")  # noqa: S608
        values += params
    for model in _sweeps.values():
        nearest = f'SELECT min(next_check_at) FROM "{model._meta.db_table}" WHERE next_check_at IS NOT NULL'  # noqa: S608
        parts.append(f"SELECT '{CHECK}', CAST(NULL AS bigint), ({nearest})")
    sql, params = getattr(DUE_NOW, f"as_{connection.vendor}")(None, connection)
    parts.append(f"SELECT '{NOW}', CAST(NULL AS bigint), {sql}")
    return with_constants(" UNION ALL ".join(parts), [*values, *params])


# Mails ----------------------------------------------------------------------------------------------------


def mail_source(kind: type[DueRow], perform: Callable[[int], None]) -> Source:
    return Source(waiting=lambda: due_mails(kind, DUE_NOW), since="due_at", perform=perform, is_news=True)
