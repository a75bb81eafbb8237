# SPDX-License-Identifier: Apache-2.0
"""The action log as a stream: what its reader may see, in order, after an entry they have read. Nothing is skipped.

Numbers are drawn before their transaction ends, and transactions do not end in the order of their numbers: on
PostgreSQL an entry may become visible after one with a higher number. A reader who has gone past it would never meet
it. So the feed ends at the last *settled* number: one below which no transaction can add an entry any more.

The rule. Who inserts an entry holds a lock on its table from before the number is drawn until the transaction has
ended, and is visible before it lets go. So, looked at in this order, (1) the last number drawn, (2) the transactions
that hold such a lock, (3) once none of *these* holds it any more, everything up to that number has been committed or
never will be. Later transactions draw higher numbers, and need not be waited for. A process that reads again and again
keeps a few such marks, so that it goes on while others write without a pause. A transaction that stays open holds the
feed back for as long as it does (the settings allow it a minute at most). SQLite has one writer: whatever can be read
is settled.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.db import connection
from django.db.models import Max, Q

from audit.models import Entry
from audit.visibility import entries_visible_to
from config.errors import Unavailable

WINDOW = 2_000  # numbers that one page looks through, so that who may see little costs no more than who may see all
MARKS = 16  # kept at most
LOOKS = 8  # for those who are writing right now to end: most take a millisecond or two
PAUSE_SECONDS = 0.003
FIRST_TRIES = 50  # of a process that knows nothing yet, and is asked where the log ends

Describer = Callable[[Any, Sequence[Entry]], Mapping[int, Mapping[str, Any]]]  # user, entries → number: further data

_describers: dict[str, Describer] = {}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries are asked for: of these types (`hitl.request.*` for all that begin so), of one run or request."""

    types: tuple[str, ...] = ()
    run_id: int | None = None
    request_id: str = ""

    @property
    def is_narrow(self) -> bool:
        """Whether an index leads to them, wherever in the log they stand."""
        return self.run_id is not None or bool(self.request_id)

    def condition(self) -> Q:
        kind = Q()
        for word in self.types:
            kind |= Q(action__startswith=word[:-1]) if word.endswith("*") else Q(action=word)
        run = Q() if self.run_id is None else Q(run_id=self.run_id)
        return kind & run & (Q(request_id=self.request_id) if self.request_id else Q())


@dataclass(frozen=True, slots=True)
class Page:
    messages: list[dict[str, Any]]  # of each: id, type, data
    after: int  # where the next page begins
    is_last: bool  # for the moment


def describe(subject_type: str, describer: Describer) -> None:
    """What a room above knows of the entries about its rows. It is called when its app is ready."""
    _describers[subject_type] = describer


def page(user: Any, *, after: int, limit: int, wanted: Wanted) -> Page:
    """The next messages for this reader. `after` is the number of the last entry they have read, or have passed."""
    end = settled()
    to = end if wanted.is_narrow else min(end, after + WINDOW)
    if to <= after:
        return Page([], after, is_last=True)
    entries = entries_visible_to(user).filter(wanted.condition(), id__gt=after, id__lte=to)
    found = list(entries.defer("body").order_by("id")[:limit])
    reached = found[-1].pk if len(found) == limit else to
    return Page(_messages(user, found), reached, is_last=reached == end)


def _messages(user: Any, entries: Sequence[Entry]) -> list[dict[str, Any]]:
    further: dict[int, Mapping[str, Any]] = {}
    for kind, describer in _describers.items():
        mine = [entry for entry in entries if entry.subject_type == kind]
        further |= describer(user, mine) if mine else {}
    return [
        {"id": str(entry.pk), "type": entry.action, "data": {**_data(entry), **further.get(entry.pk, {})}}
        for entry in entries
    ]


def _data(entry: Entry) -> dict[str, Any]:
    """What every event says. Free text (the note, the title) is no part of the entry, but of what it is about."""
    told = {
        "at": entry.at,
        "actor": entry.actor_name,
        "actor_type": entry.actor_type,
        "result": entry.result,
        "code": entry.code,
        "run_id": entry.run_id,
        "task_id": entry.task_id,
        "request_id": entry.request_id,
        "step": entry.step,
        "status": entry.to_state,
    }
    return {name: value for name, value in told.items() if value not in (None, "")}


# What is settled ------------------------------------------------------------------------------------------


def settled() -> int:
    """The number up to which the log has got all the entries it will ever have; 0 for none."""
    if connection.vendor == "postgresql":
        return _marks(str(connection.settings_dict["NAME"])).look()
    return Entry.objects.aggregate(last=Max("id"))["last"] or 0


def end() -> int:
    """Where to begin reading in order to meet what happens from now on. Raises Unavailable."""
    for _ in range(FIRST_TRIES):
        if (found := settled()) or not Entry.objects.exists():
            return found
    raise Unavailable(headers={"Retry-After": "2"})


@cache
def _marks(database: str) -> _Marks:
    return _Marks()


@dataclass
class _Marks:
    """What one process knows. Each mark is (the last number drawn, who held the lock right after)."""

    known: int = 0
    waiting: deque[tuple[int, frozenset[str]]] = field(default_factory=deque)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def look(self) -> int:
        with self.lock:
            wanted = _last_drawn()
            for _ in range(LOOKS):
                self._look_once()
                if self.known >= wanted:
                    break
                time.sleep(PAUSE_SECONDS)
            return self.known

    def _look_once(self) -> None:
        drawn = _last_drawn()
        if drawn < self.known:  # the log has been emptied, as tests do
            self.known = 0
            self.waiting.clear()
        holders = _writers()
        if not holders:
            self.known = drawn
            self.waiting.clear()
            return
        while self.waiting and not self.waiting[0][1] & holders:
            self.known = self.waiting.popleft()[0]
        if len(self.waiting) < MARKS:
            self.waiting.append((drawn, holders))


def _last_drawn() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM audit_entry_id_seq")
        (drawn,) = cursor.fetchone()
    return int(drawn)


def _writers() -> frozenset[str]:
    """Other transactions that have inserted an entry, or are about to, and have not ended."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT virtualtransaction FROM pg_locks
            WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND relation = 'audit_entry'::regclass
              AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
              AND pid IS DISTINCT FROM pg_backend_pid()
            """
        )
        return frozenset(holder for (holder,) in cursor.fetchall())
