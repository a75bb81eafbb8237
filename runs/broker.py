# SPDX-License-Identifier: Apache-2.0
"""django-q2's broker, whose queue is the tables themselves.

`dequeue()` hands out *tickets* for what is due and never claims: the worker process claims as its first act, so
a killed process strands nothing, and a ticket given twice is harmless. It is also the only timer: between looks
it sleeps until a NOTIFY, the next check, or one second. Nothing of ours is stored in django-q2's table, whose
rows are signed pickles; that table carries only its own argument-less housekeeping schedules.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter
from math import ceil
from typing import Any

import psycopg
from django.db import InterfaceError, OperationalError, close_old_connections, connection
from django.utils import timezone
from django_q.brokers.orm import ORM
from django_q.conf import Conf
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from audit.context import coming_from
from config import wake
from runs import cluster, due

log = logging.getLogger(__name__)

LONGEST_SLEEP = 1.0  # seconds
SHORTEST_SLEEP = 0.05  # where something is still to be put right that could not be
EMBEDDED_SLEEP = 0.1  # SQLite has no NOTIFY, and looking costs little
TICKET_SECONDS = 2.0  # what a ticket names, and nobody has claimed by then, is named again
MOST_IN_A_TICKET = 8
NOT_FIRST_SECONDS = 0.5  # the same for what stands behind another in its ticket, which may be slow
NEWS_WAIT_SECONDS = 0.05  # while the steps found with it begin; then it has as long before it steps aside again


class DueBroker(ORM):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._given: dict[tuple[str, int], float] = {}
        self._listening: psycopg.Connection[Any] | None = None
        self._rung = False  # a moment ago
        self._gave = False  # all there was
        self._news_from = 0.0
        self._holds_news = False
        self._asked_django_q_at = 0.0

    def dequeue(self) -> list[tuple[Any, str]] | None:
        cluster.say_looked()
        try:
            return self._look()
        except (OperationalError, InterfaceError) as fault:
            # Raised, it would cost this process its life and everybody else ten seconds.
            log.warning("the database does not answer (%s); looking again", fault)
            time.sleep(LONGEST_SLEEP)
            close_old_connections()
            return None

    def _look(self) -> list[tuple[Any, str]] | None:
        if self._gave:
            self._gave = False
            self._listen(wake.COALESCE_SECONDS)  # those who were given something begin undisturbed
        seen = due.look()
        if seen.is_to_sweep:
            with coming_from("worker"):
                due.sweep()
            seen = due.look()
        if found := self._tickets(seen):
            return found
        if self._django_q_has_work():
            return super().dequeue()
        self._sleep(seen)
        return None

    def _tickets(self, seen: due.Sight) -> list[tuple[Any, str]]:
        now = time.monotonic()
        # The ones given out a moment ago may not be claimed yet.
        self._given = {ticket: until for ticket, until in self._given.items() if now < until}
        fresh = [ticket for ticket in seen.tickets if ticket not in self._given]
        chosen = _bundled(self._without_news(fresh, now))[: Conf.QUEUE_LIMIT]
        self._gave = 0 < len(chosen) < Conf.QUEUE_LIMIT
        for source, (first, *others) in chosen:
            self._given[source, first] = now + TICKET_SECONDS
            self._given.update({(source, row_id): now + NOT_FIRST_SECONDS for row_id in others})
        return [(None, _package(source, row_ids)) for source, row_ids in chosen]

    def _without_news(self, tickets: list[tuple[str, int]], now: float) -> list[tuple[str, int]]:
        """While the news are to wait. Somebody waits for the next step of a run; who makes a mail keeps it waiting."""
        steps = [ticket for ticket in tickets if not due.sources()[ticket[0]].is_news]
        if steps and now >= self._news_from + NEWS_WAIT_SECONDS:
            self._news_from = now + NEWS_WAIT_SECONDS
        self._holds_news = now < self._news_from and len(steps) < len(tickets)
        return steps if self._holds_news else tickets

    def _django_q_has_work(self) -> bool:
        """Its housekeeping may wait for a second; nobody rings for it."""
        now = time.monotonic()
        if now - self._asked_django_q_at < LONGEST_SLEEP:
            return False
        self._asked_django_q_at = now
        return OrmQ.objects.filter(key=self.list_key, lock__lt=timezone.now()).exists()

    def _sleep(self, seen: due.Sight) -> None:
        seconds = LONGEST_SLEEP
        if seen.next_check is not None:
            seconds = min(seconds, max(SHORTEST_SLEEP, (seen.next_check - seen.now).total_seconds()))
        if self._holds_news:
            seconds = min(seconds, max(0.0, self._news_from - time.monotonic()))
        if self._rung:
            seconds = min(seconds, wake.COALESCE_SECONDS)  # what was committed right after the wake-up rang no more
        self._listen(seconds)

    def _listen(self, seconds: float) -> None:
        if connection.vendor != "postgresql":
            time.sleep(min(EMBEDDED_SLEEP, seconds))
            return
        try:
            self._rung = self._is_rung(seconds)
        except psycopg.Error:
            log.warning("the wake-up connection was lost; looking by clock until it is back")
            self._listening = None
            time.sleep(seconds)

    def _is_rung(self, seconds: float) -> bool:
        """Whether there is work within so many seconds; what is for others goes by."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            heard = self._listener().notifies(timeout=left, stop_after=1)
            if any(wake.WORK in wake.words_of(each.payload) for each in heard):
                return True
        return False

    def _listener(self) -> psycopg.Connection[Any]:
        """A direct connection of this process, opened after the fork."""
        if self._listening is None or self._listening.closed:
            self._listening = psycopg.connect(**wake.listening_parameters())
            self._listening.execute(f"LISTEN {wake.CHANNEL}")
        return self._listening


def _bundled(tickets: list[tuple[str, int]]) -> list[tuple[str, list[int]]]:
    """(source, ids), a ticket each. Where more rows wait than tickets are given, one names several."""
    waiting = Counter(source for source, _ in tickets)
    found: list[tuple[str, list[int]]] = []
    last: dict[str, list[int]] = {}
    for source, row_id in tickets:
        if source not in last or len(last[source]) == _most_together(source, waiting[source]):
            last[source] = []
            found.append((source, last[source]))
        last[source].append(row_id)
    return found


def _most_together(source: str, waiting: int) -> int:
    if due.sources()[source].perform_all is None:
        return 1
    return min(MOST_IN_A_TICKET, ceil(waiting / Conf.QUEUE_LIMIT))


def _package(source: str, row_ids: list[int]) -> str:
    """A task in django-q2's form. It goes from this process to a worker's pipe and is never stored."""
    ticket = {
        "id": uuid.uuid4().hex,
        "name": f"{source} {' '.join(map(str, row_ids))}",
        "func": "runs.jobs.perform",
        "args": (source, *row_ids),
        "kwargs": {},
        "started": timezone.now(),
        "save": False,
        "ack_failure": True,
    }
    return str(SignedPackage.dumps(ticket))
